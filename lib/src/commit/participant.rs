//! Transactions that others proposed.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::{
    Answer, MAX_KNOWN, MAX_OPERATION, MAX_PENDING, MAX_WATERMARKS, Outcome, Output, Record, Request, Rules, TxnId, Vote,
};
use crate::id::{JournalId, MemberId};

/// Before the application has voted; in doubt; and after it. A transaction is in one of the tables at most.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Participant {
    considered: BTreeMap<TxnId, Considered>,
    doubts: BTreeMap<TxnId, Bytes>,
    known: BTreeMap<TxnId, (Outcome, Bytes)>,
    /// What is known, oldest first.
    order: VecDeque<TxnId>,
    /// Of each coordinator the newest transaction that was known and is forgotten: nothing up to it gets a yes.
    forgotten: BTreeMap<JournalId, (u32, u32)>,
    rules: Rules,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Considered {
    from: MemberId,
    operation: Bytes,
}

impl Participant {
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            considered: BTreeMap::new(),
            doubts: BTreeMap::new(),
            known: BTreeMap::new(),
            order: VecDeque::new(),
            forgotten: BTreeMap::new(),
            rules,
        }
    }

    pub(super) fn restore(&mut self, record: &Record) {
        match record {
            Record::Yes { txn, operation } => drop(self.doubts.insert(*txn, operation.clone())),
            Record::Heard {
                txn,
                outcome,
                operation,
            } => {
                self.doubts.remove(txn);
                self.know(*txn, *outcome, operation.clone());
            }
            _ => {}
        }
    }

    pub(super) fn records(&self) -> impl Iterator<Item = Record> {
        let heard = self.order.iter().filter_map(|txn| {
            let (outcome, operation) = self.known.get(txn)?.clone();
            Some(Record::Heard {
                txn: *txn,
                outcome,
                operation,
            })
        });
        let yes = |(txn, operation): (&TxnId, &Bytes)| Record::Yes {
            txn: *txn,
            operation: operation.clone(),
        };
        heard.chain(self.doubts.iter().map(yes))
    }

    pub(super) fn doubts(&self) -> impl Iterator<Item = (TxnId, &Bytes)> {
        self.doubts.iter().map(|(txn, operation)| (*txn, operation))
    }

    pub(super) fn known(&self) -> impl Iterator<Item = (TxnId, Outcome, &Bytes)> {
        self.order.iter().filter_map(|txn| {
            let (outcome, operation) = self.known.get(txn)?;
            Some((*txn, *outcome, operation))
        })
    }

    /// This member was named as one that votes.
    pub(super) fn on_prepare(&mut self, txn: TxnId, from: MemberId, operation: Bytes, out: &mut Vec<Output>) {
        if self.considered.contains_key(&txn) {
            return;
        }
        let vote = if self.doubts.contains_key(&txn) {
            Vote::Yes
        } else {
            match self.known.get(&txn) {
                Some((Outcome::Committed, _)) => Vote::Yes,
                Some((Outcome::Aborted, _)) => Vote::No("it was aborted".into()),
                None if self.is_forgotten(txn) => Vote::No("it is over".into()),
                None if operation.len() > MAX_OPERATION => Vote::No("it is too long".into()),
                None if self.considered.len() + self.doubts.len() >= MAX_PENDING => {
                    Vote::No("too much is undecided here".into())
                }
                None => {
                    let considered = Considered {
                        from,
                        operation: operation.clone(),
                    };
                    self.considered.insert(txn, considered);
                    return out.push(Output::Consider { txn, from, operation });
                }
            }
        };
        out.push(answer(from, txn, vote));
    }

    pub(super) fn on_own_vote(&mut self, txn: TxnId, vote: Vote, out: &mut Vec<Output>) {
        let Some(Considered { from, operation }) = self.considered.remove(&txn) else {
            return;
        };
        if let Vote::No(_) = vote {
            self.know(txn, Outcome::Aborted, operation);
            return out.push(answer(from, txn, vote));
        }
        self.doubts.insert(txn, operation.clone());
        let written = Output::Write(Record::Yes { txn, operation });
        let said = answer(from, txn, vote);
        if self.rules.write_yes_first {
            out.extend([written, said]);
        } else {
            out.extend([said, written]);
        }
    }

    /// Somebody who must know says how it ended; nothing is believed about what this member never said yes to, except
    /// that it is over. False, if it had no part in it.
    pub(super) fn on_outcome(&mut self, txn: TxnId, outcome: Outcome, out: &mut Vec<Output>) -> bool {
        if let Some(operation) = self.doubts.remove(&txn) {
            self.know(txn, outcome, operation.clone());
            out.push(Output::Write(Record::Heard {
                txn,
                outcome,
                operation: operation.clone(),
            }));
            out.push(Output::Decided {
                txn,
                outcome,
                operation,
            });
            return true;
        }
        if self.considered.contains_key(&txn) {
            if outcome == Outcome::Aborted {
                self.give_up(txn, out);
            }
            return true;
        }
        self.known.contains_key(&txn) || self.is_forgotten(txn)
    }

    /// Somebody is in doubt. Whoever has not voted can still say no, and then knows the outcome.
    pub(super) fn on_inquiry(&mut self, txn: TxnId, out: &mut Vec<Output>) -> Option<Outcome> {
        if let Some(Considered { from, .. }) = self.considered.get(&txn) {
            let from = *from;
            if self.rules.refuse_for_good {
                self.give_up(txn, out);
                out.push(answer(from, txn, Vote::No("it took too long".into())));
            }
            return Some(Outcome::Aborted);
        }
        self.known.get(&txn).map(|known| known.0)
    }

    pub(super) fn inquire(&self, out: &mut Vec<Output>) {
        let ask = |txn: &TxnId| Output::Ask(Request::Inquire { txn: *txn });
        out.extend(self.doubts.keys().map(ask));
    }

    fn give_up(&mut self, txn: TxnId, out: &mut Vec<Output>) {
        let Some(Considered { operation, .. }) = self.considered.remove(&txn) else {
            return;
        };
        self.know(txn, Outcome::Aborted, operation.clone());
        out.push(Output::Decided {
            txn,
            outcome: Outcome::Aborted,
            operation,
        });
    }

    fn know(&mut self, txn: TxnId, outcome: Outcome, operation: Bytes) {
        if self.known.insert(txn, (outcome, operation)).is_none() {
            self.order.push_back(txn);
        }
        while self.order.len() > MAX_KNOWN
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
            let place = (oldest.life, oldest.n);
            let last = self.forgotten.entry(oldest.journal).or_insert(place);
            *last = place.max(*last);
            if self.forgotten.len() > MAX_WATERMARKS {
                // A repetition of something that old does not come: the group delivers nothing twice.
                self.forgotten.pop_first();
            }
        }
    }

    fn is_forgotten(&self, txn: TxnId) -> bool {
        self.forgotten
            .get(&txn.journal)
            .is_some_and(|last| (txn.life, txn.n) <= *last)
    }
}

fn answer(to: MemberId, txn: TxnId, vote: Vote) -> Output {
    Output::Answer {
        to,
        answer: Answer::Vote { txn, vote },
    }
}
