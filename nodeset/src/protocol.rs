//! What is asked of a registry and what it answers: plain data, the same on both sides.
//!
//! A renewal is a registration said again. It is idempotent, so a registry that restarted empty
//! learns everyone from the next renewal and needs no special case.
//!
//! Who asks is settled first: by a certificate shown in the TLS handshake, or by
//! [`Request::Prove`]. [`Request::Enrol`] gets a certificate, and binds the connection to its node:
//! what is registered there is that node and no other.

mod refusal;

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::invite::InviteId;
use crate::key::Signature;
use crate::peer::{Peer, PeerId, Registration};

pub use self::refusal::{InviteRefusal, Limited, Refusal};

/// Version of this protocol; both sides must have the same one. 1 had no TLS and no identities.
pub const PROTOCOL_VERSION: u16 = 2;

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
    /// Prove who one is. Later proofs on the same connection replace earlier ones.
    Prove {
        /// By what.
        proof: Proof,
        /// The profile, if there is one: remembered, where it is needed to be known again.
        profile: Option<ProfileProof>,
        /// The name people see.
        name: String,
    },
    /// Get a certificate, or a new one in place of the present one. Needs a proof or a certificate.
    Enrol {
        /// The process key.
        public: [u8; 32],
        /// The name in the certificate. At a renewal the name stays.
        name: String,
        /// Signature by the process key over this connection and the name.
        possession: Signature,
    },
    /// Take or renew a lease, and say the current nick, addresses and rooms. Only for the node
    /// that the connection is bound to.
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
    /// Take a peer's lease away, and refuse its process key and its profile. For operators, who
    /// proved the local secret.
    Evict {
        /// `nick#8hex`, the 32 digits of an id, a nick that only one live peer has, or the
        /// fingerprint of a profile.
        target: String,
    },
    /// Let an evicted profile ask again. For operators.
    Pardon {
        /// Its fingerprint or name.
        target: String,
    },
    /// Take note of a new invite. For operators.
    Invite {
        /// A hash of its secret, which is never told.
        kept: [u8; 32],
        /// How many may come by it.
        uses: u32,
        /// For how long, in milliseconds.
        life_ms: u64,
    },
    /// Every invite. For operators.
    Invites,
    /// Revoke an invite, or all, and evict who came by it. For operators.
    Revoke {
        /// Which one; `None`: all.
        id: Option<InviteId>,
    },
    /// How the registry is. Whoever proves nothing is told only that it is there.
    Health,
}

/// By what somebody gets in. Each is good on one connection only.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Proof {
    /// The secret that the registry published for its user: makes an operator.
    Local {
        /// HMAC-SHA256 over the connection's exported key.
        mac: [u8; 32],
    },
    /// An invite's secret.
    Invite {
        /// Which invite.
        id: InviteId,
        /// As SCRAM has it.
        proof: [u8; 32],
    },
    /// The profile beside, which was admitted before.
    Profile,
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local { .. } => "Local(..)",
            Self::Invite { .. } => "Invite(..)",
            Self::Profile => "Profile",
        })
    }
}

/// That somebody has a profile's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProfileProof {
    /// The public key.
    pub public: [u8; 32],
    /// Signature over this connection.
    pub signature: Signature,
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
        /// The node of the certificate that the caller showed.
        you: Option<PeerId>,
    },
    /// The proof is good.
    Proven {
        /// Whether the caller may evict and invite.
        operator: bool,
    },
    /// To [`Request::Enrol`].
    Issued {
        /// The certificate, in DER, and what stands between it and the authority's own (nothing).
        chain: Vec<Vec<u8>>,
        /// How long it lives, in milliseconds from now.
        life_ms: u64,
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
    /// Refused from now on.
    Evicted(Evicted),
    /// The profiles with these fingerprints may ask again.
    Pardoned(Vec<String>),
    /// To [`Request::Invite`].
    Invited {
        /// What it is called.
        id: InviteId,
    },
    /// To [`Request::Invites`], the one that ends last at the end.
    Invites(Vec<InviteState>),
    /// To [`Request::Revoke`].
    Revoked {
        /// How many invites were not over yet.
        invites: u32,
        /// Who came by them, and is out now.
        evicted: Evicted,
    },
    /// To [`Request::Health`], for those who proved who they are.
    Health(Health),
    /// To [`Request::Health`], for everybody else: it is there.
    Well,
    /// Not done, and nothing changed.
    Refused(Refusal),
}

/// Who is refused from now on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Evicted {
    /// Peers that had a lease.
    pub peers: Vec<Peer>,
    /// Process keys that are refused, by node id.
    pub nodes: Vec<PeerId>,
    /// Fingerprints of profiles that are refused until they are pardoned.
    pub profiles: Vec<String>,
}

/// How an invite stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct InviteState {
    /// What it is called.
    pub id: InviteId,
    /// How many may come by it.
    pub uses: u32,
    /// How many came.
    pub used: u32,
    /// Until when, in seconds since 1970.
    pub until_unix: u64,
    /// Why it lets nobody in any more.
    pub over: Option<InviteRefusal>,
    /// Who came by it, as names with fingerprints or ids.
    pub came: Vec<String>,
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
        /// Nodes whose keys are refused, by id, and for how many milliseconds still.
        evicted: Vec<(PeerId, u32)>,
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
    /// The node's key is refused, whether or not it had a lease. Members cut their links to it.
    Evicted {
        /// Which node.
        node: PeerId,
        /// For how many milliseconds still: until its certificate ends.
        left_ms: u32,
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
    /// Where it listens.
    pub listens: Vec<SocketAddr>,
}

/// Whole milliseconds of a duration, at most `u32::MAX` (49 days).
pub(crate) fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
