//! Receiving: decode the stream, deliver what is deliverable, hold the rest, wake what waited.
//!
//! Causal delivery as in CBCAST (Birman, Schiper and Stephenson 1991), with per-origin change lists.

use crate::clock::{Entries, SharedEntries};
use crate::engine::io::Output;
use crate::engine::roster::{Slot, Stream};
use crate::engine::seal::Refused;
use crate::engine::{Engine, Phase, PushAck};
use crate::id::{Dot, MemberId};
use crate::message::{Kind, Message, Micros};
use crate::piece::{self, Needs, Piece};
use crate::run::Run;

/// A stamp may be ahead of everything known by this much: more than any honest group sends in its life, and far
/// from where Lamport times would end.
pub(crate) const LAMPORT_JUMP: u64 = 1 << 32;

pub(super) const NOT_AFTER_CAUSES: &str = "sends a Lamport time that is not after its causes";

/// What keeps a message from being delivered whose turn it is.
pub(super) enum Obstacle {
    /// The entry of its list that is not delivered.
    Missing(usize),
    /// It claims to be no later than what it was sent after.
    TooEarly,
}

impl Engine {
    pub(super) fn on_push(&mut self, slot: Slot, run: Run) {
        if self.is_finding() {
            return;
        }
        if run.origin() != self.roster[slot].id {
            return self.odd(slot, "pushes another member's messages");
        }
        let last = run.last();
        let decoded = match self.is_signed() {
            false => self.decode(slot, run).ok_or(Refused::Hole),
            true => self.decode_sealed(slot, run),
        };
        if let Err(Refused::Odd(what)) = decoded {
            what.into_iter().for_each(|what| self.odd(slot, what));
            // It is not asked to begin again: it would say the same.
            return self.acknowledge(slot, false);
        }
        for (piece, needs) in decoded.unwrap_or_default() {
            self.accept(slot, piece, needs, slot);
            if matches!(self.phase, Phase::Over) {
                return;
            }
        }
        if self.is_signed() {
            self.bound_chain(slot);
        }
        // There was a hole before it, or it was too much at a time.
        let restart = self.roster[slot]
            .stream
            .as_ref()
            .is_none_or(|stream| stream.last < last);
        self.acknowledge(slot, restart);
    }

    /// The next messages of a stream with their clocks, and what of these is to be checked. Nothing, if the stream has a
    /// hole before them.
    fn decode(&mut self, slot: Slot, run: Run) -> Option<Vec<(Piece, Needs)>> {
        let strict = self.config.rules.decode_only_next;
        let stream = &mut self.roster[slot].stream;
        let last = stream.as_ref().map_or(0, |stream| stream.last);
        // A repetition. To follow it back would turn what is still on its way into a hole, and every hole into another
        // repetition.
        let known = (last + 1).saturating_sub(run.first());
        if known >= run.len() as u64 {
            return Some(Vec::new());
        }
        let past = match stream {
            _ if known == 0 && run.starts_with_full_clock() => SharedEntries::default(),
            Some(stream) if last + 1 >= run.first() || !strict => stream.past.clone(),
            _ => return None,
        };
        let (pieces, past) = piece::cut(run, known as usize, past);
        let last = pieces.last().map_or(last, |piece| piece.0.last());
        *stream = Some(Stream { last, past });
        Some(pieces)
    }

    fn acknowledge(&mut self, slot: Slot, restart: bool) {
        let known = &mut self.roster[slot];
        known.owed = false;
        let received = match (&known.stream, restart) {
            (Some(stream), false) => stream.last,
            _ => contiguous(known.delivered, known.held.ranges()),
        };
        // A joiner may have to start over from a lower cut, and what it said before may arrive late.
        let delivered = if self.is_joining() {
            0
        } else {
            self.roster[slot].delivered
        };
        let ack = PushAck {
            received,
            delivered,
            restart,
        };
        self.say(slot, crate::engine::Frame::PushAck(ack));
    }

    /// Asks every peer to begin its stream again after what is here.
    pub(super) fn restart_streams(&mut self) {
        if !self.is_finding() {
            for slot in self.roster.slots() {
                self.acknowledge(slot, true);
            }
        }
    }

    /// Tells origins that were delivered since the last answer to them, because a cause came in or by repair.
    pub(super) fn acknowledge_late(&mut self) {
        for slot in std::mem::take(&mut self.owed) {
            if self.roster[slot].owed {
                self.acknowledge(slot, false);
            }
        }
    }

    /// Takes messages from someone who relays them: self-contained, full clock first.
    pub(super) fn accept_relayed(&mut self, via: Slot, run: Run) {
        let origin = run.origin();
        if !self.admits(origin) {
            return self.odd(via, "names more origins than a group may have");
        }
        if !run.is_empty() && !run.starts_with_full_clock() {
            return self.odd(via, "answers with a run that has no full clock");
        }
        let slot = self.roster.ensure(origin, self.now);
        let cut = self.cut.get(origin);
        for (piece, needs) in piece::cut(run, 0, SharedEntries::default()).0 {
            if piece.first() > cut {
                self.accept(slot, piece, needs, via);
            } else {
                self.keep_below(cut, slot, piece, via);
            }
            if matches!(self.phase, Phase::Over) {
                return;
            }
        }
    }

    /// Keeps what is below the cut for others' repair; takes what is above it.
    pub(super) fn keep_below(&mut self, cut: u64, slot: Slot, piece: Piece, via: Slot) {
        if piece.last() <= cut && self.is_recalled(slot, &piece) {
            return self.tell_recalled(slot, &piece);
        }
        for message in piece.messages() {
            if message.dot.seq <= cut {
                self.log.keep(slot, message);
            } else {
                self.accept(slot, Piece::One(message), Needs::Changed(Entries::new()), via);
            }
        }
    }

    /// A piece with its exact clock: delivered now, held, or known already.
    pub(super) fn accept(&mut self, slot: Slot, piece: Piece, needs: Needs, via: Slot) {
        let (first, last) = (piece.first(), piece.last());
        let known = &self.roster[slot];
        if last <= known.delivered || known.is_expelled() {
            return;
        }
        if first <= known.delivered || known.held.overlaps(first, last) {
            return self.accept_each(slot, piece, needs, via);
        }
        if slot == self.my_slot {
            return self.odd(via, "knows messages of this member that it never sent");
        }
        if piece.last_lamport() > self.lamport.saturating_add(LAMPORT_JUMP) {
            return self.odd(via, "sends a Lamport time far ahead of everything known");
        }
        let needs = match needs {
            Needs::Changed(list) => list,
            Needs::All => piece.past().to_vec(),
        };
        if first != known.delivered + 1 {
            return self.hold(slot, piece, needs, via);
        }
        match self.obstacle(slot, piece.first_lamport(), &needs, 0) {
            Some(Obstacle::Missing(_)) => self.hold(slot, piece, needs, via),
            Some(Obstacle::TooEarly) => self.odd(via, NOT_AFTER_CAUSES),
            None => {
                self.deliver(slot, piece, 0);
                self.wake(slot);
            }
        }
    }

    /// Some of the piece is known already, perhaps all.
    fn accept_each(&mut self, slot: Slot, piece: Piece, needs: Needs, via: Slot) {
        let mut needs = Some(needs);
        for message in piece.messages() {
            let needs = needs.take().unwrap_or(Needs::Changed(Entries::new()));
            let (seq, known) = (message.dot.seq, &self.roster[slot]);
            if seq > known.delivered && !known.held.contains(seq) && !matches!(self.phase, Phase::Over) {
                self.accept(slot, Piece::One(message), needs, via);
            }
        }
    }

    /// The first entry from `at` on that is not delivered.
    pub(super) fn first_missing(&self, list: &[(MemberId, u64)], at: usize) -> Option<usize> {
        if !self.config.rules.check_dependencies {
            return None;
        }
        let missing = |&(member, seq): &(MemberId, u64)| {
            seq > 0
                && self
                    .roster
                    .find(member)
                    .is_none_or(|cause| self.roster[cause].delivered < seq && !self.roster[cause].void)
        };
        list[at..].iter().position(missing).map(|nth| at + nth)
    }

    /// What keeps an origin's next message from being delivered: a cause from the entry `at` on that is missing, or a
    /// Lamport time that is not after those causes whose times are at hand. These are the origin's previous message, and
    /// the last delivered one of every member that changed.
    pub(super) fn obstacle(&self, slot: Slot, lamport: u64, list: &[(MemberId, u64)], at: usize) -> Option<Obstacle> {
        let mut early = lamport <= self.roster[slot].lamport;
        for (nth, &(member, seq)) in list.iter().enumerate() {
            let cause = self.roster.find(member).map(|slot| &self.roster[slot]);
            let delivered = cause.map_or(0, |cause| cause.delivered);
            let void = cause.is_some_and(|cause| cause.void);
            if nth >= at && delivered < seq && !void && self.config.rules.check_dependencies {
                return Some(Obstacle::Missing(nth));
            }
            early |= cause.is_some_and(|cause| delivered == seq && lamport <= cause.lamport && !cause.is_expelled());
        }
        early.then_some(Obstacle::TooEarly)
    }

    /// The one place where messages become delivered, one's own included.
    pub(super) fn deliver(&mut self, slot: Slot, piece: Piece, held_for: Micros) {
        let (mine, first, last) = (slot == self.my_slot, piece.first(), piece.last());
        let before = self.roster[slot].delivered;
        if first != before + 1 {
            let origin = piece.origin();
            let dot = Dot { origin, seq: first };
            return self.broken(format!("{dot} would be delivered after {before}"));
        }
        let known = &mut self.roster[slot];
        known.delivered = last;
        known.lamport = piece.last_lamport();
        if !mine && !known.dirty {
            known.dirty = true;
            self.own.dirty.push(slot);
        }
        if !mine && !known.owed {
            known.owed = true;
            self.owed.push(slot);
            super::no_later(&mut self.timers.acks, self.now + self.config.ack_delay);
        }
        self.lamport = self.lamport.max(piece.last_lamport());
        self.since_digest += piece.payload_bytes() + 64 * piece.len();
        let sealed = self.is_signed();
        if let Some(position) = self.log.push(slot, piece.clone(), sealed) {
            self.roster[slot].places.push_back((first, position));
        }
        if piece.kind() != Kind::App {
            self.note_kind(slot, &piece.at(first));
        }
        self.ensure_record(slot);
        if !mine && self.roster[slot].bound().is_some_and(|bound| bound < last) {
            self.reopen(slot);
        }
        if !self.is_joining() {
            self.out.push(Output::Deliver { piece, held_for });
        }
    }

    /// Joins and leaves change the view of whoever delivers them.
    fn note_kind(&mut self, slot: Slot, message: &Message) {
        match message.kind {
            Kind::App | Kind::Call | Kind::List => {}
            Kind::Retire => self.note_retired(&message.payload),
            Kind::Join => {
                let known = &mut self.roster[slot];
                known.joined_at = Some(message.lamport);
                known.name = Some(message.joined_name());
                // Where it started from in the end, whatever it said of earlier attempts.
                known.peer.digest = message.clock();
                known.peer.acked = known.peer.digest.get(self.me);
                known.peer.unmerged = None;
                self.stable.stale = true;
                self.note_joined(slot);
            }
            Kind::Leave => self.note_left(slot, message.dot.seq),
        }
    }
}

/// The last seq up to which nothing is missing.
fn contiguous(delivered: u64, held: impl Iterator<Item = (u64, u64)>) -> u64 {
    held.fold(
        delivered,
        |upto, (first, last)| if first == upto + 1 { last } else { upto },
    )
}
