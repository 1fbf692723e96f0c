//! The addresses that a node dials, one task each.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::id::NodeId;
use crate::net::dial::{Phone, Trouble, dial};
use crate::node::Link;

/// Most addresses that a node dials: several times a full mesh.
pub(crate) const MAX_PLACES: usize = 1024;
/// An address that nobody vouches for any more and that failed for so long is dialled no more.
const FORGET_AFTER: Duration = Duration::from_secs(60);

/// Addresses that a node dials.
#[derive(Default)]
pub(super) struct Places {
    places: BTreeMap<SocketAddr, Place>,
}

/// One of them.
pub(super) struct Place {
    /// Asked for by the application.
    pub(super) pinned: bool,
    /// A registry vouches for it.
    pub(super) live: bool,
    /// Who answered there, or was said to be there.
    pub(super) node: Option<NodeId>,
    pub(super) up: bool,
    pub(super) trouble: Option<Trouble>,
    failing_since: Option<Instant>,
    kick: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Places {
    /// Dials that address from now on; nothing if it is dialled already, or if there are too many.
    pub(super) fn dial(&mut self, addr: SocketAddr, phone: &Phone, jitter: u64) -> Option<&mut Place> {
        if addr.port() == 0 || addr.ip().is_unspecified() {
            return None;
        }
        if !self.places.contains_key(&addr) {
            if self.places.len() >= MAX_PLACES {
                tracing::warn!(%addr, "not dialled: this node dials {MAX_PLACES} addresses already");
                return None;
            }
            let kick = Arc::new(Notify::new());
            let phone = Phone {
                kick: kick.clone(),
                ..phone.clone()
            };
            let task = tokio::spawn(dial(addr, phone, jitter));
            let place = Place {
                pinned: false,
                live: false,
                node: None,
                up: false,
                trouble: None,
                failing_since: None,
                kick,
                task,
            };
            self.places.insert(addr, place);
        }
        self.places.get_mut(&addr)
    }

    /// Notes a failed attempt; forgets addresses that nobody needs.
    pub(super) fn failed(&mut self, addr: SocketAddr, trouble: Trouble, needed: bool) {
        let Some(place) = self.places.get_mut(&addr) else {
            return;
        };
        place.up = false;
        place.trouble = Some(trouble);
        let since = *place.failing_since.get_or_insert_with(Instant::now);
        if !place.pinned && !place.live && !needed && since.elapsed() > FORGET_AFTER {
            self.places.remove(&addr);
        }
    }

    pub(super) fn connected(&mut self, addr: SocketAddr, node: NodeId, up: bool) {
        let Some(place) = self.places.get_mut(&addr) else {
            return;
        };
        (place.node, place.up, place.trouble, place.failing_since) = (Some(node), up, None, None);
    }

    /// A registry does not vouch for that node any more.
    pub(super) fn gone(&mut self, node: NodeId) {
        self.places
            .values_mut()
            .filter(|place| place.node == Some(node))
            .for_each(|place| place.live = false);
    }

    /// That node is not to be linked any more. What the application itself asked for is dialled on: another node may come
    /// to be there.
    pub(super) fn forget(&mut self, node: NodeId) {
        self.places.retain(|_, place| place.node != Some(node) || place.pinned);
        let pinned = self.places.values_mut().filter(|place| place.node == Some(node));
        pinned.for_each(|place| (place.node, place.live, place.up) = (None, false, false));
    }

    /// This node's own address, or one that is wrong for another reason: never again.
    pub(super) fn remove(&mut self, addr: SocketAddr) {
        self.places.remove(&addr);
    }

    /// Cuts pauses short, where the node that is there, if it is known, is to be talked to.
    pub(super) fn kick_some(&self, wanted: impl Fn(Option<NodeId>) -> bool) {
        let places = self.places.values().filter(|place| wanted(place.node));
        places.for_each(|place| place.kick.notify_one());
    }

    pub(super) fn kick(&self, addr: SocketAddr) {
        if let Some(place) = self.places.get(&addr) {
            place.kick.notify_one();
        }
    }

    pub(super) fn links(&self) -> Vec<Link> {
        let link = |(&addr, place): (&SocketAddr, &Place)| Link {
            addr,
            node: place.node,
            up: place.up,
            trouble: place.trouble.as_ref().map(|trouble| trouble.why.clone()),
            denied: place.trouble.as_ref().is_some_and(|trouble| trouble.denied),
        };
        self.places.iter().map(link).collect()
    }
}
