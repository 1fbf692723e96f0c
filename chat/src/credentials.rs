//! Who this run is, and what it can show to those who let people in.
//!
//! The process has a key of its own, new at every start. A profile has a long-lived one, which vouches for it: that is
//! how a registry knows again whom it once invited, and how people can tell two who use one name apart.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use multicast::{Identity, IdentityError};
use nodeset::client::{self, AskError, Enrolment, Proofs};
use nodeset::{Authority, CERTIFICATE_LIFE, Credential, Invite, InviteError, ProcessKey, ProfileKey};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::exit::Exit;
use crate::settings::{Registries, Settings};

/// In the profile's directory, for its owner alone.
const KEY_FILE: &str = "profile.key";

/// Who this run is.
pub struct Credentials {
    /// Of this process.
    pub key: Arc<ProcessKey>,
    /// The same for links to other nodes; what registries give is added to it.
    pub identity: Identity,
    /// What is shown to registries.
    pub proofs: Proofs,
    /// Where what an invite brought is kept.
    dir: Option<PathBuf>,
    /// Registries that let this profile in before, or are to do so now.
    known: Vec<String>,
    /// Where the invite leads.
    invited_to: Option<String>,
    vouched_for: AtomicBool,
}

impl Credentials {
    /// Makes this process's key, and reads or makes what the profile keeps.
    ///
    /// # Errors
    /// An invite that is none (exit 4), or files of the profile that cannot be used (exit 7).
    pub fn open(settings: &Settings) -> Result<Self, Exit> {
        let key = ProcessKey::generate().map_err(|error| Exit::Unexpected(error.to_string()))?;
        let identity = Identity::new(key.pkcs8()).map_err(unexpected)?;
        let mut proofs = Proofs::local();
        let (mut known, mut invited_to) = (Vec::new(), None);
        if let Some(dir) = &settings.keys {
            let profile = ProfileKey::open(&dir.join(KEY_FILE)).map_err(|error| damaged(dir, &error))?;
            let kept = Credential::load_all(dir).map_err(|error| damaged(dir, &error))?;
            known.extend(kept.iter().map(|credential| credential.registry().to_owned()));
            let endorsement = profile.endorse(&key.public());
            identity
                .endorsed_by(profile.public(), endorsement)
                .map_err(unexpected)?;
            proofs = proofs.with_profile(profile.into()).with_credentials(kept);
        }
        if let Some(text) = &settings.invite {
            let invite: Invite = text
                .parse()
                .map_err(|error: InviteError| Exit::Refused(format!("--invite: {error}")))?;
            known.insert(0, invite.addr().to_owned());
            invited_to = Some(invite.addr().to_owned());
            proofs = proofs
                .with_invite(invite)
                .map_err(|error| Exit::Unexpected(error.to_string()))?;
        }
        Ok(Self {
            key: key.into(),
            identity,
            proofs,
            dir: settings.keys.clone(),
            known,
            invited_to,
            vouched_for: AtomicBool::new(false),
        })
    }

    /// Which registries are used: an invite leads to the one that it is of, and whoever was invited once and names none
    /// goes there again.
    pub fn registries(&self, settings: &Settings) -> Registries {
        match &settings.registries {
            Registries::Default(_) if !self.known.is_empty() => {
                let mut names = self.known.clone();
                names.dedup();
                Registries::Named(names)
            }
            Registries::Named(names) if settings.invite.is_some() => {
                let mut names = names.clone();
                names.extend(self.invited_to.clone().filter(|invited| !names.contains(invited)));
                Registries::Named(names)
            }
            registries => registries.clone(),
        }
    }

    /// Whether somebody vouches for this process by now.
    pub fn are_vouched_for(&self) -> bool {
        self.vouched_for.load(Ordering::Acquire)
    }

    /// A registry vouches for this process, anew perhaps.
    pub fn accept(&self, enrolment: &Enrolment) {
        let credential = multicast::Credential {
            chain: enrolment.chain.clone(),
            root: enrolment.root.clone(),
        };
        if let Err(error) = self.identity.add(credential) {
            tracing::warn!("a certificate of {} cannot be used: {error}", enrolment.registry);
        }
        self.vouched_for.store(true, Ordering::Release);
        if let (Some(dir), false) = (&self.dir, enrolment.local)
            && let Err(error) = enrolment.credential().store(dir)
        {
            tracing::warn!("the next start will need another invite: {error}");
        }
    }

    /// Uses the invite, if there is one, and keeps what it brings, for whoever asks a registry without registering. Such
    /// a question would use it up as well, and keep nothing.
    ///
    /// # Errors
    /// The registry does not answer, or refuses. Then nothing was kept.
    pub async fn introduce(&self, nick: &str, limit: Duration) -> Result<(), AskError> {
        let (Some(registry), Some(dir)) = (&self.invited_to, &self.dir) else {
            return Ok(());
        };
        let credential = client::introduce(registry, nick, &self.proofs, limit).await?;
        if let Err(error) = credential.store(dir) {
            eprintln!("chat: the next start will need another invite: {error}");
        }
        Ok(())
    }

    /// Without a registry: one's own authority vouches, as a registry of the same user would. It does so again before
    /// the certificate ends, for as long as the returned task runs.
    ///
    /// # Errors
    /// The authority's directory cannot be used (exit 7).
    pub fn vouch_for_self(self: &Arc<Self>, nick: &str) -> Result<JoinHandle<()>, Exit> {
        let authority = own_authority().map_err(Exit::ProfileInUse)?;
        self.issue(&authority, nick)?;
        let (mine, nick) = (self.clone(), nick.to_owned());
        Ok(tokio::spawn(async move {
            loop {
                sleep(CERTIFICATE_LIFE / 2).await;
                if let Err(error) = mine.issue(&authority, &nick) {
                    tracing::warn!("the certificate is not renewed: {:?}", error.words());
                }
            }
        }))
    }

    fn issue(&self, authority: &Authority, nick: &str) -> Result<(), Exit> {
        let chain = authority
            .issue(&self.key.public(), nick, SystemTime::now(), CERTIFICATE_LIFE)
            .map_err(|error| Exit::Unexpected(error.to_string()))?;
        let root = authority.certificate().to_vec();
        let credential = multicast::Credential { chain, root };
        self.identity.add(credential).map_err(unexpected)
    }
}

/// The certificate authority of this user, made at the first start; or why there is none, and what to do.
pub fn own_authority() -> Result<Authority, String> {
    let dir = Authority::default_dir().ok_or(
        "$HOME is not set, so there is no place for this user's certificate authority: set it, or use --registry and \
         --invite to be let in by somebody else's",
    )?;
    Authority::open(dir).map_err(|error| error.to_string())
}

fn unexpected(error: IdentityError) -> Exit {
    Exit::Unexpected(error.to_string())
}

fn damaged(dir: &Path, error: &dyn std::error::Error) -> Exit {
    Exit::ProfileInUse(format!(
        "the keys of this profile in {} cannot be used: {error}. Mend that, or add --ephemeral to go without them",
        dir.display()
    ))
}
