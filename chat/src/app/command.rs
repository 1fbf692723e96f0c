//! What an input line asks for: plain text with slash commands, or JSON.

mod json;

use super::clean;
use super::line::{Error, Ref};
use super::text::Stamp;
use crate::post::Kind;

/// Longest reason of a leave, in characters: it stands in one line on everyone's screen.
pub const REASON_MAX: usize = 256;
/// Messages that `/history` tells, if it is not told how many: a screenful.
const HISTORY: usize = 20;
/// The most that it tells: `chat history` tells all.
pub const HISTORY_MAX: usize = 1000;
/// Longest part of an unknown command's name that an error repeats.
const ECHO_MAX: usize = 32;

/// What to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Say something; `reply_to` is a message's id as it was written.
    Send {
        kind: Kind,
        text: String,
        reply_to: Option<String>,
    },
    Leave {
        reason: String,
    },
    /// Join a room, or type into it from now on.
    Join {
        room: String,
    },
    /// Leave one room; the one that people type into, if none is named.
    Part {
        room: Option<String>,
        reason: String,
    },
    /// Create a room, if nobody objects.
    Create(Create),
    /// Close a room for everybody; the one that people type into, if none is named.
    Close {
        room: Option<String>,
    },
    Rooms,
    /// The last messages of a room, or those of the last in which words occur.
    History {
        limit: usize,
        text: Option<String>,
    },
    Who,
    Clock,
    Held,
    Why {
        id: String,
    },
    /// About the last message, if no id is given.
    Info {
        id: Option<String>,
    },
    Peers,
    Status,
    Stamp {
        mode: Option<Stamp>,
    },
    Help,
}

/// A room that is to be created.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Create {
    pub room: String,
    pub ordered: bool,
    pub private: bool,
    pub topic: String,
}

/// A command with the `ref` that its answer carries, and the room that it names.
#[derive(Clone, PartialEq, Debug)]
pub struct Asked {
    pub command: Command,
    pub reference: Option<Ref>,
    pub room: Option<String>,
}

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
    entry("close", "/close", "close this room for everybody, if nobody objects"),
    entry(
        "rooms",
        "/rooms",
        "the rooms that you are in, and what you have not seen",
    ),
    entry("who", "/who", "who is here"),
    entry(
        "history",
        "/history [N|TEXT]",
        "the last N messages that are kept, or the last ones with these words",
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
    entry(
        "status",
        "/status",
        "this instance: identity, address, registries, numbers",
    ),
];

/// A command that has no other form than this, for lines that are only text.
pub fn plain(text: &str) -> Asked {
    Asked {
        command: Command::Send {
            kind: Kind::Text,
            text: text.to_owned(),
            reply_to: None,
        },
        reference: None,
        room: None,
    }
}

/// A line that a person typed; nothing if it is empty.
pub fn of_text(line: &str) -> Result<Option<Asked>, Error> {
    let Some(rest) = line.strip_prefix('/') else {
        return Ok((!line.trim().is_empty()).then(|| plain(line)));
    };
    if rest.starts_with('/') {
        return Ok(Some(plain(rest)));
    }
    let (name, argument) = match rest.split_once(char::is_whitespace) {
        Some((name, argument)) => (name, argument.trim()),
        None => (rest, ""),
    };
    let entry = find(name)?;
    let command = build(entry, argument)?;
    Ok(Some(Asked {
        command,
        reference: None,
        room: None,
    }))
}

/// A line of `--input json`; nothing if it is empty.
pub fn of_json(line: &str) -> Result<Option<Asked>, Error> {
    if line.trim().is_empty() {
        return Ok(None);
    }
    json::parse(line).map(Some)
}

/// The refusal of a command that would need something else.
pub fn error(code: &'static str, text: impl Into<String>) -> Error {
    Error {
        code,
        reference: None,
        text: text.into(),
        screen: None,
    }
}

fn find(name: &str) -> Result<&'static Entry, Error> {
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

fn exact(name: &str) -> Option<&'static Entry> {
    COMMANDS
        .iter()
        .find(|entry| entry.name == name || entry.aliases.contains(&name))
}

fn build(entry: &'static Entry, argument: &str) -> Result<Command, Error> {
    let needed = |argument: &str| match argument {
        "" => Err(error("missing_argument", format!("usage: {}", entry.usage))),
        given => Ok(given.to_owned()),
    };
    Ok(match entry.name {
        "leave" => Command::Leave {
            reason: reason(argument)?,
        },
        "me" => Command::Send {
            kind: Kind::Action,
            text: needed(argument)?,
            reply_to: None,
        },
        "join" => Command::Join {
            room: needed(argument)?,
        },
        "part" => part(argument)?,
        "create" => Command::Create(create(entry, argument)?),
        "close" => Command::Close {
            room: (!argument.is_empty()).then(|| argument.to_owned()),
        },
        "rooms" => Command::Rooms,
        "who" => Command::Who,
        "history" => history(argument),
        "search" => Command::History {
            limit: HISTORY,
            text: Some(needed(argument)?),
        },
        "clock" => Command::Clock,
        "held" => Command::Held,
        "why" => Command::Why { id: needed(argument)? },
        "info" => Command::Info {
            id: (!argument.is_empty()).then(|| argument.to_owned()),
        },
        "peers" => Command::Peers,
        "status" => Command::Status,
        "stamp" => Command::Stamp { mode: stamp(argument)? },
        _ => Command::Help,
    })
}

/// `/create ops --ordered --topic who is on call`: the topic is the rest of the line.
fn create(entry: &Entry, argument: &str) -> Result<Create, Error> {
    let (flags, topic) = match argument.split_once("--topic") {
        Some((flags, topic)) => (flags, topic.trim()),
        None => (argument, ""),
    };
    let mut create = Create {
        topic: topic.to_owned(),
        ..Create::default()
    };
    for word in flags.split_whitespace() {
        match word {
            "--ordered" => create.ordered = true,
            name if create.room.is_empty() && !name.starts_with("--") => create.room = name.to_owned(),
            _ => return Err(error("bad_argument", format!("usage: {}", entry.usage))),
        }
    }
    if create.room.is_empty() {
        return Err(error("missing_argument", format!("usage: {}", entry.usage)));
    }
    Ok(create)
}

/// `/history 50` or `/history lunch`
fn history(argument: &str) -> Command {
    let (limit, text) = match argument.parse() {
        Ok(limit) => (limit, None),
        Err(_) => (HISTORY, (!argument.is_empty()).then(|| argument.to_owned())),
    };
    Command::History {
        limit: limit.min(HISTORY_MAX),
        text,
    }
}

/// `/part #ops see you`: a first word with `#` names the room.
fn part(argument: &str) -> Result<Command, Error> {
    let (room, rest) = match argument.split_once(char::is_whitespace) {
        _ if !argument.starts_with('#') => (None, argument),
        Some((room, rest)) => (Some(room.to_owned()), rest.trim()),
        None => (Some(argument.to_owned()), ""),
    };
    Ok(Command::Part {
        room,
        reason: reason(rest)?,
    })
}

fn reason(reason: &str) -> Result<String, Error> {
    if reason.chars().count() > REASON_MAX {
        let text = format!("a reason has at most {REASON_MAX} characters; leave with a shorter one");
        return Err(error("bad_argument", text));
    }
    Ok(reason.to_owned())
}

fn stamp(mode: &str) -> Result<Option<Stamp>, Error> {
    if mode.is_empty() {
        return Ok(None);
    }
    match mode.to_lowercase().parse() {
        Ok(mode) => Ok(Some(mode)),
        Err(()) => Err(error("bad_argument", "a stamp is vector, lamport, dense or none")),
    }
}

fn unknown(name: &str) -> Error {
    let shown: String = clean::line(name).chars().take(ECHO_MAX).collect();
    let text = format!("no command /{shown}");
    Error {
        screen: Some(format!("{text} (did you mean /{}?); /help lists them", nearest(name))),
        ..error("unknown_command", text)
    }
}

/// The command that differs least, if that is little. Else `/me`, which people who type a slash before a sentence
/// may want.
fn nearest(name: &str) -> &'static str {
    let most = if name.chars().count() > 4 { 2 } else { 1 };
    COMMANDS
        .iter()
        .flat_map(|entry| std::iter::once(&entry.name).chain(entry.aliases))
        .map(|known| (distance(name, known), *known))
        .min()
        .filter(|(distance, _)| *distance <= most)
        .map_or("me", |(_, known)| known)
}

/// Levenshtein's distance, on at most `ECHO_MAX` characters: a name may be as long as a line.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(ECHO_MAX).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(line: &str) -> Command {
        of_text(line).unwrap().unwrap().command
    }

    fn refusal(line: &str) -> String {
        let error = of_text(line).unwrap_err();
        error.screen.unwrap_or(error.text)
    }

    fn said(kind: Kind, text: &str) -> Command {
        Command::Send {
            kind,
            text: text.into(),
            reply_to: None,
        }
    }

    #[test]
    fn text_and_actions() {
        assert_eq!(command("hi there "), said(Kind::Text, "hi there "));
        assert_eq!(command("//me"), said(Kind::Text, "/me"));
        assert_eq!(command("/me waves"), said(Kind::Action, "waves"));
        assert_eq!(of_text("").unwrap(), None);
        assert_eq!(of_text("  ").unwrap(), None);
    }

    #[test]
    fn names_are_found_by_case_prefix_and_alias() {
        assert_eq!(command("/WHO"), Command::Who);
        assert_eq!(command("/cloc"), Command::Clock);
        let stamp = Command::Stamp {
            mode: Some(Stamp::Lamport),
        };
        assert_eq!(command("/stam lamport"), stamp);
        assert_eq!(refusal("/sta"), "/sta could be /stamp or /status; /help lists them");
        let leave = Command::Leave {
            reason: "see you".into(),
        };
        for line in [
            "/leave see you",
            "/quit see you",
            "/EXIT  see you",
            "/q see you",
            "/l see you",
        ] {
            assert_eq!(command(line), leave, "{line}");
        }
        let history = |limit, text: Option<&str>| Command::History {
            limit,
            text: text.map(str::to_owned),
        };
        assert_eq!(command("/hi 5"), history(5, None));
        assert_eq!(command("/history two words"), history(HISTORY, Some("two words")));
        assert_eq!(command("/history 99999"), history(HISTORY_MAX, None));
        assert_eq!(command("/search 5"), history(HISTORY, Some("5")));
        assert_eq!(refusal("/w"), "/w could be /who or /why; /help lists them");
    }

    #[test]
    fn a_topic_is_the_rest_of_the_line() {
        let create = |room: &str, ordered, topic: &str| {
            Command::Create(Create {
                room: room.into(),
                ordered,
                private: false,
                topic: topic.into(),
            })
        };
        assert_eq!(command("/create ops"), create("ops", false, ""));
        assert_eq!(
            command("/create #ops --ordered --topic  on call "),
            create("#ops", true, "on call")
        );
        assert_eq!(refusal("/create"), "usage: /create ROOM [--ordered] [--topic T]");
        assert_eq!(refusal("/create a b"), "usage: /create ROOM [--ordered] [--topic T]");
    }

    #[test]
    fn unknown_commands_get_the_agreed_text() {
        assert_eq!(refusal("/foo"), "no command /foo (did you mean /me?); /help lists them");
        assert_eq!(
            refusal("/hepl"),
            "no command /hepl (did you mean /me?); /help lists them"
        );
        assert_eq!(
            refusal("/leaev"),
            "no command /leaev (did you mean /leave?); /help lists them"
        );
        assert_eq!(refusal("/wo"), "no command /wo (did you mean /who?); /help lists them");
        assert_eq!(refusal("/"), "no command / (did you mean /me?); /help lists them");
        let hostile = refusal("/\u{1b}[31m");
        assert!(hostile.chars().all(|c| !c.is_control()), "{hostile:?}");
        assert!(refusal(&format!("/{}", "x".repeat(100_000))).len() < 200);
    }

    #[test]
    fn arguments_are_checked() {
        assert_eq!(refusal("/why"), "usage: /why ID");
        assert_eq!(refusal("/me"), "usage: /me TEXT");
        assert_eq!(refusal("/stamp blue"), "a stamp is vector, lamport, dense or none");
        assert!(refusal(&format!("/leave {}", "x".repeat(300))).starts_with("a reason has at most 256"));
        assert_eq!(command("/stamp"), Command::Stamp { mode: None });
        assert_eq!(command("/info"), Command::Info { id: None });
    }
}
