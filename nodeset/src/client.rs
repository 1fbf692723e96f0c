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

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::Stream;

use crate::peer::{Malformed, PeerId, Registration};

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
    /// No registry is in reach: nothing is known about anyone's lease until the next contact.
    /// When one is in reach again, every live peer is said again.
    Unknown,
}

/// A running client. Dropping it stops its tasks without a word: the lease runs out by itself.
#[derive(Debug)]
pub struct Client {}

impl Client {
    /// Starts registering `me` with every one of `registries` (`host:port`; names are resolved,
    /// again at every attempt). Returns at once, before anything was sent.
    ///
    /// Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// See [`StartError`]. Nothing was started.
    pub fn start(registries: &[String], me: Registration) -> Result<(Self, Contacts), StartError> {
        let _ = (registries, me);
        unimplemented!("the tasks come with the wire")
    }

    /// From now on registers this nick and these rooms; sent at once where a registry is in reach.
    ///
    /// # Errors
    /// What is wrong with them; the old ones stay.
    pub fn update(&self, nick: &str, rooms: &[String]) -> Result<(), Malformed> {
        let _ = (nick, rooms);
        unimplemented!()
    }

    /// Whether some registry is sure to hold this peer's lease at this instant: the last
    /// acknowledged renewal was *sent* less than one lease (less a margin) ago.
    pub fn is_registered(&self) -> bool {
        unimplemented!()
    }

    /// How each registry stands, in the order given to [`Client::start`].
    pub fn status(&self) -> Vec<RegistryStatus> {
        unimplemented!()
    }

    /// Waits until the status is different from what [`Client::status`] last returned.
    pub async fn status_changed(&mut self) {
        unimplemented!()
    }

    /// Waits until every registry has either told its first full list or failed once. The list
    /// is then in [`Contacts`] already. Bounded by the time an attempt may take (about 3 s).
    pub async fn settled(&mut self) {
        unimplemented!()
    }

    /// Gives the lease back everywhere and stops. Takes at most about 2 s.
    /// Returns the registries that did not confirm; there the lease runs out by itself.
    pub async fn leave(self) -> Vec<String> {
        unimplemented!()
    }
}

/// Who is there, as a stream without an end until the [`Client`] is gone.
///
/// It holds no queue: what is read late is told in its latest state, so a slow reader costs no
/// memory and a peer that came and went between two reads is not mentioned.
#[derive(Debug)]
pub struct Contacts {}

impl Stream for Contacts {
    type Item = Contact;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Contact>> {
        unimplemented!()
    }
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
    /// The registration is not well formed.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}
