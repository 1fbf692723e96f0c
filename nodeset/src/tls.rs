//! TLS 1.3, on both ends. The registry shows a certificate of its own authority, and that
//! authority; the client decides by the authority's fingerprint whether it knows it.
//!
//! Nothing is ever resumed and nothing is sent early, so every connection has its own exported
//! key, to which proofs are bound.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, ConnectionCommon, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    ServerConfig, SideData, SignatureScheme,
};

use crate::authority::{Authority, cluster, fingerprint, registry_name};
use crate::key::{ProcessKey, node_id};
use crate::peer::PeerId;
use crate::proof::{EXPORTER_LABEL, Exported};

/// What a client says it looks for. It cannot know the cluster before it is shown one.
const SNI: &str = "registry.nodeset";
/// What a public key of ed25519 begins with in a certificate (RFC 8410).
const ED25519_SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The registry's end. A client may show a certificate of the same authority; one that is expired,
/// or of anybody else, ends the handshake.
pub(crate) fn server(authority: &Authority) -> Result<ServerConfig, TlsError> {
    let key = ProcessKey::generate().map_err(|error| TlsError(error.to_string()))?;
    let leaf = authority.issue_for_registry(&key.public(), SystemTime::now());
    let leaf = leaf.map_err(|error| TlsError(error.to_string()))?;
    let root = CertificateDer::from(authority.certificate().to_vec());
    let mut roots = RootCertStore::empty();
    roots.add(root.clone())?;
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    let clients = clients.allow_unauthenticated().build();
    let clients = clients.map_err(|error| TlsError(error.to_string()))?;
    let config = ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13])?;
    let config = config.with_client_cert_verifier(clients);
    let mut config = config.with_single_cert(vec![leaf.into(), root], private(&key))?;
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    Ok(config)
}

/// A certificate that a client may show.
pub(crate) struct Shown<'a> {
    pub(crate) key: &'a ProcessKey,
    pub(crate) chain: &'a [Vec<u8>],
    pub(crate) root: &'a [u8],
}

/// The client's end. `knows` decides by an authority's fingerprint; whether it was asked and what
/// it was shown is in the returned [`Seen`].
pub(crate) fn client(
    knows: impl Fn(&[u8; 32]) -> bool + Send + Sync + 'static,
    shown: Option<Shown<'_>>,
) -> Result<(ClientConfig, Seen), TlsError> {
    let seen = Seen::default();
    let verifier = Pinned {
        knows: Box::new(knows),
        provider: provider(),
        seen: seen.clone(),
    };
    let config = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13])?;
    let config = config.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match shown {
        Some(shown) => {
            let chain = shown.chain.iter().map(|der| der.clone().into()).collect();
            let mut one = config.with_client_auth_cert(chain, private(shown.key))?;
            let certificate = Arc::clone(&one.client_auth_cert_resolver);
            one.client_auth_cert_resolver = Arc::new(Where {
                certificate,
                subject: subject(shown.root)?,
            });
            one
        }
        None => config.with_no_client_auth(),
    };
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    Ok((config, seen))
}

pub(crate) fn server_name() -> Result<ServerName<'static>, TlsError> {
    ServerName::try_from(SNI).map_err(|error| TlsError(error.to_string()))
}

/// The connection's own key, for proofs.
pub(crate) fn exported<S: SideData>(connection: &ConnectionCommon<S>) -> Result<Exported, TlsError> {
    Ok(Exported(connection.export_keying_material(
        [0; 32],
        EXPORTER_LABEL,
        None,
    )?))
}

/// The node whose certificate was shown, and verified, on this connection.
pub(crate) fn node_of(chain: Option<&[CertificateDer<'_>]>) -> Option<PeerId> {
    let leaf = ParsedCertificate::try_from(chain?.first()?).ok()?;
    let spki = leaf.subject_public_key_info();
    let public: [u8; 32] = spki.strip_prefix(&ED25519_SPKI)?.try_into().ok()?;
    Some(node_id(&public))
}

fn private(key: &ProcessKey) -> PrivateKeyDer<'static> {
    PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.pkcs8().to_vec()))
}

fn subject(root: &[u8]) -> Result<DistinguishedName, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add(root.to_vec().into())?;
    let subject = roots.subjects().pop();
    subject.ok_or_else(|| TlsError("the authority has no name".into()))
}

/// What the other end showed, also if it was not accepted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen(Arc<Mutex<Option<Authentic>>>);

/// An authority that was shown.
#[derive(Clone, Debug)]
pub(crate) struct Authentic {
    pub(crate) root: Vec<u8>,
    pub(crate) fingerprint: [u8; 32],
    pub(crate) known: bool,
}

impl Seen {
    pub(crate) fn take(&self) -> Option<Authentic> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Whether the authority with this fingerprint is known.
type Knows = Box<dyn Fn(&[u8; 32]) -> bool + Send + Sync>;

/// Accepts the registry of an authority that is known by its fingerprint.
struct Pinned {
    knows: Knows,
    provider: Arc<CryptoProvider>,
    seen: Seen,
}

impl fmt::Debug for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pinned")
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let root = others.last().ok_or(CertificateError::UnknownIssuer)?;
        let fingerprint = fingerprint(root);
        let known = (self.knows)(&fingerprint);
        let authentic = Authentic {
            root: root.to_vec(),
            fingerprint,
            known,
        };
        *self.seen.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(authentic);
        if !known {
            return Err(CertificateError::UnknownIssuer.into());
        }
        let mut roots = RootCertStore::empty();
        roots.add(root.clone().into_owned())?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider)).build();
        let verifier = verifier.map_err(|error| Error::General(error.to_string()))?;
        let name = ServerName::try_from(registry_name(&cluster(&fingerprint)));
        let name = name.map_err(|error| Error::General(error.to_string()))?;
        verifier.verify_server_cert(leaf, &[], &name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("only TLS 1.3 is spoken here".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Shows a certificate only to a registry of the authority that it is of; another one would end
/// the handshake for it.
#[derive(Debug)]
struct Where {
    certificate: Arc<dyn rustls::client::ResolvesClientCert>,
    subject: DistinguishedName,
}

impl rustls::client::ResolvesClientCert for Where {
    fn resolve(&self, hints: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<rustls::sign::CertifiedKey>> {
        let ours = hints.contains(&self.subject.as_ref());
        ours.then(|| self.certificate.resolve(hints, schemes)).flatten()
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// TLS cannot be set up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("TLS cannot be set up: {0}")]
pub(crate) struct TlsError(String);

impl From<Error> for TlsError {
    fn from(error: Error) -> Self {
        Self(error.to_string())
    }
}

/// What went wrong in a handshake, for people; without what the other side said of itself.
pub(crate) fn words(error: &std::io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match inner {
        Some(Error::InvalidMessage(_)) => "it does not speak TLS 1.3 (an older nodeset, or something else)".into(),
        Some(Error::InvalidCertificate(error)) => format!("its certificate is refused: {}", certificate_words(error)),
        Some(Error::AlertReceived(alert)) => format!("it refused the handshake: {alert:?}"),
        Some(other) => format!("the TLS handshake failed: {other}"),
        None => error.to_string(),
    }
}

fn certificate_words(error: &CertificateError) -> String {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it is expired".into(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet (is a clock wrong?)".into()
        }
        CertificateError::UnknownIssuer => "it is not of this registry's authority".into(),
        other => other.to_string(),
    }
}
