//! How fast a peer answers, and how much may therefore be on its way to it.
//!
//! A near peer gets a fixed small number of batches at a time. For a far one that is too few: whatever is on its way
//! brings at most its size a round trip. So with a far peer what it answered in the shortest turn is measured, and
//! twice as much may be on its way: while more on the way brings more it doubles with each turn, and it settles at
//! twice what the link carries in a round trip, the half of which then waits before the narrowest place.

use crate::engine::Config;
use crate::message::Micros;

/// After so long without a batch on its way what was measured is forgotten: the route, or its load, may be another one.
const FORGET_AFTER: Micros = 1_000_000;

/// A push stream to a peer: a cursor over one's own messages.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Pusher {
    /// Sent up to this seq.
    pub(super) sent: u64,
    /// The next batch begins a stream.
    pub(super) fresh: bool,
    /// After which seq the stream began.
    began: u64,
    /// Batches without an answer, in order. At most `batches_in_flight`, or `far_batches`.
    flight: Vec<Flight>,
    /// Where the answered part of the stream ends, in bytes.
    answered: u64,
    /// When that last grew.
    answered_at: Micros,
    /// The shortest time in which it answered a batch. 0: not known.
    shortest: Micros,
    /// Twice the bytes that it takes in the shortest turn.
    reach: u64,
}

/// A batch without an answer.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Flight {
    upto: u64,
    sent_at: Micros,
    /// Where it ends in the stream, in bytes.
    end: u64,
    /// Where the answered part ended when it was sent.
    answered: u64,
}

impl Pusher {
    /// A stream to a peer that has everything up to seq `has`, which ends at byte `end`.
    pub(super) fn new(has: u64, end: u64) -> Self {
        Self {
            sent: has,
            fresh: true,
            began: has,
            flight: Vec::new(),
            answered: end,
            answered_at: 0,
            shortest: 0,
            reach: 0,
        }
    }

    /// Whether another batch may go. A far peer gets as many as its reach has room for.
    pub(super) fn has_room(&self, config: &Config) -> bool {
        let Some(last) = self.flight.last() else { return true };
        let near = self.flight.len() < config.batches_in_flight;
        let least = (config.batches_in_flight * config.batch_bytes) as u64;
        let bytes = last.end.saturating_sub(self.answered);
        near || self.is_far(config) && self.flight.len() < config.far_batches && bytes < self.reach(config).max(least)
    }

    /// When the last batch without an answer was sent.
    pub(super) fn flying_since(&self) -> Option<Micros> {
        self.flight.last().map(|flight| flight.sent_at)
    }

    /// The next batch goes; it ends with seq `upto`, at byte `end`.
    pub(super) fn push(&mut self, upto: u64, end: u64, now: Micros) {
        if self.flight.is_empty() && self.answered_at + FORGET_AFTER <= now {
            (self.shortest, self.reach) = (0, 0);
        }
        self.sent = upto;
        self.flight.push(Flight {
            upto,
            sent_at: now,
            end,
            answered: self.answered,
        });
    }

    /// The peer has received everything up to this seq; how long it took to say so, if it had not said it before.
    pub(super) fn on_answer(&mut self, received: u64, now: Micros) -> Option<Micros> {
        let count = self.flight.partition_point(|flight| flight.upto <= received);
        let newest = self.flight.drain(..count).next_back()?;
        (self.answered, self.answered_at) = (newest.end, now);
        let turn = now.saturating_sub(newest.sent_at);
        if turn > 0 {
            self.shortest = if self.shortest == 0 {
                turn
            } else {
                self.shortest.min(turn)
            };
            let reach = newest.end.saturating_sub(newest.answered) * self.shortest * 2 / turn;
            // Up at once, down by and by: the first batch after a pause says little.
            self.reach = reach.max(self.reach - self.reach.saturating_sub(reach) / 8);
        }
        Some(turn)
    }

    /// How many bytes may be without an answer, for all to be received as fast as the link carries them; 0 for a near
    /// peer, to which little is on its way at any speed.
    pub(super) fn reach(&self, config: &Config) -> u64 {
        if self.is_far(config) {
            self.reach.min(config.far_window_bytes)
        } else {
            0
        }
    }

    /// Whether nothing was answered for so long although something is to be answered.
    pub(super) fn is_stalled(&self, patience: Micros, now: Micros) -> bool {
        let waits = self.flight.first().map(|flight| flight.sent_at.max(self.answered_at));
        waits.is_some_and(|since| since + patience <= now)
    }

    /// Whether it began after that seq, and its beginning may still be on its way: each batch that followed a hole asks
    /// for it.
    pub(super) fn is_beginning_after(&self, seq: u64, turn: Micros, now: Micros) -> bool {
        let first = self
            .flight
            .first()
            .filter(|_| self.began == seq && self.answered_at == 0);
        first.is_some_and(|first| now < first.sent_at + turn)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.flight.is_empty()
    }

    /// The shortest turn counts: a near peer under load is slow, and more on its way would make it slower.
    fn is_far(&self, config: &Config) -> bool {
        self.shortest > config.beside_after
    }
}
