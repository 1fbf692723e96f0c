//! Processes with stores: what they began with, and what they owe over all their lives.

use super::{Judge, Verdict, Who, no};

/// By process start.
pub(super) struct Lives {
    /// What it found on its disk.
    began_with: Vec<Option<Vec<u32>>>,
    /// Who goes on from what it kept.
    next: Vec<Option<Who>>,
    /// How many of its own messages are on its disk; none: it has no disk.
    synced: Vec<Option<u32>>,
    /// Up to which of its own messages its application was told that they are sent.
    accepted: Vec<u32>,
    /// What members were told that they will never get, while it lay with one on whom they counted: by whom, of whom, from, to.
    skipped: Vec<(Who, Who, u32, u32)>,
    /// Whom the member that is judged now counts on.
    at_hand: Vec<Who>,
}

impl Lives {
    pub(super) fn new(members: usize) -> Self {
        Self {
            began_with: vec![None; members],
            next: vec![None; members],
            synced: vec![None; members],
            accepted: vec![0; members],
            skipped: Vec::new(),
            at_hand: Vec::new(),
        }
    }

    pub(super) fn recalls(&mut self, who: Who, old: Who, kept: Vec<u32>) {
        self.next[old] = Some(who);
        self.began_with[who] = Some(kept);
    }

    pub(super) fn synced(&mut self, who: Who, own: u32) {
        let synced = self.synced[who].get_or_insert(0);
        *synced = own.max(*synced);
    }

    pub(super) fn accepted(&mut self, who: Who, seq: u32) {
        self.accepted[who] = self.accepted[who].max(seq);
    }

    /// The message may be known to others.
    pub(super) fn may_be_known(&self, origin: Who, seq: u32) -> bool {
        self.synced[origin].is_none_or(|synced| seq <= synced)
    }

    /// A cut together with what a process found on its disk.
    pub(super) fn with_kept(&self, who: Who, cut: &[u32]) -> Vec<u32> {
        match &self.began_with[who] {
            Some(kept) => cut.iter().zip(kept).map(|(cut, kept)| *cut.max(kept)).collect(),
            None => cut.to_vec(),
        }
    }

    /// Who goes on from what it kept, and from what that one kept.
    fn last_life(&self, of: Who) -> Who {
        let mut life = of;
        while let Some(next) = self.next[life] {
            life = next;
        }
        life
    }

    /// S16, where there is room for everything: a message that one of these was told is lost, and should not be.
    pub(super) fn lost(&self, stayed: &[Who]) -> Option<(Who, Who, u32)> {
        let lost = |&&(who, origin, from, _): &&(Who, Who, u32, u32)| {
            stayed.contains(&who) && from <= self.owed(origin, stayed)
        };
        self.skipped
            .iter()
            .find(lost)
            .map(|&(who, origin, from, _)| (who, origin, from))
    }

    /// S16: up to which message of `origin` everyone must have been told, because it, or who goes on from its disk, is
    /// among those.
    pub(super) fn owed(&self, origin: Who, stayed: &[Who]) -> u32 {
        if stayed.contains(&self.last_life(origin)) {
            self.accepted[origin]
        } else {
            0
        }
    }
}

impl Judge {
    /// A process begins with what an earlier one had on its disk.
    pub(crate) fn recalls(&mut self, who: Who, old: Who, kept: Vec<u32>) {
        self.lives.recalls(who, old, kept);
    }

    /// So many of a process's own messages are on its disk.
    pub(crate) fn synced(&mut self, who: Who, own: u32) {
        self.lives.synced(who, own);
    }

    /// Its application is told that it is sent.
    pub(crate) fn accepted(&mut self, who: Who, seq: u32) {
        self.lives.accepted(who, seq);
    }

    /// A member is about to be told that it will never get something; these it knows, and they are there.
    pub(crate) fn counts_on(&mut self, others: Vec<Who>) {
        self.lives.at_hand = others;
    }

    /// A member is told that it will never get these. Nobody waits for who is gone, or is not known to be there.
    pub(super) fn note_skipped(&mut self, who: Who, spans: &[(Who, u32, u32)]) {
        let is_there = |origin: Who| {
            let life = self.lives.last_life(origin);
            self.is_open(life) && self.lives.at_hand.contains(&life)
        };
        let spans = spans.iter().filter(|span| is_there(span.0));
        let spans: Vec<_> = spans.map(|&(origin, from, to)| (who, origin, from, to)).collect();
        self.lives.skipped.extend(spans);
    }

    /// S16: what was accepted by one who is there, or whose disk is, is known to all.
    pub(super) fn kept(&self, stayed: &[Who]) -> Verdict {
        for &who in stayed {
            let lacks = |origin: &Who| self.has(who, *origin) < self.lives.owed(*origin, stayed);
            if let Some(origin) = (0..self.members).find(lacks) {
                return no("S16", who, format!("lacks what m{origin} was told to have sent"));
            }
        }
        Ok(())
    }

    /// S16: nothing that was accepted by one who is there, or whose disk is, was lost to anybody.
    pub(crate) fn nothing_lost(&self, stayed: &[Who]) -> Verdict {
        // What one knew who is gone for good with its disk cannot be had, nor what follows from it without a gap.
        let is_there = |life: Who| stayed.contains(&life) || self.has_left(life);
        let mut all = 0..self.members;
        if !all.all(|origin| self.sent(origin) == 0 || is_there(self.lives.last_life(origin))) {
            return Ok(());
        }
        match self.lives.lost(stayed) {
            Some((who, origin, seq)) => no("S16", who, format!("lost m{origin}:{seq}, which was accepted")),
            None => Ok(()),
        }
    }
}
