//! What engines say to each other.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::chain::{Proof, Statement};
use crate::clock::Clock;
use crate::id::{Dot, MemberId, Span};
use crate::message::Intro;
use crate::run::Run;
use crate::sign::Key;

/// One thing said by one member of a group to another. Frames may be lost, repeated and reordered: everything
/// in them is idempotent.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Frame {
    /// The sender's own messages, as part of its push stream.
    Push(Run),
    /// The answer to a push, or a late acknowledgement.
    PushAck(PushAck),
    /// A heartbeat: any member to any other.
    Beat(Beat),
    /// All that the sender knows about who is in the group.
    View(View),
    /// "Send me these."
    Pull(Pull),
    /// What a pull got.
    Pulled(Pulled),
    /// "I want to join; be my sponsor." Repeated until answered.
    JoinAsk {
        /// Counts the joiner's attempts, so that a late answer to an earlier one is recognised.
        attempt: u32,
        /// Who asks.
        intro: Intro,
    },
    /// A member's answer to `JoinAsk`.
    Sponsor(Sponsor),
    /// A joiner's "count me, and stream to me from my cut".
    Greet {
        /// The joiner's attempt.
        attempt: u32,
        /// Who greets.
        intro: Intro,
        /// Where it starts.
        cut: Clock,
    },
    /// A reply to a request of the group RPC. The engine passes these by: they are for the layer above.
    Answer {
        /// The request.
        dot: Dot,
        /// The reply.
        reply: Bytes,
    },
    /// "I have no reply of yours to this request yet." For the layer above, too.
    Asking {
        /// The request.
        dot: Dot,
    },
    /// "No: the group has as many members as it may." The answer to a `JoinAsk`.
    Full {
        /// The attempt that asked.
        attempt: u32,
        /// So many.
        limit: u32,
    },
    /// "I count you."
    Greeted {
        /// The attempt that was greeted with.
        attempt: u32,
        /// The cut leaves out something that is not kept here any more: start over from a higher one.
        too_low: bool,
    },
    /// "This is what that member signed, as I heard it." To one whose digest says otherwise.
    Shown {
        /// Whose chain.
        member: MemberId,
        /// Whose key.
        key: Key,
        /// What was signed.
        statement: Box<Statement>,
    },
    /// "That member signed two histories."
    Proof(Box<Proof>),
    /// A word about the group's one order, if it has one. For the layer above, too; see the module `ordered`.
    Order {
        /// Opaque here.
        word: Bytes,
    },
}

/// How far a push stream has come.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct PushAck {
    /// The last seq of the stream that the receiver decoded, or, with `restart`, the last one from which on it
    /// needs the stream anew.
    pub received: u64,
    /// How many of the sender's messages the receiver has delivered.
    pub delivered: u64,
    /// The stream had a hole: begin again after `received`, with a full clock.
    pub restart: bool,
}

/// A heartbeat.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Beat {
    /// What the sender has delivered; a joiner's is its cut.
    pub digest: Clock,
    /// In a signed group: the first 16 bytes of the head at each entry of the digest, in its order; zeros where the sender
    /// does not know it.
    #[serde(deserialize_with = "crate::bound::shared")]
    pub heads: Arc<[[u8; 16]]>,
    /// Where the sender stands.
    pub stage: Stage,
    /// The hash of the sender's view. The digest counts only once that view is merged.
    pub view: u64,
    /// Whom the sender has heard from lately, itself left out.
    #[serde(deserialize_with = "crate::bound::shared")]
    pub hears: Arc<[MemberId]>,
    /// Whose address has refused connections for a while, so that its process must be gone.
    #[serde(deserialize_with = "crate::bound::shared")]
    pub gone: Arc<[MemberId]>,
    /// Answer with a beat of your own.
    pub wants_answer: bool,
}

/// Where the sender of a heartbeat stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Stage {
    /// It has not spoken yet: it may start over from a lower cut, so its digest is a hint and no evidence.
    Joining,
    /// It can be asked to sponsor.
    Member,
    /// It waits for everyone to have its last message.
    Leaving,
}

/// Where a member stands, in the order in which one replaces the other within a generation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Standing {
    /// It was granted a cut and has not spoken yet. It counts.
    Joining,
    /// It speaks, and counts.
    Member,
    /// It said goodbye with this last seq; it does not count.
    Left(u64),
    /// The group decided that it will say no more after this seq.
    Closed(u64),
    /// It signed two histories. Believed only with the proof.
    Expelled,
}

impl Standing {
    /// Whether stability and sending wait for it.
    pub fn counts(self) -> bool {
        matches!(self, Self::Joining | Self::Member)
    }
}

/// What is known of one member. Records of one member are merged by maximum of (generation, standing).
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Record {
    /// Whose.
    pub member: MemberId,
    /// Raised by a reopening.
    pub generation: u32,
    /// Where it stands.
    pub standing: Standing,
    /// It said goodbye once: it will not come back under this id, whatever else is found out about its end.
    pub goodbye: bool,
    /// Who it is; absent while only its dots are known.
    pub intro: Option<Intro>,
}

impl Record {
    /// A record that says goodbye if its standing does.
    pub(super) fn of(member: MemberId, generation: u32, standing: Standing, intro: Option<Intro>) -> Self {
        Self {
            member,
            generation,
            standing,
            goodbye: matches!(standing, Standing::Left(_)),
            intro,
        }
    }
}

/// Records of all members that the sender knows, ascending by member.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct View {
    /// The records.
    #[serde(deserialize_with = "crate::bound::list")]
    pub records: Vec<Record>,
    /// Why members are expelled.
    #[serde(deserialize_with = "crate::bound::list")]
    pub proofs: Vec<Proof>,
}

/// A request for messages, whoever created them.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Pull {
    /// What is wanted; the answer may be cut short.
    #[serde(deserialize_with = "crate::bound::list")]
    pub wants: Vec<Span>,
}

/// The answer to a pull: for every dot of the wanted spans the message, `gone`, `never`, or nothing yet.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Pulled {
    /// Messages, one run or more an origin, each with a full clock first.
    #[serde(deserialize_with = "crate::bound::runs")]
    pub runs: Vec<Run>,
    /// At or below the answerer's base and not kept.
    #[serde(deserialize_with = "crate::bound::list")]
    pub gone: Vec<Span>,
    /// Not delivered there.
    #[serde(deserialize_with = "crate::bound::list")]
    pub never: Vec<Span>,
    /// With `gone`: the answerer's base, and the greatest Lamport time in it.
    pub base: Option<(Clock, u64)>,
}

/// What a join message said, told to those whose cut it is in.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Named {
    /// Who joined.
    pub member: MemberId,
    /// Its name.
    pub name: String,
    /// Lamport time of its join message.
    pub joined_at: u64,
}

/// What a joiner gets from its sponsor.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Sponsor {
    /// The attempt that it answers.
    pub attempt: u32,
    /// Where the joiner starts: everything that the sponsor had delivered.
    pub cut: Clock,
    /// What is stable as far as the sponsor knows; what lies between it and the cut the joiner fetches, to keep
    /// it for repair.
    pub stable: Clock,
    /// The greatest Lamport time in the cut.
    pub lamport: u64,
    /// What people call the origins in the cut, as far as known.
    #[serde(deserialize_with = "crate::bound::list")]
    pub names: Vec<Named>,
    /// Origins in the cut that were retired, with their last seq: clocks leave them out.
    #[serde(deserialize_with = "crate::bound::list")]
    pub retired: Vec<(MemberId, u64)>,
    /// Everyone that the sponsor knows.
    pub view: View,
}
