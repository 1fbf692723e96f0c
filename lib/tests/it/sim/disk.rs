//! What a process keeps over its own end: what was synced before it died is there, the rest is not.

use multicast::engine::{Acquaintance, Dam, Engine, Former, Frame, Sealing, Standpoint};
use multicast::{MemberId, Message};

use crate::judge::Who;

/// A process's disk, and what waits for it.
#[derive(Default)]
pub(crate) struct Disk {
    kept: Option<(Standpoint, Acquaintance)>,
    messages: Vec<(Message, Option<Sealing>)>,
    saving: Option<Batch>,
    next: Vec<(Message, Option<Sealing>)>,
    pub(crate) dam: Dam<Leaving>,
}

/// What leaves when everything of one's own is kept.
pub(crate) enum Leaving {
    Frame {
        to: Who,
        frame: Frame,
    },
    /// The application is told that its send is done: it was accepted.
    Sent {
        seq: u64,
    },
}

/// What is written at a time: all of it or nothing.
struct Batch {
    standpoint: Standpoint,
    acquaintance: Acquaintance,
    messages: Vec<(Message, Option<Sealing>)>,
}

impl Disk {
    /// What a member has delivered goes into the next batch.
    pub(crate) fn note(&mut self, me: MemberId, message: Message) {
        self.dam.note(message.dot.origin == me);
        self.next.push((message, None));
    }

    /// Something else about it changed.
    pub(crate) fn note_change(&mut self) {
        self.dam.note(false);
    }

    /// Writes what there is, unless it is writing already. Whether it begins.
    pub(crate) fn begin(&mut self, engine: &mut Engine) -> bool {
        if !self.dam.begin() {
            return false;
        }
        let mut messages = std::mem::take(&mut self.next);
        for (message, sealing) in &mut messages {
            *sealing = engine.sealing(message.dot);
        }
        self.saving = Some(Batch {
            standpoint: engine.standpoint(),
            acquaintance: engine.acquaintance(),
            messages,
        });
        true
    }

    /// What was being written is there. How much of a member's own.
    pub(crate) fn synced(&mut self, me: MemberId) -> u64 {
        let Some(batch) = self.saving.take() else { return 0 };
        self.messages.extend(batch.messages);
        let own = batch.standpoint.delivered.get(me);
        self.kept = Some((batch.standpoint, batch.acquaintance));
        own
    }

    /// The process dies: what was being written is there as a whole or not at all. How much of a member's own came so.
    pub(crate) fn cut_off(&mut self, me: MemberId, written: bool) -> u64 {
        let own = if written { self.synced(me) } else { 0 };
        (self.saving, self.dam) = (None, Dam::default());
        self.next.clear();
        own
    }

    /// What the next process in this seat begins with: the last `most` messages.
    pub(crate) fn former(&self, most: usize) -> Option<Former> {
        let (standpoint, acquaintance) = self.kept.clone()?;
        let messages = self.messages[self.messages.len().saturating_sub(most)..].to_vec();
        Some(Former {
            standpoint,
            acquaintance,
            messages,
        })
    }

    /// The same disk, for the next process.
    pub(crate) fn hand_on(&mut self) -> Self {
        let messages = std::mem::take(&mut self.messages);
        let kept = self.kept.take();
        Self {
            kept,
            messages,
            ..Self::default()
        }
    }
}
