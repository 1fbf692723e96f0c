//! What has a place, what of the log is kept for others, and what is let go.

use std::collections::BTreeMap;

use super::Sequencer;
use super::raft::{at, position};
use super::word::{At, Record, Snapshot, Voters};
use crate::id::{Dot, MemberId};

/// Everything up to an index of the log has been shown.
#[derive(Clone, Debug, Default)]
pub(super) struct Shown {
    pub(super) index: u64,
    reach: BTreeMap<MemberId, u64>,
    pub(super) count: u64,
}

impl Shown {
    pub(super) fn reach_of(&self, origin: MemberId) -> u64 {
        self.reach.get(&origin).copied().unwrap_or(0)
    }

    /// The dot's position.
    pub(super) fn give(&mut self, dot: Dot) -> u64 {
        self.count += 1;
        advance(&mut self.reach, dot.origin, dot.seq);
        self.count
    }

    pub(super) fn install(&mut self, snapshot: &Snapshot) {
        self.index = snapshot.at.index;
        self.reach = snapshot.reach.iter().copied().collect();
        self.count = snapshot.count;
    }
}

pub(super) fn nothing() -> Snapshot {
    Snapshot {
        at: At::default(),
        voters: Voters::default(),
        reach: Vec::new(),
        count: 0,
    }
}

fn advance(reach: &mut BTreeMap<MemberId, u64>, origin: MemberId, seq: u64) {
    let reached = reach.entry(origin).or_default();
    *reached = seq.max(*reached);
}

pub(super) fn pass(reach: &mut BTreeMap<MemberId, u64>, record: &Record) {
    record
        .spans
        .iter()
        .for_each(|span| advance(reach, span.origin, span.to));
}

impl Sequencer {
    /// Of each origin the last seq with a place, if the log ended at that index.
    pub(super) fn reach_at(&self, index: u64) -> BTreeMap<MemberId, u64> {
        let (mut reach, from) = if index >= self.shown.index {
            (self.shown.reach.clone(), self.shown.index)
        } else {
            (self.kept_from.reach.iter().copied().collect(), self.kept_from.at.index)
        };
        let records = self.records.range(from + 1..);
        let upto = records.take_while(|(at, _)| **at <= index);
        upto.for_each(|(_, record)| pass(&mut reach, record));
        reach
    }

    /// Shows what a majority has.
    pub(super) fn show_decided(&mut self) {
        let last = self.last().index;
        let decided = match self.config.rules.wait_for_majority {
            true => self.raft.commit_index().get().min(last),
            false => last,
        };
        while self.shown.index < decided {
            self.shown.index += 1;
            let index = self.shown.index;
            if let Some(record) = self.records.get(&index).cloned() {
                let term = self.raft.log().entries().get_term(noraft::LogIndex::new(index));
                self.show(&record, term.map_or(0, noraft::Term::get));
            }
        }
    }

    /// Lets go of the log's beginning when everybody has it, or when it is too long.
    pub(super) fn compact(&mut self) {
        let length = self.raft.log().entries().len();
        if length <= 2 * self.config.kept {
            return;
        }
        let (last, begin) = (self.last().index, self.kept_from.at.index);
        let everybody_has = self.floor.min(last.saturating_sub(self.config.kept as u64));
        let too_long = last.saturating_sub(self.config.kept_at_most as u64);
        let upto = everybody_has
            .max(too_long)
            .min(self.shown.index)
            .min(self.raft.commit_index().get());
        // Not for a few: what is kept is copied.
        if upto < begin + self.config.kept as u64 / 2 + 1 {
            return;
        }
        let Some((place, config)) = self.raft.log().get_position_and_config(noraft::LogIndex::new(upto)) else {
            return;
        };
        let (place, config) = (at(place), config.clone());
        let mut reach: BTreeMap<MemberId, u64> = self.kept_from.reach.iter().copied().collect();
        let later = self.records.split_off(&(upto + 1));
        for record in std::mem::replace(&mut self.records, later).into_values() {
            pass(&mut reach, &record);
            self.kept_from.count += record.spans.iter().map(|span| span.count()).sum::<u64>();
        }
        self.kept_from.at = place;
        self.kept_from.voters = self.numbers.voters(&config);
        self.kept_from.reach = reach.into_iter().collect();
        let taken = self.raft.handle_snapshot_installed(position(place), config);
        debug_assert!(taken, "it is decided, and in the log");
    }
}
