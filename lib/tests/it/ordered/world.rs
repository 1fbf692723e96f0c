//! Processes with an engine and a sequencer, links that lose and delay, and what happens to them by the seed.

mod mail;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use bytes::Bytes;
use multicast::engine::{Config, Engine, Frame, Input};
use multicast::ordered::{OrderConfig, OrderInput, OrderRules, Sequencer};
use multicast::{Intro, Kind, MemberId, Micros, NodeId};

use super::judge::Judge;
use crate::sim::Rng;

const MS: Micros = 1_000;
const SECOND: Micros = 1_000 * MS;
/// How long the script goes on.
const SCRIPT: Micros = 20 * SECOND;
/// How long after it everything must be shown: members that are gone must be closed first.
const SETTLING: Micros = 90 * SECOND;

#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Counts {
    pub(crate) shown: u64,
    pub(crate) unplaced: u64,
    pub(crate) crashes: u64,
    pub(crate) partitions: u64,
    pub(crate) authorities: u64,
    pub(crate) waits: u64,
    pub(crate) handed: u64,
    pub(crate) left: u64,
    pub(crate) came: u64,
    pub(crate) odd: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.shown += other.shown;
        self.unplaced += other.unplaced;
        self.crashes += other.crashes;
        self.partitions += other.partitions;
        self.authorities += other.authorities;
        self.waits += other.waits;
        self.handed += other.handed;
        self.left += other.left;
        self.came += other.came;
        self.odd += other.odd;
    }
}

pub(super) struct Process {
    pub(super) engine: Engine,
    pub(super) sequencer: Sequencer,
    pub(super) alive: bool,
    leaving: bool,
    side: u8,
    pub(super) waiting: bool,
    pub(super) linked: BTreeSet<usize>,
}

pub(crate) struct World {
    seed: u64,
    pub(super) rules: OrderRules,
    rng: Rng,
    pub(super) now: Micros,
    pub(super) processes: Vec<Process>,
    mail: BTreeMap<(Micros, u64), (usize, usize, Frame)>,
    mailed: u64,
    pub(super) judge: Judge,
    pub(super) counts: Counts,
    loss: u64,
    trace: bool,
    pub(super) has_liars: bool,
}

type Verdict = Result<(), String>;

impl World {
    pub(crate) fn new(seed: u64, rules: OrderRules) -> Self {
        let mut rng = Rng::new(seed);
        let loss = rng.pick(&[0, 0, 2, 10]);
        Self {
            seed,
            rules,
            rng,
            now: 0,
            processes: Vec::new(),
            mail: BTreeMap::new(),
            mailed: 0,
            judge: Judge::default(),
            counts: Counts::default(),
            loss,
            trace: false,
            has_liars: false,
        }
    }

    pub(crate) fn traced(mut self) -> Self {
        self.trace = true;
        self
    }

    pub(crate) fn run(mut self) -> Result<Counts, String> {
        self.found()?;
        for _ in 1..self.rng.between(3, 5) {
            self.come()?;
        }
        while self.now < SCRIPT {
            let pause = self.rng.between(20 * MS, 250 * MS);
            self.pass(pause)?;
            self.act()?;
        }
        self.loss = 0;
        self.heal()?;
        let until = self.now + SETTLING;
        while !self.is_settled() {
            if self.now > until {
                return Err(format!("not settled: {}", self.state()));
            }
            self.pass(200 * MS)?;
        }
        self.judge.causal()?;
        Ok(self.counts)
    }

    pub(super) fn found(&mut self) -> Verdict {
        self.start(true)?;
        self.pass(2 * SECOND)
    }

    pub(super) fn come(&mut self) -> Verdict {
        self.counts.came += 1;
        self.start(false)
    }

    fn id(nth: usize) -> MemberId {
        MemberId::from((nth as u128 + 1) << 96)
    }

    fn start(&mut self, creates: bool) -> Verdict {
        let nth = self.processes.len();
        let id = Self::id(nth);
        let intro = Intro {
            node: NodeId(id.0),
            name: format!("m{nth}"),
            addr: SocketAddr::from(([127, 0, 0, 1], 1024 + nth as u16)),
        };
        let config = Config {
            grace: 15 * SECOND,
            ..Config::default()
        };
        let order = OrderConfig {
            rules: self.rules,
            kept: 16,
            ..OrderConfig::default()
        };
        let seed = self.seed ^ (nth as u64) << 32;
        let side = if self.processes.is_empty() {
            0
        } else {
            self.processes[self.alive()[0]].side
        };
        self.processes.push(Process {
            engine: Engine::new(config, id, intro, seed, self.now),
            sequencer: Sequencer::new(order, id, creates, seed, self.now),
            alive: true,
            leaving: false,
            side,
            waiting: false,
            linked: BTreeSet::new(),
        });
        self.relink()
    }

    pub(super) fn alive(&self) -> Vec<usize> {
        (0..self.processes.len())
            .filter(|who| self.processes[*who].alive)
            .collect()
    }

    fn members(&self) -> Vec<usize> {
        let member = |who: &usize| self.processes[*who].engine.is_member() && !self.processes[*who].leaving;
        self.alive().into_iter().filter(member).collect()
    }

    /// Links stand between those who are alive and on one side.
    pub(super) fn relink(&mut self) -> Verdict {
        for one in 0..self.processes.len() {
            for other in 0..self.processes.len() {
                let (a, b) = (&self.processes[one], &self.processes[other]);
                let up = one != other && a.alive && b.alive && a.side == b.side;
                let peer = Self::id(other);
                if a.alive && up != a.linked.contains(&other) {
                    let gone = !b.alive;
                    if up {
                        self.processes[one].linked.insert(other);
                        self.feed(one, Input::LinkUp { peer })?;
                    } else {
                        self.processes[one].linked.remove(&other);
                        self.feed(one, Input::LinkDown { peer })?;
                    }
                    if gone {
                        self.feed(one, Input::Refused { peer })?;
                    }
                }
            }
        }
        Ok(())
    }

    pub(super) fn heal(&mut self) -> Verdict {
        self.processes.iter_mut().for_each(|process| process.side = 0);
        self.relink()
    }

    /// Those, and no others, are on a side of their own.
    pub(super) fn part(&mut self, apart: &[usize]) -> Verdict {
        self.counts.partitions += 1;
        for who in 0..self.processes.len() {
            self.processes[who].side = u8::from(apart.contains(&who));
        }
        self.relink()
    }

    /// Whether of everybody's voters a majority lives without that one.
    fn can_spare(&self, who: usize) -> bool {
        let lives = |id: &&MemberId| {
            let here = |other: &usize| Self::id(*other) == **id;
            self.members().iter().filter(|other| **other != who).any(here)
        };
        self.alive().iter().all(|other| {
            let voters = self.processes[*other].sequencer.voters();
            voters.len() >= 3 && voters.iter().filter(lives).count() > voters.len() / 2
        })
    }

    fn act(&mut self) -> Verdict {
        let members = self.members();
        if members.is_empty() {
            return Ok(());
        }
        let who = self.rng.pick(&members);
        match self.rng.below(100) {
            0..=2 if self.processes.len() < 7 => self.come(),
            3..=4 if self.can_spare(who) => self.crash(who),
            5 if self.can_spare(who) => self.leave(who),
            6..=8 => {
                let apart: Vec<usize> = self.alive().into_iter().filter(|_| self.rng.percent(40)).collect();
                self.part(&apart)
            }
            9..=13 => self.heal(),
            14..=15 => self.hand_over(who),
            _ => self.send(who),
        }
    }

    pub(super) fn crash(&mut self, who: usize) -> Verdict {
        self.counts.crashes += 1;
        self.processes[who].alive = false;
        self.note(who, "dies");
        self.relink()
    }

    pub(super) fn leave(&mut self, who: usize) -> Verdict {
        self.counts.left += 1;
        self.note(who, "leaves");
        self.processes[who].leaving = true;
        self.order(who, OrderInput::Leaving)?;
        self.pass(500 * MS)?;
        let reason = String::new();
        self.feed(who, Input::Leave { reason, sent_at: 0 })
    }

    fn hand_over(&mut self, to: usize) -> Verdict {
        let leads = |who: &usize| self.processes[*who].sequencer.is_authority();
        match self.alive().into_iter().find(leads) {
            Some(who) => self.order(who, OrderInput::HandOver(Self::id(to))),
            None => Ok(()),
        }
    }

    pub(super) fn send(&mut self, who: usize) -> Verdict {
        let payload = Bytes::from_static(b"word");
        let input = Input::Send {
            ticket: 0,
            kind: Kind::App,
            payload,
            sent_at: 0,
        };
        self.feed(who, input)
    }

    pub(super) fn is_settled(&self) -> bool {
        let alive = self.alive();
        let members = self.members();
        let Some(&first) = members.first() else { return true };
        let last = self.judge.last_of(Self::id(first));
        let all = self.judge.everything_of(Self::id(first));
        alive.len() == members.len()
            && members.iter().all(|who| {
                let id = Self::id(*who);
                self.judge.waits(id) == 0
                    && self.judge.last_of(id) == last
                    && self.processes[*who].sequencer.waiting() == 0
                    && self.judge.everything_of(id) == all
            })
    }

    pub(super) fn state(&self) -> String {
        let line = |who: &usize| {
            let sequencer = &self.processes[*who].sequencer;
            format!(
                "m{who}: member {}, leads {}, follows {:?}, at {}, waiting {}, voters {:?}; ",
                self.processes[*who].engine.is_member(),
                sequencer.is_authority(),
                sequencer.authority(),
                sequencer.position(),
                sequencer.waiting(),
                sequencer.voters()
            )
        };
        self.alive().iter().map(line).collect()
    }

    fn note(&self, who: usize, what: &str) {
        if self.trace {
            println!("{:>9} m{who} {what}", self.now);
        }
    }
}
