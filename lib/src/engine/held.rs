//! The held index: messages that wait for their causes (the hold-back queue of Birman, Schiper and Stephenson 1991).
//!
//! Of each origin only the next message can wait for somebody else's; all later ones wait for the one before them.
//! So the index has one entry an origin at most, and a release costs the entries that changed, never a rescan of
//! everything held. Messages are held in the pieces in which they came.

use std::collections::{BTreeSet, VecDeque};

use crate::engine::roster::{Known, Roster, Slot};
use crate::id::MemberId;
use crate::message::Micros;
use crate::piece::Piece;

/// A piece that waits.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Held {
    pub(super) piece: Piece,
    /// The clock entries that must be delivered before its first message.
    pub(super) needs: Vec<(MemberId, u64)>,
    /// Entries before this one were found delivered.
    pub(super) at: usize,
    /// The other origin's message that it waits for, by slot and seq; none: it waits for its origin's previous one.
    pub(super) waits_for: Option<(Slot, u64)>,
    pub(super) since: Micros,
    /// The application was told that it waits.
    pub(super) told: bool,
}

/// What is held of one origin, by seq; no message twice. Pieces mostly come and go in order, so they lie in a row: at
/// either end nothing is moved, and nothing is allocated for each.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Row {
    pieces: VecDeque<Held>,
    /// Messages in them.
    messages: usize,
}

/// Pieces for which an empty row keeps room, 45 KiB: some batches, or it would grow anew with every burst.
const ROOM: usize = 256;

/// Who waits for whom.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Waiting {
    /// (awaited origin, awaited seq, origin whose next message waits)
    waits: BTreeSet<(Slot, u64, Slot)>,
    /// All held messages.
    messages: usize,
    pub(super) bytes: usize,
}

impl Row {
    /// How many messages.
    pub(super) fn len(&self) -> usize {
        self.messages
    }

    /// First and last seq of each piece, ascending.
    pub(super) fn ranges(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.pieces.iter().map(|held| (held.piece.first(), held.piece.last()))
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Held> {
        self.pieces.iter()
    }

    pub(super) fn contains(&self, seq: u64) -> bool {
        self.get(seq).is_some()
    }

    /// The piece that has that message.
    pub(super) fn get(&self, seq: u64) -> Option<&Held> {
        let nth = self.place(seq);
        self.pieces.get(nth).filter(|held| held.piece.contains(seq))
    }

    pub(super) fn get_mut(&mut self, seq: u64) -> Option<&mut Held> {
        let nth = self.place(seq);
        self.pieces.get_mut(nth).filter(|held| held.piece.contains(seq))
    }

    pub(super) fn first(&self) -> Option<(u64, &Held)> {
        self.pieces.front().map(|held| (held.piece.first(), held))
    }

    pub(super) fn first_mut(&mut self) -> Option<&mut Held> {
        self.pieces.front_mut()
    }

    /// The greatest seq.
    pub(super) fn last(&self) -> Option<u64> {
        self.pieces.back().map(|held| held.piece.last())
    }

    /// Whether some message from one seq to another is here.
    pub(super) fn overlaps(&self, from: u64, to: u64) -> bool {
        self.pieces
            .get(self.place(from))
            .is_some_and(|held| held.piece.first() <= to)
    }

    /// How many there are from one seq to another.
    pub(super) fn count(&self, from: u64, to: u64) -> u64 {
        let pieces = self.ranges().skip(self.place(from)).take_while(|range| range.0 <= to);
        pieces.map(|(first, last)| last.min(to) - first.max(from) + 1).sum()
    }

    fn insert(&mut self, held: Held) {
        self.messages += held.piece.len();
        let nth = self.place(held.piece.first());
        self.pieces.insert(nth, held);
    }

    /// Takes the piece out that has that message.
    fn remove(&mut self, seq: u64) -> Option<Held> {
        let nth = self.place(seq);
        self.pieces.get(nth).filter(|held| held.piece.contains(seq))?;
        let held = self.pieces.remove(nth)?;
        self.messages -= held.piece.len();
        if self.pieces.is_empty() {
            self.pieces.shrink_to(ROOM);
        }
        Some(held)
    }

    /// The first piece that does not end before that seq.
    fn place(&self, seq: u64) -> usize {
        match self.pieces.back() {
            Some(last) if last.piece.last() < seq => self.pieces.len(),
            _ => self.pieces.partition_point(|held| held.piece.last() < seq),
        }
    }
}

impl Waiting {
    /// How many messages.
    pub(super) fn len(&self) -> usize {
        self.messages
    }

    /// What waits for the first missing message of `on`: the awaited seq, and who waits with which message.
    pub(super) fn first_on(&self, roster: &Roster, on: Slot) -> Option<(u64, (Slot, u64))> {
        let missing = roster[on].delivered + 1;
        let other = self
            .waits
            .range((on, missing, 0)..=(on, u64::MAX, Slot::MAX))
            .map(|&(_, needed, slot)| (needed, (slot, roster[slot].delivered + 1)))
            .next();
        let own = roster[on]
            .held
            .ranges()
            .map(|range| range.0)
            .find(|first| *first > missing);
        other.into_iter().chain(own.map(|seq| (seq - 1, (on, seq)))).min()
    }

    /// Takes one origin whose next message waited for something of `on` that is delivered now.
    pub(super) fn pop(&mut self, roster: &mut Roster, on: Slot) -> Option<Slot> {
        // What depends on one that is expelled waits for nothing.
        let delivered = if roster[on].void {
            u64::MAX
        } else {
            roster[on].delivered
        };
        let wait = *self.waits.range((on, 0, 0)..=(on, delivered, Slot::MAX)).next()?;
        self.waits.remove(&wait);
        if let Some(held) = roster[wait.2].held.first_mut() {
            held.waits_for = None;
        }
        Some(wait.2)
    }

    pub(super) fn insert(&mut self, known: &mut Known, slot: Slot, held: Held) {
        let bytes = cost(&held);
        self.messages += held.piece.len();
        self.bytes += bytes;
        known.held_bytes += bytes;
        if let Some((on, needed)) = held.waits_for {
            self.waits.insert((on, needed, slot));
        }
        known.held.insert(held);
    }

    /// The next message of `slot`, which is held, waits for this now; the needs before `at` are delivered.
    pub(super) fn file(&mut self, known: &mut Known, slot: Slot, at: usize, (on, needed): (Slot, u64)) {
        if let Some(held) = known.held.first_mut() {
            (held.at, held.waits_for) = (at, Some((on, needed)));
            self.waits.insert((on, needed, slot));
        }
    }

    /// Takes the piece out that has this message, whether or not its wait was popped before.
    pub(super) fn remove(&mut self, roster: &mut Roster, slot: Slot, seq: u64) -> Option<Held> {
        let held = roster[slot].held.remove(seq)?;
        self.forget(&mut roster[slot], slot, &held);
        Some(held)
    }

    /// Takes the first piece of an origin out: it is delivered now.
    pub(super) fn remove_first(&mut self, known: &mut Known, slot: Slot) -> Option<Held> {
        let (seq, _) = known.held.first()?;
        let held = known.held.remove(seq)?;
        self.forget(known, slot, &held);
        Some(held)
    }

    fn forget(&mut self, known: &mut Known, slot: Slot, held: &Held) {
        let bytes = cost(held);
        self.messages -= held.piece.len();
        self.bytes -= bytes;
        known.held_bytes -= bytes;
        if let Some((on, needed)) = held.waits_for {
            self.waits.remove(&(on, needed, slot));
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// What a held piece is charged: its bytes, its list, and flat sums for the structures around it.
fn cost(held: &Held) -> usize {
    const OVERHEAD: usize = 208;
    const EACH: usize = 48;
    let entries = held.needs.len() + held.piece.past().len();
    held.piece.payload_bytes() + entries * size_of::<(MemberId, u64)>() + held.piece.len() * EACH + OVERHEAD
}
