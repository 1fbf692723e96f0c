//! Who is cut off: whom nobody vouches for any more, who forged, and who signed two histories.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::group::Outcast;
use crate::id::NodeId;
use crate::net::Knock;
use crate::node::gate::MAX_BANNED;
use crate::node::hub::{Hub, Remote};

/// How long a member that signed two histories may still be connected: two heartbeats, and the way. All it says is answered
/// with the proof, and there are two processes that have to hear it.
pub(crate) const HEARING: Duration = Duration::from_secs(5);

impl Hub {
    /// Cuts a node off, for good. Its members count as gone; if it is this one, it is out of all groups.
    pub(super) async fn evict(&mut self, node: NodeId) {
        if node == self.id {
            if !std::mem::replace(&mut self.evicted, true) {
                // A target of its own: an application that tells its users by the event need not say it twice.
                tracing::error!(target: "multicast::evicted", "this node was evicted: its groups end");
                for local in self.groups.values() {
                    let _ = local.door.knock.send(Knock::Evicted).await;
                }
            }
            return;
        }
        if !self.gate.evict(node) {
            return;
        }
        tracing::warn!(node = %node.short(), "evicted: its connections are cut, and it is let in no more");
        self.cut_off(node).await;
    }

    /// Cuts off a node that forged, for as long as this one runs.
    pub(super) async fn ban(&mut self, node: NodeId) {
        if node == self.id || !self.gate.ban(node) {
            return;
        }
        tracing::warn!(node = %node.short(), "evicted by this node, for it forged: it is let in no more while this node runs");
        self.cut_off(node).await;
    }

    async fn cut_off(&mut self, node: NodeId) {
        self.places.forget(node);
        self.set_leases(&[node], false).await;
        self.nodes.remove(&node);
        self.reconcile().await;
        self.tell_gone(|member| member.node == node).await;
    }

    /// Who forged goes at once, if its link has proved whose it is. Of who signed two histories there may be two, and both
    /// are to hear why.
    pub(super) async fn hear_of_outcasts(&mut self) {
        let locals = self.groups.values_mut();
        let outcasts = locals.filter(|local| local.outcasts.has_changed().unwrap_or(true));
        let outcasts: Vec<Outcast> = outcasts
            .flat_map(|local| local.outcasts.borrow_and_update().clone())
            .collect();
        for outcast in outcasts {
            match outcast {
                Outcast::Expelled(node) => {
                    let heard = self.hearings.iter().any(|hearing| hearing.1 == node);
                    if !heard && !self.gate.bars(node) && self.hearings.len() < MAX_BANNED {
                        self.hearings.push_back((Instant::now() + HEARING, node));
                    }
                }
                Outcast::Forger(member) if self.phone.tls.is_some() => {
                    let has = |remote: &Remote| remote.groups.iter().any(|presence| presence.member == member);
                    let node = self.nodes.iter().find(|(_, remote)| has(remote)).map(|(&node, _)| node);
                    if let Some(node) = node {
                        self.ban(node).await;
                    }
                }
                Outcast::Forger(_) => {}
            }
        }
    }
}

/// Returns when the first hearing is over.
pub(super) async fn heard_out(first: Option<&(Instant, NodeId)>) {
    match first {
        Some((until, _)) => sleep_until(*until).await,
        None => std::future::pending().await,
    }
}
