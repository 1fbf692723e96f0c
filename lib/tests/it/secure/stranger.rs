//! A client by hand, that can show and say anything.

use std::net::SocketAddr;
use std::sync::Arc;

use multicast::{Credential, NodeId};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::soon;

/// Believes whatever it is shown.
#[derive(Debug)]
struct Gullible;

impl ServerCertVerifier for Gullible {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

/// A key in PKCS#8, and certificates for it.
pub(crate) struct Shown {
    pub(crate) key: Vec<u8>,
    pub(crate) chain: Vec<Vec<u8>>,
}

impl Shown {
    pub(crate) fn new(key: Vec<u8>, credential: Credential) -> Self {
        let chain = credential.chain;
        Self { key, chain }
    }
}

/// Makes the handshake as far as a client can see it. It ends before the server has judged.
pub(crate) async fn connect(addr: SocketAddr, cluster: &str, shown: Option<Shown>) -> TlsStream<TcpStream> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Gullible));
    let config = match shown {
        None => config.with_no_client_auth(),
        Some(Shown { key, chain }) => {
            let chain = chain.into_iter().map(CertificateDer::from).collect();
            let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key));
            config.with_client_auth_cert(chain, key).expect("they fit")
        }
    };
    let name = ServerName::try_from(format!("{cluster}.nodeset")).expect("a name");
    let socket = TcpStream::connect(addr).await.expect("connects");
    // Else what is said after the handshake would wait for the other side to acknowledge that.
    socket.set_nodelay(true).expect("it is open");
    let connecting = TlsConnector::from(Arc::new(config)).connect(name, socket);
    soon("a handshake", connecting)
        .await
        .expect("the client's half goes well")
}

/// Group, member, which of its joins, and of a private group its list.
type Presence = ([u8; 16], [u8; 16], u64, Option<()>);

/// What a node says first. The fields as they travel.
#[derive(Serialize)]
pub(crate) struct Hello {
    pub(crate) protocol: u32,
    pub(crate) node: [u8; 16],
    pub(crate) name: String,
    pub(crate) addr: SocketAddr,
    pub(crate) groups: Vec<Presence>,
    pub(crate) revision: u64,
    pub(crate) endorsement: Option<()>,
}

impl Hello {
    pub(crate) fn of(node: NodeId, name: &str) -> Self {
        Self {
            protocol: 4,
            node: node.0,
            name: name.to_owned(),
            addr: "127.0.0.1:9".parse().expect("an address"),
            groups: Vec::new(),
            revision: 1,
            endorsement: None,
        }
    }

    /// As a request.
    pub(crate) fn request(&self) -> Vec<u8> {
        let hello = postcard::to_stdvec(self).expect("it has a form");
        request(1, 0, &hello)
    }
}

/// A request with that number, of that kind.
pub(crate) fn request(id: u64, kind: u8, rest: &[u8]) -> Vec<u8> {
    let head = [&[0][..], &id.to_be_bytes(), &5000u32.to_be_bytes(), &[kind]].concat();
    let length = (head.len() + rest.len()) as u32;
    [&length.to_be_bytes()[..], &head, rest].concat()
}

/// Says that, and returns what is answered until the other side closes.
pub(crate) async fn say(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin), bytes: &[u8]) -> Vec<u8> {
    // Whoever is refused may find out while it writes.
    let _ = stream.write_all(bytes).await;
    let _ = stream.flush().await;
    let mut answer = Vec::new();
    let _ = soon("the connection is closed", stream.read_to_end(&mut answer)).await;
    answer
}
