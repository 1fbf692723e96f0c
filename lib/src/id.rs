//! Who and what: nodes, members, groups, and the dots that name messages.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! id128 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub [u8; 16]);

        impl $name {
            /// The first 4 bytes as 8 hex digits: what people see behind a name, as in `ana#7f3a01c2`.
            pub fn short(&self) -> String {
                self.0[..4].iter().map(|byte| format!("{byte:02x}")).collect()
            }
        }

        impl From<u128> for $name {
            fn from(value: u128) -> Self {
                Self(value.to_be_bytes())
            }
        }

        impl fmt::Display for $name {
            /// All 128 bits as 32 hex digits.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.short())
            }
        }
    };
}

id128! {
    /// One running process with a listener, links and groups. New at every process start (an *incarnation*).
    NodeId
}

id128! {
    /// A node's participation in one group.
    ///
    /// The first join of a group by a process has the node's own id; later joins of the same group have
    /// `hash(node id, group, k)`, so that leaving and joining again never continues a closed id.
    MemberId
}

id128! {
    /// A group: a named set of members with a log and a causal order of its own. Derived from the name.
    GroupId
}

id128! {
    /// Whoever keeps one journal of decisions. Outlives the process: the next one that opens the journal goes on under it.
    JournalId
}

impl GroupId {
    /// The id of the public group of that name.
    pub fn named(name: &str) -> Self {
        Self(digest128(&[b"multicast group", name.as_bytes()]))
    }
}

impl MemberId {
    /// The member id of the `k`-th join (from 0) of `group` by `node` in this process.
    pub fn of_join(node: NodeId, group: GroupId, k: u64) -> Self {
        if k == 0 {
            return Self(node.0);
        }
        Self(digest128(&[b"multicast member", &node.0, &group.0, &k.to_be_bytes()]))
    }
}

/// The id of a message: `seq` counts its origin's messages in the group from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Dot {
    /// The member that created the message.
    pub origin: MemberId,
    /// Its number among the origin's messages in the group, from 1.
    pub seq: u64,
}

impl fmt::Display for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.origin.short(), self.seq)
    }
}

impl fmt::Debug for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A run of consecutive dots of one origin, both ends included.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Span {
    /// The member that created the messages.
    pub origin: MemberId,
    /// The first seq.
    pub from: u64,
    /// The last seq; not below `from`.
    pub to: u64,
}

impl Span {
    /// How many dots the span names.
    pub fn count(&self) -> u64 {
        self.to.saturating_sub(self.from).saturating_add(1)
    }
}

/// The first 128 bits of BLAKE3 over length-prefixed parts, so that no two lists of parts collide by shifting.
pub(crate) fn digest128(parts: &[&[u8]]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    let mut out = [0; 16];
    out.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    out
}
