//! Which slash commands there are, and which one somebody means.

use super::error;
use crate::app::clean;
use crate::app::line::Error;

/// Longest part of an unknown command's name that an error repeats.
const ECHO_MAX: usize = 32;

/// One row of `/help`.
pub struct Entry {
    pub name: &'static str,
    pub usage: &'static str,
    pub does: &'static str,
    /// Other names for it.
    aliases: &'static [&'static str],
}

const fn entry(name: &'static str, usage: &'static str, does: &'static str) -> Entry {
    Entry {
        name,
        usage,
        does,
        aliases: &[],
    }
}

/// All slash commands, in the order of `/help`.
pub const COMMANDS: &[Entry] = &[
    entry("help", "/help", "this list; //x sends /x"),
    Entry {
        aliases: &["quit", "exit"],
        ..entry("leave", "/leave [reason]", "say goodbye and end (/quit, /exit)")
    },
    entry("me", "/me TEXT", "say what you are doing: * ana waves"),
    entry(
        "reply",
        "/reply [ID] TEXT",
        "answer a message, the newest of somebody else if none is named",
    ),
    entry("join", "/join ROOM", "be in that room, too, and type there from now on"),
    entry(
        "part",
        "/part [#ROOM] [reason]",
        "leave that room, or the one that you type into",
    ),
    entry(
        "create",
        "/create ROOM [--ordered] [--topic T]",
        "create a room, if nobody objects, and be in it",
    ),
    entry(
        "topic",
        "/topic [TEXT]",
        "what this room is about, or is to be about; /topic - for nothing",
    ),
    entry("close", "/close", "close this room for everybody, if nobody objects"),
    entry(
        "rooms",
        "/rooms",
        "your rooms, what you have not seen there, and which others there are",
    ),
    entry("who", "/who", "who is here"),
    entry("nick", "/nick NAME", "be called that from now on, in all your rooms"),
    entry(
        "history",
        "/history [N|TEXT]",
        "the last N messages that are kept, or the last ones with these words",
    ),
    entry(
        "export",
        "/export [FILE]",
        "write what is kept of this room into a new file, for chat history --restore",
    ),
    entry("search", "/search TEXT", "the last messages with these words"),
    entry("clock", "/clock", "what you have delivered, as a vector clock"),
    entry(
        "stamp",
        "/stamp [vector|lamport|dense|none]",
        "what is printed behind each message",
    ),
    entry("held", "/held", "messages that wait for a cause"),
    entry("why", "/why ID", "why a message is waiting: /why cyd:3"),
    entry(
        "info",
        "/info [ID]",
        "everything about a message, the last one if none is named",
    ),
    entry("peers", "/peers", "the addresses that are dialled, and how that goes"),
    entry("ping", "/ping PEER", "how long a peer takes to answer"),
    entry(
        "ignore",
        "/ignore [PEER]",
        "show no more of what a peer says, or again; it stays in the history",
    ),
    entry(
        "status",
        "/status",
        "this instance: identity, address, registries, numbers",
    ),
    entry(
        "delay",
        "/delay PEER RANGE",
        "with --chaos: what it says is late, as 0-1500ms",
    ),
    entry(
        "drop",
        "/drop PEER PERCENT",
        "with --chaos: that much of what it says is lost",
    ),
    entry(
        "partition",
        "/partition A B | C D",
        "with --chaos: cut this chat off from the groups that it is not in",
    ),
    entry("heal", "/heal", "with --chaos: no faults any more"),
];

pub(super) fn find(name: &str) -> Result<&'static Entry, Error> {
    let name = name.to_lowercase();
    if let Some(entry) = exact(&name) {
        return Ok(entry);
    }
    let starts = |full: &str| !name.is_empty() && full.starts_with(&name);
    let fitting: Vec<_> = COMMANDS
        .iter()
        .filter(|entry| starts(entry.name) || entry.aliases.iter().any(|alias| starts(alias)))
        .collect();
    match fitting.as_slice() {
        [] => Err(unknown(&name)),
        [entry] => Ok(entry),
        several => {
            let names: Vec<_> = several.iter().map(|entry| format!("/{}", entry.name)).collect();
            let text = format!("/{name} could be {}; /help lists them", names.join(" or "));
            Err(error("ambiguous_command", text))
        }
    }
}

pub(super) fn exact(name: &str) -> Option<&'static Entry> {
    COMMANDS
        .iter()
        .find(|entry| entry.name == name || entry.aliases.contains(&name))
}

pub(super) fn unknown(name: &str) -> Error {
    let shown: String = clean::line(name).chars().take(ECHO_MAX).collect();
    let text = format!("no command /{shown}");
    Error {
        screen: Some(format!("{text} (did you mean /{}?); /help lists them", nearest(name))),
        ..error("unknown_command", text)
    }
}

/// The command that differs least, if that is little; of several the one that `/help` lists first. Else `/me`, which people who type a slash before a sentence
/// may want.
fn nearest(name: &str) -> &'static str {
    let most = if name.chars().count() > 4 { 2 } else { 1 };
    COMMANDS
        .iter()
        .flat_map(|entry| std::iter::once(&entry.name).chain(entry.aliases))
        .map(|known| (distance(name, known), *known))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, _)| *distance <= most)
        .map_or("me", |(_, known)| known)
}

/// Letters that differ, are missing, too many or swapped with the next one (optimal string alignment), on at most `ECHO_MAX`
/// characters: a name may be as long as a line.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(ECHO_MAX).collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let substituted = rows[i][j] + usize::from(x != y);
            let mut least = substituted.min(row[j] + 1).min(rows[i][j + 1] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                least = least.min(rows[i - 1][j - 1] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}
