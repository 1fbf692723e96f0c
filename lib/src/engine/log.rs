//! The log: delivered messages in delivery order, trimmed from the front.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::engine::roster::Slot;
use crate::message::Message;

/// Delivered messages in this member's delivery order. A position counts deliveries and never changes.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Log {
    messages: VecDeque<(Slot, Message)>,
    /// Position of the first message that is still here.
    first: u64,
    bytes: usize,
    /// Messages below the cut that were not stable when this member joined, and held ones that a gap skipped:
    /// kept for others' repair, never shown.
    pub(super) kept: BTreeMap<(Slot, u64), Message>,
    kept_bytes: usize,
}

impl Log {
    /// Appends; returns the position.
    pub(super) fn push(&mut self, slot: Slot, message: Message) -> u64 {
        let shares = self
            .messages
            .back()
            .is_some_and(|last| Arc::ptr_eq(&last.1.past, &message.past));
        self.bytes += cost(&message, shares);
        self.messages.push_back((slot, message));
        self.first + self.messages.len() as u64 - 1
    }

    pub(super) fn at(&self, position: u64) -> &Message {
        &self.messages[(position - self.first) as usize].1
    }

    pub(super) fn front(&self) -> Option<&(Slot, Message)> {
        self.messages.front()
    }

    pub(super) fn pop_front(&mut self) -> Option<(Slot, Message)> {
        let (slot, message) = self.messages.pop_front()?;
        let shares = self
            .messages
            .front()
            .is_some_and(|next| Arc::ptr_eq(&next.1.past, &message.past));
        self.bytes -= cost(&message, shares);
        self.first += 1;
        Some((slot, message))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Message> {
        self.messages.iter().map(|entry| &entry.1)
    }

    pub(super) fn len(&self) -> usize {
        self.messages.len()
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
    const OVERHEAD: usize = 128;
    let clock = if shares { 0 } else { message.past.len() * 24 };
    message.payload.len() + clock + OVERHEAD
}
