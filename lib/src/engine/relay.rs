//! Repair in a signed group: whole segments go out with what proves them, and nothing comes in without.

use crate::chain::TRAIL;
use crate::clock::Clock;
use crate::engine::chain::Seal;
use crate::engine::repair::SPANS;
use crate::engine::roster::Slot;
use crate::engine::seal::Taken;
use crate::engine::{Engine, Pull, Pulled};
use crate::id::Span;
use crate::run::{MAX_RUN, MAX_RUN_CLOCKS, Run, Sealed, Seals, encoded_bound, sealed_bound};

/// A segment that is here whole.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    /// Its place in the order of delivery; 0 for what is kept for repair only.
    position: u64,
    slot: Slot,
    first: u64,
    last: u64,
}

impl Engine {
    pub(super) fn on_sealed_pull(&mut self, to: Slot, pull: Pull) {
        let mut answer = Pulled {
            runs: Vec::new(),
            gone: Vec::new(),
            never: Vec::new(),
            base: None,
        };
        let (mut found, mut lost) = (Vec::new(), Vec::new());
        for span in pull.wants.into_iter().take(SPANS) {
            self.find_segments(span, &mut found, &mut answer, &mut lost);
        }
        // In the order in which they can be delivered.
        found.sort_unstable();
        found.dedup();
        self.cut_segments(&mut found);
        found.sort_unstable_by_key(|found| (found.slot, found.first));
        let ascend = |a: &Found, b: &Found| {
            let lamport = |slot: Slot, seq: u64| self.message(slot, seq).lamport;
            lamport(a.slot, a.last) < lamport(b.slot, b.first)
        };
        let rows = found.chunk_by(|a, b| a.slot == b.slot && a.last + 1 == b.first && ascend(a, b));
        let rows: Vec<Vec<Found>> = rows.flat_map(rows_of).collect();
        for row in rows {
            self.relay(row, &mut answer, &mut lost);
        }
        if !answer.gone.is_empty() {
            answer.base = Some(self.base_with(lost));
        }
        self.answer_pull(to, answer);
    }

    /// Notes the segments of a span that are here, and what of it is not; `lost`: what is delivered and cannot be told.
    fn find_segments(&self, span: Span, found: &mut Vec<Found>, answer: &mut Pulled, lost: &mut Vec<(Slot, u64)>) {
        let Span { origin, from, to } = span;
        let Some(slot) = self.roster.find(origin) else {
            return answer.never.push(span);
        };
        let delivered = self.roster[slot].delivered;
        if to > delivered {
            let from = from.max(delivered + 1);
            answer.never.push(Span { origin, from, to });
        }
        let end = to.min(delivered);
        if from > end || from == 0 {
            return;
        }
        let chain = &self.roster[slot].chain;
        let segments: Vec<(u64, u64)> = chain
            .overlapping(from, end)
            .take(MAX_RUN)
            .map(|seal| (seal.first(), seal.last()))
            .collect();
        let mut next = from;
        for &(first, last) in &segments {
            if !self.is_whole(slot, first, last) {
                continue;
            }
            if next < first {
                answer.gone.push(Span {
                    origin,
                    from: next,
                    to: first - 1,
                });
                lost.push((slot, first - 1));
            }
            let position = self.roster[slot].position(first).map_or(0, |position| position + 1);
            found.push(Found {
                position,
                slot,
                first,
                last,
            });
            next = last + 1;
        }
        if next <= end && segments.len() < MAX_RUN {
            answer.gone.push(Span {
                origin,
                from: next,
                to: end,
            });
            lost.push((slot, end));
        }
    }

    /// All messages of a segment are delivered and here.
    fn is_whole(&self, slot: Slot, first: u64, last: u64) -> bool {
        let known = &self.roster[slot];
        let has = |seq: u64| known.position(seq).is_some() || self.log.kept.contains_key(&(slot, seq));
        last <= known.delivered && (first >= known.logged_from() || (first..=last).all(has))
    }

    /// The base, with these messages and all that they follow from. They are delivered here and cannot be proved: it is as
    /// if they were not kept.
    fn base_with(&self, lost: Vec<(Slot, u64)>) -> (Clock, u64) {
        let (mut base, mut lamport) = (self.base(), self.base_lamport);
        for (slot, upto) in lost {
            let is_here = self.roster[slot].position(upto).is_some() || self.log.kept.contains_key(&(slot, upto));
            if upto > self.roster[slot].base && is_here {
                let message = self.message(slot, upto);
                base.merge(&message.clock());
                lamport = lamport.max(message.lamport);
            }
        }
        (base, lamport)
    }

    /// Keeps as many as one answer may carry, one at least.
    fn cut_segments(&self, found: &mut Vec<Found>) {
        let (mut bytes, mut entries) = (0, 0);
        let mut fits = |found: &Found| {
            let clock = self.message(found.slot, found.first).past.len();
            entries += clock;
            bytes += sealed_bound(1) + clock * 26;
            let payload = |seq| self.message(found.slot, seq).payload.len();
            bytes += (found.first..=found.last)
                .map(|seq| encoded_bound(payload(seq), 0))
                .sum::<usize>();
            bytes <= self.config.pull_bytes && entries <= MAX_RUN_CLOCKS
        };
        let count = found.iter().take_while(|found| fits(found)).count();
        found.truncate(count.max(1));
    }

    /// Adds segments in a row, as far as they can be proved. If none can, the first of them counts as gone: what depends on
    /// it is to go on with as small a gap as can be.
    fn relay(&mut self, mut row: Vec<Found>, answer: &mut Pulled, lost: &mut Vec<(Slot, u64)>) {
        let Some(&Found { slot, first, last, .. }) = row.first() else {
            return;
        };
        while let Some(end) = row.last() {
            let run = self
                .proved_end(slot, end.first)
                .and_then(|end| self.sealed_run(&row, end));
            if let Some(run) = run {
                return answer.runs.push(run);
            }
            row.pop();
        }
        answer.gone.push(Span {
            origin: self.roster[slot].id,
            from: first,
            to: last,
        });
        lost.push((slot, last));
    }

    /// Segments in a row, and what leads from the last one to a signed end.
    fn sealed_run(&self, row: &[Found], end: u64) -> Option<Run> {
        let (start, stop) = (row.first()?, row.last()?);
        let chain = &self.roster[start.slot].chain;
        let sealed = |seal: &Seal, is_here: bool| Sealed {
            count: seal.segment.count as u32,
            digest: (!is_here).then_some(seal.segment.digest),
            signature: seal.signature,
        };
        let here = chain.overlapping(start.first, stop.last).map(|seal| sealed(seal, true));
        let trail = chain.trail(stop.first, end).filter(|trail| trail.len() <= TRAIL)?;
        let seals = Seals {
            key: chain.key?,
            prev: chain.covering(start.first)?.segment.prev,
            segments: here.chain(trail.into_iter().map(|seal| sealed(seal, false))).collect(),
        };
        self.run_of(start.slot, start.first, stop.last)
            .with_seals(seals)
            .travelled()
    }

    /// Takes the runs out that are not what their origins signed; whoever sent them counts as one that lacks it, so that
    /// another one is asked. None: it was the sponsor of a join, which begins again.
    pub(super) fn prove_all(&mut self, from: Slot, pulled: &mut Pulled) -> Option<Vec<Taken>> {
        let (mut proved, mut bad) = (Vec::new(), Vec::new());
        pulled.runs.retain(|run| match self.prove(run.clone()) {
            Ok(taken) => {
                proved.extend(taken);
                true
            }
            Err(what) => {
                let (origin, from, to) = (run.origin(), run.first(), run.last());
                bad.push((Span { origin, from, to }, what));
                false
            }
        });
        for &(_, what) in &bad {
            self.odd(from, what);
        }
        if !bad.is_empty() && self.restart_join(from) {
            return None;
        }
        pulled.never.extend(bad.into_iter().map(|bad| bad.0));
        Some(proved)
    }
}

/// Cuts a row where it would be too long for a run.
fn rows_of(row: &[Found]) -> Vec<Vec<Found>> {
    let (mut rows, mut messages) = (Vec::<Vec<Found>>::new(), 0);
    for found in row {
        let count = (found.last + 1 - found.first) as usize;
        messages += count;
        match rows.last_mut().filter(|_| messages <= MAX_RUN) {
            Some(row) => row.push(*found),
            None => {
                rows.push(vec![*found]);
                messages = count;
            }
        }
    }
    rows
}
