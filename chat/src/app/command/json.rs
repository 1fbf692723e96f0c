//! JSON input: `{"do":"send","text":"hi","ref":"x1"}`. `do` is any slash command's name.

use serde_json::{Map, Value};

use super::{Asked, Command, Create, Entry, Error, error, table, typed};
use crate::app::chaos::{self, Wish};
use crate::app::clean;
use crate::app::line::Ref;
use crate::post::Kind;

/// Reads one line. An error carries the `ref` whenever that could be read.
pub(super) fn parse(line: &str) -> Result<Asked, Error> {
    let object = match serde_json::from_str(line) {
        Ok(Value::Object(object)) => object,
        Ok(_) => {
            return Err(error(
                "bad_json",
                "an input line is a JSON object like {\"do\":\"who\"}",
            ));
        }
        Err(trouble) => return Err(error("bad_json", format!("not JSON: {trouble}"))),
    };
    let reference = reference(&object)?;
    let with_ref = |error: Error| Error {
        reference: reference.clone(),
        ..error
    };
    let fields = Fields(&object);
    let command = fields.command().map_err(with_ref)?;
    let room = fields.optional("room").map_err(with_ref)?;
    Ok(Asked {
        command,
        reference,
        room: room.map(|room| room.trim_start_matches('#').to_owned()),
    })
}

fn reference(object: &Map<String, Value>) -> Result<Option<Ref>, Error> {
    match object.get("ref") {
        None | Some(Value::Null) => Ok(None),
        Some(given @ (Value::String(_) | Value::Number(_))) => Ok(Some(given.clone())),
        Some(_) => Err(error("bad_argument", "\"ref\" is a string or a number")),
    }
}

struct Fields<'a>(&'a Map<String, Value>);

impl Fields<'_> {
    fn command(&self) -> Result<Command, Error> {
        let Some(name) = self.optional("do")? else {
            return Err(error(
                "bad_json",
                "\"do\" is missing, as in {\"do\":\"send\",\"text\":\"hi\"}",
            ));
        };
        let name = name.to_lowercase();
        if name == "send" {
            return Ok(Command::Send {
                kind: Kind::Text,
                text: self.needed("send", "text")?,
                reply_to: self.optional("reply_to")?,
            });
        }
        let entry = table::exact(&name).ok_or_else(|| Error {
            screen: None,
            ..table::unknown(&name)
        })?;
        self.built(entry)
    }

    fn built(&self, entry: &'static Entry) -> Result<Command, Error> {
        match entry.name {
            "me" => Ok(Command::Send {
                kind: Kind::Action,
                text: self.needed("me", "text")?,
                reply_to: self.optional("reply_to")?,
            }),
            "reply" => Ok(Command::Reply {
                id: self.optional("id")?,
                text: self.needed("reply", "text")?,
            }),
            "why" => Ok(Command::Why {
                id: self.needed("why", "id")?,
            }),
            "info" => Ok(Command::Info {
                id: self.optional("id")?,
            }),
            "join" => Ok(Command::Join {
                room: self.needed("join", "room")?,
            }),
            "create" => Ok(Command::Create(Create {
                room: self.needed("create", "room")?,
                ordered: self.flag("ordered")?,
                private: self.flag("private")?,
                topic: self.optional("topic")?.unwrap_or_default(),
            })),
            // The room is the one of the line.
            "close" => Ok(Command::Close { room: None }),
            "part" => Ok(Command::Part {
                room: None,
                reason: typed::reason(&self.optional("reason")?.unwrap_or_default())?,
            }),
            "history" => Ok(Command::History {
                limit: self.number("limit")?.unwrap_or(super::HISTORY).min(super::HISTORY_MAX),
                text: self.optional("text")?.filter(|text| !text.is_empty()),
            }),
            "nick" | "topic" | "ping" | "ignore" | "delay" | "drop" | "partition" | "heal" => self.about(entry.name),
            "export" => Ok(Command::Export {
                file: self.optional("file")?,
            }),
            "search" => typed::build(entry, &self.needed("search", "text")?),
            "leave" => typed::build(entry, &self.optional("reason")?.unwrap_or_default()),
            "stamp" => typed::build(entry, &self.optional("mode")?.unwrap_or_default()),
            _ => typed::build(entry, ""),
        }
    }

    fn needed(&self, name: &str, field: &str) -> Result<String, Error> {
        match self.optional(field)? {
            Some(text) if !text.is_empty() => Ok(text),
            _ => Err(error(
                "missing_argument",
                format!(
                    "\"{}\" needs \"{field}\", a string that is not empty",
                    clean::line(name)
                ),
            )),
        }
    }

    /// What this chat tells of itself and of a room, and what it does about peers.
    fn about(&self, name: &str) -> Result<Command, Error> {
        match name {
            "nick" => Ok(Command::Nick {
                nick: self.needed("nick", "name")?,
            }),
            "topic" => Ok(Command::Topic {
                text: self.optional("text")?,
            }),
            "ping" => Ok(Command::Ping {
                peer: self.needed("ping", "peer")?,
            }),
            "ignore" => Ok(Command::Ignore {
                peer: self.optional("peer")?,
                ignored: Some(self.flag_or("ignored", true)?),
            }),
            _ => self.wish(name).map(Command::Fault),
        }
    }

    fn wish(&self, name: &str) -> Result<Wish, Error> {
        Ok(match name {
            "delay" => Wish::Delay {
                peer: self.needed(name, "peer")?,
                range: chaos::range(&self.needed(name, "range")?)?,
            },
            "drop" => Wish::Drop {
                peer: self.needed(name, "peer")?,
                percent: match self.number("percent")? {
                    Some(percent) => chaos::percent(&percent.to_string())?,
                    None => return Err(error("missing_argument", "\"drop\" needs \"percent\", 0 to 100")),
                },
            },
            "partition" => Wish::Partition { groups: self.groups()? },
            _ => Wish::Heal,
        })
    }

    /// `[["ana"],["bob","cyd"]]`
    fn groups(&self) -> Result<Vec<Vec<String>>, Error> {
        let groups = self.0.get("groups").cloned().unwrap_or_default();
        let groups: Option<Vec<Vec<String>>> = serde_json::from_value(groups).ok();
        let refusal = || error("bad_argument", "\"groups\" is a list of lists of peers");
        groups.filter(|groups| !groups.is_empty()).ok_or_else(refusal)
    }

    fn flag(&self, field: &str) -> Result<bool, Error> {
        self.flag_or(field, false)
    }

    fn flag_or(&self, field: &str, standard: bool) -> Result<bool, Error> {
        match self.0.get(field) {
            None | Some(Value::Null) => Ok(standard),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(error("bad_argument", format!("\"{field}\" is true or false"))),
        }
    }

    fn number(&self, field: &str) -> Result<Option<usize>, Error> {
        match self.0.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match value.as_u64() {
                Some(number) => Ok(Some(usize::try_from(number).unwrap_or(usize::MAX))),
                None => Err(error("bad_argument", format!("\"{field}\" is a number from 0"))),
            },
        }
    }

    fn optional(&self, field: &str) -> Result<Option<String>, Error> {
        match self.0.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(error("bad_argument", format!("\"{field}\" is a string"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(line: &str) -> (&'static str, Option<Ref>) {
        let error = parse(line).unwrap_err();
        (error.code, error.reference)
    }

    #[test]
    fn arguments_go_by_name() {
        let asked = parse(r##"{"do":"send","room":"#lobby","text":"a\nb","ref":"x1","reply_to":"bob:2"}"##).unwrap();
        assert_eq!(asked.reference, Some("x1".into()));
        assert_eq!(asked.room.as_deref(), Some("lobby"));
        let expected = Command::Send {
            kind: Kind::Text,
            text: "a\nb".into(),
            reply_to: Some("bob:2".into()),
        };
        assert_eq!(asked.command, expected);
        assert_eq!(parse(r#"{"do":"WHO"}"#).unwrap().command, Command::Who);
        assert_eq!(
            parse(r#"{"do":"quit","reason":"bye"}"#).unwrap().command,
            Command::Leave { reason: "bye".into() }
        );
    }

    #[test]
    fn a_slash_in_json_text_is_text() {
        let Command::Send { text, .. } = parse(r#"{"do":"send","text":"/leave"}"#).unwrap().command else {
            panic!("not a text");
        };
        assert_eq!(text, "/leave");
    }

    #[test]
    fn refusals_have_a_code_and_the_ref() {
        assert_eq!(refused(r#"{"do":"sen"#), ("bad_json", None));
        assert_eq!(refused("[1]"), ("bad_json", None));
        assert_eq!(refused(r#"{"ref":7}"#), ("bad_json", Some(7.into())));
        assert_eq!(
            refused(r#"{"do":"foo","ref":"x9"}"#),
            ("unknown_command", Some("x9".into()))
        );
        assert_eq!(
            refused(r#"{"do":"send","ref":"a"}"#),
            ("missing_argument", Some("a".into()))
        );
        assert_eq!(
            refused(r#"{"do":"send","text":5,"ref":"a"}"#),
            ("bad_argument", Some("a".into()))
        );
        assert_eq!(refused(r#"{"do":"send","text":"x","ref":[]}"#), ("bad_argument", None));
        assert_eq!(parse(r#"{"do":"foo"}"#).unwrap_err().text, "no command /foo");
    }
}
