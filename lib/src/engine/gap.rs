//! Gaps: when nobody keeps a message any more, the member skips to a base that does without it, and names exactly
//! what it skipped.

use crate::clock::Clock;
use crate::engine::held::Held;
use crate::engine::io::Notice;
use crate::engine::roster::Slot;
use crate::engine::{Engine, Output, Phase, Pulled};
use crate::id::{MemberId, Span};

impl Engine {
    /// Notes who does not have what is missing, from an answer to a pull.
    pub(super) fn note_lacking(&mut self, from: Slot, pulled: &Pulled) {
        let gone = pulled.gone.iter().map(|span| (span, pulled.base.as_ref()));
        let never = pulled.never.iter().map(|span| (span, None));
        for (span, base) in gone.chain(never) {
            let Some(slot) = self.roster.find(span.origin) else {
                continue;
            };
            let Some(want) = &mut self.roster[slot].want else {
                continue;
            };
            if (span.from..=span.to).contains(&want.first) {
                let base = base.filter(|base| base.0.get(span.origin) >= want.first).cloned();
                want.lacking.insert(from, base);
            }
        }
    }

    /// A member that did not have it says that it has delivered up to `seq` now.
    pub(super) fn has_now(&mut self, slot: Slot, holder: Slot, seq: u64) {
        let Some(want) = &mut self.roster[slot].want else {
            return;
        };
        if seq >= want.first && matches!(want.lacking.get(&holder), Some(None)) {
            want.lacking.remove(&holder);
        }
    }

    /// Every member that counts has said, since the need arose, that it does not have the first missing message.
    pub(super) fn is_exhausted(&self, slot: Slot) -> bool {
        let Some(want) = &self.roster[slot].want else {
            return false;
        };
        let mut voters = self
            .roster
            .all()
            .filter(|(voter, known)| *voter != self.my_slot && known.counts());
        !want.lacking.is_empty()
            && voters.all(|(voter, _)| self.is_written_off(voter) || want.lacking.contains_key(&voter))
    }

    /// Somebody who is there had the first missing message once: it is history, and does not die with its origin.
    pub(super) fn was_delivered(&self, slot: Slot) -> bool {
        self.offers(slot).next().is_some()
    }

    /// The bases that were offered for the first missing message. One of a member that is gone may name what died with
    /// it, and then there is nobody who could confirm that.
    fn offers(&self, slot: Slot) -> impl Iterator<Item = (Slot, &(Clock, u64))> {
        let want = self.roster[slot].want.as_ref();
        let offers = want.into_iter().flat_map(|want| want.lacking.iter());
        offers.filter_map(|(&from, base)| Some((from, base.as_ref().filter(|_| self.may_confirm(from))?)))
    }

    /// It counts, or is still there and leaving.
    fn may_confirm(&self, slot: Slot) -> bool {
        let known = &self.roster[slot];
        let lately = self.now.saturating_sub(self.config.silent_after);
        known.counts() || (!known.peer.refused && known.peer.heard_at > lately)
    }

    /// Skips what nobody keeps, if there is nothing else to be done.
    pub(super) fn consider_gap(&mut self) {
        // A member that is leaving does not count any more: others need not keep anything for it.
        if !matches!(self.phase, Phase::Member) {
            return;
        }
        let Some((via, base, lamport)) = self.least_base() else {
            return;
        };
        // What the base would skip beyond the missing message must be asked for first.
        let mut complete = true;
        for (member, seq) in base.iter() {
            let slot = self.roster.ensure(member, self.now);
            if !self.is_blocked(slot, seq) && !self.is_exhausted(slot) {
                self.want(slot, seq, via);
                complete = false;
            }
        }
        if complete {
            self.skip_to(&base, lamport);
        }
    }

    /// Nothing of an origin up to `seq` can be delivered by asking for it: there is none, or the next message is here
    /// and waits for others. What comes after that may not even have room to be held.
    fn is_blocked(&self, slot: Slot, seq: u64) -> bool {
        let known = &self.roster[slot];
        known.delivered >= seq || known.is_expelled() || known.held.contains(known.delivered + 1)
    }

    /// The base that skips least, of those that members offered for messages that nobody has.
    fn least_base(&self) -> Option<(MemberId, Clock, u64)> {
        let skips = |base: &Clock| -> u64 {
            base.iter()
                .filter(|(member, _)| {
                    !self
                        .roster
                        .find(*member)
                        .is_some_and(|slot| self.roster[slot].is_expelled())
                })
                .map(|(member, seq)| seq.saturating_sub(self.roster.delivered_of(member)))
                .sum()
        };
        let exhausted = self.wanting.iter().filter(|slot| self.is_exhausted(**slot));
        exhausted
            .flat_map(|&slot| self.offers(slot))
            .map(|(slot, (base, lamport))| (slot, base, *lamport))
            .min_by_key(|(slot, base, _)| (skips(base), *slot))
            .map(|(slot, base, lamport)| (self.roster[slot].id, base.clone(), lamport))
    }

    fn skip_to(&mut self, base: &Clock, lamport: u64) {
        let mut dots = Vec::new();
        for (origin, seq) in base.iter() {
            let slot = self.roster.ensure(origin, self.now);
            // The base stays causally closed: what it has beside the skipped dots belongs to it, kept or not.
            let known = &mut self.roster[slot];
            known.base = known.base.max(seq);
            if known.delivered >= seq || known.is_expelled() {
                continue;
            }
            dots.push(Span {
                origin,
                from: self.roster[slot].delivered + 1,
                to: seq,
            });
            self.skip(slot, seq);
        }
        if self.config.rules.gap_brings_lamport {
            self.lamport = self.lamport.max(lamport);
            self.base_lamport = self.base_lamport.max(lamport);
        }
        self.stable.stale = true;
        if dots.is_empty() {
            return;
        }
        let skipped: Vec<Slot> = dots.iter().filter_map(|span| self.roster.find(span.origin)).collect();
        self.out.push(Output::Notice(Notice::Gap(dots)));
        for slot in skipped {
            self.wake(slot);
        }
    }

    /// Counts everything of one origin up to `seq` as delivered. What is here of it stays for others' repair.
    fn skip(&mut self, slot: Slot, seq: u64) {
        let known = &self.roster[slot];
        for below in known.logged_from()..=known.delivered {
            if let Some(position) = self.roster[slot].position(below) {
                let message = self.log.at(position).at(below);
                self.log.keep(slot, message);
            }
        }
        while self.roster[slot].held.first().is_some_and(|held| held.0 <= seq) {
            self.skip_held(slot, seq);
        }
        let known = &mut self.roster[slot];
        if !known.speaks() {
            // Its join message is skipped: where it started from in the end is not known, whatever it said before.
            (known.peer.digest, known.peer.acked, known.peer.unmerged) = (Clock::new(), 0, None);
        }
        known.places.clear();
        (known.delivered, known.base) = (seq, seq);
        known.lamport = 0;
        if !known.dirty {
            known.dirty = true;
            self.own.dirty.push(slot);
        }
        self.ensure_record(slot);
    }

    /// The first piece that is held of an origin is kept as far as `seq`; the rest of it waits on.
    fn skip_held(&mut self, slot: Slot, seq: u64) {
        let known = &mut self.roster[slot];
        let Some(held) = self.waiting.remove_first(known, slot) else {
            return;
        };
        let mut left = Some(held.piece);
        while let Some(piece) = left.take_if(|piece| piece.first() <= seq) {
            let (message, rest) = piece.split_first();
            self.log.keep(slot, message);
            left = rest;
        }
        if let Some(piece) = left {
            let rest = Held {
                piece,
                needs: Vec::new(),
                at: 0,
                waits_for: None,
                ..held
            };
            self.waiting.insert(&mut self.roster[slot], slot, rest);
        }
    }
}
