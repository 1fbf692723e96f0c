//! A node: one listener, one identity, links to other nodes, and groups over them.

use std::net::SocketAddr;

use futures::Stream;

use crate::group::Group;
use crate::id::NodeId;
use crate::options::Options;

/// What a registry, or anyone, tells a node about other nodes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Contact {
    /// A node is there; dial it.
    Live {
        /// Its id.
        node: NodeId,
        /// Where it listens.
        addr: SocketAddr,
    },
    /// Its lease is over or given back.
    Gone {
        /// Its id.
        node: NodeId,
    },
    /// The source of contacts is out of reach: leases are unknown.
    Unknown,
}

/// One running process's part in any number of groups.
#[derive(Debug)]
pub struct Node {}

/// Why a node could not be bound. Nothing was started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The name is not 1 to 32 letters, digits, `_ - .`.
    #[error("a name has 1 to 32 characters: letters, digits, _ - . (got {0:?})")]
    BadName(String),
    /// The address could not be listened on.
    #[error("cannot listen on {addr}: {source}")]
    Listen {
        /// Which.
        addr: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// Why a group could not be joined. This node is in no other state than before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// This node is in that group already.
    #[error("this node is in {0:?} already")]
    AlreadyIn(String),
    /// Group names have 1 to 64 characters, none of them a control character.
    #[error("a group's name has 1 to 64 characters and no control characters")]
    BadName,
    /// The node was shut down.
    #[error("the node was shut down")]
    Down,
}

impl Node {
    /// Listens, and starts the node's tasks on the current tokio runtime.
    pub async fn bind(_options: Options) -> Result<Self, BindError> {
        todo!()
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        todo!()
    }

    /// Its id: 128 bits, new at each process start.
    pub fn id(&self) -> NodeId {
        todo!()
    }

    /// Dials `addr`, and again whenever the connection is lost, for as long as the node runs.
    pub fn meet(&self, _addr: SocketAddr) {
        todo!()
    }

    /// Follows a stream of contacts, for example nodeset's, for as long as it lasts.
    pub fn contacts(&self, _contacts: impl Stream<Item = Contact> + Send + 'static) {
        todo!()
    }

    /// Joins a group; returns when this member's own join message has been delivered here.
    pub async fn join(&self, _group: &str) -> Result<Group, JoinError> {
        todo!()
    }

    /// Leaves every group (as `Group::leave` would, for at most 5 s), then stops all tasks.
    pub async fn shutdown(self) {
        todo!()
    }

    /// The contacts and peers that this node dials, and how that goes.
    pub fn links(&self) -> Vec<Link> {
        todo!()
    }
}

/// One address that a node dials.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// The address.
    pub addr: SocketAddr,
    /// The node behind it, once known.
    pub node: Option<NodeId>,
    /// Whether the connection stands now.
    pub up: bool,
    /// Why it does not, in words, if an attempt failed.
    pub trouble: Option<String>,
}
