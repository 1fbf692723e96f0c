//! One turn of a group's engine: what goes in together, and who waits for what comes out.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::engine::{Frame, Input, Output, Refusal};
use crate::group::{Outgoing, SendError, Shared};
use crate::id::{Dot, MemberId};
use crate::receipt::Receipt;

/// Empty between turns; what it is made of keeps its room.
#[derive(Default)]
pub(super) struct Turn {
    pub(super) inputs: Vec<Input>,
    pub(super) outputs: Vec<Output>,
    pub(super) answers: Vec<Answer>,
    /// Sends among the inputs, in order: the engine answers in that order.
    sends: VecDeque<Outgoing>,
    /// Sends that found the window full, in order.
    pub(super) refused: Vec<Outgoing>,
}

/// A frame's sender waits for what there is to say to it.
pub(super) struct Answer {
    to: MemberId,
    said: Vec<Frame>,
    reply: oneshot::Sender<Vec<Frame>>,
}

impl Answer {
    pub(super) fn send(self) {
        // A connection that is gone needs no answer.
        let _ = self.reply.send(self.said);
    }
}

impl Turn {
    pub(super) fn hear(&mut self, from: MemberId, frame: Frame, answer: Option<oneshot::Sender<Vec<Frame>>>) {
        self.inputs.push(Input::Frame { from, frame });
        self.answers.extend(answer.map(|reply| Answer {
            to: from,
            said: Vec::new(),
            reply,
        }));
    }

    pub(super) fn say(&mut self, outgoing: Outgoing, sent_at: u64) {
        self.inputs.push(Input::Send {
            ticket: 0,
            kind: outgoing.kind,
            payload: outgoing.payload.clone(),
            sent_at,
        });
        self.sends.push_back(outgoing);
    }

    /// Puts a frame into an answer to its addressee, if one of this turn is due; else gives it back.
    pub(super) fn answer(&mut self, to: MemberId, frame: Frame) -> Option<Frame> {
        match self.answers.iter_mut().find(|answer| answer.to == to) {
            Some(answer) => answer.said.push(frame),
            None => return Some(frame),
        }
        None
    }

    /// The next send is stamped and delivered.
    pub(super) fn sent(&mut self, dot: Dot, shared: &Arc<Shared>) {
        if let Some(outgoing) = self.sends.pop_front() {
            // Whoever sent may not be interested.
            let _ = outgoing.reply.send(Ok(Receipt::new(dot, shared.clone())));
        }
    }

    /// The next send was not taken.
    pub(super) fn refused(&mut self, why: Refusal) {
        let Some(outgoing) = self.sends.pop_front() else { return };
        let bytes = outgoing.payload.len();
        let error = match why {
            Refusal::WindowFull => return self.refused.push(outgoing),
            Refusal::TooLong { limit } => SendError::TooLong { bytes, limit },
            Refusal::NotMember => SendError::Left,
        };
        let _ = outgoing.reply.send(Err(error));
    }

    /// An engine that is over takes nothing any more: what it did not answer is not sent.
    pub(super) fn give_up(&mut self) {
        for outgoing in self.sends.drain(..) {
            let _ = outgoing.reply.send(Err(SendError::Left));
        }
    }
}
