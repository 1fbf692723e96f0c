//! What a group tells its application.

use std::time::Duration;

use bytes::Bytes;

use crate::chain::Proof;
use crate::clock::Clock;
use crate::group::Request;
use crate::id::{Dot, MemberId, Span};
use crate::identity::Profile;
use crate::message::{Member, Stamp};

/// One thing that happened in a group, in this member's delivery order.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A message, one's own included.
    Delivered(Delivery),
    /// A member's first message: from here on it speaks.
    Joined {
        /// Who.
        member: Member,
        /// Its place in time.
        stamp: Stamp,
    },
    /// A member's last message.
    Left {
        /// Who.
        member: Member,
        /// In words, perhaps empty.
        reason: String,
        /// Its place in time.
        stamp: Stamp,
    },
    /// Another member asks, and waits for a reply.
    Called(Request),
    /// A message of the protocol itself that no person has a use for; it has a place in everyone's clocks.
    Control {
        /// Whose.
        member: Member,
        /// Its place in time.
        stamp: Stamp,
    },
    /// A member let a profile into this private group: from here on its processes may join.
    Admitted {
        /// Whom.
        profile: Profile,
        /// Who did.
        by: Member,
        /// Its place in time.
        stamp: Stamp,
    },
    /// The founder threw a profile out of this private group: nothing more is said to its members, or heard of them. If
    /// it is this node's own, nothing follows.
    Excluded {
        /// Whom.
        profile: Profile,
        /// Who did.
        by: Member,
        /// Its place in time.
        stamp: Stamp,
    },
    /// No sign of this member for 6 s. Nothing is lost by it.
    Silent(Member),
    /// A sign of it again.
    Resumed(Member),
    /// It is too slow to hold the others back; it catches up by itself.
    Lagging {
        /// Who.
        member: Member,
        /// How many of this member's messages it lacks.
        behind: u64,
    },
    /// A message waits for a cause for longer than a round trip.
    Held {
        /// The message.
        dot: Dot,
        /// Its first missing cause.
        needs: Dot,
        /// How many messages are held in all.
        held: usize,
    },
    /// The group decided that `origin` will say no more after `last_seq`, which is the same everywhere.
    Closed {
        /// Who.
        origin: Member,
        /// Its last message.
        last_seq: u64,
        /// How many messages that this member held were given up with it.
        discarded: u64,
    },
    /// A closed origin turned out to be alive.
    Reopened {
        /// Who.
        origin: Member,
    },
    /// Exactly these messages are lost to this member: nobody keeps them any more.
    Gap {
        /// Which.
        dots: Vec<Span>,
    },
    /// This member signed two histories of what it said: it told different members different things, or two processes
    /// use its key. It is expelled: nothing more of it is delivered anywhere, and all are told. If it is this member
    /// itself, nothing follows.
    Equivocation {
        /// Who.
        member: Member,
        /// How many of its messages are delivered here. Others may have delivered more, fewer, or other ones.
        delivered: u64,
        /// How many this member had held of it, and gave up.
        discarded: u64,
        /// Two statements that it signed and that cannot both be: anybody can verify it.
        proof: Box<Proof>,
    },
    /// This member left before so many messages that were handed over were sent: they are nowhere. Nothing follows.
    Unsent {
        /// How many.
        messages: u64,
    },
    /// This node was evicted from its cluster, so the group ended here: nobody would hear it any more. Nothing follows.
    Evicted,
    /// Messages from before this member's join, as another member remembers them ([`Sender::recall`](crate::Sender::recall)): in
    /// the order of their Lamport times, and of other pieces nothing is said. With a store they are kept there.
    Recalled {
        /// At most half a frame of them.
        messages: Vec<crate::store::Stored>,
    },
    /// Nobody who is linked has more of what lies before this member's join.
    RecallOver {
        /// So many messages nobody had.
        missing: u64,
    },
    /// What this node delivered in an earlier life, and the application did not acknowledge
    /// ([`Sender::acknowledge`](crate::Sender::acknowledge)): handed out again, in the same order, before anything new.
    Replayed(Box<Event>),
    /// The node's store failed, so the group ended here: what it would be told could not be kept. What was confirmed is
    /// kept; what was sent last, and not confirmed, perhaps. The error says what to do. Nothing follows.
    StoreFailed {
        /// Why, and what to do.
        error: crate::store::StoreError,
    },
    /// The group ended by itself: an invariant did not hold. Nothing follows; the host program is unharmed.
    Broken {
        /// What did not hold, for a bug report.
        reason: String,
    },
}

/// A delivered message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delivery {
    /// Its id.
    pub dot: Dot,
    /// Who sent it.
    pub from: Member,
    /// The bytes. A slice of what came, or was sent, together with them: copy what is to be kept for long, or it keeps up to
    /// 1 MiB.
    pub payload: Bytes,
    /// Lamport time. (Lamport time, member id) sorts every member's history identically.
    pub lamport: u64,
    /// The sender's wall clock in microseconds since 1970; advisory, nothing is decided by it.
    pub sent_at: u64,
    /// How long it waited here for its causes; zero if it was deliverable on arrival.
    pub held_for: Duration,
    pub(crate) clock: Clock,
}

impl Delivery {
    /// The full vector clock: everything that its sender had delivered, and itself.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Everything about its place in time.
    pub fn stamp(&self) -> Stamp {
        Stamp {
            dot: self.dot,
            clock: self.clock.clone(),
            lamport: self.lamport,
            sent_at: self.sent_at,
        }
    }

    /// Whether the other one's sender had delivered this when it wrote (happened-before, Lamport 1978).
    ///
    /// Asked by dot, never by comparing whole vectors: clocks leave out retired members.
    pub fn precedes(&self, other: &Delivery) -> bool {
        self.dot != other.dot && other.clock.covers(self.dot)
    }

    /// Whether neither sender had seen the other one's.
    pub fn concurrent(&self, other: &Delivery) -> bool {
        self.dot != other.dot && !self.precedes(other) && !other.precedes(self)
    }
}

/// What is known here about a message: why it is, or is not, on the screen.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Explanation {
    /// Delivered, and still in the log.
    Delivered(Delivery),
    /// Delivered or before this member's join, and not kept any more.
    Past,
    /// Received, and waiting.
    Held {
        /// The clock with which it was written.
        written_after: Clock,
        /// What this member has delivered.
        delivered: Clock,
        /// The causes that are missing, each with who was asked and who has it.
        missing: Vec<MissingCause>,
    },
    /// Not received, though another member has it.
    Awaited,
    /// Nothing is known of it.
    Unknown,
}

/// One missing cause, or several in a row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MissingCause {
    /// Which dots.
    pub span: Span,
    /// How many of them are here, themselves waiting for other causes.
    pub held: u64,
    /// Members that were asked for it, in order.
    pub asked: Vec<MemberId>,
    /// Members that have said they delivered all of it.
    pub holders: Vec<MemberId>,
}
