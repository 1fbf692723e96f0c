//! Members with stores: what waits for the disk, and how a process goes on from it.

use multicast::Message;
use multicast::engine::{Engine, Frame};
use multicast::{Intro, MemberId};

use super::{Happening, World};
use crate::judge::{Verdict, Who};
use crate::script::{Disks, MS, Seat};
use crate::sim::disk::{Disk, Leaving};
use crate::sim::rng::Rng;

/// So many messages are read back at a start: all of them.
const READ_BACK: usize = 1 << 20;

impl World<'_> {
    /// A new process in a seat: from what the one before left behind, if there are disks.
    pub(super) fn birth(&mut self, who: Who, seat: Seat, intro: Intro, seed: u64) -> (Engine, Option<Disk>) {
        let (config, id) = (self.plan.config(), self.witness.id(who));
        if self.plan.disks == Disks::None {
            return (Engine::new(config, id, intro, seed, self.now), None);
        }
        let before = self.seats[seat];
        let disk = before
            .and_then(|before| self.nodes[before].disk.as_mut())
            .map(Disk::hand_on);
        let disk = disk.unwrap_or_default();
        let most = match self.plan.disks {
            Disks::Blank => 0,
            _ => READ_BACK,
        };
        let engine = match disk.former(most) {
            Some(former) => {
                self.counts.restored += 1;
                self.witness.recalls(who, &former.standpoint);
                Engine::restored(config, id, intro, seed, self.now, former)
            }
            None => Engine::new(config, id, intro, seed, self.now).with_store(),
        };
        (engine, Some(disk))
    }

    pub(super) fn note_kept(&mut self, who: Who, message: &Message) {
        let me = self.witness.id(who);
        if let Some(disk) = &mut self.nodes[who].disk {
            disk.note(me, message.clone());
        }
    }

    /// Sends a frame when everything of its sender's own is kept.
    pub(super) fn post(&mut self, from: Who, to: Who, frame: Frame) {
        let hasty = self.plan.disks == Disks::Hasty;
        let disk = self.nodes[from].disk.as_mut().filter(|_| !hasty);
        let leaves = match disk {
            Some(disk) => disk.dam.pass(Leaving::Frame { to, frame }),
            None => Some(Leaving::Frame { to, frame }),
        };
        self.let_go(from, leaves);
    }

    /// The application is to hear that its message is sent.
    pub(super) fn accept(&mut self, who: Who, seq: u64) {
        let rash = self.plan.disks == Disks::Rash;
        let disk = self.nodes[who].disk.as_mut().filter(|_| !rash);
        let leaves = match disk {
            Some(disk) => disk.dam.pass(Leaving::Sent { seq }),
            None => Some(Leaving::Sent { seq }),
        };
        self.let_go(who, leaves);
    }

    fn let_go(&mut self, who: Who, leaves: impl IntoIterator<Item = Leaving>) {
        for leaving in leaves {
            match leaving {
                Leaving::Frame { to, frame } => self.transmit(who, to, frame),
                Leaving::Sent { seq } => self.witness.accepted(who, seq),
            }
        }
    }

    /// After a step: what there is to keep goes to the disk, which takes its time.
    pub(super) fn keep(&mut self, who: Who) {
        let node = &mut self.nodes[who];
        let Some(disk) = &mut node.disk else { return };
        if disk.begin(&mut node.engine) {
            self.counts.syncs += 1;
            let mut dice = Rng::of(self.plan.seed, &[0xd15c, who as u64, self.counts.syncs]);
            let slow = dice.percent(5);
            let pause = if slow {
                dice.below(800 * MS)
            } else {
                dice.below(12 * MS)
            };
            self.queue.push(self.now + pause, Happening::Synced { who });
        }
    }

    /// A batch is on the disk.
    pub(super) fn synced(&mut self, who: Who) -> Verdict {
        let me = self.witness.id(who);
        let node = &mut self.nodes[who];
        if node.phase.is_over() {
            return Ok(());
        }
        let Some(disk) = &mut node.disk else { return Ok(()) };
        let own = disk.synced(me);
        let leaves = disk.dam.done();
        self.witness.synced(who, own);
        // Connections may have ended meanwhile: the wire drops what was for them.
        let stands = |leaving: &Leaving| match leaving {
            Leaving::Frame { to, .. } => {
                let seat = self.nodes[*to].seat;
                self.nodes[who].links[seat] == super::Link::Up(*to)
            }
            Leaving::Sent { .. } => true,
        };
        let leaves: Vec<Leaving> = leaves.into_iter().filter(stands).collect();
        self.let_go(who, leaves);
        self.keep(who);
        Ok(())
    }

    /// The process dies, in the middle of writing perhaps.
    pub(super) fn cut_off(&mut self, who: Who) {
        let me: MemberId = self.witness.id(who);
        let mut dice = Rng::of(self.plan.seed, &[0xd1ed, who as u64]);
        if let Some(disk) = &mut self.nodes[who].disk {
            let own = disk.cut_off(me, dice.percent(50));
            self.witness.synced(who, own);
        }
    }
}
