//! Who is let in: the verifiers of both sides.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::time_provider::TimeProvider;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, PeerIncompatible, SignatureScheme,
};

use super::words::Refused;
use super::{Register, SUFFIX};
use crate::identity::{Card, Fault, Identity, Use};

/// Judges certificates by what this node trusts now.
#[derive(Debug)]
pub(super) struct Judge {
    identity: Identity,
    register: Register,
    provider: Arc<CryptoProvider>,
}

impl Judge {
    pub(super) fn new(identity: Identity, register: Register) -> Self {
        let provider = CryptoProvider {
            // The first is the fastest where the processor helps, and both sides ask for it.
            cipher_suites: vec![
                ring::cipher_suite::TLS13_AES_128_GCM_SHA256,
                ring::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
            ],
            kx_groups: vec![ring::kx_group::X25519],
            ..ring::default_provider()
        };
        Self {
            identity,
            register,
            provider: Arc::new(provider),
        }
    }

    pub(super) fn provider(&self) -> Arc<CryptoProvider> {
        self.provider.clone()
    }

    fn algorithms(&self) -> &WebPkiSupportedAlgorithms {
        &self.provider.signature_verification_algorithms
    }

    /// Whether whoever shows these is let in.
    fn judge(&self, leaf: &CertificateDer<'_>, between: &[CertificateDer<'_>], role: Use) -> Result<Card, Error> {
        let card = Card::read(leaf).map_err(refused)?;
        let Some(held) = self.identity.credential(&card.cluster) else {
            return Err(Error::InvalidCertificate(CertificateError::UnknownIssuer));
        };
        // Whether it is genuine, and whether it is of today, are two questions: a living group must not be cut because
        // the authority that would renew its certificates has died.
        let now = self.identity.now();
        let verdict = card.verify((leaf, between), &held.anchor, role, card.in_its_time(now));
        verdict.map_err(refused)?;
        if self.register.evicted.borrow().contains(&card.node) {
            return Err(Error::InvalidCertificate(CertificateError::Revoked));
        }
        if !self.register.known.borrow().contains(&card.node) {
            if card.has_expired(now) {
                return Err(Error::InvalidCertificate(CertificateError::Expired));
            }
            if card.is_too_early(now) {
                return Err(Error::InvalidCertificate(CertificateError::NotValidYet));
            }
        }
        Ok(card)
    }

    fn signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, self.algorithms())
    }
}

/// Keeps the alert that the other side is told by where there is a fitting one, and the words in any case.
fn refused(fault: Fault) -> Error {
    Error::InvalidCertificate(match fault {
        Fault::Malformed => CertificateError::BadEncoding,
        Fault::Chain(webpki::Error::UnknownIssuer) => CertificateError::UnknownIssuer,
        Fault::Chain(webpki::Error::InvalidSignatureForPublicKey) => CertificateError::BadSignature,
        fault => CertificateError::Other(OtherError(Arc::new(Refused(fault)))),
    })
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        asked_for: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let card = self.judge(leaf, between, Use::Server)?;
        match asked_for.to_str().strip_suffix(SUFFIX) {
            Some(cluster) if cluster == card.cluster => Ok(ServerCertVerified::assertion()),
            _ => Err(refused(Fault::OtherCluster)),
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

impl ClientCertVerifier for Judge {
    /// Whoever calls knows of which cluster it has to show a certificate: of the one that it asked for.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.judge(leaf, between, Use::Client)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

impl TimeProvider for Judge {
    fn current_time(&self) -> Option<UnixTime> {
        let since = self.identity.now().duration_since(UNIX_EPOCH);
        Some(UnixTime::since_unix_epoch(since.unwrap_or(Duration::ZERO)))
    }
}
