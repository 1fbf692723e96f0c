//! The council's affairs as lines.

use std::collections::BTreeMap;

use multicast::Member;
use multicast::commit::{TxnId, Vote};

use super::Council;
use crate::app::charter::Operation;
use crate::app::line::{Op, Phase, Txn};

impl Council {
    /// A line about something that this chat proposed, or somebody else.
    pub(super) fn txn(&self, txn: TxnId, operation: &Operation, phase: Phase, own: bool) -> Txn {
        let nobody = || "?#00000000".to_owned();
        let (op, by, topic) = match operation {
            Operation::Create(charter) => {
                let by = format!("{}#{}", charter.nick, charter.by.short());
                (Op::Create, by, charter.topic.clone())
            }
            Operation::Close(_) if own => (Op::Close, id(&self.committee.sender().me()), String::new()),
            Operation::Close(_) => {
                let by = self.proposers.get(&txn).cloned();
                (Op::Close, by.unwrap_or_else(nobody), String::new())
            }
        };
        Txn {
            txn: txn.short(),
            op,
            room: self.charters.name(operation),
            phase,
            by,
            votes: BTreeMap::new(),
            asked: None,
            topic,
            reason: None,
            took_ms: None,
            reference: None,
            own,
        }
    }
}

/// As people and programs know a member.
pub(super) fn id(member: &Member) -> String {
    format!("{}#{}", member.name, member.id.short())
}

/// A vote as a line has it.
pub(super) fn word(vote: &Vote) -> &'static str {
    match vote {
        Vote::Yes => "yes",
        Vote::No(_) => "no",
    }
}

/// `bob said no (name taken), cyd did not answer`
pub(super) fn why(votes: &[(Member, Option<Vote>)]) -> String {
    let refusal = |(member, vote): &(Member, Option<Vote>)| match vote {
        Some(Vote::No(why)) => Some(format!("{} said no ({why})", member.name)),
        _ => None,
    };
    let refusals: Vec<_> = votes.iter().filter_map(refusal).collect();
    if !refusals.is_empty() {
        return refusals.join(", ");
    }
    let silent = votes.iter().filter(|(_, vote)| vote.is_none());
    let silent: Vec<_> = silent
        .map(|(member, _)| format!("{} did not answer", member.name))
        .collect();
    silent.join(", ")
}
