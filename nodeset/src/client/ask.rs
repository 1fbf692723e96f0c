//! Questions that need one connection: for tools, and for the operator.

use std::time::Duration;

use super::connection::{Connection, Papers};
use super::error::AskError;
use super::proofs::{Enrolment, Proofs};
use crate::credential::Credential;
use crate::invite::{Invite, InviteError, InviteId};
use crate::key::ProcessKey;
use crate::protocol::{Answer, Entry, Evicted, Health, InviteState, Request};

/// Everyone who is live at `registry` (`host:port`), by id; within `limit`.
///
/// # Errors
/// See [`AskError`]. Asking changes nothing at the registry, but an invite may be used up by it.
pub async fn list(registry: &str, proofs: &Proofs, limit: Duration) -> Result<Vec<Entry>, AskError> {
    let connection = Connection::open_proven(registry, proofs, limit).await?;
    match connection.calls.ask(Request::List, limit).await? {
        Answer::List(entries) => Ok(entries),
        _ => Err(connection.calls.confused()),
    }
}

/// How `registry` (`host:port`) is; within `limit`. `None`: it answers, and tells no more to
/// somebody whom it does not know. An invite is never used up by it.
///
/// # Errors
/// See [`AskError`]. Asking changes nothing at the registry.
pub async fn health(registry: &str, proofs: &Proofs, limit: Duration) -> Result<Option<Health>, AskError> {
    let mut proofs = proofs.clone();
    proofs.invite = None;
    let papers = Papers {
        anyone: true,
        ..Papers::of(&proofs)
    };
    let connection = Connection::open(registry, papers, limit).await?;
    if proofs.know(connection.fingerprint()) {
        match connection.prove(&proofs, "nodesetd", limit).await {
            Ok(_) | Err(AskError::Refused(_) | AskError::Stranger { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    match connection.calls.ask(Request::Health, limit).await? {
        Answer::Health(health) => Ok(Some(health)),
        Answer::Well => Ok(None),
        _ => Err(connection.calls.confused()),
    }
}

/// Takes a live peer's lease away at `registry`, and refuses its process key for as long as its
/// certificate lives and its profile until it is pardoned. `target` is `nick#8hex`, the 32 digits
/// of an id, a nick that only one live peer has, or the fingerprint of a profile. For the
/// registry's own user.
///
/// # Errors
/// See [`AskError`]: refused with [`Nobody`](crate::protocol::Refusal::Nobody) or
/// [`Ambiguous`](crate::protocol::Refusal::Ambiguous), nothing changed; without an answer it is
/// unknown whether the peer was evicted.
pub async fn evict(registry: &str, proofs: &Proofs, target: &str, limit: Duration) -> Result<Evicted, AskError> {
    let connection = Connection::open_proven(registry, proofs, limit).await?;
    let request = Request::Evict { target: target.into() };
    match connection.calls.ask(request, limit).await? {
        Answer::Evicted(evicted) => Ok(evicted),
        _ => Err(connection.calls.confused()),
    }
}

/// Lets the evicted profiles of this name or fingerprint ask again at `registry`; returns their
/// fingerprints. Who came by an invite that was revoked needs another one. For the registry's own
/// user.
///
/// # Errors
/// See [`AskError`]; after a refusal nothing changed.
pub async fn pardon(registry: &str, proofs: &Proofs, target: &str, limit: Duration) -> Result<Vec<String>, AskError> {
    let connection = Connection::open_proven(registry, proofs, limit).await?;
    let request = Request::Pardon { target: target.into() };
    match connection.calls.ask(request, limit).await? {
        Answer::Pardoned(profiles) => Ok(profiles),
        _ => Err(connection.calls.confused()),
    }
}

/// Makes an invite to `registry` that `uses` may come by within `life`. It names `advertise`
/// (`host:port`) as the address to go to. The secret is made here, and never told to the registry.
/// For the registry's own user.
///
/// # Errors
/// See [`InviteFailure`]. After a refusal there is no invite.
pub async fn invite(
    registry: &str,
    proofs: &Proofs,
    advertise: &str,
    uses: u32,
    life: Duration,
    limit: Duration,
) -> Result<Invite, InviteFailure> {
    let connection = Connection::open_proven(registry, proofs, limit).await?;
    let invite = Invite::generate(connection.fingerprint(), advertise)?;
    let request = Request::Invite {
        kept: invite.kept(),
        uses,
        life_ms: u64::try_from(life.as_millis()).unwrap_or(u64::MAX),
    };
    match connection.calls.ask(request, limit).await? {
        Answer::Invited { id } if id == invite.id() => Ok(invite),
        _ => Err(connection.calls.confused().into()),
    }
}

/// Every invite that `registry` remembers, the one that ends last at the end. For the registry's
/// own user.
///
/// # Errors
/// See [`AskError`]. Asking changes nothing.
pub async fn invites(registry: &str, proofs: &Proofs, limit: Duration) -> Result<Vec<InviteState>, AskError> {
    let connection = Connection::open_proven(registry, proofs, limit).await?;
    match connection.calls.ask(Request::Invites, limit).await? {
        Answer::Invites(invites) => Ok(invites),
        _ => Err(connection.calls.confused()),
    }
}

/// Revokes one invite, or all, and evicts everyone who came by it. Returns how many were not over
/// yet, and who is out. For the registry's own user.
///
/// # Errors
/// See [`AskError`]; after a refusal nothing changed.
pub async fn revoke(
    registry: &str,
    proofs: &Proofs,
    id: Option<InviteId>,
    limit: Duration,
) -> Result<(u32, Evicted), AskError> {
    let connection = Connection::open_proven(registry, proofs, limit).await?;
    match connection.calls.ask(Request::Revoke { id }, limit).await? {
        Answer::Revoked { invites, evicted } => Ok((invites, evicted)),
        _ => Err(connection.calls.confused()),
    }
}

/// Proves to `registry` who asks, and returns what to keep, so that an invite is needed once (the
/// profile key is the other half). `name` is how the registry's user will see who came by it.
///
/// # Errors
/// See [`AskError`]. As for [`enrol`].
pub async fn introduce(registry: &str, name: &str, proofs: &Proofs, limit: Duration) -> Result<Credential, AskError> {
    let connection = Connection::open(registry, Papers::of(proofs), limit).await?;
    connection.prove(proofs, name, limit).await?;
    Ok(Credential::new(connection.root().to_vec(), registry))
}

/// Gets a certificate for `key` from `registry`, shown to people as `name`, without registering.
/// A [`Client`](super::Client) does this by itself, and renews it.
///
/// # Errors
/// See [`AskError`]. After an error other than a refusal an invite may be used up; the profile by
/// which it was is known to the registry then.
pub async fn enrol(
    registry: &str,
    key: &ProcessKey,
    name: &str,
    proofs: &Proofs,
    limit: Duration,
) -> Result<Enrolment, AskError> {
    let connection = Connection::open(registry, Papers::of(proofs), limit).await?;
    let proven = connection.prove(proofs, name, limit).await?;
    let mut enrolment = connection.enrol(key, name, limit).await?;
    enrolment.local = proven.local;
    Ok(enrolment)
}

/// Why there is no invite.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InviteFailure {
    /// The registry.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The invite.
    #[error(transparent)]
    Invite(#[from] InviteError),
}
