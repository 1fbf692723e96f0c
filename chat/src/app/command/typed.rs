//! The arguments of a command that a person typed.

use super::table::Entry;
use super::{Command, Create, HISTORY, HISTORY_MAX, REASON_MAX, error};
use crate::app::chaos::{self, Wish};
use crate::app::line::Error;
use crate::app::text::Stamp;
use crate::names;
use crate::post::Kind;

/// The command, with everything that it needs.
pub(super) fn build(entry: &'static Entry, argument: &str) -> Result<Command, Error> {
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
        "reply" => reply(entry, argument)?,
        "join" => Command::Join {
            room: needed(argument)?,
        },
        "part" => part(argument)?,
        "create" => Command::Create(create(entry, argument)?),
        "close" => Command::Close {
            room: (!argument.is_empty()).then(|| argument.to_owned()),
        },
        "nick" => Command::Nick {
            nick: needed(argument)?,
        },
        "topic" => Command::Topic {
            text: match argument {
                "" => None,
                "-" => Some(String::new()),
                text => Some(text.to_owned()),
            },
        },
        "ping" => Command::Ping {
            peer: needed(argument)?,
        },
        "ignore" => Command::Ignore {
            peer: (!argument.is_empty()).then(|| argument.to_owned()),
            ignored: None,
        },
        "delay" | "drop" | "partition" | "heal" => Command::Fault(wish(entry, argument)?),
        "rooms" => Command::Rooms,
        "who" => Command::Who,
        "history" => history(argument),
        "export" => Command::Export {
            file: (!argument.is_empty()).then(|| argument.to_owned()),
        },
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

/// `/reply bob:3 yes` or `/reply yes`: a first word that could be a message's id is one.
fn reply(entry: &Entry, argument: &str) -> Result<Command, Error> {
    let (first, rest) = argument.split_once(char::is_whitespace).unwrap_or((argument, ""));
    let (id, text) = match is_id(first) {
        true => (Some(first.to_owned()), rest.trim()),
        false => (None, argument),
    };
    if text.is_empty() {
        return Err(error("missing_argument", format!("usage: {}", entry.usage)));
    }
    Ok(Command::Reply {
        id,
        text: text.to_owned(),
    })
}

/// `bob:3` or `bob#c0de44aa:3`, and not a time of day.
fn is_id(word: &str) -> bool {
    let Some((name, seq)) = word.rsplit_once(':') else {
        return false;
    };
    let nick = name.split('#').next().unwrap_or(name);
    let is_nick = names::check_nick(nick).is_ok() && !nick.chars().all(|c| c.is_ascii_digit());
    is_nick && !seq.is_empty() && seq.chars().all(|c| c.is_ascii_digit())
}

/// `/delay bob 0-1500ms`, `/drop bob 30%`, `/partition ana bob | cyd`
fn wish(entry: &Entry, argument: &str) -> Result<Wish, Error> {
    let words: Vec<_> = argument.split_whitespace().collect();
    Ok(match (entry.name, words.as_slice()) {
        ("delay", [peer, range]) => Wish::Delay {
            peer: (*peer).to_owned(),
            range: chaos::range(range)?,
        },
        ("drop", [peer, percent]) => Wish::Drop {
            peer: (*peer).to_owned(),
            percent: chaos::percent(percent)?,
        },
        ("partition", [_, ..]) => {
            let group = |group: &str| group.split_whitespace().map(str::to_owned).collect();
            Wish::Partition {
                groups: argument.split('|').map(group).collect(),
            }
        }
        ("heal", []) => Wish::Heal,
        _ => return Err(error("bad_argument", format!("usage: {}", entry.usage))),
    })
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

pub(super) fn reason(reason: &str) -> Result<String, Error> {
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
