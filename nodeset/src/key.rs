//! Keys: of a process, new at every start, and of a profile, kept. Both are ed25519.

use std::fmt;
use std::path::Path;

use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

use crate::peer::PeerId;
use crate::private::{self, PrivateError};

/// First bytes of a profile key's file.
const PROFILE_MAGIC: &[u8; 8] = b"nsprof01";
/// What a node id is the hash of, apart from the key.
const NODE_ID: &str = "nodeset 2026-11 node id of an ed25519 public key";
/// What a profile's fingerprint is the hash of, apart from the key.
const PROFILE_FINGERPRINT: &str = "nodeset 2026-11 profile fingerprint";
/// What a profile says when it signs a process key.
const ENDORSES: &[u8] = b"nodeset 2026-11 profile endorses process key\0";

/// The id of the node whose public key this is: nobody can claim the id of another's key.
pub fn node_id(public: &[u8; 32]) -> PeerId {
    let mut id = [0; 16];
    id.copy_from_slice(&blake3::derive_key(NODE_ID, public)[..16]);
    PeerId::from_bytes(id)
}

/// What people see of a profile: 16 hexadecimal digits of a hash of its public key.
pub fn profile_fingerprint(public: &[u8; 32]) -> String {
    hex(&blake3::derive_key(PROFILE_FINGERPRINT, public)[..8])
}

/// The key of one process.
pub struct ProcessKey(Pair);

impl ProcessKey {
    /// A new one.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn generate() -> Result<Self, KeyError> {
        Pair::generate().map(Self)
    }

    /// The one with this PKCS#8 (version 1 or 2) form.
    ///
    /// # Errors
    /// It is not an ed25519 key.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, KeyError> {
        Pair::from_pkcs8(pkcs8.to_vec()).map(Self)
    }

    /// Its PKCS#8 form, secret.
    pub fn pkcs8(&self) -> &[u8] {
        &self.0.pkcs8
    }

    /// Its public half.
    pub fn public(&self) -> [u8; 32] {
        self.0.public()
    }

    /// The id that this process has as a node.
    pub fn node(&self) -> PeerId {
        node_id(&self.public())
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Signature {
        self.0.sign(message)
    }
}

impl fmt::Debug for ProcessKey {
    /// A secret does not belong into a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ProcessKey").field(&self.node()).finish()
    }
}

/// The key of a profile: who somebody is, over restarts.
pub struct ProfileKey(Pair);

impl ProfileKey {
    /// The one in this file, which is made with a new key if it is not there: for its owner alone
    /// (0600), whole or not at all.
    ///
    /// # Errors
    /// See [`KeyError`]. An existing file is never changed.
    pub fn open(path: &Path) -> Result<Self, KeyError> {
        if let Some(dir) = path.parent() {
            private::ensure_dir(dir)?;
        }
        if let Some(key) = Self::read(path)? {
            return Ok(key);
        }
        // Two processes may start at one instant, and must end up with one key.
        let _lock = private::lock(&path.with_extension("lock"))?;
        if let Some(key) = Self::read(path)? {
            return Ok(key);
        }
        let key = Self::generate()?;
        private::replace(path, &private::seal(PROFILE_MAGIC, &key.0.pkcs8))?;
        Ok(key)
    }

    /// A new one that is kept nowhere.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn generate() -> Result<Self, KeyError> {
        Pair::generate().map(Self)
    }

    /// Its PKCS#8 form, secret.
    pub fn pkcs8(&self) -> &[u8] {
        &self.0.pkcs8
    }

    /// Its public half.
    pub fn public(&self) -> [u8; 32] {
        self.0.public()
    }

    /// What people see of it.
    pub fn fingerprint(&self) -> String {
        profile_fingerprint(&self.public())
    }

    /// The signature by which this profile vouches for a process key.
    pub fn endorse(&self, process: &[u8; 32]) -> [u8; 64] {
        self.sign(&[ENDORSES, process].concat()).to_bytes()
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Signature {
        self.0.sign(message)
    }

    fn read(path: &Path) -> Result<Option<Self>, KeyError> {
        let Some(bytes) = private::read(path)? else {
            return Ok(None);
        };
        let damaged = || private::damaged(path, "it holds no profile key");
        let pkcs8 = private::unseal(PROFILE_MAGIC, &bytes).ok_or_else(damaged)?;
        let pair = Pair::from_pkcs8(pkcs8.to_vec()).map_err(|_| damaged())?;
        Ok(Some(Self(pair)))
    }
}

impl fmt::Debug for ProfileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ProfileKey").field(&self.fingerprint()).finish()
    }
}

/// Why there is no key. No file was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The system has no randomness to give.
    #[error("the system gives no randomness for a key")]
    Entropy,
    /// The bytes are no ed25519 key.
    #[error("this is not an ed25519 key in PKCS#8 form")]
    NotAKey,
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] PrivateError),
}

pub(crate) struct Pair {
    pub(crate) pkcs8: Vec<u8>,
    pair: Ed25519KeyPair,
}

impl Pair {
    pub(crate) fn generate() -> Result<Self, KeyError> {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| KeyError::Entropy)?;
        Self::from_pkcs8(pkcs8.as_ref().to_vec())
    }

    pub(crate) fn from_pkcs8(pkcs8: Vec<u8>) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&pkcs8).map_err(|_| KeyError::NotAKey)?;
        Ok(Self { pkcs8, pair })
    }

    pub(crate) fn public_ref(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    pub(crate) fn public(&self) -> [u8; 32] {
        let mut public = [0; 32];
        public.copy_from_slice(self.public_ref());
        public
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Signature {
        let (mut r, mut s) = ([0; 32], [0; 32]);
        let signature = self.pair.sign(message);
        r.copy_from_slice(&signature.as_ref()[..32]);
        s.copy_from_slice(&signature.as_ref()[32..]);
        Signature(r, s)
    }
}

/// An ed25519 signature, in halves that serde can take.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Signature(pub [u8; 32], pub [u8; 32]);

impl Signature {
    /// Both halves.
    pub fn to_bytes(&self) -> [u8; 64] {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&self.0);
        bytes[32..].copy_from_slice(&self.1);
        bytes
    }

    /// Whether the holder of `public` signed `message`.
    pub(crate) fn verifies(&self, public: &[u8; 32], message: &[u8]) -> bool {
        let public = UnparsedPublicKey::new(&ED25519, public);
        public.verify(message, &self.to_bytes()).is_ok()
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signature(..)")
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `multicast` computes the same on its own, and pins the same.
    #[test]
    fn a_node_id_is_the_hash_of_a_key() {
        assert_eq!(node_id(&[7; 32]).to_string(), "c15f421c11f6d9592fcb0bc32322378c");
    }

    #[test]
    fn keys_sign_and_others_do_not() {
        let (one, two) = (
            ProcessKey::generate().expect("a key"),
            ProfileKey::generate().expect("a key"),
        );
        let signature = one.sign(b"a message");
        assert!(signature.verifies(&one.public(), b"a message"));
        assert!(!signature.verifies(&one.public(), b"another"));
        assert!(!signature.verifies(&two.public(), b"a message"));
        let again = ProcessKey::from_pkcs8(one.pkcs8()).expect("a key");
        assert_eq!((again.public(), again.node()), (one.public(), one.node()));
        assert!(ProcessKey::from_pkcs8(b"no key").is_err());
        let endorsed = [ENDORSES, &one.public()[..]].concat();
        let (r, s) = two
            .endorse(&one.public())
            .split_first_chunk::<32>()
            .map(|(r, s)| (*r, s.to_vec()))
            .expect("64");
        let signature = Signature(r, s.try_into().expect("32"));
        assert!(signature.verifies(&two.public(), &endorsed));
    }

    #[test]
    fn a_profile_key_is_made_once() {
        let dir = std::env::temp_dir().join(format!("nodeset-profile-{}", std::process::id()));
        let path = dir.join("profile.key");
        let all: Vec<_> = std::thread::scope(|scope| {
            let open = || ProfileKey::open(&path).expect("opened").public();
            let threads: Vec<_> = (0..6).map(|_| scope.spawn(open)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("no panic"))
                .collect()
        });
        assert!(all.iter().all(|public| *public == all[0]));
        std::fs::write(&path, b"something else").expect("written");
        let refused = ProfileKey::open(&path).expect_err("no key").to_string();
        assert!(refused.contains("damaged"), "{refused}");
        std::fs::remove_dir_all(dir).expect("removed");
    }
}
