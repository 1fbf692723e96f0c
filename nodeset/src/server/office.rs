//! Where proofs are judged and certificates issued. What it decides is on disk before anybody is
//! told, where the authority has a directory; several registries of one authority share it.

mod ledger;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use crate::admission::{Book, Issued, Removed, Vouched};
use crate::authority::Authority;
use crate::invite::InviteId;
use crate::key::{Signature, node_id};
use crate::peer::{PeerId, check_nick};
use crate::printable::printable;
use crate::private::PrivateError;
use crate::proof::Exported;
use crate::protocol::{InviteRefusal, InviteState, ProfileProof, Proof, Refusal};

/// Certificates of the operator's own processes that are remembered, for evictions; the oldest
/// are forgotten. They are not worth a write to disk at every start of a process.
const OWN_MAX: usize = 4096;

/// Who is at the other end of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Badge {
    /// Proved the local secret.
    pub(super) operator: bool,
    /// By what it got in, if it proved anything.
    pub(super) by: Option<Vouched>,
    /// The node that it may speak for, and the name in its certificate.
    pub(super) member: Option<(PeerId, String)>,
}

impl Badge {
    pub(super) fn is_known(&self) -> bool {
        self.by.is_some() || self.member.is_some()
    }

    pub(super) fn node(&self) -> Option<PeerId> {
        self.member.as_ref().map(|(node, _)| *node)
    }
}

/// Who is refused, for every connection to look up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Refused {
    /// With the second since 1970 until which.
    nodes: BTreeMap<PeerId, u64>,
    profiles: BTreeSet<[u8; 32]>,
}

impl Refused {
    pub(super) fn check(&self, badge: &Badge) -> Result<(), Refusal> {
        let profile = badge.by.and_then(|by| by.profile);
        if let Some(profile) = profile.filter(|profile| self.profiles.contains(profile)) {
            let profile = crate::key::profile_fingerprint(&profile);
            return Err(Refusal::Banned { profile });
        }
        let now = unix_now();
        let until = badge
            .node()
            .and_then(|node| self.nodes.get(&node))
            .filter(|until| **until > now);
        match until {
            Some(until) => Err(Refusal::Evicted {
                left_ms: u32::try_from((until - now).saturating_mul(1000)).unwrap_or(u32::MAX),
            }),
            None => Ok(()),
        }
    }

    /// Every node, and for how long still.
    pub(super) fn nodes(&self) -> Vec<(PeerId, Duration)> {
        let now = unix_now();
        let left = |(node, until): (&PeerId, &u64)| Some((*node, Duration::from_secs(until.checked_sub(now)?)));
        self.nodes.iter().filter_map(left).collect()
    }
}

/// The office. Clones are the same one.
#[derive(Clone)]
pub(super) struct Office(Arc<Inner>);

struct Inner {
    authority: Authority,
    life: Duration,
    dir: Option<PathBuf>,
    desk: Mutex<Desk>,
    refused: watch::Sender<Arc<Refused>>,
}

#[derive(Default)]
struct Desk {
    book: Book,
    /// The file that `book` was read from.
    bytes: Vec<u8>,
    own: BTreeMap<PeerId, Issued>,
    own_order: VecDeque<PeerId>,
}

impl Office {
    pub(super) fn open(authority: Authority, life: Duration) -> Result<Self, PrivateError> {
        let dir = authority.dir().map(PathBuf::from);
        let office = Self(Arc::new(Inner {
            authority,
            life,
            dir,
            desk: Mutex::default(),
            refused: watch::Sender::default(),
        }));
        let mut desk = office.0.desk.lock().unwrap_or_else(PoisonError::into_inner);
        office.read_first(&mut desk)?;
        drop(desk);
        Ok(office)
    }

    /// Who is refused, and that it changed.
    pub(super) fn refused(&self) -> watch::Receiver<Arc<Refused>> {
        self.0.refused.subscribe()
    }

    /// What the holder of a valid certificate is, who shows it in the handshake.
    pub(super) async fn recognise(&self, node: PeerId) -> Result<Badge, Refusal> {
        self.transact(move |desk, now| {
            desk.book.check_node(node, now)?;
            let issued = desk.book.issued(node).or_else(|| desk.own.get(&node));
            // Of another registry of this authority, or from before a restart: the certificate
            // itself says that it is good.
            let (by, name) = issued.map(|issued| (issued.by, issued.name.clone())).unzip();
            if let Some(profile) = by.and_then(|by| by.profile) {
                desk.book.welcome(&profile)?;
            }
            Ok(Badge {
                operator: false,
                by,
                member: Some((node, name.unwrap_or_default())),
            })
        })
        .await
    }

    /// Judges a proof.
    pub(super) async fn prove(
        &self,
        exported: Exported,
        proof: Proof,
        profile: Option<ProfileProof>,
        name: String,
    ) -> Result<(bool, Vouched), Refusal> {
        check_nick(&name)?;
        let good = |profile: &ProfileProof| exported.is_profile(&profile.public, &profile.signature);
        if profile.as_ref().is_some_and(|profile| !good(profile)) {
            return Err(Refusal::Signature);
        }
        let profile = profile.map(|profile| profile.public);
        let local = match &proof {
            Proof::Local { mac } => exported.is_local(self.0.authority.local_secret(), mac),
            _ => false,
        };
        self.transact(move |desk, now| match proof {
            Proof::Local { .. } if local => {
                if let Some(profile) = &profile {
                    desk.book.welcome(profile)?;
                }
                Ok((true, Vouched { profile, invite: None }))
            }
            Proof::Local { .. } => Err(Refusal::NotLocal),
            Proof::Profile => Ok((false, desk.book.recognise(profile.ok_or(Refusal::NotAdmitted)?)?)),
            Proof::Invite { id, proof } => {
                let kept = desk.book.kept_of(id).ok_or(InviteRefusal::Wrong)?;
                if !exported.is_invited(&kept, &proof) {
                    return Err(InviteRefusal::Wrong.into());
                }
                let by = desk.book.admit(id, profile, &name, now)?;
                tracing::info!(target: "nodeset::server", "admit {} by invite {id}", printable(&name));
                Ok((false, by))
            }
        })
        .await
    }

    /// Issues a certificate to somebody who is known, and says what they are then.
    pub(super) async fn enrol(
        &self,
        exported: Exported,
        badge: Badge,
        public: [u8; 32],
        name: String,
        possession: Signature,
    ) -> Result<(Badge, Vec<Vec<u8>>, Duration), Refusal> {
        check_nick(&name)?;
        if !exported.is_possession(&public, &name, &possession) {
            return Err(Refusal::Signature);
        }
        let (node, office) = (node_id(&public), self.clone());
        let bound = badge.member.clone().filter(|(_, name)| !name.is_empty());
        let (name, by) = match (&badge.member, badge.by) {
            (Some((member, _)), _) if *member != node => return Err(Refusal::NotYours),
            // A renewal: the name in the certificate stays.
            (Some(_), by) => (bound.map_or(name, |(_, name)| name), by.unwrap_or_default()),
            (None, Some(by)) => (name, by),
            (None, None) => return Err(Refusal::Unproven),
        };
        self.transact(move |desk, now| {
            let life = office.0.life;
            let until = now + life.as_secs().max(1);
            let issued = Issued {
                name: name.clone(),
                by,
                until,
            };
            desk.issue(node, issued, now)?;
            let chain = office.0.authority.issue(&public, &name, SystemTime::now(), life);
            let chain = chain.map_err(|error| {
                tracing::error!(target: "nodeset::server", "no certificate: {error}");
                Refusal::Storage
            })?;
            let member = Some((node, name));
            let badge = Badge {
                operator: badge.operator,
                by: Some(by),
                member,
            };
            Ok((badge, chain, life))
        })
        .await
    }

    pub(super) async fn invite(&self, kept: [u8; 32], uses: u32, life: Duration) -> Result<InviteId, Refusal> {
        self.transact(move |desk, now| desk.book.invite(kept, uses, life, now))
            .await
    }

    pub(super) async fn invites(&self) -> Result<Vec<InviteState>, Refusal> {
        self.transact(|desk, now| Ok(desk.book.invites(now))).await
    }

    pub(super) async fn revoke(&self, id: Option<InviteId>) -> Result<(u32, Removed), Refusal> {
        let life = self.0.life.as_secs();
        self.transact(move |desk, now| desk.book.revoke(id, life, now)).await
    }

    pub(super) async fn pardon(&self, target: String) -> Result<Vec<String>, Refusal> {
        self.transact(move |desk, _| desk.book.pardon(&target)).await
    }

    /// Evicts the peers that are called so and have a lease; or else, whoever is called so and has
    /// a certificate or was admitted.
    pub(super) async fn evict(&self, target: String, live: Vec<PeerId>) -> Result<Removed, Refusal> {
        let life = self.0.life.as_secs();
        self.transact(move |desk, now| {
            let mut nodes = live.clone();
            let mut profiles = Vec::new();
            match live.len() {
                0 => {
                    let found = desk.find(&target);
                    let of_profiles: BTreeSet<_> = found.iter().filter_map(|(_, profile, _)| *profile).collect();
                    let alone = found.iter().filter(|(_, profile, _)| profile.is_none()).count();
                    match of_profiles.len() + alone {
                        0 => return Err(Refusal::Nobody),
                        1 => {}
                        many => return Err(ambiguous(many)),
                    }
                    for (node, profile, name) in found {
                        nodes.extend(node);
                        profiles.extend(profile.map(|profile| (profile, name)));
                    }
                    profiles.dedup_by_key(|(profile, _)| *profile);
                }
                1 => {
                    let of_lease = |node: &PeerId| desk.book.issued(*node).or_else(|| desk.own.get(node));
                    let issued = nodes.first().and_then(of_lease);
                    let profile = issued.and_then(|issued| Some((issued.by.profile?, issued.name.clone())));
                    profiles.extend(profile);
                }
                many => return Err(ambiguous(many)),
            }
            // The operator's own processes are not in the book.
            let banned = |issued: &Issued| profiles.iter().any(|(profile, _)| issued.by.profile == Some(*profile));
            nodes.extend(
                desk.own
                    .iter()
                    .filter(|(_, issued)| banned(issued))
                    .map(|(node, _)| *node),
            );
            desk.book.evict(&nodes, profiles, life, now)
        })
        .await
    }
}

impl Desk {
    fn issue(&mut self, node: PeerId, issued: Issued, now: u64) -> Result<(), Refusal> {
        if issued.by.invite.is_some() {
            return self.book.issue(node, issued, now);
        }
        self.book.check_node(node, now)?;
        if self.own.insert(node, issued).is_none() {
            self.own_order.push_back(node);
        }
        if self.own_order.len() > OWN_MAX
            && let Some(oldest) = self.own_order.pop_front()
        {
            self.own.remove(&oldest);
        }
        Ok(())
    }

    fn find(&self, target: &str) -> Vec<(Option<PeerId>, Option<[u8; 32]>, String)> {
        let own = self.own.iter().filter(|(node, issued)| {
            let profile = issued.by.profile.map(|public| crate::key::profile_fingerprint(&public));
            node.to_string() == target || profile.as_deref() == Some(target)
        });
        let own = own.map(|(node, issued)| (Some(*node), issued.by.profile, issued.name.clone()));
        self.book.find(target).into_iter().chain(own).collect()
    }
}

fn ambiguous(found: usize) -> Refusal {
    let found = u32::try_from(found).unwrap_or(u32::MAX);
    Refusal::Ambiguous { found }
}

fn unix_now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_secs()
}
