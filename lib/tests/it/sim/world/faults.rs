//! What is done to processes: they die, stand still, and their clocks jump.

use multicast::Micros;

use super::{Happening, Link, Node, Phase, World};
use crate::judge::Who;
use crate::script::{SECOND, Seat};

/// A connection on which nothing is answered for so long is closed: the wire's own stall timer.
const STALLED: Micros = 5 * SECOND;

impl World<'_> {
    /// The process is gone. Frames that it sent are still on their way.
    pub(super) fn crash(&mut self, who: Who, half_open: bool) {
        let node = &mut self.nodes[who];
        if node.phase.is_over() {
            return;
        }
        if !node.engine.is_member() {
            self.counts.crashed_joiners += 1;
        }
        node.phase = Phase::Dead;
        node.wake = Micros::MAX;
        self.counts.crashes += 1;
        self.counts.half_open += u64::from(half_open);
        let joins_by =
            |node: &&Node| node.phase == Phase::Running && !node.engine.is_member() && node.sponsor == Some(who);
        self.counts.sponsors_lost += self.nodes.iter().filter(joins_by).count() as u64;
        self.note(who, || "crashes".to_owned());
        self.cut_off(who);
        self.hang_up(who, half_open);
    }

    /// Everyone linked to a process that is no more finds out: by the packet that ends the connection, or late.
    pub(super) fn hang_up(&mut self, peer: Who, half_open: bool) {
        let seat = self.nodes[peer].seat;
        for who in 0..self.nodes.len() {
            if self.nodes[who].links[seat] == Link::Up(peer) {
                let travel = self.net.dial(seat, self.nodes[who].seat).filter(|_| !half_open);
                let at = self.now + travel.unwrap_or(STALLED);
                self.queue.push(at, Happening::Broken { who, seat, peer });
            }
        }
    }

    /// The seats fall apart into parts.
    pub(super) fn split(&mut self, parts: &[u8], breaks: bool) {
        self.counts.partitions += 1;
        for from in 0..parts.len() {
            for to in (0..parts.len()).filter(|to| parts[from] != parts[*to]) {
                self.net.cut(from, to, true);
                let link = self.seats[from].map(|who| (who, self.nodes[who].links[to]));
                if let (true, Some((who, Link::Up(peer)))) = (breaks, link) {
                    let at = self.now + STALLED;
                    self.queue.push(at, Happening::Broken { who, seat: to, peer });
                }
            }
        }
    }

    pub(super) fn stop(&mut self, seat: Seat, pause: Micros) {
        if let Some(who) = self.running_at(seat) {
            self.counts.stops += 1;
            let until = self.now + pause;
            let node = &mut self.nodes[who];
            node.stopped_until = node.stopped_until.max(until);
            node.wake = node.wake.max(until);
            self.note(who, || format!("stands still for {} ms", pause / 1000));
        }
    }

    pub(super) fn jump(&mut self, seat: Seat, by: i64) {
        if let Some(who) = self.running_at(seat) {
            self.counts.jumps += 1;
            self.nodes[who].ahead += by;
            self.plan_wake(who);
            self.note(who, || format!("jumps by {} ms", by / 1000));
        }
    }

    /// Faults off. Everyone is told where everyone is, as a registry would.
    pub(super) fn calm_down(&mut self) {
        self.net.calm();
        self.calm = true;
        for who in 0..self.nodes.len() {
            let node = &mut self.nodes[who];
            node.dies_after = None;
            if node.stopped_until > self.now {
                node.stopped_until = self.now;
                self.plan_wake(who);
            }
            for seat in 0..self.plan.seats {
                if self.plan.is_hard() && !self.nodes[who].phase.is_over() && self.running_at(seat).is_some() {
                    self.nodes[who].seeds[seat] = true;
                    self.dial(who, seat, 0);
                }
            }
        }
    }

    /// The time by a member's own clock.
    pub(super) fn clock_of(&self, who: Who) -> Micros {
        self.now.saturating_add_signed(self.nodes[who].ahead)
    }

    /// When its engine is to get a tick, by the world's clock.
    pub(super) fn plan_wake(&mut self, who: Who) {
        let node = &mut self.nodes[who];
        let deadline = node.engine.deadline().filter(|_| !node.phase.is_over());
        let at = deadline.map(|at| at.saturating_add_signed(-node.ahead));
        node.wake = at.map_or(Micros::MAX, |at| at.max(self.now).max(node.stopped_until));
    }

    /// Whoever stands still hears it later.
    pub(super) fn waits_for(&self, happening: &Happening) -> Option<Micros> {
        let who = match happening {
            Happening::Say { who, .. } | Happening::Dial { who, .. } | Happening::Broken { who, .. } => *who,
            Happening::Frame { to, .. } => *to,
            Happening::Step(_) | Happening::Calm | Happening::Synced { .. } => return None,
        };
        let until = self.nodes[who].stopped_until;
        (until > self.now && !self.nodes[who].phase.is_over()).then_some(until)
    }

    pub(super) fn running_at(&self, seat: Seat) -> Option<Who> {
        self.seats[seat].filter(|who| !self.nodes[*who].phase.is_over())
    }
}
