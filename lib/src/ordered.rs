//! One order for all: a layer above the causal group, pure like the engine.
//!
//! Members multicast causally as always. Every member has a [`Sequencer`] beside its engine; one of them is the order's
//! *authority*, which says of the messages that it delivered which comes next. What it says is a record in the log of a
//! Raft cluster whose leader it is, and a message is shown once its record is with a majority of the voters. So nothing
//! that was shown is ever put into another order, and a minority shows nothing. The authority puts messages into its own
//! delivery order, which is causal; that it did so is checked by everyone before a record is accepted.
//!
//! A voter accepts a record only when it has delivered the messages that it names, so that a majority has not only the
//! order but what is ordered. PROTOCOL.md has the arguments.

mod accept;
mod authority;
mod belief;
mod config;
mod elect;
mod input;
mod lies;
mod place;
mod raft;
mod word;

use std::collections::BTreeMap;

use noraft::Node as Raft;

pub(crate) use config::{IN_FLIGHT, RECORD_DOTS};
pub use config::{OrderConfig, OrderRules};
pub use input::{OrderInput, OrderOutput, Peer, PeerStage, Place, peers};
#[doc(hidden)]
pub use lies::lies;
#[cfg(test)]
pub(crate) use {
    config::{KEPT, KEPT_AT_MOST, PENDING},
    word::WORD_BYTES,
};

use crate::clock::Clock;
use crate::id::{Dot, MemberId, Span};
use crate::message::Micros;
use belief::Belief;
use place::Shown;
use raft::Numbers;
use word::{At, Record, Said, Snapshot, Voters, Word};

/// A message that was delivered and has no place yet.
#[derive(Clone, Debug)]
struct Pending {
    arrival: u64,
    clock: Clock,
}

/// One member's part in the order of its group. Equal inputs, equal outputs.
#[derive(Clone, Debug)]
pub struct Sequencer {
    config: OrderConfig,
    me: MemberId,
    now: Micros,
    rng: Rng,
    numbers: Numbers,
    raft: Raft,
    /// Which order this is: who created it. None until it is known.
    creator: Option<MemberId>,
    /// What the commands of the log are, by index.
    records: BTreeMap<u64, Record>,
    /// The order up to what the log begins with, up to what is shown, and up to the log's end.
    kept_from: Snapshot,
    shown: Shown,
    end: BTreeMap<MemberId, u64>,
    /// Delivered, and without a place.
    pending: BTreeMap<Dot, Pending>,
    arrivals: BTreeMap<u64, Dot>,
    next_arrival: u64,
    /// As an authority: everything that arrived before this is in the log.
    proposed: u64,
    /// What is never shown here: one's cut, gaps, and what was let go.
    base: Clock,
    /// Dots of a gap that have no place: who has some cannot be the authority.
    unknown: BTreeMap<MemberId, u64>,
    peers: BTreeMap<MemberId, Peer>,
    belief: Belief,
    floor: u64,
    elect: elect::Elections,
    told: Told,
    out: Vec<OrderOutput>,
}

/// What the application was told last.
#[derive(Clone, Debug, Default)]
struct Told {
    authority: Option<(u64, MemberId)>,
    waiting: bool,
    /// When too few were there for the first time.
    few_since: Option<Micros>,
}

impl Sequencer {
    /// Beside an engine that is about to join. `creates`: this member makes the group, and is its first authority; exactly
    /// one may.
    pub fn new(config: OrderConfig, me: MemberId, creates: bool, seed: u64, now: Micros) -> Self {
        let mut numbers = Numbers::default();
        let mine = numbers.number(me);
        let mut sequencer = Self {
            raft: Raft::start(mine),
            config,
            me,
            now,
            rng: Rng(seed),
            numbers,
            creator: creates.then_some(me),
            records: BTreeMap::new(),
            kept_from: place::nothing(),
            shown: Shown::default(),
            end: BTreeMap::new(),
            pending: BTreeMap::new(),
            arrivals: BTreeMap::new(),
            next_arrival: 0,
            proposed: 0,
            base: Clock::new(),
            unknown: BTreeMap::new(),
            peers: BTreeMap::new(),
            belief: Belief::default(),
            floor: 0,
            elect: elect::Elections::default(),
            told: Told::default(),
            out: Vec::new(),
        };
        if creates {
            sequencer.raft.create_cluster(&[mine]);
            sequencer.settle();
            sequencer.out.clear();
        }
        sequencer
    }

    /// Takes one input; returns everything that follows from it, in order.
    pub fn handle(&mut self, input: OrderInput, now: Micros) -> Vec<OrderOutput> {
        self.now = self.now.max(now);
        match input {
            OrderInput::Delivered { dot, clock } => self.on_delivered(dot, clock),
            OrderInput::Cut(cut) => self.base.merge(&cut),
            OrderInput::Gap(spans) => self.on_gap(&spans),
            OrderInput::Peers(peers) => self.on_peers(peers),
            OrderInput::Said { from, bytes } => self.on_said(from, &bytes),
            OrderInput::HandOver(to) => self.hand_over(to),
            OrderInput::Leaving => self.leaving(),
            OrderInput::Tick => {}
        }
        self.on_time();
        self.settle();
        std::mem::take(&mut self.out)
    }

    /// When it wants a `Tick`, at the latest. A tick before that does nothing.
    pub fn deadline(&self) -> Option<Micros> {
        self.elect.deadline(self.raft.role().is_leader())
    }

    /// Whether this member is the authority, as far as it knows.
    pub fn is_authority(&self) -> bool {
        self.raft.role().is_leader()
    }

    /// Whether the authority is being handed over.
    pub fn is_handing_over(&self) -> bool {
        self.elect.handing.is_some()
    }

    /// The authority that this member follows, and its term.
    pub fn authority(&self) -> Option<(MemberId, u64)> {
        self.told.authority.map(|(epoch, by)| (by, epoch))
    }

    /// The last place that was given, as far as this member knows.
    pub fn position(&self) -> u64 {
        self.shown.count
    }

    /// Messages that wait for a place.
    pub fn waiting(&self) -> usize {
        self.pending.len()
    }

    /// As many wait as may: this member is to send no more.
    pub fn is_full(&self) -> bool {
        self.pending.len() >= self.config.pending
    }

    /// Entries of the log that are kept, for gauges and tests.
    pub fn logged(&self) -> usize {
        self.raft.log().entries().len()
    }

    /// Those whose majority decides now, ascending; while they are being changed, those of before. Empty while this member
    /// was not told.
    pub fn voters(&self) -> Vec<MemberId> {
        self.voter_sets().old
    }

    fn voter_sets(&self) -> Voters {
        self.numbers.voters(self.raft.config())
    }

    fn on_delivered(&mut self, dot: Dot, clock: Clock) {
        if dot.seq <= self.base.get(dot.origin) {
            return;
        }
        let arrival = self.next_arrival;
        self.next_arrival += 1;
        self.pending.insert(dot, Pending { arrival, clock });
        self.arrivals.insert(arrival, dot);
        if dot.seq <= self.shown.reach_of(dot.origin) {
            // It has a place that a snapshot did not say.
            self.let_go(dot);
        }
        if self.pending.len() > 2 * self.config.pending
            && let Some((_, &oldest)) = self.arrivals.first_key_value()
        {
            self.let_go(oldest);
        }
        if self.belief.awaits.is_none_or(|awaits| awaits == dot) {
            self.retry_stashed();
        }
    }

    /// Shown now, without a place.
    fn let_go(&mut self, dot: Dot) {
        if let Some(pending) = self.pending.remove(&dot) {
            self.arrivals.remove(&pending.arrival);
            self.base.set(dot.origin, dot.seq.max(self.base.get(dot.origin)));
            self.out.push(OrderOutput::Unplaced(dot));
        }
    }

    fn on_gap(&mut self, spans: &[Span]) {
        for span in spans {
            let unknown = self.unknown.entry(span.origin).or_default();
            *unknown = span.to.max(*unknown);
            self.base.set(span.origin, span.to.max(self.base.get(span.origin)));
        }
        self.retry_stashed();
    }

    /// Some of what it would have to order is not known here.
    fn is_unfit(&self) -> bool {
        let lacks = |(origin, seq): (&MemberId, &u64)| self.end.get(origin).copied().unwrap_or(0) < *seq;
        self.unknown.iter().any(lacks)
    }

    fn on_peers(&mut self, peers: Vec<Peer>) {
        self.peers = peers.into_iter().map(|peer| (peer.member, peer)).collect();
        self.go_alone();
    }

    fn is_there(&self, member: MemberId) -> bool {
        member == self.me || self.peers.get(&member).is_some_and(|peer| peer.there)
    }

    fn say(&mut self, to: MemberId, word: Word) {
        let creator = self.creator;
        let bytes = Said { creator, word }.encode();
        self.out.push(OrderOutput::Say { to, bytes });
    }

    fn odd(&mut self, member: MemberId, what: &'static str) {
        self.out.push(OrderOutput::Odd { member, what });
    }

    fn term(&self) -> u64 {
        self.raft.current_term().get()
    }

    fn last(&self) -> At {
        raft::at(self.raft.log().last_position())
    }

    /// Whether a minority waits, told once it has been so for a moment.
    fn review_majority(&mut self) {
        let voters = self.voter_sets();
        let enough = voters.is_empty() || voters.majority(|id| self.is_there(id));
        if enough {
            self.told.few_since = None;
            if std::mem::take(&mut self.told.waiting) {
                self.out.push(OrderOutput::Resumed);
            }
            return;
        }
        let since = *self.told.few_since.get_or_insert(self.now);
        if self.told.waiting || self.now < since + self.config.few_after {
            return;
        }
        self.told.waiting = true;
        let all = self.voters();
        let absent: Vec<_> = all.iter().copied().filter(|id| !self.is_there(*id)).collect();
        self.out.push(OrderOutput::Waiting {
            of: all.len(),
            needed: voters.old.len() / 2 + 1,
            absent,
        });
    }
}

/// SplitMix64 (Steele, Lea and Flood 2014): jitter, nothing secret.
#[derive(Clone, Debug)]
struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound.max(1)
    }
}
