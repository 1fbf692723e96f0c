//! What the model wants, done.

use tokio::time::timeout;

use super::Cause;
use super::drive::{ANSWER, Session};
use crate::app::line;
use crate::app::question::Question;
use crate::app::{Input, Output, command};

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
            } => self.send(place, payload, reference),
            Output::TellAgain { place, word } => self.tell_again(place, word),
            Output::Ask {
                place: Some(place),
                question: Question::Export(file),
                reference,
            } => self.export(place, file, reference),
            Output::Ask {
                place: Some(place),
                question: Question::Ping(member),
                reference,
            } => self.ping(place, member, reference),
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
}
