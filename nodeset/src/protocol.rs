//! What is asked of a registry and what it answers: plain data, the same on both sides.
//!
//! A renewal is a registration said again. It is idempotent, so a registry that restarted empty
//! learns everyone from the next renewal and needs no special case.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::peer::{Malformed, Peer, PeerId, Registration};

/// Version of this protocol; both sides must have the same one.
pub const PROTOCOL_VERSION: u16 = 1;

/// One run of one registry: a random number, new at every start, so that a restart is visible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Instance(pub u64);

/// A place in a registry's history: after `revision` changes of this instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    /// Which run of the registry counts.
    pub instance: Instance,
    /// How many changes it had made.
    pub revision: u64,
}

/// What a lease holder proves itself with: random, chosen by the holder, never told to others.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Holder(pub [u8; 16]);

impl fmt::Debug for Holder {
    /// A secret does not belong into a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Holder(..)")
    }
}

/// A question to the registry.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Request {
    /// Must come first on every connection.
    Hello {
        /// [`PROTOCOL_VERSION`] of the caller.
        version: u16,
    },
    /// Take or renew a lease, and say the current nick, addresses and rooms.
    Register {
        /// What the peer says about itself, unchecked.
        claim: Registration,
        /// Whoever has this may renew, replace and give back the lease.
        holder: Holder,
        /// Grows with everything the holder says; what arrives late is recognised by it.
        turn: u64,
    },
    /// Give the lease back.
    Leave {
        /// Whose lease.
        id: PeerId,
        /// The proof.
        holder: Holder,
        /// As in [`Request::Register`].
        turn: u64,
    },
    /// Everyone, now.
    List,
    /// What changed after `since`; waits for a change if there was none.
    Watch {
        /// Where the caller stands; `None` asks for the full list.
        since: Option<Position>,
        /// How long to wait for a change, in milliseconds.
        wait_ms: u32,
    },
    /// Take a peer's lease away, and refuse its id for one lease.
    Evict {
        /// `nick#8hex`, the 32 digits of an id, or a nick that only one live peer has.
        target: String,
    },
    /// How the registry is.
    Health,
}

/// The registry's answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Answer {
    /// To [`Request::Hello`].
    Welcome {
        /// [`PROTOCOL_VERSION`] of the registry.
        version: u16,
        /// How long its leases last, in milliseconds.
        lease_ms: u32,
    },
    /// The caller holds the lease, for at least this long after the registry heard the request.
    Granted {
        /// In milliseconds.
        lease_ms: u32,
    },
    /// The lease is given back, or there was none.
    Left,
    /// Everyone, by id.
    List(Vec<Entry>),
    /// To [`Request::Watch`].
    News(News),
    /// The lease is gone.
    Evicted {
        /// Who it was.
        peer: Peer,
        /// How long its id is refused, in milliseconds.
        refused_ms: u32,
    },
    /// To [`Request::Health`].
    Health(Health),
    /// Not done, and nothing changed.
    Refused(Refusal),
}

/// One live peer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Entry {
    /// Who it is.
    pub peer: Peer,
    /// Milliseconds since it took its lease.
    pub age_ms: u64,
    /// Milliseconds until the lease ends unless renewed.
    pub left_ms: u32,
}

/// The answer of a watch.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum News {
    /// The history does not reach back to where the caller stands, or this is another instance:
    /// forget what you knew, this is everyone.
    Resync {
        /// Where the caller stands now.
        at: Position,
        /// Everyone, by id.
        entries: Vec<Entry>,
    },
    /// The changes right after where the caller stood, in order and without a hole; none if
    /// nothing happened while the registry waited.
    Changes {
        /// Where the caller stands after them: as many revisions further as there are changes.
        at: Position,
        /// What happened.
        changes: Vec<Change>,
    },
}

/// One change of the node set.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Change {
    /// The peer is new, or says something else about itself than before.
    Live(Entry),
    /// The peer's lease is gone.
    Gone {
        /// Who it was.
        peer: Peer,
        /// Why.
        why: Why,
    },
}

/// Why a lease is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Why {
    /// Its holder gave it back.
    Left,
    /// It was not renewed in time.
    Expired,
    /// It was taken away.
    Evicted,
}

/// How a registry is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Health {
    /// Where its history stands.
    pub at: Position,
    /// Live peers.
    pub live: u32,
    /// Most live peers it admits.
    pub max_peers: u32,
    /// How long its leases last, in milliseconds.
    pub lease_ms: u32,
    /// How long it has been running, in milliseconds.
    pub up_ms: u64,
}

/// Why the registry did not do it. Nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The caller speaks another version; the connection is closed after this answer.
    #[error("the registry speaks protocol version {ours}, not {theirs}")]
    Version {
        /// The registry's.
        ours: u16,
        /// The caller's.
        theirs: u16,
    },
    /// The first request was not a hello; the connection is closed after this answer.
    #[error("the first request on a connection must be a hello")]
    HelloFirst,
    /// The registration is not well formed.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Another holder has a live lease for this id.
    #[error("this peer id is registered by another holder")]
    Held,
    /// A later request of the same holder was served already.
    #[error("a later registration of the same holder was served already")]
    Stale,
    /// The peer was evicted a short while ago.
    #[error("this peer was evicted; the registry refuses it for another {left_ms} ms")]
    Evicted {
        /// For how long still, in milliseconds.
        left_ms: u32,
    },
    /// The node set is full.
    #[error("the registry is full: it admits at most {max_peers} peers")]
    Full {
        /// Its limit.
        max_peers: u32,
    },
    /// Too many requests of this kind wait already.
    #[error("too many requests are waiting already")]
    Busy,
    /// No live peer is called so.
    #[error("no live peer is called so")]
    Nobody,
    /// Several live peers are called so.
    #[error("{found} live peers are called so; name one by nick#8hex")]
    Ambiguous {
        /// How many.
        found: u32,
    },
}

/// Whole milliseconds of a duration, at most `u32::MAX` (49 days).
pub(crate) fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
