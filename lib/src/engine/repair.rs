//! Repair: finding what is missing, asking for it, and answering those who ask. Any holder repairs.

use std::collections::BTreeMap;

use crate::engine::roster::{Slot, Want};
use crate::engine::{Engine, Frame, Pull, Pulled};
use crate::id::{MemberId, Span};
use crate::message::{Message, Micros};
use crate::run::{Entry, MAX_RUN, MAX_RUN_CLOCKS, Past, Run, encoded_bound};

/// Most holes of one origin that one pull names; the rest is asked for when these are filled.
pub(crate) const HOLES: usize = 32;
/// Most spans in a pull that are answered, and that are asked for.
pub(crate) const SPANS: usize = 512;
/// Members that were asked for a message are remembered up to this many, for `/why`.
const ASKED: usize = 16;

impl Engine {
    /// Messages of `slot` up to `upto` exist: unless they come by themselves, they will be asked for.
    pub(super) fn want(&mut self, slot: Slot, upto: u64, via: MemberId) {
        let next = self.now + self.pull_delay(slot, self.roster.find(via));
        let known = &mut self.roster[slot];
        if upto <= known.delivered || slot == self.my_slot || known.is_expelled() {
            return;
        }
        match &mut known.want {
            Some(want) => want.upto = want.upto.max(upto),
            none => {
                let mark = known.delivered;
                let (asked, lacking) = (Vec::new(), BTreeMap::new());
                *none = Some(Want {
                    upto,
                    next,
                    tries: 0,
                    via,
                    mark,
                    asked,
                    first: 0,
                    lacking,
                });
                self.wanting.insert(slot);
            }
        }
        let next = known.want.as_ref().map_or(next, |want| want.next);
        super::no_later(&mut self.timers.repair, next);
    }

    /// How long a missing message is awaited: two round trips of those who would bring it, under load as long as these
    /// take then, with jitter. To ask sooner would fetch a second time what is on its way, and make the load greater.
    fn pull_delay(&mut self, origin: Slot, via: Option<Slot>) -> Micros {
        let turn = self.roster[origin].peer.turn;
        let turn = via.map_or(turn, |via| turn.max(self.roster[via].peer.turn));
        let least = self.config.pull_after;
        let most = least.max(self.config.pull_backoff / 4);
        let delay = (2 * turn).clamp(least, most);
        delay + self.rng.below(delay)
    }

    /// Asks for everything that was missing for long enough.
    pub(super) fn pull_missing(&mut self) {
        let mut pulls: BTreeMap<Slot, Vec<Span>> = BTreeMap::new();
        let mut earliest: Option<Micros> = None;
        for slot in self.wanting.clone() {
            let Some(next) = self.consider(slot, &mut pulls) else {
                self.roster[slot].want = None;
                self.wanting.remove(&slot);
                continue;
            };
            super::no_later(&mut earliest, next);
        }
        self.timers.repair = earliest;
        self.consider_gap();
        for (target, mut wants) in pulls {
            wants.truncate(SPANS);
            self.say(target, Frame::Pull(Pull { wants }));
        }
    }

    /// What to do about one origin: when to look again, or nothing if there is nothing to do.
    fn consider(&mut self, slot: Slot, pulls: &mut BTreeMap<Slot, Vec<Span>>) -> Option<Micros> {
        let known = &self.roster[slot];
        let want = known.want.as_ref()?;
        if known.delivered >= want.upto {
            return None;
        }
        if want.next > self.now {
            return Some(want.next);
        }
        let (settled, flows, delivered) = (known.end.settled_at.is_some(), known.peer.linked, known.delivered);
        let via = self.roster.find(want.via);
        let delay = self.pull_delay(slot, via);
        let soon = self.now + delay;
        let spans = self.missing_spans(slot);
        let first = spans.first().map_or(0, |span| span.from);
        let want = self.roster[slot].want.as_mut()?;
        if want.first != first {
            want.first = first;
            want.lacking.clear();
        }
        if want.mark < delivered {
            want.asked.clear();
            (want.tries, want.mark) = (0, delivered);
            // Its own stream is bringing it.
            if flows {
                want.next = soon;
                return Some(soon);
            }
        }
        if settled && self.is_exhausted(slot) && !self.was_delivered(slot) {
            // It died with its origin after all.
            return None;
        }
        self.tell_held(slot);
        let target = if spans.is_empty() { None } else { self.whom_to_ask(slot) };
        let asked = target.map(|target| self.roster[target].id);
        let (now, most) = (self.now, self.config.pull_backoff.max(delay));
        let want = self.roster[slot].want.as_mut()?;
        want.next = now + (delay << want.tries.min(8)).min(most);
        want.tries = want.tries.saturating_add(1);
        want.asked.extend(asked.filter(|_| want.asked.len() < ASKED));
        if self.was_delivered(slot) {
            self.ask_around(slot, target, pulls);
        }
        if let Some(target) = target {
            pulls.entry(target).or_default().extend(spans);
        }
        self.roster[slot].want.as_ref().map(|want| want.next)
    }

    /// Somebody had the next message and let go of it: everyone else is asked for that one at once, because a gap takes
    /// the word of all.
    fn ask_around(&self, slot: Slot, besides: Option<Slot>, pulls: &mut BTreeMap<Slot, Vec<Span>>) {
        let known = &self.roster[slot];
        let Some(want) = &known.want else { return };
        let span = Span {
            origin: known.id,
            from: want.first,
            to: want.first,
        };
        for (voter, known) in self.roster.all() {
            let open = known.counts() && known.peer.linked && !want.lacking.contains_key(&voter);
            if open && Some(voter) != besides {
                pulls.entry(voter).or_default().push(span);
            }
        }
    }

    /// First the member that sent the dependent message, then the origin, then whoever has it by its digest, then
    /// anybody.
    fn whom_to_ask(&mut self, slot: Slot) -> Option<Slot> {
        let known = &self.roster[slot];
        let want = known.want.as_ref()?;
        let linked = |slot: &Slot| self.roster[*slot].peer.linked && *slot != self.my_slot;
        let via = self.roster.find(want.via).filter(linked);
        match want.tries {
            0 if via.is_some() => return via,
            0 | 1 if linked(&slot) => return Some(slot),
            _ => {}
        }
        let (origin, next) = (known.id, known.delivered + 1);
        let candidates: Vec<Slot> = self.roster.slots().filter(linked).collect();
        let lacks = |slot: &Slot| want.lacking.contains_key(slot);
        let holds = |slot: &Slot| !lacks(slot) && self.roster[*slot].peer.digest.get(origin) >= next;
        let holders: Vec<Slot> = candidates.iter().copied().filter(holds).collect();
        let unasked: Vec<Slot> = candidates.iter().copied().filter(|slot| !lacks(slot)).collect();
        // Digests are hints, and silence is no answer: some tries go to anybody.
        let among = match want.tries % 4 {
            0 => candidates,
            1 | 2 if !holders.is_empty() => holders,
            _ if !unasked.is_empty() => unasked,
            _ => candidates,
        };
        let nth = self.rng.below(among.len() as u64) as usize;
        among.get(nth).copied()
    }

    fn missing_spans(&self, slot: Slot) -> Vec<Span> {
        let known = &self.roster[slot];
        let Some(want) = &known.want else { return Vec::new() };
        let mut spans = Vec::new();
        let mut from = known.delivered + 1;
        for (first, last) in known.held.ranges().take_while(|range| range.0 <= want.upto) {
            if first > from && spans.len() < HOLES {
                spans.push(Span {
                    origin: known.id,
                    from,
                    to: first - 1,
                });
            }
            from = last + 1;
        }
        if from <= want.upto && spans.len() < HOLES {
            spans.push(Span {
                origin: known.id,
                from,
                to: want.upto,
            });
        }
        if !self.config.rules.ask_next_first {
            spans.drain(..spans.len().saturating_sub(1));
        }
        spans
    }

    pub(super) fn on_pull(&mut self, slot: Slot, pull: Pull) {
        if self.is_joining() || !self.may_pull(slot) {
            return;
        }
        if self.is_signed() {
            return self.on_sealed_pull(slot, pull);
        }
        let mut answer = Pulled {
            runs: Vec::new(),
            gone: Vec::new(),
            never: Vec::new(),
            base: None,
        };
        // (position in the log, slot, seq): in the order in which they can be delivered.
        let mut found: Vec<(u64, Slot, u64)> = Vec::new();
        for span in pull.wants.into_iter().take(SPANS) {
            self.find_span(span, &mut found, &mut answer);
        }
        found.sort_unstable();
        found.dedup();
        self.cut_to_size(&mut found);
        found.sort_unstable_by_key(|&(_, slot, seq)| (slot, seq));
        answer.runs = self.runs_of(&found);
        if !answer.gone.is_empty() {
            answer.base = Some((self.base(), self.base_lamport));
        }
        self.answer_pull(slot, answer);
    }

    fn find_span(&self, span: Span, found: &mut Vec<(u64, Slot, u64)>, answer: &mut Pulled) {
        let Span { origin, from, to } = span;
        let Some(slot) = self.roster.find(origin) else {
            return answer.never.push(span);
        };
        let known = &self.roster[slot];
        if to > known.delivered {
            answer.never.push(Span {
                origin,
                from: from.max(known.delivered + 1),
                to,
            });
        }
        if from > to || from == 0 {
            return;
        }
        // Below the log: what is kept, and the holes between.
        let mut hole = from;
        for (&(_, seq), _) in self.log.kept.range((slot, from)..=(slot, to)).take(MAX_RUN) {
            if hole < seq {
                answer.gone.push(Span {
                    origin,
                    from: hole,
                    to: seq - 1,
                });
            }
            found.push((0, slot, seq));
            hole = seq + 1;
        }
        let logged = known.logged_from();
        if hole < logged && hole <= to && hole <= known.delivered {
            answer.gone.push(Span {
                origin,
                from: hole,
                to: to.min(logged - 1),
            });
        }
        let (low, high) = (from.max(logged), to.min(known.delivered));
        for seq in (low..=high).take(MAX_RUN) {
            if let Some(position) = known.position(seq) {
                found.push((position + 1, slot, seq));
            }
        }
    }

    pub(super) fn message(&self, slot: Slot, seq: u64) -> Message {
        match self.roster[slot].position(seq) {
            Some(position) => self.log.at(position).at(seq),
            None => self.log.kept[&(slot, seq)].clone(),
        }
    }

    /// Keeps as many as one answer may carry, one at least.
    fn cut_to_size(&self, found: &mut Vec<(u64, Slot, u64)>) {
        let (mut bytes, mut entries) = (0, 0);
        let mut fits = |&(_, slot, seq): &(u64, Slot, u64)| {
            let message = self.message(slot, seq);
            entries += message.past.len();
            bytes += encoded_bound(message.payload.len(), message.past.len());
            bytes <= self.config.pull_bytes && entries <= MAX_RUN_CLOCKS
        };
        let count = found.iter().take_while(|entry| fits(entry)).count();
        found.truncate(count.max(1));
    }

    /// Runs of consecutive messages, each with a full clock first and changes after it.
    fn runs_of(&self, found: &[(u64, Slot, u64)]) -> Vec<Run> {
        // What is kept below the base is not checked against its causes: no run may be such that it cannot be read.
        let ascend = |a: &(u64, Slot, u64), b: &(u64, Slot, u64)| {
            let lamport = |&(_, slot, seq): &(u64, Slot, u64)| self.message(slot, seq).lamport;
            (a.0 != 0 && b.0 != 0) || lamport(a) < lamport(b)
        };
        found
            .chunk_by(|a, b| a.1 == b.1 && a.2 + 1 == b.2 && ascend(a, b))
            .flat_map(|run| run.chunks(MAX_RUN))
            .map(|run| {
                let (_, slot, first) = run[0];
                self.run_of(slot, first, first + run.len() as u64 - 1)
            })
            .collect()
    }

    /// Consecutive messages, all of which are here: a full clock first, and changes after it.
    pub(super) fn run_of(&self, slot: Slot, first: u64, last: u64) -> Run {
        let mut before: Option<Message> = None;
        let entries = (first..=last).map(|seq| {
            let message = self.message(slot, seq);
            let past = match &before {
                None => Past::Full(message.past.to_vec()),
                Some(before) => Past::Changes(difference(before, &message)),
            };
            before = Some(message.clone());
            Entry {
                lamport: message.lamport,
                sent_at: message.sent_at,
                kind: message.kind,
                past,
                payload: message.payload,
            }
        });
        Run::new(self.roster[slot].id, first, entries.collect())
    }

    pub(super) fn on_pulled(&mut self, slot: Slot, mut pulled: Pulled) {
        if self.is_finding() {
            return;
        }
        let proved = match self.is_signed() {
            false => Some(Vec::new()),
            true => self.prove_all(slot, &mut pulled),
        };
        let Some(proved) = proved else { return };
        let before: Vec<(Slot, u64)> = self
            .wanting
            .iter()
            .map(|&slot| (slot, self.roster[slot].delivered))
            .collect();
        let span = |run: &Run| Span {
            origin: run.origin(),
            from: run.first(),
            to: run.last(),
        };
        let got: Vec<Span> = pulled.runs.iter().filter(|run| !run.is_empty()).map(span).collect();
        let lacks = [pulled.gone.clone(), pulled.never.clone()].concat();
        self.note_fetched(slot, &pulled);
        self.note_lacking(slot, &pulled);
        if self.is_signed() {
            proved.into_iter().for_each(|taken| self.accept_proved(slot, taken));
        } else {
            pulled.runs.into_iter().for_each(|run| self.accept_relayed(slot, run));
        }
        self.note_recalled(slot, &got, &lacks);
        // Where it brought something on, the rest is asked for at once.
        for (slot, delivered) in before {
            let now = self.now;
            let known = &mut self.roster[slot];
            if let (true, Some(want)) = (known.delivered > delivered, &mut known.want) {
                (want.mark, want.tries, want.next) = (known.delivered, 0, now);
                want.asked.clear();
                super::no_later(&mut self.timers.repair, now);
            }
        }
    }
}

/// The entries in which a message's clock differs from that of its origin's previous one; 0 where one is gone.
fn difference(before: &Message, after: &Message) -> Vec<(MemberId, u64)> {
    if before.past.is_same(&after.past) {
        return Vec::new();
    }
    let (mut old, mut new) = (before.past.iter().peekable(), after.past.iter().peekable());
    let mut changes = Vec::new();
    loop {
        match (old.peek(), new.peek()) {
            (None, None) => return changes,
            (Some(a), Some(b)) if a.0 == b.0 => {
                if a.1 != b.1 {
                    changes.push(*b);
                }
                old.next();
                new.next();
            }
            (Some(a), Some(b)) if a.0 < b.0 => {
                changes.push((a.0, 0));
                old.next();
            }
            (Some(a), None) => {
                changes.push((a.0, 0));
                old.next();
            }
            (_, Some(b)) => {
                changes.push(*b);
                new.next();
            }
        }
    }
}
