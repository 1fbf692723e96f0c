use std::time::Duration;

/// Shortest lease: below it a renewal a third of the lease apart is lost to ordinary scheduling.
pub const LEASE_MIN: Duration = Duration::from_millis(200);
/// Longest lease: a peer that died without a word is believed alive for this long.
pub const LEASE_MAX: Duration = Duration::from_secs(3600);
/// Default lease: two renewals may be lost before it runs out, and a crash is seen within it.
pub const LEASE_DEFAULT: Duration = Duration::from_secs(6);
/// Default most peers: twice what a mesh of 128 members needs.
pub const PEERS_DEFAULT: usize = 256;
/// Largest most peers that may be asked for: a full list must fit one answer frame.
pub const PEERS_MAX: usize = 1024;
/// Changes remembered for watchers that were away: some minutes of a busy node set, at most
/// 2.5 MiB. Who was away longer gets the full list instead.
pub const HISTORY_MAX: usize = 1024;
/// Most changes in one answer; the next ask brings the rest. Bounds the frame as a list does.
pub const CHANGES_MAX: usize = 256;
/// Longest a watch waits for a change: well under what idle connections survive in between
/// (60 s and more), long enough that watching costs nothing.
pub const WATCH_WAIT_MAX: Duration = Duration::from_secs(25);
/// Waiting watches per admissible peer: its own, and one left over from a broken connection.
const WATCHERS_PER_PEER: usize = 2;
/// Waiting watches of others: `list --watch`, screens, tests.
const WATCHERS_SPARE: usize = 64;

/// The limits that an operator may choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// How long a lease lasts without renewal.
    pub lease: Duration,
    /// Most live peers.
    pub max_peers: usize,
    /// Changes remembered; more than [`HISTORY_MAX`] would only cost memory.
    pub history: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            lease: LEASE_DEFAULT,
            max_peers: PEERS_DEFAULT,
            history: HISTORY_MAX,
        }
    }
}

impl Limits {
    /// Most watches that wait at once.
    pub fn watchers(&self) -> usize {
        self.max_peers * WATCHERS_PER_PEER + WATCHERS_SPARE
    }

    /// A tick that is later than this was late because the registry itself stood still. A quarter
    /// of a lease is more than load explains and less than two missed renewals.
    pub fn stall(&self) -> Duration {
        self.lease / 4
    }
}
