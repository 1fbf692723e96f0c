//! The other side of a join: a member grants its cut, and is greeted by those whom others sponsored.

use crate::clock::Clock;
use crate::engine::frame::{Named, Record, Sponsor, Standing};
use crate::engine::roster::Slot;
use crate::engine::{Engine, Frame, Phase};
use crate::id::MemberId;
use crate::message::Intro;

/// So many cuts may be refused by those whom the joiner greets. Where even the sponsors lack what others let go of,
/// which takes a budget that is too small for the load, it enters all the same and is told of a gap.
const CHOOSY_ATTEMPTS: u32 = 8;

impl Engine {
    /// A joiner asks: grant it the cut of this moment. From its greeting on it counts with that cut; until then
    /// it counts with nothing, so that all that it might need is kept.
    pub(super) fn on_join_ask(&mut self, slot: Slot, attempt: u32, intro: Intro) {
        // Not one that is leaving: it does not count any more, so what its cut lacks may be kept by nobody.
        if !matches!(self.phase, Phase::Member) {
            return;
        }
        let member = self.roster[slot].id;
        if self.roster[slot].delivered > 0 {
            // A late ask of one who has long spoken.
            return;
        }
        let others = self
            .roster
            .all()
            .filter(|(other, known)| *other != slot && known.counts());
        if others.count() >= self.config.max_members {
            let limit = self.config.max_members as u32;
            return self.say(slot, Frame::Full { attempt, limit });
        }
        self.merge_record(Record::of(member, 0, Standing::Joining, Some(intro)));
        self.refresh_stable();
        let stable = self.stable();
        let cut = self.delivered();
        let view = self.view();
        let (retired, names) = (self.retired(), self.names());
        let sponsor = Sponsor {
            names,
            attempt,
            cut,
            stable,
            lamport: self.lamport,
            retired,
            view,
        };
        self.say(slot, Frame::Sponsor(sponsor));
    }

    /// What people call everyone whose join message is delivered here, or was before this member's cut.
    pub(super) fn names(&self) -> Vec<Named> {
        let named = |(member, slot): (MemberId, Slot)| {
            let known = &self.roster[slot];
            let (name, joined_at) = (known.name.clone()?, known.joined_at?);
            Some(Named {
                member,
                name,
                joined_at,
            })
        };
        self.roster.by_id().filter_map(named).collect()
    }

    pub(super) fn on_greet(&mut self, slot: Slot, attempt: u32, intro: Intro, cut: Clock) {
        if self.is_finding() {
            return;
        }
        let member = self.roster[slot].id;
        if cut.get(member) > 0 || cut.get(self.me) > self.roster[self.my_slot].delivered {
            return self.odd(slot, "greets with a cut that cannot be");
        }
        self.merge_record(Record::of(member, 0, Standing::Joining, Some(intro)));
        // Its sponsor may have left meanwhile, and with it the reason to keep what the cut lacks.
        let too_low = attempt < CHOOSY_ATTEMPTS && !cut.dominates(&self.base());
        let known = &mut self.roster[slot];
        let joins = known
            .record
            .as_ref()
            .is_some_and(|record| record.standing == Standing::Joining);
        if joins && !too_low && attempt > known.peer.attempt {
            known.peer.attempt = attempt;
            // A joiner that starts over may know less than it did: its cut replaces, it does not add.
            known.peer.digest = cut.clone();
            known.peer.acked = cut.get(self.me);
            self.stable.stale = true;
            self.start_push(slot, cut.get(self.me));
        }
        self.say(slot, Frame::Greeted { attempt, too_low });
    }
}
