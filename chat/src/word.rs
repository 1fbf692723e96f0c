//! What a chat says of itself or of a room, inside a multicast payload, beside what people say (`post`).
//!
//! One byte of version, then postcard. A reader that does not know a word shows it as something that needs a newer
//! version, and nothing else comes of it.

use bytes::Bytes;
use multicast::MemberId;
use serde::{Deserialize, Serialize};

use crate::app::charter;
use crate::names;

/// The next after that of a post, so that nobody takes one for the other.
const VERSION: u8 = 2;

/// One such word.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Word {
    /// Its sender shows under this nick from now on.
    Nick(String),
    /// What the room is about. Said again for newcomers it has what decided that it is the last one.
    Topic { text: String, set: Option<Rank> },
}

/// Where a topic stands among all: the greatest one is shown.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Rank {
    /// The Lamport time at which it was set.
    pub lamport: u64,
    /// Who set it.
    pub by: MemberId,
}

impl Word {
    /// The payload for multicast.
    pub fn encode(&self) -> Bytes {
        let bytes = postcard::to_extend(self, vec![VERSION]).expect("a vector takes any number of bytes");
        bytes.into()
    }

    /// Reads a payload that somebody sent; nothing, if it is no word that a chat would say.
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let rest = payload.strip_prefix(&[VERSION])?;
        let word: Self = postcard::from_bytes(rest).ok()?;
        let is_sound = match &word {
            Self::Nick(nick) => names::check_nick(nick).is_ok(),
            Self::Topic { text, .. } => charter::check_topic(text).is_ok(),
        };
        is_sound.then_some(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::post::Post;

    #[test]
    fn a_word_comes_back_as_it_went_and_is_no_post() {
        let set = Some(Rank {
            lamport: 7,
            by: MemberId::from(3),
        });
        let topic = Word::Topic {
            text: "on call".into(),
            set,
        };
        for word in [Word::Nick("annie".into()), topic] {
            let bytes = word.encode();
            assert!(Post::decode(&bytes).is_err());
            for end in 0..bytes.len() {
                assert_eq!(Word::decode(&bytes[..end]), None, "cut at {end}");
            }
            assert_eq!(Word::decode(&bytes), Some(word));
        }
        assert_eq!(Word::decode(&Post::text("hi").encode().unwrap()), None);
    }

    #[test]
    fn hostile_words_are_none() {
        let odd = [
            Word::Nick("\u{1b}[31m".into()),
            Word::Nick(String::new()),
            Word::Nick("x".repeat(33)),
            Word::Topic {
                text: "a\u{202e}b".into(),
                set: None,
            },
            Word::Topic {
                text: "x".repeat(charter::TOPIC_MAX + 1),
                set: None,
            },
        ];
        for word in odd {
            assert_eq!(Word::decode(&word.encode()), None, "{word:?}");
        }
    }
}
