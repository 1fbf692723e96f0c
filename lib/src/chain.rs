//! Chains: an origin's messages as a chain of hashes, whose heads it signs; and the proof that it signed two.
//!
//! The unit is a *segment*: consecutive messages that their origin composed together, with one clock but for their own
//! dots. Its digest is over bytes that are canonical, in long slices, so that a message costs next to nothing.

use std::sync::LazyLock;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::id::{GroupId, MemberId};
use crate::message::Message;
use crate::run::{Run, SEALED_RUN, Sealed, Seals, put_first};
use crate::sign::{Bytes64, Key, Scheme, Signer, verify};

/// The hash of everything that an origin said up to some seq; of nothing, 32 zero bytes.
pub type Head = [u8; 32];

/// The head before the first message.
pub(crate) const START: Head = [0; 32];
/// Most messages in a segment: repair is in whole segments, and a burst is signed once.
pub(crate) const SEGMENT_MESSAGES: usize = 512;
/// A segment that has so many bytes takes no more messages: with one of the longest it fits into any answer.
pub(crate) const SEGMENT_BYTES: usize = 64 << 10;
/// Every so many segments at least one has a signature of its own: what leads to the next signed head stays short.
pub(crate) const TRAIL: usize = 64;

static SEGMENT_KEY: LazyLock<Head> = LazyLock::new(|| blake3::derive_key("multicast 2026-11 digest of a segment", &[]));
static HEAD_KEY: LazyLock<Head> = LazyLock::new(|| blake3::derive_key("multicast 2026-11 head of a chain", &[]));

/// An ed25519 signature.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Mark(pub [u8; 64]);

/// A segment as a link of its origin's chain.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Segment {
    pub(crate) first: u64,
    pub(crate) count: u64,
    pub(crate) prev: Head,
    pub(crate) digest: Head,
}

/// What comes after a segment: another one's count and digest.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Step {
    /// How many messages.
    pub count: u64,
    /// Their digest.
    pub digest: Head,
}

/// What an origin signed about some of its messages.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Statement {
    /// The seq of the first of them.
    pub first: u64,
    /// The head before it.
    pub prev: Head,
    /// The segment that this is about, and those that lead from it to the head that is signed.
    #[serde(deserialize_with = "crate::bound::list")]
    pub steps: Vec<Step>,
    /// The signature of that head.
    pub signature: Mark,
}

/// Two signed statements of one origin that cannot both be: it said different things to different members, or two
/// processes use its key. Anybody can verify it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Proof {
    /// In which group.
    pub group: GroupId,
    /// Whose chain.
    pub member: MemberId,
    /// Whose key.
    pub key: Key,
    /// One statement,
    pub one: Statement,
    /// and the other.
    pub other: Statement,
}

/// Why a proof proves nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ProofError {
    /// A signature, or the key, is not that member's.
    NotSigned,
    /// Both can be true.
    NoConflict,
}

impl std::fmt::Display for ProofError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NotSigned => "a signature, or the key, is not that member's",
            Self::NoConflict => "both statements can be true",
        })
    }
}

impl std::error::Error for ProofError {}

impl Segment {
    pub(crate) fn last(&self) -> u64 {
        self.first.saturating_add(self.count) - 1
    }

    pub(crate) fn head(&self) -> Head {
        head_after(&self.prev, self.first, self.count, &self.digest)
    }

    /// Whether no chain has both.
    pub(crate) fn conflicts(&self, other: &Self) -> bool {
        let (low, high) = if self.first <= other.first {
            (self, other)
        } else {
            (other, self)
        };
        match low.last().saturating_add(1) {
            next if next > high.first => low != high,
            next if next == high.first => low.head() != high.prev,
            _ => false,
        }
    }
}

impl Statement {
    pub(crate) fn segment(&self) -> Option<Segment> {
        let step = self.steps.first()?;
        Some(Segment {
            first: self.first,
            count: step.count,
            prev: self.prev,
            digest: step.digest,
        })
    }

    /// The segments, one after the other. None, if their numbers cannot be.
    pub(crate) fn segments(&self) -> Option<Vec<Segment>> {
        let (mut first, mut prev) = (self.first, self.prev);
        let fits = (1..=1 + TRAIL).contains(&self.steps.len()) && (1..=crate::clock::MAX_NUMBER).contains(&first);
        let mut segments = Vec::with_capacity(if fits { self.steps.len() } else { 0 });
        for step in fits.then_some(&self.steps)? {
            if !(1..=SEGMENT_MESSAGES as u64).contains(&step.count) {
                return None;
            }
            let (count, digest) = (step.count, step.digest);
            let segment = Segment {
                first,
                count,
                prev,
                digest,
            };
            (first, prev) = (segment.last() + 1, segment.head());
            segments.push(segment);
        }
        Some(segments)
    }

    pub(crate) fn is_signed(&self, scheme: Scheme, by: (GroupId, MemberId, &Key)) -> bool {
        let end = self.segments().and_then(|segments| segments.last().copied());
        end.is_some_and(|end| verify(scheme, by, end.last(), &end.head(), &self.signature.0))
    }
}

impl Proof {
    /// Whether it proves that the holder of the member's key signed two chains.
    ///
    /// # Errors
    /// [`ProofError`]: it proves nothing, and says nothing about the member.
    pub fn verify(&self) -> Result<(), ProofError> {
        self.verify_by(Scheme::Ed25519)
    }

    /// Most bytes that it takes in a frame.
    pub(crate) fn encoded_bound(&self) -> usize {
        // Ids, keys, heads, signatures and numbers; of each step a head and a number.
        512 + (self.one.steps.len() + self.other.steps.len()) * (32 + 10)
    }

    pub(crate) fn verify_by(&self, scheme: Scheme) -> Result<(), ProofError> {
        let by = (self.group, self.member, &self.key);
        let conflict = match (self.one.segment(), self.other.segment()) {
            (Some(one), Some(other)) => one.count > 0 && other.count > 0 && one.conflicts(&other),
            _ => false,
        };
        if !conflict {
            return Err(ProofError::NoConflict);
        }
        match self.one.is_signed(scheme, by) && self.other.is_signed(scheme, by) {
            true => Ok(()),
            false => Err(ProofError::NotSigned),
        }
    }
}

/// The digest of a segment: its first message with its full clock, how many there are, and the hash of the bytes of the
/// others, if there are others.
pub(crate) fn digest_of(group: GroupId, first: &Message, count: u64, rest: Option<Head>) -> Head {
    let mut head = Vec::with_capacity(128 + first.past.len() * 24);
    head.extend_from_slice(&group.0);
    put_first(&mut head, first, count);
    let mut hasher = blake3::Hasher::new_keyed(&SEGMENT_KEY);
    hasher.update(&head);
    hasher.update(&first.payload);
    hasher.update(rest.as_ref().map_or(&[], |rest| &rest[..]));
    hasher.finalize().into()
}

fn head_after(prev: &Head, first: u64, count: u64, digest: &Head) -> Head {
    let mut said = [0; 80];
    said[..32].copy_from_slice(prev);
    said[32..40].copy_from_slice(&first.to_be_bytes());
    said[40..48].copy_from_slice(&count.to_be_bytes());
    said[48..].copy_from_slice(digest);
    blake3::keyed_hash(&HEAD_KEY, &said).into()
}

impl Seals {
    /// After how many messages of the run each of its segments ends.
    pub(crate) fn ends(&self) -> impl Iterator<Item = usize> + '_ {
        let here = self.segments.iter().take_while(|sealed| sealed.digest.is_none());
        here.scan(0, |end, sealed| {
            *end += sealed.count as usize;
            Some(*end)
        })
    }

    /// Whether they can be those of a run of so many messages, and it ends signed. `alone`: whether a message may only
    /// be a segment of its own; `changes`: the numbers of messages whose clock changes, ascending.
    pub(crate) fn check(
        &self,
        count: usize,
        alone: impl Fn(usize) -> bool,
        payloads: impl Fn(std::ops::Range<usize>) -> usize,
        changes: impl Iterator<Item = u32>,
    ) -> Result<(), &'static str> {
        let content = self
            .segments
            .iter()
            .take_while(|sealed| sealed.digest.is_none())
            .count();
        let (content, trail) = self.segments.split_at(content);
        if trail.len() > TRAIL || trail.iter().any(|sealed| sealed.digest.is_none()) {
            return Err("segments out of order");
        }
        if self.segments.last().is_none_or(|last| last.signature.is_none()) {
            return Err("a sealed run that does not end signed");
        }
        let (mut at, mut changes) = (0, changes.peekable());
        for sealed in content {
            let end = at + sealed.count as usize;
            if sealed.count == 0 || sealed.count as usize > SEGMENT_MESSAGES || end > count {
                return Err("segment of a size that cannot be");
            }
            if sealed.count > 1 && (at..end).any(&alone) {
                return Err("a segment with what must stand alone");
            }
            if payloads(at..end) > SEALED_RUN {
                return Err("segment over the limit");
            }
            while changes.next_if(|nth| *nth as usize <= at).is_some() {}
            if changes.peek().is_some_and(|nth| (*nth as usize) < end) {
                return Err("a clock that changes within a segment");
            }
            at = end;
        }
        let fits = |sealed: &Sealed| (1..=SEGMENT_MESSAGES).contains(&(sealed.count as usize));
        match at == count && trail.iter().all(fits) {
            true => Ok(()),
            false => Err("segment of a size that cannot be"),
        }
    }
}

/// Seals a run that begins with a full clock, each message a segment that is signed: for tests, where members lie. Also the
/// head behind each message. None, if the run cannot travel.
#[doc(hidden)]
pub fn seal_run(run: Run, signer: &Signer, mut prev: Head) -> Option<(Run, Vec<Head>)> {
    let run = run.travelled()?;
    let (key, first_prev, mut heads, mut segments) = (signer.key(), prev, Vec::new(), Vec::new());
    for (piece, _) in crate::piece::cut(run.clone(), 0, Default::default()).0 {
        for message in piece.messages() {
            let digest = digest_of(signer.group(), &message, 1, None);
            prev = head_after(&prev, message.dot.seq, 1, &digest);
            heads.push(prev);
            segments.push(Sealed {
                count: 1,
                digest: None,
                signature: Some(Mark(signer.sign(message.dot.seq, &prev))),
            });
        }
    }
    let seals = Seals {
        key,
        prev: first_prev,
        segments,
    };
    Some((run.with_seals(seals).travelled_anew()?, heads))
}

impl Serialize for Mark {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (low, high): (&[u8; 32], &[u8; 32]) = halves(&self.0);
        (low, high).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Mark {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (low, high): ([u8; 32], [u8; 32]) = Deserialize::deserialize(deserializer)?;
        let mut out: Bytes64 = [0; 64];
        out[..32].copy_from_slice(&low);
        out[32..].copy_from_slice(&high);
        Ok(Self(out))
    }
}

fn halves(bytes: &Bytes64) -> (&[u8; 32], &[u8; 32]) {
    let (low, high) = bytes.split_at(32);
    (low.try_into().expect("32 bytes"), high.try_into().expect("32 bytes"))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::clock::SharedEntries;
    use crate::message::Kind;
    use crate::run::{Entry, Past};

    fn said(words: &[&'static str], signer: &Signer, first: u64, prev: Head) -> (Run, Vec<Head>) {
        let entry = |(nth, word): (usize, &&'static str)| Entry {
            lamport: first + nth as u64,
            sent_at: 7,
            kind: Kind::App,
            past: if nth == 0 {
                Past::Full(Vec::new())
            } else {
                Past::Changes(Vec::new())
            },
            payload: Bytes::from_static(word.as_bytes()),
        };
        let entries = words.iter().enumerate().map(entry).collect();
        seal_run(Run::new(signer.member(), first, entries), signer, prev).expect("can travel")
    }

    fn statement(run: &Run, nth: usize, prev: Head, group: GroupId) -> Statement {
        let entry = run.entries().nth(nth).expect("one of these");
        let (origin, seq) = (run.origin(), run.first() + nth as u64);
        let message = Message {
            dot: crate::id::Dot { origin, seq },
            lamport: entry.lamport,
            sent_at: entry.sent_at,
            kind: entry.kind,
            past: Default::default(),
            payload: entry.payload,
        };
        let digest = digest_of(group, &message, 1, None);
        Statement {
            first: seq,
            prev,
            steps: vec![Step { count: 1, digest }],
            signature: run.seals().expect("sealed").segments[nth].signature.expect("signed"),
        }
    }

    #[test]
    fn two_histories_of_one_key_are_a_proof_and_one_is_not() {
        let group = GroupId::named("lobby");
        let signer = Signer::ed25519(&[1; 32], group, 0);
        let (one, heads) = said(&["a", "b", "c"], &signer, 1, START);
        let (other, others) = said(&["a", "x", "c"], &signer, 1, START);
        assert_eq!(heads[0], others[0]);
        assert_ne!(heads[2], others[2], "a head stands for everything before it");
        let proof = |one, other| Proof {
            group,
            member: signer.member(),
            key: signer.key(),
            one,
            other,
        };
        let at = |nth: usize| {
            let prev = |heads: &[Head]| nth.checked_sub(1).map_or(START, |nth| heads[nth]);
            (
                statement(&one, nth, prev(&heads), group),
                statement(&other, nth, prev(&others), group),
            )
        };
        assert_eq!(proof(at(1).0, at(1).1).verify(), Ok(()));
        // Also where they say the same again, and side by side.
        assert_eq!(proof(at(2).0, at(2).1).verify(), Ok(()));
        assert_eq!(proof(at(1).0, at(2).1).verify(), Ok(()));
        assert_eq!(proof(at(0).0, at(0).1).verify(), Err(ProofError::NoConflict));
        assert_eq!(proof(at(0).0, at(1).0).verify(), Err(ProofError::NoConflict));
        assert_eq!(proof(at(0).0, at(2).1).verify(), Err(ProofError::NoConflict));
        // What it did not sign proves nothing: another's signature, another seq, another group.
        let stranger = Signer::ed25519(&[2; 32], group, 0);
        let mut forged = at(1);
        forged.1.signature = Mark(stranger.sign(2, &[9; 32]));
        assert_eq!(proof(forged.0, forged.1).verify(), Err(ProofError::NotSigned));
        let mut moved = at(1);
        moved.1.steps[0].count = 2;
        assert_eq!(proof(moved.0, moved.1).verify(), Err(ProofError::NotSigned));
        let mut elsewhere = proof(at(1).0, at(1).1);
        elsewhere.group = GroupId::named("other");
        assert_eq!(elsewhere.verify(), Err(ProofError::NotSigned));
        let mut empty = proof(at(1).0, at(1).1);
        empty.other.steps.clear();
        assert_eq!(empty.verify(), Err(ProofError::NoConflict));
        let mut endless = proof(at(1).0, at(1).1);
        endless.other.steps[0].count = u64::MAX;
        endless.other.first = u64::MAX;
        assert!(endless.verify().is_err());
    }

    #[test]
    fn every_part_of_a_segment_is_in_its_digest() {
        let group = GroupId::named("lobby");
        let signer = Signer::toy(MemberId([1; 16]), group);
        let (run, _) = said(&["a"], &signer, 1, START);
        let entry = run.entries().next().expect("one");
        let message = Message {
            dot: crate::id::Dot {
                origin: run.origin(),
                seq: 1,
            },
            lamport: 1,
            sent_at: 7,
            kind: Kind::App,
            past: Default::default(),
            payload: entry.payload,
        };
        let digest = |message: &Message, count| digest_of(group, message, count, None);
        let plain = digest(&message, 1);
        let changes: &[fn(&mut Message)] = &[
            |message| message.dot.seq = 2,
            |message| message.dot.origin = MemberId([2; 16]),
            |message| message.lamport = 2,
            |message| message.sent_at = 8,
            |message| message.kind = Kind::Call,
            |message| message.past = SharedEntries::from_sorted(vec![(MemberId([3; 16]), 1)]),
            |message| message.payload = Bytes::from_static(b"b"),
        ];
        for (nth, change) in changes.iter().enumerate() {
            let mut other = message.clone();
            change(&mut other);
            assert_ne!(digest(&other, 1), plain, "change {nth}");
        }
        assert_ne!(digest(&message, 2), plain);
        assert_ne!(digest_of(group, &message, 1, Some([0; 32])), plain);
        assert_ne!(digest_of(GroupId::named("other"), &message, 1, None), plain);
    }
}
