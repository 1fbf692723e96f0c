//! The judge of the model: ghost histories only. It never looks at a stamp or a clock.

use std::sync::Arc;

use super::lab::{Heard, Rest, Seat};

/// P1: whoever delivers a message has delivered everything before it that its sender had delivered when it sent.
///
/// A sender's log up to its own message is that message's past; with every sender judged alike, causes of causes
/// follow.
pub(crate) fn is_causal(seats: &[Arc<Rest>]) -> bool {
    seats.iter().all(|rest| {
        rest.log.iter().enumerate().all(|(at, heard)| {
            let past = past_of(*heard, &seats[heard.origin].log);
            past.iter().all(|cause| has(&rest.log[..at], cause))
        })
    })
}

/// P2: nothing twice, and everything exactly as its sender has it.
pub(crate) fn is_exact(seats: &[Arc<Rest>]) -> bool {
    seats.iter().all(|rest| {
        rest.log.iter().enumerate().all(|(at, heard)| {
            let again = rest.log[..at].iter().any(|other| dot(other) == dot(heard));
            !again && seats[heard.origin].log.contains(heard)
        })
    })
}

fn past_of(message: Heard, senders_log: &[Heard]) -> &[Heard] {
    let at = senders_log.iter().position(|heard| dot(heard) == dot(&message));
    &senders_log[..at.unwrap_or(0)]
}

fn has(log: &[Heard], message: &Heard) -> bool {
    log.iter().any(|heard| dot(heard) == dot(message))
}

fn dot(heard: &Heard) -> (Seat, u64) {
    (heard.origin, heard.seq)
}
