//! TLS on links: version 1.3 alone, both sides show a certificate, and nothing is said before both were looked through.
//!
//! Every handshake is a full one. To resume a session would save one signature and one verification, and would let in
//! whoever was evicted, or has expired, since the session began.

mod judge;
mod words;

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::id::NodeId;
use crate::identity::{Card, Held, Identity};
use crate::net::FAREWELL;
use crate::net::socket::{Socket, TcpStream};
use judge::Judge;
pub(crate) use words::{DENIED, plain};

/// Behind a cluster's name, so that what a connection asks for looks like a host's name.
const SUFFIX: &str = ".nodeset";
/// Bytes of TLS that one read takes: four of its records. Read for themselves, they would cost a system call for every
/// 4 KiB.
const READ_AHEAD: usize = 64 << 10;

/// Most reads of what nobody wants to know: what a caller may have said before it knew is one greeting.
const FAREWELL_READS: usize = 128;

/// Nodes, as connections look them up.
pub(crate) type Nodes = Arc<BTreeSet<NodeId>>;

/// What a node decides of others, as handshakes look it up.
#[derive(Clone, Debug)]
pub(crate) struct Register {
    /// In a view of one of this node's groups: they are let in although their certificate has expired.
    pub(crate) known: watch::Receiver<Nodes>,
    /// Let in no more, whatever they show.
    pub(crate) evicted: watch::Receiver<Nodes>,
}

/// What makes connections secure.
#[derive(Clone)]
pub(crate) struct Tls {
    identity: Identity,
    judge: Arc<Judge>,
    acceptor: TlsAcceptor,
}

/// Who is at the other end of a connection, as its certificate has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Peer {
    pub(crate) node: NodeId,
    /// What people call it.
    pub(crate) name: String,
    pub(crate) key: [u8; 32],
}

impl Tls {
    pub(crate) fn new(identity: Identity, register: Register) -> Result<Self, rustls::Error> {
        let judge = Arc::new(Judge::new(identity.clone(), register));
        let mut config = ServerConfig::builder_with_details(judge.provider(), judge.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(judge.clone())
            .with_cert_resolver(Arc::new(Shown(identity.clone())));
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        Ok(Self {
            identity,
            judge,
            acceptor: Arc::new(config).into(),
        })
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The called side's handshake. Of what an error says the caller has been told.
    pub(crate) async fn accept(&self, socket: TcpStream) -> io::Result<(Socket, Peer)> {
        let socket = BufReader::with_capacity(READ_AHEAD, socket);
        let stream = match self.acceptor.accept(socket).into_fallible().await {
            Ok(stream) => stream,
            Err((error, socket)) => {
                if error.kind() == io::ErrorKind::InvalidData {
                    farewell(socket).await;
                }
                return Err(error);
            }
        };
        let peer = peer(stream.get_ref().1.peer_certificates())?;
        Ok((Socket::Tls(Box::new(stream.into())), peer))
    }

    /// The calling side's handshake, as one of that cluster. The called side judges only after it.
    pub(crate) async fn connect(&self, socket: TcpStream, held: &Held) -> io::Result<(Socket, Peer)> {
        let mut config = ClientConfig::builder_with_details(self.judge.provider(), self.judge.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(io::Error::other)?
            .dangerous()
            .with_custom_certificate_verifier(self.judge.clone())
            .with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(held.certified.clone())));
        config.resumption = Resumption::disabled();
        config.enable_early_data = false;
        let name = ServerName::try_from(format!("{}{SUFFIX}", held.card.cluster)).map_err(io::Error::other)?;
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, BufReader::with_capacity(READ_AHEAD, socket))
            .await?;
        let peer = peer(stream.get_ref().1.peer_certificates())?;
        Ok((Socket::Tls(Box::new(stream.into())), peer))
    }
}

/// The other side has been told why it is refused. If the connection were closed over what it has sent since, that
/// would be lost on its way.
async fn farewell(mut socket: BufReader<TcpStream>) {
    let listening = async {
        socket.shutdown().await?;
        let mut unheard = [0; 1024];
        for _ in 0..FAREWELL_READS {
            if socket.read(&mut unheard).await? == 0 {
                break;
            }
        }
        io::Result::Ok(())
    };
    // However it ends, it has ended.
    let _ = timeout(FAREWELL, listening).await;
}

fn peer(certificates: Option<&[rustls::pki_types::CertificateDer<'_>]>) -> io::Result<Peer> {
    let leaf = certificates.and_then(|chain| chain.first());
    let card = leaf.and_then(|leaf| Card::read(leaf).ok());
    let Card { node, name, key, .. } = card.ok_or_else(|| io::Error::other("shows no certificate"))?;
    Ok(Peer { node, name, key })
}

/// Which certificate a caller is shown: that of the cluster it asks for.
#[derive(Debug)]
struct Shown(Identity);

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let cluster = hello.server_name()?.strip_suffix(SUFFIX)?;
        Some(self.0.credential(cluster)?.certified.clone())
    }
}
