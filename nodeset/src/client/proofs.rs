//! What a client can prove itself with, and what it gets for it.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::authority::{cluster, fingerprint};
use crate::credential::Credential;
use crate::invite::Invite;
use crate::key::{KeyError, ProcessKey, ProfileKey};
use crate::local;
use crate::peer::PeerId;

/// What somebody has to show to registries. Which of it is used depends on the authority that a
/// registry shows: the local proof where the registry is of the same user, else the profile where
/// it was admitted before, else the invite.
#[derive(Clone)]
pub struct Proofs {
    pub(super) publications: Option<PathBuf>,
    pub(super) invite: Option<Invite>,
    pub(super) profile: Option<Arc<ProfileKey>>,
    pub(super) credentials: Vec<Credential>,
}

impl Proofs {
    /// The local proof, at the user's usual place, and nothing else.
    pub fn local() -> Self {
        Self {
            publications: local::default_dir(),
            ..Self::none()
        }
    }

    /// Nothing: no registry is known, none lets this one in.
    pub fn none() -> Self {
        Self {
            publications: None,
            invite: None,
            profile: None,
            credentials: Vec::new(),
        }
    }

    /// The same, looking for local registries in this directory; `None`: nowhere.
    pub fn with_publications(mut self, dir: Option<PathBuf>) -> Self {
        self.publications = dir;
        self
    }

    /// The same, with this invite.
    ///
    /// # Errors
    /// No profile key was given, and the system has no randomness for one: a registry remembers
    /// whom it let in by that key, so there must be one, even if it ends with the process.
    pub fn with_invite(mut self, invite: Invite) -> Result<Self, KeyError> {
        if self.profile.is_none() {
            self.profile = Some(Arc::new(ProfileKey::generate()?));
        }
        self.invite = Some(invite);
        Ok(self)
    }

    /// The same, with this profile key. Give it the one that is kept, or the invite is needed
    /// again at every start.
    pub fn with_profile(mut self, profile: Arc<ProfileKey>) -> Self {
        self.profile = Some(profile);
        self
    }

    /// The same, trusting also the authorities of these.
    pub fn with_credentials(mut self, credentials: impl IntoIterator<Item = Credential>) -> Self {
        self.credentials.extend(credentials);
        self
    }

    /// Whether the authority with this fingerprint is known by anything here.
    pub(super) fn know(&self, fingerprint: &[u8; 32]) -> bool {
        self.invite.as_ref().is_some_and(|invite| invite.pins(fingerprint))
            || self
                .credentials
                .iter()
                .any(|kept| kept.fingerprint_bytes() == *fingerprint)
            || self.local_secret(fingerprint).is_some()
    }

    /// The secret that a registry of this user published.
    pub(super) fn local_secret(&self, fingerprint: &[u8; 32]) -> Option<[u8; 32]> {
        let dir = self.publications.as_ref()?;
        local::secret_of(dir, fingerprint).unwrap_or_else(|error| {
            tracing::warn!("no local proof: {error}");
            None
        })
    }
}

impl Default for Proofs {
    fn default() -> Self {
        Self::local()
    }
}

impl fmt::Debug for Proofs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proofs")
            .field("publications", &self.publications)
            .field("invite", &self.invite)
            .field("profile", &self.profile)
            .field("credentials", &self.credentials.len())
            .finish()
    }
}

/// What a process got from one registry: plain bytes, for whoever makes connections with them.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Enrolment {
    /// The registry, as it was given.
    pub registry: String,
    /// The name of the cluster: 16 hexadecimal digits.
    pub cluster: String,
    /// The id of this process.
    pub node: PeerId,
    /// Its key in PKCS#8 form, secret.
    pub key_pkcs8: Vec<u8>,
    /// Its certificate in DER, without the authority's.
    pub chain: Vec<Vec<u8>>,
    /// The authority's certificate in DER.
    pub root: Vec<u8>,
    /// When the certificate ends, by this machine's clock.
    pub until: SystemTime,
    /// When it is to be renewed.
    pub(super) renew_at: SystemTime,
    /// Whether it came by the local proof, so that nothing need be kept.
    pub local: bool,
}

impl Enrolment {
    pub(super) fn new(registry: &str, key: &ProcessKey, chain: Vec<Vec<u8>>, root: &[u8], life: Duration) -> Self {
        let now = SystemTime::now();
        Self {
            registry: registry.to_owned(),
            cluster: cluster(&fingerprint(root)),
            node: key.node(),
            key_pkcs8: key.pkcs8().to_vec(),
            chain,
            root: root.to_vec(),
            until: now + life,
            renew_at: now + life / 2,
            local: false,
        }
    }

    /// What to keep, with the profile key, so that an invite is needed once.
    pub fn credential(&self) -> Credential {
        Credential::new(self.root.clone(), self.registry.clone())
    }
}

impl fmt::Debug for Enrolment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enrolment")
            .field("registry", &self.registry)
            .field("cluster", &self.cluster)
            .field("node", &self.node)
            .field("until", &self.until)
            .finish()
    }
}
