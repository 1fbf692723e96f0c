//! What is asked of a registry and what it answers: plain data, the same on both sides.
//!
//! A renewal is a registration said again. It is idempotent, so a registry that restarted empty
//! learns everyone from the next renewal and needs no special case.
//!
//! Who asks is settled first: by a certificate shown in the TLS handshake, or by
//! [`Request::Prove`]. [`Request::Enrol`] gets a certificate, and binds the connection to its node:
//! what is registered there is that node and no other.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::invite::InviteId;
use crate::key::Signature;
use crate::peer::{Malformed, Peer, PeerId, Registration};

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

/// Why an invite lets nobody in. Nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum InviteRefusal {
    /// The registry did not make it, or its secret is another.
    #[error("the registry does not know this invite: ask for another")]
    Wrong,
    /// Its time is over.
    #[error("the invite expired {} ago: ask for another", ago(*.ago_s))]
    Expired {
        /// Since when, in seconds.
        ago_s: u64,
    },
    /// As many came by it as may.
    #[error("the invite is used up ({uses} of {uses}): ask for another")]
    UsedUp {
        /// How many may.
        uses: u32,
    },
    /// It was taken back.
    #[error("the invite was revoked")]
    Revoked,
}

/// The largest unit of a time, for people.
fn ago(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// What there is too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum Limited {
    /// Invites that are not over.
    #[error("invites")]
    Invites,
    /// Profiles that came by an invite.
    #[error("admitted profiles")]
    Admissions,
    /// Certificates that are valid.
    #[error("valid certificates")]
    Certificates,
    /// Evictions that are remembered.
    #[error("evictions")]
    Evictions,
    /// Connections, in all or from one address.
    #[error("connections")]
    Connections,
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
    /// Nobody proved anything on this connection.
    #[error("the registry wants to know who asks: prove it first")]
    Unproven,
    /// The secret is not the one that this registry published.
    #[error("the proof of the local secret is wrong")]
    NotLocal,
    /// The profile never came by an invite, or the invite was revoked.
    #[error("the registry does not know this profile: ask for an invite (`nodesetd invite`) and use --invite")]
    NotAdmitted,
    /// The profile was evicted.
    #[error("the profile {profile} was evicted; `nodesetd evict --undo {profile}` lets it in again")]
    Banned {
        /// Its fingerprint.
        profile: String,
    },
    /// An invite is no good.
    #[error(transparent)]
    Invite(#[from] InviteRefusal),
    /// A signature is wrong.
    #[error("a signature does not fit its key and this connection")]
    Signature,
    /// The connection is bound to another node.
    #[error("this connection may speak for its own node only")]
    NotYours,
    /// Only who proves the local secret may do this.
    #[error("only the registry's own user, on its machine, may do this")]
    NotOperator,
    /// A limit of the registry.
    #[error("the registry has as many {0} as it may")]
    Limit(Limited),
    /// The registry could not write it down.
    #[error("the registry cannot write its state, so it did not do this; its log says why")]
    Storage,
    /// The node was evicted.
    #[error("this process was evicted")]
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
