//! Embeddable, reliable, causal-order group multicast over tarpc.

mod clock;
pub mod engine;
mod id;
mod message;
mod run;

#[cfg(feature = "net")]
mod event;
#[cfg(feature = "net")]
mod group;
#[cfg(feature = "net")]
mod node;
#[cfg(feature = "net")]
mod options;
#[cfg(feature = "net")]
mod receipt;

pub use clock::{Causality, Clock};
pub use id::{Dot, GroupId, MemberId, NodeId, Span};
pub use message::{Intro, Kind, Member, Message, Micros, Stamp};
pub use run::{Entry, MAX_PAYLOAD, Malformed, Past, Run};

#[cfg(feature = "net")]
pub use {
    event::{Delivery, Event, Explanation, MissingCause},
    group::{Events, Gauges, Group, HeldMessage, MemberState, SendError, Sender},
    node::{BindError, Contact, JoinError, Link, Node},
    options::Options,
    receipt::Receipt,
};
