//! One's own messages: stamped, written once as the bytes that travel, and handed out in batches of those.

use bytes::{Bytes, BytesMut};

use crate::clock::Entries;
use crate::engine::Engine;
use crate::engine::chain::Seal;
use crate::engine::io::{Batch, Output};
use crate::id::Dot;
use crate::message::Kind;
use crate::piece::{Part, Piece};
use crate::run::{Composer, encoded_bound, put_head};

/// Own messages are written into memory that is taken in pieces of so many bytes, many runs to each.
const ROOM: usize = 64 << 10;

impl Engine {
    /// Says something that the application did not ask for, at once.
    pub(super) fn speak(&mut self, kind: Kind, payload: Bytes, sent_at: u64) {
        self.finish_saying();
        self.say_next(kind, &payload, sent_at);
        self.finish_saying();
    }

    /// Stamps a message. It is delivered, with what is said right after it, by `finish_saying`.
    pub(super) fn say_next(&mut self, kind: Kind, payload: &[u8], sent_at: u64) {
        if self.own.open.is_none() {
            let changes = self.past_of_next();
            let seq = self.roster[self.my_slot].delivered + 1;
            let first = Dot { origin: self.me, seq };
            if self.own.room.capacity() < encoded_bound(payload.len(), changes.len()) {
                self.own.room = BytesMut::with_capacity(ROOM);
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
            // Retired origins leave the clock, unless they said more since; expelled ones leave it for ever.
            let retired = known.retired.is_some_and(|n| known.delivered <= n) || known.is_expelled();
            changes.push((known.id, if retired { 0 } else { known.delivered }));
        }
        changes.sort_unstable();
        if !changes.is_empty() {
            self.own.past = self.own.past.with(&changes);
        }
        changes
    }

    /// Delivers what was said here, through the same path as everyone's.
    pub(super) fn finish_saying(&mut self) {
        let Some(open) = self.own.open.take() else { return };
        self.own.slowest = None;
        self.offers.all = true;
        self.own.starts.push_back(self.own.size);
        self.own.size += open.bytes() as u64;
        let (run, room) = open.finish();
        self.own.room = room;
        let rest = self.is_signed().then(|| run.rest(0, run.len()));
        let piece = Piece::composed(run, self.own.past.clone());
        rest.into_iter().for_each(|rest| self.seal_own(&piece, rest));
        let (origin, first) = (piece.origin(), piece.first());
        if self.stores {
            self.sign_own(first);
        }
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

    /// Encoded bytes of one's own messages after `seq`; of one that left the log, from the first in it on.
    pub(super) fn own_bytes_after(&self, seq: u64) -> u64 {
        self.own_end().1 - self.own_bytes_upto(seq)
    }

    /// Encoded bytes of one's own messages up to `seq`; of one that left the log, up to the first in it.
    pub(super) fn own_bytes_upto(&self, seq: u64) -> u64 {
        let mine = &self.roster[self.my_slot];
        if seq >= mine.delivered || mine.places.is_empty() {
            return self.own.size;
        }
        let seq = seq.max(mine.logged_from() - 1);
        let nth = mine.places.partition_point(|place| place.0 <= seq).saturating_sub(1);
        self.own.starts[nth] + self.own_part(nth).bytes_upto(seq) as u64
    }

    /// The last seq of one's own, and the encoded bytes of all of them, what is being said included.
    pub(super) fn own_end(&self) -> (u64, u64) {
        let (said, bytes) = self.own.open.as_ref().map_or((0, 0), |open| (open.len(), open.bytes()));
        (
            self.roster[self.my_slot].delivered + said as u64,
            self.own.size + bytes as u64,
        )
    }

    /// The nth piece of own messages in the log.
    fn own_part(&self, nth: usize) -> &Part {
        match self.log.at(self.roster[self.my_slot].places[nth].1) {
            Piece::Many(part) => part,
            Piece::One(_) => unreachable!("own messages are logged as the runs that they were made as"),
        }
    }

    /// Where a batch that begins after `after` ends: at the limits on messages and bytes, but with one at least.
    pub(super) fn batch_end(&self, after: u64, last: u64) -> u64 {
        let most = last.min(after + self.config.batch_messages as u64);
        let room = self.own_bytes_upto(after) + self.config.batch_bytes as u64;
        if self.is_signed() {
            return self.segments_end(after, most, room);
        }
        if self.own_bytes_upto(most) <= room {
            return most;
        }
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

    /// The same in whole segments.
    fn segments_end(&self, after: u64, most: u64, room: u64) -> u64 {
        let chain = &self.roster[self.my_slot].chain;
        let ends = chain.overlapping(after + 1, most).map(Seal::last);
        let fits = |end: &u64| *end <= most && self.own_bytes_upto(*end) <= room;
        let whole = ends.take_while(fits).last();
        whole
            .or_else(|| chain.covering(after + 1).map(Seal::last))
            .unwrap_or(most)
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
        let full = batch.fresh.then(|| part.past().to_vec());
        let seals = self.own_seals(seq, batch.upto);
        let mut head = BytesMut::with_capacity(64 + full.as_ref().map_or(0, |list| list.len() * 26));
        let count = (batch.upto - batch.after) as usize;
        put_head(
            &mut head,
            Dot { origin, seq },
            count,
            part.times(seq),
            full.as_deref(),
            seals.as_ref(),
        );
        head.freeze()
    }
}
