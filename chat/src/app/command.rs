//! What an input line asks for: plain text with slash commands, or JSON.

mod json;
mod table;
mod typed;

use super::chaos::Wish;
use super::line::{Error, Ref};
use super::text::Stamp;
use crate::post::Kind;

pub use table::{COMMANDS, Entry};

/// Longest reason of a leave, in characters: it stands in one line on everyone's screen.
pub const REASON_MAX: usize = 256;
/// Messages that `/history` tells, if it is not told how many: a screenful.
const HISTORY: usize = 20;
/// The most that it tells: `chat history` tells all.
pub const HISTORY_MAX: usize = 1000;

/// What to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Say something; `reply_to` is a message's id as it was written.
    Send {
        kind: Kind,
        text: String,
        reply_to: Option<String>,
    },
    /// Answer a message: the one of that id, else the newest of somebody else.
    Reply {
        id: Option<String>,
        text: String,
    },
    Leave {
        reason: String,
    },
    /// Be called this from now on.
    Nick {
        nick: String,
    },
    /// What a room is about: from now on (nothing, if it is empty), or at present.
    Topic {
        text: Option<String>,
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
    /// Write what is kept of the room into a new file.
    Export {
        file: Option<String>,
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
    /// How long somebody takes to answer.
    Ping {
        peer: String,
    },
    /// Whose words are not shown, after this change, if there is one.
    Ignore {
        peer: Option<String>,
        ignored: Option<bool>,
    },
    /// A fault on purpose.
    Fault(Wish),
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
    let entry = table::find(name)?;
    let command = typed::build(entry, argument)?;
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

#[cfg(test)]
mod tests;
