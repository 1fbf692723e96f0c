//! What one registry says about who is there. Pure: time comes in from outside.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::admission::EVICTIONS_MAX;
use crate::peer::{Peer, PeerId};
use crate::protocol::{Change, Instance, News, Position};

/// The peers of one registry as far as told.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    at: Option<Position>,
    peers: BTreeMap<PeerId, Peer>,
    /// Peers known from an earlier instance that the present one has not mentioned, and until when
    /// they are believed: a registry that restarted empty has everyone again within one lease, and
    /// until then its not knowing a peer says nothing.
    doubted: BTreeMap<PeerId, Instant>,
    /// Nodes that are refused, and those that were while this instance has been watched.
    evicted: BTreeSet<PeerId>,
}

/// The registry contradicts itself; its connection is of no use.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Contradiction;

impl View {
    /// From where to be told on.
    pub(super) fn at(&self) -> Option<Position> {
        self.at
    }

    pub(super) fn peers(&self) -> &BTreeMap<PeerId, Peer> {
        &self.peers
    }

    pub(super) fn evicted(&self) -> &BTreeSet<PeerId> {
        &self.evicted
    }

    /// When [`View::settle`] next has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.doubted.values().min().copied()
    }

    /// Takes in what the registry told in answer to a watch from [`View::at`].
    pub(super) fn apply(&mut self, news: News, lease: Duration, now: Instant) -> Result<(), Contradiction> {
        match news {
            News::Resync { at, entries, evicted } => {
                self.evicted = evicted.into_iter().map(|(node, _)| node).collect();
                let peers = entries.into_iter().map(|entry| (entry.peer.id(), entry.peer));
                self.resync(at.instance, peers.collect(), now + lease);
                self.at = Some(at);
            }
            News::Changes { at, changes } => {
                let before = self.at.ok_or(Contradiction)?;
                let revision = before.revision.checked_add(changes.len() as u64);
                if at.instance != before.instance || Some(at.revision) != revision {
                    return Err(Contradiction);
                }
                changes.into_iter().for_each(|change| self.change(change));
                self.at = Some(at);
            }
        }
        Ok(())
    }

    /// Lets go of whom a restarted registry has had time enough to mention.
    pub(super) fn settle(&mut self, now: Instant) {
        let over: Vec<_> = self
            .doubted
            .iter()
            .filter(|(_, until)| **until <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in over {
            self.doubted.remove(&id);
            self.peers.remove(&id);
        }
    }

    fn resync(&mut self, instance: Instance, told: BTreeMap<PeerId, Peer>, until: Instant) {
        let restarted = self.at.is_some_and(|at| at.instance != instance);
        let known = std::mem::replace(&mut self.peers, told);
        let doubted = std::mem::take(&mut self.doubted);
        for (id, peer) in known {
            let until = match doubted.get(&id) {
                Some(earlier) => *earlier,
                None if restarted => until,
                None => continue,
            };
            if self.evicted.contains(&id) {
                continue;
            }
            if let Entry::Vacant(unmentioned) = self.peers.entry(id) {
                unmentioned.insert(peer);
                self.doubted.insert(id, until);
            }
        }
    }

    fn change(&mut self, change: Change) {
        match change {
            Change::Live(entry) => {
                self.doubted.remove(&entry.peer.id());
                self.peers.insert(entry.peer.id(), entry.peer);
            }
            Change::Gone { peer, .. } => {
                self.doubted.remove(&peer.id());
                self.peers.remove(&peer.id());
            }
            Change::Evicted { node, .. } => {
                // Of more than the registry itself remembers, those that are let go of were told.
                if self.evicted.len() >= EVICTIONS_MAX {
                    self.evicted.pop_first();
                }
                self.doubted.remove(&node);
                self.peers.remove(&node);
                self.evicted.insert(node);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::Registration;
    use crate::protocol::{self, Why};

    const LEASE: Duration = Duration::from_secs(6);

    fn peer(n: u8) -> Peer {
        let addr = std::net::SocketAddr::from(([127, 0, 0, 1], u16::from(n)));
        Registration::new(u128::from(n).into(), format!("p{n}"), addr)
            .check()
            .expect("well formed")
    }

    fn entry(n: u8) -> protocol::Entry {
        protocol::Entry {
            peer: peer(n),
            age_ms: 0,
            left_ms: 0,
        }
    }

    fn at(instance: u64, revision: u64) -> Position {
        Position {
            instance: Instance(instance),
            revision,
        }
    }

    fn list(instance: u64, revision: u64, peers: &[u8]) -> News {
        let entries = peers.iter().map(|n| entry(*n)).collect();
        News::Resync {
            at: at(instance, revision),
            entries,
            evicted: Vec::new(),
        }
    }

    fn ids(view: &View) -> Vec<u128> {
        view.peers()
            .keys()
            .map(|id| u128::from_be_bytes(id.to_bytes()))
            .collect()
    }

    #[test]
    fn a_restarted_registry_has_one_lease_to_mention_everyone() {
        let (mut view, start) = (View::default(), Instant::now());
        view.apply(list(1, 9, &[1, 2, 3]), LEASE, start).expect("applies");
        view.apply(list(2, 1, &[3]), LEASE, start).expect("applies");
        assert_eq!(ids(&view), [1, 2, 3], "1 and 2 are believed for a lease");
        let back = News::Changes {
            at: at(2, 2),
            changes: vec![Change::Live(entry(2))],
        };
        view.apply(back, LEASE, start + LEASE / 2).expect("applies");
        view.settle(start + LEASE - Duration::from_millis(1));
        assert_eq!(ids(&view), [1, 2, 3]);
        view.settle(view.deadline().expect("1 is doubted"));
        assert_eq!(ids(&view), [2, 3]);
    }

    #[test]
    fn a_list_of_the_same_instance_is_final() {
        let (mut view, start) = (View::default(), Instant::now());
        view.apply(list(1, 9, &[1, 2]), LEASE, start).expect("applies");
        view.apply(list(1, 99, &[2]), LEASE, start).expect("applies");
        assert_eq!((ids(&view), view.deadline()), (vec![2], None));
    }

    #[test]
    fn a_hole_in_the_history_is_noticed() {
        let (mut view, start) = (View::default(), Instant::now());
        let gone = || {
            vec![Change::Gone {
                peer: peer(1),
                why: Why::Left,
            }]
        };
        let changes = |at, changes| News::Changes { at, changes };
        assert_eq!(view.apply(changes(at(1, 1), gone()), LEASE, start), Err(Contradiction));
        view.apply(list(1, 9, &[1]), LEASE, start).expect("applies");
        assert_eq!(view.apply(changes(at(1, 11), gone()), LEASE, start), Err(Contradiction));
        assert_eq!(view.apply(changes(at(2, 10), gone()), LEASE, start), Err(Contradiction));
        view.apply(changes(at(1, 10), gone()), LEASE, start).expect("applies");
        assert!(view.peers().is_empty());
    }
}
