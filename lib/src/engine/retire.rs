//! Retiring: closed origins leave the clocks of later messages, so that clocks do not grow for ever.

use bytes::{BufMut, Bytes, BytesMut};

use crate::engine::frame::Standing;
use crate::engine::roster::Slot;
use crate::engine::{Engine, Phase};
use crate::id::MemberId;
use crate::message::Kind;

impl Engine {
    /// The lowest member that is there retires what has been closed and stable for long enough: one at a time. Two
    /// who both think that they are the lowest do no harm.
    pub(super) fn retire_lowest(&mut self) {
        if !matches!(self.phase, Phase::Member) {
            return;
        }
        let lowest = self
            .roster
            .by_id()
            .find(|&(_, slot)| slot == self.my_slot || self.roster[slot].is_there());
        if lowest.is_none_or(|(_, slot)| slot != self.my_slot) {
            return;
        }
        let due = |settled: u64| self.now >= settled.saturating_add(self.config.retire_after);
        let ripe = |slot: &Slot| {
            let known = &self.roster[*slot];
            known.retired.is_none_or(|n| n < known.delivered)
                && matches!(known.standing(), Some(Standing::Closed(n)) if n > 0)
                && known.end.settled_at.is_some_and(due)
        };
        let candidates: Vec<Slot> = self.roster.slots().filter(ripe).collect();
        if candidates.is_empty() {
            return;
        }
        self.refresh_stable();
        let stable = |slot: &&Slot| self.stable.seqs.get(**slot as usize) == Some(&self.roster[**slot].delivered);
        if let Some(&slot) = candidates.iter().find(stable) {
            let payload = encode(self.roster[slot].id, self.roster[slot].delivered);
            self.speak(Kind::Retire, payload, 0);
        }
    }

    /// A retirement is delivered: from here on clocks leave the origin out, while it says no more.
    pub(super) fn note_retired(&mut self, payload: &[u8]) {
        let Some((member, n)) = decode(payload) else { return };
        let Some(slot) = self.roster.find(member) else { return };
        let known = &mut self.roster[slot];
        if known.delivered < n || slot == self.my_slot {
            return;
        }
        known.retired = Some(known.retired.map_or(n, |before| before.max(n)));
        if !self.config.rules.tombstones {
            (known.delivered, known.base) = (0, 0);
            known.places.clear();
        }
        if !known.dirty {
            known.dirty = true;
            self.own.dirty.push(slot);
        }
    }

    /// Origins that are retired, with their last seq.
    pub(super) fn retired(&self) -> Vec<(MemberId, u64)> {
        let retired = |(id, slot): (MemberId, Slot)| self.roster[slot].retired.map(|n| (id, n));
        self.roster.by_id().filter_map(retired).collect()
    }
}

fn encode(member: MemberId, n: u64) -> Bytes {
    let mut payload = BytesMut::with_capacity(24);
    payload.put_slice(&member.0);
    payload.put_u64(n);
    payload.freeze()
}

fn decode(payload: &[u8]) -> Option<(MemberId, u64)> {
    let (member, n) = payload.split_at_checked(16)?;
    Some((
        MemberId(member.try_into().ok()?),
        u64::from_be_bytes(n.try_into().ok()?),
    ))
}
