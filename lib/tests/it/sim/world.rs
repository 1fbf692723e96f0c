//! The world: processes, links, time, and whatever the script does to them.

mod disks;
mod engines;
mod faults;
mod links;
mod steps;
mod trace;

use multicast::Micros;
use multicast::engine::{Engine, Frame, Input};

use super::counts::Counts;
use super::disk::Disk;
use super::net::Net;
use super::queue::Queue;
use super::witness::{Asked, Witness};
use crate::judge::{Verdict, Violation, Who};
use crate::script::{MS, Plan, SECOND, Seat};

/// How long after the calm everything must have settled (S11, S17). A few rounds of everything that repeats:
/// heartbeats and digest exchanges every 2 s, pulls every 1.5 s, and 5 s for what is still under way.
const SETTLING_LIMIT: Micros = 30 * SECOND;
/// How often it is looked whether everything has settled.
const LOOK: Micros = 100 * MS;
/// Ticks at one moment before the engine is said to spin.
const SPIN_LIMIT: u32 = 100;
/// Inputs in one run before the engines are said to keep each other busy: some hundred times as many as usual.
const STEP_LIMIT: u64 = 500_000;

/// A run.
pub(crate) struct World<'a> {
    plan: &'a Plan,
    pub(crate) now: Micros,
    pub(crate) counts: Counts,
    /// What was counted at each `Act::Mark`.
    pub(crate) marks: Vec<Counts>,
    witness: Witness,
    net: Net,
    queue: Queue<Happening>,
    /// By `Who`; ordered by start.
    nodes: Vec<Node>,
    /// Who sits there now, or did last.
    seats: Vec<Option<Who>>,
    /// Members whose process ends once they have left.
    exiting: Vec<Who>,
    replies_left: u32,
    /// Steps and sends of the script that have not happened.
    pending: usize,
    calm: bool,
    spins: u32,
    trace: bool,
}

/// A process.
struct Node {
    seat: Seat,
    engine: Engine,
    phase: Phase,
    links: Vec<Link>,
    /// Seats whose address it knows from its command line or registry.
    seeds: Vec<bool>,
    /// Seats whose occupant has dialled it.
    callers: Vec<bool>,
    /// It answers the next message from these seats.
    answers: Vec<Seat>,
    wake: Micros,
    tickets: u64,
    /// How far its clock is ahead of the world's.
    ahead: i64,
    /// The latest time that its engine was given: for an engine time never goes back.
    latest: Micros,
    /// It stands still until then.
    stopped_until: Micros,
    /// Who sponsored it last.
    sponsor: Option<Who>,
    /// It dies in its next send after so many outputs.
    dies_after: Option<(usize, bool)>,
    /// What it keeps, if it has a store.
    disk: Option<Disk>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Running,
    Leaving,
    /// It no longer takes part; the process may linger.
    Left,
    /// The process is gone, without a word.
    Dead,
}

impl Phase {
    fn is_over(self) -> bool {
        matches!(self, Self::Left | Self::Dead)
    }
}

/// This process's own connection to a seat.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Link {
    Down,
    Dialling,
    Up(Who),
}

/// What comes out of the queue.
enum Happening {
    Step(usize),
    Say {
        who: Who,
        count: u32,
        bytes: usize,
    },
    Dial {
        who: Who,
        seat: Seat,
        tries: u32,
    },
    Broken {
        who: Who,
        seat: Seat,
        peer: Who,
    },
    Frame {
        from: Who,
        to: Who,
        number: u64,
        frame: Frame,
    },
    Calm,
    /// A process's disk has what was last written.
    Synced {
        who: Who,
    },
}

/// Where a run broke.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) at: Micros,
    pub(crate) violation: Violation,
}

impl<'a> World<'a> {
    /// Runs the plan until everything has settled; returns the world as it was then.
    pub(crate) fn run(plan: &'a Plan, trace: bool) -> Result<Self, Box<Failure>> {
        let mut world = Self::new(plan, trace);
        let verdict = world.play();
        world.counts.starts = world.nodes.len() as u64;
        match verdict {
            Ok(()) => Ok(world),
            Err(violation) => Err(Box::new(Failure {
                at: world.now,
                violation,
            })),
        }
    }

    fn new(plan: &'a Plan, trace: bool) -> Self {
        let mut world = Self {
            plan,
            now: 0,
            counts: Counts::default(),
            marks: Vec::new(),
            witness: Witness::new(plan),
            net: Net::new(plan),
            queue: Queue::new(),
            nodes: Vec::new(),
            seats: vec![None; plan.seats],
            exiting: Vec::new(),
            replies_left: plan.replies.most,
            pending: plan.steps.len(),
            calm: false,
            spins: 0,
            trace,
        };
        for (nth, step) in plan.steps.iter().enumerate() {
            world.queue.push(step.at, Happening::Step(nth));
        }
        world.queue.push(plan.calm_at, Happening::Calm);
        world
    }

    fn play(&mut self) -> Verdict {
        self.establish()?;
        let mut look_at = 0;
        let limit = self.plan.settled_by(SETTLING_LIMIT);
        loop {
            let (tick_at, ticker) = self.next_tick();
            let event_at = self.queue.next_at().unwrap_or(Micros::MAX);
            let next = tick_at.min(event_at);
            if next == Micros::MAX {
                // Everyone has left.
                return self.settled().and_then(|()| self.finish());
            }
            self.advance(next);
            if self.counts.steps > STEP_LIMIT {
                let what = format!("or another never rests: {STEP_LIMIT} inputs");
                return Err(Violation {
                    rule: "spin",
                    who: 0,
                    what,
                });
            }
            if self.calm && self.now >= look_at {
                look_at = self.now + LOOK;
                match self.settled() {
                    Ok(()) => return self.finish(),
                    Err(violation) if self.now > limit => return Err(violation),
                    Err(_) => {}
                }
            }
            if event_at <= tick_at {
                if let Some((_, happening)) = self.queue.pop() {
                    self.happen(happening)?;
                }
            } else {
                self.tick(ticker)?;
            }
        }
    }

    fn advance(&mut self, to: Micros) {
        if to > self.now {
            self.spins = 0;
            self.now = to;
        }
    }

    fn next_tick(&self) -> (Micros, Who) {
        let wakes = self.nodes.iter().enumerate();
        wakes
            .map(|(who, node)| (node.wake, who))
            .min()
            .unwrap_or((Micros::MAX, 0))
    }

    fn tick(&mut self, who: Who) -> Verdict {
        self.spins += 1;
        if self.spins > SPIN_LIMIT {
            let what = format!("wants a tick again and again at {} us", self.now);
            return Err(Violation {
                rule: "spin",
                who,
                what,
            });
        }
        self.feed(who, Input::Tick)
    }

    fn happen(&mut self, happening: Happening) -> Verdict {
        if let Some(until) = self.waits_for(&happening) {
            self.queue.push(until, happening);
            return Ok(());
        }
        match happening {
            Happening::Step(nth) => self.step(nth),
            Happening::Say { who, count, bytes } => self.say(who, count, bytes),
            Happening::Dial { who, seat, tries } => self.dialled(who, seat, tries),
            Happening::Broken { who, seat, peer } => self.broken(who, seat, peer),
            Happening::Frame {
                from,
                to,
                number,
                frame,
            } => self.arrive(from, to, number, frame),
            Happening::Synced { who } => self.synced(who),
            Happening::Calm => {
                self.calm_down();
                Ok(())
            }
        }
    }

    fn arrive(&mut self, from: Who, to: Who, number: u64, frame: Frame) -> Verdict {
        let overtaken = self.net.arrives(self.nodes[from].seat, self.nodes[to].seat, number);
        self.counts.reordered += u64::from(overtaken);
        if self.nodes[to].phase.is_over() {
            self.counts.to_nobody += 1;
            return Ok(());
        }
        self.trace_frame(from, to, &frame);
        if let Frame::Sponsor(_) = frame {
            self.nodes[to].sponsor = Some(from);
        }
        let at = self.clock_of(to).max(self.nodes[to].latest);
        self.witness.hears(to, from, at);
        let from = self.witness.id(from);
        self.feed(to, Input::Frame { from, frame })
    }

    /// Whether the script is done and everyone agrees about everything.
    fn settled(&self) -> Verdict {
        let unsettled = |who, what: &str| {
            let what = format!("{what}, {} ms after the calm", (self.now - self.plan.calm_at) / MS);
            Err(Violation { rule: "S17", who, what })
        };
        for (who, node) in self.nodes.iter().enumerate() {
            match node.phase {
                Phase::Leaving => return unsettled(who, "is still leaving"),
                Phase::Running if !node.engine.is_member() => return unsettled(who, "is still joining"),
                Phase::Running | Phase::Left | Phase::Dead => {}
            }
        }
        if self.pending > 0 {
            return unsettled(0, "or another could not yet do what the script wants");
        }
        match asked(&self.nodes).as_slice() {
            [] => Ok(()),
            stayed => self.witness.settled(stayed),
        }
    }

    fn finish(&mut self) -> Verdict {
        self.counts.settling_us = self.now - self.plan.calm_at;
        self.counts.longest_settling = self.counts.settling_us;
        for who in 0..self.nodes.len() {
            if !self.nodes[who].phase.is_over() {
                self.witness.rests(who, &self.nodes[who].engine)?;
                self.inspect(who)?;
            }
        }
        self.witness.canonical()
    }
}

/// Those who take part, with their numbers.
fn asked(nodes: &[Node]) -> Vec<Asked<'_>> {
    let nodes = nodes.iter().enumerate().filter(|entry| !entry.1.phase.is_over());
    nodes.map(|(who, node)| (who, &node.engine)).collect()
}
