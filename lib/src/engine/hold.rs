//! Holding what waits for a cause, and releasing it when that comes.

use crate::clock::Entries;
use crate::engine::Engine;
use crate::engine::held::Held;
use crate::engine::io::{Notice, Output};
use crate::engine::receive::{NOT_AFTER_CAUSES, Obstacle};
use crate::engine::roster::Slot;
use crate::id::{Dot, MemberId};
use crate::piece::Piece;

impl Engine {
    pub(super) fn hold(&mut self, slot: Slot, piece: Piece, needs: Entries, via: Slot) {
        if needs
            .iter()
            .any(|&(member, seq)| member == self.me && seq > self.roster[self.my_slot].delivered)
        {
            return self.odd(via, "has seen messages of this member that it never sent");
        }
        let fresh = needs.iter().filter(|need| self.roster.find(need.0).is_none()).count();
        if self.roster.len() + fresh > self.config.max_origins {
            return self.odd(via, "names more origins than a group may have");
        }
        for &(member, _) in &needs {
            let cause = self.roster.ensure(member, self.now);
            self.ensure_record(cause);
        }
        self.ensure_record(slot);
        if self.roster[slot].end.settled_at.is_some() && self.config.rules.purge_orphans {
            // It waits for what died with its origin, unless someone has that after all: then it comes in order.
            let (last, via) = (piece.last(), self.roster[via].id);
            return self.want(slot, last, via);
        }
        let (seq, next) = (piece.first(), self.roster[slot].delivered + 1);
        let mut held = Held {
            piece,
            needs,
            at: 0,
            waits_for: None,
            since: self.now,
            told: false,
        };
        if seq == next {
            let at = self.first_missing(&held.needs, 0);
            held.at = at.expect("a piece that misses nothing is delivered");
            held.waits_for = Some(self.await_cause(held.needs[held.at], via));
        } else if !self.roster[slot].held.contains(seq - 1) {
            self.want(slot, seq - 1, self.roster[via].id);
        }
        self.waiting.insert(&mut self.roster[slot], slot, held);
        self.shed(slot);
    }

    /// A missing cause by its slot; it is wanted unless it is here and waits itself.
    fn await_cause(&mut self, (member, needed): (MemberId, u64), via: Slot) -> (Slot, u64) {
        let cause = self.roster.ensure(member, self.now);
        if !self.roster[cause].held.contains(needed) {
            self.want(cause, needed, self.roster[via].id);
        }
        (cause, needed)
    }

    /// Over a limit the newest message that waits is let go, to be pulled again later: no loss, no event.
    fn shed(&mut self, slot: Slot) {
        loop {
            let known = &self.roster[slot];
            let too_many = known.held.len().saturating_sub(self.config.held_per_origin);
            let too_much =
                known.held_bytes > self.config.held_bytes_per_origin || self.waiting.bytes > self.config.held_bytes;
            let (Some(newest), true) = (known.held.last(), too_many > 0 || too_much) else {
                return;
            };
            let Some(held) = self.waiting.remove(&mut self.roster, slot, newest) else {
                return;
            };
            // Halving, where bytes are over: looking at each message again and again would be dear.
            let count = if too_many > 0 {
                too_many
            } else {
                held.piece.len().div_ceil(2)
            };
            let whole = self.is_signed();
            if let Some(piece) = held.piece.without_last(count).filter(|_| !whole) {
                self.waiting
                    .insert(&mut self.roster[slot], slot, Held { piece, ..held });
            }
            let origin = self.roster[slot].id;
            self.want(slot, newest, origin);
        }
    }

    /// Delivers what waited for `slot` and now misses nothing, and what waited for that.
    pub(super) fn wake(&mut self, slot: Slot) {
        if self.waiting.len() == 0 {
            return;
        }
        let (mut on, mut others) = (slot, Vec::new());
        loop {
            if self.release_next(on) {
                continue;
            }
            if let Some(other) = self.waiting.pop(&mut self.roster, on) {
                if self.release_next(other) {
                    others.push(std::mem::replace(&mut on, other));
                }
                continue;
            }
            match others.pop() {
                Some(other) => on = other,
                None => return,
            }
        }
    }

    /// Delivers an origin's next message if it is held and misses nothing any more; files it under what it misses
    /// otherwise.
    fn release_next(&mut self, slot: Slot) -> bool {
        let known = &self.roster[slot];
        let Some((seq, held)) = known.held.first() else {
            return false;
        };
        if seq != known.delivered + 1 || held.waits_for.is_some() {
            return false;
        }
        let obstacle = self.obstacle(slot, held.piece.first_lamport(), &held.needs, held.at);
        if let Some(Obstacle::Missing(at)) = obstacle {
            let missing = held.needs[at];
            let via = known.want.as_ref().and_then(|want| self.roster.find(want.via));
            let wait = self.await_cause(missing, via.unwrap_or(slot));
            self.waiting.file(&mut self.roster[slot], slot, at, wait);
            return false;
        }
        let held = self.waiting.remove_first(&mut self.roster[slot], slot);
        let held = held.expect("found above");
        if obstacle.is_some() {
            self.odd(slot, NOT_AFTER_CAUSES);
            return false;
        }
        let waited = self.now - held.since;
        // At least 1, so that "was held" can be told from "was deliverable on arrival".
        self.deliver(slot, held.piece, waited.max(1));
        true
    }

    /// Tells the application of messages that wait for longer than a round trip, once each.
    pub(super) fn tell_held(&mut self, cause: Slot) {
        let Some((needed, (slot, seq))) = self.waiting.first_on(&self.roster, cause) else {
            return;
        };
        let needs = Dot {
            origin: self.roster[cause].id,
            seq: needed,
        };
        let held = self.waiting.len();
        let origin = self.roster[slot].id;
        let Some(waiting) = self.roster[slot].held.get_mut(seq) else {
            return;
        };
        if !std::mem::replace(&mut waiting.told, true) {
            let dot = Dot { origin, seq };
            self.out.push(Output::Notice(Notice::Held { dot, needs, held }));
        }
    }
}
