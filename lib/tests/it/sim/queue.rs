//! What will happen, in order of time; at one time in order of scheduling, so that a run repeats exactly.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use multicast::Micros;

/// A queue of things to come. The heap holds only keys: frames are large and would be moved at every sift.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    order: BinaryHeap<Reverse<(Micros, u64, usize)>>,
    slots: Vec<Option<T>>,
    free: Vec<usize>,
    scheduled: u64,
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        Self {
            order: BinaryHeap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            scheduled: 0,
        }
    }

    pub(crate) fn push(&mut self, at: Micros, thing: T) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[slot] = Some(thing);
        self.order.push(Reverse((at, self.scheduled, slot)));
        self.scheduled += 1;
    }

    /// When the next thing happens.
    pub(crate) fn next_at(&self) -> Option<Micros> {
        self.order.peek().map(|Reverse(key)| key.0)
    }

    pub(crate) fn pop(&mut self) -> Option<(Micros, T)> {
        let Reverse((at, _, slot)) = self.order.pop()?;
        self.free.push(slot);
        self.slots[slot].take().map(|thing| (at, thing))
    }
}
