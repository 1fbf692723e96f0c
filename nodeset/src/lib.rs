//! A small registry of live peers, and its client.
//!
//! A peer registers `(id, nick, addresses, rooms)` and holds a *lease* for as long as it renews it.
//! Whoever watches the registry learns who is there. The registry introduces peers; no message of
//! theirs ever passes through it, and it may die without disturbing them.
//!
//! ```
//! use futures::StreamExt;
//! use nodeset::client::{Client, Contact};
//! use nodeset::server::{Options, Server};
//! use nodeset::Registration;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A registry: usually a `nodesetd` elsewhere, here one of our own.
//! let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//! let registries = [listener.local_addr()?.to_string()];
//! let server = Server::new(Options::default())?;
//! tokio::spawn(server.run(vec![listener], std::future::pending()));
//!
//! let ana = Registration::new(1.into(), "ana", "127.0.0.1:49152".parse()?);
//! let bob = Registration::new(2.into(), "bob", "127.0.0.1:49153".parse()?);
//! let (ana, mut ana_hears) = Client::start(&registries, ana)?;
//! let (bob, _) = Client::start(&registries, bob.with_rooms(["lobby"]))?;
//! match ana_hears.next().await {
//!     Some(Contact::Live { nick, rooms, .. }) => assert_eq!((nick.as_str(), rooms.len()), ("bob", 1)),
//!     other => panic!("{other:?}"),
//! }
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
//! - A registry that restarts empty knows everyone again within one lease, and nobody is reported
//!   gone because of it.
//!
//! # What is not
//!
//! - That a peer is who it says: until there are identities, whoever reaches the port may register
//!   any nick, look, and evict. Hence loopback unless told otherwise.
//! - Agreement among several registries: they do not know of each other; the client unites them.
//!
//! # Map
//!
//! [`client`] and [`server`] know only the wire; [`registry`] is pure and knows nobody:
//!
//! ```text
//! nodesetd ──► server ──► registry ──► protocol ──► peer
//!                └─► rpc ◄── client
//! ```

mod authority;
mod key;
mod peer;
mod printable;
mod private;
mod random;
mod rpc;

pub mod client;
pub mod local;
pub mod protocol;
pub mod registry;
pub mod server;

pub use authority::{AUTHORITY_LIFE, Authority, AuthorityError, CERTIFICATE_LIFE, IssueError};
pub use key::{KeyError, ProcessKey, ProfileKey, Signature, node_id, profile_fingerprint};
pub use peer::{ADDRS_MAX, Malformed, NICK_MAX_CHARS, Peer, PeerId, ROOM_MAX_BYTES, ROOMS_MAX, Registration};
pub use printable::printable;
pub use private::PrivateError;
