//! The log: delivered messages in delivery order, trimmed from the front.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::engine::roster::Slot;
use crate::message::Message;

/// Delivered messages in this member's delivery order. A position counts deliveries and never changes.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Log {
    /// In shelves of equal length, so that growing never moves what is here. Each begins at a multiple of `SHELF`
    /// when it is put up; what is trimmed leaves the first one.
    shelves: VecDeque<VecDeque<(Slot, Message)>>,
    len: usize,
    /// Position of the first message that is still here.
    first: u64,
    bytes: usize,
    /// Messages below the cut that were not stable when this member joined, and held ones that a gap skipped:
    /// kept for others' repair, never shown.
    pub(super) kept: BTreeMap<(Slot, u64), Message>,
    kept_bytes: usize,
}

/// Positions of one shelf: few enough that a small group's log is small.
const SHELF: usize = 256;

impl Log {
    /// Appends; returns the position.
    pub(super) fn push(&mut self, slot: Slot, message: Message) -> u64 {
        let last = self.shelves.back().and_then(VecDeque::back);
        let shares = last.is_some_and(|last| Arc::ptr_eq(&last.1.past, &message.past));
        self.bytes += cost(&message, shares);
        let position = self.first + self.len as u64;
        if self.shelves.is_empty() {
            self.shelves.push_back(VecDeque::new());
        } else if position.is_multiple_of(SHELF as u64) {
            self.shelves.push_back(VecDeque::with_capacity(SHELF));
        }
        let shelf = self.shelves.back_mut().expect("put up above");
        shelf.push_back((slot, message));
        self.len += 1;
        position
    }

    pub(super) fn at(&self, position: u64) -> &Message {
        let shelf = SHELF as u64;
        let (nth, in_shelf) = match position / shelf - self.first / shelf {
            0 => (0, position - self.first),
            nth => (nth, position % shelf),
        };
        &self.shelves[nth as usize][in_shelf as usize].1
    }

    pub(super) fn front(&self) -> Option<&(Slot, Message)> {
        self.shelves.front()?.front()
    }

    pub(super) fn pop_front(&mut self) -> Option<(Slot, Message)> {
        let shelf = self.shelves.front_mut()?;
        let (slot, message) = shelf.pop_front()?;
        if shelf.is_empty() {
            self.shelves.pop_front();
        }
        self.len -= 1;
        self.first += 1;
        let shares = self
            .front()
            .is_some_and(|next| Arc::ptr_eq(&next.1.past, &message.past));
        self.bytes -= cost(&message, shares);
        Some((slot, message))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Message> {
        self.shelves.iter().flatten().map(|entry| &entry.1)
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Approximate bytes of everything in it, payloads, clocks and structures.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.kept_bytes
    }

    pub(super) fn keep(&mut self, slot: Slot, message: Message) {
        let bytes = cost(&message, false);
        if self.kept.insert((slot, message.dot.seq), message).is_none() {
            self.kept_bytes += bytes;
        }
    }

    /// Lets kept messages go that need not be kept.
    pub(super) fn release_kept(&mut self, mut needed: impl FnMut(Slot, u64) -> bool) {
        let bytes = &mut self.kept_bytes;
        self.kept.retain(|&(slot, seq), message| {
            let keep = needed(slot, seq);
            if !keep {
                *bytes -= cost(message, false);
            }
            keep
        });
    }

    /// Lets one kept message go; false if there is none.
    pub(super) fn drop_kept(&mut self) -> bool {
        let Some((_, message)) = self.kept.pop_first() else {
            return false;
        };
        self.kept_bytes -= cost(&message, false);
        true
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// What a message is charged in the log. A clock is charged to one of the neighbours that share it. Whether two
/// neighbours share is seen from either side, so what `push` adds `pop_front` takes away in the end.
fn cost(message: &Message, shares: bool) -> usize {
    // The message and its place, 112 bytes; its position and, if it is an own one, its size and changes; the header of
    // a clock, and what the allocator adds to that.
    const OVERHEAD: usize = 208;
    let clock = if shares { 0 } else { message.past.len() * 24 };
    message.payload.len() + clock + OVERHEAD
}
