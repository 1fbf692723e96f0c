//! Whether what members show is one order (S12). It knows what was shown, what everybody had delivered when, and nothing of
//! clocks, terms or records.

use std::collections::{BTreeMap, BTreeSet};

use multicast::{Dot, MemberId};

/// Ground truth.
#[derive(Default)]
pub(super) struct Judge {
    /// The one sequence, as far as anybody showed it.
    sequence: BTreeMap<u64, Dot>,
    positions: BTreeMap<Dot, u64>,
    /// What its sender had delivered when it sent.
    pasts: BTreeMap<Dot, BTreeSet<Dot>>,
    members: BTreeMap<MemberId, Sight>,
}

#[derive(Default)]
struct Sight {
    delivered: BTreeSet<Dot>,
    /// Delivered, and neither shown nor let go.
    waiting: BTreeSet<Dot>,
    last: u64,
    /// It was below its cut, or shown without a place: not in its sequence.
    below: BTreeSet<Dot>,
}

impl Judge {
    pub(super) fn delivered(&mut self, who: MemberId, dot: Dot) {
        let sight = self.members.entry(who).or_default();
        if dot.origin == who {
            let past = sight.delivered.iter().chain(&sight.below).copied().collect();
            self.pasts.insert(dot, past);
        }
        let sight = self.members.entry(who).or_default();
        sight.delivered.insert(dot);
        sight.waiting.insert(dot);
    }

    pub(super) fn joined(&mut self, who: MemberId, cut: BTreeSet<Dot>) {
        self.members.entry(who).or_default().below = cut;
    }

    pub(super) fn unplaced(&mut self, who: MemberId, dot: Dot) {
        let sight = self.members.entry(who).or_default();
        sight.waiting.remove(&dot);
        sight.below.insert(dot);
    }

    /// `voters`: those of whom a majority is to have it.
    pub(super) fn shown(&mut self, who: MemberId, dot: Dot, pos: u64, voters: &[MemberId]) -> Result<(), String> {
        let has = |id: &&MemberId| {
            let sight = self.members.get(*id);
            sight.is_some_and(|sight| sight.delivered.contains(&dot) || sight.below.contains(&dot))
        };
        let having = voters.iter().filter(has).count();
        if having <= voters.len() / 2 {
            return Err(format!("{dot} is shown with {having} of {} having it", voters.len()));
        }
        if *self.sequence.entry(pos).or_insert(dot) != dot {
            return Err(format!("at {pos} are {dot} and {}", self.sequence[&pos]));
        }
        if *self.positions.entry(dot).or_insert(pos) != pos {
            return Err(format!("{dot} is at {pos} and {}", self.positions[&dot]));
        }
        let sight = self.members.entry(who).or_default();
        if !sight.waiting.remove(&dot) {
            return Err(format!("{dot} is shown twice, or before it is delivered"));
        }
        // What lies between is below its cut.
        let skipped = self.sequence.range(sight.last + 1..pos).map(|entry| entry.1);
        if let Some(hole) = skipped.clone().find(|dot| !sight.below.contains(dot)) {
            return Err(format!("{hole} is skipped by {who:?}"));
        }
        if pos <= sight.last {
            return Err(format!("{dot} at {pos} comes after {}", sight.last));
        }
        sight.last = pos;
        Ok(())
    }

    /// The order is causal.
    pub(super) fn causal(&self) -> Result<(), String> {
        for (pos, dot) in &self.sequence {
            let Some(past) = self.pasts.get(dot) else { continue };
            let late = past
                .iter()
                .find(|cause| self.positions.get(cause).is_some_and(|at| at > pos));
            if let Some(cause) = late {
                return Err(format!("{dot} at {pos} comes before its cause {cause}"));
            }
            if let Some(cause) = past.iter().find(|cause| !self.positions.contains_key(cause))
                && self.members.values().any(|sight| sight.waiting.contains(cause))
            {
                return Err(format!("{dot} has a place and its cause {cause} has none"));
            }
        }
        Ok(())
    }

    pub(super) fn waits(&self, who: MemberId) -> usize {
        self.members.get(&who).map_or(0, |sight| sight.waiting.len())
    }

    pub(super) fn everything_of(&self, who: MemberId) -> BTreeSet<Dot> {
        let sight = self.members.get(&who);
        sight
            .map(|sight| sight.delivered.union(&sight.below).copied().collect())
            .unwrap_or_default()
    }

    pub(super) fn last_of(&self, who: MemberId) -> u64 {
        self.members.get(&who).map_or(0, |sight| sight.last)
    }
}
