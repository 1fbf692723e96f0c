//! Who was let in, and who is not any more: invites, admitted profiles, certificates that are out,
//! evictions. Pure: `now` is whole seconds since 1970, by the wall clock, because all of this
//! outlives the registry's process.

mod revoke;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub(crate) use self::revoke::Removed;
use crate::invite::InviteId;
use crate::peer::PeerId;
use crate::proof::id_of_invite;
use crate::protocol::{InviteRefusal, InviteState, Limited, Refusal};

/// Invites remembered, those that are over included; they are made by hand.
pub const INVITES_MAX: usize = 256;
/// Most uses of one invite: a group has at most 128 members, and each may have several machines.
pub const INVITE_USES_MAX: u32 = 1024;
/// Longest life of an invite: what lies in a chat's history for longer should be worth nothing.
pub const INVITE_LIFE_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long an invite that is over is remembered, so that who comes late is told why it fails.
const INVITE_MEMORY_S: u64 = 30 * 24 * 3600;
/// Profiles admitted by invites: as many as a registry can have peers.
pub const ADMISSIONS_MAX: usize = 1024;
/// Certificates of invited processes that are valid at once: each start of a process takes one
/// for a day.
pub const CERTIFICATES_MAX: usize = 4096;
/// Of these, certificates that came by one profile or invite: nobody can take all of them.
pub const CERTIFICATES_OF_ONE_MAX: usize = 1024;
/// Process keys refused at once. Every one is forgotten when its certificate would have ended, and
/// all of them fit an answer beside the longest list of peers.
pub const EVICTIONS_MAX: usize = 8192;
/// Profiles refused until pardoned; by hand.
pub const BANS_MAX: usize = 1024;

/// By what somebody got in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Vouched {
    pub(crate) profile: Option<[u8; 32]>,
    pub(crate) invite: Option<InviteId>,
}

/// The whole of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Book {
    invites: BTreeMap<InviteId, Invited>,
    profiles: BTreeMap<[u8; 32], Admitted>,
    issued: BTreeMap<PeerId, Issued>,
    /// Process keys that are refused, and until when.
    evicted: BTreeMap<PeerId, u64>,
    /// Profiles that are refused, with the name they had.
    banned: BTreeMap<[u8; 32], String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Invited {
    kept: [u8; 32],
    uses: u32,
    used: u32,
    until: u64,
    revoked: bool,
}

/// A profile that came by an invite.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Admitted {
    name: String,
    invite: InviteId,
    at: u64,
}

/// A certificate that is out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Issued {
    pub(crate) name: String,
    pub(crate) by: Vouched,
    pub(crate) until: u64,
}

impl Book {
    /// Forgets what is over.
    pub(crate) fn tidy(&mut self, now: u64) {
        self.issued.retain(|_, issued| issued.until > now);
        self.evicted.retain(|_, until| *until > now);
        self.invites
            .retain(|_, invite| invite.until.saturating_add(INVITE_MEMORY_S) > now);
    }

    /// Takes note of an invite of whose secret this is kept.
    pub(crate) fn invite(&mut self, kept: [u8; 32], uses: u32, life: Duration, now: u64) -> Result<InviteId, Refusal> {
        self.tidy(now);
        if self.invites.len() >= INVITES_MAX {
            let over = |invite: &Invited| invite.refusal(now).is_some();
            let oldest = self.invites.iter().filter(|(_, invite)| over(invite));
            let oldest = oldest
                .min_by_key(|(id, invite)| (invite.until, **id))
                .map(|(id, _)| *id);
            let oldest = oldest.ok_or(Refusal::Limit(Limited::Invites))?;
            self.invites.remove(&oldest);
        }
        let id = InviteId(id_of_invite(&kept));
        let until = now.saturating_add(life.min(INVITE_LIFE_MAX).as_secs());
        let uses = uses.clamp(1, INVITE_USES_MAX);
        let invite = Invited {
            kept,
            uses,
            used: 0,
            until,
            revoked: false,
        };
        self.invites.insert(id, invite);
        Ok(id)
    }

    /// What is kept of an invite's secret, if it was ever made here.
    pub(crate) fn kept_of(&self, id: InviteId) -> Option<[u8; 32]> {
        Some(self.invites.get(&id)?.kept)
    }

    /// Somebody proved the secret of an invite: uses it up by one, and remembers the profile. A
    /// profile that was admitted before costs no use.
    pub(crate) fn admit(
        &mut self,
        id: InviteId,
        profile: Option<[u8; 32]>,
        name: &str,
        now: u64,
    ) -> Result<Vouched, Refusal> {
        if let Some(profile) = profile {
            self.welcome(&profile)?;
            if let Some(admitted) = self.profiles.get(&profile) {
                let invite = Some(admitted.invite);
                let profile = Some(profile);
                return Ok(Vouched { profile, invite });
            }
            if self.profiles.len() >= ADMISSIONS_MAX {
                return Err(Refusal::Limit(Limited::Admissions));
            }
        }
        let invite = self.invites.get_mut(&id).ok_or(InviteRefusal::Wrong)?;
        if let Some(refusal) = invite.refusal(now) {
            return Err(refusal.into());
        }
        invite.used += 1;
        if let Some(profile) = profile {
            let name = name.to_owned();
            let admitted = Admitted {
                name,
                invite: id,
                at: now,
            };
            self.profiles.insert(profile, admitted);
        }
        let invite = Some(id);
        Ok(Vouched { profile, invite })
    }

    /// Somebody proved a profile key: whether it was admitted once.
    pub(crate) fn recognise(&self, profile: [u8; 32]) -> Result<Vouched, Refusal> {
        self.welcome(&profile)?;
        let admitted = self.profiles.get(&profile).ok_or(Refusal::NotAdmitted)?;
        Ok(Vouched {
            profile: Some(profile),
            invite: Some(admitted.invite),
        })
    }

    /// That a profile is not banned.
    pub(crate) fn welcome(&self, profile: &[u8; 32]) -> Result<(), Refusal> {
        match self.banned.contains_key(profile) {
            true => Err(Refusal::Banned {
                profile: crate::key::profile_fingerprint(profile),
            }),
            false => Ok(()),
        }
    }

    /// That a process key is not evicted.
    pub(crate) fn check_node(&self, node: PeerId, now: u64) -> Result<(), Refusal> {
        match self.evicted.get(&node).filter(|until| **until > now) {
            Some(until) => Err(Refusal::Evicted {
                left_ms: u32::try_from((until - now).saturating_mul(1000)).unwrap_or(u32::MAX),
            }),
            None => Ok(()),
        }
    }

    /// That another certificate may go out to `node`, and that it has.
    pub(crate) fn issue(&mut self, node: PeerId, issued: Issued, now: u64) -> Result<(), Refusal> {
        self.check_node(node, now)?;
        if let Some(profile) = &issued.by.profile {
            self.welcome(profile)?;
        }
        self.tidy(now);
        if !self.issued.contains_key(&node) {
            let same = |other: &Issued| match issued.by.profile {
                Some(profile) => other.by.profile == Some(profile),
                None => other.by == issued.by,
            };
            let of_one = self.issued.values().filter(|other| same(other)).count();
            if self.issued.len() >= CERTIFICATES_MAX || of_one >= CERTIFICATES_OF_ONE_MAX {
                return Err(Refusal::Limit(Limited::Certificates));
            }
        }
        self.issued.insert(node, issued);
        Ok(())
    }

    /// By what the holder of a valid certificate got in.
    pub(crate) fn issued(&self, node: PeerId) -> Option<&Issued> {
        self.issued.get(&node)
    }

    /// Process keys that are refused, and for how many seconds still.
    pub(crate) fn evictions(&self, now: u64) -> impl Iterator<Item = (PeerId, u64)> + '_ {
        let left = self.evicted.iter().filter(move |(_, until)| **until > now);
        left.map(move |(id, until)| (*id, until - now))
    }

    /// Every invite that is remembered, the one that ends last at the end.
    pub(crate) fn invites(&self, now: u64) -> Vec<InviteState> {
        let mut all: Vec<_> = self.invites.iter().collect();
        all.sort_by_key(|(id, invite)| (invite.until, **id));
        let state = |(id, invite): (&InviteId, &Invited)| InviteState {
            id: *id,
            uses: invite.uses,
            used: invite.used,
            until_unix: invite.until,
            over: invite.refusal(now),
            came: self.came_by(*id),
        };
        all.into_iter().map(state).collect()
    }

    /// Who came by an invite: profiles, and processes without one.
    fn came_by(&self, id: InviteId) -> Vec<String> {
        let profiles = self.profiles.iter().filter(|(_, admitted)| admitted.invite == id);
        let profiles = profiles.map(|(public, admitted)| {
            let fingerprint = crate::key::profile_fingerprint(public);
            format!("{} ({fingerprint})", admitted.name)
        });
        let alone = |issued: &Issued| issued.by.invite == Some(id) && issued.by.profile.is_none();
        let processes = self.issued.iter().filter(|(_, issued)| alone(issued));
        let processes = processes.map(|(node, issued)| format!("{}#{}", issued.name, node.short()));
        profiles.chain(processes).collect()
    }
}

impl Invited {
    /// Why it lets nobody in any more.
    fn refusal(&self, now: u64) -> Option<InviteRefusal> {
        if self.revoked {
            Some(InviteRefusal::Revoked)
        } else if self.used >= self.uses {
            Some(InviteRefusal::UsedUp { uses: self.uses })
        } else if self.until <= now {
            Some(InviteRefusal::Expired {
                ago_s: now - self.until,
            })
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests;
