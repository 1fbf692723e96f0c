//! Links: who dials whom, and what each hears of it.

use multicast::Micros;
use multicast::engine::Input;

use super::{Happening, Link, Phase, World};
use crate::judge::{Verdict, Who};
use crate::script::{MS, Seat};

/// Pauses between tries to dial: the wire's own, 100 ms doubled up to 1 s.
const FIRST_RETRY: Micros = 100 * MS;
const LAST_RETRY: Micros = 1_000 * MS;

impl World<'_> {
    /// Dials every member of its view that it has no link to.
    pub(super) fn dial_members(&mut self, who: Who) {
        for record in self.nodes[who].engine.records() {
            let there = self
                .witness
                .who(record.member)
                .filter(|other| *other != who && *other < self.nodes.len());
            if let Some(other) = there.filter(|_| record.standing.counts()) {
                self.dial(who, self.nodes[other].seat, 0);
            }
        }
    }

    /// Begins to dial a seat, unless it is dialling or connected already.
    pub(super) fn dial(&mut self, who: Who, seat: Seat, tries: u32) {
        let node = &mut self.nodes[who];
        if node.phase.is_over() || node.seat == seat || node.links[seat] != Link::Down {
            return;
        }
        node.links[seat] = Link::Dialling;
        let pause = match tries {
            0 => 0,
            _ => (FIRST_RETRY << (tries - 1).min(8)).min(LAST_RETRY),
        };
        // A cut path swallows the first packet: the try fails at the next retry.
        let travel = self.net.dial(self.nodes[who].seat, seat).unwrap_or(LAST_RETRY);
        self.queue
            .push(self.now + pause + travel, Happening::Dial { who, seat, tries });
    }

    /// A try to dial ends.
    pub(super) fn dialled(&mut self, who: Who, seat: Seat, tries: u32) -> Verdict {
        if self.nodes[who].phase.is_over() {
            return Ok(());
        }
        self.nodes[who].links[seat] = Link::Down;
        let cut = self.net.dial(self.nodes[who].seat, seat).is_none();
        match self.seats[seat] {
            Some(peer) if !cut && !self.nodes[peer].phase.is_over() => self.connected(who, seat, peer)?,
            _ => {
                if !self.wants(who, seat) {
                    return Ok(());
                }
                self.dial(who, seat, tries + 1);
            }
        }
        match cut {
            true => Ok(()),
            false => self.nobody_else_at(who, seat),
        }
    }

    fn connected(&mut self, who: Who, seat: Seat, peer: Who) -> Verdict {
        self.counts.links_up += 1;
        self.nodes[who].links[seat] = Link::Up(peer);
        // Each side dials: the one that was called now knows whom to call.
        let back = self.nodes[who].seat;
        self.nodes[peer].callers[back] = true;
        self.dial(peer, back, 0);
        self.note(who, || format!("is linked to m{peer}"));
        let peer = self.witness.id(peer);
        self.feed(who, Input::LinkUp { peer })
    }

    /// The address answers, or refuses: whoever else was there is gone from it.
    fn nobody_else_at(&mut self, who: Who, seat: Seat) -> Verdict {
        for peer in 0..self.nodes.len() {
            let node = &self.nodes[peer];
            if node.seat == seat && node.phase.is_over() && self.knows_address(who, peer) {
                self.refused(who, peer)?;
            }
        }
        Ok(())
    }

    fn refused(&mut self, who: Who, peer: Who) -> Verdict {
        self.counts.refused_dials += 1;
        self.note(who, || format!("is refused by m{peer}"));
        let peer = self.witness.id(peer);
        self.feed(who, Input::Refused { peer })
    }

    /// The connection to a seat ends.
    pub(super) fn broken(&mut self, who: Who, seat: Seat, peer: Who) -> Verdict {
        let node = &mut self.nodes[who];
        if node.links[seat] != Link::Up(peer) || node.phase.is_over() {
            return Ok(());
        }
        node.links[seat] = Link::Down;
        self.counts.links_down += 1;
        self.note(who, || format!("lost its link to m{peer}"));
        let peer = self.witness.id(peer);
        self.feed(who, Input::LinkDown { peer })?;
        if self.wants(who, seat) {
            self.dial(who, seat, 1);
        }
        Ok(())
    }

    /// The connection from one seat to another is reset. What is under way on it may still arrive.
    pub(super) fn reset(&mut self, from: Seat, to: Seat) -> Verdict {
        let link = self.seats[from].map(|who| (who, self.nodes[who].links[to]));
        match link {
            Some((who, Link::Up(peer))) => self.broken(who, to, peer),
            _ => Ok(()),
        }
    }

    /// A member has finished leaving.
    pub(super) fn left(&mut self, who: Who) -> Verdict {
        let there = super::asked(&self.nodes);
        let exits = self.exiting.contains(&who);
        self.witness.farewell(who, &self.nodes[who].engine, exits, &there)?;
        let node = &mut self.nodes[who];
        node.phase = Phase::Left;
        node.wake = Micros::MAX;
        self.counts.leaves += 1;
        if !exits {
            return Ok(());
        }
        self.counts.exits += 1;
        self.hang_up(who, false);
        Ok(())
    }

    /// Whether it goes on dialling that seat: it was told to, was called from there, or counts who sits there.
    fn wants(&self, who: Who, seat: Seat) -> bool {
        let node = &self.nodes[who];
        let mut sat = (0..self.nodes.len()).filter(|other| self.nodes[*other].seat == seat);
        sat.any(|other| self.probes(who, other)) || ((node.callers[seat] || node.seeds[seat]) && !self.is_gone(seat))
    }

    /// It counts, and its introduction came by.
    fn knows_address(&self, who: Who, peer: Who) -> bool {
        let id = self.witness.id(peer);
        let records = self.nodes[who].engine.records();
        let mut records = records.iter().filter(|record| record.member == id);
        records.any(|record| record.standing.counts() && record.intro.is_some())
    }

    /// Whoever is counted is dialled again and again, and in hard runs whoever was closed too.
    fn probes(&self, who: Who, peer: Who) -> bool {
        let id = self.witness.id(peer);
        let records = self.nodes[who].engine.records();
        let mut records = records.iter().filter(|record| record.member == id);
        records.any(|record| record.standing.counts() || (self.plan.is_hard() && !record.goodbye))
    }

    fn is_gone(&self, seat: Seat) -> bool {
        self.seats[seat].is_some_and(|occupant| self.nodes[occupant].phase.is_over())
    }
}
