//! What the authority does: it orders, and keeps the voters to those who are members.

use std::collections::BTreeSet;

use noraft::{LogEntry, LogIndex, Message as RaftMessage};

use super::raft::{at, position, with_config};
use super::word::{At, Record, Word};
use super::{IN_FLIGHT, PeerStage, RECORD_DOTS, Sequencer};
use crate::id::{Dot, MemberId, Span};

/// Entries of one word, and spans of all their records together: with them a word stays within `WORD_BYTES`.
const WORD_ENTRIES: (usize, usize) = (256, 4096);

impl Sequencer {
    /// What follows from any input.
    pub(super) fn settle(&mut self) {
        loop {
            self.note_role();
            if self.raft.role().is_leader() {
                self.propose();
                self.change_voters();
                self.floor = self.everybody_has();
                self.press_handover();
            }
            let decided = self.shown.index;
            self.say_what_raft_wants();
            self.show_decided();
            if self.shown.index > decided && self.raft.role().is_leader() {
                // The others show it when they know.
                self.raft.heartbeat();
            }
            self.compact();
            if self.raft.actions().is_empty() {
                break;
            }
        }
        self.tell_authority();
        self.review_majority();
    }

    /// Gives a place to what has none.
    fn propose(&mut self) {
        if self.elect.handing.is_some() {
            return;
        }
        while self.last().index.saturating_sub(self.raft.commit_index().get()) < IN_FLIGHT as u64 {
            let mut spans: Vec<Span> = Vec::new();
            let mut dots = 0;
            for dot in self.next_dots() {
                self.end.insert(dot.origin, dot.seq);
                match spans.last_mut() {
                    Some(span) if span.origin == dot.origin && span.to + 1 == dot.seq => span.to = dot.seq,
                    _ => spans.push(Span {
                        origin: dot.origin,
                        from: dot.seq,
                        to: dot.seq,
                    }),
                }
                dots += 1;
            }
            if dots == 0 {
                return;
            }
            let index = self.raft.propose_command().index.get();
            self.records.insert(index, Record { by: self.me, spans });
        }
    }

    /// What has no place, in the order of its delivery here, as much as goes into one record.
    fn next_dots(&mut self) -> Vec<Dot> {
        let mut dots = Vec::new();
        for (&arrival, &dot) in self.arrivals.range(self.proposed..) {
            self.proposed = arrival + 1;
            if dot.seq > self.end.get(&dot.origin).copied().unwrap_or(0) {
                dots.push(dot);
            }
            if dots.len() == RECORD_DOTS {
                break;
            }
        }
        if !self.config.rules.order_causally {
            dots.sort_unstable_by_key(|dot| (std::cmp::Reverse(dot.origin), dot.seq));
        }
        dots
    }

    /// Members become voters when they are in the order and have the log; who is gone stops being one.
    fn change_voters(&mut self) {
        let config = self.raft.config().clone();
        if config.is_joint_consensus() || self.is_config_open() {
            return;
        }
        let voters = self.voter_sets();
        let is_member = |id: MemberId| self.peers.get(&id).is_some_and(|peer| peer.stage == PeerStage::Member);
        let is_gone =
            |id: &MemberId| *id != self.me && self.peers.get(id).is_some_and(|peer| peer.stage != PeerStage::Member);
        let removing: Vec<MemberId> = voters.old.iter().copied().filter(is_gone).collect();
        let commit = self.raft.commit_index();
        let has_all = |id: &MemberId| {
            let has = self
                .numbers
                .known(*id)
                .and_then(|number| self.raft.follower_match_index(number));
            has.is_some_and(|has| has >= commit && has > LogIndex::ZERO)
        };
        let caught_up = voters
            .learners
            .iter()
            .copied()
            .filter(|id| is_member(*id) && self.is_there(*id));
        let adding: Vec<MemberId> = caught_up.filter(has_all).collect();
        if !(adding.is_empty() && removing.is_empty()) && voters.majority(|id| self.is_there(id)) {
            let adding: Vec<_> = adding.iter().map(|id| self.numbers.number(*id)).collect();
            let removing: Vec<_> = removing.iter().map(|id| self.numbers.number(*id)).collect();
            let joint = config.to_joint_consensus(&adding, &removing);
            self.raft.propose_config(joint);
            return;
        }
        let in_order = |id: &MemberId| self.end.get(id).is_some_and(|seq| *seq > 0);
        let learners: BTreeSet<MemberId> = self
            .peers
            .keys()
            .copied()
            .filter(|id| *id != self.me && is_member(*id) && !voters.has(*id) && in_order(id))
            .collect();
        if learners.iter().copied().ne(voters.learners.iter().copied()) {
            let mut config = config;
            config.non_voters = learners.into_iter().map(|id| self.numbers.number(id)).collect();
            self.raft.propose_config(config);
        }
    }

    /// The latest change of the voters is not with a majority yet.
    fn is_config_open(&self) -> bool {
        let log = self.raft.log().entries();
        let commit = self.raft.commit_index().get();
        (commit + 1..=self.last().index)
            .any(|index| matches!(log.get_entry(LogIndex::new(index)), Some(LogEntry::ClusterConfig(_))))
    }

    fn everybody_has(&self) -> u64 {
        let has = self
            .raft
            .peers()
            .filter_map(|number| self.raft.follower_match_index(number));
        has.min().map_or(self.last().index, LogIndex::get)
    }

    /// Of two voters the other one said goodbye: nothing was ever decided without this one, and nothing will be by that
    /// one. Nobody is left to vote that out, so this one goes on alone.
    pub(super) fn go_alone(&mut self) {
        let voters = self.voter_sets();
        let other = voters.old.iter().copied().find(|id| *id != self.me);
        let (true, Some(other)) = (
            voters.new.is_empty() && voters.old.len() == 2 && voters.has(self.me),
            other,
        ) else {
            return;
        };
        if self.peers.get(&other).is_none_or(|peer| peer.stage != PeerStage::Left) || self.elect.leaving {
            return;
        }
        let mut config = self.raft.config().clone();
        config.voters.retain(|number| *number == self.raft.id());
        self.raft = with_config(&self.raft, config);
    }

    fn say_what_raft_wants(&mut self) {
        let actions = std::mem::take(self.raft.actions_mut());
        if actions.set_election_timeout {
            self.put_off_election();
        }
        if let Some(message) = actions.broadcast_message {
            let to: Vec<MemberId> = self.raft.peers().map(|number| self.numbers.member(number)).collect();
            to.into_iter().for_each(|to| self.say_message(to, &message));
        }
        for (number, message) in actions.send_messages {
            self.say_message(self.numbers.member(number), &message);
        }
        for number in actions.install_snapshots {
            let (term, snapshot) = (self.term(), self.kept_from.clone());
            self.say(self.numbers.member(number), Word::Install { term, snapshot });
        }
    }

    fn say_message(&mut self, to: MemberId, message: &RaftMessage) {
        let term = message.term().get();
        let word = match message {
            RaftMessage::RequestVoteCall { last_position, .. } => {
                let last = at(*last_position);
                Word::VoteAsk { term, last }
            }
            RaftMessage::RequestVoteReply { vote_granted, .. } => {
                let granted = *vote_granted;
                Word::Vote { term, granted }
            }
            RaftMessage::AppendEntriesReply { last_position, .. } => {
                let last = at(*last_position);
                Word::Appended { term, last }
            }
            RaftMessage::AppendEntriesCall {
                commit_index, entries, ..
            } => {
                let prev: At = at(entries.prev_position());
                debug_assert!(
                    prev.index >= self.kept_from.at.index || !self.raft.log().entries().contains(position(prev))
                );
                Word::Append {
                    term,
                    commit: commit_index.get(),
                    floor: self.floor,
                    prev,
                    entries: self.numbers.said(entries, &self.records, WORD_ENTRIES),
                }
            }
        };
        self.say(to, word);
    }
}
