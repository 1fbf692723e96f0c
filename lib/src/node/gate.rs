//! Whom a node lets in beside what certificates say: members of its groups whose certificate has expired, and nobody
//! who was evicted.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use tokio::sync::watch;

use crate::id::NodeId;
use crate::net::tls::{Nodes, Register};

/// Evicted nodes that are remembered; then the oldest is forgotten. Its certificate has long expired by then, if its
/// authority evicts fewer than one a minute.
pub(crate) const MAX_EVICTED: usize = 4096;

pub(super) struct Gate {
    known: watch::Sender<Nodes>,
    evicted: watch::Sender<Nodes>,
    /// As they were evicted.
    order: VecDeque<NodeId>,
}

impl Gate {
    pub(super) fn new() -> (Self, Register) {
        let (known, knows) = watch::channel(Nodes::default());
        let (evicted, evicts) = watch::channel(Nodes::default());
        let gate = Self {
            known,
            evicted,
            order: VecDeque::new(),
        };
        let register = Register {
            known: knows,
            evicted: evicts,
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

    /// Lets that node in no more. False if it was evicted before.
    pub(super) fn evict(&mut self, node: NodeId) -> bool {
        if self.has_evicted(node) {
            return false;
        }
        let oldest = (self.order.len() >= MAX_EVICTED)
            .then(|| self.order.pop_front())
            .flatten();
        self.order.push_back(node);
        self.evicted.send_modify(|evicted| {
            let evicted = Arc::make_mut(evicted);
            evicted.insert(node);
            if let Some(oldest) = oldest {
                evicted.remove(&oldest);
            }
        });
        true
    }

    pub(super) fn has_evicted(&self, node: NodeId) -> bool {
        self.evicted.borrow().contains(&node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_evictions_are_forgotten() {
        let (mut gate, register) = Gate::new();
        let node = |n: usize| NodeId::from(n as u128);
        assert!((0..=MAX_EVICTED).all(|nth| gate.evict(node(nth))));
        assert!(!gate.evict(node(1)) && !gate.has_evicted(node(0)));
        assert!(gate.has_evicted(node(1)) && gate.has_evicted(node(MAX_EVICTED)));
        assert_eq!(register.evicted.borrow().len(), MAX_EVICTED);
    }
}
