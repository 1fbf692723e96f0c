//! Tells the judge, in the judge's words, what engines did. The only place that knows both.

use std::collections::BTreeMap;

use bytes::Bytes;
use multicast::engine::{Config, Engine, Frame, Notice, Output, Standing, Standpoint};
use multicast::{Clock, Dot, Kind, MemberId, Message, Micros, NodeId, Span};

use super::rng::Rng;
use crate::judge::{self, Heard, Judge, Sort, Verdict, Violation, Who};
use crate::script::Plan;

/// The judge, and what it takes to translate for it.
pub(crate) struct Witness {
    pub(crate) judge: Judge,
    ids: Vec<MemberId>,
    config: Config,
    /// Room for one translated clock.
    clock: Vec<u32>,
    /// Members that left when they knew of nobody who was there: nobody may have heard all that they said.
    unheard: Vec<bool>,
    /// Members that have left.
    finished: Vec<bool>,
    /// The process of one of them lingers: it is counted until its grace is over, longer than a run, and until then
    /// no other one can be closed without its agreement.
    lingering: bool,
    /// At what each member closed each origin last.
    closed: Vec<BTreeMap<Who, u64>>,
    /// Room to count the held messages of each origin.
    held_of: Vec<usize>,
    /// Members may die and be thought dead in this run.
    hard: bool,
    /// Somebody may be told that messages are lost.
    may_lose: bool,
    /// There is room for everything.
    roomy: bool,
    /// An end that is told is final, and the same for everyone.
    orderly: bool,
    /// In an orderly run: at what each origin was closed first.
    ends: BTreeMap<Who, u64>,
    /// The time by the clock of the member that is looked at.
    pub(crate) now: Micros,
    /// When each member last got a frame of each other one, by its own clock; of itself: when it started.
    heard: Vec<BTreeMap<Who, Micros>>,
}

/// A member that the judge asks: its number and its engine.
pub(crate) type Asked<'a> = (Who, &'a Engine);

impl Witness {
    pub(crate) fn new(plan: &Plan) -> Self {
        let (seed, members, config) = (plan.seed, plan.starts(), plan.config());
        Self {
            judge: Judge::new(members),
            ids: (0..members).map(|who| draw_id(seed, who)).collect(),
            config,
            clock: vec![0; members],
            unheard: vec![false; members],
            finished: vec![false; members],
            lingering: false,
            closed: vec![BTreeMap::new(); members],
            held_of: vec![0; members],
            hard: plan.is_hard(),
            may_lose: plan.may_lose(),
            roomy: plan.is_roomy(),
            orderly: plan.is_orderly(),
            ends: BTreeMap::new(),
            now: 0,
            heard: vec![BTreeMap::new(); members],
        }
    }

    pub(crate) fn id(&self, who: Who) -> MemberId {
        self.ids[who]
    }

    pub(crate) fn node(&self, who: Who) -> NodeId {
        NodeId(self.ids[who].0)
    }

    /// A frame reaches a member at this time of its clock; one of its own: it starts.
    pub(crate) fn hears(&mut self, who: Who, from: Who, now: Micros) {
        self.heard[who].insert(from, now);
    }

    /// Who has that id: the number is written in its last bytes, and the rest is checked.
    pub(crate) fn who(&self, id: MemberId) -> Option<Who> {
        let who = usize::from(u16::from_be_bytes([id.0[14], id.0[15]]));
        (self.ids.get(who) == Some(&id)).then_some(who)
    }

    /// A process begins with what an earlier one kept.
    pub(crate) fn recalls(&mut self, who: Who, kept: &Standpoint) {
        let mut counters = vec![0; self.ids.len()];
        for (id, seq) in kept.delivered.iter() {
            if let Some(origin) = self.who(id) {
                counters[origin] = seq as u32;
            }
        }
        if let Some(old) = self.who(kept.me) {
            self.judge.recalls(who, old, counters);
        }
    }

    /// So many of its own messages are on a process's disk; 0: it has a disk.
    pub(crate) fn synced(&mut self, who: Who, own: u64) {
        self.judge.synced(who, own as u32);
    }

    /// Its application hears that its message is sent.
    pub(crate) fn accepted(&mut self, who: Who, seq: u64) {
        self.judge.accepted(who, seq as u32);
    }

    /// Judges one output. `asked` are the bytes of the send that the engine was just given, if it was.
    pub(crate) fn sees(&mut self, who: Who, engine: &Engine, output: &Output, asked: Option<&Bytes>) -> Verdict {
        match output {
            Output::Deliver { piece, .. } => piece
                .messages()
                .try_for_each(|message| self.delivers(who, engine, &message)),
            Output::Send {
                to,
                frame: Frame::Sponsor(sponsor),
            } => {
                let joiner = self.known(who, *to)?;
                self.translate(who, &sponsor.cut)?;
                self.judge.grants(who, joiner, &self.clock)
            }
            Output::Sent { dot, .. } => {
                let dot = self.dot(who, *dot)?;
                match asked {
                    Some(bytes) => self.judge.claims(who, dot, bytes),
                    None => no("P3", who, format!("says that it sent {dot}, and nobody asked for it")),
                }
            }
            Output::Acked { by, seq } => {
                let by = self.known(who, *by)?;
                let dot = self.dot(who, self.dot_of(who, *seq))?;
                self.judge.believed("P4", who, by, dot)
            }
            Output::Notice(notice) => {
                if matches!(notice, Notice::Gap(_)) {
                    self.opens(who, engine)?;
                    let there = self.there(engine);
                    self.judge.counts_on(there);
                }
                self.notices(who, notice)
            }
            Output::Broken(what) => no("S13", who, format!("stopped: {what}")),
            _ => Ok(()),
        }
    }

    /// Judges the state in which a member rests after a step.
    pub(crate) fn rests(&mut self, who: Who, engine: &Engine) -> Verdict {
        if let Err(what) = engine.check() {
            return no("S13", who, what);
        }
        self.translate(who, &engine.delivered())?;
        self.judge.rests(who, &self.clock)?;
        self.held_of.fill(0);
        for held in engine.held() {
            let (dot, needs) = (self.dot(who, held.dot)?, self.dot(who, held.needs)?);
            self.held_of[dot.origin] += 1;
            if self.held_of[dot.origin] > self.config.held_per_origin {
                return no(
                    "S14",
                    who,
                    format!("holds more than {} of one origin", self.config.held_per_origin),
                );
            }
            self.judge.holds(who, dot, needs)?;
        }
        Ok(())
    }

    /// S14 and S15, too dear for every step: the log's size, and what is believed to be stable really is.
    pub(crate) fn inspects(&mut self, who: Who, engine: &Engine, all: &[Asked<'_>], now: Micros) -> Verdict {
        let bytes: usize = engine.log().map(|message| message.payload.len()).sum();
        let limit = self.config.retention.saturating_mul(self.config.retention_factor);
        if bytes > limit {
            return no(
                "S14",
                who,
                format!("keeps {bytes} bytes of messages, the limit is {limit}"),
            );
        }
        let stable = engine.stable();
        for record in engine.records().iter().filter(|record| record.standing.counts()) {
            let Some(other) = self.who(record.member) else { continue };
            // Whose grace may be over does not count. One that was only named by others is silent from then on.
            let started = self.heard[who].get(&who).copied().unwrap_or(0);
            let heard = self.heard[who].get(&other).map(|at| at + self.config.silent_after);
            let written_off = now >= heard.unwrap_or(started) + self.config.grace;
            if written_off || !all.iter().any(|asked| asked.0 == other && asked.1.is_member()) {
                continue;
            }
            for (origin, seq) in stable.iter() {
                let dot = self.dot(who, Dot { origin, seq })?;
                self.judge.believed("S15", who, other, dot)?;
            }
        }
        Ok(())
    }

    /// At the end those who stayed hold nothing, and all have the same view, which is the truth.
    pub(crate) fn settled(&self, stayed: &[Asked<'_>]) -> Verdict {
        let numbers: Vec<Who> = stayed.iter().map(|asked| asked.0).collect();
        self.judge.agreed(&numbers)?;
        if self.roomy {
            self.judge.nothing_lost(&numbers)?;
        }
        let view = |engine: &Engine| -> Vec<_> {
            let records = engine.records().into_iter();
            records
                .map(|record| (record.member, record.generation, record.standing))
                .collect()
        };
        let first = view(stayed[0].1);
        for &(who, engine) in stayed {
            if let Some(held) = engine.held().next() {
                let (dot, needs) = (self.dot(who, held.dot)?, self.dot(who, held.needs)?);
                return no("S7", who, format!("still holds {dot}, which waits for {needs}"));
            }
            let own = view(engine);
            if own != first {
                return no("views", who, format!("sees {own:?}, m{} sees {first:?}", stayed[0].0));
            }
        }
        for (member, _, standing) in first {
            let Some(other) = self.who(member) else {
                return no("views", numbers[0], format!("sees {member:?}, who never was"));
            };
            if !(self.lingering && self.unheard[other]) {
                self.finally(&numbers, other, standing)?;
            }
        }
        Ok(())
    }

    /// What the view says of a member at the end is the truth, and what everyone was told.
    fn finally(&self, stayed: &[Who], of: Who, standing: Standing) -> Verdict {
        if stayed.contains(&of) != standing.counts() {
            return no("views", stayed[0], format!("sees m{of} as {standing:?}"));
        }
        let (Standing::Left(last) | Standing::Closed(last)) = standing else {
            return Ok(());
        };
        for &who in stayed {
            let has = self.judge.has(who, of);
            if u64::from(has) != last {
                return no("S9", who, format!("sees m{of} as {standing:?}, has {has} of it"));
            }
            if self.hard && last > 0 && matches!(standing, Standing::Closed(_)) && !self.closed[who].contains_key(&of) {
                return no("S9", who, format!("was not told that m{of} is closed at {last}"));
            }
            if let Some(told) = self.closed[who].get(&of).filter(|told| **told != last) {
                return no(
                    "S9",
                    who,
                    format!("was told that m{of} is closed at {told}, it is {standing:?}"),
                );
            }
        }
        Ok(())
    }

    /// P12 over the whole run.
    pub(crate) fn canonical(&self) -> Verdict {
        let mut by_id: Vec<Who> = (0..self.ids.len()).collect();
        by_id.sort_by_key(|who| self.ids[*who]);
        let mut rank = vec![0; by_id.len()];
        by_id.iter().enumerate().for_each(|(place, who)| rank[*who] = place);
        self.judge.canonical(&rank)
    }

    /// Everyone who is there has the leave of a member that says it has finished leaving.
    pub(crate) fn farewell(&mut self, who: Who, engine: &Engine, exits: bool, there: &[Asked<'_>]) -> Verdict {
        let seq = self.judge.sent(who);
        // Whoever is silent, or refuses connections, as far as the leaver can tell, is not waited for.
        let counted = self.there(engine);
        let is_there = |other: &Who| there.iter().any(|asked| asked.0 == *other && asked.1.is_member());
        self.unheard[who] = !counted.iter().any(is_there);
        self.finished[who] = true;
        self.lingering |= self.unheard[who] && !exits;
        for other in counted.into_iter().filter(is_there) {
            self.judge
                .believed("leave", who, other, judge::Dot { origin: who, seq })?;
        }
        Ok(())
    }

    /// Who is there, as far as a member can tell.
    fn there(&self, engine: &Engine) -> Vec<Who> {
        let members = engine.members().into_iter();
        members
            .filter(|member| member.record.standing.counts() && !member.silent && !member.refused)
            .filter_map(|member| self.who(member.record.member))
            .collect()
    }

    /// Nothing is lost, nobody dies and nobody lies in these runs: only who left may be closed, at its last word,
    /// and nobody may say that messages are lost or that a peer is odd.
    fn notices(&mut self, who: Who, notice: &Notice) -> Verdict {
        match notice {
            Notice::Closed { origin, last_seq, .. } if self.hard => {
                let origin = self.known(who, *origin)?;
                let has = self.judge.has(who, origin);
                if u64::from(has) != *last_seq || origin == who {
                    return no("S9", who, format!("closes m{origin} at {last_seq}, has {has} of it"));
                }
                self.closed[who].insert(origin, *last_seq);
                let first = *self.ends.entry(origin).or_insert(*last_seq);
                if self.orderly && first != *last_seq {
                    let what = format!("closes m{origin} at {last_seq}; another one did at {first}");
                    return no("S9", who, what);
                }
                Ok(())
            }
            Notice::Reopened(origin) if self.hard => {
                let origin = self.known(who, *origin)?;
                self.closed[who].remove(&origin);
                if self.orderly {
                    return no("S9", who, format!("reopens m{origin}, which everybody saw die"));
                }
                Ok(())
            }
            Notice::Gap(spans) if self.may_lose => {
                let mut skipped = Vec::new();
                for span in spans {
                    let last = self.dot(
                        who,
                        Dot {
                            origin: span.origin,
                            seq: span.to,
                        },
                    )?;
                    skipped.push((last.origin, span.from as u32, last.seq));
                }
                self.judge.skips(who, &skipped)
            }
            Notice::Silent(_) | Notice::Resumed(_) | Notice::Lagging { .. } | Notice::Held { .. } => Ok(()),
            Notice::Closed { origin, last_seq, .. } => {
                let origin = self.known(who, *origin)?;
                let said = u64::from(self.judge.sent(origin));
                // Nobody may have all that one said who left unheard, or whose hearers left unheard themselves; but who
                // lives is not closed.
                let mut all = 0..self.ids.len();
                let is_lost = all.all(|other| self.finished[other] || u64::from(self.judge.has(other, origin)) < said);
                if self.judge.has_left(origin) && (*last_seq == said || self.unheard[origin] || is_lost) {
                    self.closed[who].insert(origin, *last_seq);
                    return Ok(());
                }
                no(
                    "S9",
                    who,
                    format!("closes m{origin} at {last_seq}, which has said {said}"),
                )
            }
            Notice::Reopened(origin) => {
                let origin = self.known(who, *origin)?;
                // A late frame of one who was closed looks like a sign of life.
                match self.judge.has_left(origin) {
                    true => Ok(()),
                    false => no(
                        "S9",
                        who,
                        format!("reopens m{origin}, which nobody had a reason to close"),
                    ),
                }
            }
            Notice::Gap(_) | Notice::Odd { .. } | Notice::Equivocation { .. } => {
                no("notice", who, format!("{notice:?}, and there is no reason for it"))
            }
        }
    }

    fn delivers(&mut self, who: Who, engine: &Engine, message: &Message) -> Verdict {
        self.opens(who, engine)?;
        let dot = self.dot(who, message.dot)?;
        self.translate(who, &message.clock())?;
        let sort = match message.kind {
            Kind::App => Sort::App,
            Kind::Join => Sort::Join,
            Kind::Leave => Sort::Leave,
            Kind::Retire => self.retirement(&message.payload).unwrap_or(Sort::Control),
            Kind::Call | Kind::List => Sort::Control,
        };
        self.judge.delivers(
            who,
            &Heard {
                dot,
                sort,
                lamport: message.lamport,
                bytes: &message.payload,
                clock: &self.clock,
            },
        )
    }

    /// Before the first thing that a member is told: where it begins.
    fn opens(&mut self, who: Who, engine: &Engine) -> Verdict {
        if self.judge.is_open(who) {
            return Ok(());
        }
        self.translate(who, &engine.cut())?;
        self.judge.opens(who, &self.clock)
    }

    /// What a retirement says: 16 bytes of whom, 8 of up to which seq.
    fn retirement(&self, payload: &Bytes) -> Option<Sort> {
        let (member, n) = payload.split_at_checked(16)?;
        let of = self.who(MemberId(member.try_into().ok()?))?;
        let n = u64::from_be_bytes(n.try_into().ok()?);
        Some(Sort::Retire(of, n.try_into().ok()?))
    }

    /// How many of these messages the others still have in their logs.
    pub(crate) fn kept_by(&self, others: &[Asked<'_>], spans: &[Span]) -> u64 {
        let mut kept = 0;
        for span in spans {
            for seq in span.from..=span.to {
                let origin = span.origin;
                let has = |engine: &Engine| {
                    matches!(
                        engine.whereabouts(Dot { origin, seq }),
                        multicast::engine::Whereabouts::Delivered(_)
                    )
                };
                kept += u64::from(others.iter().any(|other| other.1.is_member() && has(other.1)));
            }
        }
        kept
    }

    /// Writes a clock into `self.clock` as counters.
    fn translate(&mut self, at: Who, clock: &Clock) -> Verdict {
        self.clock.fill(0);
        for (member, seq) in clock.iter() {
            let dot = self.dot(at, Dot { origin: member, seq })?;
            self.clock[dot.origin] = dot.seq;
        }
        Ok(())
    }

    fn dot(&self, at: Who, dot: Dot) -> Result<judge::Dot, Violation> {
        let origin = self.known(at, dot.origin)?;
        match u32::try_from(dot.seq) {
            Ok(seq) if seq > 0 => Ok(judge::Dot { origin, seq }),
            _ => Err(violation("S1", at, format!("speaks of m{origin}:{}", dot.seq))),
        }
    }

    fn dot_of(&self, who: Who, seq: u64) -> Dot {
        Dot {
            origin: self.ids[who],
            seq,
        }
    }

    fn known(&self, at: Who, id: MemberId) -> Result<Who, Violation> {
        self.who(id)
            .ok_or_else(|| violation("S1", at, format!("speaks of {id:?}, who never was")))
    }
}

/// An id whose order among others has nothing to do with the order of starts, with the number in its end.
fn draw_id(seed: u64, who: Who) -> MemberId {
    let high = Rng::of(seed, &[0x1d, who as u64]).next();
    MemberId::from((u128::from(high) << 64) | who as u128)
}

fn violation(rule: &'static str, who: Who, what: String) -> Violation {
    Violation { rule, who, what }
}

fn no(rule: &'static str, who: Who, what: String) -> Verdict {
    Err(violation(rule, who, what))
}
