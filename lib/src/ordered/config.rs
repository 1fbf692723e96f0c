//! Limits and times of a sequencer, each with its reason.

use crate::message::Micros;

const MS: Micros = 1_000;

/// Most dots in one record: one turn of a busy authority, and a burst of one origin is a single span anyway.
pub(crate) const RECORD_DOTS: usize = 1024;
/// Most entries of the log that are not with a majority yet; then the authority waits, and the next record is longer.
pub(crate) const IN_FLIGHT: usize = 1024;
/// Entries that stay in the log after everybody has them: for whoever joins from a cut that is a little old.
pub(crate) const KEPT: usize = 1024;
/// Entries of the log at most. Whoever lacks what is let go beyond that gets a snapshot, and shows some messages without
/// their places.
pub(crate) const KEPT_AT_MOST: usize = 65_536;
/// Messages that wait for a place before this member refuses to send; at twice that the oldest are shown without one.
pub(crate) const PENDING: usize = 16_384;

/// Limits and times of a sequencer; the simulator makes them small.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OrderConfig {
    /// How often an authority without anything to say says so. 300 ms: five fit into the shortest `elect_after`.
    pub heartbeat: Micros,
    /// After so long, and up to as much again, without a word of the authority another one is elected. 1.5 s: longer than
    /// any pause of a busy machine that is not worth an election.
    pub elect_after: Micros,
    /// How long a handover may take: several round trips.
    pub hand_over: Micros,
    /// How long too few must be there before that is said: a link that is replaced is down for a moment.
    pub few_after: Micros,
    /// Messages that wait for a place before this member refuses to send.
    pub pending: usize,
    /// Entries that stay in the log after everybody has them.
    pub kept: usize,
    /// Entries of the log at most.
    pub kept_at_most: usize,
    /// Rules that a test may switch off to prove that its judge notices.
    pub rules: OrderRules,
}

/// The rules that tests switch off one at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[doc(hidden)]
pub struct OrderRules {
    /// Show only what a majority has.
    pub wait_for_majority: bool,
    /// The authority orders causally.
    pub order_causally: bool,
    /// Vote only for who has everything that one has oneself.
    pub compare_logs: bool,
    /// Accept no record that is not causal.
    pub check_records: bool,
    /// Believe only an authority that a majority follows.
    pub check_backing: bool,
}

impl Default for OrderConfig {
    fn default() -> Self {
        Self {
            heartbeat: 300 * MS,
            elect_after: 1_500 * MS,
            hand_over: 3_000 * MS,
            few_after: 1_000 * MS,
            pending: PENDING,
            kept: KEPT,
            kept_at_most: KEPT_AT_MOST,
            rules: OrderRules {
                wait_for_majority: true,
                order_causally: true,
                compare_logs: true,
                check_records: true,
                check_backing: true,
            },
        }
    }
}
