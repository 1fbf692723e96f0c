//! A group as the model checker sees it: engines at rest, frames on their way, faults left to spend.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use multicast::engine::{Config, Frame};
use stateright::{Model, Property};

use super::fate::{Fate, Scope};
use super::lab::{Flight, Heard, Lab, Rest, Seat, Step, Stimulus};
use super::{heal, oracle};

/// One state of the whole group.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) seats: Vec<Arc<Rest>>,
    /// A multiset: sorted by id, so that how it came about makes no difference.
    pub(crate) flights: Vec<Arc<Flight>>,
    /// Who is dead.
    pub(crate) dead: Option<Seat>,
    /// Chosen at the start, so that it is one member's own affair how it is spent.
    pub(crate) fate: Fate,
    /// In a reduced scope: who is about to send, and which arrival it had last.
    turn: Option<(Seat, Rank)>,
    /// Who will be told that its link to the dead member is gone.
    pub(crate) to_tell: u8,
    /// Something that may not happen did.
    pub(crate) complaint: Option<String>,
}

/// The order in which frames arrive where nobody looks: origin, last seq, and what repairs comes last.
type Rank = (Seat, u64, bool);

/// One thing that may happen next. Frames are named by their place among those on their way. `lost` has a bit for
/// each frame that is said at this moment and gets lost.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Event {
    Send {
        seat: Seat,
        lost: u8,
    },
    Deliver {
        nth: usize,
        lost: u8,
    },
    /// It arrives, and a copy of it is still on its way.
    DeliverCopy(usize),
    /// The process is gone. Are the others told that their links are?
    Crash {
        told: bool,
    },
    LinkDown(Seat),
    Pull(Seat),
}

/// Who is dead, and what a member has delivered, in order.
pub(crate) type History = (Option<Seat>, Vec<Heard>);

/// The model: real engines in a `Lab`, and a `Scope`.
pub(crate) struct Group {
    pub(crate) lab: Lab,
    pub(crate) healed: heal::Known,
    scope: Scope,
    config: Config,
}

impl Group {
    pub(crate) fn new(scope: Scope, config: Config) -> Self {
        let most = scope.messages.iter().max();
        assert!(
            scope.watched.is_none() || (most <= Some(&2) && scope.faults.pulls == 0 && scope.faults.twice == 0),
            "see `super`"
        );
        Self {
            lab: Lab::new(scope.messages.len()),
            healed: heal::Known::default(),
            scope,
            config,
        }
    }

    /// What becomes of a world.
    pub(crate) fn after(&self, world: &World, event: Event) -> World {
        let mut next = world.clone();
        match event {
            Event::Send { seat, lost } => {
                next.turn = None;
                self.apply(&mut next, seat, Stimulus::Send, lost);
            }
            Event::Deliver { nth, lost } => {
                let flight = next.flights.remove(nth);
                if self.scope.watched.is_some() && !is_restart(&flight) && !is_finished(&next, flight.to) {
                    next.turn = Some((flight.to, rank(&flight)));
                }
                self.apply(&mut next, flight.to, Stimulus::Frame(flight.id), lost);
            }
            Event::DeliverCopy(nth) => {
                let flight = next.flights[nth].clone();
                next.fate.faults[flight.to].twice -= 1;
                self.apply(&mut next, flight.to, Stimulus::Frame(flight.id), 0);
            }
            Event::Crash { told } => {
                next.dead = next.fate.doomed;
                next.flights.retain(|flight| !is_to_dead(next.dead, flight));
                let seats = 0..next.seats.len();
                next.to_tell = seats.fold(0, |all, seat| all | u8::from(told && Some(seat) != next.dead) << seat);
            }
            Event::LinkDown(seat) => {
                next.to_tell &= !(1 << seat);
                let dead = next.dead.expect("only then");
                self.apply(&mut next, seat, Stimulus::LinkDown(dead), 0);
            }
            Event::Pull(seat) => {
                next.fate.faults[seat].pulls -= 1;
                self.apply(&mut next, seat, Stimulus::Impatience, 0);
            }
        }
        next
    }

    /// Runs one step of one engine. Acknowledgements arrive at once, or not at all: see `super`.
    fn apply(&self, world: &mut World, seat: Seat, stimulus: Stimulus, lost: u8) {
        let step = self.lab.step(&world.seats[seat], stimulus);
        world.seats[seat] = step.rest.clone();
        note(world, &step);
        for (nth, flight) in step.flights.iter().enumerate() {
            if lost & 1 << nth > 0 {
                let spent = !is_free(world, flight);
                world.fate.faults[seat].drops -= u8::from(spent);
            } else if is_to_dead(world.dead, flight) {
                // Nobody is there to hear it.
            } else if is_acknowledgement(flight) {
                self.acknowledge(world, flight);
            } else {
                let at = world.flights.partition_point(|other| other.id < flight.id);
                world.flights.insert(at, flight.clone());
            }
        }
    }

    /// What may get lost of what a member says at a step.
    fn losses(&self, world: &World, seat: Seat, stimulus: Stimulus) -> Vec<u8> {
        let step = self.lab.step(&world.seats[seat], stimulus);
        let mut losses = vec![0];
        let heard = |flight: &Flight| !is_to_dead(world.dead, flight);
        let flights = || step.flights.iter().enumerate().filter(|(_, flight)| heard(flight));
        for (nth, _) in flights().filter(|(_, flight)| is_free(world, flight)) {
            let with: Vec<u8> = losses.iter().map(|lost| lost | 1 << nth).collect();
            losses.extend(with);
        }
        if world.fate.faults[seat].drops > 0 {
            let free = losses.clone();
            for (nth, _) in flights().filter(|(_, flight)| !is_free(world, flight)) {
                losses.extend(free.iter().map(|lost| lost | 1 << nth));
            }
        }
        losses
    }

    fn acknowledge(&self, world: &mut World, ack: &Flight) {
        let step = self.lab.step(&world.seats[ack.to], Stimulus::Frame(ack.id));
        let again = self.lab.step(&step.rest, Stimulus::Frame(ack.id));
        if !step.flights.is_empty() || again.rest.id != step.rest.id {
            world.complaint = Some("an acknowledgement makes a difference to others, or twice".into());
        }
        note(world, &step);
        world.seats[ack.to] = step.rest.clone();
    }

    /// What may happen at one member.
    fn events_at(&self, world: &World, seat: Seat, events: &mut Vec<Event>) {
        if world.dead != Some(seat) {
            if !is_finished(world, seat) {
                let losses = self.losses(world, seat, Stimulus::Send).into_iter();
                events.extend(losses.map(|lost| Event::Send { seat, lost }));
            }
            if world.fate.doomed == Some(seat) && self.scope.watched.is_none() {
                events.extend([false, true].map(|told| Event::Crash { told }));
            }
            if world.to_tell & 1 << seat > 0 {
                events.push(Event::LinkDown(seat));
            }
            if world.fate.faults[seat].pulls > 0 && self.lab.is_impatient(&world.seats[seat]) {
                events.push(Event::Pull(seat));
            }
        }
        for nth in (0..world.flights.len()).filter(|nth| world.flights[*nth].to == seat) {
            self.events_of(world, nth, events);
        }
    }

    /// How one frame may arrive.
    fn events_of(&self, world: &World, nth: usize, events: &mut Vec<Event>) {
        let flight = &world.flights[nth];
        // Of two equal frames it does not matter which one arrives.
        if nth > 0 && world.flights[nth - 1].id == flight.id {
            return;
        }
        let losses = self.losses(world, flight.to, Stimulus::Frame(flight.id)).into_iter();
        events.extend(losses.map(|lost| Event::Deliver { nth, lost }));
        if world.fate.faults[flight.to].twice > 0 {
            events.push(Event::DeliverCopy(nth));
        }
    }

    /// Enough of what may happen: see `super`.
    fn reduced(&self, world: &World, watched: Seat, events: &mut Vec<Event>) {
        if let Some(nth) = world.flights.iter().position(|flight| is_restart(flight)) {
            let restart = &world.flights[nth];
            assert!(
                is_finished(world, restart.to),
                "whoever is asked again has said everything"
            );
            return self.events_of(world, nth, events);
        }
        if world.dead.is_none() && world.fate.doomed.is_some_and(|doomed| is_finished(world, doomed)) {
            return events.push(Event::Crash { told: false });
        }
        match world.turn {
            Some((seat, last)) if seat != watched => {
                self.events_at(world, seat, events);
                events.retain(|event| match event {
                    Event::Deliver { nth, .. } => rank(&world.flights[*nth]) > last,
                    _ => true,
                });
            }
            Some((seat, _)) => self.events_at(world, seat, events),
            None => {
                for seat in (0..world.seats.len()).filter(|seat| !is_finished(world, *seat)) {
                    self.events_at(world, seat, events);
                }
            }
        }
        if !events.is_empty() {
            return;
        }
        let others = world
            .flights
            .iter()
            .enumerate()
            .filter(|(_, flight)| flight.to != watched);
        match others.min_by_key(|(_, flight)| (flight.to, rank(flight))) {
            Some((nth, _)) => events.push(Event::Deliver { nth, lost: 0 }),
            None => self.events_at(world, watched, events),
        }
    }

    /// How many different ends were healed from.
    pub(crate) fn endings(&self) -> usize {
        self.healed.read().expect("no panic").len()
    }

    /// What members that live in the end have delivered, each for itself, with who is dead.
    pub(crate) fn histories(&self) -> BTreeSet<History> {
        let healed = self.healed.read().expect("no panic");
        let of = |key: &(Vec<u64>, Option<Seat>)| {
            let (engines, dead) = key.clone();
            engines.into_iter().map(move |id| (dead, self.lab.log(id)))
        };
        healed.keys().flat_map(of).collect()
    }
}

fn rank(flight: &Flight) -> Rank {
    match &flight.frame {
        Frame::Push(run) => (flight.from, run.last(), run.len() > 1),
        _ => (flight.from, 0, false),
    }
}

fn is_restart(flight: &Flight) -> bool {
    matches!(&flight.frame, Frame::PushAck(ack) if ack.restart)
}

fn is_acknowledgement(flight: &Flight) -> bool {
    matches!(&flight.frame, Frame::PushAck(ack) if !ack.restart)
}

/// What is for the dead vanishes, but for a restart: the dead may have answered it before.
fn is_to_dead(dead: Option<Seat>, flight: &Flight) -> bool {
    dead == Some(flight.to) && !is_restart(flight)
}

/// It may get lost for nothing: its sender crashes, or whoever would answer it.
fn is_free(world: &World, flight: &Flight) -> bool {
    let doomed = |seat| world.fate.doomed == Some(seat);
    (doomed(flight.from) && !is_acknowledgement(flight)) || (doomed(flight.to) && is_restart(flight))
}

/// It will say nothing new.
fn is_finished(world: &World, seat: Seat) -> bool {
    sent(world, seat) == world.fate.messages[seat]
}

fn note(world: &mut World, step: &Step) {
    if world.complaint.is_none() {
        world.complaint = step.complaint.clone();
    }
}

impl Model for Group {
    type State = World;
    type Action = Event;

    fn init_states(&self) -> Vec<World> {
        let seats = self.lab.greeted(&self.config);
        let world = |fate| World {
            seats: seats.clone(),
            flights: Vec::new(),
            dead: None,
            fate,
            turn: None,
            to_tell: 0,
            complaint: None,
        };
        self.scope.fates().into_iter().map(world).collect()
    }

    fn actions(&self, world: &World, events: &mut Vec<Event>) {
        if let Some(watched) = self.scope.watched {
            return self.reduced(world, watched, events);
        }
        for seat in 0..world.seats.len() {
            self.events_at(world, seat, events);
        }
    }

    fn next_state(&self, world: &World, event: Event) -> Option<World> {
        Some(self.after(world, event))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("P1 causal", |_, world: &World| oracle::is_causal(&world.seats)),
            Property::always("P2 no duplicates, no inventions", |_, world: &World| {
                oracle::is_exact(&world.seats)
            }),
            Property::always("S13 nothing deliverable is held", |_, world: &World| {
                world.seats.iter().all(|rest| rest.flaw.is_none())
            }),
            Property::always("nothing odd, given up or refused", |_, world: &World| {
                world.complaint.is_none()
            }),
            Property::always("heals", |group: &Self, world: &World| {
                // Where the doomed one does not crash after all is for scopes without a crash.
                world.dead != world.fate.doomed || heal::heals(group, world).is_ok()
            }),
        ]
    }
}

/// How many messages a member has sent: it delivers its own at once.
pub(crate) fn sent(world: &World, seat: Seat) -> u64 {
    world.seats[seat]
        .log
        .iter()
        .filter(|heard| heard.origin == seat)
        .count() as u64
}

impl Hash for World {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.seats.iter().for_each(|rest| state.write_u64(rest.id));
        state.write_usize(self.flights.len());
        self.flights.iter().for_each(|flight| state.write_u64(flight.id));
        (self.dead, self.fate, self.turn, self.to_tell).hash(state);
        self.complaint.is_some().hash(state);
    }
}

impl PartialEq for World {
    fn eq(&self, other: &Self) -> bool {
        let seats = |world: &Self| -> Vec<u64> { world.seats.iter().map(|rest| rest.id).collect() };
        let flights = |world: &Self| -> Vec<u64> { world.flights.iter().map(|flight| flight.id).collect() };
        (seats(self), flights(self)) == (seats(other), flights(other))
            && (self.dead, self.fate, self.turn, self.to_tell) == (other.dead, other.fate, other.turn, other.to_tell)
            && self.complaint == other.complaint
    }
}
