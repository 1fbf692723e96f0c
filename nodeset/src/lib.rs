//! A small registry of live peers, and its client.
//!
//! A peer registers `(id, nick, addresses, rooms)` and holds a *lease* for as long as it renews it.
//! Whoever watches the registry learns who is there. The registry introduces peers; no message of
//! theirs ever passes through it, and it may die without disturbing them.

mod peer;
mod printable;
mod random;
mod rpc;

pub mod client;
pub mod protocol;
pub mod registry;
pub mod server;

pub use peer::{ADDRS_MAX, Malformed, NICK_MAX_CHARS, Peer, PeerId, ROOM_MAX_BYTES, ROOMS_MAX, Registration};
pub use printable::printable;
