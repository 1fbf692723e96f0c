//! The registry itself: a table of leases with a numbered history. Pure: it knows no clock, no
//! socket and no chance. `now` is the time since an arbitrary zero and never runs backwards
//! (what is earlier than the latest time seen counts as that time).
//!
//! Guaranteed: a lease never ends before its full time has passed since the request that last
//! renewed it was handled (R1); it ends at the first [`Input::Tick`] after that (R2); one peer id
//! never has two live leases (R4); a watch misses, repeats and reorders nothing, and where the
//! history is too short it says so with a full list (R5).

mod io;
mod limits;
mod watch;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

pub use self::io::{Ask, Caller, Event, Input, Output, What};
pub use self::limits::*;
use self::watch::Watcher;
use crate::admission::EVICTIONS_MAX;
use crate::peer::{Peer, PeerId};
use crate::protocol::{Answer, Change, Entry, Health, Holder, Instance, Position, Refusal, Why, millis};

/// A lease as it is kept over a restart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the fields are those of `Request::Register`")]
pub struct Kept {
    pub peer: Peer,
    pub holder: Holder,
    pub turn: u64,
    /// Time since the peer took the lease.
    pub age: Duration,
}

/// The lease table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Registry {
    limits: Limits,
    started: Duration,
    now: Duration,
    at: Position,
    leases: BTreeMap<PeerId, Lease>,
    /// Evicted ids, and until when they are refused.
    barred: BTreeMap<PeerId, Duration>,
    /// The last changes, the newest at the back; `at.revision` counts up to and including it.
    history: VecDeque<Past>,
    watchers: BTreeMap<Caller, Watcher>,
    outputs: Vec<Output>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Lease {
    peer: Peer,
    holder: Holder,
    turn: u64,
    since: Duration,
    renewed: Duration,
    until: Duration,
}

/// A change of the past. The ages of an [`Entry`] are of the moment it is told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Past {
    Peer {
        peer: Peer,
        since: Duration,
        gone: Option<Why>,
    },
    Barred(PeerId),
}

impl Registry {
    /// An empty registry at time `now`. `instance` must be new for every run.
    pub fn new(instance: Instance, limits: Limits, now: Duration) -> Self {
        Self {
            limits,
            started: now,
            now,
            at: Position { instance, revision: 0 },
            leases: BTreeMap::new(),
            barred: BTreeMap::new(),
            history: VecDeque::new(),
            watchers: BTreeMap::new(),
            outputs: Vec::new(),
        }
    }

    /// A registry that starts with the leases of an earlier run, and refuses `barred` for this
    /// long. Each lease is given its full time: nobody knows how much of it passed while no
    /// registry was running.
    pub fn restore(
        instance: Instance,
        limits: Limits,
        mut kept: Vec<Kept>,
        barred: &[(PeerId, Duration)],
        now: Duration,
    ) -> Self {
        let mut registry = Self::new(instance, limits, now);
        registry.barred = barred.iter().map(|(node, left)| (*node, now + *left)).collect();
        kept.retain(|kept| !registry.barred.contains_key(&kept.peer.id()));
        for Kept {
            peer,
            holder,
            turn,
            age,
        } in kept.into_iter().take(limits.max_peers)
        {
            let (since, until) = (now.saturating_sub(age), now + limits.lease);
            let lease = Lease {
                peer,
                holder,
                turn,
                since,
                renewed: now,
                until,
            };
            registry.leases.insert(lease.peer.id(), lease);
        }
        registry
    }

    /// The leases, to be kept over a restart.
    pub fn kept(&self) -> Vec<Kept> {
        let keep = |lease: &Lease| Kept {
            peer: lease.peer.clone(),
            holder: lease.holder,
            turn: lease.turn,
            age: self.now.saturating_sub(lease.since),
        };
        self.leases.values().map(keep).collect()
    }

    /// Takes one input and returns everything it leads to, in order.
    pub fn handle(&mut self, input: Input, now: Duration) -> Vec<Output> {
        self.now = self.now.max(now);
        match input {
            Input::Ask { caller, ask } => self.on_ask(caller, ask),
            Input::Forget { caller } => drop(self.watchers.remove(&caller)),
            Input::Tick => self.on_tick(),
        }
        self.answer_watchers();
        std::mem::take(&mut self.outputs)
    }

    /// When the next [`Input::Tick`] has something to do. `None`: never.
    pub fn deadline(&self) -> Option<Duration> {
        let leases = self.leases.values().map(|lease| lease.until);
        leases.chain(self.watchers.values().map(|watcher| watcher.until)).min()
    }

    /// How many peers are live.
    pub fn live(&self) -> usize {
        self.leases.len()
    }

    fn on_ask(&mut self, caller: Caller, ask: Ask) {
        let answer = match ask {
            Ask::Register { peer, holder, turn } => self.on_register(peer, holder, turn),
            Ask::Leave { id, holder, turn } => self.on_leave(id, holder, turn),
            Ask::List => Ok(Answer::List(self.entries())),
            Ask::Watch { since, wait } => return self.on_watch(caller, since, wait),
            Ask::Find { target } => Ok(Answer::List(self.find(&target))),
            Ask::Evict { nodes } => Ok(Answer::List(self.on_evict(&nodes))),
            Ask::Health => Ok(Answer::Health(self.health())),
        };
        self.answer(caller, answer.unwrap_or_else(Answer::Refused));
    }

    fn on_register(&mut self, peer: Peer, holder: Holder, turn: u64) -> Result<Answer, Refusal> {
        let (id, now) = (peer.id(), self.now);
        if let Some(until) = self.barred.get(&id).filter(|until| **until > now) {
            return Err(Refusal::Evicted {
                left_ms: millis(*until - now),
            });
        }
        // A lease whose time is over binds nobody, even if the tick that ends it is late.
        let lapsed = |lease: &Lease| lease.holder != holder && lease.until <= now;
        if self.leases.get(&id).is_some_and(lapsed) {
            self.end(id, Why::Expired);
        }
        match self.leases.get(&id) {
            Some(lease) if lease.holder != holder => return Err(Refusal::Held),
            Some(lease) if lease.turn >= turn => return Err(Refusal::Stale),
            Some(_) => self.renew(peer, turn),
            None if self.leases.len() >= self.limits.max_peers => {
                let max_peers = u32::try_from(self.limits.max_peers).unwrap_or(u32::MAX);
                return Err(Refusal::Full { max_peers });
            }
            None => self.join(peer, holder, turn),
        }
        Ok(Answer::Granted {
            lease_ms: millis(self.limits.lease),
        })
    }

    fn join(&mut self, peer: Peer, holder: Holder, turn: u64) {
        let (now, until) = (self.now, self.now + self.limits.lease);
        let lease = Lease {
            peer: peer.clone(),
            holder,
            turn,
            since: now,
            renewed: now,
            until,
        };
        self.leases.insert(peer.id(), lease);
        self.record(peer, now, None, What::Joined);
    }

    fn renew(&mut self, peer: Peer, turn: u64) {
        let (now, until) = (self.now, self.now + self.limits.lease);
        let Some(lease) = self.leases.get_mut(&peer.id()) else {
            return;
        };
        (lease.turn, lease.renewed, lease.until) = (turn, now, until);
        if lease.peer != peer {
            lease.peer = peer.clone();
            let since = lease.since;
            self.record(peer, since, None, What::Updated);
        }
    }

    fn on_leave(&mut self, id: PeerId, holder: Holder, turn: u64) -> Result<Answer, Refusal> {
        match self.leases.get(&id) {
            Some(lease) if lease.holder != holder => return Err(Refusal::Held),
            Some(lease) if lease.turn >= turn => return Err(Refusal::Stale),
            Some(_) => self.end(id, Why::Left),
            None => {}
        }
        Ok(Answer::Left)
    }

    fn find(&self, target: &str) -> Vec<Entry> {
        let named = |peer: &Peer| peer.nick() == target || peer.label() == target || peer.id().to_string() == target;
        let found = self.leases.values().filter(|lease| named(&lease.peer));
        found.map(|lease| self.entry(&lease.peer, lease.since)).collect()
    }

    /// A node that is refused already is refused for as long as it was.
    fn on_evict(&mut self, nodes: &[(PeerId, Duration)]) -> Vec<Entry> {
        let mut ended = Vec::new();
        self.barred.retain(|_, until| *until > self.now);
        for (node, left) in nodes {
            if self.barred.contains_key(node) {
                continue;
            }
            if let Some(lease) = self.leases.get(node) {
                ended.push(self.entry(&lease.peer, lease.since));
                self.end(*node, Why::Evicted);
            }
            self.bar(*node, self.now + *left);
        }
        ended
    }

    fn bar(&mut self, node: PeerId, until: Duration) {
        if self.barred.len() >= EVICTIONS_MAX {
            let soonest = self.barred.iter().min_by_key(|(id, until)| (**until, **id));
            if let Some(id) = soonest.map(|(id, _)| *id) {
                self.barred.remove(&id);
            }
        }
        self.barred.insert(node, until);
        self.remember(Past::Barred(node));
        self.outputs.push(Output::Barred { node });
    }

    fn on_tick(&mut self) {
        let due = self.leases.values().map(|lease| lease.until).min();
        if due.is_some_and(|due| self.now > due + self.limits.stall()) {
            // It is the registry that was away (stopped, suspended, starved): renewals lie unread
            // in its sockets, and nobody's silence says anything. As after a restart, everyone
            // gets a full lease.
            let until = self.now + self.limits.lease;
            self.leases.values_mut().for_each(|lease| lease.until = until);
        }
        let over = |lease: &&Lease| lease.until <= self.now;
        let mut over: Vec<_> = self
            .leases
            .values()
            .filter(over)
            .map(|l| (l.until, l.peer.id()))
            .collect();
        over.sort_unstable();
        over.into_iter().for_each(|(_, id)| self.end(id, Why::Expired));
    }

    fn end(&mut self, id: PeerId, why: Why) {
        if let Some(lease) = self.leases.remove(&id) {
            let what = match why {
                Why::Left => What::Left,
                Why::Expired => What::Expired {
                    silent: self.now - lease.renewed,
                },
                Why::Evicted => What::Evicted,
            };
            self.record(lease.peer, lease.since, Some(why), what);
        }
    }

    fn record(&mut self, peer: Peer, since: Duration, gone: Option<Why>, what: What) {
        self.remember(Past::Peer {
            peer: peer.clone(),
            since,
            gone,
        });
        self.outputs.push(Output::Changed(Event {
            peer,
            what,
            live: self.leases.len(),
        }));
    }

    /// The only place where the revision grows.
    fn remember(&mut self, past: Past) {
        self.at.revision += 1;
        if self.history.len() >= self.limits.history {
            self.history.pop_front();
        }
        self.history.push_back(past);
    }

    fn answer(&mut self, caller: Caller, answer: Answer) {
        self.outputs.push(Output::Answer { caller, answer });
    }

    fn entries(&self) -> Vec<Entry> {
        self.leases
            .values()
            .map(|lease| self.entry(&lease.peer, lease.since))
            .collect()
    }

    fn entry(&self, peer: &Peer, since: Duration) -> Entry {
        let until = self.leases.get(&peer.id()).map_or(Duration::ZERO, |lease| lease.until);
        let age = self.now.saturating_sub(since).as_millis();
        Entry {
            peer: peer.clone(),
            age_ms: u64::try_from(age).unwrap_or(u64::MAX),
            left_ms: millis(until.saturating_sub(self.now)),
        }
    }

    fn change(&self, past: &Past) -> Change {
        match past {
            Past::Peer {
                peer,
                since,
                gone: None,
            } => Change::Live(self.entry(peer, *since)),
            Past::Peer {
                peer, gone: Some(why), ..
            } => Change::Gone {
                peer: peer.clone(),
                why: *why,
            },
            Past::Barred(node) => {
                let until = self.barred.get(node).copied().unwrap_or_default();
                Change::Evicted {
                    node: *node,
                    left_ms: millis(until.saturating_sub(self.now)),
                }
            }
        }
    }

    fn health(&self) -> Health {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Health {
            at: self.at,
            live: count(self.leases.len()),
            max_peers: count(self.limits.max_peers),
            lease_ms: millis(self.limits.lease),
            up_ms: u64::try_from((self.now - self.started).as_millis()).unwrap_or(u64::MAX),
            listens: Vec::new(), // whoever serves it knows
        }
    }
}
