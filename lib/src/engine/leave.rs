//! Leaving: an ordinary causal message, and then staying until everyone who is there has it.

use bytes::Bytes;

use crate::engine::io::Output;
use crate::engine::{Engine, Phase};
use crate::message::Kind;

/// Longest reason in bytes; a longer one is cut.
const REASON: usize = 1024;

impl Engine {
    pub(super) fn on_leave(&mut self, reason: String, sent_at: u64) {
        match self.phase {
            // Nobody has heard of this member's messages: there is nothing to say.
            Phase::Joining(_) => {
                self.phase = Phase::Over;
                self.out.push(Output::Left);
            }
            Phase::Member => {
                let end = reason.floor_char_boundary(REASON);
                self.speak(Kind::Leave, Bytes::copy_from_slice(&reason.as_bytes()[..end]), sent_at);
            }
            Phase::Leaving | Phase::Over => {}
        }
    }

    /// Everyone who counts and is there has this member's last message: it is over. Joiners too: one that was sponsored
    /// here may be known to nobody else yet, who would let go of what it lacks.
    pub(super) fn finish_leave(&mut self) {
        if !matches!(self.phase, Phase::Leaving) {
            return;
        }
        let last = self.roster[self.my_slot].delivered;
        if self
            .roster
            .all()
            .all(|(slot, known)| slot == self.my_slot || !known.is_there() || known.peer.acked >= last)
        {
            self.phase = Phase::Over;
            self.out.push(Output::Left);
        }
    }
}
