//! A connection without manners, written down a second time so that a change of the wire shows
//! here: TLS, frames, and the proof of the local secret.

use std::sync::Arc;

use nodeset::client::Enrolment;
use nodeset::protocol::{Answer, PROTOCOL_VERSION, Proof, Request};
use nodeset::{ProcessKey, Signature};
use ring::digest::{SHA256, digest};
use ring::hmac;
use ring::signature::Ed25519KeyPair;
use rustls::ClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::{HOME, key, soon};

/// The bodies of frames.
#[derive(Serialize)]
pub(super) enum Asked {
    Call {
        id: u64,
        deadline_ms: u32,
        request: Request,
    },
    Cancel {
        id: u64,
    },
}

#[derive(Deserialize)]
struct Answered {
    id: u64,
    answer: Answer,
}

pub(super) struct Raw {
    pub(super) stream: TlsStream<TcpStream>,
    /// The authority that was shown.
    pub(super) root: Vec<u8>,
}

/// A certificate to show: key in PKCS#8, and chain.
pub(super) type Shown = (Vec<u8>, Vec<Vec<u8>>);

impl Raw {
    pub(super) async fn open(addr: std::net::SocketAddr) -> Self {
        Self::open_showing(addr, None).await
    }

    pub(super) async fn open_showing(addr: std::net::SocketAddr, shown: Option<Shown>) -> Self {
        let tcp = TcpStream::connect(addr).await.expect("connect");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider);
        let config = config
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3");
        let config = config.dangerous().with_custom_certificate_verifier(Arc::new(Anyone));
        let config = match shown {
            Some((pkcs8, chain)) => {
                let chain = chain.into_iter().map(CertificateDer::from).collect();
                let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8));
                config.with_client_auth_cert(chain, key).expect("a certificate")
            }
            None => config.with_no_client_auth(),
        };
        let name = ServerName::try_from("anything.example").expect("a name");
        let connector = TlsConnector::from(Arc::new(config));
        let stream = soon("a handshake", connector.connect(name, tcp)).await.expect("TLS");
        let certificates = stream.get_ref().1.peer_certificates().expect("shown");
        let root = certificates.last().expect("shown").to_vec();
        Self { stream, root }
    }

    pub(super) async fn greeted(addr: std::net::SocketAddr) -> Self {
        let mut raw = Self::open(addr).await;
        raw.hello().await;
        raw
    }

    pub(super) async fn hello(&mut self) {
        let version = PROTOCOL_VERSION;
        self.call(0, 1_000, Request::Hello { version }).await;
        let answer = self.answer().await.1;
        assert!(matches!(answer, Answer::Welcome { .. }), "{answer:?}");
    }

    /// Proves the local secret, and takes a certificate for the n-th key.
    pub(super) async fn enrolled(addr: std::net::SocketAddr, n: u8) -> Self {
        let mut raw = Self::greeted(addr).await;
        assert_eq!(raw.prove().await, Answer::Proven { operator: true });
        let key = key(n);
        let answer = raw.enrol(&key, "ana").await;
        assert!(matches!(answer, Answer::Issued { .. }), "{answer:?}");
        raw
    }

    pub(super) async fn prove(&mut self) -> Answer {
        let name = digest(&SHA256, &self.root);
        let name: String = name.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let published = std::fs::read(HOME.publications().join(name)).expect("published");
        let secret = &published[published.len() - 32..];
        let message = [
            &b"nodeset 2026-11 proof of the local secret\0"[..],
            &self.exported(),
            b"client",
        ];
        let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), &message.concat());
        let proof = Proof::Local {
            mac: mac.as_ref().try_into().expect("32 bytes"),
        };
        self.ask(Request::Prove {
            proof,
            profile: None,
            name: "ana".into(),
        })
        .await
    }

    pub(super) async fn enrol(&mut self, key: &ProcessKey, name: &str) -> Answer {
        let message = [
            &b"nodeset 2026-11 possession of a process key\0"[..],
            &self.exported(),
            name.as_bytes(),
        ];
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(key.pkcs8()).expect("a key");
        let signature = pair.sign(&message.concat());
        let (r, s) = signature.as_ref().split_at(32);
        let possession = Signature(r.try_into().expect("32"), s.try_into().expect("32"));
        let (public, name) = (key.public(), name.to_owned());
        self.ask(Request::Enrol {
            public,
            name,
            possession,
        })
        .await
    }

    pub(super) fn exported(&self) -> [u8; 32] {
        let tls = self.stream.get_ref().1;
        tls.export_keying_material([0; 32], b"EXPORTER-nodeset-enrol", None)
            .expect("exported")
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) {
        drop(self.stream.write_all(bytes).await); // closed by the other side is what some tests want
        drop(self.stream.flush().await);
    }

    pub(super) async fn say(&mut self, asked: &Asked) {
        let body = postcard::to_stdvec(asked).expect("encodes");
        let length = u32::try_from(body.len()).expect("short").to_be_bytes();
        self.write(&[&length[..], &body].concat()).await;
    }

    pub(super) async fn call(&mut self, id: u64, deadline_ms: u32, request: Request) {
        self.say(&Asked::Call {
            id,
            deadline_ms,
            request,
        })
        .await;
    }

    pub(super) async fn ask(&mut self, request: Request) -> Answer {
        self.call(u64::MAX, 5_000, request).await;
        self.answer().await.1
    }

    pub(super) async fn answer(&mut self) -> (u64, Answer) {
        let length = soon("an answer", self.stream.read_u32()).await.expect("a frame");
        let mut body = vec![0; length as usize];
        soon("an answer", self.stream.read_exact(&mut body))
            .await
            .expect("a frame");
        let Answered { id, answer } = postcard::from_bytes(&body).expect("an answer");
        (id, answer)
    }

    /// Waits until the other side has closed the connection; what it said last, for people.
    pub(super) async fn closed(mut self) -> String {
        let mut rest = Vec::new();
        match soon("the end", self.stream.read_to_end(&mut rest)).await {
            Ok(_) => String::new(),
            Err(error) => error.to_string(), // a reset is an end, too
        }
    }
}

/// What an enrolled process shows.
pub(super) fn shown(enrolment: &Enrolment) -> Shown {
    (enrolment.key_pkcs8.clone(), enrolment.chain.clone())
}

/// Trusts everyone, as a careless or curious client would.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        vec![rustls::SignatureScheme::ED25519]
    }
}
