//! What the model wants, done.

use std::time::Duration;

use bytes::Bytes;
use multicast::{Dot, Receipt, SendError};
use tokio::time::{Instant, sleep, timeout};

use super::Cause;
use super::drive::{ANSWER, ROSTER_EVERY, Session};
use crate::app::line::{self, Ref};
use crate::app::place::Place;
use crate::app::{Input, Inside, Output, command};

/// How long to read events before sending again what was refused because they were not read.
const CATCH_UP: Duration = Duration::from_millis(10);

/// A message, and what became of sending it.
pub(super) type Attempt = (Place, Result<Receipt, SendError>, Bytes, Option<Ref>);

impl Session {
    /// Feeds the model and does what it wants.
    pub(super) async fn take(&mut self, input: Input) {
        for output in self.show.take(input) {
            self.carry_out(output).await;
        }
    }

    async fn carry_out(&mut self, output: Output) {
        match output {
            Output::Tell(_) => unreachable!("`Show` keeps what is told"),
            Output::Send {
                place,
                reply_to: Some(dot),
                reference,
                ..
            } if !self.has_delivered(&place, dot) => {
                let error = command::error(
                    "not_delivered",
                    "that message was not delivered here, so nothing here can answer it",
                );
                self.show.take(Input::NotDone(line::Error { reference, ..error }));
            }
            Output::Send {
                place,
                payload,
                reference,
                ..
            } => self.send(place, payload, reference, Duration::ZERO),
            Output::Ask {
                place,
                question,
                reference,
            } => {
                let answer = timeout(ANSWER, self.answer(place.as_ref(), question)).await;
                self.show.take(match answer {
                    Ok(Some(answer)) => Input::Answered {
                        place,
                        answer,
                        reference,
                    },
                    _ => {
                        let error = command::error("no_answer", "this member's group does not answer; ask again");
                        Input::NotDone(line::Error { reference, ..error })
                    }
                });
            }
            Output::Join { place, reference } => self.join(place, reference),
            Output::Create { name, topic, reference } => self.create(name, topic, reference).await,
            Output::Close { place, reference } => self.close(&place, reference),
            Output::Part { place, reason } => self.part(&place, reason),
            Output::Leave { reason } => self.leave(Cause::Leave, reason, self.settings.linger),
            Output::LeaveNow => self.hurry(),
        }
    }

    fn has_delivered(&self, place: &Place, dot: Dot) -> bool {
        let room = self.rooms.get(place);
        room.is_some_and(|room| room.sender.clock().covers(dot))
    }

    fn send(&mut self, place: Place, payload: Bytes, reference: Option<Ref>, pause: Duration) {
        let Some(room) = self.rooms.get(&place) else { return };
        let sender = room.sender.clone();
        self.sending = Some(Box::pin(async move {
            // Even a pause of nothing would last until the next tick of the clock.
            if !pause.is_zero() {
                sleep(pause).await;
            }
            (place, sender.send(payload.clone()).await, payload, reference)
        }));
    }

    pub(super) fn on_sent(&mut self, (place, result, payload, reference): Attempt) {
        self.sending = None;
        let error = match result {
            Ok(receipt) => {
                let dot = receipt.dot();
                if let Some(room) = self.rooms.get_mut(&place) {
                    room.sent(dot);
                }
                self.receipts.insert(place.clone(), receipt);
                self.roster_at = self.roster_at.or(Some(Instant::now() + ROSTER_EVERY));
                return self.inside(&place, Inside::Sent { dot, reference });
            }
            Err(SendError::Behind) => return self.send(place, payload, reference, CATCH_UP),
            Err(SendError::Left) => command::error("leaving", "you are leaving; nothing more can be sent"),
            Err(refusal) => command::error("not_sent", refusal.to_string()),
        };
        let error = line::Error { reference, ..error };
        self.show.take(Input::NotDone(error));
    }
}
