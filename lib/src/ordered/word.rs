//! What the sequencers of a group say to each other, in no clock and no log of the engine's.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::bound;
use crate::id::{MemberId, Span};

/// Longest word in bytes: a snapshot that names as many origins as a group may ever have had fits, and what a hostile one
/// becomes in memory stays small.
pub(crate) const WORD_BYTES: usize = 256 << 10;
/// Greatest term and index that are believed: nobody who counts by ones ever gets there, and adding to them is safe.
pub(super) const GREATEST: u64 = 1 << 60;

/// A place in the log of order records.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub(super) struct At {
    pub(super) term: u64,
    pub(super) index: u64,
}

/// Who votes, who is to vote, and who only listens until it has caught up.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Voters {
    #[serde(deserialize_with = "bound::list")]
    pub(super) old: Vec<MemberId>,
    /// Empty unless the voters are being changed.
    #[serde(deserialize_with = "bound::list")]
    pub(super) new: Vec<MemberId>,
    #[serde(deserialize_with = "bound::list")]
    pub(super) learners: Vec<MemberId>,
}

impl Voters {
    /// Whether those of whom `is_one` holds are a majority; while the voters are changed, of the old and of the new ones.
    pub(super) fn majority(&self, is_one: impl Fn(MemberId) -> bool) -> bool {
        let most = |of: &[MemberId]| of.iter().filter(|id| is_one(**id)).count() > of.len() / 2;
        most(&self.old) && (self.new.is_empty() || most(&self.new))
    }

    pub(super) fn has(&self, id: MemberId) -> bool {
        self.old.contains(&id) || self.new.contains(&id)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.old.is_empty()
    }
}

/// One entry of that log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Entry {
    /// An authority's term begins.
    Term(u64),
    Voters(Voters),
    Record(Record),
}

/// "These come next, in this order."
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) by: MemberId,
    #[serde(deserialize_with = "bound::list")]
    pub(super) spans: Vec<Span>,
}

/// What is known of the order up to a place, without the order itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Snapshot {
    pub(super) at: At,
    pub(super) voters: Voters,
    /// Of each origin the last seq that has a place.
    #[serde(deserialize_with = "bound::list")]
    pub(super) reach: Vec<(MemberId, u64)>,
    /// How many dots have a place.
    pub(super) count: u64,
}

/// One word.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Word {
    VoteAsk {
        term: u64,
        last: At,
    },
    Vote {
        term: u64,
        granted: bool,
    },
    Append {
        term: u64,
        commit: u64,
        /// Up to here everybody has the log: it need not be kept.
        floor: u64,
        prev: At,
        #[serde(deserialize_with = "bound::list")]
        entries: Vec<Entry>,
    },
    Appended {
        term: u64,
        last: At,
    },
    Install {
        term: u64,
        snapshot: Snapshot,
    },
    /// The authority's wish that `to` be elected now.
    HandOver {
        term: u64,
        to: MemberId,
    },
    /// "Whom do you follow?" Asked when somebody says that it is the authority.
    WhoLeads,
    /// The answer: who has this member's vote, or its faith, in that term. It has none to give before it knows the voters.
    Follows {
        term: u64,
        leader: Option<MemberId>,
    },
}

/// A word, and of which order: two creators make two.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Said {
    pub(super) creator: Option<MemberId>,
    pub(super) word: Word,
}

impl Said {
    pub(super) fn encode(&self) -> Bytes {
        postcard::to_stdvec(self).expect("it has a form").into()
    }

    /// Nothing, unless it is exactly one word within the limits.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > WORD_BYTES {
            return None;
        }
        let (said, rest) = bound::frame(|| postcard::take_from_bytes::<Self>(bytes)).ok()?;
        (rest.is_empty() && said.is_sound()).then_some(said)
    }

    fn is_sound(&self) -> bool {
        let at = |at: &At| at.term <= GREATEST && at.index <= GREATEST;
        match &self.word {
            Word::VoteAsk { term, last } | Word::Appended { term, last } => *term <= GREATEST && at(last),
            Word::Vote { term, .. } | Word::HandOver { term, .. } | Word::Follows { term, .. } => *term <= GREATEST,
            Word::Append {
                term, prev, entries, ..
            } => {
                let mut latest = prev.term;
                *term <= GREATEST
                    && at(prev)
                    && prev.term <= *term
                    && entries.iter().all(|entry| match entry {
                        Entry::Term(new) => std::mem::replace(&mut latest, *new) < *new && new <= term,
                        Entry::Voters(voters) => sound_voters(voters),
                        Entry::Record(record) => sound_record(record),
                    })
            }
            Word::Install { term, snapshot } => {
                *term <= GREATEST
                    && at(&snapshot.at)
                    && snapshot.at.term <= *term
                    && snapshot.count <= GREATEST
                    && sound_voters(&snapshot.voters)
            }
            Word::WhoLeads => true,
        }
    }
}

fn sound_voters(voters: &Voters) -> bool {
    !voters.is_empty() && voters.learners.iter().all(|id| !voters.has(*id))
}

/// Its dots can be counted through: not one span that goes on for ever.
fn sound_record(record: &Record) -> bool {
    let sound = |span: &Span| span.from >= 1 && span.from <= span.to;
    let dots = record
        .spans
        .iter()
        .fold(0u64, |sum, span| sum.saturating_add(span.count()));
    record.spans.iter().all(sound) && dots <= super::RECORD_DOTS as u64
}
