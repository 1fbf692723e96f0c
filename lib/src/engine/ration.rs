//! How much of what is repaired one peer gets in a time: whoever pulls the same over and over must not keep a member busy.

use crate::engine::roster::Slot;
use crate::engine::{Engine, Frame, Pulled};
use crate::message::Micros;
use crate::run::{Run, encoded_bound};

/// Counted of every pull, in bytes, beside what the answer holds: to look for a few hundred spans costs, too.
const PULL_COST: usize = 4 << 10;

impl Engine {
    /// Whether a pull of that peer is answered now. If not, it will ask again later, and others.
    pub(super) fn may_pull(&mut self, slot: Slot) -> bool {
        let (cost, most) = (self.pull_cost(PULL_COST), self.pull_cost(self.config.pull_burst));
        self.roster[slot].peer.pulls.take(cost, most.max(1), self.now).is_ok()
    }

    /// What a pull got, and what that costs its peer.
    pub(super) fn answer_pull(&mut self, slot: Slot, answer: Pulled) {
        let payloads = |run: &Run| {
            (0..run.len())
                .map(|nth| encoded_bound(run.payload_len(nth), 0))
                .sum::<usize>()
        };
        let bytes = answer
            .runs
            .iter()
            .map(|run| payloads(run) + encoded_bound(0, run.clock_entries()));
        let cost = self.pull_cost(bytes.sum());
        self.roster[slot].peer.pulls.owe(cost, self.now);
        self.say(slot, Frame::Pulled(answer));
    }

    /// How long it takes until so many bytes come back.
    fn pull_cost(&self, bytes: usize) -> Micros {
        (bytes as u64).saturating_mul(1_000_000) / self.config.pull_rate.max(1) as u64
    }
}
