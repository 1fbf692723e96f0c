//! Sending: stamping one's own messages, push streams as cursors over them, and flow control.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::clock::{Entries, set_entry};
use crate::engine::io::{Batch, Notice, Output, Refusal};
use crate::engine::roster::{Pusher, Slot};
use crate::engine::{Engine, Phase, PushAck};
use crate::id::Dot;
use crate::message::Kind;
use crate::piece::{Part, Piece};
use crate::run::{Composer, MAX_RUN, put_head};

/// A batch of so many bytes is not small: it goes beside one that is on its way, for its call costs little beside it.
const BESIDE_BYTES: u64 = 32 << 10;
/// Own messages are written into memory that is taken in pieces of so many bytes, many runs to each.
const ROOM: usize = 64 << 10;
/// With no more messages than these without an acknowledgement a peer is not under load: nothing is gained by waiting.
const SPARSE: u64 = 8;

impl Engine {
    pub(super) fn on_send(&mut self, ticket: u64, kind: Kind, payload: Bytes, sent_at: u64) {
        let limit = self.config.payload_limit;
        let refusal = if !matches!(self.phase, Phase::Member) || !matches!(kind, Kind::App | Kind::Call) {
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
        let full = |open: &Composer| {
            open.len() >= self.config.batch_messages.min(MAX_RUN) || open.bytes() >= self.config.batch_bytes
        };
        if kind != Kind::App || self.own.open.as_ref().is_some_and(full) {
            self.finish_saying();
        }
    }

    /// Says something that the application did not ask for, at once.
    pub(super) fn speak(&mut self, kind: Kind, payload: Bytes, sent_at: u64) {
        self.finish_saying();
        self.say_next(kind, &payload, sent_at);
        self.finish_saying();
    }

    /// Stamps a message. It is delivered, with what is said right after it, by `finish_saying`.
    fn say_next(&mut self, kind: Kind, payload: &[u8], sent_at: u64) {
        if self.own.open.is_none() {
            let changes = self.past_of_next();
            let seq = self.roster[self.my_slot].delivered + 1;
            let first = Dot { origin: self.me, seq };
            if self.own.room.capacity() == 0 {
                self.own.room.reserve(ROOM);
            }
            self.own.open = Some(Composer::new(
                first,
                changes,
                self.own.times,
                std::mem::take(&mut self.own.room),
            ));
        }
        let Some(open) = &mut self.own.open else { return };
        self.lamport += 1;
        self.own.times = (self.lamport, sent_at);
        open.push(kind, self.own.times, payload);
    }

    /// Brings the clock of the next message up to date; what changed in it.
    fn past_of_next(&mut self) -> Entries {
        let mut changes = Entries::with_capacity(self.own.dirty.len());
        for slot in self.own.dirty.drain(..) {
            let known = &mut self.roster[slot];
            known.dirty = false;
            // Retired origins leave the clock, unless they said more since.
            let retired = known.retired.is_some_and(|n| known.delivered <= n);
            changes.push((known.id, if retired { 0 } else { known.delivered }));
        }
        changes.sort_unstable();
        if !changes.is_empty() {
            let past = Arc::make_mut(&mut self.own.past);
            for &(member, seq) in &changes {
                set_entry(past, member, seq);
            }
        }
        changes
    }

    /// Delivers what was said here, through the same path as everyone's.
    pub(super) fn finish_saying(&mut self) {
        let Some(open) = self.own.open.take() else { return };
        self.own.starts.push_back(self.own.size);
        self.own.size += open.bytes() as u64;
        let (run, room) = open.finish();
        self.own.room = room;
        let piece = Piece::composed(run, self.own.past.clone());
        let (origin, first) = (piece.origin(), piece.first());
        self.deliver(self.my_slot, piece, 0);
        let tickets = std::mem::take(&mut self.own.tickets);
        let sent = tickets.iter().zip(first..).map(|(&ticket, seq)| {
            let dot = Dot { origin, seq };
            Output::Sent { ticket, dot }
        });
        self.out.extend(sent);
        // Its room is used again.
        self.own.tickets = tickets;
        self.own.tickets.clear();
        self.wake(self.my_slot);
    }

    /// Hands every peer that has room for it the next batch of its stream.
    pub(super) fn offer_pushes(&mut self) {
        if !matches!(self.phase, Phase::Member | Phase::Leaving) {
            return;
        }
        let mine = &self.roster[self.my_slot];
        let (last, first) = (mine.delivered, mine.logged_from());
        for slot in self.roster.slots() {
            while let Some(batch) = self.next_batch(slot, first, last) {
                let known = &mut self.roster[slot];
                known.peer.told_at = self.now;
                self.out.push(Output::Push { to: known.id, batch });
            }
        }
    }

    fn next_batch(&mut self, slot: Slot, first: u64, last: u64) -> Option<Batch> {
        let pusher = self.roster[slot].peer.push.as_mut()?;
        if pusher.sent >= last || pusher.flight.len() >= self.config.batches_in_flight {
            return None;
        }
        // A batch is what came together while the last one was on its way; a second one goes beside it when it is worth
        // a call of its own, or when the first takes long, for a far link should not make little ones wait.
        let flying_since = pusher.flight.last().map(|flight| flight.1);
        if let Some(long) = flying_since
            .map(|since| since + self.config.beside_after)
            .filter(|long| *long > self.now)
        {
            let sent = pusher.sent;
            let dense = sent.saturating_sub(self.roster[slot].peer.acked) > SPARSE;
            if dense && self.own_bytes_after(sent) < BESIDE_BYTES {
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
        let pusher = self.roster[slot].peer.push.as_mut()?;
        pusher.sent = upto;
        pusher.flight.push((upto, self.now));
        Some(Batch {
            after,
            upto,
            fresh: std::mem::take(&mut pusher.fresh),
        })
    }

    pub(super) fn on_push_ack(&mut self, slot: Slot, ack: PushAck) {
        let last = self.roster[self.my_slot].delivered;
        if ack.delivered > last || ack.received > last {
            return self.odd(slot, "acknowledges messages that were never sent");
        }
        let now = self.now;
        let peer = &mut self.roster[slot].peer;
        if let Some(pusher) = &mut peer.push {
            if ack.restart {
                *pusher = Pusher {
                    sent: ack.received,
                    fresh: true,
                    flight: Vec::new(),
                };
            } else {
                let answered = pusher.flight.iter().rev().find(|flight| flight.0 <= ack.received);
                if let Some(&(_, sent_at)) = answered {
                    // The smoothing of RFC 6298.
                    let turn = now.saturating_sub(sent_at);
                    peer.turn = if peer.turn == 0 {
                        turn
                    } else {
                        (peer.turn * 7 + turn) / 8
                    };
                }
                pusher.flight.retain(|flight| flight.0 > ack.received);
            }
        }
        self.note_acked(slot, ack.delivered);
    }

    /// A peer has delivered one's own messages up to `seq`.
    pub(super) fn note_acked(&mut self, slot: Slot, seq: u64) {
        let last = self.roster[self.my_slot].delivered;
        let known = &mut self.roster[slot];
        if seq <= known.peer.acked || seq > last {
            return;
        }
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
        let overdue = self.now.saturating_sub(self.config.push_patience);
        for (_, known) in self.roster.all_mut() {
            let acked = known.peer.acked;
            let Some(pusher) = &mut known.peer.push else { continue };
            if pusher.flight.first().is_some_and(|flight| flight.1 <= overdue) {
                *pusher = Pusher {
                    sent: acked,
                    fresh: true,
                    flight: Vec::new(),
                };
            }
        }
    }

    /// Begins a stream to a peer that is known to have `has` of one's own messages.
    pub(super) fn start_push(&mut self, slot: Slot, has: u64) {
        if self.roster[slot].peer.linked {
            self.roster[slot].peer.push = Some(Pusher {
                sent: has,
                fresh: true,
                flight: Vec::new(),
            });
        }
    }

    /// Whether the slowest member that holds others back is more than a window behind.
    fn window_is_full(&mut self) -> bool {
        let slowest = self.holding_back().map(|slot| self.roster[slot].peer.acked).min();
        let full = slowest.is_some_and(|acked| self.is_window_behind(acked));
        if !full {
            self.window_full_since = None;
            self.timers.window = None;
        } else if self.window_full_since.is_none() {
            self.window_full_since = Some(self.now);
            self.timers.window = Some(self.now + self.config.lagging_after);
        }
        full
    }

    fn is_window_behind(&self, acked: u64) -> bool {
        let said = self.own.open.as_ref().map_or(0, Composer::len) as u64;
        let behind = self.roster[self.my_slot].delivered + said - acked;
        behind >= self.config.window_messages || self.own_bytes_after(acked) >= self.config.window_bytes
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

    /// Encoded bytes of one's own messages after `seq`; of all that ever were, if that one is trimmed.
    fn own_bytes_after(&self, seq: u64) -> u64 {
        let said = self.own.open.as_ref().map_or(0, Composer::bytes) as u64;
        self.own.size + said - self.own_bytes_upto(seq)
    }

    /// Encoded bytes of one's own messages up to `seq`; 0, if that one is trimmed.
    fn own_bytes_upto(&self, seq: u64) -> u64 {
        let mine = &self.roster[self.my_slot];
        if seq >= mine.delivered {
            return self.own.size;
        }
        let after = mine.places.partition_point(|place| place.0 <= seq);
        let Some(nth) = after.checked_sub(1) else { return 0 };
        self.own.starts[nth] + self.own_part(nth).bytes_upto(seq) as u64
    }

    /// The nth piece of own messages in the log.
    fn own_part(&self, nth: usize) -> &Part {
        match self.log.at(self.roster[self.my_slot].places[nth].1) {
            Piece::Many(part) => part,
            Piece::One(_) => unreachable!("own messages are logged as the runs that they were made as"),
        }
    }

    /// Where a batch that begins after `after` ends: at the limits on messages and bytes, but with one at least.
    fn batch_end(&self, after: u64, last: u64) -> u64 {
        let most = last.min(after + self.config.batch_messages as u64);
        let room = self.own_bytes_upto(after) + self.config.batch_bytes as u64;
        // Halving: everything up to `fits` has room, and everything from `over` on has not.
        let (mut fits, mut over) = (after + 1, most + 1);
        while fits + 1 < over {
            let middle = fits + (over - fits) / 2;
            match self.own_bytes_upto(middle) <= room {
                true => fits = middle,
                false => over = middle,
            }
        }
        fits
    }

    /// The window was full for too long: whoever made no progress meanwhile holds nobody back any more.
    pub(super) fn mark_lagging(&mut self) {
        let Some(full_since) = self.window_full_since else {
            return;
        };
        let last = self.roster[self.my_slot].delivered;
        let slow: Vec<Slot> = self
            .holding_back()
            .filter(|&slot| self.is_window_behind(self.roster[slot].peer.acked))
            .collect();
        let mut next = None;
        for slot in slow {
            let known = &mut self.roster[slot];
            let due = full_since.max(known.peer.acked_at) + self.config.lagging_after;
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

    pub(super) fn write_own(&self, batch: Batch) -> Vec<Bytes> {
        let mine = &self.roster[self.my_slot];
        let (first, last) = (batch.after + 1, batch.upto);
        let from = mine.places.partition_point(|place| place.0 <= first).saturating_sub(1);
        let to = mine.places.partition_point(|place| place.0 <= last);
        let mut slices = Vec::with_capacity(1 + to - from);
        for nth in from..to {
            let part = self.own_part(nth);
            if nth == from {
                slices.push(self.head_of(batch, part));
            }
            slices.push(part.entry_bytes(first.max(part.first()), last.min(part.last())));
        }
        slices
    }

    fn head_of(&self, batch: Batch, part: &Part) -> Bytes {
        let (origin, seq) = (self.me, batch.after + 1);
        let full = batch.fresh.then(|| part.past());
        let mut head = BytesMut::with_capacity(64 + full.map_or(0, |list| list.len() * 26));
        let count = (batch.upto - batch.after) as usize;
        let full = full.map(|list| &list[..]);
        put_head(&mut head, Dot { origin, seq }, count, part.times(seq), full);
        head.freeze()
    }
}
