//! Who a node is: a key of its own, certificates for it, and perhaps a profile that stands behind it.
//!
//! The key is made anew at each process start, and the node's id is its hash, so that nobody can claim another's. A
//! certificate says of which cluster the node is and what people call it. Of rustls nothing shows here: what comes in
//! is bytes, as whoever issued the certificates hands them out.

pub(crate) mod card;
mod key;
mod profile;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use ed25519_dalek::SigningKey;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, TrustAnchor};
use rustls::sign::CertifiedKey;

use crate::id::NodeId;
pub(crate) use card::{Anchor, Card, Fault, Use};
pub(crate) use profile::Endorsement;
pub use profile::Profile;

/// Most clusters that a node lives in at a time: one for each circle of people that somebody is in.
pub(crate) const MAX_CLUSTERS: usize = 16;
/// Most certificates in a chain, the leaf counted: a cluster's authority issues directly, or through one other.
pub(crate) const MAX_CHAIN: usize = 4;

/// A node's key with what vouches for it. Clones are the same identity: what is added to one, all have.
///
/// An identity is for one node of one process run: two nodes with one key would be taken for one, and replace each
/// other's connections.
///
/// ```
/// # #[cfg(feature = "net")]
/// # fn main() -> Result<(), multicast::IdentityError> {
/// use multicast::{Identity, Options};
///
/// let identity = Identity::new(&[7; 32])?;    // 32 random bytes, or the PKCS#8 that the authority's client made
/// let options = Options::new("ana").with_identity(identity.clone());
/// // Now, or when it is there, or renewed: identity.add(Credential { chain, root })?;
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "net"))]
/// # fn main() {}
/// ```
#[derive(Clone)]
pub struct Identity {
    inner: Arc<Inner>,
}

struct Inner {
    key: SigningKey,
    node: NodeId,
    held: Mutex<BTreeMap<String, Arc<Held>>>,
    endorsement: Mutex<Option<Endorsement>>,
    clock: Mutex<Clock>,
}

type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// What makes a node one of a cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Credential {
    /// Certificates in DER: first the one of the node's key, then what leads to the root, without that.
    pub chain: Vec<Vec<u8>>,
    /// The certificate of the cluster's authority, in DER. Whoever it vouches for is let in.
    pub root: Vec<u8>,
}

/// A credential that was looked through.
pub(crate) struct Held {
    pub(crate) card: Card,
    pub(crate) certified: Arc<CertifiedKey>,
    pub(crate) anchor: Anchor,
}

/// Why an identity, or something to be added to it, is no good. The identity is as it was before.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The key is not ed25519 as PKCS#8 or 32 bytes.
    #[error("not an ed25519 key as PKCS#8 or 32 bytes: {0}")]
    Key(&'static str),
    /// Text that should be PEM is not.
    #[error("no {0} in PEM where one should be")]
    Pem(&'static str),
    /// There is no certificate, or too many lead to the root.
    #[error("a chain has 1 to {MAX_CHAIN} certificates, this one has {0}")]
    ChainLength(usize),
    /// A certificate cannot be used.
    #[error("the certificate {0}")]
    Certificate(String),
    /// The certificate is for another key than this identity's.
    #[error("the certificate is for another key")]
    OtherKey,
    /// Nobody is in so many clusters.
    #[error("a node is in at most {MAX_CLUSTERS} clusters")]
    TooManyClusters,
    /// The profile's signature over the key does not hold.
    #[error("the profile's signature over this key does not hold")]
    Endorsement,
}

impl Identity {
    /// The identity of an ed25519 key: its 32 bytes, or PKCS#8 (version 1 or 2) in DER.
    ///
    /// # Errors
    /// [`IdentityError::Key`].
    pub fn new(key: &[u8]) -> Result<Self, IdentityError> {
        let key = key::parse(key).map_err(IdentityError::Key)?;
        Ok(Self {
            inner: Arc::new(Inner {
                node: NodeId::of_key(&key.verifying_key().to_bytes()),
                key,
                held: Mutex::default(),
                endorsement: Mutex::default(),
                clock: Mutex::new(Arc::new(SystemTime::now)),
            }),
        })
    }

    /// The same from files as other tools write them: a private key, a chain that begins with its certificate, and
    /// the authority's certificate.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn from_pem(key: &str, chain: &str, root: &str) -> Result<Self, IdentityError> {
        let key = PrivatePkcs8KeyDer::from_pem_slice(key.as_bytes()).map_err(|_| IdentityError::Pem("private key"))?;
        let certificates = |text: &str| -> Result<Vec<Vec<u8>>, IdentityError> {
            CertificateDer::pem_slice_iter(text.as_bytes())
                .map(|der| {
                    der.map(|der| der.to_vec())
                        .map_err(|_| IdentityError::Pem("certificate"))
                })
                .collect()
        };
        let root = certificates(root)?.into_iter().next();
        let identity = Self::new(key.secret_pkcs8_der())?;
        identity.add(Credential {
            chain: certificates(chain)?,
            root: root.ok_or(IdentityError::Pem("certificate"))?,
        })?;
        Ok(identity)
    }

    /// The id of the node that has this identity: a hash of its public key.
    pub fn node_id(&self) -> NodeId {
        self.inner.node
    }

    /// The public key, as whoever issues certificates or endorses it needs it.
    pub fn public_key(&self) -> [u8; 32] {
        self.inner.key.verifying_key().to_bytes()
    }

    /// Adds what makes this node one of a cluster, or takes the place of what was there for that cluster: new
    /// connections use it, those that stand go on. A certificate that has expired is taken, too: nodes that
    /// have this one in a group's view still accept it.
    ///
    /// # Errors
    /// [`IdentityError`], and the identity is as it was.
    pub fn add(&self, credential: Credential) -> Result<(), IdentityError> {
        let Credential { chain, root } = credential;
        if !(1..=MAX_CHAIN).contains(&chain.len()) {
            return Err(IdentityError::ChainLength(chain.len()));
        }
        let fault = |fault: Fault| IdentityError::Certificate(fault.to_string());
        let chain: Vec<CertificateDer<'static>> = chain.into_iter().map(CertificateDer::from).collect();
        let anchor = Anchor::of(&CertificateDer::from(root)).map_err(fault)?;
        let card = Card::read(&chain[0]).map_err(fault)?;
        if card.key != self.public_key() {
            return Err(IdentityError::OtherKey);
        }
        let now = card.in_its_time(self.now());
        for role in [Use::Client, Use::Server] {
            card.verify((&chain[0], &chain[1..]), &anchor, role, now)
                .map_err(fault)?;
        }
        let key = key::for_tls(&self.inner.key).map_err(IdentityError::Key)?;
        let certified = Arc::new(CertifiedKey::new(chain, key));
        let mut held = self.held();
        if held.len() >= MAX_CLUSTERS && !held.contains_key(&card.cluster) {
            return Err(IdentityError::TooManyClusters);
        }
        let credential = Held {
            card,
            certified,
            anchor,
        };
        held.insert(credential.card.cluster.clone(), Arc::new(credential));
        Ok(())
    }

    /// Shows others who is behind this process: a long-lived profile key, and its signature over this identity's key
    /// (see [`Profile::endorses`] for what is signed). Links made from now on tell it.
    ///
    /// # Errors
    /// [`IdentityError::Endorsement`] if the signature does not hold, and the identity is as it was.
    pub fn endorsed_by(&self, profile: [u8; 32], signature: [u8; 64]) -> Result<(), IdentityError> {
        let endorsement = Endorsement::new(profile, signature);
        endorsement
            .verify(&self.public_key())
            .ok_or(IdentityError::Endorsement)?;
        *lock(&self.inner.endorsement) = Some(endorsement);
        Ok(())
    }

    /// Takes the time, by which certificates expire, from somewhere else than the system's clock. For tests.
    pub fn with_clock(self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        *lock(&self.inner.clock) = Arc::new(clock);
        self
    }

    pub(crate) fn now(&self) -> SystemTime {
        let clock = lock(&self.inner.clock).clone();
        clock()
    }

    pub(crate) fn endorsement(&self) -> Option<Endorsement> {
        lock(&self.inner.endorsement).clone()
    }

    /// The credentials, by cluster.
    /// The profile that stands behind this identity, if one does.
    pub fn profile(&self) -> Option<Profile> {
        self.endorsement()?.verify(&self.public_key())
    }

    pub(crate) fn credentials(&self) -> Vec<Arc<Held>> {
        self.held().values().cloned().collect()
    }

    pub(crate) fn credential(&self, cluster: &str) -> Option<Arc<Held>> {
        self.held().get(cluster).cloned()
    }

    /// What this node's own messages are to be signed with.
    #[allow(dead_code, reason = "signed streams take it")]
    pub(crate) fn signer(&self) -> &SigningKey {
        &self.inner.key
    }

    fn held(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Arc<Held>>> {
        lock(&self.inner.held)
    }
}

impl fmt::Debug for Identity {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clusters: Vec<String> = self.held().keys().cloned().collect();
        f.debug_struct("Identity")
            .field("node", &self.inner.node)
            .field("clusters", &clusters)
            .finish_non_exhaustive()
    }
}

/// What is locked here is never left half-done.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Anchor {
    /// What a root certificate vouches for.
    pub(crate) fn of(root: &CertificateDer<'_>) -> Result<Self, Fault> {
        let anchor: TrustAnchor<'static> = webpki::anchor_from_trusted_cert(root)
            .map_err(|_| Fault::Malformed)?
            .to_owned();
        Ok(Self {
            cluster: card::cluster_of(root),
            anchor,
        })
    }
}
