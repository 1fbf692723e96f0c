//! Between this room's words and `noraft`'s: it names nodes by numbers and carries no commands, only their places.

use std::collections::{BTreeMap, BTreeSet};

use noraft::{ClusterConfig, Log, LogEntries, LogEntry, LogIndex, LogPosition, Node, NodeId, Term};

use super::word::{At, Entry, Record, Voters};
use crate::id::MemberId;

/// Names as numbers: each sequencer counts for itself, only its own `noraft` sees them.
#[derive(Clone, Debug, Default)]
pub(super) struct Numbers {
    members: Vec<MemberId>,
    of: BTreeMap<MemberId, u64>,
}

impl Numbers {
    pub(super) fn number(&mut self, member: MemberId) -> NodeId {
        let next = self.members.len() as u64;
        let number = *self.of.entry(member).or_insert(next);
        if number == next {
            self.members.push(member);
        }
        NodeId::new(number)
    }

    pub(super) fn member(&self, number: NodeId) -> MemberId {
        self.members[number.get() as usize]
    }

    /// Without taking it in.
    pub(super) fn known(&self, member: MemberId) -> Option<NodeId> {
        self.of.get(&member).copied().map(NodeId::new)
    }

    pub(super) fn config(&mut self, voters: &Voters) -> ClusterConfig {
        let mut numbers = |ids: &[MemberId]| -> BTreeSet<NodeId> { ids.iter().map(|id| self.number(*id)).collect() };
        let mut config = ClusterConfig::new();
        config.voters = numbers(&voters.old);
        config.new_voters = numbers(&voters.new);
        config.non_voters = numbers(&voters.learners);
        config
    }

    pub(super) fn voters(&self, config: &ClusterConfig) -> Voters {
        let members = |numbers: &BTreeSet<NodeId>| -> Vec<MemberId> {
            let mut members: Vec<_> = numbers.iter().map(|number| self.member(*number)).collect();
            members.sort_unstable();
            members
        };
        Voters {
            old: members(&config.voters),
            new: members(&config.new_voters),
            learners: members(&config.non_voters),
        }
    }

    pub(super) fn entries(&mut self, prev: At, entries: &[Entry]) -> LogEntries {
        let entries = entries.iter().map(|entry| match entry {
            Entry::Term(term) => LogEntry::Term(Term::new(*term)),
            Entry::Voters(voters) => LogEntry::ClusterConfig(self.config(voters)),
            Entry::Record(_) => LogEntry::Command,
        });
        LogEntries::from_iter(position(prev), entries)
    }

    /// The other way, up to `most` entries and `most_dots` dots, with what the commands are.
    pub(super) fn said(
        &self,
        entries: &LogEntries,
        records: &BTreeMap<u64, Record>,
        (most, most_dots): (usize, usize),
    ) -> Vec<Entry> {
        let mut said = Vec::new();
        let mut dots = 0;
        for (position, entry) in entries.iter_with_positions().take(most) {
            said.push(match entry {
                LogEntry::Term(term) => Entry::Term(term.get()),
                LogEntry::ClusterConfig(config) => Entry::Voters(self.voters(&config)),
                LogEntry::Command => match records.get(&position.index.get()) {
                    Some(record) => Entry::Record(record.clone()),
                    // It was made for an entry that is gone from here since.
                    None => break,
                },
            });
            if let Some(Entry::Record(record)) = said.last() {
                dots += record.spans.len();
                if dots >= most_dots {
                    break;
                }
            }
        }
        said
    }
}

pub(super) fn position(at: At) -> LogPosition {
    LogPosition::new(Term::new(at.term), LogIndex::new(at.index))
}

pub(super) fn at(position: LogPosition) -> At {
    At {
        term: position.term.get(),
        index: position.index.get(),
    }
}

/// The place after each entry.
pub(super) fn places(prev: At, entries: &[Entry]) -> impl Iterator<Item = (At, &Entry)> {
    let mut at = prev;
    entries.iter().map(move |entry| {
        at.index += 1;
        if let Entry::Term(term) = entry {
            at.term = *term;
        }
        (at, entry)
    })
}

/// The same log with one more entry, `config`, put in by nobody's vote: see `Sequencer::go_alone`.
pub(super) fn with_config(node: &Node, config: ClusterConfig) -> Node {
    let mut entries = node.log().entries().clone();
    entries.push(LogEntry::ClusterConfig(config));
    let log = Log::new(node.log().snapshot_config().clone(), entries);
    let mut alone = Node::restart(node.id(), node.current_term(), node.voted_for(), log);
    alone.handle_election_timeout();
    alone
}
