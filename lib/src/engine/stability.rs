//! Causal stability: what every member that counts has delivered may leave the log.

use crate::clock::Clock;
use crate::engine::roster::Slot;
use crate::engine::{Engine, Stable};

/// Pieces smaller than this part of the retention budget leave the log as a whole: to cut them costs more than the
/// messages that would stay are worth.
const WORTH_CUTTING: usize = 64;

impl Engine {
    /// What every member that counts has delivered, as far as known here.
    pub fn stable(&self) -> Clock {
        let fresh = self.stable.stale.then(|| self.compute_stable());
        let seqs = fresh.as_ref().unwrap_or(&self.stable.seqs);
        let entries = self
            .roster
            .by_id()
            .map(|(id, slot)| (id, seqs.get(slot as usize).copied().unwrap_or(0)));
        Clock::from_sorted(entries.filter(|entry| entry.1 > 0).collect())
    }

    pub(super) fn refresh_stable(&mut self) {
        if self.stable.stale {
            self.stable = Stable {
                seqs: self.compute_stable(),
                stale: false,
            };
        }
    }

    /// The meet of the digests of all members that count, this one's own included; by slot.
    fn compute_stable(&self) -> Vec<u64> {
        let mut seqs: Vec<u64> = self.roster.all().map(|(_, known)| known.delivered).collect();
        for (slot, known) in self.roster.all() {
            let retain = self.config.rules.retain_for_silent || !known.peer.silent;
            if slot == self.my_slot || !known.counts() || self.is_grace_over(slot) || !retain {
                continue;
            }
            let digest = if known.speaks() {
                known.peer.digest.clone()
            } else {
                Clock::new()
            };
            let mut digest = digest.iter().peekable();
            for (id, of) in self.roster.by_id() {
                while digest.next_if(|entry| entry.0 < id).is_some() {}
                let has = digest.next_if(|entry| entry.0 == id).map_or(0, |entry| entry.1);
                // Everyone has its own messages.
                let has = if of == slot { has.max(known.delivered) } else { has };
                // Of one that is expelled nobody needs anything.
                if !self.roster[of].is_expelled() {
                    seqs[of as usize] = seqs[of as usize].min(has);
                }
            }
        }
        seqs
    }

    /// Lets stable messages go that the retention budget has no room for, oldest first; and, beyond the hard
    /// multiple of the budget, those that are not stable too.
    pub(super) fn trim(&mut self) {
        let budget = self.config.retention;
        let hard = budget.saturating_mul(self.config.retention_factor);
        if self.is_joining() {
            // What it keeps for others goes first. The rest was not shown yet, and a later cut needs less of it.
            let kept = self.log.kept.len();
            while self.log.bytes() > hard && self.log.drop_kept() {}
            if self.log.kept.len() < kept {
                self.raise_base();
            }
            if self.log.bytes() > hard {
                self.start_finding();
            }
            return;
        }
        if self.log.bytes() <= budget {
            return;
        }
        self.refresh_stable();
        let stable = &self.stable.seqs;
        let is_stable = |slot: Slot, seq: u64| stable.get(slot as usize).is_some_and(|&upto| upto >= seq);
        let kept = self.log.kept.len();
        self.log.release_kept(|slot, seq| !is_stable(slot, seq));
        // What is below the base anyway goes first: letting it go changes nothing of what is told to others.
        while self.log.bytes() > hard && self.log.drop_kept() {}
        let fewer = self.log.kept.len() < kept;
        let sealed = self.is_signed();
        while let Some(item) = self.log.front() {
            let (slot, first, last, bytes) = (item.slot, item.piece.first(), item.piece.last(), self.log.bytes());
            // As a whole, unless a part is enough and what else would go is worth keeping, or a part is all that may go.
            let small = sealed || item.bytes <= budget / WORTH_CUTTING;
            let whole = bytes > budget && (small || bytes > budget + item.bytes) && is_stable(slot, last);
            let part = bytes > budget && (is_stable(slot, first) || bytes > hard);
            let item = match (whole, part) {
                // A part of a segment could not be proved to anybody.
                (false, true) if sealed && (is_stable(slot, last) || bytes > hard) => self.log.pop_piece(),
                (false, true) if sealed => break,
                (true, _) => self.log.pop_piece(),
                (_, true) => self.log.pop_message(),
                (false, false) => break,
            };
            let Some(item) = item else { break };
            self.base_lamport = self.base_lamport.max(item.piece.last_lamport());
            let gone = self.roster[slot].trimmed(first, item.piece.last(), last);
            if gone && slot == self.my_slot {
                self.own.starts.pop_front();
            }
        }
        if fewer {
            self.raise_base();
        }
        if sealed {
            self.trim_chains();
        }
    }

    /// What is known of chains goes with the messages.
    fn trim_chains(&mut self) {
        for slot in self.roster.slots() {
            let kept = self.log.kept.range((slot, 0)..=(slot, u64::MAX)).next();
            let kept = kept.map_or(u64::MAX, |(&(_, seq), _)| seq);
            let known = &mut self.roster[slot];
            known.chain.trim(known.logged_from().min(kept));
        }
    }
}
