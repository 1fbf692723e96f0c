//! Taking back what was given: evictions, revoked invites, pardons.

use std::collections::BTreeSet;

use super::{BANS_MAX, Book, EVICTIONS_MAX};
use crate::invite::{InviteError, InviteId};
use crate::key::profile_fingerprint;
use crate::peer::PeerId;
use crate::protocol::{InviteRefusal, Limited, Refusal};

/// Who is refused from now on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Removed {
    /// Process keys, and for how many seconds.
    pub(crate) nodes: Vec<(PeerId, u64)>,
    /// Profiles, with names, until they are pardoned.
    pub(crate) profiles: Vec<([u8; 32], String)>,
}

impl Book {
    /// Evicts these process keys, and every process key and the profile of the same profiles.
    /// `life` is how long a certificate that is not known here may live still, in seconds.
    pub(crate) fn evict(
        &mut self,
        nodes: &[PeerId],
        profiles: Vec<([u8; 32], String)>,
        life: u64,
        now: u64,
    ) -> Result<Removed, Refusal> {
        self.tidy(now);
        let banned: BTreeSet<_> = profiles.iter().map(|(profile, _)| *profile).collect();
        let of_banned = self.issued.iter().filter(|(_, issued)| {
            let profile = issued.by.profile;
            profile.is_some_and(|profile| banned.contains(&profile))
        });
        let all: BTreeSet<_> = of_banned.map(|(node, _)| *node).chain(nodes.iter().copied()).collect();
        let new_bans = banned.iter().filter(|profile| !self.banned.contains_key(*profile));
        if self.evicted.len() + all.len() > EVICTIONS_MAX || self.banned.len() + new_bans.count() > BANS_MAX {
            return Err(Refusal::Limit(Limited::Evictions));
        }
        let mut removed = Removed {
            nodes: Vec::new(),
            profiles,
        };
        for node in all {
            let until = self
                .issued
                .get(&node)
                .map_or(now + life, |issued| issued.until.max(now + 1));
            self.evicted.insert(node, until);
            removed.nodes.push((node, until - now));
        }
        self.banned.extend(removed.profiles.iter().cloned());
        Ok(removed)
    }

    /// Revokes one invite, or all, and evicts who came by it.
    pub(crate) fn revoke(&mut self, id: Option<InviteId>, life: u64, now: u64) -> Result<(u32, Removed), Refusal> {
        self.tidy(now);
        let revoked: BTreeSet<_> = match id {
            Some(id) if !self.invites.contains_key(&id) => return Err(InviteRefusal::Wrong.into()),
            Some(id) => [id].into(),
            None => self.invites.keys().copied().collect(),
        };
        let came = self
            .profiles
            .iter()
            .filter(|(_, admitted)| revoked.contains(&admitted.invite));
        let profiles: Vec<_> = came
            .map(|(public, admitted)| (*public, admitted.name.clone()))
            .collect();
        let by_it = self
            .issued
            .iter()
            .filter(|(_, issued)| issued.by.invite.is_some_and(|by| revoked.contains(&by)));
        let nodes: Vec<_> = by_it.map(|(node, _)| *node).collect();
        let removed = self.evict(&nodes, profiles, life, now)?;
        for (profile, _) in &removed.profiles {
            self.profiles.remove(profile);
        }
        let mut live = 0;
        for (_, invite) in self.invites.iter_mut().filter(|(id, _)| revoked.contains(*id)) {
            live += u32::from(invite.refusal(now).is_none());
            invite.revoked = true;
        }
        Ok((live, removed))
    }

    /// Profiles that are called so, by name or fingerprint, or that process has (32 digits).
    pub(crate) fn find(&self, target: &str) -> Vec<(Option<PeerId>, Option<[u8; 32]>, String)> {
        let admitted = self.profiles.iter().map(|(public, admitted)| (public, &admitted.name));
        let known = admitted.filter(|(public, name)| *name == target || profile_fingerprint(public) == target);
        let known = known.map(|(public, name)| (None, Some(*public), name.clone()));
        let processes = self.issued.iter().filter(|(node, issued)| {
            let label = format!("{}#{}", issued.name, node.short());
            let profile = issued.by.profile.map(|public| profile_fingerprint(&public));
            node.to_string() == target || label == target || profile.as_deref() == Some(target)
        });
        let processes = processes.map(|(node, issued)| (Some(*node), issued.by.profile, issued.name.clone()));
        known.chain(processes).collect()
    }

    /// Lets the banned profiles of this name or fingerprint ask again. Returns their fingerprints.
    /// Process keys stay refused for as long as they live; a new start has a new one.
    pub(crate) fn pardon(&mut self, target: &str) -> Result<Vec<String>, Refusal> {
        let meant = |public: &[u8; 32], name: &str| name == target || profile_fingerprint(public) == target;
        let pardoned: Vec<_> = self
            .banned
            .iter()
            .filter(|(public, name)| meant(public, name))
            .collect();
        let pardoned: Vec<_> = pardoned.into_iter().map(|(public, _)| *public).collect();
        if pardoned.is_empty() {
            return Err(Refusal::Nobody);
        }
        pardoned.iter().for_each(|public| drop(self.banned.remove(public)));
        Ok(pardoned.iter().map(profile_fingerprint).collect())
    }

    /// Profiles that are banned.
    pub(crate) fn bans(&self) -> impl Iterator<Item = [u8; 32]> + '_ {
        self.banned.keys().copied()
    }
}

impl From<InviteError> for Refusal {
    /// Of an id that is none.
    fn from(_: InviteError) -> Self {
        Self::Invite(InviteRefusal::Wrong)
    }
}
