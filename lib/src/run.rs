//! Runs: consecutive messages of one origin, and their bytes.
//!
//! A run begins with a full clock or, inside a push stream, with the change against the message before it
//! (Singhal and Kshemkalyani 1992, applied to broadcast). Layout, all integers LEB128:
//!
//! ```text
//! run   := version(1 byte) origin(16) first count lamport sent_at flags(1 byte: FULL | SEALED) [clock] [seals] entry*
//! entry := head(1 byte: kind | CHANGED) lamport sent_at [clock] length payload
//! clock := n (member(16) seq)*
//! seals := public key(32) join head before(32) n (flags(1 byte: SIGNED | TRAIL) count [digest(32)] [signature(64)])*
//! ```
//!
//! Seals say which messages are a segment of their origin's chain, and which heads it signed (see [`crate::chain`]); a
//! group that is not signed has none. The segments that are not here, behind those that are, lead to the signed head.
//!
//! In an entry `lamport` and `sent_at` are differences from the message before it, and its clock is what changed since;
//! `sent_at` is zigzag, for wall clocks go backwards. So an entry is the same bytes in whatever run it travels, and its
//! origin writes it once. What the first entry is to be added to is not in the run: its times are in the run's head,
//! and with FULL its clock.
//!
//! Hostile bytes are parsed here, once, into a [`Run`] that cannot be wrong in shape.

mod wire;

use std::fmt;
use std::hash::{Hash, Hasher};

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::chain::{Head as ChainHead, Mark, SEGMENT_BYTES};
use crate::clock::Entries;
use crate::id::MemberId;
use crate::message::Kind;
use crate::sign::Key;
pub(crate) use wire::{Composer, encoded_bound, put_first, put_head, sealed_bound};

/// Consecutive messages of one origin.
///
/// Payloads stay in the bytes that they came in, and most messages say nothing of their clock, so that a message costs
/// 32 bytes here and no allocation.
#[derive(Clone, Debug)]
pub struct Run {
    origin: MemberId,
    first: u64,
    /// One for each message; the nth has seq `first + n`.
    heads: Vec<Head>,
    /// The clocks that travel, by message, ascending.
    pasts: Vec<(u32, Past)>,
    /// Where the payloads lie.
    bytes: Bytes,
    /// The payloads lie among the entries that they belong to.
    travels: bool,
    seals: Option<Box<Seals>>,
}

/// How the messages of a run are cut into segments of their origin's chain, and what it signed of that.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Seals {
    /// Who signed.
    pub key: Key,
    /// The head before the first message.
    pub prev: ChainHead,
    /// The segments of the run, and those that lead from its last one to a head that is signed.
    pub segments: Vec<Sealed>,
}

/// A segment.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Sealed {
    /// How many messages.
    pub count: u32,
    /// Its digest, if its messages are not in the run.
    pub digest: Option<ChainHead>,
    /// The signature of the head behind it, if it has one of its own.
    pub signature: Option<Mark>,
}

/// What is known of one message beside its clock.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Head {
    lamport: u64,
    sent_at: u64,
    /// Its payload, as a place in the run's bytes.
    at: u32,
    length: u32,
    kind: Kind,
}

/// One message of a run, standing alone: its seq follows from its place.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Entry {
    /// Lamport time.
    pub lamport: u64,
    /// Sender's wall clock, microseconds since 1970.
    pub sent_at: u64,
    /// What it is for.
    pub kind: Kind,
    /// Its clock, without its own dot.
    pub past: Past,
    /// The bytes.
    pub payload: Bytes,
}

/// A message's clock as it travels: entries ascending by member, the origin's own left out.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Past {
    /// All entries; none is 0.
    Full(Vec<(MemberId, u64)>),
    /// What changed since the origin's previous message; 0 removes an entry.
    Changes(Vec<(MemberId, u64)>),
}

/// Most messages in one run: bounds what one frame makes a receiver allocate (32 bytes each).
pub(crate) const MAX_RUN: usize = 4096;
/// Most entries of a clock: the most origins that a group may have at a time.
pub(crate) const MAX_CLOCK: usize = 4096;
/// Most clock entries in one run, all messages together: bounds what a frame of 1 MiB costs a receiver.
pub(crate) const MAX_RUN_CLOCKS: usize = 40_000;
/// Most bytes of payload in one segment.
pub(crate) const SEALED_RUN: usize = SEGMENT_BYTES + MAX_PAYLOAD;
/// Longest payload that a run may carry, whatever a group's own limit is. 64 KiB is the documented default limit.
pub const MAX_PAYLOAD: usize = 64 * 1024;

/// Why bytes are not a run. Nothing was taken from them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed(pub &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed run: {}", self.0)
    }
}

impl std::error::Error for Malformed {}

impl Run {
    /// From messages in order, the first of which has seq `first`; at most 4,096. Their payloads are copied together.
    /// What [`Run::decode`] would refuse is not refused here.
    pub fn new(origin: MemberId, first: u64, entries: Vec<Entry>) -> Self {
        let mut bytes = BytesMut::with_capacity(entries.iter().map(|entry| entry.payload.len()).sum());
        let (mut heads, mut pasts) = (Vec::with_capacity(entries.len()), Vec::new());
        for entry in entries {
            let at = bytes.len() as u32;
            bytes.put_slice(&entry.payload);
            if !matches!(&entry.past, Past::Changes(list) if list.is_empty()) {
                pasts.push((heads.len() as u32, entry.past));
            }
            heads.push(Head {
                lamport: entry.lamport,
                sent_at: entry.sent_at,
                at,
                length: entry.payload.len() as u32,
                kind: entry.kind,
            });
        }
        let bytes = bytes.freeze();
        Self {
            origin,
            first,
            heads,
            pasts,
            bytes,
            travels: false,
            seals: None,
        }
    }

    /// The same with these seals. What [`Run::decode`] would refuse is not refused here.
    pub fn with_seals(mut self, seals: Seals) -> Self {
        self.seals = Some(Box::new(seals));
        self
    }

    /// How it is sealed, if it is.
    pub fn seals(&self) -> Option<&Seals> {
        self.seals.as_deref()
    }

    pub(crate) fn take_seals(&mut self) -> Option<Box<Seals>> {
        self.seals.take()
    }

    /// The hash of the bytes of those messages of a segment that are not its first; none if there are none. Only of a run
    /// that came as bytes, or that a [`Composer`] made.
    pub(crate) fn rest(&self, from: usize, to: usize) -> Option<ChainHead> {
        let bytes = (to > from + 1).then(|| &self.bytes[self.entries_end(from + 1)..self.entries_end(to)]);
        bytes.map(|bytes| blake3::hash(bytes).into())
    }

    pub(crate) fn travelled_anew(self) -> Option<Self> {
        Self::decode(&self.encode()).ok()
    }

    /// Brings it into the form in which it travels. None, if it cannot travel.
    pub(crate) fn travelled(self) -> Option<Self> {
        match self.travels {
            true => Some(self),
            false => Self::decode(&self.encode()).ok(),
        }
    }

    /// Who created the messages.
    pub fn origin(&self) -> MemberId {
        self.origin
    }

    /// The seq of the first message; at least 1 if it was decoded.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// How many messages.
    pub fn len(&self) -> usize {
        self.heads.len()
    }

    /// Whether there is no message.
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// The seq of the last message; `first - 1` if there is none.
    pub fn last(&self) -> u64 {
        self.first + self.len() as u64 - 1
    }

    /// The messages, each standing alone.
    pub fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        let mut pasts = self.pasts.iter().peekable();
        (0..self.len()).map(move |nth| Entry {
            lamport: self.lamport(nth),
            sent_at: self.sent_at(nth),
            kind: self.kind(nth),
            past: pasts
                .next_if(|past| past.0 as usize == nth)
                .map_or(Past::Changes(Entries::new()), |past| past.1.clone()),
            payload: self.payload(nth),
        })
    }

    /// Clock entries that travel in it.
    pub fn clock_entries(&self) -> usize {
        self.pasts.iter().map(|past| past.1.entries().len()).sum()
    }

    /// Takes the clocks that travel out, each with the number of its message, ascending.
    pub(crate) fn take_pasts(&mut self) -> Vec<(u32, Past)> {
        std::mem::take(&mut self.pasts)
    }

    /// Lets go of bytes that are none of the payloads from the nth message on, if they are most: what is kept of a run
    /// keeps all of its bytes.
    pub(crate) fn compact(&mut self, nth: usize) {
        let payloads = self.heads[nth..].iter().map(|head| head.length as usize).sum::<usize>();
        if payloads * 2 >= self.bytes.len() {
            return;
        }
        let mut bytes = BytesMut::with_capacity(payloads);
        for head in &mut self.heads[nth..] {
            let from = head.at as usize;
            head.at = bytes.len() as u32;
            bytes.put_slice(&self.bytes[from..from + head.length as usize]);
        }
        self.heads[..nth]
            .iter_mut()
            .for_each(|head| (head.at, head.length) = (0, 0));
        self.bytes = bytes.freeze();
        self.travels = false;
    }

    pub(crate) fn starts_with_full_clock(&self) -> bool {
        matches!(self.pasts.first(), Some((0, Past::Full(_))))
    }

    pub(crate) fn lamport(&self, nth: usize) -> u64 {
        self.heads[nth].lamport
    }

    pub(crate) fn sent_at(&self, nth: usize) -> u64 {
        self.heads[nth].sent_at
    }

    pub(crate) fn kind(&self, nth: usize) -> Kind {
        self.heads[nth].kind
    }

    pub(crate) fn payload_len(&self, nth: usize) -> usize {
        self.heads[nth].length as usize
    }

    #[inline]
    pub(crate) fn payload(&self, nth: usize) -> Bytes {
        let Head { at, length, .. } = self.heads[nth];
        self.bytes.slice(at as usize..(at + length) as usize)
    }
}

impl PartialEq for Run {
    /// As messages, wherever their bytes lie.
    fn eq(&self, other: &Self) -> bool {
        (self.origin, self.first, self.len(), &self.seals) == (other.origin, other.first, other.len(), &other.seals)
            && self.entries().eq(other.entries())
    }
}

impl Eq for Run {}

impl Hash for Run {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.origin, self.first, self.len(), &self.seals).hash(state);
        self.entries().for_each(|entry| entry.hash(state));
    }
}

impl Past {
    /// The entries that travel.
    pub fn entries(&self) -> &[(MemberId, u64)] {
        match self {
            Self::Full(list) | Self::Changes(list) => list,
        }
    }
}

impl Serialize for Run {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.encode())
    }
}

impl<'de> Deserialize<'de> for Run {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = Bytes::deserialize(deserializer)?;
        Self::decode(&bytes).map_err(serde::de::Error::custom)
    }
}
