//! The chat's model, pure: one input and the time go in, everything that follows comes out.
//!
//! Line mode, JSON mode and the screens to come differ only in how they draw the lines that come out.

mod asked;
pub mod chaos;
pub mod charter;
pub mod clean;
pub mod command;
mod heard;
mod io;
pub mod line;
pub mod outbox;
pub mod people;
pub mod place;
pub mod question;
pub mod room;
pub mod text;
mod told;

use std::collections::{BTreeMap, BTreeSet};

use multicast::{Clock, Member, MemberId};

pub use io::{Input, Inside, Output, Said, Setup, Told};
use line::{At, Body, Bye, Hello, Line, Notice, Person, Ref, Status};
use people::People;
use place::Place;
use question::{Answer, Context};
use room::Room;

/// Most peers that are ignored at once: more than anybody would name one by one.
pub const IGNORED_MAX: usize = 256;

/// One instance's chat in all its rooms.
#[derive(Clone, Debug)]
pub struct App {
    setup: Setup,
    rooms: BTreeMap<Place, Room>,
    /// Where a person's text goes.
    current: Option<Place>,
    stamp: text::Stamp,
    /// What this instance is called now, if that is not its name.
    nick: Option<String>,
    /// Whose words are not shown.
    ignored: BTreeSet<MemberId>,
    leaving: bool,
    linger_s: u64,
}

impl App {
    /// An instance that has joined nothing yet. `linger_s` is only told, never measured.
    pub fn new(setup: Setup, linger_s: u64) -> Self {
        Self {
            rooms: BTreeMap::new(),
            current: None,
            stamp: setup.stamp,
            setup,
            nick: None,
            ignored: BTreeSet::new(),
            leaving: false,
            linger_s,
        }
    }

    /// Takes one input; returns everything that follows, in order.
    pub fn update(&mut self, input: Input, at: At) -> Vec<Output> {
        let mut out = Outputs { at, list: Vec::new() };
        match input {
            Input::Started => out.tell(Body::Hello(self.hello())),
            Input::In(place, inside) => self.on_inside(place, inside, &mut out),
            Input::TextLine(line) => self.on_text(&line, &mut out),
            Input::JsonLine(line) => self.on_json(&line, &mut out),
            Input::BadLine(error) | Input::NotDone(error) => out.tell(Body::Error(error)),
            Input::Answered {
                place,
                answer,
                reference,
            } => self.on_answered(place, answer, reference, &mut out),
            Input::Coordinated(txn) => out.tell(Body::Txn(txn)),
            Input::Renamed(names) => self.rename(&names),
            Input::Leaving => self.leaving = true,
            Input::StillLeaving => self.on_still_leaving(&mut out),
            Input::Noticed(text) => out.tell(Body::Notice(Notice { text })),
            Input::Ended { reason, unconfirmed } => self.on_ended(reason, &unconfirmed, &mut out),
        }
        out.list
    }

    /// The line as people read it, if they have a use for it. To be asked right after the `update` that told it.
    pub fn text(&self, line: &Line, color: bool) -> Option<String> {
        self.text_as(
            line,
            text::Style {
                stamp: self.stamp,
                color,
            },
        )
    }

    /// The same in a style of one's own.
    pub fn text_as(&self, line: &Line, style: text::Style) -> Option<String> {
        let room = line.body.place().and_then(|place| self.rooms.get(&place));
        let nobody;
        let people = match room {
            Some(room) => &room.people,
            None => {
                nobody = People::new(self.setup.me.clone());
                &nobody
            }
        };
        text::render(line, people, style)
    }

    /// Origins that a clock mentions and whose names were never told; to be told with `Named` before the clock.
    pub fn strangers(&self, place: &Place, clock: &Clock) -> Vec<MemberId> {
        let room = self.rooms.get(place);
        room.map(|room| room.people.strangers(clock)).unwrap_or_default()
    }

    /// Whether some message of this member is not confirmed by everyone who counts.
    pub fn is_waiting_for_confirmation(&self) -> bool {
        self.rooms.values().any(|room| !room.outbox.is_empty())
    }

    /// The names of the rooms that this instance is in, for those who are to find it.
    pub fn room_names(&self) -> Vec<String> {
        let name = |place: &Place| match place {
            Place::Room(name) => name.clone(),
        };
        self.rooms.keys().map(name).collect()
    }

    /// Who this instance is, and where.
    pub fn hello(&self) -> Hello {
        let mut rooms = self.room_names();
        if rooms.is_empty() {
            rooms.push(self.setup.room.clone());
        }
        Hello {
            v: line::VERSION,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            own: self.own(),
            addr: self.setup.addr.clone(),
            registry: self.setup.registry.clone(),
            rooms,
        }
    }

    fn own(&self) -> Person {
        let own = People::new(self.setup.me.clone()).person(self.setup.me.id);
        let nick = self.nick.clone().unwrap_or(own.nick);
        Person { nick, ..own }
    }

    fn on_inside(&mut self, place: Place, inside: Inside, out: &mut Outputs) {
        if let Inside::Opened { me, present, reference } = inside {
            let mut room = Room::new(place.clone(), me, reference);
            room.people.by_id = self.setup.by_id;
            room.nick = self.nick.clone().filter(|_| room.is_open());
            room.on_present(present, out);
            self.rooms.insert(place.clone(), room);
            self.current = Some(place);
            return;
        }
        let watched = self.current.as_ref() == Some(&place);
        let Some(room) = self.rooms.get_mut(&place) else { return };
        match inside {
            Inside::Said(said) if self.ignored.contains(&said.from.id) => room.on_ignored(said, out),
            Inside::Opened { .. } => unreachable!("handled above"),
            Inside::Made => room.made = true,
            Inside::Named(members) => members.iter().for_each(|member| room.people.named(member)),
            Inside::CreatedWith { topic, by } => room.on_created_with(topic, &by),
            Inside::Said(said) => room.on_said(said, watched, out),
            Inside::Told(told) => room.on_told(told, out),
            Inside::Heard(event) => room.on_heard(event, out),
            Inside::Sent { dot, reference } => room.outbox.sent(dot, reference, &room.people, out),
            Inside::Roster(roster) => room.outbox.roster(&roster, &room.people, out),
            Inside::Closed => {
                self.rooms.remove(&place);
                if watched {
                    self.look_at(self.rooms.keys().next().cloned());
                }
            }
        }
    }

    /// Rooms show under other names from now on.
    fn rename(&mut self, names: &BTreeMap<Place, Place>) {
        let new = |place: Place| names.get(&place).cloned().unwrap_or(place);
        let rooms = std::mem::take(&mut self.rooms).into_iter().map(|(place, mut room)| {
            let place = new(place);
            room.place = place.clone();
            (place, room)
        });
        self.rooms = rooms.collect();
        self.current = self.current.take().map(new);
    }

    /// People type into that room from now on.
    fn look_at(&mut self, place: Option<Place>) {
        if let Some(room) = place.as_ref().and_then(|place| self.rooms.get_mut(place)) {
            room.unread = 0;
        }
        self.current = place;
    }

    fn on_answered(&mut self, place: Option<Place>, answer: Answer, reference: Option<Ref>, out: &mut Outputs) {
        if let (Answer::History { names, .. }, Some(place)) = (&answer, &place)
            && let Some(room) = self.rooms.get_mut(place)
        {
            names.iter().for_each(|member| room.people.named(member));
        }
        let room = place.as_ref().and_then(|place| self.rooms.get(place));
        let body = match (answer, room) {
            (Answer::Peers(links), _) => Some(question::peers(&links, |member| self.id(member), reference)),
            (Answer::Rooms(others), _) => Some(self.rooms(others, reference)),
            (answer @ Answer::Status { .. }, room) => self.status(room, answer, reference),
            (answer, Some(room)) => {
                let (people, at, recent) = (&room.people, room.at(), &room.recent);
                Context { people, at, recent }.body(answer, reference)
            }
            // The room was left in the meantime, and so nobody can say what the answer means.
            (_, None) => None,
        };
        body.into_iter().for_each(|body| out.tell(body));
    }

    fn status(&self, room: Option<&Room>, answer: Answer, reference: Option<Ref>) -> Option<Body> {
        let Answer::Status {
            registries,
            gauges,
            members,
        } = answer
        else {
            return None;
        };
        Some(Body::Status(Status {
            reference,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            own: self.own(),
            addr: self.setup.addr.clone(),
            place: room.map(Room::at),
            registries,
            members: room.map_or(members, |room| room.people.count_present() as u64),
            delivered: gauges.delivered,
            held: gauges.held as u64,
            held_bytes: gauges.held_bytes as u64,
            logged: gauges.logged as u64,
            log_bytes: gauges.log_bytes as u64,
            lamport: gauges.lamport,
            unconfirmed: self.rooms.values().map(|room| room.outbox.len() as u64).sum(),
        }))
    }

    /// Someone's identity, whichever room knows it.
    fn id(&self, member: MemberId) -> String {
        let mut rooms = self.rooms.values();
        match rooms.find(|room| room.people.is_named(member)) {
            Some(room) => room.people.id(member),
            None => format!("?#{}", member.short()),
        }
    }

    fn on_still_leaving(&mut self, out: &mut Outputs) {
        let (mut messages, mut names) = (0, BTreeSet::new());
        for room in self.rooms.values() {
            let (unconfirmed, lacking) = room.outbox.unconfirmed_by_live();
            messages += unconfirmed;
            names.extend(lacking.iter().map(|id| room.people.shown(*id)));
        }
        let what = match messages {
            0 => "goodbye".to_owned(),
            n => text::count(n, "message"),
        };
        if names.is_empty() {
            return;
        }
        let text = format!(
            "{what} not confirmed by {}. Waiting {} s; /leave again to go now.",
            Vec::from_iter(names).join(", "),
            self.linger_s
        );
        out.tell(Body::Notice(Notice { text }));
    }

    fn on_ended(&mut self, reason: &'static str, unconfirmed: &[Member], out: &mut Outputs) {
        for room in self.rooms.values_mut() {
            room.outbox.ended(&room.people, out);
        }
        let ids: BTreeSet<_> = unconfirmed
            .iter()
            .map(|member| format!("{}#{}", member.name, member.id.short()))
            .collect();
        let unconfirmed = ids.into_iter().collect();
        out.tell(Body::Bye(Bye { reason, unconfirmed }));
    }
}

/// What follows from one input.
pub struct Outputs {
    at: At,
    list: Vec<Output>,
}

impl Outputs {
    fn tell(&mut self, body: Body) {
        self.list.push(Output::Tell(Box::new(Line { at: self.at, body })));
    }
}

#[cfg(test)]
mod tests;
