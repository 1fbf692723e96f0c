//! A small registry of live peers, and its client.
//!
//! A peer registers `(id, nick, addresses, rooms)` and holds a *lease* for as long as it renews it.
//! Whoever watches the registry learns who is there. The registry introduces peers; no message of
//! theirs ever passes through it, and it may die without disturbing them.
//!
//! ```
//! use futures::StreamExt;
//! use nodeset::client::{Client, Contact, Proofs};
//! use nodeset::server::{Options, Server};
//! use nodeset::{ProcessKey, Registration};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A registry: usually a `nodesetd` elsewhere, here one of our own.
//! let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//! let registries = [listener.local_addr()?.to_string()];
//! let server = Server::new(Options::default())?;
//! tokio::spawn(server.run(vec![listener], std::future::pending()));
//!
//! // Peers of the same user need no secret: they find the one that the registry published.
//! let (ana, bob) = (ProcessKey::generate()?, ProcessKey::generate()?);
//! let is_ana = Registration::new(ana.node(), "ana", "127.0.0.1:49152".parse()?);
//! let is_bob = Registration::new(bob.node(), "bob", "127.0.0.1:49153".parse()?).with_rooms(["lobby"]);
//! let (ana, mut ana_hears) = Client::start(&registries, is_ana, ana.into(), Proofs::local())?;
//! let (bob, _) = Client::start(&registries, is_bob, bob.into(), Proofs::local())?;
//! match ana_hears.next().await {
//!     Some(Contact::Live { nick, rooms, .. }) => assert_eq!((nick.as_str(), rooms.len()), ("bob", 1)),
//!     other => panic!("{other:?}"),
//! }
//! let certificate = bob.enrolments().next().await.ok_or("enrolled")?;
//! assert_eq!(certificate.chain.len(), 1); // for links between peers
//! assert!(bob.leave().await.is_empty()); // every registry confirmed
//! assert!(matches!(ana_hears.next().await, Some(Contact::Gone { .. })));
//! # drop(ana);
//! # Ok(())
//! # }
//! ```
//!
//! # What is guaranteed
//!
//! - A lease never ends before its full time since the last acknowledged renewal has passed, by the
//!   registry's monotonic clock. It ends when that time is over; after a restart with a state
//!   directory, and after the registry itself stood still, one full lease later.
//! - A holder believes in its lease only until the time it *sent* its last acknowledged renewal
//!   plus nine tenths of the lease.
//! - No two holders have a live lease for one id.
//! - A watch misses, repeats and reorders nothing, also over reconnects; where the history no longer
//!   reaches back, or the registry was restarted, it says so with the full list.
//! - Nobody registers, looks or listens without a proof: of the secret that the registry publishes
//!   for its own user ([`local`]), of an [`Invite`], or of a profile that came by one. None of them
//!   is sent, and what is sent is good on one TLS connection only.
//! - A peer registers only the node of its own key, and only the registry's own user may evict and
//!   invite. Evicted: refused at once, told to everyone who watches.
//! - A client talks to no registry whose authority it does not know.
//! - A registry that restarts empty knows everyone again within one lease, and nobody is reported
//!   gone because of it.
//!
//! # What is not
//!
//! - That names are unique, or that a nick is the name in the certificate: a node id and a profile
//!   key are what nobody else can have.
//! - Anything against the registry's own user: whoever can read their files can let anybody in.
//! - That an evicted peer is cut off by those who do not listen: members cut their own links.
//! - Agreement among several registries: they do not know of each other; the client unites them.
//!
//! # Map
//!
//! [`client`] and [`server`] know only the wire; [`registry`] is pure and knows nobody:
//!
//! ```text
//! nodesetd ──► server ──► registry ──► protocol ──► peer
//!                │└─► admission, authority
//!                └─► rpc, tls, proof ◄── client
//! ```

#![forbid(unsafe_code)]

mod admission;
mod authority;
mod credential;
mod invite;
mod key;
#[cfg(test)]
mod limits;
mod peer;
mod printable;
mod private;
mod proof;
mod random;
mod rpc;
mod tls;

pub mod client;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod local;
pub mod protocol;
pub mod registry;
pub mod server;

pub use admission::{
    ADMISSIONS_MAX, BANS_MAX, CERTIFICATES_MAX, CERTIFICATES_OF_ONE_MAX, EVICTIONS_MAX, INVITE_LIFE_MAX,
    INVITE_USES_MAX, INVITES_MAX,
};
pub use authority::{AUTHORITY_LIFE, Authority, AuthorityError, CERTIFICATE_LIFE, IssueError};
pub use credential::{CREDENTIALS_MAX, Credential};
pub use invite::{INVITE_ADDR_MAX_BYTES, Invite, InviteError, InviteId};
pub use key::{KeyError, ProcessKey, ProfileKey, Signature, node_id, profile_fingerprint};
pub use peer::{ADDRS_MAX, Malformed, NICK_MAX_CHARS, Peer, PeerId, ROOM_MAX_BYTES, ROOMS_MAX, Registration};
pub use printable::printable;
pub use private::PrivateError;
