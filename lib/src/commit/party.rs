//! One member: it coordinates what it proposes, and takes part in what others do.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::coordinator::Coordinator;
use super::participant::Participant;
use super::{Answer, Input, Outcome, Output, Record, Request, Rules, TxnId};
use crate::id::{JournalId, MemberId};

/// The protocol of one member, pure: one input, then all of its outputs, in order, then the next input. It has no time of
/// its own: whoever drives it says when a vote comes too late, and when to ask again.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Party {
    me: MemberId,
    coordinator: Coordinator,
    participant: Participant,
}

impl Party {
    /// A member that goes on with a journal, which is opened for the `life`-th time: `Record::Opened` must be in it, on
    /// disk, and `records` are what stood there before, in order.
    pub fn new(me: MemberId, journal: JournalId, life: u32, records: &[Record]) -> Self {
        Self::with_rules(me, (journal, life), records, Rules::default())
    }

    #[doc(hidden)]
    pub fn with_rules(me: MemberId, (journal, life): (JournalId, u32), records: &[Record], rules: Rules) -> Self {
        let mut party = Self {
            me,
            coordinator: Coordinator::new(journal, life, rules),
            participant: Participant::new(rules),
        };
        for record in records {
            party.coordinator.restore(record);
            party.participant.restore(record);
        }
        party
    }

    /// Everything that a journal must hold to go on from here, in place of all that it holds.
    pub fn records(&self) -> Vec<Record> {
        self.coordinator.records().chain(self.participant.records()).collect()
    }

    /// Begins a transaction: these are to vote, and this member's own vote is a yes. Nothing, if
    /// [`MAX_OPEN`](super::MAX_OPEN) of its proposals wait for votes already. Without participants it is committed at once.
    pub fn propose(&mut self, operation: Bytes, mut participants: BTreeSet<MemberId>) -> Option<(TxnId, Vec<Output>)> {
        let mut out = Vec::new();
        participants.remove(&self.me);
        let txn = self.coordinator.propose(operation, participants, &mut out)?;
        Some((txn, out))
    }

    /// Takes one input. What comes out is to be done in order; see [`Output`].
    pub fn handle(&mut self, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        match input {
            Input::Vote { txn, vote } => self.participant.on_own_vote(txn, vote, &mut out),
            Input::Request { from, request } => self.on_request(from, request, &mut out),
            Input::Answer { from, answer } => self.on_answer(from, answer, &mut out),
            Input::Deadline { txn } => self.coordinator.on_deadline(txn, &mut out),
            Input::Remind => self.participant.inquire(&mut out),
        }
        out
    }

    /// What this member has said yes to without knowing how it ended.
    pub fn doubts(&self) -> impl Iterator<Item = (TxnId, &Bytes)> {
        self.participant.doubts()
    }

    /// What is known to have been committed, with this member as coordinator or participant, as far as that is remembered;
    /// of each coordinator in the order in which it was begun or heard.
    pub fn commits(&self) -> impl Iterator<Item = (TxnId, &Bytes)> {
        let heard = self.participant.known();
        let heard = heard.filter(|known| known.1 == Outcome::Committed);
        self.coordinator.commits().chain(heard.map(|known| (known.0, known.2)))
    }

    fn on_request(&mut self, from: MemberId, request: Request, out: &mut Vec<Output>) {
        match request {
            // Nobody else coordinates what this journal began.
            Request::Prepare { txn, .. } | Request::Decision { txn, .. } if self.coordinator.is_mine(txn) => {}
            Request::Prepare {
                txn,
                participants,
                operation,
            } => {
                if participants.contains(&self.me) {
                    self.participant.on_prepare(txn, from, operation, out);
                }
            }
            Request::Decision {
                txn,
                outcome,
                operation,
            } => {
                let took_part = self.participant.on_outcome(txn, outcome, out);
                if !took_part && outcome == Outcome::Committed {
                    out.push(Output::Overheard { from, txn, operation });
                }
            }
            Request::Inquire { txn } => {
                let outcome = if self.coordinator.is_mine(txn) {
                    self.coordinator.outcome(txn)
                } else {
                    self.participant.on_inquiry(txn, out)
                };
                out.push(Output::Answer {
                    to: from,
                    answer: Answer::Outcome { txn, outcome },
                });
            }
        }
    }

    fn on_answer(&mut self, from: MemberId, answer: Answer, out: &mut Vec<Output>) {
        match answer {
            Answer::Vote { txn, vote } => self.coordinator.on_vote(txn, from, vote, out),
            Answer::Outcome {
                txn,
                outcome: Some(outcome),
            } => drop(self.participant.on_outcome(txn, outcome, out)),
            Answer::Outcome { outcome: None, .. } => {}
        }
    }
}
