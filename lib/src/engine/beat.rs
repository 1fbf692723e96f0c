//! Signs of life: heartbeats with digests, views that differ, silence.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::clock::Clock;
use crate::engine::io::{Notice, Output};
use crate::engine::roster::{Known, Slot};
use crate::engine::{Beat, Engine, Frame, Phase, Stage, View};
use crate::id::{MemberId, NodeId};
use crate::message::{Intro, Micros};

/// The same view is not sent twice to one peer within this time: the first may still be on its way.
const VIEW_PAUSE: Micros = 400_000;

impl Engine {
    pub(super) fn on_link_up(&mut self, peer: MemberId) {
        if peer == self.me || !self.admits(peer) {
            return;
        }
        let slot = self.roster.ensure(peer, self.now);
        let known = &mut self.roster[slot].peer;
        known.linked = true;
        known.push = None;
        known.view_sent = None;
        self.heard(slot);
        if self.is_joining() {
            self.join_over(slot);
        } else {
            self.beat(slot, true);
        }
    }

    pub(super) fn on_link_down(&mut self, peer: MemberId) {
        let Some(slot) = self.roster.find(peer) else { return };
        let known = &mut self.roster[slot].peer;
        known.linked = false;
        known.push = None;
        known.hears = Arc::default();
        self.join_lost(slot);
    }

    pub(super) fn on_refused(&mut self, peer: MemberId) {
        let Some(slot) = self.roster.find(peer) else { return };
        let now = self.now;
        let known = &mut self.roster[slot].peer;
        if known.linked {
            return;
        }
        if !std::mem::replace(&mut known.refused, true) {
            known.refused_at = now;
        }
        self.join_lost(slot);
    }

    pub(super) fn on_lease(&mut self, node: NodeId, live: bool) {
        match live {
            true => self.leases.insert(node),
            false => self.leases.remove(&node),
        };
    }

    /// A sign of life.
    pub(super) fn heard(&mut self, slot: Slot) {
        let now = self.now;
        let known = &mut self.roster[slot];
        (known.peer.heard_at, known.peer.heard) = (now, true);
        known.peer.refused = false;
        if std::mem::take(&mut known.peer.silent) && known.counts() {
            // Its grace may have been over: from now on what it lacks is kept again.
            self.stable.stale = true;
            let id = known.id;
            self.out.push(Output::Notice(Notice::Resumed(id)));
        }
    }

    /// Whoever was before at an address where another process answers now is not there any more: at this node's own,
    /// which nobody dials, and at those of linked members, where a refusal is told once and a late frame undoes it.
    fn watch_addresses(&mut self) {
        let intro = |known: &Known| known.record.as_ref().and_then(|record| record.intro.clone());
        let linked = self.roster.all().filter(|(_, known)| known.peer.linked);
        let mut taken: BTreeMap<SocketAddr, NodeId> = linked
            .filter_map(|(_, known)| intro(known))
            .map(|intro| (intro.addr, intro.node))
            .collect();
        taken.insert(self.intro.addr, self.intro.node);
        taken.retain(|addr, _| addr.port() != 0 && !addr.ip().is_unspecified());
        let was_there = |intro: &Intro| taken.get(&intro.addr).is_some_and(|node| *node != intro.node);
        let counted = self
            .roster
            .all()
            .filter(|(_, known)| known.counts() && !known.peer.linked);
        let gone: Vec<MemberId> = counted
            .filter(|(_, known)| intro(known).as_ref().is_some_and(was_there))
            .map(|(_, known)| known.id)
            .collect();
        gone.into_iter().for_each(|member| self.on_refused(member));
    }

    pub(super) fn watch_silence(&mut self) {
        self.watch_addresses();
        let before = self.now.saturating_sub(self.config.silent_after);
        let (mut silent, now) = (Vec::new(), self.now);
        for (slot, known) in self.roster.all_mut() {
            if slot != self.my_slot && known.counts() && !known.peer.silent && known.peer.heard_at < before {
                known.peer.silent = true;
                known.peer.unheard_since = now;
                silent.push(known.id);
            }
        }
        if !self.is_joining() {
            self.out
                .extend(silent.into_iter().map(|id| Output::Notice(Notice::Silent(id))));
        }
    }

    pub(super) fn beat(&mut self, slot: Slot, wants_answer: bool) {
        let beat = self.make_beat(wants_answer);
        self.say(slot, Frame::Beat(beat));
    }

    fn make_beat(&mut self, wants_answer: bool) -> Beat {
        self.rehash_view();
        let horizon = self.now.saturating_sub(self.config.silent_after);
        let members = |which: &dyn Fn(Slot) -> bool| {
            let found = self.roster.by_id().filter(|entry| which(entry.1));
            found.map(|entry| entry.0).collect()
        };
        let digest = self.digest();
        Beat {
            heads: self.tags_of(&digest).into(),
            digest,
            stage: self.stage(),
            view: self.view_hash,
            hears: members(&|slot| slot != self.my_slot && self.hears(slot, horizon)),
            gone: members(&|slot| self.sees_gone(slot)),
            wants_answer,
        }
    }

    fn hears(&self, slot: Slot, horizon: Micros) -> bool {
        let known = &self.roster[slot];
        known.counts() && !known.peer.silent && known.peer.heard_at >= horizon && known.peer.linked
    }

    fn stage(&self) -> Stage {
        match self.phase {
            Phase::Joining(_) => Stage::Joining,
            Phase::Member => Stage::Member,
            Phase::Leaving | Phase::Over => Stage::Leaving,
        }
    }

    /// What this member has delivered; a joiner says its cut, because it may have to start over.
    fn digest(&self) -> Clock {
        if self.is_joining() {
            return self.cut.clone();
        }
        let named = self.config.rules.digests_name_retired;
        self.roster.clock(|known| {
            if named || known.retired.is_none() {
                known.delivered
            } else {
                0
            }
        })
    }

    /// A fresh digest to every peer: after a join, and every so many bytes under load.
    pub(super) fn beat_everyone(&mut self, wants_answer: bool) {
        self.since_digest = 0;
        // Made once: it takes a look at every member, and a clone shares what it found.
        let beat = self.make_beat(wants_answer);
        for slot in self.roster.slots() {
            self.say(slot, Frame::Beat(beat.clone()));
        }
    }

    pub(super) fn send_heartbeats(&mut self) {
        if self.is_finding() {
            return;
        }
        let idle = self.now.saturating_sub(self.config.heartbeat);
        let is_due = |slot: &Slot| self.roster[*slot].peer.linked && self.roster[*slot].peer.told_at <= idle;
        let due: Vec<Slot> = self.roster.slots().filter(is_due).collect();
        if due.is_empty() {
            return;
        }
        let beat = self.make_beat(true);
        for slot in due {
            self.say(slot, Frame::Beat(beat.clone()));
        }
    }

    pub(super) fn schedule_exchange(&mut self) {
        let pause = self.config.exchange + self.rng.below(self.config.exchange);
        self.timers.exchange = Some(self.now + pause);
    }

    /// Compares digests with one random peer, so that the loss of a last message is found too.
    pub(super) fn exchange_digests(&mut self) {
        self.schedule_exchange();
        self.audit();
        let peers: Vec<Slot> = self
            .roster
            .slots()
            .filter(|&slot| self.roster[slot].peer.linked)
            .collect();
        let nth = self.rng.below(peers.len() as u64) as usize;
        if let (false, Some(&slot)) = (self.is_finding(), peers.get(nth)) {
            self.beat(slot, true);
        }
    }

    pub(super) fn on_beat(&mut self, slot: Slot, beat: Beat) {
        if self.is_finding() {
            if beat.stage == Stage::Member {
                // It is there to be asked.
                self.found_later(slot);
            }
            return;
        }
        if beat.digest.get(self.me) > self.roster[self.my_slot].delivered {
            return self.odd(slot, "has delivered messages of this member that it never sent");
        }
        let (now, from) = (self.now, self.roster[slot].id);
        if beat.digest.get(from) > 0 {
            self.ensure_record(slot);
        }
        let merged = beat.view == self.view_hash || beat.view == self.roster[slot].peer.merged_view;
        if beat.stage == Stage::Joining {
            // It may have started over since, or will: what it says of itself is no evidence.
        } else if merged || !self.config.rules.digest_after_view {
            let peer = &mut self.roster[slot].peer;
            (peer.beat_at, peer.hears, peer.sees_gone, peer.unmerged) = (now, beat.hears, beat.gone, None);
            self.count_digest(slot, &beat.digest);
        } else {
            self.roster[slot].peer.unmerged = Some((beat.view, beat.digest.clone()));
        }
        if beat.view != self.view_hash {
            self.send_view(slot);
        }
        self.compare_heads(slot, &beat.digest, &beat.heads);
        if matches!(self.phase, Phase::Over) {
            return;
        }
        for (member, seq) in beat.digest.iter() {
            if self.roster.delivered_of(member) < seq && self.admits(member) {
                let origin = self.roster.ensure(member, self.now);
                self.want(origin, seq, from);
                self.has_now(origin, slot, seq);
            }
        }
        let has = beat.digest.get(self.me);
        if beat.stage != Stage::Joining {
            self.note_acked(slot, has);
        }
        if !self.is_joining() && self.roster[slot].peer.push.is_none() {
            self.start_push(slot, has);
        }
        if beat.wants_answer {
            self.beat(slot, false);
        }
    }

    /// A digest of a member whose view is merged here: evidence of delivery.
    fn count_digest(&mut self, slot: Slot, digest: &Clock) {
        self.roster[slot].peer.digest.merge(digest);
        self.stable.stale = true;
    }

    fn send_view(&mut self, slot: Slot) {
        self.rehash_view();
        let (hash, now) = (self.view_hash, self.now);
        let sent = &mut self.roster[slot].peer.view_sent;
        if sent.is_some_and(|(old, at)| old == hash && now < at + VIEW_PAUSE) {
            return;
        }
        *sent = Some((hash, now));
        let view = self.view();
        self.say(slot, Frame::View(view));
    }

    pub(super) fn on_view(&mut self, slot: Slot, view: View) {
        if self.is_finding() {
            return;
        }
        let theirs = super::members::hash_of(&view.records);
        for proof in &view.proofs {
            self.on_proof(proof);
        }
        if matches!(self.phase, Phase::Over) || self.roster[slot].is_expelled() {
            return;
        }
        for record in view.records {
            if self.admits(record.member) {
                self.merge_record(record);
            }
        }
        self.rehash_view();
        let peer = &mut self.roster[slot].peer;
        peer.merged_view = theirs;
        match peer.unmerged.take() {
            Some((hash, digest)) if hash == theirs => self.count_digest(slot, &digest),
            other => peer.unmerged = other,
        }
        if theirs != self.view_hash {
            self.send_view(slot);
        }
    }
}
