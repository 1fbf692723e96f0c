//! The control socket: other commands, and other programs, talk to the chat that runs.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Chat, Place};

fn two(place: &Place) -> [Chat; 2] {
    let chats = ["ana", "bob"].map(|name| place.chat(&format!("-n {name}")));
    let ids = [chats[0].joined(), chats[1].joined()];
    chats.iter().for_each(|chat| chat.meets(&ids));
    chats
}

fn socket(place: &Place, profile: &str) -> PathBuf {
    place.home().join(format!("run/nodeset/{profile}.sock"))
}

/// A program that is connected to a chat.
pub struct Program(BufReader<UnixStream>);

impl Program {
    pub fn connect(place: &Place, profile: &str) -> Self {
        let stream = UnixStream::connect(socket(place, profile)).expect("it listens");
        stream
            .set_read_timeout(Some(std::time::Duration::from_secs(60)))
            .unwrap();
        Self(BufReader::new(stream))
    }

    pub fn ask(&mut self, request: Value) {
        self.0.get_mut().write_all(format!("{request}\n").as_bytes()).unwrap();
    }

    /// The next line; nothing at the end.
    pub fn next(&mut self) -> Option<Value> {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("a line in time");
        (!line.is_empty()).then(|| serde_json::from_str(&line).unwrap())
    }

    /// Reads on until the one that fits.
    pub fn until(&mut self, fits: impl Fn(&Value) -> bool) -> Value {
        std::iter::from_fn(|| self.next()).find(fits).expect("it is told")
    }
}

#[test]
fn commands_talk_to_the_chat_that_runs() {
    let place = Place::new();
    let [ana, bob] = two(&place);
    let id = ana.joined();
    let sent = place.run("-n ana send said by the way", "");
    assert_eq!((sent.exit.code, sent.exit.stderr.as_str()), (Some(0), ""));
    let said = bob.wait_text("said by the way");
    assert_eq!(said["from"]["id"], *id, "it is ana who said it");
    let sent = place.run("-n ana --json send --reply-to nobody:1 x", "");
    assert_eq!(sent.exit.code, Some(2), "{}", sent.exit.stderr);
    let lines: Vec<Value> = sent
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(lines.iter().zip(1..).all(|(line, n)| line["n"] == n), "{lines:?}");
    assert_eq!(
        (&lines[0]["type"], &lines.last().unwrap()["type"]),
        (&json!("hello"), &json!("bye"))
    );

    let who = place.run("-n ana who", "");
    let mut names: Vec<_> = who.stdout.lines().map(|line| line.split('#').next().unwrap()).collect();
    names.sort_unstable();
    assert_eq!((who.exit.code, names), (Some(0), vec!["ana", "bob"]));
    assert_eq!(place.run("-n ana rooms", "").stdout, "lobby\t2\t0");
    // Who has no chat that runs asks the registry.
    assert_eq!(place.run("-n cyd rooms", "").stdout, "lobby\t2");
    assert_eq!(place.run("-n cyd who", "").stdout.lines().count(), 2);
    // Nobody came or went, and what was asked is nobody else's business.
    for chat in [&ana, &bob] {
        let lines = chat.json();
        let joins = lines.iter().filter(|line| line["type"] == "join").count();
        assert_eq!(joins, 2, "{lines:?}");
        assert!(lines.iter().all(|line| {
            !["who", "rooms", "ack", "error"]
                .iter()
                .any(|kind| line["type"] == *kind)
        }));
    }
}

#[test]
fn a_listener_hears_what_is_said_and_is_not_there() {
    let place = Place::new();
    let [mut ana, mut bob] = two(&place);
    let mut tail = Chat::start(place.command("-n ana tail --count 2 --stamp lamport"));
    // When it listens is not told.
    let mut ticks = 0;
    while tail.lines().is_empty() {
        ticks += 1;
        let text = format!("tick {ticks}");
        bob.say(&text);
        ana.wait_text(&text);
    }
    bob.say("last");
    assert_eq!(tail.wait().code, Some(0));
    let lines = tail.lines();
    assert!(
        lines[0].contains(" #lobby <bob> tick ") && lines[0].contains("  @"),
        "{lines:?}"
    );
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(ana.json().iter().filter(|line| line["type"] == "join").count() == 2);
    // It ends with the chat that it listens to.
    let mut tail = Chat::start(place.command("-n ana tail --json --events"));
    tail.wait_for("hello", |line| line["type"] == "hello");
    // It is counted as soon as its request was heard.
    let listeners = (1..).map(|n| {
        ana.ask(json!({"do": "who", "ref": n}));
        let who = ana.wait_for("who", |line| line["type"] == "who" && line["ref"] == n);
        assert_eq!(who["members"].as_array().unwrap().len(), 2);
        who["listeners"].as_u64().unwrap()
    });
    assert_eq!(listeners.take(1_000).find(|count| *count > 0), Some(1));
    ana.leave();
    assert_eq!(tail.wait().code, Some(0));
    let lines = tail.json();
    assert_eq!(lines.last().unwrap()["type"], "bye");
    assert!(lines.iter().zip(1..).all(|(line, n)| line["n"] == n), "{lines:?}");
}

#[test]
fn answers_go_to_whoever_asked() {
    let place = Place::new();
    let [mut ana, mut bob] = two(&place);
    let (mut one, mut other) = (Program::connect(&place, "ana"), Program::connect(&place, "ana"));
    for program in [&mut one, &mut other] {
        let hello = program.next().unwrap();
        assert_eq!(
            (&hello["type"], &hello["n"], &hello["rooms"]),
            (&json!("hello"), &json!(1), &json!(["lobby"]))
        );
        program.ask(json!({"do": "listen"}));
        // It is refused, and so it is known that what came before was taken.
        program.ask(json!({"do": "send", "text": "x"}));
        assert_eq!(program.next().unwrap()["code"], "listener");
    }
    let mut asker = Program::connect(&place, "ana");
    asker.ask(json!({"do": "send", "text": "from a program", "ref": 7}));
    let all = asker.until(|line| line["type"] == "ack" && line["state"] == "all");
    assert_eq!(all["ref"], 7);
    asker.ask(json!({"do": "clock"}));
    assert_eq!(asker.until(|line| line["type"] == "clock").get("ref"), None);
    asker.ask(json!({"do": "foo", "ref": "f"}));
    assert_eq!(asker.until(|line| line["type"] == "error")["ref"], "f");
    bob.wait_text("from a program");
    bob.say("an answer");
    ana.wait_text("an answer");
    for program in [&mut one, &mut other] {
        let heard = [program.next().unwrap(), program.next().unwrap()];
        assert_eq!(
            heard.each_ref().map(|line| &line["text"]),
            ["from a program", "an answer"]
        );
    }
    ana.ask(json!({"do": "who", "ref": 7}));
    ana.wait_for("own answer", |line| line["type"] == "who");
    let foreign = ana
        .json()
        .into_iter()
        .filter(|line| ["ack", "clock", "error"].iter().any(|kind| line["type"] == *kind));
    assert_eq!(foreign.count(), 0);
    ana.leave();
    for mut program in [one, other, asker] {
        program.until(|line| line["type"] == "bye");
        assert_eq!(program.next(), None);
    }
    assert!(!socket(&place, "ana").exists());
}

#[test]
fn a_history_goes_to_whoever_asked() {
    let place = Place::new();
    let [ana, mut bob] = two(&place);
    bob.say("kept");
    ana.wait_text("kept");
    let mut asker = Program::connect(&place, "ana");
    let mut other = Program::connect(&place, "ana");
    other.ask(json!({"do": "listen"}));
    // It is refused, and so it is known that what came before was taken.
    other.ask(json!({"do": "send", "text": "refused"}));
    other.until(|line| line["type"] == "error");
    asker.ask(json!({"do": "history", "limit": 5, "ref": "h1"}));
    let answer = asker.until(|line| line["type"] == "history");
    assert_eq!(answer["ref"], "h1", "{answer}");
    bob.say("after");
    let next = other.until(|line| line["type"] == "history" || line["text"] == "after");
    assert_eq!(next["type"], "message", "{next}");
    assert!(ana.json().iter().all(|line| line["type"] != "history"));
}

#[test]
fn who_does_not_read_is_cut_off_and_told() {
    let place = Place::new();
    let [mut ana, bob] = two(&place);
    let mut slow = Program::connect(&place, "ana");
    slow.ask(json!({"do": "listen"}));
    slow.ask(json!({"do": "listen", "events": 1}));
    assert_eq!(slow.until(|line| line["type"] == "error")["code"], "bad_argument");
    let text = "x".repeat(2000);
    for k in 0..2000 {
        ana.say(&format!("{k} {text}"));
    }
    bob.wait_text(&format!("1999 {text}"));
    ana.wait_text(&format!("1999 {text}"));
    let told = slow.until(|line| line["type"] == "error");
    assert_eq!(told["code"], "too_slow");
    assert_eq!(slow.next().unwrap()["reason"], "too_slow");
    assert_eq!(slow.next(), None);
}

#[test]
fn so_many_connect_and_no_more() {
    let place = Place::new();
    let [ana, _bob] = two(&place);
    let mut programs: Vec<_> = (0..16).map(|_| Program::connect(&place, "ana")).collect();
    programs
        .iter_mut()
        .for_each(|program| assert_eq!(program.next().unwrap()["type"], "hello"));
    let refused = Program::connect(&place, "ana").next().unwrap();
    assert_eq!(refused["code"], "busy");
    // What no program can do the command does itself.
    assert_eq!(place.run("-n ana who", "").stdout.lines().count(), 2);
    drop(ana);
}

#[test]
fn what_a_dead_process_left_is_cleared() {
    let place = Place::new();
    let mut ana = place.chat("-n ana");
    ana.joined();
    let path = socket(&place, "ana");
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    ana.signal(Signal::KILL);
    ana.wait();
    assert!(path.exists());
    assert_eq!(place.run("-n ana send hello", "").exit.code, Some(3), "nobody is there");
    let ana = place.chat("-n ana");
    ana.joined();
    let bob = place.chat("-n bob");
    bob.joined();
    ana.wait_for("bob", |line| line["type"] == "join" && line["from"]["nick"] == "bob");
    assert_eq!(place.run("-n ana rooms", "").stdout, "lobby\t2\t0");
}
