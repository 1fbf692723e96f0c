//! Sending: stamping one's own messages, push streams as cursors over them, and flow control.

use bytes::Bytes;

use crate::chain::{SEGMENT_BYTES, SEGMENT_MESSAGES};
use crate::engine::io::{Batch, Notice, Output, Refusal};
use crate::engine::pace::Pusher;
use crate::engine::roster::Slot;
use crate::engine::{Engine, Offers, Phase, PushAck};
use crate::message::{Kind, Micros};
use crate::run::{Composer, MAX_RUN};

/// A batch of so many bytes is not small: it goes beside one that is on its way, for its call costs little beside it.
const BESIDE_BYTES: u64 = 32 << 10;
/// With no more messages than these without an acknowledgement a peer is not under load: nothing is gained by waiting.
const SPARSE: u64 = 8;
/// How long the first answer of a peer may take: a batch of the usual size over 1 MB/s, and a long way back.
const FIRST_TURN: Micros = 500_000;

impl Engine {
    pub(super) fn on_send(&mut self, ticket: u64, kind: Kind, payload: Bytes, sent_at: u64) {
        let limit = self.config.payload_limit;
        let refusal = if !matches!(self.phase, Phase::Member) || !matches!(kind, Kind::App | Kind::Call | Kind::List) {
            Some(Refusal::NotMember)
        } else if payload.len() > limit {
            Some(Refusal::TooLong { limit })
        } else if self.window_is_full() {
            Some(Refusal::WindowFull)
        } else {
            None
        };
        if let Some(why) = refusal {
            // Answers come in the order of the sends.
            self.finish_saying();
            return self.out.push(Output::Refused { ticket, why });
        }
        if kind != Kind::App {
            self.finish_saying();
        }
        self.say_next(kind, &payload, sent_at);
        self.own.tickets.push(ticket);
        let (messages, bytes) = match self.is_signed() {
            false => (MAX_RUN, usize::MAX),
            true => (SEGMENT_MESSAGES, SEGMENT_BYTES),
        };
        let full = |open: &Composer| {
            open.len() >= self.config.batch_messages.min(messages) || open.bytes() >= self.config.batch_bytes.min(bytes)
        };
        if kind != Kind::App || self.own.open.as_ref().is_some_and(full) {
            self.finish_saying();
        }
    }

    /// Hands every peer that has room for it the next batch of its stream.
    pub(super) fn offer_pushes(&mut self) {
        let Offers { all, mut to } = std::mem::take(&mut self.offers);
        // Who becomes a member says so, and with that everybody's turn comes.
        if !matches!(self.phase, Phase::Member | Phase::Leaving) {
            return;
        }
        if all {
            to.clear();
            to.extend(self.roster.slots());
        }
        to.sort_unstable();
        to.dedup();
        let mine = &self.roster[self.my_slot];
        let (last, first) = (mine.delivered, mine.logged_from());
        for slot in to.drain(..) {
            while let Some(batch) = self.next_batch(slot, first, last) {
                let known = &mut self.roster[slot];
                known.peer.told_at = self.now;
                self.out.push(Output::Push { to: known.id, batch });
            }
        }
        // Its room is used again.
        self.offers.to = to;
    }

    fn next_batch(&mut self, slot: Slot, first: u64, last: u64) -> Option<Batch> {
        let pusher = self.roster[slot].peer.push.as_ref()?;
        if pusher.sent >= last || !pusher.has_room(&self.config) {
            return None;
        }
        // A batch is what came together while the last one was on its way; a second one goes beside it when it is worth
        // a call of its own, or when the first takes long, for a far link should not make little ones wait.
        if let Some(long) = pusher
            .flying_since()
            .map(|since| since + self.config.beside_after)
            .filter(|long| *long > self.now)
        {
            let sent = pusher.sent;
            // To a far peer so much may be on its way that more of it must go at a time.
            let worth = BESIDE_BYTES.max(pusher.reach(&self.config) / self.config.far_batches as u64);
            let dense = sent.saturating_sub(self.roster[slot].peer.acked) > SPARSE;
            if dense && self.own_bytes_after(sent) < worth {
                super::no_later(&mut self.timers.pushes, long);
                return None;
            }
        }
        let pusher = self.roster[slot].peer.push.as_mut()?;
        // What was trimmed can only be asked for; the stream goes on with what there is.
        if pusher.sent + 1 < first {
            (pusher.sent, pusher.fresh) = (first - 1, true);
        }
        let after = pusher.sent;
        if after == last {
            return None;
        }
        let upto = self.batch_end(after, last);
        // Whoever has a batch can prove it, also when nothing follows.
        self.sign_own(upto);
        let end = self.own_bytes_upto(upto);
        let pusher = self.roster[slot].peer.push.as_mut()?;
        let fresh = std::mem::take(&mut pusher.fresh);
        pusher.push(upto, end, self.now);
        Some(Batch { after, upto, fresh })
    }

    pub(super) fn on_push_ack(&mut self, slot: Slot, ack: PushAck) {
        let last = self.roster[self.my_slot].delivered;
        if ack.delivered > last || ack.received > last {
            return self.odd(slot, "acknowledges messages that were never sent");
        }
        let peer = &self.roster[slot].peer;
        let again = |push: &Pusher| push.is_beginning_after(ack.received, peer.turn, self.now);
        if ack.restart && !peer.push.as_ref().is_some_and(again) {
            let has = self.own_boundary(ack.received);
            let end = self.own_bytes_upto(has);
            let push = &mut self.roster[slot].peer.push;
            *push = push.take().map(|_| Pusher::new(has, end));
        }
        let peer = &mut self.roster[slot].peer;
        let answered = peer
            .push
            .as_mut()
            .and_then(|push| push.on_answer(ack.received, self.now));
        if let Some(turn) = answered {
            // The smoothing of RFC 6298.
            peer.turn = if peer.turn == 0 {
                turn
            } else {
                (peer.turn * 7 + turn) / 8
            };
        }
        self.offers.to.push(slot);
        self.note_acked(slot, ack.delivered);
    }

    /// A peer has delivered one's own messages up to `seq`.
    pub(super) fn note_acked(&mut self, slot: Slot, seq: u64) {
        let last = self.roster[self.my_slot].delivered;
        let known = &mut self.roster[slot];
        if seq <= known.peer.acked || seq > last {
            return;
        }
        self.offers.to.push(slot);
        known.peer.acked = seq;
        known.peer.acked_at = self.now;
        let behind = last - seq;
        let by = known.id;
        if known.peer.lagging && behind <= self.config.window_messages / 2 {
            known.peer.lagging = false;
        }
        self.out.push(Output::Acked { by, seq });
    }

    /// A stream whose answer is overdue begins anew where its peer is known to be: frames may get lost without
    /// the link noticing.
    pub(super) fn resume_stalled_pushes(&mut self) {
        let stalled = |push: &Pusher| push.is_stalled(self.config.push_patience, self.now);
        let stalled: Vec<Slot> = self
            .roster
            .all()
            .filter(|(_, known)| known.peer.push.as_ref().is_some_and(stalled))
            .map(|(slot, _)| slot)
            .collect();
        for slot in stalled {
            self.start_push(slot, self.roster[slot].peer.acked);
        }
    }

    /// Begins a stream to a peer that is known to have `has` of one's own messages.
    pub(super) fn start_push(&mut self, slot: Slot, has: u64) {
        if self.roster[slot].peer.linked && !self.roster[slot].is_expelled() {
            let has = self.own_boundary(has);
            let end = self.own_bytes_upto(has);
            self.roster[slot].peer.push = Some(Pusher::new(has, end));
            self.offers.to.push(slot);
        }
    }

    /// Whether the slowest member that holds others back is more than a window behind.
    fn window_is_full(&mut self) -> bool {
        if self.own.open.is_none() {
            let slowest = self.holding_back().map(|slot| self.roster[slot].peer.acked).min();
            self.own.slowest = slowest.map(|acked| (acked, self.own_bytes_upto(acked)));
        }
        let slowest = self.own.slowest;
        // Most of the time nobody is far enough behind to need a look at each.
        let full = slowest.is_some_and(|place| self.is_behind(place, self.config.window_bytes))
            && self.holding_back().any(|slot| self.is_window_behind(slot));
        if !full {
            self.window_full_since = None;
            self.timers.window = None;
        } else if self.window_full_since.is_none() {
            self.window_full_since = Some(self.now);
            self.timers.window = Some(self.now + self.config.lagging_after);
        }
        full
    }

    fn is_window_behind(&self, slot: Slot) -> bool {
        let acked = self.roster[slot].peer.acked;
        self.is_behind((acked, self.own_bytes_upto(acked)), self.window_of(slot))
    }

    /// Whether one's own messages are that far beyond a place: a seq, and the bytes up to it.
    fn is_behind(&self, (acked, upto): (u64, u64), window_bytes: u64) -> bool {
        let (last, size) = self.own_end();
        last - acked >= self.config.window_messages || size - upto >= window_bytes
    }

    /// How far this member may be behind, in bytes: for a far one as much as its link needs to be busy.
    fn window_of(&self, slot: Slot) -> u64 {
        let push = self.roster[slot].peer.push.as_ref();
        let reach = push.map_or(0, |push| push.reach(&self.config));
        reach.max(self.config.window_bytes)
    }

    /// Members that `send` waits for. Whoever is silent, or refuses connections, or lags, holds nobody back.
    fn holding_back(&self) -> impl Iterator<Item = Slot> + '_ {
        self.roster
            .all()
            .filter(|(slot, known)| *slot != self.my_slot && known.is_there() && !known.peer.lagging)
            .map(|(slot, _)| slot)
    }

    /// After whatever happened, a full window may have opened.
    pub(super) fn review_window(&mut self) {
        if self.window_full_since.is_some() {
            self.window_is_full();
        }
    }

    /// The window was full for too long: whoever made no progress meanwhile holds nobody back any more.
    pub(super) fn mark_lagging(&mut self) {
        let Some(full_since) = self.window_full_since else {
            return;
        };
        let last = self.roster[self.my_slot].delivered;
        let slow: Vec<Slot> = self
            .holding_back()
            .filter(|&slot| self.is_window_behind(slot))
            .collect();
        let mut next = None;
        for slot in slow {
            let patience = self.patience_with(slot);
            let known = &mut self.roster[slot];
            let due = full_since.max(known.peer.acked_at) + patience;
            if due > self.now {
                super::no_later(&mut next, due);
                continue;
            }
            known.peer.lagging = true;
            let notice = Notice::Lagging {
                member: known.id,
                behind: last - known.peer.acked,
            };
            self.out.push(Output::Notice(notice));
        }
        self.timers.window = next;
    }

    /// How long a member may be a whole window behind without progress. A far one, or one behind a narrow link, gives a
    /// sign of it only with every answer, and what the network loses goes the way once more.
    fn patience_with(&self, slot: Slot) -> Micros {
        let peer = &self.roster[slot].peer;
        let awaited = peer.push.as_ref().is_some_and(|push| !push.is_idle());
        let turn = if peer.turn == 0 && awaited {
            FIRST_TURN
        } else {
            peer.turn
        };
        let least = self.config.lagging_after;
        (least + 2 * turn).min(least.max(self.config.push_patience))
    }
}
