//! Why a registry does not do what it is asked.

use serde::{Deserialize, Serialize};

use crate::peer::Malformed;

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
