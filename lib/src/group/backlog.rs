//! What a group's task has to tell the application, and the application has not read.

use std::collections::VecDeque;

use crate::event::Event;
use crate::group::show;
use crate::message::{Member, Micros};
use crate::piece::Part;

/// Events beyond those batches before this member counts as behind: some seconds of a busy room.
pub(crate) const MOST_EVENTS: usize = 8192;
/// The same in payload bytes.
pub(crate) const MOST_BYTES: usize = 16 << 20;

/// One thing to tell.
#[derive(Debug)]
pub(crate) enum Told {
    Event(Event),
    /// An event that is a message, with its place in the store.
    Placed(Event, u64),
    /// An event for each of these messages. They become events only when they are read, for that is when the cache has
    /// them.
    Messages {
        part: Part,
        from: Member,
        held_for: Micros,
        /// Of the last of them; 0 without a store.
        place: u64,
    },
}

/// Things to tell, in order: what one batch of events is made of.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    told: VecDeque<Told>,
    events: usize,
    payload_bytes: usize,
}

impl Backlog {
    pub(super) fn add(&mut self, told: Told, payload_bytes: usize) {
        self.events += match &told {
            Told::Event(_) | Told::Placed(..) => 1,
            Told::Messages { part, .. } => part.len(),
        };
        self.payload_bytes += payload_bytes;
        self.told.push_back(told);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    /// The application does not keep up.
    pub(super) fn is_too_long(&self) -> bool {
        self.events >= MOST_EVENTS || self.payload_bytes >= MOST_BYTES
    }

    /// The next event, with the place of its message. What the counts say is not kept up from here on: who reads a batch adds nothing to it.
    #[inline]
    pub(super) fn next(&mut self) -> Option<(Event, u64)> {
        while let Some(Told::Messages {
            part,
            from,
            held_for,
            place,
        }) = self.told.front_mut()
        {
            if let Some(message) = part.pop_front() {
                let event = Event::Delivered(show::delivery(message, from.clone(), *held_for));
                return Some((event, place.saturating_sub(part.len() as u64)));
            }
            self.told.pop_front();
        }
        match self.told.pop_front()? {
            Told::Event(event) => Some((event, 0)),
            Told::Placed(event, place) => Some((event, place)),
            Told::Messages { .. } => unreachable!("looked at above"),
        }
    }

    /// Empty, with the room that it has.
    pub(super) fn cleared(mut self) -> Self {
        self.told.clear();
        (self.events, self.payload_bytes) = (0, 0);
        self
    }
}
