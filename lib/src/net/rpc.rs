//! What nodes ask of each other: one service method, whose request and response are enums.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::engine::Frame;
use crate::id::{GroupId, MemberId, NodeId};

/// Version of everything on the wire. A node of another version is refused at the greeting.
pub(crate) const PROTOCOL: u32 = 3;

/// How a node presents itself, first on every connection.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) protocol: u32,
    pub(crate) node: NodeId,
    /// Where it listens, as others should dial it.
    pub(crate) addr: SocketAddr,
    pub(crate) groups: Vec<Presence>,
}

/// A node takes part in a group.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub(crate) struct Presence {
    pub(crate) group: GroupId,
    pub(crate) member: MemberId,
}

/// A request as the caller has it: pushes are bytes that were encoded once for all peers.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Hello(Hello),
    /// The caller's groups changed.
    Groups(Vec<Presence>),
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
#[derive(Debug)]
pub(crate) enum Request {
    Hello(Hello),
    Groups(Vec<Presence>),
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

/// The answer to a request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// Who answers, and where it takes part.
    Hello(Hello),
    /// What the called member says back at once.
    Frames(Vec<Frame>),
    /// What the callee has to say to members that it cannot dial.
    Said(Vec<(Path, Frame)>),
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
}

/// Most groups of one node: bounds the greeting and what is kept of a peer.
pub(crate) const MAX_GROUPS: usize = 1024;

impl tarpc::RequestName for Call {
    fn name(&self) -> &str {
        "multicast.call"
    }
}

impl tarpc::RequestName for Request {
    fn name(&self) -> &str {
        "multicast.call"
    }
}
