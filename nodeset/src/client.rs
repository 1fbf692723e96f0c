//! The client: stays registered with every registry given, and says who else is there.
//!
//! [`Client::start`] spawns one task per registry and returns at once; a registry that is not
//! there never disturbs the caller, it is tried again in the background for as long as the
//! [`Client`] lives. What the registries say arrives as [`Contact`]s, united over all of them.
//!
//! Promised: while [`Client::is_registered`] is true, some registry holds this peer's lease.
//! A peer is [`Contact::Gone`] only when no registry in reach knows it, and, after a registry was
//! lost or restarted, only when one further lease has passed.
//! Not promised: that a `Live` peer is alive this instant; it was, at most one lease ago.

mod ask;
mod connection;
mod contacts;
mod error;
mod link;
mod proofs;
mod reach;
mod view;

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;

pub use self::ask::{InviteFailure, enrol, evict, health, introduce, invite, invites, list, pardon, revoke};
pub use self::connection::Watch;
pub use self::contacts::{Contacts, Enrolments};
pub use self::error::AskError;
use self::link::{Enrolled, Link, LinkState, Wish};
pub use self::proofs::{Enrolment, Proofs};
use crate::key::ProcessKey;
use crate::peer::{Malformed, PeerId, Registration};
use crate::protocol::Holder;
use crate::random::random_u64;

/// How long [`Client::leave`] takes at most: a renewal that is under way, and the leave itself.
const LEAVE_MAX: Duration = Duration::from_secs(2);
/// Most registries of one client: each costs a connection and a task.
pub const REGISTRIES_MAX: usize = 16;

/// News about another peer. Never about the client's own id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contact {
    /// The peer holds a lease. Said again whenever its nick, addresses or rooms change.
    Live {
        /// Who it is.
        id: PeerId,
        /// Where to dial it, the preferred address first; never empty.
        addrs: Vec<SocketAddr>,
        /// The name people see; checked, safe to print.
        nick: String,
        /// The rooms it is in.
        rooms: Vec<String>,
    },
    /// No registry in reach knows the peer any more.
    Gone {
        /// Who it was.
        id: PeerId,
    },
    /// The peer was thrown out: its key is to be refused and its links cut. Said before it is
    /// [`Contact::Gone`], and also if it had no lease.
    Evicted {
        /// Who.
        id: PeerId,
    },
    /// No registry is in reach: nothing is known about anyone's lease until the next contact.
    /// When one is in reach again, every live peer is said again.
    Unknown,
}

/// A running client. Dropping it stops its tasks without a word: the lease runs out by itself.
pub struct Client {
    registries: Vec<String>,
    wish: watch::Sender<Wish>,
    states: watch::Receiver<Vec<LinkState>>,
    /// What [`Client::status`] last returned.
    shown: Mutex<Vec<RegistryStatus>>,
    /// One task per registry; each returns its index, and whether it left no lease behind.
    links: JoinSet<(usize, bool)>,
}

impl Client {
    /// Starts registering `me` with every one of `registries` (`host:port`; names are resolved,
    /// again at every attempt). Returns at once, before anything was sent. A registry named twice
    /// counts once. At each it proves who it is by what fits of `proofs`, and gets a certificate
    /// for `key`, whose node `me` must be; see [`Client::enrolments`].
    ///
    /// Must be called inside a tokio runtime with its I/O and time drivers enabled.
    ///
    /// # Errors
    /// See [`StartError`]. Nothing was started.
    pub fn start(
        registries: &[String],
        me: Registration,
        key: Arc<ProcessKey>,
        proofs: Proofs,
    ) -> Result<(Self, Contacts), StartError> {
        Self::start_with(registries, me, (key, proofs), |_| {})
    }

    /// The same; `enrolled` is called with every certificate that a registry gives, before this process
    /// is registered there. So whoever learns of it from there can be answered with that certificate.
    /// It must not block.
    ///
    /// # Errors
    /// See [`StartError`]. Nothing was started.
    pub fn start_with(
        registries: &[String],
        me: Registration,
        (key, proofs): (Arc<ProcessKey>, Proofs),
        enrolled: impl Fn(&Enrolment) + Send + Sync + 'static,
    ) -> Result<(Self, Contacts), StartError> {
        let mut distinct: Vec<String> = Vec::new();
        for registry in registries {
            if !distinct.contains(registry) {
                distinct.push(registry.clone());
            }
        }
        match distinct.len() {
            0 => return Err(StartError::NoRegistry),
            many if many > REGISTRIES_MAX => return Err(StartError::TooManyRegistries(many)),
            _ => {}
        }
        let claim = Registration::from(me.check()?);
        let id = claim.id;
        if id != key.node() {
            return Err(StartError::NotYours);
        }
        let (proofs, enrolled): (_, Arc<Enrolled>) = (Arc::new(proofs), Arc::new(enrolled));
        let (wish, wishes) = watch::channel(Wish { claim, leaving: false });
        let (states, states_seen) = watch::channel(vec![LinkState::new(); distinct.len()]);
        let (states, turns) = (Arc::new(states), Arc::new(AtomicU64::new(0)));
        let holder = Holder(holder_secret());
        let mut links = JoinSet::new();
        for (index, registry) in distinct.iter().cloned().enumerate() {
            let (wish, states, turns) = (wishes.clone(), Arc::clone(&states), Arc::clone(&turns));
            let link = Link {
                index,
                registry,
                holder,
                key: Arc::clone(&key),
                proofs: Arc::clone(&proofs),
                enrolled: Arc::clone(&enrolled),
                turns,
                wish,
                states,
            };
            links.spawn(async move { (index, link.run().await) });
        }
        let contacts = Contacts::new(id, states_seen.clone());
        let shown = Mutex::default();
        let client = Self {
            registries: distinct,
            wish,
            states: states_seen,
            shown,
            links,
        };
        Ok((client, contacts))
    }

    /// From now on registers this nick and these rooms; sent at once where a registry is in reach.
    ///
    /// # Errors
    /// What is wrong with them; the old ones stay.
    pub fn update(&self, nick: &str, rooms: &[String]) -> Result<(), Malformed> {
        let mut claim = self.wish.borrow().claim.clone();
        (claim.nick, claim.rooms) = (nick.to_owned(), rooms.to_vec());
        let claim = Registration::from(claim.check()?);
        self.wish.send_modify(|wish| wish.claim = claim);
        Ok(())
    }

    /// Whether some registry is sure to hold this peer's lease at this instant: the last
    /// acknowledged renewal was *sent* less than one lease (less a margin) ago. Sure, that is,
    /// unless the registry was restarted empty or the peer evicted in the meantime.
    pub fn is_registered(&self) -> bool {
        let now = Instant::now();
        self.states
            .borrow()
            .iter()
            .any(|link| link.believed_until.is_some_and(|u| now < u))
    }

    /// The certificates of this process, one cluster each, as they come and as they are renewed: a
    /// stream that begins with those that there are. Read late, it tells only the latest.
    pub fn enrolments(&self) -> Enrolments {
        Enrolments::new(self.states.clone())
    }

    /// How each registry stands, in the order given to [`Client::start`].
    pub fn status(&self) -> Vec<RegistryStatus> {
        let status = self.read_status();
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = status.clone();
        status
    }

    /// Waits until the status is different from what [`Client::status`] last returned.
    pub async fn status_changed(&mut self) {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.states.mark_changed();
        while self.states.changed().await.is_ok() {
            self.states.mark_unchanged();
            if self.read_status() != shown {
                return;
            }
        }
    }

    /// Waits until every registry has either told its first full list or failed once. The list
    /// is then in [`Contacts`] already. Bounded by the time an attempt may take (about 5 s).
    ///
    /// A client registers before it asks for the list. So of two peers that settled with one
    /// registry, at least one has the other among its first contacts.
    pub async fn settled(&mut self) {
        // An error means that every link has ended, which no link does before the client leaves.
        drop(self.states.wait_for(|links| links.iter().all(|link| link.tried)).await);
    }

    /// Gives the lease back everywhere and stops. Takes at most about 2 s.
    /// Returns the registries that did not confirm; there the lease runs out by itself.
    pub async fn leave(mut self) -> Vec<String> {
        self.wish.send_modify(|wish| wish.leaving = true);
        let mut unconfirmed: Vec<_> = self.registries.iter().map(Some).collect();
        let all = async {
            while let Some(ended) = self.links.join_next().await {
                if let Ok((index, true)) = ended {
                    unconfirmed[index] = None;
                }
            }
        };
        drop(tokio::time::timeout(LEAVE_MAX, all).await);
        unconfirmed.into_iter().flatten().cloned().collect()
    }

    fn read_status(&self) -> Vec<RegistryStatus> {
        let states = self.states.borrow();
        let both = self.registries.iter().zip(states.iter());
        let status = |(registry, link): (&String, &LinkState)| RegistryStatus {
            registry: registry.clone(),
            standing: link.standing.clone(),
        };
        both.map(status).collect()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("status", &self.read_status()).finish()
    }
}

fn holder_secret() -> [u8; 16] {
    let mut secret = [0; 16];
    secret[..8].copy_from_slice(&random_u64().to_le_bytes());
    secret[8..].copy_from_slice(&random_u64().to_le_bytes());
    secret
}

/// How one registry stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryStatus {
    /// The registry as it was given.
    pub registry: String,
    /// What became of it.
    pub standing: Standing,
}

/// What became of the effort to register with one registry.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Standing {
    /// The first attempt is under way.
    Connecting,
    /// It answers and holds our lease.
    Registered,
    /// It answers and refuses us; tried again. The text says why, for people.
    Refused(String),
    /// It answers, and has thrown this process or its profile out; tried again, for that may be undone.
    Evicted(String),
    /// It does not answer; tried again. The text says why (name does not resolve, connection
    /// refused, no answer in time), for people.
    Unreachable(String),
}

/// Why a client could not start. Nothing was started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// No registry was given.
    #[error("no registry was given")]
    NoRegistry,
    /// Too many registries were given.
    #[error("{0} registries were given, at most {REGISTRIES_MAX} are possible")]
    TooManyRegistries(usize),
    /// The id of the registration is not that of the process key.
    #[error("a process can register only the node of its own key")]
    NotYours,
    /// The registration is not well formed.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}
