//! Carrying out the script.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::{BufMut, Bytes, BytesMut};
use multicast::engine::{Engine, Input};
use multicast::{GroupId, Intro, Kind, MemberId, Message, Micros, Signer};

use super::{Happening, Link, Node, Phase, World};
use crate::judge::{Verdict, Who};
use crate::script::{Act, Disks, MS, Seat, Step};
use crate::sim::disk::Disk;
use crate::sim::rng::{Rng, mix};

/// How often a step is tried again that must wait for a member or for the window.
const TRY_AGAIN: Micros = 50 * MS;

impl World<'_> {
    /// Puts the first members into their seats, and links them.
    pub(super) fn establish(&mut self) -> Verdict {
        let members: Vec<MemberId> = (0..self.plan.established).map(|who| self.witness.id(who)).collect();
        for who in 0..self.plan.established {
            let seed = mix(self.plan.seed ^ who as u64);
            let engine = Engine::established(self.plan.config(), members[who], &members, seed, 0);
            let (engine, disk) = match self.plan.disks {
                Disks::None => (engine, None),
                _ => (engine.with_store(), Some(Disk::default())),
            };
            let engine = self.signing(engine);
            self.seat(who, engine, &[], disk);
        }
        for who in 0..self.plan.established {
            for seat in 0..self.plan.established {
                self.dial(who, seat, 0);
            }
        }
        Ok(())
    }

    pub(super) fn step(&mut self, nth: usize) -> Verdict {
        let retry = self.now + TRY_AGAIN;
        match &self.plan.steps[nth].act {
            Act::Start { seat, seeds } => self.start(*seat, seeds),
            Act::Crash { seat, half_open } => {
                if let Some(who) = self.running_at(*seat) {
                    self.crash(who, *half_open);
                }
            }
            Act::CrashInSend {
                seat,
                outputs,
                half_open,
            } => {
                if let Some(who) = self.running_at(*seat).filter(|_| !self.calm) {
                    self.nodes[who].dies_after = Some((*outputs, *half_open));
                }
            }
            Act::Split { parts, breaks } => self.split(parts, *breaks),
            Act::Heal => self.net.mend_all(),
            Act::Stop { seat, pause } => self.stop(*seat, *pause),
            Act::Jump { seat, by } => self.jump(*seat, *by),
            Act::Say { seat, count, bytes } => {
                let Some(who) = self.member_at(*seat) else {
                    // It has not started yet, is still joining, or has left and will never say it.
                    if self.may_become_member(*seat) {
                        self.queue.push(retry, Happening::Step(nth));
                        return Ok(());
                    }
                    self.pending -= 1;
                    return Ok(());
                };
                return self.say(who, *count, *bytes);
            }
            Act::Leave { seat, exits } => match self.member_at(*seat) {
                Some(who) => {
                    self.exiting.extend(exits.then_some(who));
                    self.nodes[who].phase = Phase::Leaving;
                    self.note(who, || "leaves".to_owned());
                    let (reason, sent_at) = ("bye".to_owned(), self.now);
                    self.feed(who, Input::Leave { reason, sent_at })?;
                }
                None if self.may_become_member(*seat) => {
                    self.queue.push(retry, Happening::Step(nth));
                    return Ok(());
                }
                None => {}
            },
            Act::Answer { seat, from } => {
                if let Some(who) = self.seats[*seat] {
                    self.nodes[who].answers.push(*from);
                }
            }
            Act::Pace { from, to, delay } => self.net.pace(*from, *to, *delay),
            Act::Cut { from, to } => self.net.cut(*from, *to, true),
            Act::Mend { from, to } => self.net.cut(*from, *to, false),
            Act::Reset { from, to } => self.reset(*from, *to)?,
            Act::Lose { from, to, what, count } => self.net.lose(*from, *to, *what, *count),
            Act::Mark => self.marks.push(self.counts),
        }
        self.pending -= 1;
        Ok(())
    }

    fn start(&mut self, seat: Seat, seeds: &[Seat]) {
        let who = self.nodes.len();
        if let Some(before) = self.seats[seat] {
            self.counts.restarted += 1;
            match self.nodes[before].phase {
                Phase::Left => self.hang_up(before, false),
                _ => self.crash(before, false),
            }
        }
        self.counts.starts_apart += u64::from(self.net.is_cut());
        let intro = Intro {
            node: self.witness.node(who),
            name: format!("m{who}"),
            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 1024 + seat as u16)),
        };
        let seed = mix(self.plan.seed ^ who as u64);
        let (engine, disk) = self.birth(who, seat, intro, seed);
        let engine = self.signing(engine);
        self.seat(seat, engine, seeds, disk);
        self.note(who, || format!("starts in seat {seat}, knows {seeds:?}"));
        for seed in seeds {
            self.dial(who, *seed, 0);
        }
    }

    /// The same engine, with a key where the plan wants one.
    fn signing(&self, engine: Engine) -> Engine {
        let signer = self
            .plan
            .signed
            .then(|| Signer::toy(engine.me(), GroupId::named("simulated")));
        match signer {
            Some(signer) => engine.with_signer(signer),
            None => engine,
        }
    }

    fn seat(&mut self, seat: Seat, engine: Engine, seeds: &[Seat], disk: Option<Disk>) {
        let who = self.nodes.len();
        self.witness.hears(who, who, self.now);
        if disk.is_some() {
            self.witness.synced(who, 0);
        }
        self.seats[seat] = Some(who);
        self.nodes.push(Node {
            seat,
            wake: engine.deadline().map_or(Micros::MAX, |at| at.max(self.now)),
            engine,
            phase: Phase::Running,
            links: vec![Link::Down; self.plan.seats],
            ahead: 0,
            latest: self.now,
            stopped_until: 0,
            sponsor: None,
            dies_after: None,
            seeds: (0..self.plan.seats).map(|other| seeds.contains(&other)).collect(),
            callers: vec![false; self.plan.seats],
            answers: Vec::new(),
            tickets: 0,
            disk,
        });
    }

    /// Says as much of a burst as the window takes, and the rest later.
    pub(super) fn say(&mut self, who: Who, count: u32, bytes: usize) -> Verdict {
        // In every other run in one turn, so that messages share a clock and travel as one.
        let together = count > 1 && (self.plan.seed / 16).is_multiple_of(2);
        if together && self.nodes[who].phase == Phase::Running && self.nodes[who].dies_after.is_none() {
            return self.say_together(who, count, bytes);
        }
        for said in 0..count {
            if self.nodes[who].phase != Phase::Running {
                break;
            }
            let node = &mut self.nodes[who];
            node.tickets += 1;
            let ticket = node.tickets;
            let payload = payload(self.plan.seed, who, ticket, bytes);
            let input = Input::Send {
                ticket,
                kind: Kind::App,
                payload: payload.clone(),
                sent_at: self.wall_clock(ticket),
            };
            if !self.feed_send(who, input, Some(&payload))? {
                self.counts.windows_full += 1;
                let count = count - said;
                self.queue
                    .push(self.now + TRY_AGAIN, Happening::Say { who, count, bytes });
                return Ok(());
            }
        }
        self.pending -= 1;
        Ok(())
    }

    fn say_together(&mut self, who: Who, count: u32, bytes: usize) -> Verdict {
        let send = |_| {
            let node = &mut self.nodes[who];
            node.tickets += 1;
            let ticket = node.tickets;
            (
                ticket,
                payload(self.plan.seed, who, ticket, bytes),
                self.wall_clock(ticket),
            )
        };
        let sends = (0..count).map(send).collect();
        let count = count - self.feed_burst(who, sends)?;
        if count > 0 && !self.nodes[who].phase.is_over() {
            self.counts.windows_full += 1;
            let again = Happening::Say { who, count, bytes };
            self.queue.push(self.now + TRY_AGAIN, again);
            return Ok(());
        }
        self.pending -= 1;
        Ok(())
    }

    /// Nothing may hang on wall clocks: in some runs they say anything.
    fn wall_clock(&self, ticket: u64) -> u64 {
        match self.plan.seed % 8 {
            0 => mix(self.plan.seed ^ ticket),
            _ => self.now,
        }
    }

    /// A member has delivered a message: perhaps it answers.
    pub(super) fn heard(&mut self, who: Who, message: &Message) {
        let Some(origin) = self.witness.who(message.dot.origin) else {
            return;
        };
        match message.kind {
            Kind::Join if origin == who => {
                self.counts.joins += 1;
                self.counts.founders += u64::from(self.nodes[who].engine.cut().is_empty());
            }
            _ => {}
        }
        if origin == who || message.kind != Kind::App || self.nodes[who].phase != Phase::Running {
            return;
        }
        let seat = self.nodes[origin].seat;
        let answers = &mut self.nodes[who].answers;
        if let Some(at) = answers.iter().position(|from| *from == seat) {
            answers.remove(at);
            return self.reply(who, 0);
        }
        let mut dice = Rng::of(self.plan.seed, &[0xa, who as u64, origin as u64, message.dot.seq]);
        if self.replies_left > 0 && dice.percent(self.plan.replies.percent) {
            self.replies_left -= 1;
            self.counts.replies += 1;
            let pause = if dice.percent(30) { 0 } else { dice.below(200 * MS) };
            self.reply(who, pause);
        }
    }

    fn reply(&mut self, who: Who, pause: Micros) {
        self.pending += 1;
        let (count, bytes) = (1, 8);
        self.queue.push(self.now + pause, Happening::Say { who, count, bytes });
    }

    fn member_at(&self, seat: Seat) -> Option<Who> {
        self.seats[seat].filter(|who| {
            let node = &self.nodes[*who];
            node.phase == Phase::Running && node.engine.is_member() && node.stopped_until <= self.now
        })
    }

    fn may_become_member(&self, seat: Seat) -> bool {
        let is_started = |step: &Step| matches!(step.act, Act::Start { seat: other, .. } if other == seat);
        let later = |step: &Step| step.at >= self.now && is_started(step);
        self.seats[seat].is_some_and(|who| self.nodes[who].phase == Phase::Running) || self.plan.steps.iter().any(later)
    }
}

/// Bytes that nobody else ever says.
fn payload(seed: u64, who: Who, ticket: u64, bytes: usize) -> Bytes {
    let mut out = BytesMut::with_capacity(bytes.max(8));
    out.put_u64(mix(mix(seed ^ who as u64) ^ ticket));
    out.resize(bytes.max(8), b'.');
    out.freeze()
}
