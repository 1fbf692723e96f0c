//! The end of members: when the group decides that an origin will say no more, what is given up with it, and what
//! happens when it turns out to be alive.

use crate::engine::frame::{Record, Standing};
use crate::engine::io::Notice;
use crate::engine::roster::Slot;
use crate::engine::{Engine, Output, Phase};
use crate::message::Micros;

impl Engine {
    /// Closes whoever can be closed, and settles what is closed. Each member decides by itself; the rules are such
    /// that they decide alike, and records are merged where they did not.
    pub(super) fn review_ends(&mut self) {
        if !matches!(self.phase, Phase::Member | Phase::Leaving) {
            return;
        }
        self.note_unheard();
        self.tell_gone();
        for slot in self.roster.slots() {
            if slot == self.my_slot {
                continue;
            }
            // Someone who never had all of it may have ended it lower, and a gap skips past an end without a word.
            if self.roster[slot]
                .bound()
                .is_some_and(|last| last < self.roster[slot].delivered)
            {
                self.reopen(slot);
            }
            if let Some((standing, raise)) = self.verdict(slot) {
                self.set_standing(slot, standing, raise);
            }
            self.settle_end(slot);
        }
    }

    /// Grace runs while nobody who counts hears the member.
    fn note_unheard(&mut self) {
        let now = self.now;
        let hearing: Vec<Slot> = self
            .roster
            .all()
            .filter(|(_, known)| known.counts() && !known.peer.silent)
            .flat_map(|(_, known)| known.peer.hears.iter().filter_map(|id| self.roster.find(*id)))
            .collect();
        for slot in hearing {
            self.roster[slot].peer.unheard_since = now;
        }
    }

    /// As soon as a process seems gone everyone is told: closing it waits for what all of them see.
    fn tell_gone(&mut self) {
        let mut news = false;
        for slot in self.roster.slots() {
            let gone = self.sees_gone(slot) && self.roster[slot].counts();
            news |= gone && !self.roster[slot].peer.gone_told;
            self.roster[slot].peer.gone_told = gone;
        }
        if news {
            self.beat_everyone(false);
        }
    }

    /// How a member's record should change, and whether that needs a new generation.
    fn verdict(&self, slot: Slot) -> Option<(Standing, bool)> {
        let known = &self.roster[slot];
        let (n, now) = (known.delivered, self.now);
        match known.standing()? {
            Standing::Joining | Standing::Member => {
                let dead = self.is_gone_everywhere(slot) || (self.is_grace_over(slot) && !self.is_leased(slot));
                let since = known.peer.heard_at;
                (dead && self.agreed(slot, n, since)).then_some((Standing::Closed(n), false))
            }
            Standing::Left(last) if n == last => self
                .agreed(slot, n, known.end.ended_at?)
                .then_some((Standing::Closed(n), false)),
            Standing::Left(last) | Standing::Closed(last) if n < last => {
                // What was said to be the last may have died with those who had it.
                let since = known.end.ended_at? + self.config.bound_patience;
                let bound = self.config.rules.closed_is_upper_bound;
                (bound && now >= since && self.agreed(slot, n, since)).then_some((Standing::Closed(n), true))
            }
            Standing::Left(_) | Standing::Closed(_) | Standing::Expelled => None,
        }
    }

    /// Every member that counts reported the same, and that it does not hear the origin; nobody who is there has more.
    /// Silent members are asked for their last word; whoever is written off has none.
    fn agreed(&self, slot: Slot, n: u64, since: Micros) -> bool {
        if !self.config.rules.agree_before_closing {
            return true;
        }
        let id = self.roster[slot].id;
        let lately = self.now.saturating_sub(self.config.silent_after);
        self.roster.all().all(|(voter, known)| {
            if voter == self.my_slot {
                return true;
            }
            if voter == slot || !known.counts() || self.is_written_off(voter) {
                // Who is leaving has no vote, but while it is there what it has delivered is not given up: whoever
                // lacks that gets it, or learns in a gap that nobody keeps it.
                return known.peer.heard_at < lately || known.peer.digest.get(id) <= n;
            }
            let fresh = known.peer.silent || known.peer.beat_at >= since;
            fresh && known.peer.digest.get(id) == n && !known.peer.hears.contains(&id)
        })
    }

    /// Its grace is over, or its process is gone.
    pub(super) fn is_written_off(&self, slot: Slot) -> bool {
        self.is_grace_over(slot) || self.is_gone_everywhere(slot)
    }

    pub(super) fn is_grace_over(&self, slot: Slot) -> bool {
        let peer = &self.roster[slot].peer;
        peer.silent && self.now >= peer.unheard_since.saturating_add(self.config.grace)
    }

    /// A registry vouches for its node.
    fn is_leased(&self, slot: Slot) -> bool {
        let intro = self.roster[slot]
            .record
            .as_ref()
            .and_then(|record| record.intro.as_ref());
        intro.is_some_and(|intro| self.leases.contains(&intro.node))
    }

    /// Its address refuses connections, seen from here, for long enough.
    pub(super) fn sees_gone(&self, slot: Slot) -> bool {
        let peer = &self.roster[slot].peer;
        let refuses = peer.refused && !peer.linked;
        refuses && self.now >= peer.refused_at.saturating_add(self.config.gone_after) && !self.expects_more(slot)
    }

    /// Something of it is here already, and waits for a message of someone who is there and will supply it: its end
    /// is not reached yet.
    fn expects_more(&self, slot: Slot) -> bool {
        let next = self.roster[slot].held.first();
        next.and_then(|(_, held)| held.waits_for)
            .is_some_and(|(cause, _)| self.roster[cause].is_there())
    }

    /// The same, seen from every member that is there.
    fn is_gone_everywhere(&self, slot: Slot) -> bool {
        let id = self.roster[slot].id;
        let since = self.roster[slot].peer.refused_at;
        self.sees_gone(slot)
            && self.roster.all().all(|(other, known)| {
                other == slot
                    || other == self.my_slot
                    || !known.counts()
                    || known.peer.silent
                    || self.sees_gone(other)
                    || (known.peer.beat_at >= since && known.peer.sees_gone.contains(&id))
            })
    }

    fn set_standing(&mut self, slot: Slot, standing: Standing, raise: bool) {
        let known = &self.roster[slot];
        let Some(record) = &known.record else { return };
        let raise = u32::from(raise && self.config.rules.generations);
        let generation = record.generation.saturating_add(raise);
        let member = known.id;
        self.merge_record(Record::of(member, generation, standing, None));
    }

    /// A closed origin that is delivered to its end: what waits for more of it is given up, and told.
    fn settle_end(&mut self, slot: Slot) {
        let known = &self.roster[slot];
        let Some(Standing::Closed(last)) = known.standing() else {
            return;
        };
        if known.end.settled_at.is_some() || known.delivered > last {
            return;
        }
        if known.delivered < last {
            let id = known.id;
            return self.want(slot, last, id);
        }
        let discarded = if self.config.rules.purge_orphans {
            self.discard_held(slot)
        } else {
            0
        };
        let known = &mut self.roster[slot];
        (known.end.settled_at, known.end.settled_last) = (Some(self.now), last);
        known.want = None;
        known.stream = None;
        known.peer.push = None;
        let origin = known.id;
        self.wanting.remove(&slot);
        // A joiner that never spoke is nobody's loss.
        if last > 0 {
            self.out.push(Output::Notice(Notice::Closed {
                origin,
                last_seq: last,
                discarded,
            }));
        }
    }

    /// Whatever is held of a closed origin is above its end, and waits for what died with it. What others sent
    /// after seeing it is held too, and goes when they are closed: nobody who is alive has seen it.
    pub(super) fn discard_held(&mut self, slot: Slot) -> u64 {
        let mut discarded = 0;
        while let Some(seq) = self.roster[slot].held.last() {
            let held = self.waiting.remove(&mut self.roster, slot, seq);
            discarded += held.map_or(0, |held| held.piece.len() as u64);
        }
        discarded
    }

    /// A frame of the member itself: whoever speaks is not closed. One that said goodbye is not reopened by what
    /// it had still on its way.
    pub(super) fn spoke(&mut self, slot: Slot) {
        let Some(record) = &self.roster[slot].record else {
            return;
        };
        if matches!(record.standing, Standing::Closed(_)) && !record.goodbye {
            self.reopen(slot);
        }
    }

    /// The origin is alive, or said more than the group knew when it closed it.
    pub(super) fn reopen(&mut self, slot: Slot) {
        let now = self.now;
        let known = &mut self.roster[slot];
        known.peer.heard_at = now;
        let standing = match known.record.as_ref().is_some_and(|record| record.goodbye) {
            true => Standing::Left(known.delivered),
            false => Standing::Member,
        };
        self.set_standing(slot, standing, true);
    }

    /// After a record changed: when an end began, or that there is none.
    pub(super) fn note_end(&mut self, slot: Slot) {
        let now = self.now;
        let known = &mut self.roster[slot];
        let id = known.id;
        let Some(bound) = known.bound() else {
            known.end.ended_at = None;
            // One that never spoke was closed without a word.
            if known.end.settled_at.take().is_some() && known.end.settled_last > 0 {
                self.out.push(Output::Notice(Notice::Reopened(id)));
            }
            return;
        };
        // A new bound is a new reason to wait for it, and another end is told again.
        known.end.ended_at = Some(now);
        if known.end.settled_last != bound {
            known.end.settled_at = None;
        }
        if known.delivered < bound {
            known.end.settled_at = None;
            self.want(slot, bound, id);
        } else if let Some(want) = &mut known.want {
            want.upto = want.upto.min(bound);
        }
    }
}
