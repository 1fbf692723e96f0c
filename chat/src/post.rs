//! What a chat message looks like inside a multicast payload.
//!
//! One byte of version, then the fields in postcard. Within version 1 the format may only grow at its end:
//! readers ignore what follows the fields that they know. Anything else needs another version byte, which today's
//! readers show as "cannot be shown here" and never as a crash.

use bytes::Bytes;
use multicast::{Dot, MAX_PAYLOAD};
use serde::{Deserialize, Serialize};

const VERSION: u8 = 1;

/// One thing that a person (or a script) said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Post {
    /// How it was said.
    pub kind: Kind,
    /// The words, as they were typed: nothing is neutralised before it is shown.
    pub text: String,
    /// The message that it answers.
    pub reply_to: Option<Dot>,
}

/// How something was said.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Said plainly.
    Text,
    /// Said of oneself in the third person, as `/me waves`.
    Action,
}

/// Why a payload cannot be shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unreadable {
    /// Written by a version of the chat that this one does not know.
    #[error("it needs a newer version of chat (format {0})")]
    Version(u8),
    /// Not written by a chat at all, or damaged.
    #[error("it is not a chat message")]
    Malformed,
}

/// The post would not fit into one multicast message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the message has {bytes} bytes; at most {limit} can be sent. Send it in parts")]
pub struct TooLong {
    /// Its length with what surrounds the text.
    pub bytes: usize,
    /// The limit.
    pub limit: usize,
}

/// Version 1 on the wire. New kinds get new numbers, so an unknown one is told apart from damage.
#[derive(Serialize, Deserialize)]
struct Wire<'a> {
    kind: Kind,
    text: &'a str,
    reply_to: Option<Dot>,
}

impl Post {
    /// A plain text.
    #[cfg(test)]
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            kind: Kind::Text,
            text: text.into(),
            reply_to: None,
        }
    }

    /// The payload for multicast.
    pub fn encode(&self) -> Result<Bytes, TooLong> {
        let wire = Wire {
            kind: self.kind,
            text: &self.text,
            reply_to: self.reply_to,
        };
        let bytes = postcard::to_extend(&wire, vec![VERSION]).expect("a vector takes any number of bytes");
        if bytes.len() > MAX_PAYLOAD {
            return Err(TooLong {
                bytes: bytes.len(),
                limit: MAX_PAYLOAD,
            });
        }
        Ok(bytes.into())
    }

    /// Reads a payload that somebody sent: hostile bytes end here.
    pub fn decode(payload: &[u8]) -> Result<Self, Unreadable> {
        match payload.split_first() {
            Some((&VERSION, rest)) => {
                let (wire, _later_fields) =
                    postcard::take_from_bytes::<Wire<'_>>(rest).map_err(|_| Unreadable::Malformed)?;
                Ok(Self {
                    kind: wire.kind,
                    text: wire.text.to_owned(),
                    reply_to: wire.reply_to,
                })
            }
            Some((&version, _)) => Err(Unreadable::Version(version)),
            None => Err(Unreadable::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use multicast::MemberId;

    use super::*;

    #[test]
    fn a_post_comes_back_as_it_went() {
        let post = Post {
            kind: Kind::Action,
            text: "waves\nat \u{1b}[31m everyone".into(),
            reply_to: Some(Dot {
                origin: MemberId::from(7),
                seq: 3,
            }),
        };
        assert_eq!(Post::decode(&post.encode().unwrap()), Ok(post));
    }

    #[test]
    fn later_fields_are_ignored_and_other_versions_named() {
        let mut bytes = Post::text("hi").encode().unwrap().to_vec();
        bytes.extend([1, 2, 3]);
        assert_eq!(Post::decode(&bytes), Ok(Post::text("hi")));
        bytes[0] = 9;
        assert_eq!(Post::decode(&bytes), Err(Unreadable::Version(9)));
    }

    #[test]
    fn damage_is_refused() {
        assert_eq!(Post::decode(&[]), Err(Unreadable::Malformed));
        let bytes = Post::text("hello").encode().unwrap();
        for end in 1..bytes.len() {
            assert!(Post::decode(&bytes[..end]).is_err(), "cut at {end}");
        }
        assert_eq!(Post::decode(&[VERSION, 0, 1, 0xff, 0]), Err(Unreadable::Malformed));
        assert_eq!(Post::decode(&[VERSION, 77, 1, b'a', 0]), Err(Unreadable::Malformed));
    }

    #[test]
    fn a_text_over_the_limit_is_not_encoded() {
        let most = MAX_PAYLOAD - 6; // version, kind, three bytes of length, no reply
        assert!(Post::text("x".repeat(most)).encode().is_ok());
        let refused = Post::text("x".repeat(most + 1)).encode().unwrap_err();
        assert_eq!(refused.bytes, MAX_PAYLOAD + 1);
    }
}
