//! Messages on their way into the groups, one after another.

use std::collections::VecDeque;
use std::mem::discriminant;
use std::time::Duration;

use bytes::Bytes;
use multicast::{Dot, Receipt, SendError};
use tokio::time::{Instant, sleep};

use super::drive::{ROSTER_EVERY, Session};
use crate::app::line::{self, Ref};
use crate::app::place::Place;
use crate::app::{Input, Inside, command};
use crate::word::Word;

/// How long to read events before sending again what was refused because they were not read.
const CATCH_UP: Duration = Duration::from_millis(10);

/// A message, and what became of sending it.
pub(super) type Attempt = (Letter, Result<Receipt, SendError>);

/// A message that is to be sent.
#[derive(Clone)]
pub(super) struct Letter {
    place: Place,
    payload: Bytes,
    reference: Option<Ref>,
    /// What is only said again for newcomers: no person waits for it.
    again: Option<Word>,
}

/// What waits for the one that is being sent: one for each room, as input is read when all are sent, and one of each kind
/// of what is said again.
pub(super) type ToSend = VecDeque<Letter>;

impl Session {
    pub(super) fn send(&mut self, place: Place, payload: Bytes, reference: Option<Ref>) {
        let again = None;
        self.send_in_turn(Letter {
            place,
            payload,
            reference,
            again,
        });
    }

    /// Says something again for whoever has just come; in place of what waits to be said again of the kind.
    pub(super) fn tell_again(&mut self, place: Place, word: Word) {
        if self.leaving.is_some() {
            return;
        }
        let same = |letter: &Letter| {
            let kind = letter.again.as_ref().map(discriminant);
            letter.place == place && kind == Some(discriminant(&word))
        };
        self.to_send.retain(|letter| !same(letter));
        self.send_in_turn(Letter {
            place,
            payload: word.encode(),
            reference: None,
            again: Some(word),
        });
    }

    /// Whether a message that is to be answered was delivered here.
    pub(super) fn has_delivered(&self, place: &Place, dot: Dot) -> bool {
        let room = self.rooms.get(place);
        room.is_some_and(|room| room.sender.clock().covers(dot))
    }

    fn send_in_turn(&mut self, letter: Letter) {
        match self.sending {
            Some(_) => self.to_send.push_back(letter),
            None => self.send_now(letter, Duration::ZERO),
        }
    }

    fn send_now(&mut self, letter: Letter, pause: Duration) {
        let Some(room) = self.rooms.get(&letter.place) else {
            return self.send_next();
        };
        let sender = room.sender.clone();
        self.sending = Some(Box::pin(async move {
            // Even a pause of nothing would last until the next tick of the clock.
            if !pause.is_zero() {
                sleep(pause).await;
            }
            let result = sender.send(letter.payload.clone()).await;
            (letter, result)
        }));
    }

    fn send_next(&mut self) {
        if let Some(letter) = self.to_send.pop_front() {
            self.send_now(letter, Duration::ZERO);
        }
    }

    pub(super) fn on_sent(&mut self, (letter, result): Attempt) {
        self.sending = None;
        if matches!(result, Err(SendError::Behind)) {
            return self.send_now(letter, CATCH_UP);
        }
        let Letter {
            place,
            reference,
            again,
            ..
        } = letter;
        let error = match result {
            Ok(receipt) => {
                self.note_sent(place, receipt, reference, again.is_none());
                return self.send_next();
            }
            Err(SendError::Left) => command::error("leaving", "you are leaving; nothing more can be sent"),
            Err(refusal) => command::error("not_sent", refusal.to_string()),
        };
        // Who comes later is told again by somebody else, or hears it from the next who comes.
        if again.is_none() {
            self.show.take(Input::NotDone(line::Error { reference, ..error }));
        }
        self.send_next();
    }

    fn note_sent(&mut self, place: Place, receipt: Receipt, reference: Option<Ref>, is_followed: bool) {
        let dot = receipt.dot();
        if let Some(room) = self.rooms.get_mut(&place) {
            room.sent(dot);
        }
        if !is_followed {
            return;
        }
        self.receipts.insert(place.clone(), receipt);
        self.roster_at = self.roster_at.or(Some(Instant::now() + ROSTER_EVERY));
        self.inside(&place, Inside::Sent { dot, reference });
    }
}
