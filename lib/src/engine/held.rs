//! The held index: messages that wait for their causes (the hold-back queue of Birman, Schiper and Stephenson 1991).
//!
//! Of each origin only the next message can wait for somebody else's; all later ones wait for the one before them.
//! So the index has one entry an origin at most, and a release costs the entries that changed, never a rescan of
//! everything held.

use std::collections::{BTreeSet, VecDeque};

use crate::engine::roster::{Known, Roster, Slot};
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
    /// The other origin's message that it waits for, by slot and seq; none: it waits for its origin's previous one.
    pub(super) waits_for: Option<(Slot, u64)>,
    pub(super) since: Micros,
    /// The application was told that it waits.
    pub(super) told: bool,
}

/// The held messages of one origin, by seq. They mostly come and go in order, so they lie in a row: at either end
/// nothing is moved, and nothing is allocated for each.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Row(VecDeque<(u64, Held)>);

/// Room that an empty row keeps, 170 KiB: some batches of small messages, or it would grow anew with every burst.
const ROOM: usize = 1024;

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
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &u64> {
        self.0.iter().map(|entry| &entry.0)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Held> {
        self.0.iter().map(|entry| &entry.1)
    }

    pub(super) fn contains_key(&self, seq: &u64) -> bool {
        self.place(*seq).is_ok()
    }

    pub(super) fn get(&self, seq: &u64) -> Option<&Held> {
        self.place(*seq).ok().map(|nth| &self.0[nth].1)
    }

    pub(super) fn get_mut(&mut self, seq: &u64) -> Option<&mut Held> {
        self.place(*seq).ok().map(|nth| &mut self.0[nth].1)
    }

    pub(super) fn first(&self) -> Option<(u64, &Held)> {
        self.0.front().map(|(seq, held)| (*seq, held))
    }

    pub(super) fn first_mut(&mut self) -> Option<&mut Held> {
        self.0.front_mut().map(|entry| &mut entry.1)
    }

    pub(super) fn last(&self) -> Option<u64> {
        self.0.back().map(|entry| entry.0)
    }

    /// How many there are from one seq to another.
    pub(super) fn count(&self, from: u64, to: u64) -> usize {
        let below = |seq: u64| self.place(seq).unwrap_or_else(|nth| nth);
        below(to + 1).saturating_sub(below(from))
    }

    fn insert(&mut self, seq: u64, held: Held) {
        match self.place(seq) {
            Ok(nth) => self.0[nth].1 = held,
            Err(nth) => self.0.insert(nth, (seq, held)),
        }
    }

    fn remove(&mut self, seq: u64) -> Option<Held> {
        let nth = self.place(seq).ok()?;
        let (_, held) = self.0.remove(nth)?;
        if self.0.is_empty() {
            self.0.shrink_to(ROOM);
        }
        Some(held)
    }

    /// Where a seq is, or would be. Rows without holes are the rule.
    fn place(&self, seq: u64) -> Result<usize, usize> {
        let (Some(first), Some(last)) = (self.0.front(), self.0.back()) else {
            return Err(0);
        };
        if seq > last.0 {
            return Err(self.0.len());
        }
        if seq < first.0 {
            return Err(0);
        }
        let nth = (seq - first.0) as usize;
        if self.0.get(nth).is_some_and(|entry| entry.0 == seq) {
            return Ok(nth);
        }
        self.0.binary_search_by_key(&seq, |entry| entry.0)
    }
}

impl Waiting {
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
        let own = roster[on].held.keys().find(|seq| **seq > missing);
        other.into_iter().chain(own.map(|&seq| (seq - 1, (on, seq)))).min()
    }

    /// Takes one origin whose next message waited for something of `on` that is delivered now.
    pub(super) fn pop(&mut self, roster: &mut Roster, on: Slot) -> Option<Slot> {
        let delivered = roster[on].delivered;
        let wait = *self.waits.range((on, 0, 0)..=(on, delivered, Slot::MAX)).next()?;
        self.waits.remove(&wait);
        if let Some(held) = roster[wait.2].held.first_mut() {
            held.waits_for = None;
        }
        Some(wait.2)
    }

    pub(super) fn insert(&mut self, known: &mut Known, slot: Slot, held: Held) {
        let bytes = cost(&held);
        self.messages += 1;
        self.bytes += bytes;
        known.held_bytes += bytes;
        if let Some((on, needed)) = held.waits_for {
            self.waits.insert((on, needed, slot));
        }
        known.held.insert(held.message.dot.seq, held);
    }

    /// The next message of `slot`, which is held, waits for this now; the needs before `at` are delivered.
    pub(super) fn file(&mut self, known: &mut Known, slot: Slot, at: usize, (on, needed): (Slot, u64)) {
        if let Some(held) = known.held.first_mut() {
            (held.at, held.waits_for) = (at, Some((on, needed)));
            self.waits.insert((on, needed, slot));
        }
    }

    /// Takes a held message out, whether or not its wait was popped before.
    pub(super) fn remove(&mut self, roster: &mut Roster, slot: Slot, seq: u64) -> Option<Held> {
        let held = roster[slot].held.remove(seq)?;
        self.forget(&mut roster[slot], slot, &held);
        Some(held)
    }

    /// Takes the oldest one of an origin out: it is delivered now.
    pub(super) fn remove_first(&mut self, known: &mut Known, slot: Slot) -> Option<Held> {
        let (seq, _) = known.held.first()?;
        let held = known.held.remove(seq)?;
        self.forget(known, slot, &held);
        Some(held)
    }

    fn forget(&mut self, known: &mut Known, slot: Slot, held: &Held) {
        let bytes = cost(held);
        self.messages -= 1;
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

/// What a held message is charged: its bytes, its list, and a flat sum for the structures around it.
fn cost(held: &Held) -> usize {
    const OVERHEAD: usize = 256;
    held.message.payload.len() + held.needs.len() * size_of::<(MemberId, u64)>() + OVERHEAD
}
