//! Pieces: messages of one origin that are handled together, because they came together.
//!
//! Inside a piece of several messages nobody's clock entry changes but the origin's own. So only its first message can
//! have to wait for somebody else's, and the piece is delivered, logged, held and told as one.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;

use crate::clock::{Entries, SharedEntries};
use crate::id::{Dot, MemberId};
use crate::message::{Kind, Message};
use crate::run::{Past, Run};

/// Some messages of one origin, consecutive; at least one.
#[derive(Clone, Debug)]
pub enum Piece {
    /// A message alone.
    One(Message),
    /// Some of one run; only the first may be for something else than the application's, and then it is alone.
    Many(Part),
}

/// Some consecutive messages of a run that is shared by everyone who keeps some of it.
#[derive(Clone, Debug)]
pub struct Part {
    run: Arc<Run>,
    /// The clock of all of them, their own dots left out.
    past: SharedEntries,
    /// Which messages of the run: from this one to before that one.
    from: u32,
    to: u32,
}

/// Most entries in the clocks of the pieces of one run, 0.8 MiB of them: a message that changes one entry of a long clock
/// is short, and its clock is not. 256 changes in a group of 128 fit, and as many as a run has in one of 8.
const MOST_ENTRIES: usize = 1 << 15;

/// What is to be checked before a piece may be delivered, besides its origin's previous message.
pub(crate) enum Needs {
    /// Entries that changed since that one.
    Changed(Entries),
    /// All entries of its first clock.
    All,
}

/// Cuts a run, from its nth message on, into pieces with what each needs. `past` is the clock of the message before;
/// it is not looked at if the run has a full one. Also returns the clock of the last message.
///
/// A run whose clocks would take more than `MOST_ENTRIES` is cut only so far: then the pieces end before it does. A run
/// that is sealed is cut between its segments too.
pub(crate) fn cut(mut run: Run, nth: usize, past: SharedEntries) -> (Vec<(Piece, Needs)>, SharedEntries) {
    let seals = run.take_seals();
    let mut ends = seals.iter().flat_map(|seals| seals.ends()).peekable();
    let mut pasts = run.take_pasts().into_iter().peekable();
    while pasts.next_if(|past| (past.0 as usize) < nth).is_some() {}
    run.compact(nth);
    if nth + 1 == run.len() {
        // A message alone needs nothing of the run but its bytes.
        let (past, needs) = after(past, pasts.next());
        let piece = Piece::One(message(&run, nth, past.clone()));
        return (vec![(piece, needs)], past);
    }
    let (run, mut past, mut pieces) = (Arc::new(run), past, Vec::with_capacity(pasts.len() + 1));
    let alone = |nth: usize| run.kind(nth) != Kind::App;
    let (mut from, mut entries) = (nth, 0);
    while from < run.len() && entries <= MOST_ENTRIES {
        let needs;
        let change = pasts.next_if(|past| past.0 as usize == from);
        let changes = change.is_some();
        (past, needs) = after(past, change);
        entries += if changes { past.len() } else { 0 };
        let next_change = pasts.peek().map_or(run.len(), |past| past.0 as usize);
        while ends.next_if(|end| *end <= from).is_some() {}
        let next_change = ends.peek().map_or(next_change, |end| next_change.min(*end));
        let mut to = from + 1;
        while to < next_change && !alone(from) && !alone(to) {
            to += 1;
        }
        let piece = match to - from {
            1 => Piece::One(message(&run, from, past.clone())),
            _ => Piece::Many(Part::of(&run, &past, from, to)),
        };
        pieces.push((piece, needs));
        from = to;
    }
    (pieces, past)
}

/// The clock of the next message, and what of it is to be checked, by what travels of it.
fn after(past: SharedEntries, change: Option<(u32, Past)>) -> (SharedEntries, Needs) {
    match change {
        None => (past, Needs::Changed(Entries::new())),
        Some((_, Past::Full(list))) => (SharedEntries::from_sorted(list), Needs::All),
        Some((_, Past::Changes(list))) => (past.with(&list), Needs::Changed(list)),
    }
}

#[inline]
fn message(run: &Run, nth: usize, past: SharedEntries) -> Message {
    Message {
        dot: Dot {
            origin: run.origin(),
            seq: run.first() + nth as u64,
        },
        lamport: run.lamport(nth),
        sent_at: run.sent_at(nth),
        kind: run.kind(nth),
        past,
        payload: run.payload(nth),
    }
}

impl Piece {
    /// A run that its origin made, whole: its messages have one clock but for their own dots.
    pub(crate) fn composed(run: Run, past: SharedEntries) -> Self {
        let to = run.len();
        Self::Many(Part::of(&Arc::new(run), &past, 0, to))
    }

    /// Who created the messages.
    pub fn origin(&self) -> MemberId {
        match self {
            Self::One(message) => message.dot.origin,
            Self::Many(part) => part.run.origin(),
        }
    }

    /// The seq of the first message.
    pub fn first(&self) -> u64 {
        match self {
            Self::One(message) => message.dot.seq,
            Self::Many(part) => part.first(),
        }
    }

    /// The seq of the last message.
    pub fn last(&self) -> u64 {
        self.first() + self.len() as u64 - 1
    }

    /// How many messages.
    #[allow(clippy::len_without_is_empty, reason = "there is always one")]
    pub fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Many(part) => part.len(),
        }
    }

    /// The messages, in order.
    pub fn messages(&self) -> impl Iterator<Item = Message> + '_ {
        (self.first()..=self.last()).map(|seq| self.at(seq))
    }

    /// The message with that seq, which must be one of these.
    pub(crate) fn at(&self, seq: u64) -> Message {
        match self {
            Self::One(message) => message.clone(),
            Self::Many(part) => part.nth((seq - part.first()) as usize),
        }
    }

    pub(crate) fn contains(&self, seq: u64) -> bool {
        (self.first()..=self.last()).contains(&seq)
    }

    /// The clock of its first message, which is that of all but for their own dots.
    pub(crate) fn past(&self) -> &SharedEntries {
        match self {
            Self::One(message) => &message.past,
            Self::Many(part) => &part.past,
        }
    }

    /// What the first message is for; all of several are the application's.
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::One(message) => message.kind,
            Self::Many(part) => part.kind(),
        }
    }

    /// Lamport time of the first message; they ascend.
    pub(crate) fn first_lamport(&self) -> u64 {
        match self {
            Self::One(message) => message.lamport,
            Self::Many(part) => part.run.lamport(part.from as usize),
        }
    }

    pub(crate) fn last_lamport(&self) -> u64 {
        match self {
            Self::One(message) => message.lamport,
            Self::Many(part) => part.run.lamport(part.to as usize - 1),
        }
    }

    pub(crate) fn payload_bytes(&self) -> usize {
        match self {
            Self::One(message) => message.payload.len(),
            Self::Many(part) => part.payload_bytes(),
        }
    }

    /// The first message alone, and the others, if there are others.
    pub(crate) fn split_first(self) -> (Message, Option<Self>) {
        match self {
            Self::One(message) => (message, None),
            Self::Many(mut part) => {
                let first = part.nth(0);
                part.from += 1;
                (first, (part.len() > 0).then_some(Self::Many(part)))
            }
        }
    }

    /// Without so many last messages, one at least; nothing, if there are no others.
    pub(crate) fn without_last(&self, count: usize) -> Option<Self> {
        match self {
            Self::One(_) => None,
            Self::Many(part) => {
                let left = part.len().checked_sub(count.max(1)).filter(|left| *left > 0)?;
                let to = part.from + left as u32;
                Some(Self::Many(Part { to, ..part.clone() }))
            }
        }
    }

    /// Takes a piece in that goes on where this one ends, in the same run and with the same clock. False if it does not.
    pub(crate) fn extend(&mut self, more: &Self) -> bool {
        let (Self::Many(mine), Self::Many(more)) = (self, more) else {
            return false;
        };
        let goes_on = Arc::ptr_eq(&mine.run, &more.run) && mine.past.is_same(&more.past) && mine.to == more.from;
        if goes_on {
            mine.to = more.to;
        }
        goes_on
    }
}

impl Part {
    fn of(run: &Arc<Run>, past: &SharedEntries, from: usize, to: usize) -> Self {
        Self {
            run: run.clone(),
            past: past.clone(),
            from: from as u32,
            to: to as u32,
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        self.run.kind(self.from as usize)
    }

    /// Of a run that its origin made: the bytes of the messages from one seq to another, as they travel.
    pub(crate) fn entry_bytes(&self, from: u64, to: u64) -> Bytes {
        self.run.entry_bytes(self.place(from), self.place(to) + 1)
    }

    /// Of a run that its origin made: how many bytes all its messages up to that one take, as they travel. Also of the
    /// one before its first.
    pub(crate) fn bytes_upto(&self, seq: u64) -> usize {
        self.run.entries_end((seq + 1 - self.run.first()) as usize)
    }

    /// Lamport and wall time of the message with that seq.
    pub(crate) fn times(&self, seq: u64) -> (u64, u64) {
        let nth = self.place(seq);
        (self.run.lamport(nth), self.run.sent_at(nth))
    }

    /// Which message of the run that is.
    fn place(&self, seq: u64) -> usize {
        (seq - self.run.first()) as usize
    }

    /// Who created the messages.
    pub fn origin(&self) -> MemberId {
        self.run.origin()
    }

    pub(crate) fn first(&self) -> u64 {
        self.run.first() + u64::from(self.from)
    }

    pub(crate) fn last(&self) -> u64 {
        self.first() + self.len() as u64 - 1
    }

    /// The clock of all of them, their own dots left out.
    pub(crate) fn past(&self) -> &SharedEntries {
        &self.past
    }

    /// How many messages are left in it.
    pub(crate) fn len(&self) -> usize {
        (self.to - self.from) as usize
    }

    pub(crate) fn payload_bytes(&self) -> usize {
        (self.from..self.to).map(|nth| self.run.payload_len(nth as usize)).sum()
    }

    /// Takes the first message out.
    #[inline]
    pub fn pop_front(&mut self) -> Option<Message> {
        let message = (self.from < self.to).then(|| self.nth(0))?;
        self.from += 1;
        Some(message)
    }

    #[inline]
    pub(crate) fn nth(&self, nth: usize) -> Message {
        message(&self.run, self.from as usize + nth, self.past.clone())
    }
}

impl PartialEq for Piece {
    /// As messages, however they came.
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.messages().eq(other.messages())
    }
}

impl Eq for Piece {}

impl Hash for Piece {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.len().hash(state);
        self.messages().for_each(|message| message.hash(state));
    }
}
