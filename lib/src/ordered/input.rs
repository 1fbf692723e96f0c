//! What goes into a sequencer, and what comes out.

use bytes::Bytes;

use crate::clock::Clock;
use crate::engine::{Engine, MemberView, Standing};
use crate::id::{Dot, MemberId, Span};

/// Where a message stands in its group's one order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Place {
    /// The authority that put it there.
    pub by: MemberId,
    /// The authority's term: greater with every new authority.
    pub epoch: u64,
    /// From 1, without holes over all the group's messages; a member that came later does not see those of before.
    pub pos: u64,
}

/// A member as the engine knows it now.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Peer {
    /// Who.
    pub member: MemberId,
    /// What became of it.
    pub stage: PeerStage,
    /// There is a link to it, and it is not silent.
    pub there: bool,
}

/// What became of a member.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PeerStage {
    /// It speaks.
    Member,
    /// It said goodbye itself, or its successor said it for it: it takes part in nothing any more, that is certain.
    Left,
    /// The group gave it up. It might be alive behind a partition.
    Closed,
}

/// Everyone whom an engine knows, joiners left out: for [`OrderInput::Peers`].
pub fn peers(engine: &Engine) -> Vec<Peer> {
    let me = engine.me();
    let members = engine.members().into_iter();
    let peer = |view: MemberView| {
        let stage = match view.record.standing {
            Standing::Joining => return None,
            Standing::Member => PeerStage::Member,
            Standing::Left(_) => PeerStage::Left,
            Standing::Closed(_) | Standing::Expelled => PeerStage::Closed,
        };
        let member = view.record.member;
        let there = member == me || (view.linked && !view.silent);
        Some(Peer { member, stage, there })
    };
    members.filter_map(peer).collect()
}

/// One thing that happens to a sequencer.
#[derive(Clone, Debug)]
pub enum OrderInput {
    /// The engine delivered this message, one's own and joins and leaves included.
    Delivered {
        /// Its id.
        dot: Dot,
        /// Its full clock.
        clock: Clock,
    },
    /// The engine joined at this cut: what is below is never shown here.
    Cut(Clock),
    /// The engine gave these up.
    Gap(Vec<Span>),
    /// Everyone whom the engine knows, joiners left out.
    Peers(Vec<Peer>),
    /// A member's sequencer said this; the caller made sure that it was that member.
    Said {
        /// Who.
        from: MemberId,
        /// What.
        bytes: Bytes,
    },
    /// Make that member the authority. Without effect where this one is not.
    HandOver(MemberId),
    /// This member is about to leave: where it is the authority, make another one that.
    Leaving,
    /// Time has passed. Harmless at any time.
    Tick,
}

/// One thing that a sequencer wants done or known. In order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OrderOutput {
    /// Say this to that member's sequencer. May be lost.
    Say {
        /// To whom.
        to: MemberId,
        /// What.
        bytes: Bytes,
    },
    /// Show this message: it has its place for ever.
    Show {
        /// Which.
        dot: Dot,
        /// Where.
        place: Place,
    },
    /// Show this message without a place: it has one, which this member was too far behind to be told, or the limit of
    /// messages that may wait was reached. In causal order with everything that is shown.
    Unplaced(Dot),
    /// There is another authority, or this one is told of it for the first time.
    Authority {
        /// Who.
        by: MemberId,
        /// Its term.
        epoch: u64,
    },
    /// Fewer than a majority of the voters are there: nothing is shown until that changes.
    Waiting {
        /// How many voters there are.
        of: usize,
        /// How many of them, this member included, are needed.
        needed: usize,
        /// Who is not there.
        absent: Vec<MemberId>,
    },
    /// A majority is there again.
    Resumed,
    /// The authority could not be handed to that member: it is not a voter, is not there, or did not catch up in time.
    NotHandedOver(MemberId),
    /// A member says what no correct member says. Its words were ignored.
    Odd {
        /// Who.
        member: MemberId,
        /// What was odd.
        what: &'static str,
    },
}
