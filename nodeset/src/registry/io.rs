//! What goes into the registry and what comes out.

use std::time::Duration;

use crate::peer::{Peer, PeerId};
use crate::protocol::{Answer, Holder, Position};

/// Who asked: chosen by the caller of [`Registry::handle`](super::Registry::handle), comes back with the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Caller(pub u64);

/// One thing that happens to the registry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// Someone asks. Answered by exactly one [`Output::Answer`], now or, for a watch, later.
    Ask {
        /// Who.
        caller: Caller,
        /// What.
        ask: Ask,
    },
    /// The caller does not wait for its answer any more.
    Forget {
        /// Who.
        caller: Caller,
    },
    /// Time has passed. Too early or too often does nothing.
    Tick,
}

/// A question whose every field is in order; see [`crate::protocol::Request`] for the meaning.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the fields are those of `Request`")]
pub enum Ask {
    Register {
        peer: Peer,
        holder: Holder,
        turn: u64,
    },
    Leave {
        id: PeerId,
        holder: Holder,
        turn: u64,
    },
    List,
    Watch {
        since: Option<Position>,
        wait: Duration,
    },
    /// Who is called so, answered by a list.
    Find {
        target: String,
    },
    /// Refuse these nodes for this long, and end their leases. Answered by a list of those that
    /// had one.
    Evict {
        nodes: Vec<(PeerId, Duration)>,
    },
    Health,
}

/// One thing the registry wants done.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Output {
    /// Give this answer to the one who asked.
    Answer {
        /// Who asked.
        caller: Caller,
        /// What to say.
        answer: Answer,
    },
    /// The node set changed: for the log, the counters and the state on disk.
    Changed(Event),
    /// The node is refused from now on. Counts as a change of the history.
    Barred {
        /// Which one.
        node: PeerId,
    },
}

/// A change of the node set, as its operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Event {
    /// The peer, as it is now or was last.
    pub peer: Peer,
    /// What happened to it.
    pub what: What,
    /// Live peers after it.
    pub live: usize,
}

/// What happened to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum What {
    /// It took a lease.
    Joined,
    /// It says something else about itself.
    Updated,
    /// It gave its lease back.
    Left,
    /// Its lease ran out.
    Expired {
        /// Time since its last renewal.
        silent: Duration,
    },
    /// Its lease was taken away.
    Evicted,
}
