//! A small world with one liar in it, and what is asked of the others. It knows who said what, and never looks at a stamp.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use multicast::engine::{Config, Engine, Frame, Input, Notice, Output, Standing};
use multicast::{Dot, GroupId, Kind, MemberId, Micros, Run, Signer};

use super::liar::{Liar, Lie, label, other};
use crate::script::{MS, SECOND};
use crate::sim::Rng;

/// From then on nothing is lost, and everything must settle by the end.
const CALM: Micros = 4 * SECOND;
const END: Micros = 60 * SECOND;

/// What happened, so that a lie that is never told shows.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Told {
    pub(crate) deliveries: u64,
    pub(crate) bent: u64,
    pub(crate) proofs: u64,
    pub(crate) odd: u64,
    pub(crate) gaps: u64,
}

impl Told {
    pub(crate) fn add(&mut self, more: &Self) {
        self.deliveries += more.deliveries;
        self.bent += more.bent;
        self.proofs += more.proofs;
        self.odd += more.odd;
        self.gaps += more.gaps;
    }
}

/// A process. The last one is the liar; with a twin there are two that say they are it.
struct Process {
    id: MemberId,
    engine: Engine,
    honest: bool,
    /// By origin, how many messages it has.
    has: BTreeMap<MemberId, u64>,
    /// Who it was told is expelled.
    expelled: BTreeSet<MemberId>,
}

enum Happening {
    Frame {
        from: MemberId,
        to: usize,
        frame: Frame,
    },
    Say {
        who: usize,
        count: u64,
    },
    Lie,
    /// The liar is gone, and its address refuses connections.
    Death,
}

pub(crate) struct World {
    rng: Rng,
    now: Micros,
    processes: Vec<Process>,
    honest: Vec<MemberId>,
    liar: Liar,
    queue: BTreeMap<(Micros, u64), Happening>,
    number: u64,
    loss: u64,
    dead: bool,
    /// Bytes that the holder of a key said under a dot.
    said: BTreeSet<(Dot, Bytes)>,
    /// What the sender of an honest message had of the other honest ones.
    pasts: BTreeMap<Dot, BTreeMap<MemberId, u64>>,
    told: Told,
}

impl World {
    pub(crate) fn new(seed: u64, lie: Lie, rules: multicast::engine::Rules) -> Self {
        let mut rng = Rng::of(seed, &[0x11e5]);
        let count = rng.between(3, 5) as u128;
        let ids: Vec<MemberId> = (1..=count + 1)
            .map(|n| MemberId::from(n << 96 | u128::from(seed)))
            .collect();
        let (honest, liars) = ids.split_at(count as usize);
        let group = GroupId::named("lies");
        let config = Config {
            rules,
            retention: rng.pick(&[2_000, 64 << 20]),
            retention_factor: 100_000,
            batch_messages: rng.pick(&[1, 3, 4096]),
            ..Config::default()
        };
        let twins = usize::from(lie == Lie::Twins);
        let process = |(nth, id): (usize, &MemberId)| {
            let engine = Engine::established(config.clone(), *id, &ids, seed + nth as u64, 0);
            Process {
                id: *id,
                engine: engine.with_signer(Signer::toy(*id, group)),
                honest: honest.contains(id),
                has: BTreeMap::new(),
                expelled: BTreeSet::new(),
            }
        };
        let everyone = ids.iter().chain(liars.iter().cycle().take(twins)).enumerate();
        let processes: Vec<Process> = everyone.map(process).collect();
        let others = honest.iter().copied().filter(|_| rng.percent(50)).collect::<Vec<_>>();
        let others = match others.len() {
            0 => vec![honest[0]],
            all if all == honest.len() => others[1..].to_vec(),
            _ => others,
        };
        let turns_at = rng.between(1, 4);
        let mut world = Self {
            loss: rng.pick(&[0, 10, 30]),
            rng,
            dead: false,
            now: 0,
            processes,
            honest: honest.to_vec(),
            liar: Liar::new(lie, liars[0], group, others, turns_at),
            queue: BTreeMap::new(),
            number: 0,
            said: BTreeSet::new(),
            pasts: BTreeMap::new(),
            told: Told::default(),
        };
        world.script();
        world
    }

    fn script(&mut self) {
        for _ in 0..self.rng.between(10, 40) {
            let who = self.rng.below(self.processes.len() as u64) as usize;
            let count = self.rng.pick(&[1, 1, 1, 5]);
            let at = self.rng.below(CALM);
            self.plan(at, Happening::Say { who, count });
        }
        // The liar says enough to lie about, also when nothing else happens any more.
        for who in self.honest.len()..self.processes.len() {
            for nth in 0..6 {
                self.plan(100 * MS + nth * 500 * MS, Happening::Say { who, count: 1 });
            }
            self.plan(CALM + SECOND, Happening::Say { who, count: 1 });
        }
        if self.liar.lie == Lie::Die {
            let at = self.rng.between(SECOND, CALM);
            self.plan(at, Happening::Death);
            // A frame that was still on its way looks like a sign of life, until the address refuses again.
            self.plan(at + 100 * MS, Happening::Death);
        }
        for nth in 1..60 {
            self.plan(nth * 100 * MS, Happening::Lie);
        }
    }

    fn plan(&mut self, at: Micros, happening: Happening) {
        self.number += 1;
        self.queue.insert((at, self.number), happening);
    }

    pub(crate) fn play(mut self) -> Result<Told, String> {
        let ids: Vec<MemberId> = self.processes.iter().map(|process| process.id).collect();
        for who in 0..self.processes.len() {
            let peers: BTreeSet<MemberId> = ids.iter().copied().filter(|id| *id != ids[who]).collect();
            for peer in peers {
                self.feed(who, vec![Input::LinkUp { peer }])?;
            }
        }
        while self.now < END {
            let there = self.processes.len() - usize::from(self.dead);
            let wakes = self.processes[..there].iter().enumerate();
            let tick = wakes
                .filter_map(|(who, process)| Some((process.engine.deadline()?, who)))
                .min();
            let next = self.queue.keys().next().map(|key| key.0);
            match (tick, next) {
                (Some((at, who)), next) if next.is_none_or(|next| at < next) => {
                    self.now = self.now.max(at);
                    self.feed(who, vec![Input::Tick])?;
                }
                (_, Some(at)) => {
                    self.now = self.now.max(at);
                    let (_, happening) = self.queue.pop_first().expect("looked at");
                    self.happen(happening)?;
                }
                _ => break,
            }
        }
        self.settled()?;
        self.told.bent = self.liar.bent;
        Ok(self.told)
    }

    fn happen(&mut self, happening: Happening) -> Result<(), String> {
        match happening {
            Happening::Say { who, count } => {
                let say = |nth| {
                    let text = format!("{who} at {} {nth}", self.now);
                    Input::Send {
                        ticket: nth,
                        kind: Kind::App,
                        payload: text.into(),
                        sent_at: self.now,
                    }
                };
                self.feed(who, (0..count).map(say).collect())
            }
            Happening::Frame { from, to, frame } => self.feed(to, vec![Input::Frame { from, frame }]),
            Happening::Death => {
                self.dead = true;
                let peer = self.liar.id;
                (0..self.honest.len())
                    .try_for_each(|who| self.feed(who, vec![Input::LinkDown { peer }, Input::Refused { peer }]))
            }
            Happening::Lie => {
                let engine = &self.processes[self.honest.len()].engine;
                let lie = self.liar.unasked(engine, &self.honest, &mut self.rng);
                if let Some((to, frame)) = lie {
                    self.transmit(self.liar.id, to, frame);
                }
                Ok(())
            }
        }
    }

    fn feed(&mut self, who: usize, inputs: Vec<Input>) -> Result<(), String> {
        if self.dead && who >= self.honest.len() {
            return Ok(());
        }
        let mut outputs = Vec::new();
        self.processes[who].engine.handle_all(inputs, self.now, &mut outputs);
        for output in outputs {
            self.take(who, output)?;
        }
        self.processes[who].engine.check()
    }

    fn take(&mut self, who: usize, output: Output) -> Result<(), String> {
        let (id, honest) = (self.processes[who].id, self.processes[who].honest);
        match output {
            Output::Deliver { piece, .. } => {
                for message in piece.messages() {
                    self.delivers(who, message.dot, message.payload)?;
                }
            }
            Output::Send { to, frame } => {
                let frame = match frame {
                    Frame::Pulled(pulled) if !honest => Frame::Pulled(self.liar.answers(pulled, &mut self.rng)),
                    frame => frame,
                };
                self.transmit(id, to, frame);
            }
            Output::Push { to, mut batch } => {
                // The other history is sealed anew, and for that its clocks must be known.
                batch.fresh |= !honest && self.liar.lie == Lie::Equivocate;
                let engine = &self.processes[who].engine;
                let mut run = Run::decode(&engine.encode_own(batch).concat().into()).map_err(|odd| odd.to_string())?;
                if !honest {
                    run = self.liar.pushes(to, run);
                    if !self.liar.speaks_to(to) {
                        return Ok(());
                    }
                    for (nth, entry) in run.entries().enumerate() {
                        let dot = Dot {
                            origin: id,
                            seq: run.first() + nth as u64,
                        };
                        self.said.insert((dot, entry.payload));
                    }
                }
                self.transmit(id, to, Frame::Push(run));
            }
            Output::Notice(notice) => self.notices(who, notice)?,
            Output::Broken(why) => return Err(format!("{} broke: {why}", id.short())),
            Output::Left if honest => return Err(format!("{} is over", id.short())),
            _ => {}
        }
        Ok(())
    }

    fn transmit(&mut self, from: MemberId, to: MemberId, frame: Frame) {
        let targets = (0..self.processes.len()).filter(|at| self.processes[*at].id == to);
        for to in targets.collect::<Vec<_>>() {
            if self.now < CALM && self.rng.percent(self.loss) {
                continue;
            }
            let at = self.now + self.rng.between(MS, 20 * MS);
            let frame = frame.clone();
            self.plan(at, Happening::Frame { from, to, frame });
        }
    }

    /// X1, each dot once and in order, and causal order among the honest.
    fn delivers(&mut self, who: usize, dot: Dot, payload: Bytes) -> Result<(), String> {
        self.told.deliveries += 1;
        let process = &mut self.processes[who];
        let (mine, honest) = (dot.origin == process.id, process.honest);
        if mine && honest {
            self.pasts.insert(dot, process.has.clone());
        }
        if mine {
            self.said.insert((dot, payload.clone()));
            if self.liar.lie == Lie::Equivocate && dot.origin == self.liar.id {
                self.said.insert((dot, other(&payload)));
            }
        }
        if !honest {
            *process.has.entry(dot.origin).or_default() = dot.seq;
            return Ok(());
        }
        let me = process.id.short();
        if !self.said.contains(&(dot, payload.clone())) {
            return Err(format!(
                "{me} delivers {} with bytes that its origin never said: {payload:?}",
                label(dot)
            ));
        }
        let has = process.has.insert(dot.origin, dot.seq).unwrap_or(0);
        if dot.seq != has + 1 {
            return Err(format!("{me} delivers {} after {has}", label(dot)));
        }
        let past = self.pasts.get(&dot).into_iter().flatten();
        let missing = |(origin, seq): &(&MemberId, &u64)| {
            self.honest.contains(origin) && process.has.get(origin).is_none_or(|has| has < seq)
        };
        let mut missing = past.filter(missing);
        match missing.next() {
            Some((origin, seq)) => Err(format!("{me} delivers {} without {}:{seq}", label(dot), origin.short())),
            None => Ok(()),
        }
    }

    fn notices(&mut self, who: usize, notice: Notice) -> Result<(), String> {
        let process = &mut self.processes[who];
        let me = process.id.short();
        match notice {
            Notice::Equivocation { member, proof, .. } => {
                self.told.proofs += 1;
                if member != self.liar.id || !self.liar.lie.is_provable() || proof.member != member {
                    return Err(format!("{me} is told that {} equivocates", member.short()));
                }
                process.expelled.insert(member);
            }
            Notice::Odd { peer, what } if process.honest => {
                self.told.odd += 1;
                if peer != self.liar.id && !self.liar.lie.is_provable() {
                    return Err(format!("{me} finds {} odd, which is honest: {what}", peer.short()));
                }
            }
            Notice::Gap(spans) if process.honest => {
                self.told.gaps += 1;
                for span in spans {
                    if span.origin != self.liar.id || !matches!(self.liar.lie, Lie::Scrawl | Lie::Die) {
                        return Err(format!("{me} is told of a gap: {span:?}"));
                    }
                    process.has.insert(span.origin, span.to);
                }
            }
            Notice::Closed { origin, .. } if process.honest && origin != self.liar.id => {
                return Err(format!("{me} is told that {} is closed", origin.short()));
            }
            _ => {}
        }
        Ok(())
    }

    /// Everyone has everything that an honest one said; of the liar too, unless it told two stories, which all know then.
    fn settled(&self) -> Result<(), String> {
        let (honest, liars): (Vec<&Process>, Vec<&Process>) = self.processes.iter().partition(|process| process.honest);
        let differs = self.liar.lie.is_provable() && self.liar.bent + liars.len() as u64 > 1;
        for process in &honest {
            let me = process.id.short();
            for of in &honest {
                let (has, said) = (process.has.get(&of.id), of.has.get(&of.id));
                if has != said {
                    return Err(format!("{me} has {has:?} of {}, which said {said:?}", of.id.short()));
                }
            }
            if let Some(held) = process.engine.held().next() {
                return Err(format!(
                    "{me} still holds {} for {}",
                    label(held.dot),
                    label(held.needs)
                ));
            }
            if differs {
                let standing = process
                    .engine
                    .records()
                    .into_iter()
                    .find(|record| record.member == self.liar.id);
                let expelled = standing.is_some_and(|record| record.standing == Standing::Expelled);
                if !expelled || !process.expelled.contains(&self.liar.id) {
                    return Err(format!("{me} does not know of two histories"));
                }
            } else if process.has.get(&self.liar.id) != honest[0].has.get(&self.liar.id) {
                return Err(format!("{me} has {:?} of the liar", process.has.get(&self.liar.id)));
            }
        }
        let untold = |process: &&Process| differs && !process.expelled.contains(&process.id);
        match liars.iter().find(|process| untold(process)) {
            Some(_) => Err("the liar itself is not told".to_owned()),
            None => Ok(()),
        }
    }
}
