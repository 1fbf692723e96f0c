//! `nodesetd invite`.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, UNIX_EPOCH};

use nodeset::client::{self, InviteFailure};
use nodeset::{InviteId, printable};

use crate::Failure;
use crate::ask::At;
use crate::flags::InviteFlags;

pub(crate) async fn run(flags: InviteFlags) -> Result<(), Failure> {
    let at = At::new(&flags.at).await?;
    match &flags.revoke {
        Some(id) => revoke(id, &at).await,
        None if flags.list => list(&at).await,
        None => make(&flags, &at).await,
    }
}

async fn make(flags: &InviteFlags, at: &At) -> Result<(), Failure> {
    let (addr, note) = match &flags.advertise {
        Some(addr) => (addr.clone(), local_note(addr)),
        None => choose(at).await?,
    };
    let made = client::invite(&at.registry, &at.proofs, &addr, flags.uses, flags.life, at.limit).await;
    let invite = made.map_err(|failure| match failure {
        InviteFailure::Ask(error) => Failure::from(error),
        other => Failure::Usage(other.to_string()),
    })?;
    if let Some(note) = note {
        drop(writeln!(io::stderr(), "nodesetd: {note}"));
    }
    Ok(writeln!(io::stdout(), "{invite}")?)
}

/// The address at which others reach the registry: the one that was named, if it is not on
/// loopback, else one that the registry listens on, else the one that was named after all.
async fn choose(at: &At) -> Result<(String, Option<String>), Failure> {
    if !is_loopback(&at.registry) {
        return Ok((at.registry.clone(), None));
    }
    let health = client::health(&at.registry, &at.proofs, at.limit).await?;
    let listens = health.map(|health| health.listens).unwrap_or_default();
    let outside = |addr: &&SocketAddr| !addr.ip().is_loopback() && !addr.ip().is_unspecified();
    if let Some(addr) = listens.iter().find(outside) {
        return Ok((addr.to_string(), None));
    }
    let any = listens.iter().any(|addr| addr.ip().is_unspecified());
    let note = match any {
        true => "the registry listens on every address of this machine, and nothing says which one others can dial: \
                 for another machine use --advertise HOST:PORT"
            .to_owned(),
        false => local_note(&at.registry).unwrap_or_default(),
    };
    Ok((at.registry.clone(), Some(note)))
}

/// What to know about an address that only this machine can dial.
fn local_note(addr: &str) -> Option<String> {
    is_loopback(addr).then(|| {
        format!(
            "this invite works on this machine only, for another user: {} is on loopback. For another machine start \
             the registry with --listen and an address that it can dial",
            printable(addr)
        )
    })
}

fn is_loopback(addr: &str) -> bool {
    let host = addr.rsplit_once(':').map_or(addr, |(host, _)| host);
    let ip: Result<IpAddr, _> = host.trim_matches(['[', ']']).parse();
    ip.map_or(host == "localhost", |ip| ip.is_loopback())
}

async fn list(at: &At) -> Result<(), Failure> {
    let invites = client::invites(&at.registry, &at.proofs, at.limit).await?;
    let mut out = io::stdout().lock();
    for invite in invites {
        let until = UNIX_EPOCH + Duration::from_secs(invite.until_unix);
        let until = humantime::format_rfc3339_seconds(until);
        let over = invite.over.map(|why| why.to_string());
        let standing = over.unwrap_or_else(|| format!("until {until}"));
        let came = printable(&invite.came.join(", "));
        writeln!(
            out,
            "{}\t{}/{}\t{standing}\t{came}",
            invite.id, invite.used, invite.uses
        )?;
    }
    Ok(out.flush()?)
}

async fn revoke(id: &str, at: &At) -> Result<(), Failure> {
    let id: Option<InviteId> = match id {
        "all" => None,
        id => Some(
            id.parse()
                .map_err(|error| Failure::Usage(format!("--revoke: {error}")))?,
        ),
    };
    let (invites, evicted) = client::revoke(&at.registry, &at.proofs, id, at.limit).await?;
    let (nodes, profiles) = (evicted.nodes.len(), evicted.profiles.len());
    Ok(writeln!(
        io::stdout(),
        "revoked {invites} invites; evicted {profiles} profiles and {nodes} processes that came by them"
    )?)
}

#[cfg(test)]
mod tests {
    use super::is_loopback;

    #[test]
    fn loopback_has_several_names() {
        for addr in ["127.0.0.1:7420", "[::1]:7420", "localhost:1", "127.1.2.3:1"] {
            assert!(is_loopback(addr), "{addr}");
        }
        for addr in [
            "192.168.1.7:7420",
            "[2001:db8::1]:7420",
            "registry.example:7420",
            "0.0.0.0:1",
        ] {
            assert!(!is_loopback(addr), "{addr}");
        }
    }
}
