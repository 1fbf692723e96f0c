//! Transactions that this member proposed.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::{MAX_KNOWN, MAX_OPEN, MAX_REASON, Outcome, Output, Record, Request, Rules, TxnId, Vote};
use crate::id::{JournalId, MemberId};

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Coordinator {
    journal: JournalId,
    life: u32,
    begun: u32,
    open: BTreeMap<TxnId, Open>,
    commits: BTreeMap<TxnId, Bytes>,
    /// Of what is not above it and not in `commits` nothing is known.
    forgotten: Option<TxnId>,
    rules: Rules,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Open {
    operation: Bytes,
    /// Whose vote is missing.
    waits_for: BTreeSet<MemberId>,
}

impl Coordinator {
    pub(super) fn new(journal: JournalId, life: u32, rules: Rules) -> Self {
        Self {
            journal,
            life,
            begun: 0,
            open: BTreeMap::new(),
            commits: BTreeMap::new(),
            forgotten: None,
            rules,
        }
    }

    pub(super) fn restore(&mut self, record: &Record) {
        match record {
            Record::Commit { txn, operation } => drop(self.commits.insert(*txn, operation.clone())),
            Record::Forgotten { up_to } => self.forget(*up_to),
            _ => {}
        }
    }

    pub(super) fn records(&self) -> impl Iterator<Item = Record> {
        let forgotten = self.forgotten.map(|up_to| Record::Forgotten { up_to });
        let commit = |(txn, operation): (&TxnId, &Bytes)| Record::Commit {
            txn: *txn,
            operation: operation.clone(),
        };
        self.commits.iter().map(commit).chain(forgotten)
    }

    pub(super) fn commits(&self) -> impl Iterator<Item = (TxnId, &Bytes)> {
        self.commits.iter().map(|(txn, operation)| (*txn, operation))
    }

    /// Nothing, if too many wait already.
    pub(super) fn propose(
        &mut self,
        operation: Bytes,
        participants: BTreeSet<MemberId>,
        out: &mut Vec<Output>,
    ) -> Option<TxnId> {
        if self.open.len() >= MAX_OPEN {
            return None;
        }
        self.begun += 1;
        let txn = TxnId {
            journal: self.journal,
            life: self.life,
            n: self.begun,
        };
        let request = Request::Prepare {
            txn,
            participants: participants.iter().copied().collect(),
            operation: operation.clone(),
        };
        let alone = participants.is_empty();
        let waits_for = participants;
        self.open.insert(txn, Open { operation, waits_for });
        if alone {
            self.decide(txn, Outcome::Committed, out);
        } else {
            out.push(Output::Ask(request));
        }
        Some(txn)
    }

    pub(super) fn on_vote(&mut self, txn: TxnId, from: MemberId, vote: Vote, out: &mut Vec<Output>) {
        let Some(open) = self.open.get_mut(&txn) else { return };
        if !open.waits_for.remove(&from) {
            return;
        }
        let (all, refused) = (open.waits_for.is_empty(), matches!(vote, Vote::No(_)));
        let vote = match vote {
            Vote::Yes => Vote::Yes,
            Vote::No(why) => Vote::No(why.chars().take(MAX_REASON).collect()),
        };
        out.push(Output::Voted { txn, from, vote });
        if refused {
            self.decide(txn, Outcome::Aborted, out);
        } else if all || !self.rules.count_every_vote {
            self.decide(txn, Outcome::Committed, out);
        }
    }

    pub(super) fn on_deadline(&mut self, txn: TxnId, out: &mut Vec<Output>) {
        if self.open.contains_key(&txn) {
            self.decide(txn, Outcome::Aborted, out);
        }
    }

    /// None: it is not known, or not decided yet.
    pub(super) fn outcome(&self, txn: TxnId) -> Option<Outcome> {
        let begun = (txn.life, txn.n) <= (self.life, self.begun);
        match () {
            () if self.commits.contains_key(&txn) => Some(Outcome::Committed),
            () if self.open.contains_key(&txn) || !begun => None,
            () if self.forgotten.is_some_and(|up_to| txn <= up_to) => None,
            () if self.rules.presume_abort => Some(Outcome::Aborted),
            () => Some(Outcome::Committed),
        }
    }

    pub(super) fn is_mine(&self, txn: TxnId) -> bool {
        txn.journal == self.journal
    }

    fn decide(&mut self, txn: TxnId, outcome: Outcome, out: &mut Vec<Output>) {
        let Some(Open { operation, .. }) = self.open.remove(&txn) else {
            return;
        };
        let decided = Output::Decided {
            txn,
            outcome,
            operation: operation.clone(),
        };
        let told = Output::Ask(Request::Decision {
            txn,
            outcome,
            operation: operation.clone(),
        });
        if outcome == Outcome::Aborted {
            return out.extend([decided, told]);
        }
        while self.commits.len() >= MAX_KNOWN
            && let Some((&oldest, _)) = self.commits.first_key_value()
        {
            self.forget(oldest);
            out.push(Output::Write(Record::Forgotten { up_to: oldest }));
        }
        self.commits.insert(txn, operation.clone());
        let written = Output::Write(Record::Commit { txn, operation });
        if self.rules.write_decision_first {
            out.extend([written, decided, told]);
        } else {
            out.extend([told, decided, written]);
        }
    }

    fn forget(&mut self, up_to: TxnId) {
        self.forgotten = self.forgotten.max(Some(up_to));
        self.commits.remove(&up_to);
    }
}
