//! The log: delivered messages in delivery order, trimmed from the front.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::hash::{Hash, Hasher};

use crate::engine::chain::SEAL_COST;
use crate::engine::roster::Slot;
use crate::message::Message;
use crate::piece::Piece;

/// Delivered messages in this member's delivery order, in the pieces in which they were delivered. A position counts
/// pieces and never changes.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    /// In shelves of equal length, so that growing never moves what is here. Each begins at a multiple of `SHELF`
    /// when it is put up; what is trimmed leaves the first one.
    shelves: VecDeque<VecDeque<Item>>,
    /// Messages.
    len: usize,
    /// Position of the first piece that is still here, and of the next one.
    first: u64,
    next: u64,
    bytes: usize,
    /// Messages below the cut that were not stable when this member joined, and held ones that a gap skipped:
    /// kept for others' repair, never shown.
    pub(super) kept: BTreeMap<(Slot, u64), Message>,
    kept_bytes: usize,
}

/// A piece in the log.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) slot: Slot,
    pub(super) piece: Piece,
    /// What it is charged.
    pub(super) bytes: usize,
}

/// Positions of one shelf: few enough that a small group's log is small.
const SHELF: usize = 256;

impl Log {
    /// Appends; returns the position, if it is a new one: a piece may go on where the last one ended, but not if it is a
    /// segment of its origin's chain.
    pub(super) fn push(&mut self, slot: Slot, piece: Piece, sealed: bool) -> Option<u64> {
        self.len += piece.len();
        let last = self.shelves.back_mut().and_then(VecDeque::back_mut);
        let shares = last
            .as_ref()
            .is_some_and(|last| last.piece.past().is_same(piece.past()));
        let bytes = cost(&piece, shares) + if sealed { SEAL_COST } else { 0 };
        self.bytes += bytes;
        if let Some(last) = last.filter(|_| !sealed)
            && last.piece.extend(&piece)
        {
            last.bytes += bytes;
            return None;
        }
        let position = self.next;
        if self.shelves.is_empty() {
            self.shelves.push_back(VecDeque::new());
        } else if position.is_multiple_of(SHELF as u64) {
            self.shelves.push_back(VecDeque::with_capacity(SHELF));
        }
        let shelf = self.shelves.back_mut().expect("put up above");
        shelf.push_back(Item { slot, piece, bytes });
        self.next += 1;
        Some(position)
    }

    pub(super) fn at(&self, position: u64) -> &Piece {
        let shelf = SHELF as u64;
        let (nth, in_shelf) = match position / shelf - self.first / shelf {
            0 => (0, position - self.first),
            nth => (nth, position % shelf),
        };
        &self.shelves[nth as usize][in_shelf as usize].piece
    }

    pub(super) fn front(&self) -> Option<&Item> {
        self.shelves.front()?.front()
    }

    /// Lets the first piece go.
    pub(super) fn pop_piece(&mut self) -> Option<Item> {
        let shelf = self.shelves.front_mut()?;
        let item = shelf.pop_front()?;
        if shelf.is_empty() {
            self.shelves.pop_front();
        }
        self.len -= item.piece.len();
        self.first += 1;
        self.bytes -= item.bytes;
        Some(item)
    }

    /// Lets the first message of the first piece go.
    pub(super) fn pop_message(&mut self) -> Option<Item> {
        let item = self.shelves.front_mut()?.front_mut()?;
        let slot = item.slot;
        let (first, rest) = item.piece.clone().split_first();
        let Some(rest) = rest else { return self.pop_piece() };
        let bytes = item.bytes / item.piece.len();
        item.piece = rest;
        item.bytes -= bytes;
        self.bytes -= bytes;
        self.len -= 1;
        let piece = Piece::One(first);
        Some(Item { slot, piece, bytes })
    }

    pub(super) fn pieces(&self) -> impl Iterator<Item = &Piece> {
        self.shelves.iter().flatten().map(|item| &item.piece)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Message> {
        self.pieces().flat_map(Piece::messages)
    }

    /// Messages in it.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Approximate bytes of everything in it, payloads, clocks and structures.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.kept_bytes
    }

    pub(super) fn keep(&mut self, slot: Slot, message: Message) {
        // The first one stays: whatever else comes under its dot.
        if let Entry::Vacant(place) = self.kept.entry((slot, message.dot.seq)) {
            self.kept_bytes += cost_of_one(&message, false);
            place.insert(message);
        }
    }

    /// Which messages of each origin are kept: the first and last seq of each row without a hole.
    pub(super) fn kept_spans(&self) -> Vec<(Slot, (u64, u64))> {
        let mut spans = Vec::<(Slot, (u64, u64))>::new();
        for &(slot, seq) in self.kept.keys() {
            match spans.last_mut().filter(|(of, span)| *of == slot && span.1 + 1 == seq) {
                Some((_, span)) => span.1 = seq,
                None => spans.push((slot, (seq, seq))),
            }
        }
        spans
    }

    /// Lets kept messages go that need not be kept.
    pub(super) fn release_kept(&mut self, mut needed: impl FnMut(Slot, u64) -> bool) {
        let bytes = &mut self.kept_bytes;
        self.kept.retain(|&(slot, seq), message| {
            let keep = needed(slot, seq);
            if !keep {
                *bytes -= cost_of_one(message, false);
            }
            keep
        });
    }

    /// Lets one kept message go; false if there is none.
    pub(super) fn drop_kept(&mut self) -> bool {
        let Some((_, message)) = self.kept.pop_first() else {
            return false;
        };
        self.kept_bytes -= cost_of_one(&message, false);
        true
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl PartialEq for Log {
    /// As messages, in whatever pieces they came; and by what they are charged, for that decides what is trimmed.
    fn eq(&self, other: &Self) -> bool {
        (self.len, self.bytes, &self.kept) == (other.len, other.bytes, &other.kept) && self.iter().eq(other.iter())
    }
}

impl Eq for Log {}

impl Hash for Log {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.len, self.bytes, &self.kept).hash(state);
        self.iter().for_each(|message| message.hash(state));
    }
}

/// What a piece is charged in the log. A clock that the piece before it has too is charged there.
fn cost(piece: &Piece, shares: bool) -> usize {
    // For each message its head, and its place in the bytes of the run.
    const EACH: usize = 48;
    // The piece and its place in the log, its position, the run and its lists, and what the allocator adds.
    const OVERHEAD: usize = 360;
    match piece {
        Piece::One(message) => cost_of_one(message, shares),
        Piece::Many(part) => part.payload_bytes() + part.len() * EACH + clock_bytes(piece, shares) + OVERHEAD,
    }
}

fn cost_of_one(message: &Message, shares: bool) -> usize {
    // The message and its place, 112 bytes; its position and, if it is an own one, its size and changes; the header of
    // a clock, and what the allocator adds to that.
    const OVERHEAD: usize = 216;
    let clock = if shares { 0 } else { message.past.len() * 24 };
    message.payload.len() + clock + OVERHEAD
}

fn clock_bytes(piece: &Piece, shares: bool) -> usize {
    if shares { 0 } else { piece.past().len() * 24 }
}
