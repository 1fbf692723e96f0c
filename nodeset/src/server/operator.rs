//! What only the registry's own user may ask for: evictions and invites.

use std::time::Duration;

use super::office::Office;
use super::owner::Mail;
use crate::admission::Removed;
use crate::key::profile_fingerprint;
use crate::peer::{Peer, PeerId};
use crate::printable::printable;
use crate::protocol::{Answer, Entry, Evicted, Refusal, Request};
use crate::registry::Ask;

/// Answers a request of an operator; `None` if the server stops.
pub(super) async fn answer(request: Request, office: &Office, mail: &Mail) -> Option<Result<Answer, Refusal>> {
    let answer = match request {
        Request::Evict { target } => return evict(target, office, mail).await,
        Request::Revoke { id } => {
            let live = ask(mail, Ask::List).await?;
            match office.revoke(id).await {
                Ok((invites, removed)) => {
                    tracing::info!(target: "nodeset::server", "revoke {invites} invites");
                    let evicted = carry_out(removed, live, mail).await?;
                    Ok(Answer::Revoked { invites, evicted })
                }
                Err(refusal) => Err(refusal),
            }
        }
        Request::Pardon { target } => {
            let pardoned = office.pardon(target).await;
            if let Ok(profiles) = &pardoned {
                tracing::info!(target: "nodeset::server", "pardon profiles {}", profiles.join(" "));
            }
            pardoned.map(Answer::Pardoned)
        }
        Request::Invite { kept, uses, life_ms } => {
            let invited = office.invite(kept, uses, Duration::from_millis(life_ms)).await;
            if let Ok(id) = &invited {
                tracing::info!(target: "nodeset::server", "invite {id} made, for {uses}");
            }
            invited.map(|id| Answer::Invited { id })
        }
        Request::Invites => office.invites().await.map(Answer::Invites),
        _ => Err(Refusal::NotOperator), // is asked with these only
    };
    Some(answer)
}

async fn evict(target: String, office: &Office, mail: &Mail) -> Option<Result<Answer, Refusal>> {
    let live = ask(mail, Ask::List).await?;
    let asked = target.clone();
    let found = ask(mail, Ask::Find { target: asked }).await?;
    let found = found.iter().map(|entry| entry.peer.id());
    let removed = match office.evict(target, found.collect()).await {
        Ok(removed) => removed,
        Err(refusal) => return Some(Err(refusal)),
    };
    Some(Ok(Answer::Evicted(carry_out(removed, live, mail).await?)))
}

/// Ends leases, and tells everyone who watches. `live` is who had one before: what is decided may
/// be carried out already when this asks.
async fn carry_out(removed: Removed, live: Vec<Entry>, mail: &Mail) -> Option<Evicted> {
    let nodes = removed
        .nodes
        .iter()
        .map(|(node, left)| (*node, Duration::from_secs(*left)));
    ask(mail, Ask::Evict { nodes: nodes.collect() }).await?;
    for (profile, name) in &removed.profiles {
        let (name, profile) = (printable(name), profile_fingerprint(profile));
        tracing::info!(target: "nodeset::server", "evict profile {profile} ({name})");
    }
    let nodes: Vec<PeerId> = removed.nodes.iter().map(|(node, _)| *node).collect();
    let peers = live.into_iter().map(|entry| entry.peer);
    let peers = peers.filter(|peer: &Peer| nodes.contains(&peer.id())).collect();
    let profiles = removed
        .profiles
        .iter()
        .map(|(public, _)| profile_fingerprint(public))
        .collect();
    Some(Evicted { peers, nodes, profiles })
}

async fn ask(mail: &Mail, ask: Ask) -> Option<Vec<Entry>> {
    let (_, answer) = mail.ask(ask).await;
    match answer.await.ok()? {
        Answer::List(entries) => Some(entries),
        _ => Some(Vec::new()),
    }
}
