//! What nodes ask of each other: one service method, whose request and response are enums.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::circle::Circle;
use crate::engine::Frame;
use crate::id::{GroupId, MemberId, NodeId};
use crate::identity::{Endorsement, Profile};
use crate::net::tls::Tls;

/// Version of everything on the wire. A node of another version is refused at the greeting.
pub(crate) const PROTOCOL: u32 = 4;

/// How a node presents itself, first on every connection.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) protocol: u32,
    pub(crate) node: NodeId,
    /// What people call it.
    pub(crate) name: String,
    /// Where it listens, as others should dial it.
    pub(crate) addr: SocketAddr,
    #[serde(deserialize_with = "crate::bound::list")]
    pub(crate) groups: Vec<Presence>,
    /// Counts the changes of `groups`: they are told over several connections, and the latest counts.
    pub(crate) revision: u64,
    /// Who is behind it, if it shows that.
    pub(crate) endorsement: Option<Endorsement>,
}

impl Hello {
    /// How a node presents itself now to that profile, or to somebody who has shown none yet: who endorses it may have
    /// changed.
    pub(crate) fn now(hello: &watch::Receiver<Arc<Hello>>, tls: Option<&Tls>, whom: Option<&Profile>) -> Self {
        let hello = hello.borrow();
        Self {
            protocol: hello.protocol,
            node: hello.node,
            name: hello.name.clone(),
            addr: hello.addr,
            groups: hello.groups_for(whom),
            revision: hello.revision,
            endorsement: tls.and_then(|tls| tls.identity().endorsement()),
        }
    }

    /// The groups that somebody of that profile may know of: nobody else learns that this node is in a private one.
    pub(crate) fn groups_for(&self, whom: Option<&Profile>) -> Vec<Presence> {
        let is_told = |presence: &&Presence| {
            let circle = presence.circle.as_ref();
            circle.is_none_or(|circle| whom.is_some_and(|whom| circle.admits(whom)))
        };
        self.groups.iter().filter(is_told).cloned().collect()
    }

    pub(crate) fn takes_part(&self, group: GroupId, member: MemberId) -> bool {
        let is_that = |presence: &Presence| presence.group == group && presence.member == member;
        self.groups.iter().any(is_that)
    }
}

/// A node takes part in a group.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Presence {
    pub(crate) group: GroupId,
    pub(crate) member: MemberId,
    /// How many times the node had joined that group before: the member's id follows from it.
    pub(crate) nth: u64,
    /// Who may be in it, as that node knows; none: the group is public.
    pub(crate) circle: Option<Circle>,
}

/// A request as the caller has it: pushes are bytes that were encoded once for all peers.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Hello(Hello),
    /// The caller's groups changed, to this revision of them.
    Groups(u64, Vec<Presence>),
    /// One's own messages: slices that put together are a run.
    Push {
        path: Path,
        run: Arc<[Bytes]>,
    },
    Frame {
        path: Path,
        frame: Box<Frame>,
    },
    /// "If you cannot dial me, answer with what you have to say."
    Poll,
}

/// The same request as it arrives, parsed.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Request {
    Hello(Hello),
    Groups(u64, Vec<Presence>),
    Frame { path: Path, frame: Box<Frame> },
    Poll,
}

/// From whom to whom a frame goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Path {
    pub(crate) group: GroupId,
    pub(crate) from: MemberId,
    pub(crate) to: MemberId,
}

impl Path {
    /// The way of the answer.
    pub(crate) fn back(self) -> Self {
        Self {
            from: self.to,
            to: self.from,
            ..self
        }
    }
}

/// The answer to a request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// Who answers, and where it takes part.
    Hello(Hello),
    /// What the called member says back at once.
    Frames(#[serde(deserialize_with = "crate::bound::list")] Vec<Frame>),
    /// What the callee has to say to members that it cannot dial.
    Said(#[serde(deserialize_with = "crate::bound::list")] Vec<(Path, Frame)>),
    /// The request was not carried out.
    Refused(Refusal),
}

/// Why a request was not carried out. (tarpc's own errors do not survive this encoding.)
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Refusal {
    /// The other side speaks this version.
    Version(u32),
    /// The callee is not that member, or not any more.
    NotHere,
    /// The caller is not that member, or did not say who it is.
    NotYou,
    /// Too many groups in the greeting.
    TooMany,
    /// The caller is another node than it says.
    OtherNode,
    /// The caller's certificate is for this name, not for the one that it goes by.
    OtherName(String),
    /// What the caller shows of a profile does not hold.
    Endorsement,
    /// The callee has no place for one more connection.
    Crowded,
    /// The caller was evicted.
    Evicted,
}

impl fmt::Display for Refusal {
    /// As the caller is told.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => write!(f, "it speaks protocol version {version}, this is version {PROTOCOL}"),
            Self::NotHere => f.write_str("that member is not there"),
            Self::NotYou => f.write_str("this node named a member that is not its own"),
            Self::TooMany => f.write_str("this node is in too many groups"),
            Self::OtherNode => f.write_str("this node's certificate is for another node"),
            Self::OtherName(name) => write!(f, "this node's certificate is for another name, {name:?}"),
            Self::Endorsement => f.write_str("the profile that this node shows has not signed its key"),
            Self::Crowded => f.write_str("it has as many connections as it may have"),
            Self::Evicted => f.write_str("this node was evicted"),
        }
    }
}

impl Refusal {
    /// Why a caller was refused, as the callee notes it.
    pub(crate) fn of_caller(&self) -> String {
        match self {
            Self::Version(_) => "it speaks another protocol version".to_owned(),
            Self::NotHere => "it calls a member that is not here".to_owned(),
            Self::NotYou => "it names a member that is not its own".to_owned(),
            Self::TooMany => "it is in too many groups".to_owned(),
            Self::OtherNode => "it says that it is another node than its certificate's".to_owned(),
            Self::OtherName(name) => format!("its certificate is valid, but for another name, {name:?}"),
            Self::Endorsement => "the profile that it shows has not signed its key".to_owned(),
            Self::Crowded => "there is no place for one more connection".to_owned(),
            Self::Evicted => "it was evicted".to_owned(),
        }
    }
}

/// Most groups of one node: bounds the greeting and what is kept of a peer.
pub(crate) const MAX_GROUPS: usize = 1024;

impl tarpc::RequestName for Box<Call> {
    fn name(&self) -> &str {
        "multicast.call"
    }
}

impl tarpc::RequestName for Request {
    fn name(&self) -> &str {
        "multicast.call"
    }
}
