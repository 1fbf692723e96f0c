//! What the groups tell, into the model.

use std::time::Duration;

use multicast::store::Stored;
use multicast::{Clock, Delivery, Event, Member};

use super::drive::Session;
use super::{Cause, Job, SIGNAL_LINGER, kept};
use crate::app::place::Place;
use crate::app::{Inside, Said, Told};
use crate::history;
use crate::post::Post;
use crate::word::Word;

impl Session {
    pub(super) fn on_event(&mut self, place: &Place, event: Event) {
        self.introduce(place, &event);
        if let Some(room) = self.rooms.get_mut(place) {
            room.shown(&event);
        }
        let event = match event {
            Event::Replayed(event) => return self.on_replayed(place, *event),
            event => event,
        };
        let over = match &event {
            Event::StoreFailed { error } => {
                self.store_failed = Some(history::store::exit(error));
                Some(Cause::StoreFailed)
            }
            Event::Broken { .. } => Some(Cause::Broken),
            Event::Evicted => Some(Cause::Evicted),
            _ => None,
        };
        let inside = match event {
            Event::Delivered(delivery) => said(delivery),
            other => Inside::Heard(other),
        };
        self.inside(place, inside);
        if let Some(cause) = over {
            self.leave(cause, String::new(), Duration::ZERO);
        }
        if let Job::Tail(tail) = &self.job
            && tail.count.is_some_and(|count| self.show.messages() >= count)
        {
            self.leave(Cause::Counted, String::new(), SIGNAL_LINGER);
        }
    }

    /// What was kept before this member joined.
    pub(super) fn on_kept(&mut self, place: &Place, stored: Stored) {
        self.name_all(place, &stored.clock);
        let named = |id| self.rooms.get(place)?.sender.name_of(id);
        let from = Member {
            id: stored.dot.origin,
            name: named(stored.dot.origin).unwrap_or_else(|| "".into()),
        };
        self.inside(place, Inside::Said(kept::said(stored, from)));
    }

    /// What was delivered in an earlier life, and not shown for certain: it is told again, before all else. Who came and
    /// went then is of no use now.
    fn on_replayed(&mut self, place: &Place, event: Event) {
        match event {
            Event::Delivered(delivery) => {
                self.name_all(place, delivery.clock());
                self.inside(place, said(delivery));
            }
            Event::Joined { member, .. } | Event::Left { member, .. } => {
                self.inside(place, Inside::Named(vec![member]))
            }
            _ => {}
        }
    }

    /// Tells the model the names of those whom it has never heard of, and whom the event mentions.
    fn introduce(&mut self, place: &Place, event: &Event) {
        let mentioned;
        let clock = match event {
            Event::Delivered(delivery) => delivery.clock(),
            Event::Joined { stamp, .. } | Event::Left { stamp, .. } | Event::Control { stamp, .. } => &stamp.clock,
            Event::Called(request) => &request.stamp.clock,
            Event::Held { dot, needs, .. } => {
                mentioned = [*dot, *needs].map(|dot| (dot.origin, dot.seq)).into_iter().collect();
                &mentioned
            }
            _ => return,
        };
        self.name_all(place, clock);
    }

    fn name_all(&mut self, place: &Place, clock: &Clock) {
        let strangers = self.show.app().strangers(place, clock);
        let Some(room) = self.rooms.get(place).filter(|_| !strangers.is_empty()) else {
            return;
        };
        let named = |id| {
            Some(Member {
                id,
                name: room.sender.name_of(id)?,
            })
        };
        let members = strangers.into_iter().filter_map(named).collect();
        self.inside(place, Inside::Named(members));
    }
}

fn said(delivery: Delivery) -> Inside {
    if let Some(word) = Word::decode(&delivery.payload) {
        return Inside::Told(Told {
            stamp: delivery.stamp(),
            from: delivery.from,
            word,
        });
    }
    Inside::Said(Said {
        stamp: delivery.stamp(),
        held_ms: delivery.held_for.as_millis() as u64,
        post: Post::decode(&delivery.payload),
        from: delivery.from,
    })
}
