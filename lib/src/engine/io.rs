//! What goes into an engine and what comes out.

use bytes::Bytes;

use crate::chain::Proof;
use crate::clock::Clock;
use crate::engine::frame::Frame;
use crate::engine::restore::Sealing;
use crate::id::{Dot, MemberId, Span};
use crate::message::{Message, Micros};
use crate::piece::Piece;

/// One thing that happens to an engine.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Input {
    /// The application sends. Answered in the same outputs by `Sent` or `Refused` with the ticket.
    Send {
        /// Chosen by the caller.
        ticket: u64,
        /// What for; `App` or `Call`.
        kind: crate::message::Kind,
        /// The bytes.
        payload: Bytes,
        /// Wall clock, microseconds since 1970; advisory.
        sent_at: u64,
    },
    /// A peer said something. The caller has made sure that it is `from` who said it.
    Frame {
        /// Who.
        from: MemberId,
        /// What.
        frame: Frame,
    },
    /// Frames can be sent to this member now. Whatever was believed about its streams is forgotten.
    LinkUp {
        /// To whom.
        peer: MemberId,
    },
    /// Frames cannot be sent to this member any more.
    LinkDown {
        /// To whom.
        peer: MemberId,
    },
    /// The member's address refuses connections: its process is gone, as far as one can see from here.
    Refused {
        /// Who.
        peer: MemberId,
    },
    /// The application leaves. `Output::Left` follows when everyone who is there has it.
    Leave {
        /// In words, perhaps empty.
        reason: String,
        /// Wall clock, microseconds since 1970; advisory.
        sent_at: u64,
    },
    /// The application wants history: these messages, as far as they lie below this member's cut and somebody who is linked
    /// has them. Answered by any number of `Recalled` and one `RecallOver`, later. Asked again, it begins anew.
    Recall {
        /// Which.
        wants: Vec<Span>,
    },
    /// Whether a registry vouches for a node; a member whose lease is not live may be closed when its grace is over.
    Lease {
        /// Which.
        node: crate::id::NodeId,
        /// Whether its lease is known to be live.
        live: bool,
    },
    /// Frames were dropped here because the application did not keep up; now it does: ask for streams anew.
    CaughtUp,
    /// Time has passed. Harmless at any time.
    Tick,
}

/// One thing that an engine wants done or known. In order.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Output {
    /// Messages are delivered, one's own included; joins and leaves too.
    Deliver {
        /// One, or consecutive ones that came together.
        piece: Piece,
        /// How long they were held; 0 if they were deliverable on arrival.
        held_for: Micros,
    },
    /// Messages from before this member's beginning, in a signed group with what proves them. They are not delivered.
    Recalled {
        /// Each once a `Recall`, in no order.
        messages: Vec<(Message, Option<Sealing>)>,
    },
    /// Nobody who is linked has more of what was to be recalled.
    RecallOver {
        /// What nobody had.
        missing: Vec<Span>,
    },
    /// Something that the application should know.
    Notice(Notice),
    /// Say this to that member. May be lost.
    Send {
        /// To whom.
        to: MemberId,
        /// What.
        frame: Frame,
    },
    /// Send own messages: `Engine::encode_own(batch)` has the bytes, the same for all who stand at the same place.
    Push {
        /// To whom.
        to: MemberId,
        /// Which messages.
        batch: Batch,
    },
    /// The send with that ticket is stamped, logged and delivered here.
    Sent {
        /// The caller's ticket.
        ticket: u64,
        /// The message's id.
        dot: Dot,
    },
    /// The send with that ticket was not taken; nothing changed.
    Refused {
        /// The caller's ticket.
        ticket: u64,
        /// Why.
        why: Refusal,
    },
    /// A member has delivered one's own messages up to and including `seq`.
    Acked {
        /// Who.
        by: MemberId,
        /// How far.
        seq: u64,
    },
    /// The view changed: read `members()` for whom to dial and whom to show.
    ViewChanged,
    /// The group has as many members as it may: the join failed, and nothing more will come out.
    Full {
        /// So many.
        limit: usize,
    },
    /// The leave is finished: everyone who is there has it. Nothing more will come out.
    Left,
    /// An invariant does not hold. The engine has stopped and takes no more input.
    Broken(String),
}

/// A slice of one's own log, as bytes to push.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Batch {
    /// The messages after this seq,
    pub after: u64,
    /// up to and including this one.
    pub upto: u64,
    /// Whether it begins a stream, with a full clock.
    pub fresh: bool,
}

/// Why a send is refused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Refusal {
    /// Still joining, or already leaving.
    NotMember,
    /// The payload is longer than the limit in bytes.
    TooLong {
        /// The limit.
        limit: usize,
    },
    /// The window is full: the slowest member that holds others back is too far behind. Try again after `Acked`.
    WindowFull,
}

/// Something that the application should know.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Notice {
    /// No sign of this member for a while.
    Silent(MemberId),
    /// A sign again.
    Resumed(MemberId),
    /// It holds nobody back any more.
    Lagging {
        /// Who.
        member: MemberId,
        /// How many of one's own messages it lacks.
        behind: u64,
    },
    /// A message waits for longer than a round trip.
    Held {
        /// The message.
        dot: Dot,
        /// The first missing cause.
        needs: Dot,
        /// How many are held in all.
        held: usize,
    },
    /// The origin will say no more after `last_seq`.
    Closed {
        /// Who.
        origin: MemberId,
        /// The same everywhere.
        last_seq: u64,
        /// How many messages this member had held of it, and of others for its sake.
        discarded: u64,
    },
    /// A closed origin turned out to be alive.
    Reopened(MemberId),
    /// These messages are lost to this member: nobody keeps them any more.
    Gap(Vec<Span>),
    /// The member signed two histories, and is expelled.
    Equivocation {
        /// Who; perhaps this member itself: then another process uses its key, and nothing more will come out.
        member: MemberId,
        /// How many of its messages are delivered here. Others may have delivered more, fewer, or other ones.
        delivered: u64,
        /// How many this member had held of it.
        discarded: u64,
        /// Two statements that it signed.
        proof: Box<Proof>,
    },
    /// A peer says what no correct member says. Told for the log; its words were ignored.
    Odd {
        /// Who.
        peer: MemberId,
        /// What was odd.
        what: &'static str,
    },
}

/// What is known about a message.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Whereabouts {
    /// Delivered here, and still in the log.
    Delivered(Message),
    /// At or below this member's base, or trimmed: in its past, not kept.
    Past,
    /// Received, waiting for causes.
    Held {
        /// The clock with which it was written.
        clock: Clock,
        /// Every cause that is not delivered here, as spans.
        missing: Vec<Missing>,
    },
    /// Not received; someone says it exists.
    Awaited,
    /// Nothing is known of it.
    Unknown,
}

/// A missing cause of a held message.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Missing {
    /// The dots.
    pub span: Span,
    /// Held here themselves, waiting for other causes; the rest was not received.
    pub held: u64,
    /// Who was asked for it, in order.
    pub asked: Vec<MemberId>,
    /// Members whose digest says that they have all of it.
    pub holders: Vec<MemberId>,
}
