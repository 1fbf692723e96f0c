//! Certificates: what one says, and whether it may.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ed25519_dalek::VerifyingKey;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage};
use x509_cert::Certificate;
use x509_cert::der::asn1::{PrintableStringRef, Utf8StringRef};
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{ExtendedKeyUsage, SubjectAltName};

use crate::id::NodeId;

const SCHEME: &str = "nodeset://";
/// Of the hash of its authority's certificate so many hex digits name a cluster.
const CLUSTER_DIGITS: usize = 16;
/// Longest certificate in bytes: ours have less than 600. It is parsed before anybody vouches for it.
pub(crate) const MAX_CERTIFICATE: usize = 4096;
/// Longest name of a node in bytes: 32 characters.
const MAX_NAME: usize = 128;

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const SERVER_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");
const CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");

/// What a certificate says of a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Card {
    pub(crate) node: NodeId,
    pub(crate) name: String,
    pub(crate) cluster: String,
    /// The node's public key, whose hash its id is.
    pub(crate) key: [u8; 32],
    valid: (SystemTime, SystemTime),
    /// As which side of a connection it may be shown.
    uses: (bool, bool),
}

/// A root: whoever it vouches for is of its cluster.
#[derive(Debug)]
pub(crate) struct Anchor {
    pub(crate) cluster: String,
    pub(super) anchor: TrustAnchor<'static>,
}

/// On which side of a connection a certificate is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Use {
    Client,
    Server,
}

/// What is wrong with a certificate, in words that follow "the certificate".
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    Malformed,
    TooLong,
    NotEd25519,
    WeakKey,
    NoName,
    NoUri,
    OtherId,
    OtherCluster,
    OtherUse,
    Chain(webpki::Error),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "cannot be parsed",
            Self::TooLong => "is too long",
            Self::NotEd25519 => "is not for an ed25519 key",
            Self::WeakKey => "is for a weak key",
            Self::NoName => "has no name for people",
            Self::NoUri => "has not exactly one name nodeset://<cluster>/<node id>",
            Self::OtherId => "names a node id that is not the hash of its key",
            Self::OtherCluster => "names another cluster than that of its authority",
            Self::OtherUse => "is not for both ends of a connection",
            Self::Chain(webpki::Error::UnknownIssuer) => "is not of the cluster's authority",
            Self::Chain(webpki::Error::InvalidSignatureForPublicKey) => "is not signed by the cluster's authority",
            Self::Chain(error) => return write!(f, "does not lead to the cluster's authority ({error})"),
        })
    }
}

/// The name of the cluster whose authority has this certificate.
pub(super) fn cluster_of(root: &CertificateDer<'_>) -> String {
    let hash = <sha2::Sha256 as sha2::Digest>::digest(root);
    hash[..CLUSTER_DIGITS / 2]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

impl Card {
    /// Reads what a certificate says; whether it may say so is for [`Card::verify`].
    pub(crate) fn read(der: &CertificateDer<'_>) -> Result<Self, Fault> {
        if der.len() > MAX_CERTIFICATE {
            return Err(Fault::TooLong);
        }
        let certificate = Certificate::from_der(der)
            .map_err(|_| Fault::Malformed)?
            .tbs_certificate;
        let spki = &certificate.subject_public_key_info;
        if spki.algorithm.oid != ED25519 {
            return Err(Fault::NotEd25519);
        }
        let key = spki.subject_public_key.as_bytes().and_then(|key| key.try_into().ok());
        let key: [u8; 32] = key.ok_or(Fault::NotEd25519)?;
        if VerifyingKey::from_bytes(&key).map_err(|_| Fault::NotEd25519)?.is_weak() {
            return Err(Fault::WeakKey);
        }
        let names = certificate.get::<SubjectAltName>().map_err(|_| Fault::Malformed)?;
        let names = names.map_or(Vec::new(), |(_, names)| names.0);
        let mut uris = names.iter().filter_map(|name| match name {
            GeneralName::UniformResourceIdentifier(uri) => uri.as_str().strip_prefix(SCHEME),
            _ => None,
        });
        let (Some(uri), None) = (uris.next(), uris.next()) else {
            return Err(Fault::NoUri);
        };
        let (cluster, id) = uri.split_once('/').ok_or(Fault::NoUri)?;
        let is_hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if cluster.len() != CLUSTER_DIGITS || !is_hex(cluster) {
            return Err(Fault::NoUri);
        }
        let node = NodeId::of_key(&key);
        if id != node.to_string() {
            return Err(Fault::OtherId);
        }
        let uses = certificate.get::<ExtendedKeyUsage>().map_err(|_| Fault::Malformed)?;
        let uses = uses.map_or(Vec::new(), |(_, uses)| uses.0);
        let validity = &certificate.validity;
        Ok(Self {
            node,
            name: common_name(&certificate)?,
            cluster: cluster.to_owned(),
            key,
            valid: (
                validity.not_before.to_system_time(),
                validity.not_after.to_system_time(),
            ),
            uses: (uses.contains(&CLIENT_AUTH), uses.contains(&SERVER_AUTH)),
        })
    }

    /// Whether the authority vouches for this certificate, at that time and for that use.
    pub(crate) fn verify(
        &self,
        (leaf, between): (&CertificateDer<'_>, &[CertificateDer<'_>]),
        anchor: &Anchor,
        role: Use,
        at: SystemTime,
    ) -> Result<(), Fault> {
        if self.cluster != anchor.cluster {
            return Err(Fault::OtherCluster);
        }
        let (named, usage) = match role {
            Use::Client => (self.uses.0, KeyUsage::client_auth()),
            Use::Server => (self.uses.1, KeyUsage::server_auth()),
        };
        // To webpki a certificate that names no use is for all.
        if !named {
            return Err(Fault::OtherUse);
        }
        let leaf = EndEntityCert::try_from(leaf).map_err(Fault::Chain)?;
        let at = UnixTime::since_unix_epoch(at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO));
        let anchors = std::slice::from_ref(&anchor.anchor);
        leaf.verify_for_usage(webpki::ALL_VERIFICATION_ALGS, anchors, between, at, usage, None, None)
            .map_err(Fault::Chain)?;
        Ok(())
    }

    /// That time, or the nearest at which the certificate is valid: whether it has expired is judged apart from
    /// whether it is genuine.
    pub(crate) fn in_its_time(&self, now: SystemTime) -> SystemTime {
        // Not `clamp`, which would panic where a certificate ends before it begins.
        now.min(self.valid.1).max(self.valid.0)
    }

    pub(crate) fn has_expired(&self, now: SystemTime) -> bool {
        now > self.valid.1
    }

    pub(crate) fn is_too_early(&self, now: SystemTime) -> bool {
        now < self.valid.0
    }
}

/// The one name for people.
fn common_name(certificate: &x509_cert::TbsCertificate) -> Result<String, Fault> {
    let mut names = certificate
        .subject
        .0
        .iter()
        .flat_map(|part| part.0.iter())
        .filter(|part| part.oid == COMMON_NAME);
    let (Some(name), None) = (names.next(), names.next()) else {
        return Err(Fault::NoName);
    };
    let der = name.value.to_der().map_err(|_| Fault::Malformed)?;
    let text = Utf8StringRef::from_der(&der)
        .map(|text| text.as_str().to_owned())
        .or_else(|_| PrintableStringRef::from_der(&der).map(|text| text.as_str().to_owned()));
    let text = text.map_err(|_| Fault::NoName)?;
    match text.is_empty() || text.len() > MAX_NAME {
        true => Err(Fault::NoName),
        false => Ok(text),
    }
}
