//! A member's handle on its group.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::Stream;

use crate::clock::Clock;
use crate::event::{Event, Explanation};
use crate::id::{Dot, GroupId, MemberId};
use crate::message::Member;
use crate::receipt::Receipt;

/// Membership in a group: a stream of events, and the way to send.
#[derive(Debug)]
pub struct Group {}

/// The sending half; clones share the membership.
#[derive(Clone, Debug)]
pub struct Sender {}

/// The receiving half.
#[derive(Debug)]
pub struct Events {}

/// Why a message was not sent. It was not stamped: nothing changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// Longer than the payload limit.
    #[error("the message has {bytes} bytes; at most {limit} can be sent")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// This member's events are not being read: read them, then send again. (One task that reads and sends
    /// would otherwise wait for itself.)
    #[error("events are not being read: read them, then send again")]
    Behind,
    /// The member left, or the node was shut down.
    #[error("this member left the group")]
    Left,
}

/// A member as `members()` shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemberState {
    /// Who.
    pub member: Member,
    /// Where its node listens, if known.
    pub addr: Option<std::net::SocketAddr>,
    /// Whether there has been no sign of it lately.
    pub silent: bool,
    /// Whether it is too slow to hold others back.
    pub lagging: bool,
    /// How many of this member's own messages it has delivered, as far as known here.
    pub has_of_mine: u64,
    /// The Lamport time of its join message, if that is known here.
    pub joined_at: Option<u64>,
    /// What it has delivered, as far as known here.
    pub digest: Clock,
}

/// A message that waits for its causes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeldMessage {
    /// Its id.
    pub dot: Dot,
    /// The first missing cause.
    pub needs: Dot,
    /// For how long.
    pub held_for: std::time::Duration,
}

/// Numbers for status lines and metrics.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Gauges {
    /// Messages delivered since the join.
    pub delivered: u64,
    /// Messages held now.
    pub held: usize,
    /// Bytes held now.
    pub held_bytes: usize,
    /// Messages in the log now.
    pub logged: usize,
    /// Bytes in the log now.
    pub log_bytes: usize,
    /// The greatest Lamport time known.
    pub lamport: u64,
}

macro_rules! shared_calls {
    ($type:ident) => {
        impl $type {
            /// Sends to everyone in the group, this member included: it is delivered here before this returns.
            /// Waits while the slowest member that is neither silent nor lagging is more than a window behind.
            pub async fn send(&self, _payload: impl Into<Bytes>) -> Result<Receipt, SendError> {
                todo!()
            }

            /// This member.
            pub fn me(&self) -> Member {
                todo!()
            }

            /// The group's id.
            pub fn id(&self) -> GroupId {
                todo!()
            }

            /// Who counts as a member now, this one included, ascending by id.
            pub fn members(&self) -> Vec<Member> {
                todo!()
            }

            /// The same with what is known of each; a snapshot asked of the group's task.
            pub async fn roster(&self) -> Vec<MemberState> {
                todo!()
            }

            /// The name of an origin, also of one that left, if known.
            pub fn name_of(&self, _member: MemberId) -> Option<String> {
                todo!()
            }

            /// What this member has delivered.
            pub fn clock(&self) -> Clock {
                todo!()
            }

            /// What every member that counts has delivered, as far as known here (causal stability).
            pub fn stable(&self) -> Clock {
                todo!()
            }

            /// Returns when this member has delivered at least that: the answer to hidden channels.
            pub async fn reached(&self, _clock: &Clock) {
                todo!()
            }

            /// Returns when at least `n` members, this one included, have joined here.
            pub async fn wait_for(&self, _n: usize) {
                todo!()
            }

            /// Why a message is or is not delivered here.
            pub async fn explain(&self, _dot: Dot) -> Explanation {
                todo!()
            }

            /// What is held now, oldest first; at most 1,000 messages.
            pub async fn held(&self) -> Vec<HeldMessage> {
                todo!()
            }

            /// Numbers for status lines and metrics.
            pub async fn gauges(&self) -> Gauges {
                todo!()
            }

            /// Says goodbye with a reason, and returns when everyone who is there has it, at most after `linger`:
            /// then the names of those who did not confirm.
            pub async fn leave_with(&self, _reason: &str, _linger: std::time::Duration) -> Vec<Member> {
                todo!()
            }
        }
    };
}

shared_calls!(Group);
shared_calls!(Sender);

impl Group {
    /// Separates sending from receiving. The member leaves when the last `Sender` and the `Events` are gone;
    /// dropped `Events` discard.
    pub fn split(self) -> (Sender, Events) {
        todo!()
    }

    /// Says goodbye, and returns when everyone who is there has it, at most after 5 s.
    pub async fn leave(self) {
        todo!()
    }
}

impl Stream for Group {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Event>> {
        todo!()
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Event>> {
        todo!()
    }
}
