//! A node: one listener, one identity, links to other nodes, and groups over them.

pub(crate) mod gate;
pub(crate) mod hub;
mod links;
mod lists;
pub(crate) mod outcasts;
pub(crate) mod places;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{Stream, StreamExt};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::circle::{Circle, is_name};
use crate::group::{Group, Kept};
use crate::id::{GroupId, NodeId};
use crate::identity::{Identity, Profile};
use crate::net::Meter;
use crate::net::socket::{self, is_private};
use crate::net::tls::{Register, Tls};
use crate::options::Options;
use crate::store::keeper::Keeper;
use crate::store::{Archive, Saved, StoreError, rows};
use gate::Gate;
use hub::{Hub, Order};
use lists::Which;

/// Orders to a node that may wait: they are few, and whoever gives them waits with them.
const ORDERS: usize = 64;
/// How long `shutdown` waits for groups to leave.
const LEAVE_PATIENCE: Duration = Duration::from_secs(5);
/// Longest name of a group in characters: it is shown to people.
pub(crate) const MAX_GROUP_NAME: usize = 64;
/// Longest name of a node in characters: it is shown to people.
pub(crate) const MAX_NAME: usize = 32;

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
    /// Whoever vouched for a node takes that back: its connections are cut, and it is let in no more while this node
    /// runs. Its members are closed by the usual rules, like those of a process that is gone. If it is this node
    /// itself, its groups end with [`Event::Evicted`](crate::Event::Evicted), and it joins no other.
    Evicted {
        /// Its id.
        node: NodeId,
    },
}

/// One running process's part in any number of groups. Dropped, it stops at once, without a word to anybody;
/// [`Node::shutdown`] leaves properly.
#[derive(Debug)]
pub struct Node {
    id: NodeId,
    addr: SocketAddr,
    orders: mpsc::Sender<Order>,
    board: Arc<Board>,
    meter: Arc<Meter>,
    identity: Option<Identity>,
    keeper: Option<Keeper>,
    /// Bytes of messages that a restart reads back for others: half of what a group keeps for repair.
    read_back: u64,
    hub: JoinHandle<()>,
}

/// What a node's task shows of itself.
#[derive(Debug, Default)]
struct Board {
    links: Mutex<Vec<Link>>,
    profiles: Mutex<BTreeMap<NodeId, Profile>>,
    offers: watch::Sender<Vec<Offer>>,
}

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
    /// The operating system gave no randomness for an id.
    #[error("no randomness for an id: {0}")]
    Entropy(String),
    /// The address can be reached from other machines, and without an identity everyone who reaches it would be let in.
    #[error("{0} is not on loopback: to listen there a node needs an identity")]
    NeedsIdentity(SocketAddr),
    /// The identity has a certificate for another name: others would refuse this node.
    #[error("this node's name is {name:?}, its certificate's is {certificate:?}")]
    OtherName {
        /// The name in the options.
        name: String,
        /// The name in the certificate.
        certificate: String,
    },
    /// Another node took the store of these options already.
    #[error("the store is in use by another node")]
    StoreInUse,
    /// The thread that a store needs could not be started.
    #[error("no thread for the store: {0}")]
    Thread(std::io::Error),
    /// TLS could not be set up.
    #[error("cannot set up TLS: {0}")]
    Tls(String),
}

/// Why a group could not be joined. This node is in no other state than before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// This node is in that group already.
    #[error("this node is in {0:?} already")]
    AlreadyIn(String),
    /// The name is too long, empty, or has control characters.
    #[error("a group's name has 1 to {MAX_GROUP_NAME} characters and no control characters")]
    BadName,
    /// This node takes part in as many groups as a node may.
    #[error("this node is in as many groups as it may be")]
    TooMany,
    /// The group has so many members, and takes no more. Try again when somebody has left.
    #[error("the group has {0} members, and takes no more; try again when somebody has left")]
    Full(usize),
    /// A private group needs an identity that a profile stands behind: without it nobody could tell who this is.
    #[error("to be in a private group a node needs an identity with a profile")]
    NeedsProfile,
    /// This node's profile is not one of those that may be in the group.
    #[error("this node's profile may not be in that group")]
    NotListed,
    /// This node was evicted from its cluster: nobody would talk to it.
    #[error("this node was evicted")]
    Evicted,
    /// What was kept of the group cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The node was shut down.
    #[error("the node was shut down")]
    Down,
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
    /// Whether that is because somebody is there, and one side does not let the other in: another cluster, an eviction,
    /// another version of the protocol.
    pub denied: bool,
}

/// A private group that another node is in, and that this one may join, and has not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Offer {
    /// Who is in it.
    pub node: NodeId,
    /// The profile behind that node.
    pub profile: Profile,
    /// The group, as that node knows it, for [`Node::join_private`].
    pub circle: Circle,
}

/// The private groups that are on offer, each time that they change.
#[derive(Debug)]
pub struct Offers(watch::Receiver<Vec<Offer>>);

impl Offers {
    /// Waits for a change, or at the first call not at all; then all that are on offer now. For ever, where the node
    /// was shut down. Can be given up at any time.
    pub async fn next(&mut self) -> Vec<Offer> {
        match self.0.changed().await {
            Ok(()) => self.0.borrow_and_update().clone(),
            Err(_) => std::future::pending().await,
        }
    }
}

/// What a node has sent and received since it was bound, over all its connections: frames with their lengths,
/// without what TCP and IP add.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Traffic {
    /// Bytes of frames sent.
    pub sent_bytes: u64,
    /// Bytes of frames received.
    pub received_bytes: u64,
}

impl Node {
    /// Listens, and starts the node's tasks on the current tokio runtime.
    ///
    /// # Errors
    /// [`BindError`]: nothing was started.
    pub async fn bind(options: Options) -> Result<Self, BindError> {
        let fits = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
        let length = options.name.chars().count();
        if !(1..=MAX_NAME).contains(&length) || !options.name.chars().all(fits) {
            return Err(BindError::BadName(options.name));
        }
        let listen = options.listen;
        if options.identity.is_none() && !is_private(listen.ip()) {
            return Err(BindError::NeedsIdentity(listen));
        }
        let (gate, register) = Gate::new();
        let tls = match &options.identity {
            Some(identity) => Some(secured(identity, &options.name, register)?),
            None => None,
        };
        let keeper = keeper(&options)?;
        let failed = |source| BindError::Listen { addr: listen, source };
        let listener = socket::listen(listen).await.map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        let addr = options.advertise.unwrap_or(bound);
        let seeds = match options.seed {
            Some(seed) => (u128::from(seed) << 64 | u128::from(seed ^ 0x6d75_6c74_6963_6173), seed),
            None => (entropy()?, entropy()? as u64),
        };
        let id = match (&options.identity, &options.signing) {
            (Some(identity), _) => identity.node_id(),
            (None, Some(secret)) => NodeId::of_secret(secret),
            (None, None) => NodeId(crate::id::digest128(&[b"multicast node", &seeds.0.to_be_bytes()])),
        };
        let (orders, inbox) = mpsc::channel(ORDERS);
        let board = Arc::<Board>::default();
        let meter = Arc::new(Meter::default());
        let identity = options.identity.clone();
        let read_back = options.config.retention as u64 / 2;
        let hub = Hub::new((id, addr), options, seeds.1, board.clone(), (meter.clone(), tls, gate));
        let hub = tokio::spawn(hub.run(listener, inbox));
        Ok(Self {
            id,
            addr,
            orders,
            board,
            meter,
            identity,
            keeper,
            read_back,
            hub,
        })
    }

    /// Where other nodes dial it: the bound address, or the advertised one.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its id: 128 bits, new at each process start; with an identity the hash of its key.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// Dials `addr`, and again whenever the connection is lost, for as long as the node runs.
    pub fn meet(&self, addr: SocketAddr) {
        let orders = self.orders.clone();
        // In a task of its own because this call must not wait; the hub takes orders at once.
        tokio::spawn(async move { orders.send(Order::Meet(addr)).await });
    }

    /// Follows a stream of contacts, for example nodeset's, for as long as it lasts.
    pub fn contacts(&self, contacts: impl Stream<Item = Contact> + Send + 'static) {
        let orders = self.orders.clone();
        tokio::spawn(async move {
            let mut contacts = std::pin::pin!(contacts);
            while let Some(contact) = contacts.next().await {
                if orders.send(Order::Contact(contact)).await.is_err() {
                    return;
                }
            }
        });
    }

    /// Joins a group; returns when this member's own join message has been delivered here.
    ///
    /// Where nobody answers within half a second this node founds the group; groups of the same name that were
    /// founded apart become one as soon as they meet. Dropping the future gives the join up.
    ///
    /// # Errors
    /// [`JoinError`]: the node is in no other state than before.
    pub async fn join(&self, group: &str) -> Result<Group, JoinError> {
        if !is_name(group) {
            return Err(JoinError::BadName);
        }
        self.enter(Which::Public(group.to_owned())).await
    }

    /// Joins a private group, as `join` does a public one. Every member keeps to the list: whoever's verified profile is
    /// not on it gets no frame of the group, is not heard in it, and is not told that this node is in it.
    ///
    /// What other members know of the list is taken in when they are met.
    ///
    /// # Errors
    /// [`JoinError`]: the node is in no other state than before.
    pub async fn join_private(&self, circle: Circle) -> Result<Group, JoinError> {
        if !circle.is_well_formed() {
            return Err(JoinError::BadName);
        }
        let identity = self.identity.as_ref();
        let profile = identity.and_then(Identity::profile).ok_or(JoinError::NeedsProfile)?;
        if !circle.admits(&profile) {
            return Err(JoinError::NotListed);
        }
        self.enter(Which::Private(circle)).await
    }

    /// Private groups that this node could join: others that may be in them, too, are. It hears of them when it is
    /// connected to one of them.
    pub fn offers(&self) -> Offers {
        let mut offers = self.board.offers.subscribe();
        offers.mark_changed();
        Offers(offers)
    }

    async fn enter(&self, which: Which) -> Result<Group, JoinError> {
        let kept = self.kept(which.id()).await?.map(Box::new);
        let (reply, joined) = oneshot::channel();
        self.orders
            .send(Order::Join { which, kept, reply })
            .await
            .map_err(|_| JoinError::Down)?;
        let (group, member) = joined.await.map_err(|_| JoinError::Down)??;
        member.await.map_err(|_| JoinError::Down)?.map_err(JoinError::Full)?;
        Ok(group)
    }

    /// Leaves every group (as `Group::leave` would, for at most 5 s), then stops all tasks.
    pub async fn shutdown(mut self) {
        let (reply, left) = oneshot::channel();
        if self
            .orders
            .send(Order::Shutdown {
                patience: LEAVE_PATIENCE,
                reply,
            })
            .await
            .is_ok()
        {
            let _ = left.await;
        }
        let _ = (&mut self.hub).await;
        if let Some(keeper) = &self.keeper {
            keeper.close().await;
        }
    }

    /// What this node keeps, to read in it; none, if it has no store.
    pub fn archive(&self) -> Option<Archive> {
        self.keeper.clone().map(Archive)
    }

    /// What is kept of a group.
    async fn kept(&self, group: GroupId) -> Result<Option<Kept>, StoreError> {
        let Some(keeper) = self.keeper.clone() else {
            return Ok(None);
        };
        let saved = keeper.load(group, self.read_back).await?.unwrap_or_default();
        let former = rows::former(&saved)?;
        let saved = Saved {
            messages: Vec::new(),
            ..saved
        };
        Ok(Some(Kept { keeper, saved, former }))
    }

    /// The addresses that this node dials, and how that goes.
    pub fn links(&self) -> Vec<Link> {
        self.board.links.lock().expect("never held over a panic").clone()
    }

    /// The profile that has signed the key of a node: its own, or another's that is connected and has shown one.
    pub fn profile(&self, node: NodeId) -> Option<Profile> {
        if node == self.id {
            let identity = self.identity.as_ref()?;
            return identity.endorsement()?.verify(&identity.public_key());
        }
        let profiles = self.board.profiles.lock().expect("never held over a panic");
        profiles.get(&node).copied()
    }

    /// How much it has sent and received; for statistics.
    pub fn traffic(&self) -> Traffic {
        let (sent_bytes, received_bytes) = self.meter.read();
        Traffic {
            sent_bytes,
            received_bytes,
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.hub.abort();
        if let Some(keeper) = &self.keeper {
            keeper.abandon();
        }
    }
}

/// The thread of the store, if there is to be one.
fn keeper(options: &Options) -> Result<Option<Keeper>, BindError> {
    let Some(store) = &options.store else { return Ok(None) };
    let store = store.lock().expect("never held over a panic").take();
    let store = store.ok_or(BindError::StoreInUse)?;
    Keeper::start(store).map(Some).map_err(BindError::Thread)
}

/// What this node shows on its connections, and asks for.
fn secured(identity: &Identity, name: &str, register: Register) -> Result<Tls, BindError> {
    if let Some(held) = identity.credentials().iter().find(|held| held.card.name != name) {
        return Err(BindError::OtherName {
            name: name.to_owned(),
            certificate: held.card.name.clone(),
        });
    }
    Tls::new(identity.clone(), register).map_err(|error| BindError::Tls(error.to_string()))
}

fn entropy() -> Result<u128, BindError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| BindError::Entropy(error.to_string()))?;
    Ok(u128::from_be_bytes(bytes))
}
