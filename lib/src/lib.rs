//! Embeddable, reliable, causal-order group multicast over tarpc.
//!
//! ```
//! # #[cfg(feature = "net")]
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use futures::StreamExt;
//! use multicast::{Event, Node, Options};
//!
//! let ana = Node::bind(Options::new("ana")).await?;          // 127.0.0.1, any free port
//! let bob = Node::bind(Options::new("bob")).await?;
//! bob.meet(ana.addr());                                      // or contacts from a registry, see `nodeset`
//! let (tell, _quiet) = ana.join("lobby").await?.split();
//! let mut heard = bob.join("lobby").await?;
//! heard.wait_for(2).await;                                   // both are members now
//! tell.send("hello").await?;                                 // delivered here before it returns
//! while let Some(event) = heard.next().await {
//!     if let Event::Delivered(m) = event { assert_eq!(&m.payload[..], b"hello"); break }
//! }
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "net"))]
//! # fn main() {}
//! ```
//!
//! Every node that joins a group becomes a member of it, with links to all others. A message that a member sends is
//! delivered at every member, each once, and never before anything that its sender had delivered when it sent.
//!
//! # What is guaranteed
//!
//! * **Causal order**: nothing is delivered before its causes (or they are named to the application as lost).
//! * **No duplicates, no inventions; self-delivery**: `send` delivers here before it returns.
//! * **Agreement**: what one member delivered, every member that stays connected delivers, also when the origin
//!   died halfway through sending: any member that has a message repairs.
//! * **A partition is a slow link**: both sides go on and merge when it heals.
//! * **A joiner starts at a causally closed cut** and misses nothing after it.
//! * **The same history**: (Lamport time, member id) sorts every member's history identically and causally.
//! * **Only members**, if nodes have an [`Identity`]: every link is TLS 1.3 with certificates on both sides. Nobody whom
//!   the cluster's authority does not vouch for is heard, nobody has another's id or name, and an evicted node is cut off.
//!   A certificate that expires bars newcomers; it does not cut a group that lives. Without an identity a node keeps to
//!   loopback, in plaintext.
//!
//! # What is not
//!
//! * Causal order across groups. To carry a cause from one group to another, hand over a [`Clock`] and wait for
//!   [`Sender::reached`].
//! * That members with the same view delivered the same messages (view synchrony).
//! * Agreement with members that lie, or secrecy from them: whoever the authority vouches for can join every group whose
//!   name it knows. In a group without identities a member that passes on others' messages could alter them.
//! * That nobody sees who talks to whom, and how much.
//! * Delivery of a message whose every holder died.
//!
//! The protocol with its arguments is in `PROTOCOL.md`. The [`engine`] is pure and can be embedded without the
//! wire: `default-features = false`.

#![forbid(unsafe_code)]

mod allowance;
mod bound;
mod chain;
mod clock;
pub mod commit;
pub mod engine;
mod id;
#[cfg(all(test, feature = "net"))]
mod limits;
mod message;
mod piece;
mod run;
mod sign;

#[cfg(feature = "net")]
mod check;
#[cfg(feature = "net")]
mod circle;
#[cfg(feature = "net")]
mod event;
#[cfg(feature = "net")]
mod faults;
#[cfg(any(all(test, feature = "net"), feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(feature = "net")]
mod group;
#[cfg(feature = "net")]
mod identity;
#[cfg(feature = "net")]
mod net;
#[cfg(feature = "net")]
mod node;
#[cfg(feature = "net")]
mod options;
#[cfg(feature = "ordered")]
pub mod ordered;
#[cfg(feature = "net")]
mod receipt;
#[cfg(feature = "net")]
pub mod store;

#[doc(hidden)]
pub use chain::seal_run;
pub use chain::{Head, Mark, Proof, ProofError, Statement, Step};
pub use clock::{Causality, Clock};
pub use id::{Dot, GroupId, JournalId, MemberId, NodeId, Span};
pub use message::{Intro, Kind, Member, Message, Micros, Name, Stamp};
pub use piece::{Part, Piece};
pub use run::{Entry, MAX_PAYLOAD, Malformed, Past, Run, Sealed, Seals};
pub use sign::{Key, Signer};

#[cfg(feature = "net")]
pub use {
    check::{Log, Violation, check, check_logs},
    circle::Circle,
    event::{Delivery, Event, Explanation, MissingCause},
    faults::{FaultError, Faults, MAX_DELAY, MAX_FAULTED},
    group::{
        CallError, CircleError, Collect, Events, Gauges, Group, HeldMessage, MemberState, Replies, Request, SendError,
        Sender,
    },
    identity::{Credential, Identity, IdentityError, Profile},
    node::{BindError, Contact, JoinError, Link, Node, Offer, Offers, Traffic},
    options::Options,
    receipt::Receipt,
};
