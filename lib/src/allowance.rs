//! How much of something is let through at once, and how much of it in the long run.

use crate::message::Micros;

/// Starts full. What is taken comes back with time: an allowance of `most` microseconds, of which each taking takes so
/// many. (The generic cell rate algorithm, ITU-T I.371: one number, nothing to refill.)
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub(crate) struct Allowance {
    /// When all that was taken will have come back.
    full_at: Micros,
}

impl Allowance {
    /// Takes `cost`, unless so much was taken that `most` is used up: then nothing is taken, and the answer is when to ask
    /// again. The last one may take more than there was left.
    pub(crate) fn take(&mut self, cost: Micros, most: Micros, now: Micros) -> Result<(), Micros> {
        let taken = self.full_at.saturating_sub(now);
        if taken >= most {
            return Err(self.full_at - most + 1);
        }
        self.owe(cost, now);
        Ok(())
    }

    /// Takes `cost` in any case: what something cost that was begun already.
    pub(crate) fn owe(&mut self, cost: Micros, now: Micros) {
        // What costs nothing leaves no trace.
        if cost > 0 {
            self.full_at = self.full_at.max(now) + cost;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_at_once_and_then_at_a_pace() {
        let (cost, most, start) = (2_000, 512_000, 1_000_000);
        let mut allowance = Allowance::default();
        let at_once = (0..1_000).filter(|_| allowance.take(cost, most, start).is_ok());
        assert_eq!(at_once.count(), 256);
        let mut now = start;
        for _ in 0..1_000 {
            now = allowance.take(cost, most, now).expect_err("used up");
            allowance.take(cost, most, now).expect("it was told when");
        }
        let paced = now - start;
        assert!((1_996_000..=2_001_000).contains(&paced), "a thousand took {paced} us");
        now += most;
        let again = (0..1_000).filter(|_| allowance.take(cost, most, now + cost).is_ok());
        assert!((255..=257).contains(&again.count()), "it comes back");
    }

    #[test]
    fn what_costs_nothing_is_never_refused() {
        let mut allowance = Allowance::default();
        assert!((0..1_000).all(|_| allowance.take(0, 1, 5) == Ok(())));
        assert_eq!(allowance, Allowance::default());
    }
}
