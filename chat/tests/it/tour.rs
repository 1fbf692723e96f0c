//! The tour at the beginning of README.md: what it shows is typed into real chats, and what they print is held against it,
//! but for the time of day.

use std::cell::Cell;

use crate::control::Program;
use crate::harness::{Chat, Place};

const README: &str = include_str!("../../../README.md");

/// What one terminal of the tour shows.
struct Terminal {
    name: String,
    /// Each line with the time of day at which it is there.
    lines: Vec<(String, Line)>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Line {
    /// Typed, and it stays on the screen: a command.
    Typed(String),
    /// Printed, with its time masked.
    Printed(String),
}

/// Something that is done in a terminal: what is typed, or nothing for its start.
struct Step {
    at: String,
    terminal: usize,
    typed: Option<String>,
}

fn is_time(text: &str) -> bool {
    text.len() == 8
        && text.bytes().enumerate().all(|(nth, byte)| {
            if nth % 3 == 2 {
                byte == b':'
            } else {
                byte.is_ascii_digit()
            }
        })
}

fn masked(line: &str) -> String {
    match line.split_once(' ') {
        Some((time, rest)) if is_time(time) => format!("HH:MM:SS {rest}"),
        _ => line.to_owned(),
    }
}

/// The first block of the README, cut at its rules.
fn terminals() -> Vec<Terminal> {
    let block = README
        .split("```text\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    let parts = block
        .expect("a tour")
        .split('─')
        .filter(|part| part.contains("'s terminal"));
    parts.map(terminal).collect()
}

fn terminal(part: &str) -> Terminal {
    let mut shown = part.lines().map(str::trim_end).filter(|line| !line.trim().is_empty());
    let title = shown.next().expect("a title").trim();
    let name = title.strip_suffix("'s terminal").expect("somebody's").to_owned();
    assert_eq!(shown.next(), Some("$ chat"));
    let shown: Vec<_> = shown.collect();
    let time_of = |line: &&str| line.split(' ').next().filter(|time| is_time(time)).map(str::to_owned);
    let mut lines: Vec<(String, Line)> = Vec::new();
    for (nth, line) in shown.iter().enumerate() {
        let typed = line.starts_with('/');
        let before = lines.last().map(|(at, _)| at.clone());
        // A command whose answer has a time is typed just before that; any other just after what stands above it, and
        // its answer comes at once.
        let at = match (time_of(line), before) {
            (Some(time), _) => Some(time),
            (None, Some(before)) if typed => shown.get(nth + 1).and_then(time_of).or(Some(format!("{before}+"))),
            (None, Some(before)) => Some(before),
            (None, None) => shown.iter().find_map(time_of),
        };
        let line = match typed {
            true => Line::Typed((*line).to_owned()),
            false => Line::Printed(masked(line)),
        };
        lines.push((at.expect("a time"), line));
    }
    Terminal { name, lines }
}

impl Terminal {
    fn printed(&self, until: &str) -> Vec<String> {
        let there = self.lines.iter().filter(|(at, _)| at.as_str() <= until);
        let printed = there.filter_map(|(_, line)| match line {
            Line::Printed(line) => Some(line.clone()),
            Line::Typed(_) => None,
        });
        printed.collect()
    }

    /// Its start, its commands, and what it says, which the prompt gives way to.
    fn steps(&self, terminal: usize) -> Vec<Step> {
        let joined = format!("HH:MM:SS *** Participant {} joined ", self.name);
        let start = self
            .lines
            .iter()
            .position(|(_, line)| matches!(line, Line::Printed(line) if line.starts_with(&joined)));
        let step = |at: &String, typed| Step {
            at: at.clone(),
            terminal,
            typed,
        };
        let mut steps = vec![step(&self.lines[start.expect("its own join")].0, None)];
        let own = format!("<{}> ", self.name);
        for (at, line) in &self.lines {
            let typed = match line {
                Line::Typed(line) => Some(line.clone()),
                Line::Printed(line) => line
                    .split_once(&own)
                    .and_then(|(_, said)| Some(said.rsplit_once("  [")?.0.to_owned())),
            };
            steps.extend(typed.map(|typed| step(at, Some(typed))));
        }
        steps
    }
}

/// The lines of a chat, in the README's words.
fn shown(place: &Place, lines: &[String]) -> Vec<String> {
    let lines = lines
        .iter()
        .map(|line| masked(line).replace(&place.default_registry, "127.0.0.1:7420"));
    lines.collect()
}

#[test]
fn the_readme_shows_what_happens() {
    let (place, terminals) = (Place::new(), terminals());
    assert_eq!(terminals.len(), 3);
    let mut steps: Vec<_> = terminals
        .iter()
        .enumerate()
        .flat_map(|(nth, terminal)| terminal.steps(nth))
        .collect();
    steps.sort_by(|one, other| one.at.cmp(&other.at));
    let mut chats: Vec<Option<Chat>> = terminals.iter().map(|_| None).collect();
    for Step { at, terminal, typed } in steps {
        match (&mut chats[terminal], typed) {
            (chat @ None, _) => {
                let mut command = place.command("");
                command.env("USER", &terminals[terminal].name);
                *chat = Some(Chat::start(command));
            }
            (Some(chat), Some(typed)) => {
                if typed == "/clock" {
                    wait_until_stable(&place, &terminals[terminal].name);
                }
                chat.write(format!("{typed}\n").as_bytes());
            }
            (Some(_), None) => panic!("it was started"),
        }
        for (chat, terminal) in chats.iter().zip(&terminals) {
            let Some(chat) = chat else { continue };
            let expected = terminal.printed(&at);
            if let Some(last) = expected.len().checked_sub(1) {
                let what = format!("line {last} of {}, {:?}", terminal.name, expected[last]);
                let seen = Cell::new(0);
                chat.wait_line(&what, |_| (seen.replace(seen.get() + 1) == last).then_some(()));
            }
            assert_eq!(shown(&place, &chat.lines()), expected, "{} at {at}", terminal.name);
        }
    }
}

/// What everyone has is told several times a second; the tour shows it when it is known.
fn wait_until_stable(place: &Place, name: &str) {
    let mut program = Program::connect(place, name);
    loop {
        program.ask(serde_json::json!({"do": "clock"}));
        let clock = program.until(|line| line["type"] == "clock");
        if clock["clock"] == clock["stable"] {
            return;
        }
    }
}
