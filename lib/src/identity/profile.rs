//! Profiles: long-lived keys that sign the keys of processes.

use std::fmt;

use ed25519_dalek::{Signature, VerifyingKey};
use serde::{Deserialize, Serialize};

/// What is signed begins with this, so that it can be taken for nothing else, and a 0.
const DOMAIN: &[u8] = b"nodeset 2026-11 profile endorses process key\0";
/// What fingerprints are derived in.
const CONTEXT: &str = "nodeset 2026-11 profile fingerprint";

/// A long-lived key that somebody keeps over many process runs, and that has signed the key of one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Profile {
    key: [u8; 32],
}

impl Profile {
    /// What a profile's key signs, to endorse the process with that public key.
    pub fn endorses(process: &[u8; 32]) -> Vec<u8> {
        [DOMAIN, process].concat()
    }

    /// The profile with that public key, as somebody names it: that alone proves nothing of anybody.
    pub fn of_key(key: [u8; 32]) -> Self {
        Self { key }
    }

    /// The public key.
    pub fn key(&self) -> [u8; 32] {
        self.key
    }

    /// What people compare: 16 hex digits that follow from the key.
    pub fn fingerprint(&self) -> String {
        let hash = blake3::derive_key(CONTEXT, &self.key);
        hash[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Profile({})", self.fingerprint())
    }
}

/// An endorsement as it travels: it proves nothing before it is verified.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Endorsement {
    profile: [u8; 32],
    signature: [[u8; 32]; 2],
}

impl Endorsement {
    pub(super) fn new(profile: [u8; 32], signature: [u8; 64]) -> Self {
        let (mut r, mut s) = ([0; 32], [0; 32]);
        r.copy_from_slice(&signature[..32]);
        s.copy_from_slice(&signature[32..]);
        Self {
            profile,
            signature: [r, s],
        }
    }

    /// Whose it is, if it is for this process.
    pub(crate) fn verify(&self, process: &[u8; 32]) -> Option<Profile> {
        let key = VerifyingKey::from_bytes(&self.profile).ok()?;
        let signature = Signature::from_components(self.signature[0], self.signature[1]);
        key.verify_strict(&Profile::endorses(process), &signature).ok()?;
        Some(Profile { key: self.profile })
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer, SigningKey};

    use super::*;
    use crate::identity::{Identity, IdentityError};

    #[test]
    fn a_profile_endorses_one_key_and_no_other() {
        let identity = Identity::new(&[1; 32]).expect("a key");
        let profile = SigningKey::from_bytes(&[2; 32]);
        let sign = |key: &[u8; 32]| profile.sign(&Profile::endorses(key)).to_bytes();
        let public = profile.verifying_key().to_bytes();
        let refused = identity.endorsed_by(public, sign(&[3; 32]));
        assert_eq!(refused, Err(IdentityError::Endorsement));
        assert!(identity.endorsement().is_none());
        identity
            .endorsed_by(public, sign(&identity.public_key()))
            .expect("its own key");
        let shown = identity.endorsement().expect("added").verify(&identity.public_key());
        let shown = shown.expect("it holds");
        assert_eq!((shown.key(), shown.fingerprint().len()), (public, 16));
    }

    /// A key of small order verifies signatures over anything, unless one looks.
    #[test]
    fn a_weak_profile_key_endorses_nothing() {
        let identity = Identity::new(&[1; 32]).expect("a key");
        let (mut neutral, mut signature) = ([0; 32], [0; 64]);
        (neutral[0], signature[0]) = (1, 1);
        let refused = identity.endorsed_by(neutral, signature);
        assert_eq!(refused, Err(IdentityError::Endorsement));
    }
}
