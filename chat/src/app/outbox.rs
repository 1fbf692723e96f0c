//! Which of one's own messages are not confirmed by everyone yet.

use std::collections::{BTreeMap, VecDeque};

use multicast::{Dot, MemberId, MemberState};

use super::Outputs;
use super::command;
use super::line::{Ack, AckState, Body, Ref};
use super::people::People;

/// Most unconfirmed messages that are followed one by one. A member that is silent for minutes confirms nothing
/// while the others talk on; this many cost about 8 MiB. Of older ones only the end is not told.
pub const FOLLOWED_MAX: usize = 65_536;

/// Messages of this member on their way.
#[derive(Clone, Default, Debug)]
pub struct Outbox {
    waiting: VecDeque<Waiting>,
    /// How many of this member's messages each other member has.
    others: BTreeMap<MemberId, Has>,
    overflowed: bool,
}

#[derive(Clone, Debug)]
struct Waiting {
    dot: Dot,
    reference: Option<Ref>,
    /// Who had it when that was last told.
    told: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Has {
    seq: u64,
    silent: bool,
}

impl Outbox {
    /// A message was sent.
    pub fn sent(&mut self, dot: Dot, reference: Option<Ref>, people: &People, out: &mut Outputs) {
        let waiting = Waiting {
            dot,
            reference,
            told: 0,
        };
        out.tell(self.ack(&waiting, AckState::Queued, people));
        if self.others.is_empty() {
            out.tell(self.ack(&waiting, AckState::All, people));
            return;
        }
        if self.waiting.len() == FOLLOWED_MAX {
            self.waiting.pop_front();
            if !std::mem::replace(&mut self.overflowed, true) {
                let text = format!("more than {FOLLOWED_MAX} messages are not confirmed; the oldest get no more ack");
                out.tell(Body::Error(command::error("acks_behind", text)));
            }
        }
        self.waiting.push_back(waiting);
    }

    /// Who is there and what they have.
    pub fn roster(&mut self, roster: &[MemberState], people: &People, out: &mut Outputs) {
        let others: BTreeMap<_, _> = roster
            .iter()
            .filter(|state| state.member.id != people.me())
            .map(|state| {
                let has = Has {
                    seq: state.has_of_mine,
                    silent: state.silent,
                };
                (state.member.id, has)
            })
            .collect();
        self.follow(others, people, out);
    }

    /// Someone came; what they have is told by the next roster.
    pub fn arrived(&mut self, member: MemberId) {
        self.others.entry(member).or_insert(Has { seq: 0, silent: false });
    }

    /// Someone fell silent, or answers again.
    pub fn heard(&mut self, member: MemberId, silent: bool) {
        if let Some(has) = self.others.get_mut(&member) {
            has.silent = silent;
        }
    }

    /// Whether someone does not answer.
    pub fn is_silent(&self, member: MemberId) -> bool {
        self.others.get(&member).is_some_and(|has| has.silent)
    }

    /// Someone does not count any more.
    pub fn departed(&mut self, member: MemberId, people: &People, out: &mut Outputs) {
        let mut others = self.others.clone();
        others.remove(&member);
        self.follow(others, people, out);
    }

    /// How many messages somebody who is not silent has not confirmed, and who that is.
    pub fn unconfirmed_by_live(&self) -> (u64, Vec<MemberId>) {
        let live = || self.others.iter().filter(|(_, has)| !has.silent);
        let lowest = live().map(|(_, has)| has.seq).min().unwrap_or(u64::MAX);
        let messages = self.waiting.iter().filter(|waiting| waiting.dot.seq > lowest).count();
        let newest = self.waiting.back().map_or(u64::MAX, |waiting| waiting.dot.seq);
        let lacking = live().filter(|(_, has)| messages == 0 || has.seq < newest);
        (messages as u64, lacking.map(|(id, _)| *id).collect())
    }

    /// The process ends: what nobody else has is told as failed.
    pub fn ended(&mut self, people: &People, out: &mut Outputs) {
        for waiting in std::mem::take(&mut self.waiting) {
            if self.others.values().all(|has| has.seq < waiting.dot.seq) {
                out.tell(self.ack(&waiting, AckState::Failed, people));
            }
        }
    }

    /// How many messages are followed.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether everything is confirmed.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn follow(&mut self, others: BTreeMap<MemberId, Has>, people: &People, out: &mut Outputs) {
        let before = std::mem::replace(&mut self.others, others);
        let Some((low, high)) = self.changed_since(&before) else {
            return;
        };
        let mut kept = VecDeque::with_capacity(self.waiting.len());
        for mut waiting in std::mem::take(&mut self.waiting) {
            let seq = waiting.dot.seq;
            if seq <= low || seq > high {
                kept.push_back(waiting);
                continue;
            }
            let having = self.others.values().filter(|has| has.seq >= seq).count();
            if having == self.others.len() {
                out.tell(self.ack(&waiting, AckState::All, people));
                continue;
            }
            if having != waiting.told {
                waiting.told = having;
                out.tell(self.ack(&waiting, AckState::Partial, people));
            }
            kept.push_back(waiting);
        }
        self.waiting = kept;
        self.overflowed &= !self.waiting.is_empty();
    }

    /// The seqs whose confirmations may differ from before: above the first, up to the second.
    fn changed_since(&self, before: &BTreeMap<MemberId, Has>) -> Option<(u64, u64)> {
        if !self.others.keys().eq(before.keys()) {
            return Some((0, u64::MAX));
        }
        let moved = || {
            self.others
                .iter()
                .map(|(id, has)| (before[id].seq, has.seq))
                .filter(|(old, new)| old != new)
        };
        let low = moved().map(|(old, new)| old.min(new)).min()?;
        let high = moved().map(|(old, new)| old.max(new)).max()?;
        Some((low, high))
    }

    fn ack(&self, waiting: &Waiting, state: AckState, people: &People) -> Body {
        let (mut acked, mut pending) = (Vec::new(), Vec::new());
        for (id, has) in &self.others {
            let list = if has.seq >= waiting.dot.seq {
                &mut acked
            } else {
                &mut pending
            };
            list.push(people.id(*id));
        }
        Body::Ack(Ack {
            id: people.message_id(waiting.dot),
            reference: waiting.reference.clone(),
            acked,
            pending,
            state,
        })
    }
}
