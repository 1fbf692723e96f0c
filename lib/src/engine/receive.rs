//! Receiving: decode the stream, deliver what is deliverable, hold the rest, wake what waited.
//!
//! Causal delivery as in CBCAST (Birman, Schiper and Stephenson 1991), with per-origin change lists.

use std::sync::Arc;

use crate::clock::{Entries, set_entry};
use crate::engine::io::Output;
use crate::engine::roster::{Slot, Stream};
use crate::engine::{Engine, Phase, PushAck};
use crate::id::{Dot, MemberId};
use crate::message::{Kind, Message, Micros};
use crate::run::{Entry, Past, Run};

/// A stamp may be ahead of everything known by this much: more than any honest group sends in its life, and far
/// from where Lamport times would end.
const LAMPORT_JUMP: u64 = 1 << 32;

/// What is to be checked before a message may be delivered, besides its origin's previous one.
enum Needs {
    /// Entries that changed since the origin's previous message.
    Changed(Entries),
    /// All entries of its clock.
    All,
}

impl Engine {
    pub(super) fn on_push(&mut self, slot: Slot, run: Run) {
        if self.is_finding() {
            return;
        }
        if run.origin != self.roster[slot].id {
            return self.odd(slot, "pushes another member's messages");
        }
        let mut restart = false;
        for (seq, mut entry) in (run.first..).zip(run.entries) {
            let past = std::mem::replace(&mut entry.past, Past::Changes(Entries::new()));
            let Some((past, needs)) = self.decode(slot, seq, past) else {
                let stream_last = self.roster[slot].stream.as_ref().map_or(0, |stream| stream.last);
                if seq <= stream_last {
                    continue;
                }
                restart = true;
                break;
            };
            self.accept(slot, message(run.origin, seq, entry, past), needs, slot);
            if matches!(self.phase, Phase::Over) {
                return;
            }
        }
        self.acknowledge(slot, restart);
    }

    /// The clock of the next message of a stream, and what of it is to be checked.
    fn decode(&mut self, slot: Slot, seq: u64, past: Past) -> Option<(Arc<Entries>, Needs)> {
        let strict = self.config.rules.decode_only_next;
        let stream = &mut self.roster[slot].stream;
        match (past, stream) {
            // A repetition. To follow it back would turn what is still on its way into a hole, and every hole into
            // another repetition.
            (_, Some(last)) if last.last >= seq => None,
            (Past::Full(list), stream) => {
                let past = Arc::new(list);
                *stream = Some(Stream {
                    last: seq,
                    past: past.clone(),
                });
                Some((past, Needs::All))
            }
            (Past::Changes(list), Some(last)) if last.last + 1 == seq || (!strict && last.last < seq) => {
                last.last = seq;
                if !list.is_empty() {
                    last.past = changed(&last.past, &list);
                }
                Some((last.past.clone(), Needs::Changed(list)))
            }
            (Past::Changes(_), _) => None,
        }
    }

    fn acknowledge(&mut self, slot: Slot, restart: bool) {
        let known = &mut self.roster[slot];
        known.owed = false;
        let received = match (&known.stream, restart) {
            (Some(stream), false) => stream.last,
            _ => contiguous(known.delivered, known.held.keys()),
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
        if !self.admits(run.origin) {
            return self.odd(via, "names more origins than a group may have");
        }
        let slot = self.roster.ensure(run.origin, self.now);
        let mut last: Option<Arc<Entries>> = None;
        for (seq, entry) in (run.first..).zip(run.entries) {
            let (past, needs) = match (&entry.past, &last) {
                (Past::Full(list), _) => (Arc::new(list.clone()), Needs::All),
                (Past::Changes(list), Some(last)) => (changed(last, list), Needs::Changed(list.clone())),
                (Past::Changes(_), None) => return self.odd(via, "answers with a run that has no full clock"),
            };
            last = Some(past.clone());
            let message = message(run.origin, seq, entry, past);
            if seq <= self.cut.get(run.origin) {
                self.log.keep(slot, message);
            } else {
                self.accept(slot, message, needs, via);
            }
            if matches!(self.phase, Phase::Over) {
                return;
            }
        }
    }

    /// A message with its exact clock: delivered now, held, or known already.
    fn accept(&mut self, slot: Slot, message: Message, needs: Needs, via: Slot) {
        let seq = message.dot.seq;
        let known = &self.roster[slot];
        if seq <= known.delivered || known.held.contains_key(&seq) {
            return;
        }
        if slot == self.my_slot {
            return self.odd(via, "knows messages of this member that it never sent");
        }
        if message.lamport > self.lamport.saturating_add(LAMPORT_JUMP) {
            return self.odd(via, "sends a Lamport time far ahead of everything known");
        }
        let list = match &needs {
            Needs::Changed(list) => list,
            Needs::All => &*message.past,
        };
        if seq == known.delivered + 1 && self.first_missing(list, 0).is_none() {
            if !self.later_than_causes(slot, message.lamport, list) {
                return self.odd(via, "sends a Lamport time that is not after its causes");
            }
            self.deliver(slot, message, 0);
            return self.wake(slot);
        }
        let needs = match needs {
            Needs::Changed(list) => list,
            Needs::All => message.past.to_vec(),
        };
        self.hold(slot, message, needs, via);
    }

    /// The first entry from `at` on that is not delivered.
    pub(super) fn first_missing(&self, list: &[(MemberId, u64)], at: usize) -> Option<usize> {
        if !self.config.rules.check_dependencies {
            return None;
        }
        let missing = |&(member, seq): &(MemberId, u64)| seq > 0 && self.roster.delivered_of(member) < seq;
        list[at..].iter().position(missing).map(|nth| at + nth)
    }

    /// Lamport's condition against the causes whose times are at hand: the origin's previous message, and the
    /// last delivered one of every member that changed.
    pub(super) fn later_than_causes(&self, slot: Slot, lamport: u64, list: &[(MemberId, u64)]) -> bool {
        let after = |slot: Slot, seq: u64| {
            let cause = &self.roster[slot];
            cause.delivered != seq || lamport > cause.lamport
        };
        after(slot, self.roster[slot].delivered)
            && list
                .iter()
                .all(|&(member, seq)| self.roster.find(member).is_none_or(|cause| after(cause, seq)))
    }

    /// The one place where a message becomes delivered, one's own included.
    pub(super) fn deliver(&mut self, slot: Slot, message: Message, held_for: Micros) {
        let (mine, Dot { seq, .. }) = (slot == self.my_slot, message.dot);
        let before = self.roster[slot].delivered;
        if seq != before + 1 {
            return self.broken(format!("{} would be delivered after {before}", message.dot));
        }
        let known = &mut self.roster[slot];
        known.delivered = seq;
        known.lamport = message.lamport;
        if !mine && !known.dirty {
            known.dirty = true;
            self.own.dirty.push(slot);
        }
        if !mine && !known.owed {
            known.owed = true;
            self.owed.push(slot);
            super::no_later(&mut self.timers.acks, self.now + self.config.ack_delay);
        }
        self.lamport = self.lamport.max(message.lamport);
        self.since_digest += message.payload.len() + 64;
        let position = self.log.push(slot, message.clone());
        self.roster[slot].positions.push_back(position);
        self.note_kind(slot, &message);
        if !self.is_joining() {
            self.out.push(Output::Deliver { message, held_for });
        }
    }

    /// Joins and leaves change the view of whoever delivers them.
    fn note_kind(&mut self, slot: Slot, message: &Message) {
        match message.kind {
            Kind::App | Kind::Call => {}
            Kind::Retire => self.note_retired(&message.payload),
            Kind::Join => {
                let known = &mut self.roster[slot];
                known.joined_at = Some(message.lamport);
                known.name = Some(String::from_utf8_lossy(&message.payload).into_owned());
                // Where it started from in the end, whatever it said of earlier attempts.
                known.peer.digest = message.clock();
                known.peer.acked = known.peer.digest.get(self.me);
                known.peer.unmerged = None;
                self.stable.stale = true;
                self.note_joined(slot);
            }
            Kind::Leave => self.note_left(slot, message.dot.seq),
        }
        self.ensure_record(slot);
        if slot != self.my_slot && self.roster[slot].bound().is_some_and(|last| last < message.dot.seq) {
            self.reopen(slot);
        }
    }
}

fn message(origin: MemberId, seq: u64, entry: Entry, past: Arc<Entries>) -> Message {
    let Entry {
        lamport,
        sent_at,
        kind,
        payload,
        ..
    } = entry;
    Message {
        dot: Dot { origin, seq },
        lamport,
        sent_at,
        kind,
        past,
        payload,
    }
}

/// A clock with some entries replaced; the same list if none is.
pub(super) fn changed(past: &Arc<Entries>, changes: &[(MemberId, u64)]) -> Arc<Entries> {
    if changes.is_empty() {
        return past.clone();
    }
    let mut entries = Entries::with_capacity(past.len() + changes.len());
    entries.extend_from_slice(past);
    for &(member, seq) in changes {
        set_entry(&mut entries, member, seq);
    }
    Arc::new(entries)
}

/// The last seq up to which nothing is missing.
fn contiguous<'a>(delivered: u64, held: impl Iterator<Item = &'a u64>) -> u64 {
    held.fold(delivered, |upto, &seq| if seq == upto + 1 { seq } else { upto })
}
