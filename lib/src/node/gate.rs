//! Whom a node lets in beside what certificates say: members of its groups whose certificate has expired, and nobody
//! who was evicted, or who forged.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use tokio::sync::watch;

use crate::id::NodeId;
use crate::net::tls::{Nodes, Register};

/// Evicted nodes that are remembered; then the oldest is forgotten. Its certificate has long expired by then, if its
/// authority evicts fewer than one a minute.
pub(crate) const MAX_EVICTED: usize = 4096;

/// Banned nodes that are remembered; then the oldest is forgotten, and may forge once more. Each had to get a certificate
/// for a key of its own first.
pub(crate) const MAX_BANNED: usize = 1024;

pub(super) struct Gate {
    known: watch::Sender<Nodes>,
    /// Both kinds.
    barred: watch::Sender<Nodes>,
    /// Whom nobody vouches for any more, as they were evicted.
    evicted: VecDeque<NodeId>,
    /// Who forged, as that was found.
    banned: VecDeque<NodeId>,
}

impl Gate {
    pub(super) fn new() -> (Self, Register) {
        let (known, knows) = watch::channel(Nodes::default());
        let (barred, bars) = watch::channel(Nodes::default());
        let gate = Self {
            known,
            barred,
            evicted: VecDeque::new(),
            banned: VecDeque::new(),
        };
        let register = Register {
            known: knows,
            evicted: bars,
        };
        (gate, register)
    }

    /// These are in views of this node's groups.
    pub(super) fn know(&self, nodes: BTreeSet<NodeId>) {
        self.known.send_if_modified(|known| {
            let changed = **known != nodes;
            if changed {
                *known = Arc::new(nodes);
            }
            changed
        });
    }

    /// Lets that node in no more. False if it was not let in before.
    pub(super) fn evict(&mut self, node: NodeId) -> bool {
        let news = !self.bars(node);
        if !self.evicted.contains(&node) {
            push(&mut self.evicted, MAX_EVICTED, node);
            self.publish();
        }
        news
    }

    /// Lets a node that forged in no more. False if it was not let in before.
    pub(super) fn ban(&mut self, node: NodeId) -> bool {
        let news = !self.bars(node);
        if news {
            push(&mut self.banned, MAX_BANNED, node);
            self.publish();
        }
        news
    }

    pub(super) fn bars(&self, node: NodeId) -> bool {
        self.barred.borrow().contains(&node)
    }

    fn publish(&self) {
        let all = self.evicted.iter().chain(&self.banned).copied();
        self.barred.send_replace(Arc::new(all.collect()));
    }
}

fn push(order: &mut VecDeque<NodeId>, most: usize, node: NodeId) {
    if order.len() >= most {
        order.pop_front();
    }
    order.push_back(node);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_evictions_are_forgotten() {
        let (mut gate, register) = Gate::new();
        let node = |n: usize| NodeId::from(n as u128);
        assert!((0..=MAX_EVICTED).all(|nth| gate.evict(node(nth))));
        assert!(!gate.evict(node(1)) && !gate.bars(node(0)));
        assert!(gate.bars(node(1)) && gate.bars(node(MAX_EVICTED)));
        assert_eq!(register.evicted.borrow().len(), MAX_EVICTED);
    }

    #[test]
    fn bans_have_a_limit_of_their_own() {
        let (mut gate, register) = Gate::new();
        let node = |n: usize| NodeId::from(n as u128);
        assert!(gate.evict(node(0)) && !gate.ban(node(0)), "it is out already");
        assert!((1..=MAX_BANNED + 1).all(|nth| gate.ban(node(nth))));
        assert!(gate.bars(node(0)) && !gate.bars(node(1)) && gate.bars(node(2)));
        assert_eq!(register.evicted.borrow().len(), MAX_BANNED + 1);
        assert!(!gate.evict(node(2)), "it is out already");
    }
}
