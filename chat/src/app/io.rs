//! What goes into the model, and what comes out.

use std::collections::BTreeMap;

use bytes::Bytes;
use multicast::{Dot, Event, Member, MemberState, Stamp};

use super::line::{self, Line, Ref};
use super::place::Place;
use super::question::{Answer, Question};
use super::text;
use crate::post::{Post, Unreadable};
use crate::word::Word;

/// What this instance is. Fixed for its life.
#[derive(Clone, PartialEq, Debug)]
pub struct Setup {
    /// This node, as a member that joins a room for the first time.
    pub me: Member,
    /// The room that is joined at first, without `#`. What names no room and comes from a program is meant for it.
    pub room: String,
    /// Where this instance listens.
    pub addr: String,
    /// The registries, if any.
    pub registry: Option<String>,
    /// What stands behind each message, at first.
    pub stamp: text::Stamp,
    /// People are shown by their ids, whoever else is there: then a line is the same on every screen.
    pub by_id: bool,
    /// Faults on purpose can be asked for.
    pub chaos: bool,
    /// Lines that begin with a slash are only text.
    pub no_commands: bool,
}

/// Something that happened.
#[derive(Clone, PartialEq, Debug)]
pub enum Input {
    /// The instance is up; nothing was joined yet.
    Started,
    /// Something happened in a place.
    In(Place, Inside),
    /// A person typed a line.
    TextLine(String),
    /// A script wrote a line of JSON.
    JsonLine(String),
    /// A line could not be read.
    BadLine(line::Error),
    /// Something that was to be done was not.
    NotDone(line::Error),
    /// The answer to a question.
    Answered {
        place: Option<Place>,
        answer: Answer,
        reference: Option<Ref>,
    },
    /// Something that is done by all together has come so far.
    Coordinated(line::Txn),
    /// Rooms show under other names from now on: two that were created on two sides of a partition have one name.
    Renamed(BTreeMap<Place, Place>),
    /// This member says goodbye everywhere: nothing more can be sent.
    Leaving,
    /// The goodbye takes so long that a person wants to know why.
    StillLeaving,
    /// Something that people should know.
    Noticed(String),
    /// The end; nothing follows.
    Ended {
        reason: &'static str,
        unconfirmed: Vec<Member>,
    },
}

/// Something that happened in one place.
#[derive(Clone, PartialEq, Debug)]
pub enum Inside {
    /// This member is in: it goes by `me` there, and met these, apart from those whose join is still to be told. Comes
    /// first, and makes the place the one that people type into.
    Opened {
        me: Member,
        present: Vec<MemberState>,
        reference: Option<Ref>,
    },
    /// This member created the place. Comes before its join is told.
    Made,
    /// What the place was created with, by whom. Comes before this member's join is told.
    CreatedWith { topic: String, by: Member },
    /// Names of origins that the next input mentions.
    Named(Vec<Member>),
    /// A message was delivered.
    Said(Said),
    /// A chat said something of itself or of the room.
    Told(Told),
    /// Anything else that the group told.
    Heard(Event),
    /// A message was sent: it is delivered here.
    Sent { dot: Dot, reference: Option<Ref> },
    /// The members and what they have, after something about that may have changed.
    Roster(Vec<MemberState>),
    /// This member is out, and everything was told. Comes last.
    Closed,
}

/// A message that was delivered.
#[derive(Clone, PartialEq, Debug)]
pub struct Said {
    pub from: Member,
    pub stamp: Stamp,
    pub held_ms: u64,
    pub post: Result<Post, Unreadable>,
}

/// What a chat said of itself or of a room.
#[derive(Clone, PartialEq, Debug)]
pub struct Told {
    pub from: Member,
    pub stamp: Stamp,
    pub word: Word,
}

/// What is to be done.
#[derive(Clone, PartialEq, Debug)]
pub enum Output {
    /// Show this.
    Tell(Box<Line>),
    /// Send this, unless what it answers was not delivered here; answer with `Sent` or `NotDone`.
    Send {
        place: Place,
        payload: Bytes,
        reply_to: Option<Dot>,
        reference: Option<Ref>,
    },
    /// Say this again for whoever has just come. No person waits for it, so nothing answers it.
    TellAgain { place: Place, word: Word },
    /// Find this out; answer with `Answered` or `NotDone`.
    Ask {
        place: Option<Place>,
        question: Question,
        reference: Option<Ref>,
    },
    /// Join this; answer with `Opened` or `NotDone`.
    Join { place: Place, reference: Option<Ref> },
    /// Create a room, with everybody's consent; answer with `Coordinated` or `NotDone`, and join it.
    Create {
        name: String,
        topic: String,
        reference: Option<Ref>,
    },
    /// Close a room for everybody, with everybody's consent; answer with `Coordinated` or `NotDone`.
    Close { place: Place, reference: Option<Ref> },
    /// Leave this; answer with `Closed` when all is told.
    Part { place: Place, reason: String },
    /// Say goodbye everywhere, wait for the others for a while, end.
    Leave { reason: String },
    /// Wait no longer.
    LeaveNow,
}
