//! Elections and handovers: when to want one, and whose to heed.

use std::collections::BTreeMap;

use noraft::{Message as RaftMessage, Term};

use super::raft::position;
use super::word::{At, GREATEST, Word};
use super::{OrderOutput, Sequencer};
use crate::id::MemberId;
use crate::message::Micros;

#[derive(Clone, Debug, Default)]
pub(super) struct Elections {
    /// When this member wants to be elected.
    due: Option<Micros>,
    /// When the authority says again that it is there.
    beat: Option<Micros>,
    /// When an authority that is believed was heard last.
    heard_at: Option<Micros>,
    /// As the authority: who answered when.
    answered: BTreeMap<MemberId, Micros>,
    pub(super) handing: Option<Handing>,
    /// Whom the authority wants to be elected, and until when its wish counts.
    chosen: Option<(MemberId, Micros)>,
    pub(super) leaving: bool,
}

/// The authority is being handed over.
#[derive(Clone, Debug)]
pub(super) struct Handing {
    to: MemberId,
    until: Micros,
    said: bool,
}

impl Elections {
    pub(super) fn deadline(&self, leads: bool) -> Option<Micros> {
        let until = self.handing.as_ref().map(|handing| handing.until);
        let next = if leads { self.beat } else { self.due };
        until.into_iter().chain(next).min()
    }

    pub(super) fn heard(&mut self, now: Micros) {
        self.heard_at = Some(now);
    }
}

impl Sequencer {
    pub(super) fn put_off_election(&mut self) {
        let pause = self.config.elect_after;
        self.elect.due = Some(self.now + pause + self.rng.below(pause));
    }

    pub(super) fn on_time(&mut self) {
        if self
            .elect
            .handing
            .as_ref()
            .is_some_and(|handing| handing.until <= self.now)
            && let Some(handing) = self.elect.handing.take()
        {
            self.out.push(OrderOutput::NotHandedOver(handing.to));
        }
        if self.raft.role().is_leader() {
            if self.elect.beat.is_some_and(|beat| beat <= self.now) {
                self.elect.beat = Some(self.now + self.config.heartbeat);
                self.raft.heartbeat();
            }
        } else if self.elect.due.is_some_and(|due| due <= self.now) {
            self.put_off_election();
            if self.may_be_elected() {
                self.raft.handle_election_timeout();
            }
        }
    }

    /// A minority does not try: terms count elections that can succeed.
    fn may_be_elected(&self) -> bool {
        let voters = self.voter_sets();
        let able = voters.has(self.me) && !self.elect.leaving && !self.is_unfit();
        able && voters.majority(|id| self.is_there(id))
    }

    /// The role may have changed with the last input.
    pub(super) fn note_role(&mut self) {
        let leads = self.raft.role().is_leader();
        if leads && self.elect.beat.is_none() {
            self.elect.beat = Some(self.now + self.config.heartbeat);
            self.elect.answered.clear();
            // It looks at everything that has no place.
            self.proposed = 0;
            self.end = self.reach_at(self.last().index);
        } else if !leads {
            self.elect.beat = None;
            self.elect.handing = None;
        }
    }

    pub(super) fn on_vote_ask(&mut self, from: MemberId, term: u64, last: At) {
        if self.raft.config().voters.is_empty() {
            return;
        }
        if !self.is_near(term) {
            return self.odd(from, "a term out of all proportion");
        }
        // An authority that does well is not replaced, unless it wishes so: else a member with a bad link, or bad
        // manners, could keep the others from their work.
        if term > self.term() && self.does_well() && !self.is_chosen(from) {
            return;
        }
        let last = match self.config.rules.compare_logs {
            true => last,
            false => At {
                term: GREATEST,
                index: GREATEST,
            },
        };
        let message = RaftMessage::RequestVoteCall {
            from: self.numbers.number(from),
            term: Term::new(term),
            last_position: position(last),
        };
        let _ = self.raft.handle_message(&message);
    }

    fn does_well(&self) -> bool {
        let lately = |at: &Micros| self.now < *at + self.config.elect_after;
        if self.raft.role().is_leader() {
            let answered = |id| id == self.me || self.elect.answered.get(&id).is_some_and(lately);
            return self.voter_sets().majority(answered);
        }
        self.elect.heard_at.as_ref().is_some_and(lately)
    }

    fn is_chosen(&self, member: MemberId) -> bool {
        let handing = self.elect.handing.as_ref();
        handing.is_some_and(|handing| handing.to == member && handing.said)
            || self
                .elect
                .chosen
                .is_some_and(|(chosen, until)| chosen == member && self.now < until)
    }

    pub(super) fn on_vote(&mut self, from: MemberId, term: u64, granted: bool) {
        if !self.voter_sets().has(from) || !self.is_near(term) {
            return;
        }
        let message = RaftMessage::RequestVoteReply {
            from: self.numbers.number(from),
            term: Term::new(term),
            vote_granted: granted,
        };
        let _ = self.raft.handle_message(&message);
    }

    pub(super) fn on_appended(&mut self, from: MemberId, term: u64, last: At) {
        let voters = self.voter_sets();
        if !self.is_near(term) || !(voters.has(from) || voters.learners.contains(&from)) {
            return;
        }
        if term == self.term() {
            self.elect.answered.insert(from, self.now);
        }
        let message = RaftMessage::AppendEntriesReply {
            from: self.numbers.number(from),
            term: Term::new(term),
            last_position: position(last),
        };
        let _ = self.raft.handle_message(&message);
    }

    pub(super) fn hand_over(&mut self, to: MemberId) {
        let can = self.raft.role().is_leader() && self.voter_sets().has(to) && self.is_there(to);
        if to == self.me || !can {
            return self.out.push(OrderOutput::NotHandedOver(to));
        }
        self.elect.handing = Some(Handing {
            to,
            until: self.now + self.config.hand_over,
            said: false,
        });
    }

    /// Nothing new is ordered while the heir catches up; then everybody is told whom to elect.
    pub(super) fn press_handover(&mut self) {
        let Some(handing) = &self.elect.handing else { return };
        let to = handing.to;
        let has = self
            .numbers
            .known(to)
            .and_then(|number| self.raft.follower_match_index(number));
        if handing.said || has.is_none_or(|has| has.get() < self.last().index) {
            return;
        }
        if let Some(handing) = &mut self.elect.handing {
            handing.said = true;
        }
        let term = self.term();
        let (me, voters) = (self.me, self.voters());
        // The heir last: it asks for votes as soon as it hears.
        for id in voters.into_iter().filter(|id| *id != me && *id != to).chain([to]) {
            self.say(id, Word::HandOver { term, to });
        }
    }

    pub(super) fn on_hand_over(&mut self, from: MemberId, term: u64, to: MemberId) {
        if self.belief.leader != Some((term, from)) || term != self.term() {
            return;
        }
        self.elect.chosen = Some((to, self.now + self.config.hand_over));
        if to == self.me && self.may_be_elected() {
            self.raft.handle_election_timeout();
        }
    }

    pub(super) fn leaving(&mut self) {
        self.elect.leaving = true;
        if !self.raft.role().is_leader() {
            return;
        }
        let has = |id: &MemberId| {
            let number = self.numbers.known(*id)?;
            self.raft.follower_match_index(number)
        };
        let heirs = self
            .voters()
            .into_iter()
            .filter(|id| *id != self.me && self.is_there(*id));
        if let Some(heir) = heirs.max_by_key(has) {
            self.hand_over(heir);
        }
    }
}
