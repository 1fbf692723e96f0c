//! A tiny certificate authority: one key in one private directory.
//!
//! It vouches for process keys: whoever has a certificate of it belongs to its *cluster*. The
//! registry issues over the wire; a program that needs no registry issues for itself:
//!
//! ```
//! use std::time::SystemTime;
//! use nodeset::{Authority, CERTIFICATE_LIFE, ProcessKey};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let authority = Authority::ephemeral()?; // or `Authority::open(dir)`, to keep it
//! let key = ProcessKey::generate()?;
//! let chain = authority.issue(&key.public(), "ana", SystemTime::now(), CERTIFICATE_LIFE)?;
//! assert_eq!((chain.len(), authority.cluster().len()), (1, 16));
//! # Ok(())
//! # }
//! ```

mod kept;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyUsagePurpose, PKCS_ED25519, PublicKeyData, SanType, SerialNumber, SignatureAlgorithm, SigningKey, date_time_ymd,
};
use ring::digest::{SHA256, digest};

use crate::key::{KeyError, Pair, hex, node_id};
use crate::peer::{Malformed, check_nick};
use crate::private::PrivateError;

/// How long a certificate of a process lives: a member that lost its registry has at least half
/// of it to find it again, and a stolen key is worth nothing after it.
pub const CERTIFICATE_LIFE: Duration = Duration::from_secs(24 * 3600);
/// How long the authority itself lives. Nobody is asked to replace one by hand any sooner.
pub const AUTHORITY_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// How far a certificate begins before it was issued: clocks of two machines differ.
const EARLY: Duration = Duration::from_secs(5 * 60);
/// Digits of the fingerprint that name a cluster: enough that no two are ever the same by chance,
/// few enough for a host name.
const CLUSTER_DIGITS: usize = 16;

/// A certificate authority. Clones are the same one.
#[derive(Clone)]
pub struct Authority(Arc<Inner>);

struct Inner {
    key: Pair,
    certificate: Vec<u8>,
    fingerprint: [u8; 32],
    local_secret: [u8; 32],
    dir: Option<PathBuf>,
}

impl Authority {
    /// The authority kept in `dir`, which is made at the first start (0700, its files 0600). Any
    /// number of processes may do so at one instant, and all get the same.
    ///
    /// # Errors
    /// See [`AuthorityError`]: above all a directory that others may look into. Nothing in an
    /// existing directory is changed then.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, AuthorityError> {
        let kept = kept::open(dir.as_ref())?;
        let mut inner = Inner::from_kept(kept).map_err(|()| kept::damaged(dir.as_ref()))?;
        inner.dir = Some(dir.as_ref().to_owned());
        Ok(Self(Arc::new(inner)))
    }

    /// A new authority that is gone with this process.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn ephemeral() -> Result<Self, AuthorityError> {
        let kept = kept::make()?;
        let inner = Inner::from_kept(kept).map_err(|()| KeyError::NotAKey)?;
        Ok(Self(Arc::new(inner)))
    }

    /// Where the authority of this process's user is kept unless told otherwise:
    /// `$XDG_STATE_HOME/nodeset/authority`. `None` without a home.
    pub fn default_dir() -> Option<PathBuf> {
        Some(crate::local::state_home()?.join("authority"))
    }

    /// Its own certificate, in DER: what members trust.
    pub fn certificate(&self) -> &[u8] {
        &self.0.certificate
    }

    /// SHA-256 of its certificate: what people compare, in 64 hexadecimal digits.
    pub fn fingerprint(&self) -> String {
        hex(&self.0.fingerprint)
    }

    /// The name of its cluster: the first 16 digits of the fingerprint.
    pub fn cluster(&self) -> String {
        cluster(&self.0.fingerprint)
    }

    /// Vouches for a process: a certificate for the holder of `public`, shown to people as
    /// `name`. Returns the chain in DER, leaf first, without the authority's own certificate.
    ///
    /// # Errors
    /// See [`IssueError`]. Nothing was issued.
    pub fn issue(
        &self,
        public: &[u8; 32],
        name: &str,
        now: SystemTime,
        life: Duration,
    ) -> Result<Vec<Vec<u8>>, IssueError> {
        check_nick(name)?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        let uri = format!("nodeset://{}/{}", self.cluster(), node_id(public));
        params.subject_alt_names = vec![SanType::URI(uri.try_into().map_err(|_| IssueError::Encoding)?)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        Ok(vec![self.sign(params, public, now, life)?])
    }

    /// The certificate of the registry itself. Its name tells it from members' certificates, or
    /// any member could stand in for the registry.
    pub(crate) fn issue_for_registry(&self, public: &[u8; 32], now: SystemTime) -> Result<Vec<u8>, IssueError> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "nodesetd");
        let name = registry_name(&self.cluster());
        params.subject_alt_names = vec![SanType::DnsName(name.try_into().map_err(|_| IssueError::Encoding)?)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        // The key never leaves the process, which also has the authority's.
        self.sign(params, public, now, AUTHORITY_LIFE)
    }

    pub(crate) fn fingerprint_bytes(&self) -> &[u8; 32] {
        &self.0.fingerprint
    }

    pub(crate) fn local_secret(&self) -> &[u8; 32] {
        &self.0.local_secret
    }

    /// Where it is kept; `None` if it is ephemeral.
    pub fn dir(&self) -> Option<&Path> {
        self.0.dir.as_deref()
    }

    fn sign(
        &self,
        mut params: CertificateParams,
        public: &[u8; 32],
        now: SystemTime,
        life: Duration,
    ) -> Result<Vec<u8>, IssueError> {
        let now = now.duration_since(UNIX_EPOCH).map_err(|_| IssueError::Time)?;
        let whole = |time: Duration| Duration::from_secs(time.as_secs());
        let epoch = date_time_ymd(1970, 1, 1);
        params.not_before = epoch + whole(now.saturating_sub(EARLY));
        params.not_after = epoch
            .checked_add((now + life).try_into().map_err(|_| IssueError::Time)?)
            .ok_or(IssueError::Time)?;
        params.serial_number = Some(serial().map_err(|_| IssueError::Encoding)?);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let ca = ca_params(&self.0.key);
        let issuer = Issuer::from_params(&ca, &self.0.key);
        let leaf = params
            .signed_by(&Public(public), &issuer)
            .map_err(|_| IssueError::Encoding)?;
        Ok(leaf.der().to_vec())
    }
}

impl fmt::Debug for Authority {
    /// Secrets do not belong into a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Authority").field(&self.cluster()).finish()
    }
}

impl Inner {
    fn from_kept(kept: kept::Kept) -> Result<Self, ()> {
        Ok(Self {
            key: Pair::from_pkcs8(kept.pkcs8).map_err(drop)?,
            fingerprint: fingerprint(&kept.certificate),
            certificate: kept.certificate,
            local_secret: kept.local_secret,
            dir: None,
        })
    }
}

/// The subject is different for every authority, so that a node in several clusters can tell from
/// it which chain a peer wants to see.
fn ca_params(key: &Pair) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    let of_key = hex(&digest(&SHA256, &key.public()).as_ref()[..8]);
    name.push(DnType::CommonName, format!("nodeset {of_key}"));
    params.distinguished_name = name;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn serial() -> Result<SerialNumber, getrandom::Error> {
    let mut serial = [0; 16];
    getrandom::fill(&mut serial)?;
    serial[0] &= 0x7f; // positive
    Ok(SerialNumber::from_slice(&serial))
}

/// SHA-256 of an authority's certificate.
pub(crate) fn fingerprint(certificate: &[u8]) -> [u8; 32] {
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(digest(&SHA256, certificate).as_ref());
    fingerprint
}

pub(crate) fn cluster(fingerprint: &[u8; 32]) -> String {
    let mut cluster = hex(fingerprint);
    cluster.truncate(CLUSTER_DIGITS);
    cluster
}

/// The host name in the certificate of a cluster's registry.
pub(crate) fn registry_name(cluster: &str) -> String {
    format!("registry.{cluster}.nodeset")
}

struct Public<'a>(&'a [u8; 32]);

impl PublicKeyData for Public<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ED25519
    }
}

impl PublicKeyData for Pair {
    fn der_bytes(&self) -> &[u8] {
        self.public_ref()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ED25519
    }
}

impl SigningKey for Pair {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(Pair::sign(self, message).to_bytes().to_vec())
    }
}

/// Why there is no authority. No existing file was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// Its directory cannot be used.
    #[error("the certificate authority: {0}")]
    File(#[from] PrivateError),
    /// No key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Its certificate could not be made.
    #[error("the certificate of the authority cannot be made: {0}")]
    Encoding(String),
    /// It is older than [`AUTHORITY_LIFE`].
    #[error(
        "the certificate authority in {} has come to the end of its ten years: move the directory away; everyone else \
         needs a new invite then", .0.display()
    )]
    Expired(PathBuf),
}

/// Why nothing was issued.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    /// Not a name.
    #[error(transparent)]
    Name(#[from] Malformed),
    /// The time cannot be written in a certificate.
    #[error("the clock is beyond what a certificate can say")]
    Time,
    /// The certificate cannot be written.
    #[error("the certificate cannot be made")]
    Encoding,
}

#[cfg(test)]
mod tests;
