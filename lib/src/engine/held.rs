//! The held index: messages that wait, by the first cause they miss (the hold-back queue of Birman, Schiper and
//! Stephenson 1991). A release costs the entries that changed, never a rescan of everything held.

use std::collections::BTreeSet;

use crate::engine::roster::{Roster, Slot};
use crate::id::MemberId;
use crate::message::{Message, Micros};

/// A message that waits.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Held {
    pub(super) message: Message,
    /// The clock entries that must be delivered first.
    pub(super) needs: Vec<(MemberId, u64)>,
    /// Entries before this one were found delivered.
    pub(super) at: usize,
    /// What it waits for now: the origin's slot and the seq.
    pub(super) waits_for: (Slot, u64),
    pub(super) since: Micros,
    /// The application was told that it waits.
    pub(super) told: bool,
}

/// Who waits for what.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Waiting {
    /// (awaited origin, awaited seq, waiting origin, waiting seq)
    waits: BTreeSet<(Slot, u64, Slot, u64)>,
    pub(super) bytes: usize,
}

impl Waiting {
    pub(super) fn len(&self) -> usize {
        self.waits.len()
    }

    /// All waits: what is awaited, and by whom.
    pub(super) fn iter(&self) -> impl Iterator<Item = ((Slot, u64), (Slot, u64))> + '_ {
        self.waits
            .iter()
            .map(|&(on, seq, slot, waiting)| ((on, seq), (slot, waiting)))
    }

    /// Takes one message that waited for something of `on` up to `delivered`.
    pub(super) fn pop(&mut self, on: Slot, delivered: u64) -> Option<(Slot, u64)> {
        if self.waits.is_empty() {
            return None;
        }
        let wait = *self
            .waits
            .range((on, 0, 0, 0)..=(on, delivered, Slot::MAX, u64::MAX))
            .next()?;
        self.waits.remove(&wait);
        Some((wait.2, wait.3))
    }

    pub(super) fn insert(&mut self, roster: &mut Roster, slot: Slot, held: Held) {
        let seq = held.message.dot.seq;
        let bytes = cost(&held);
        self.waits.insert((held.waits_for.0, held.waits_for.1, slot, seq));
        self.bytes += bytes;
        roster[slot].held_bytes += bytes;
        roster[slot].held.insert(seq, held);
    }

    /// The same message waits for something else now.
    pub(super) fn again(&mut self, slot: Slot, held: &Held) {
        self.waits
            .insert((held.waits_for.0, held.waits_for.1, slot, held.message.dot.seq));
    }

    /// Takes a held message out, whether or not its wait was popped before.
    pub(super) fn remove(&mut self, roster: &mut Roster, slot: Slot, seq: u64) -> Option<Held> {
        let held = roster[slot].held.remove(&seq)?;
        let bytes = cost(&held);
        self.bytes -= bytes;
        roster[slot].held_bytes -= bytes;
        self.waits.remove(&(held.waits_for.0, held.waits_for.1, slot, seq));
        Some(held)
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// What a held message is charged: its bytes, its list, and a flat sum for the structures around it.
fn cost(held: &Held) -> usize {
    const OVERHEAD: usize = 256;
    held.message.payload.len() + held.needs.len() * size_of::<(MemberId, u64)>() + OVERHEAD
}
