//! Someone who watches, and the judge of what it is told (R5).

use std::collections::{BTreeMap, BTreeSet};

use nodeset::protocol::{Change, Instance, News, Position};
use nodeset::registry::Caller;
use nodeset::{Peer, PeerId};

use super::seen::Seen;

/// Someone who watches, over reconnects, and rebuilds the node set from what is told.
#[derive(Default)]
pub(super) struct Observer {
    pub(super) at: Option<Position>,
    pub(super) set: BTreeMap<PeerId, Peer>,
    pub(super) evicted: BTreeSet<PeerId>,
    pub(super) waiting: Option<Caller>,
}

impl Observer {
    pub(super) fn hear(
        &mut self,
        news: News,
        past: &[BTreeMap<PeerId, Peer>],
        instance: u64,
        history: usize,
        seen: &mut Seen,
    ) {
        match news {
            News::Resync { at, entries, evicted } => {
                seen.resyncs += 1;
                self.evicted = evicted.into_iter().map(|(node, _)| node).collect();
                if let Some(known) = self.at.filter(|known| known.instance == at.instance) {
                    seen.compactions += 1;
                    let behind = at.revision - known.revision;
                    assert!(behind > history as u64, "R5: a resync without need");
                }
                self.set = entries.into_iter().map(|e| (e.peer.id(), e.peer)).collect();
                self.at = Some(at);
            }
            News::Changes { at, changes } => {
                let known = self.at.expect("R5: changes to nothing");
                assert_eq!(known.instance, at.instance, "R5: changes of another instance");
                assert_eq!(known.revision + changes.len() as u64, at.revision, "R5: a hole");
                for (change, n) in changes.into_iter().zip(known.revision + 1..) {
                    seen.changes_told += 1;
                    match change {
                        Change::Live(entry) => drop(self.set.insert(entry.peer.id(), entry.peer)),
                        Change::Gone { peer, .. } => drop(self.set.remove(&peer.id())),
                        Change::Evicted { node, .. } => {
                            seen.evictions_told += 1;
                            self.evicted.insert(node);
                        }
                    }
                    assert_eq!(self.set, past[n as usize], "R5: not the history, at {n}");
                }
                self.at = Some(at);
            }
        }
        let at = self.at.expect("just set");
        assert_eq!(at.instance, Instance(instance));
        assert_eq!(self.set, past[at.revision as usize], "R5: not the node set of {at:?}");
    }
}
