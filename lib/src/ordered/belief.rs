//! Who is the authority: said by itself, believed when a majority follows it.

use std::collections::BTreeMap;

use super::word::{Said, Word};
use super::{OrderOutput, Sequencer};
use crate::id::{Dot, MemberId};
use crate::message::Micros;

/// Shortest pause between two questions whom one follows: a round trip of any place where a mesh makes sense.
const ASK_AGAIN: Micros = 200_000;
/// Greatest leap of a term that is believed at once. Terms count elections; no honest member leaps so far, and whoever
/// wants to use up all terms needs more words than there is time.
const TERM_LEAP: u64 = 1 << 20;

/// What is known of who follows whom.
#[derive(Clone, Debug, Default)]
pub(super) struct Belief {
    /// Of each member the latest that it said: the term, and whom it follows in it. For members only, so bounded.
    follows: BTreeMap<MemberId, (u64, Option<MemberId>)>,
    /// The authority that is believed, and its term.
    pub(super) leader: Option<(u64, MemberId)>,
    /// It was caught in a lie: nothing it says in that term is believed.
    liar: Option<(u64, MemberId)>,
    /// The last word of somebody that is not believed yet, or names what is not delivered yet.
    pub(super) stash: Option<(MemberId, Word)>,
    /// What it waits for; none: for anything.
    pub(super) awaits: Option<Dot>,
    asked_at: Option<Micros>,
}

impl Sequencer {
    pub(super) fn on_said(&mut self, from: MemberId, bytes: &[u8]) {
        let Some(Said { creator, word }) = Said::decode(bytes) else {
            return self.odd(from, "a word that has no form");
        };
        if from == self.me || !self.peers.contains_key(&from) {
            return;
        }
        let foreign = matches!((creator, self.creator), (Some(theirs), Some(mine)) if theirs != mine);
        if foreign {
            return self.odd(from, "it follows an order of another creator");
        }
        let before = self.creator;
        match word {
            Word::Append { term, .. } | Word::Install { term, .. } => {
                if self.leads(from, term) {
                    self.creator = before.or(creator);
                    self.obey(from, word);
                } else {
                    self.stash_for(from, term, word);
                }
            }
            Word::VoteAsk { term, last } => self.on_vote_ask(from, term, last),
            Word::Vote { term, granted } => self.on_vote(from, term, granted),
            Word::Appended { term, last } => self.on_appended(from, term, last),
            Word::HandOver { term, to } => self.on_hand_over(from, term, to),
            Word::WhoLeads => self.tell_whom_i_follow(from),
            Word::Follows { term, leader } => {
                self.belief.follows.insert(from, (term, leader));
                self.retry_stashed();
            }
        }
    }

    /// Whether that term may be taken over from a voter.
    pub(super) fn is_near(&self, term: u64) -> bool {
        term <= self.term().saturating_add(TERM_LEAP)
    }

    fn leads(&mut self, from: MemberId, term: u64) -> bool {
        if self.belief.liar == Some((term, from)) {
            return false;
        }
        if term < self.term() || self.belief.leader == Some((term, from)) {
            // Of an old term: it is told that it is.
            return true;
        }
        let voters = self.voter_sets();
        if !voters.is_empty() && !self.is_near(term) {
            self.odd(from, "a term out of all proportion");
            return false;
        }
        let follows = |id: MemberId| {
            let said = self.belief.follows.get(&id).copied();
            id == from || said == Some((term, Some(from))) || (id == self.me && self.i_follow() == (term, Some(from)))
        };
        let backed = if voters.is_empty() {
            // Whoever knows no voters yet goes by those who do.
            let claims = self.belief.follows.iter().filter(|(id, _)| self.is_there(**id));
            let (of_it, of_others): (Vec<_>, Vec<_>) = claims
                .filter(|claim| claim.1.1.is_some())
                .partition(|claim| follows(*claim.0));
            let heard = self.peers.keys().filter(|id| **id != from && self.is_there(**id));
            let mut heard = heard.filter(|id| **id != self.me);
            let all = heard.all(|id| self.belief.follows.contains_key(id));
            all && of_it.len() + 1 > of_others.len()
        } else {
            voters.majority(follows)
        };
        if backed || !self.config.rules.check_backing {
            self.belief.leader = Some((term, from));
        }
        self.belief.leader == Some((term, from))
    }

    fn i_follow(&self) -> (u64, Option<MemberId>) {
        let leader = self.raft.voted_for().map(|number| self.numbers.member(number));
        (self.term(), leader)
    }

    fn tell_whom_i_follow(&mut self, to: MemberId) {
        let (term, leader) = self.i_follow();
        self.say(to, Word::Follows { term, leader });
    }

    /// Not believed yet: everybody who is there is asked whom they follow.
    fn stash_for(&mut self, from: MemberId, term: u64, word: Word) {
        if self.belief.liar == Some((term, from)) {
            return;
        }
        self.belief.stash = Some((from, word));
        self.belief.awaits = None;
        if self.belief.asked_at.is_some_and(|at| self.now < at + ASK_AGAIN) {
            return;
        }
        self.belief.asked_at = Some(self.now);
        let peers = &self.peers;
        self.belief.follows.retain(|id, _| peers.contains_key(id));
        let others: Vec<_> = self
            .peers
            .keys()
            .copied()
            .filter(|id| *id != self.me && *id != from)
            .collect();
        for id in others {
            if self.is_there(id) {
                self.say(id, Word::WhoLeads);
            }
        }
    }

    pub(super) fn retry_stashed(&mut self) {
        let Some((from, word)) = self.belief.stash.take() else {
            return;
        };
        let (Word::Append { term, .. } | Word::Install { term, .. }) = word else {
            return;
        };
        if self.leads(from, term) {
            self.obey(from, word);
        } else {
            self.belief.stash = Some((from, word));
        }
    }

    /// A lie that can be seen: nothing that it says as the authority of this term is believed any more.
    pub(super) fn distrust(&mut self, from: MemberId, term: u64, what: &'static str) {
        self.belief.liar = Some((term, from));
        if self.belief.leader == Some((term, from)) {
            self.belief.leader = None;
        }
        self.odd(from, what);
    }

    pub(super) fn tell_authority(&mut self) {
        let now = if self.raft.role().is_leader() {
            Some((self.term(), self.me))
        } else {
            self.belief.leader.filter(|leader| leader.0 == self.term())
        };
        if let Some((epoch, by)) = now
            && now != self.told.authority
        {
            self.told.authority = now;
            self.out.push(OrderOutput::Authority { by, epoch });
        }
    }
}
