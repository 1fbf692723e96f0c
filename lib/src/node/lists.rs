//! Private groups: who is told of them, and what becomes of whoever may not be in them any more.

use crate::circle::Circle;
use crate::group::{Listing, Private};
use crate::id::{GroupId, NodeId};
use crate::net::Knock;
use crate::net::rpc::Presence;
use crate::node::Offer;
use crate::node::hub::Hub;

/// A group to be joined.
#[derive(Debug)]
pub(super) enum Which {
    Public(String),
    Private(Circle),
}

impl Which {
    pub(super) fn id(&self) -> GroupId {
        match self {
            Self::Public(name) => GroupId::named(name),
            Self::Private(circle) => circle.group(),
        }
    }

    /// For people.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Public(name) => name.clone(),
            Self::Private(circle) => circle.name().unwrap_or("a group of two").to_owned(),
        }
    }
}

impl Hub {
    /// What the member of a private group needs beside that of a public one. Whatever others know of its list counts.
    pub(super) fn private(&self, which: Which, nth: u64) -> Option<Private> {
        let Which::Private(mut circle) = which else { return None };
        let identity = self.options.identity.clone()?;
        let group = circle.group();
        for remote in self.nodes.values() {
            let there = remote.groups.iter().find(|presence| presence.group == group);
            if let Some(other) = there.and_then(|presence| presence.circle.as_ref())
                && remote.profile.is_some_and(|profile| circle.admits(&profile))
            {
                circle.merge(other);
            }
        }
        Some(Private {
            listing: Listing::new(circle),
            identity,
            nth,
        })
    }

    /// Takes in what a node knows of the lists of groups that it may be in.
    pub(super) fn merge_lists(&mut self, node: NodeId, groups: &[Presence]) {
        let profile = self.nodes.get(&node).and_then(|remote| remote.profile);
        for presence in groups {
            let (Some(circle), Some(local)) = (&presence.circle, self.groups.get(&presence.group)) else {
                continue;
            };
            if let Some(listing) = &local.door.listing
                && listing.admits(profile.as_ref())
            {
                listing.merge(circle);
            }
        }
    }

    /// Tells links of lists that have changed. Members that are out count as gone. False, if there was nothing to tell.
    pub(super) async fn note_lists(&mut self) -> bool {
        let mut changed = Vec::new();
        for (&group, local) in &mut self.groups {
            let now = local.door.listing.as_ref().map(Listing::now);
            if local.told != now {
                local.told = now;
                changed.push(group);
            }
        }
        if changed.is_empty() {
            return false;
        }
        self.publish();
        self.drop_idle_links();
        for group in changed {
            self.kick(group);
            let Some(local) = self.groups.get(&group) else { continue };
            for (&node, remote) in &self.nodes {
                let is_out = remote.profile.is_some() && !local.door.lets_in(remote.profile.as_ref());
                let there = remote.groups.iter().find(|presence| presence.group == group);
                let Some(Presence { member, .. }) = there.filter(|_| is_out) else {
                    continue;
                };
                let lease = Knock::Lease { node, live: false };
                let _ = local.door.knock.send(lease).await;
                let _ = local.door.knock.send(Knock::LinkDown { member: *member }).await;
                let _ = local.door.knock.send(Knock::Refused { member: *member }).await;
            }
        }
        true
    }

    /// Dials those who may be in a group, or of whom that is not known, without a pause. Nobody else is to notice.
    pub(super) fn kick(&self, group: GroupId) {
        let Some(local) = self.groups.get(&group) else { return };
        let known = |node: NodeId| self.nodes.get(&node);
        self.places.kick_some(|node| match node.and_then(known) {
            Some(remote) => local.door.lets_in(remote.profile.as_ref()),
            None => true,
        });
    }

    /// What others are in, and this node may join.
    pub(super) fn show_offers(&mut self) {
        if !std::mem::take(&mut self.offers_stale) {
            return;
        }
        let own = self.options.identity.as_ref().and_then(|identity| identity.profile());
        let mut offers = Vec::new();
        for (&node, remote) in &self.nodes {
            let (Some(own), Some(profile)) = (own, remote.profile) else {
                continue;
            };
            let shown = remote.groups.iter().filter_map(|presence| presence.circle.as_ref());
            let open =
                shown.filter(|circle| circle.admits(&own) && circle.admits(&profile) && !self.is_in(circle.group()));
            offers.extend(open.cloned().map(|circle| Offer { node, profile, circle }));
        }
        let tell = |told: &mut Vec<Offer>| {
            let changed = *told != offers;
            *told = offers;
            changed
        };
        self.board.offers.send_if_modified(tell);
    }
}
