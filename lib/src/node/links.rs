//! Which nodes are linked, and which groups hear of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use tokio::sync::oneshot;

use crate::group::Want;
use crate::id::NodeId;
use crate::net::Knock;
use crate::net::dial::{News, Trouble, shares};
use crate::net::rpc::{Presence, Refusal};
use crate::net::serve::Visit;
use crate::node::hub::{Hub, MAX_NODES};

impl Hub {
    pub(super) async fn on_news(&mut self, addr: SocketAddr, news: News) {
        match news {
            // It was evicted while this link was made.
            News::Up { whom, .. } if self.gate.bars(whom.node) => {}
            News::Up {
                whom,
                hello,
                link,
                use_it,
            } => {
                self.another_process(addr, hello.node).await;
                self.nodes.entry(hello.node).or_default().profile = whom.profile;
                self.note_answer(hello.node, hello.revision, hello.groups);
                let remote = self.nodes.entry(hello.node).or_default();
                // One link a node: a second address of the same node waits until the first fails.
                let fresh = remote.link.is_none();
                if fresh {
                    remote.link = Some((addr, link));
                }
                let _ = use_it.send(fresh.then(|| remote.visited.subscribe()));
                self.places.connected(addr, hello.node, fresh);
            }
            News::Forged { node } => self.ban(node).await,
            News::Groups { hello } if self.gate.bars(hello.node) => {}
            News::Groups { hello } => self.note_answer(hello.node, hello.revision, hello.groups),
            News::Down => {
                let why = "the connection was lost".to_owned();
                self.unlink(addr, Trouble { why, denied: false });
            }
            News::Strangers { hello, .. } if self.gate.bars(hello.node) => {}
            News::Strangers { whom, hello } => {
                self.another_process(addr, hello.node).await;
                self.nodes.entry(hello.node).or_default().profile = whom.profile;
                self.places.connected(addr, hello.node, false);
                self.note_answer(hello.node, hello.revision, hello.groups);
            }
            News::Failed { refused, trouble } => {
                self.unlink(addr, trouble);
                if refused {
                    self.refused(addr, None).await;
                }
            }
            News::Myself => self.places.remove(addr),
        }
        self.reconcile().await;
    }

    pub(super) fn unlink(&mut self, addr: SocketAddr, trouble: Trouble) {
        let needed = self
            .groups
            .values()
            .any(|local| local.wanted.borrow().iter().any(|member| member.addr == addr));
        self.places.failed(addr, trouble, needed);
        for remote in self.nodes.values_mut() {
            if remote.link.as_ref().is_some_and(|link| link.0 == addr) {
                remote.link = None;
            }
        }
    }

    /// Whoever was at that address before is not there any more.
    pub(super) async fn another_process(&mut self, addr: SocketAddr, node: NodeId) {
        self.refused(addr, Some(node)).await;
    }

    /// Tells groups of members whose address refuses, or has become another node's.
    pub(super) async fn refused(&mut self, addr: SocketAddr, except: Option<NodeId>) {
        self.tell_gone(|member| member.addr == addr && Some(member.node) != except)
            .await;
    }

    /// Tells groups of members whose process is gone.
    pub(super) async fn tell_gone(&self, is_gone: impl Fn(&Want) -> bool) {
        for local in self.groups.values() {
            let members = local.wanted.borrow().clone();
            for Want { member, .. } in members.into_iter().filter(&is_gone) {
                let _ = local.door.knock.send(Knock::Refused { member }).await;
            }
        }
    }

    pub(super) async fn on_visit(&mut self, visit: Visit) {
        match visit {
            Visit::Hello { hello, admitted, .. } if hello.node == self.id => drop(admitted),
            Visit::Hello { hello, admitted, .. } if self.gate.bars(hello.node) => {
                let _ = admitted.send(Err(Refusal::Evicted));
            }
            Visit::Hello { whom, hello, admitted } => {
                let (replace, replaced) = oneshot::channel();
                self.forget_strangers();
                let remote = self.nodes.entry(hello.node).or_default();
                // The newer one is the living one: a rebooted peer must not be locked out.
                if let Some(older) = remote.visit.replace(replace) {
                    let _ = older.send(());
                }
                remote.polls = None;
                remote.profile = whom.profile;
                remote.visited.send_replace(true);
                let _ = admitted.send(Ok(replaced));
                self.note_groups(hello.node, hello.revision, hello.groups);
                self.dial(hello.addr, |place| {
                    place.node.get_or_insert(hello.node);
                });
                self.places.kick(hello.addr);
            }
            // What an evicted node's connection still says comes too late.
            Visit::Polls { node, .. } | Visit::Groups { node, .. } | Visit::Bye { node } if self.gate.bars(node) => {}
            Visit::Forged { node } => self.ban(node).await,
            Visit::Polls { node, link } => self.nodes.entry(node).or_default().polls = Some(link),
            Visit::Bye { node } => {
                let remote = self.nodes.entry(node).or_default();
                let visiting = remote.is_visiting();
                remote
                    .visited
                    .send_if_modified(|visited| std::mem::replace(visited, visiting) != visiting);
            }
            Visit::Groups { node, revision, groups } => {
                self.note_groups(node, revision, groups);
                if let Some(addr) = self.address_of(node) {
                    self.places.kick(addr);
                }
            }
        }
        self.reconcile().await;
    }

    /// Dials everyone that a group has in its view.
    pub(super) fn dial_members(&mut self) {
        let wanted: Vec<_> = self
            .groups
            .values_mut()
            .flat_map(|local| local.wanted.borrow_and_update().clone())
            .collect();
        self.gate.know(wanted.iter().map(|member| member.node).collect());
        for member in wanted {
            if self.gate.bars(member.node) {
                continue;
            }
            self.dial(member.addr, |place| {
                place.node.get_or_insert(member.node);
            });
        }
    }

    pub(super) fn address_of(&mut self, node: NodeId) -> Option<SocketAddr> {
        self.places
            .links()
            .into_iter()
            .find(|link| link.node == Some(node))
            .map(|link| link.addr)
    }

    /// What a node answers of its groups, unless it has said something newer itself: an answer may have been on its way
    /// for long.
    pub(super) fn note_answer(&mut self, node: NodeId, revision: u64, groups: Vec<Presence>) {
        let known = self.nodes.get(&node).map_or(0, |remote| remote.revision);
        if revision >= known {
            self.note_groups(node, revision, groups);
        }
    }

    /// What a node says of its groups, over its own connection: there the last word counts. Of one revision it says the
    /// more the better it knows this node.
    pub(super) fn note_groups(&mut self, node: NodeId, revision: u64, groups: Vec<Presence>) {
        let remote = self.nodes.entry(node).or_default();
        if revision == remote.revision && groups.len() < remote.groups.len() {
            return;
        }
        remote.revision = revision;
        self.merge_lists(node, &groups);
        self.nodes.entry(node).or_default().groups = groups;
        self.offers_stale = true;
    }

    pub(super) fn forget_strangers(&mut self) {
        if self.nodes.len() >= MAX_NODES {
            self.nodes
                .retain(|_, remote| remote.link.is_some() || remote.is_visiting());
        }
    }

    /// Leases matter to groups when they decide whether a silent member is closed.
    pub(super) async fn set_leases(&mut self, nodes: &[NodeId], live: bool) {
        for &node in nodes {
            let changed = match live {
                true => self.leases.len() < MAX_NODES && self.leases.insert(node),
                false => self.leases.remove(&node),
            };
            let profile = self.nodes.get(&node).and_then(|remote| remote.profile);
            for local in self.groups.values().filter(|_| changed) {
                // Whoever was thrown out of a group is gone for it.
                if live && profile.is_some_and(|profile| !local.door.lets_in(Some(&profile))) {
                    continue;
                }
                let _ = local.door.knock.send(Knock::Lease { node, live }).await;
            }
        }
    }

    /// Links that carry nothing any more close when their last sender is gone.
    pub(super) fn drop_idle_links(&mut self) {
        let mine = self.hello.borrow().clone();
        for remote in self.nodes.values_mut() {
            if !shares(&remote.groups, &mine.groups_for(remote.profile.as_ref())) {
                remote.link = None;
            }
        }
    }

    /// Brings what groups were told of links in line with the links that stand.
    pub(super) async fn reconcile(&mut self) {
        self.note_lists().await;
        for (&group, local) in &mut self.groups {
            let mut linked = BTreeMap::new();
            for remote in self.nodes.values() {
                let Some(link) = remote.way() else { continue };
                if !local.door.lets_in(remote.profile.as_ref()) {
                    continue;
                }
                for presence in remote.groups.iter().filter(|presence| presence.group == group) {
                    linked.insert(presence.member, link.clone());
                }
            }
            let before = std::mem::take(&mut local.announced);
            for (&member, link) in &before {
                if linked.get(&member).is_none_or(|now| !now.same_channel(link)) {
                    let _ = local.door.knock.send(Knock::LinkDown { member }).await;
                }
            }
            for (&member, link) in &linked {
                if before.get(&member).is_none_or(|old| !old.same_channel(link)) {
                    let _ = local
                        .door
                        .knock
                        .send(Knock::LinkUp {
                            member,
                            link: link.clone(),
                        })
                        .await;
                }
            }
            local.announced = linked;
        }
    }
}
