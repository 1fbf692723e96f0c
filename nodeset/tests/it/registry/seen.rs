//! How often what happened, so that a silent no-op shows.

/// One counter for each thing that must happen in a run of many seeds.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) grants: u64,
    pub(super) held: u64,
    pub(super) stale: u64,
    pub(super) full: u64,
    pub(super) barred: u64,
    pub(super) expired: u64,
    pub(super) left: u64,
    pub(super) evicted: u64,
    pub(super) evicted_live: u64,
    pub(super) evictions_told: u64,
    pub(super) updated: u64,
    pub(super) restarts_empty: u64,
    pub(super) restarts_with_state: u64,
    pub(super) stalls: u64,
    pub(super) resyncs: u64,
    pub(super) compactions: u64,
    pub(super) changes_told: u64,
    pub(super) lost_answers: u64,
}

impl Seen {
    fn numbers(&mut self) -> [&mut u64; 18] {
        [
            &mut self.grants,
            &mut self.held,
            &mut self.stale,
            &mut self.full,
            &mut self.barred,
            &mut self.expired,
            &mut self.left,
            &mut self.evicted,
            &mut self.evicted_live,
            &mut self.evictions_told,
            &mut self.updated,
            &mut self.restarts_empty,
            &mut self.restarts_with_state,
            &mut self.stalls,
            &mut self.resyncs,
            &mut self.compactions,
            &mut self.changes_told,
            &mut self.lost_answers,
        ]
    }

    pub(super) fn add(&mut self, other: &Self) {
        let mut other = Self { ..*other };
        self.numbers()
            .into_iter()
            .zip(other.numbers())
            .for_each(|(sum, n)| *sum += *n);
    }

    pub(super) fn assert_everything_happened(&mut self) {
        assert!(
            self.numbers().iter().all(|n| **n > 0),
            "something never happened: {self:?}"
        );
    }
}
