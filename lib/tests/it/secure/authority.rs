//! Authorities of clusters, as small as they can be.

use std::time::{Duration, SystemTime};

use multicast::{Credential, Identity};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PublicKeyData, SanType, SignatureAlgorithm,
};

pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);

/// Vouches for the nodes of one cluster.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root: Vec<u8>,
    pub(crate) cluster: String,
}

/// A public key, as certificates are issued for.
struct Public([u8; 32]);

impl PublicKeyData for Public {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ED25519
    }
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.distinguished_name.push(DnType::CommonName, "a cluster");
        let root = params.self_signed(&key).expect("a certificate").der().to_vec();
        let hash = rustls_hash(&root);
        Self {
            issuer: Issuer::new(params, key),
            root,
            cluster: hash[..8].iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }

    /// A certificate for a day from then on.
    pub(crate) fn issue(&self, identity: &Identity, name: &str, from: SystemTime) -> Credential {
        let uri = format!("nodeset://{}/{}", self.cluster, identity.node_id());
        self.issue_uri(identity, name, &uri, from)
    }

    /// The same with another URI.
    pub(crate) fn issue_uri(&self, identity: &Identity, name: &str, uri: &str, from: SystemTime) -> Credential {
        let params = params(name, uri, from);
        let certificate = params.signed_by(&Public(identity.public_key()), &self.issuer);
        Credential {
            chain: vec![certificate.expect("a certificate").der().to_vec()],
            root: self.root.clone(),
        }
    }

    /// A new identity that is in this cluster from now on.
    pub(crate) fn identity(&self, name: &str) -> Identity {
        let identity = fresh();
        let credential = self.issue(&identity, name, SystemTime::now());
        identity.add(credential).expect("a good credential");
        identity
    }
}

pub(crate) fn params(name: &str, uri: &str, from: SystemTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    // Clocks differ a little.
    params.not_before = (from - Duration::from_secs(300)).into();
    params.not_after = (from + DAY).into();
    params.distinguished_name.push(DnType::CommonName, name);
    params.subject_alt_names = vec![SanType::URI(uri.try_into().expect("ASCII"))];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    params
}

/// An identity with a key of its own, and no certificate.
pub(crate) fn fresh() -> Identity {
    let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
    Identity::new(&key.serialize_der()).expect("an ed25519 key")
}

fn rustls_hash(bytes: &[u8]) -> Vec<u8> {
    use rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let suite = TLS13_AES_128_GCM_SHA256.tls13().expect("a suite of TLS 1.3");
    let mut hash = suite.common.hash_provider.start();
    hash.update(bytes);
    hash.finish().as_ref().to_vec()
}
