//! The way to a registry: its name, its address, whom one has there.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::connection::Papers;
use super::error::AskError;
use crate::authority::fingerprint;
use crate::key::hex;
use crate::proof::Exported;
use crate::tls::{self, Authentic};

/// How long one address may take to accept a connection: three round trips on the worst network
/// that a registry is worth having on.
const CONNECT_MAX: Duration = Duration::from_secs(1);
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;
pub(super) fn stranger(registry: &str, authentic: &Authentic) -> AskError {
    AskError::Stranger {
        registry: registry.into(),
        fingerprint: hex(&authentic.fingerprint),
    }
}

pub(super) async fn shake_hands(
    registry: &str,
    stream: TcpStream,
    papers: Papers<'_>,
) -> Result<(TlsStream<TcpStream>, Authentic, Exported), AskError> {
    let failed = |why: String| AskError::Handshake {
        registry: registry.into(),
        why,
    };
    let (proofs, anyone) = (papers.proofs.clone(), papers.anyone);
    let earlier = papers.enrolled.map(|(enrolled, _)| fingerprint(&enrolled.root));
    let knows = move |shown: &[u8; 32]| anyone || earlier.as_ref() == Some(shown) || proofs.know(shown);
    let shown = papers.enrolled.map(|(enrolled, key)| tls::Shown {
        key,
        chain: &enrolled.chain,
        root: &enrolled.root,
    });
    let (config, seen) = tls::client(knows, shown).map_err(|error| failed(error.to_string()))?;
    let name = tls::server_name().map_err(|error| failed(error.to_string()))?;
    let connected = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    let authentic = seen.take();
    let stream = connected.map_err(|error| match &authentic {
        Some(authentic) if !authentic.known => stranger(registry, authentic),
        _ => failed(tls::words(&error)),
    })?;
    let exported = tls::exported(stream.get_ref().1).map_err(|error| failed(error.to_string()))?;
    let authentic = authentic.ok_or_else(|| failed("it showed no authority".into()))?;
    Ok((stream, authentic, exported))
}

pub(super) async fn resolve(registry: &str) -> Result<Vec<SocketAddr>, AskError> {
    if let Ok(addr) = registry.parse() {
        return Ok(vec![addr]);
    }
    let failed = |why: String| AskError::Resolve {
        registry: registry.into(),
        why,
    };
    // A thread of its own, not one of the runtime's: the system's resolver may block for long,
    // and a program that ends must not wait for it.
    let (found, finding) = oneshot::channel();
    let name = registry.to_owned();
    let search = move || drop(found.send(name.to_socket_addrs().map(Vec::from_iter)));
    let thread = std::thread::Builder::new().name("nodeset-resolve".into());
    thread.spawn(search).map_err(|error| failed(error.to_string()))?;
    match finding.await {
        Ok(Ok(addrs)) if addrs.is_empty() => Err(failed("it has no address".into())),
        Ok(Ok(addrs)) => Ok(addrs),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_) => Err(failed("the resolver gave up".into())),
    }
}

pub(super) async fn connect(registry: &str, addrs: &[SocketAddr]) -> Result<TcpStream, AskError> {
    let mut why = String::new();
    for addr in addrs.iter().take(ADDRESSES_MAX) {
        match timeout(CONNECT_MAX, TcpStream::connect(addr)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => why = error.to_string(),
            Err(_) => why = format!("no connection within {CONNECT_MAX:?}"),
        }
    }
    Err(AskError::Connect {
        registry: registry.into(),
        why,
    })
}
