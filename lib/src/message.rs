//! What travels: messages with their stamps, and who is introduced by them.

use std::fmt;
use std::net::SocketAddr;
use std::ops::Deref;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::clock::{Clock, SharedEntries};
use crate::id::{Dot, MemberId, NodeId};

/// Microseconds since the engine's owner began to count; only differences mean anything.
pub type Micros = u64;

/// What a message is for. Joins and leaves are ordinary causal messages, so that everyone sees them in one place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Kind {
    /// The application's bytes.
    App,
    /// The first message of a member; its payload is the member's name.
    Join,
    /// The last message of a member; its payload is the reason in words, perhaps empty.
    Leave,
    /// Takes a closed origin out of the clocks of later messages; its payload is 16 bytes of member id and the
    /// last seq as 8 bytes, big-endian.
    Retire,
    /// A request of the group RPC; for the layer above, opaque here.
    Call,
    /// What a member of a private group says of who may be in it; for the layer above, opaque here.
    List,
}

/// Longest name in bytes that is believed, 32 characters: what is said of thousands of members is kept.
pub(crate) const NAME_BYTES: usize = 128;

/// What every message carries about its place in time.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Stamp {
    /// The message's id.
    pub dot: Dot,
    /// Everything its sender had delivered, and the message itself.
    pub clock: Clock,
    /// Lamport time (Lamport 1978): greater than that of every cause.
    pub lamport: u64,
    /// The sender's wall clock in microseconds since 1970. Advisory: nothing is decided by it.
    pub sent_at: u64,
}

/// One message in memory. Its exact full clock is `past` and its own dot.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Message {
    /// Its id.
    pub dot: Dot,
    /// Lamport time.
    pub lamport: u64,
    /// The sender's wall clock in microseconds since 1970; advisory.
    pub sent_at: u64,
    /// What it is for.
    pub kind: Kind,
    /// The entries of its clock except the origin's own, ascending; shared with its neighbours in a burst.
    pub(crate) past: SharedEntries,
    /// The bytes.
    pub payload: Bytes,
}

impl Message {
    /// The full vector clock: everything that its sender had delivered, and itself.
    pub fn clock(&self) -> Clock {
        Clock::with_head(self.past.clone(), self.dot)
    }

    /// Of a join: the name of whoever joins. Cut where it is too long: a member that was admitted chooses it.
    pub(crate) fn joined_name(&self) -> String {
        let length = self.payload.len().min(NAME_BYTES);
        String::from_utf8_lossy(&self.payload[..length]).into_owned()
    }

    /// Everything about its place in time.
    pub fn stamp(&self) -> Stamp {
        Stamp {
            dot: self.dot,
            clock: self.clock(),
            lamport: self.lamport,
            sent_at: self.sent_at,
        }
    }
}

/// What a member tells of itself when it joins.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Intro {
    /// The node that the member lives in.
    pub node: NodeId,
    /// The name that people see; need not be unique.
    pub name: String,
    /// Where the node listens, as others can dial it.
    pub addr: SocketAddr,
}

/// A member as its group knows it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Member {
    /// Its id in this group.
    pub id: MemberId,
    /// The name that people see; need not be unique. Empty while only its id is known.
    pub name: Name,
}

impl fmt::Display for Member {
    /// `ana#7f3a01c2`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.name, self.id.short())
    }
}

/// A member's name: text that every delivery mentions. Up to 23 bytes lie in place, so that a clone is a copy; longer
/// ones are shared.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(SmolStr);

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Name {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for Name {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl PartialEq<str> for Name {
    fn eq(&self, other: &str) -> bool {
        &*self.0 == other
    }
}

impl PartialEq<&str> for Name {
    fn eq(&self, other: &&str) -> bool {
        &*self.0 == *other
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
