//! What the model knows of one room that this member is in.

use std::collections::VecDeque;

use multicast::{Dot, Member};

use super::heard::RECENT;
use super::line::{Ref, RoomLine, Where};
use super::outbox::Outbox;
use super::people::People;
use super::place::Place;
use super::told::About;

/// Most rooms that one chat is in: as many as a registration names.
pub const ROOMS_MAX: usize = 32;

/// One room.
#[derive(Clone, Debug)]
pub(super) struct Room {
    pub(super) place: Place,
    pub(super) people: People,
    pub(super) outbox: Outbox,
    /// Whether this member's own join was delivered.
    pub(super) entered: bool,
    /// What was delivered last, for `concurrent`, and for how many milliseconds it had waited.
    pub(super) recent: VecDeque<(Dot, u64)>,
    /// What it is about.
    pub(super) about: Option<About>,
    /// First messages of those who came since, and have not been told that.
    pub(super) untold: Vec<Dot>,
    /// What this member is called from now on, if it is not what it came with.
    pub(super) nick: Option<String>,
    /// Clocks may lack entries of those who are gone.
    pub(super) retires: bool,
    /// The newest message of somebody else.
    pub(super) newest: Option<Dot>,
    /// Messages of others since people last looked at it.
    pub(super) unread: u64,
    /// Whether this member created it.
    pub(super) made: bool,
    /// Of the command that this member's own join, or leave, answers.
    pub(super) reference: Option<Ref>,
}

impl Room {
    /// A room in which `me` has not been told anything yet.
    pub(super) fn new(place: Place, me: Member, reference: Option<Ref>) -> Self {
        Self {
            place,
            people: People::new(me),
            outbox: Outbox::default(),
            entered: false,
            recent: VecDeque::with_capacity(RECENT),
            about: None,
            untold: Vec::new(),
            nick: None,
            retires: false,
            newest: None,
            unread: 0,
            made: false,
            reference,
        }
    }

    /// Where a line about it belongs.
    pub(super) fn at(&self) -> Where {
        match &self.place {
            Place::Room(name) => Where::Room(name.clone()),
        }
    }

    /// Whether whoever knows its name may come.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.place, Place::Room(_))
    }

    /// Its row in an answer to `/rooms`.
    pub(super) fn row(&self, current: bool) -> RoomLine {
        let Place::Room(name) = &self.place;
        RoomLine {
            room: name.clone(),
            current,
            members: self.people.count_present() as u64,
            unread: self.unread,
        }
    }
}
