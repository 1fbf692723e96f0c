//! `nodesetd serve`.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use nodeset::Authority;
use nodeset::server::{Options, Server};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::flags::ServeFlags;
use crate::{Failure, http, log};

pub(crate) async fn serve(flags: ServeFlags) -> Result<(), Failure> {
    log::start(&flags);
    let stopped = stop_signal()?; // before anyone can know that we run
    let listeners = flags.listen.iter().map(|addr| bind(*addr, "--listen"));
    let listeners = listeners.collect::<Result<Vec<_>, _>>()?;
    let metrics = flags.http.map(|addr| bind(addr, "--http")).transpose()?;
    let bound = listeners
        .iter()
        .map(TcpListener::local_addr)
        .collect::<Result<Vec<_>, _>>();
    let bound = bound.map_err(|error| Failure::Failed(error.to_string()))?;

    let state_dir = flags.state_dir.clone().filter(|_| !flags.ephemeral);
    let place = match &state_dir {
        Some(dir) => Some(dir.join("authority")),
        None => Authority::default_dir().filter(|_| !flags.ephemeral),
    };
    let authority = match (&place, &state_dir) {
        (_, Some(_)) | (None, None) => None, // in the state directory, or nowhere
        (Some(place), None) => Some(Authority::open(place).map_err(|error| Failure::Failed(error.to_string()))?),
    };
    let options = Options {
        lease: flags.lease,
        max_peers: flags.max_peers,
        state_dir,
        authority,
        certificate_life: flags.certificate_life,
        ..Options::default()
    };
    let server = Server::new(options).map_err(|error| Failure::Failed(error.to_string()))?;
    announce(&bound, &flags);
    if nodeset::local::default_dir().is_none() {
        tracing::warn!(
            "neither XDG_STATE_HOME nor HOME is set: nobody can prove to be this user, so nobody can invite"
        );
    }
    match &place {
        Some(place) => tracing::info!("authority {} in {}", server.fingerprint(), place.display()),
        None => tracing::info!("authority {}, gone with this process", server.fingerprint()),
    }

    let (pages, stats) = (stopped.clone(), server.stats());
    if let Some(listener) = metrics {
        let registry = bound.first().map(ToString::to_string).unwrap_or_default();
        let page = http::Page::new(registry, stats, flags.lease, flags.max_peers);
        tokio::spawn(http::serve(listener, page, stop(pages)));
    }
    let served = server.run(listeners, stop(stopped)).await;
    served.map_err(|error| Failure::Failed(error.to_string()))
}

/// Turns true at the first SIGTERM or SIGINT.
fn stop_signal() -> Result<watch::Receiver<bool>, Failure> {
    let caught = |kind| signal(kind).map_err(|error| Failure::Failed(error.to_string()));
    let mut terminate = caught(SignalKind::terminate())?;
    let mut interrupt = caught(SignalKind::interrupt())?;
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.send_replace(true);
    });
    Ok(stopped)
}

async fn stop(mut stopped: watch::Receiver<bool>) {
    drop(stopped.wait_for(|stopped| *stopped).await);
}

fn bind(addr: SocketAddr, flag: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(addr).map_err(|error| {
        Failure::Failed(match error.kind() {
            ErrorKind::AddrInUse => format!(
                "{addr} is in use. Perhaps a nodesetd runs there already (`nodesetd health -r \
                 {addr}` asks it); stop it, or choose another address with {flag}"
            ),
            _ => format!("cannot listen on {addr}: {error}; choose another with {flag}"),
        })
    })
}

/// The first line of the log, by which others find out the port; then what there is to warn of.
fn announce(bound: &[SocketAddr], flags: &ServeFlags) {
    let version = env!("CARGO_PKG_VERSION");
    let all = bound.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let lease = humantime::format_duration(flags.lease);
    let peers = flags.max_peers;
    tracing::info!(
        target: log::LISTENING,
        "nodesetd {version} listening on {all} (lease {lease}, at most {peers} peers)"
    );
    for addr in bound.iter().filter(|addr| !addr.ip().is_loopback()) {
        tracing::info!("{addr} is not on loopback: whoever has an invite can come from elsewhere");
    }
    for addr in flags.http.iter().filter(|addr| !addr.ip().is_loopback()) {
        tracing::warn!("{addr} is not on loopback: everyone who reaches it may read the metrics");
    }
    match flags.state_dir.as_deref().map(Path::display) {
        Some(dir) if flags.ephemeral => tracing::debug!("keeping nothing, not even in {dir}"),
        Some(dir) => tracing::debug!("keeping leases in {dir}"),
        None => {}
    }
}
