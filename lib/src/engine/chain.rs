//! What is known of one origin's chain: the segments that are in the log, held or kept, and some that only lead from one
//! of those to a signed head.

use std::collections::BTreeMap;

use crate::chain::{Head, Mark, START, Segment, Statement, Step, TRAIL};
use crate::sign::Key;

/// A segment, and what its origin signed of it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Seal {
    pub(super) segment: Segment,
    /// The head behind it.
    pub(super) head: Head,
    pub(super) signature: Option<Mark>,
    pub(super) checked: Checked,
}

/// What is known of a seal's own signature.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Checked {
    NotYet,
    Good,
    Bad,
}

/// An origin's segments, by first seq: no two of them conflict.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Chain {
    seals: BTreeMap<u64, Seal>,
    /// Whose it is; known as soon as something sealed came.
    pub(super) key: Option<Key>,
}

/// What a seal is charged in the log: itself, its place, and what the map adds.
pub(super) const SEAL_COST: usize = 280;

impl Seal {
    pub(super) fn new(segment: Segment, signature: Option<Mark>) -> Self {
        Self {
            segment,
            head: segment.head(),
            signature,
            checked: Checked::NotYet,
        }
    }

    pub(super) fn first(&self) -> u64 {
        self.segment.first
    }

    pub(super) fn last(&self) -> u64 {
        self.segment.last()
    }

    fn step(&self) -> Step {
        let Segment { count, digest, .. } = self.segment;
        Step { count, digest }
    }
}

impl Chain {
    pub(super) fn of(key: Option<Key>) -> Self {
        let seals = BTreeMap::new();
        Self { seals, key }
    }

    /// The segment that has this seq.
    pub(super) fn covering(&self, seq: u64) -> Option<&Seal> {
        let (_, seal) = self.seals.range(..=seq).next_back()?;
        (seal.last() >= seq).then_some(seal)
    }

    pub(super) fn covering_mut(&mut self, seq: u64) -> Option<&mut Seal> {
        let (_, seal) = self.seals.range_mut(..=seq).next_back()?;
        (seal.last() >= seq).then_some(seal)
    }

    /// The head right behind that seq, if it is known and a segment ends there.
    pub(super) fn head_at(&self, seq: u64) -> Option<Head> {
        if seq == 0 {
            return Some(START);
        }
        let ends_here = self
            .covering(seq)
            .filter(|seal| seal.last() == seq)
            .map(|seal| seal.head);
        ends_here.or_else(|| self.seals.get(&(seq + 1)).map(|seal| seal.segment.prev))
    }

    /// Segments that share messages with the span, ascending.
    pub(super) fn overlapping(&self, from: u64, to: u64) -> impl Iterator<Item = &Seal> {
        let begin = self.covering(from).map_or(from, Seal::first);
        self.seals
            .range(begin..=to.max(begin))
            .map(|entry| entry.1)
            .filter(move |seal| seal.first() <= to)
    }

    /// The first segment that no chain has beside this one.
    pub(super) fn conflict(&self, segment: &Segment) -> Option<&Seal> {
        let (from, to) = (segment.first.saturating_sub(1), segment.last().saturating_add(1));
        self.overlapping(from, to).find(|seal| seal.segment.conflicts(segment))
    }

    /// Adds a segment that conflicts with none. What is known of one stays known.
    pub(super) fn insert(&mut self, seal: Seal) {
        let known = self.seals.entry(seal.first()).or_insert_with(|| seal.clone());
        if known.checked != Checked::Good && seal.signature.is_some() && known.signature != seal.signature {
            (known.signature, known.checked) = (seal.signature, seal.checked);
        }
        if seal.checked == Checked::Good && known.signature == seal.signature {
            known.checked = Checked::Good;
        }
    }

    pub(super) fn remove(&mut self, first: u64) {
        self.seals.remove(&first);
    }

    /// Lets the segments go that end before that seq; but the last one of them stays, for what comes next is to follow
    /// from it.
    pub(super) fn trim(&mut self, before: u64) {
        while let Some((_, seal)) = self.seals.iter().next()
            && seal.last() + 1 < before
        {
            self.seals.pop_first();
        }
    }

    /// Keeps at most so many segments that begin behind that seq: the nearest.
    pub(super) fn bound(&mut self, end: u64, most: usize) {
        if self.seals.last_key_value().is_some_and(|last| *last.0 > end)
            && let Some(&beyond) = self.seals.range(end + 1..).nth(most).map(|entry| entry.0)
        {
            self.seals.split_off(&beyond);
        }
    }

    /// The segment that begins right behind another one, if it follows from it.
    fn after(&self, seal: &Seal) -> Option<&Seal> {
        let next = self.seals.get(&(seal.last() + 1))?;
        (next.segment.prev == seal.head).then_some(next)
    }

    /// The first segment from that one on, itself included, that is signed and not found bad.
    pub(super) fn signed_from(&self, first: u64) -> Option<&Seal> {
        let mut seal = self.seals.get(&first)?;
        for _ in 0..=TRAIL {
            if seal.signature.is_some() && seal.checked != Checked::Bad {
                return Some(seal);
            }
            seal = self.after(seal)?;
        }
        None
    }

    /// What was signed about the segment that begins there, up to the signed end of another one.
    pub(super) fn statement(&self, first: u64, end: u64) -> Option<Statement> {
        let mut seal = self.seals.get(&first)?;
        let (prev, mut steps) = (seal.segment.prev, vec![seal.step()]);
        while seal.last() < end {
            seal = self.after(seal)?;
            steps.push(seal.step());
        }
        let signature = seal.signature?;
        Some(Statement {
            first,
            prev,
            steps,
            signature,
        })
    }

    /// The segments behind that one, up to the end of another.
    pub(super) fn trail(&self, first: u64, end: u64) -> Option<Vec<&Seal>> {
        let mut seal = self.seals.get(&first)?;
        let mut trail = Vec::new();
        while seal.last() < end {
            seal = self.after(seal)?;
            trail.push(seal);
        }
        Some(trail)
    }

    /// The newest segment with a signature up to that seq.
    pub(super) fn newest_signed(&self, upto: u64) -> Option<&Seal> {
        let upto = self.seals.range(..=upto).rev().map(|entry| entry.1);
        upto.take(2 * TRAIL).find(|seal| seal.signature.is_some())
    }

    /// So many segments before that one, in a row, have no signature.
    pub(super) fn unsigned_before(&self, first: u64) -> usize {
        let before = self.seals.range(..first).rev().map(|entry| entry.1);
        before.take_while(|seal| seal.signature.is_none()).take(TRAIL).count()
    }
}
