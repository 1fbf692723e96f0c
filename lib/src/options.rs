//! How a node is set up.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::engine::Config;
use crate::faults::Faults;
use crate::identity::Identity;
use crate::store::Store;

/// How a node is set up: loopback, plaintext, no store, unless told otherwise.
#[derive(Clone)]
pub struct Options {
    pub(crate) name: String,
    pub(crate) listen: SocketAddr,
    pub(crate) advertise: Option<SocketAddr>,
    pub(crate) seed: Option<u64>,
    pub(crate) identity: Option<Identity>,
    pub(crate) config: Config,
    /// None: no frame is looked at for faults.
    pub(crate) faults: Option<Faults>,
    /// The secret key that members of this node sign with. None: groups are not signed.
    pub(crate) signing: Option<[u8; 32]>,
    /// Until a node takes it.
    pub(crate) store: Option<Takeable>,
}

/// A store that the first node takes.
pub(crate) type Takeable = Arc<Mutex<Option<Box<dyn Store>>>>;

impl fmt::Debug for Options {
    /// Without the secret key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("name", &self.name)
            .field("listen", &self.listen)
            .field("advertise", &self.advertise)
            .field("seed", &self.seed)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Options {
    /// A node that people see under `name`: 1 to 32 characters, letters, digits, `_ - .`; `Node::bind` checks it.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            advertise: None,
            seed: None,
            identity: None,
            config: Config::default(),
            faults: None,
            signing: None,
            store: None,
        }
    }

    /// For nodes of one machine that trust every process on it: plaintext, and no address but loopback, neither to listen
    /// on ([`BindError::NeedsIdentity`](crate::BindError::NeedsIdentity)) nor to dial. This is the default; here it is
    /// said. Takes an identity back.
    pub fn insecure_loopback(mut self) -> Self {
        self.identity = None;
        self
    }

    /// Who this node is: every connection is then encrypted, and only nodes that a cluster of the identity vouches for
    /// are let in. Its id is the hash of the identity's key, and its name must be the one in the certificates. Default:
    /// none.
    pub fn with_identity(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// What the node keeps its groups in. A message whose `send` returned is then there, whatever happens; a node that
    /// starts again with the store is a new member that has what the earlier one had, and offers it to others. One node at
    /// a time: the first that is bound with these options takes it. Default: none, and a restart begins with nothing.
    pub fn with_store(mut self, store: impl Store) -> Self {
        self.store = Some(Arc::new(Mutex::new(Some(Box::new(store)))));
        self
    }

    /// Where to listen. Default `127.0.0.1:0`, any free port. Other members must be able to dial it. Off
    /// loopback it needs an identity.
    pub fn with_listen(mut self, addr: SocketAddr) -> Self {
        self.listen = addr;
        self
    }

    /// What other members are told to dial. Default: the bound address.
    pub fn with_advertise(mut self, addr: SocketAddr) -> Self {
        self.advertise = Some(addr);
        self
    }

    /// Longest payload in bytes that `send` takes. Default and maximum 64 KiB: a frame then holds several.
    pub fn with_payload_limit(mut self, bytes: usize) -> Self {
        self.config.payload_limit = bytes.min(crate::run::MAX_PAYLOAD);
        self
    }

    /// Bytes of stable messages that each group keeps for repair. Default 64 MiB.
    pub fn with_retention(mut self, bytes: usize) -> Self {
        self.config.retention = bytes;
        self
    }

    /// How long a silent member counts before it may be closed. Default 60 s.
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.config.grace = grace.as_micros() as u64;
        self
    }

    /// How far the slowest member may lag, in messages and bytes, before `send` waits. Default 4,096 and 1 MiB, and for
    /// a member behind a long round trip up to 8 MiB, as much as its link needs to be busy; a window that is set here
    /// stays as it is set.
    pub fn with_window(mut self, messages: u64, bytes: u64) -> Self {
        self.config.window_messages = messages.max(1);
        self.config.window_bytes = bytes.max(1);
        self.config.far_window_bytes = self.config.window_bytes;
        self
    }

    /// Signs with this ed25519 key, whose hash is the node's id then. For tests; a process has an identity of its own.
    #[doc(hidden)]
    pub fn with_signing_key(mut self, secret: [u8; 32]) -> Self {
        self.signing = Some(secret);
        self
    }

    /// Does to what arrives what these faults say, which can be changed while the node runs. For tests and demonstrations.
    /// Default: none.
    pub fn with_faults(mut self, faults: Faults) -> Self {
        self.faults = Some(faults);
        self
    }

    /// Seed of this node's id (if it has no identity) and jitter, for repeatable tests. Default: from the operating system.
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }
}
