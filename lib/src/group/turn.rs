//! One turn of a group's engine: what goes in together, and who waits for what comes out.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use crate::engine::{Frame, Input, Output, Refusal};
use crate::group::SendError;
use crate::group::mailbox::{Outcome, Outgoing, Sent, Ticket};
use crate::id::{Dot, MemberId};
use crate::net::visitor::has_room;

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
    /// How often acknowledgements had changed when it began.
    pub(super) changes: u64,
    /// Messages that were handed over, and not sent.
    pub(super) unsent: u64,
    /// What came of sends: told when the turn is over, all at once.
    pub(super) outcomes: Vec<(Ticket, Outcome)>,
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

    /// Puts a frame into an answer to its addressee, if one of this turn is due and has room; else gives it back. Many
    /// large ones in one answer would be more than the wire takes, and end the connection.
    pub(super) fn answer(&mut self, to: MemberId, frame: Frame) -> Option<Frame> {
        let mut answers = self.answers.iter_mut();
        match answers.find(|answer| answer.to == to && has_room(&answer.said, &frame)) {
            Some(answer) => answer.said.push(frame),
            None => return Some(frame),
        }
        None
    }

    /// The next send is stamped and delivered.
    pub(super) fn sent(&mut self, dot: Dot) {
        if let Some(outgoing) = self.sends.pop_front() {
            let sent = Sent::Stamped(dot, self.changes);
            self.outcomes.extend(outgoing.ticket.map(|ticket| (ticket, Ok(sent))));
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
        self.fail(outgoing, error);
    }

    /// A message is not sent. Whoever handed it over and did not wait is told in an event at the end.
    pub(super) fn fail(&mut self, outgoing: Outgoing, why: SendError) {
        match outgoing.ticket {
            Some(ticket) => self.outcomes.push((ticket, Err(why))),
            None => self.unsent += 1,
        }
    }

    /// An engine that is over takes nothing any more: what it did not answer is not sent.
    pub(super) fn give_up(&mut self) {
        while let Some(outgoing) = self.sends.pop_front() {
            self.fail(outgoing, SendError::Left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Pulled, PushAck};

    #[test]
    fn large_frames_do_not_share_an_answer() {
        let large = || {
            let (runs, gone, never) = (Vec::new(), Vec::new(), Vec::new());
            Frame::Pulled(Pulled {
                runs,
                gone,
                never,
                base: None,
            })
        };
        let (received, delivered, restart) = (1, 1, false);
        let ack = Frame::PushAck(PushAck {
            received,
            delivered,
            restart,
        });
        let (peer, other) = (MemberId::from(1), MemberId::from(2));
        let mut turn = Turn::default();
        let mut dues = Vec::new();
        for _ in 0..2 {
            let (reply, due) = oneshot::channel();
            turn.hear(peer, large(), Some(reply));
            dues.push(due);
        }
        assert!(turn.answer(other, large()).is_some(), "nobody waits for that");
        assert!(turn.answer(peer, large()).is_none() && turn.answer(peer, large()).is_none());
        assert!(
            turn.answer(peer, large()).is_some() && turn.answer(peer, ack).is_some(),
            "both are full"
        );
        turn.answers.drain(..).for_each(Answer::send);
        let said = dues
            .into_iter()
            .map(|mut due| due.try_recv().map_or(0, |said| said.len()));
        assert_eq!(said.collect::<Vec<_>>(), [1, 1]);
    }
}
