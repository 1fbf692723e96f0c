//! Keys: who may speak as a member, and how what it signs is checked.

use std::fmt;
use std::hash::{Hash, Hasher};

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::chain::Head;
use crate::id::{GroupId, MemberId, NodeId};

/// A node's id is the hash of its key under this context, so that nobody can claim another's.
const NODE_ID: &str = "nodeset 2026-11 node id of an ed25519 public key";
/// What a signature is for: no other bytes that the same key may ever sign begin like this.
const DOMAIN: &[u8] = b"multicast 2026-11 head of a chain of messages\0";

/// 64 bytes of a signature.
pub(crate) type Bytes64 = [u8; 64];

/// Who signs: enough to check whose key it is. Travels with whatever is signed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Key {
    /// The public key of the process.
    pub public: [u8; 32],
    /// Which of the process' joins of the group this is, from 0.
    pub join: u64,
}

/// What a member signs its messages with, in one group.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Signer {
    group: GroupId,
    key: Key,
    secret: Secret,
}

#[derive(Clone, PartialEq, Eq)]
enum Secret {
    Ed25519(Box<SigningKey>),
    Toy,
}

/// How signatures of a group are made and checked. Never chosen by what arrives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scheme {
    Ed25519,
    /// For simulations, where nobody forges: fast, and secret from nobody.
    Toy,
}

impl NodeId {
    /// The id of the process with that ed25519 public key.
    pub fn of_key(public: &[u8; 32]) -> Self {
        let hash = blake3::derive_key(NODE_ID, public);
        Self(hash[..16].try_into().expect("16 of 32 bytes"))
    }

    /// The id of the process with that secret key.
    #[cfg(feature = "net")]
    pub(crate) fn of_secret(secret: &[u8; 32]) -> Self {
        Self::of_key(&SigningKey::from_bytes(secret).verifying_key().to_bytes())
    }
}

impl Key {
    /// The member of a group that signs with this key.
    pub fn member(&self, group: GroupId) -> MemberId {
        MemberId::of_join(NodeId::of_key(&self.public), group, self.join)
    }

    pub(crate) fn member_by(&self, scheme: Scheme, group: GroupId) -> MemberId {
        match scheme {
            Scheme::Ed25519 => self.member(group),
            Scheme::Toy => MemberId(self.public[..16].try_into().expect("16 of 32 bytes")),
        }
    }
}

impl Signer {
    /// From the secret key of the process, 32 bytes, for its `join`-th join of `group`, from 0.
    pub fn ed25519(secret: &[u8; 32], group: GroupId, join: u64) -> Self {
        let secret = SigningKey::from_bytes(secret);
        let public = secret.verifying_key().to_bytes();
        Self {
            group,
            key: Key { public, join },
            secret: Secret::Ed25519(Box::new(secret)),
        }
    }

    /// For simulations: anybody could sign like this.
    #[doc(hidden)]
    pub fn toy(member: MemberId, group: GroupId) -> Self {
        let mut public = [0; 32];
        public[..16].copy_from_slice(&member.0);
        Self {
            group,
            key: Key { public, join: 0 },
            secret: Secret::Toy,
        }
    }

    /// The public part.
    pub fn key(&self) -> Key {
        self.key
    }

    /// The group that it signs for.
    pub fn group(&self) -> GroupId {
        self.group
    }

    /// The member that signs with it.
    pub fn member(&self) -> MemberId {
        self.key.member_by(self.scheme(), self.group)
    }

    pub(crate) fn scheme(&self) -> Scheme {
        match self.secret {
            Secret::Ed25519(_) => Scheme::Ed25519,
            Secret::Toy => Scheme::Toy,
        }
    }

    /// Signs that the chain of this member's messages has this head at seq `last`. What was signed once must never be
    /// signed otherwise: the caller has made sure that no crash makes it use the seq again.
    pub(crate) fn sign(&self, last: u64, head: &Head) -> Bytes64 {
        let said = said(self.group, self.member(), last, head);
        match &self.secret {
            Secret::Ed25519(secret) => secret.sign(&said).to_bytes(),
            Secret::Toy => toy(&self.key.public, &said),
        }
    }
}

/// Whether the holder of the key signed that its chain has this head at seq `last`. Also that the key is this member's.
pub(crate) fn verify(
    scheme: Scheme,
    (group, member, key): (GroupId, MemberId, &Key),
    last: u64,
    head: &Head,
    signature: &Bytes64,
) -> bool {
    if key.member_by(scheme, group) != member {
        return false;
    }
    let said = said(group, member, last, head);
    match scheme {
        Scheme::Ed25519 => {
            // Strict: one message has one signature that is valid, everywhere and for everyone.
            let key = VerifyingKey::from_bytes(&key.public);
            key.is_ok_and(|key| key.verify_strict(&said, &Signature::from_bytes(signature)).is_ok())
        }
        Scheme::Toy => toy(&key.public, &said) == *signature,
    }
}

fn said(group: GroupId, member: MemberId, last: u64, head: &Head) -> Vec<u8> {
    [DOMAIN, &group.0, &member.0, &last.to_be_bytes(), head].concat()
}

fn toy(public: &[u8; 32], said: &[u8]) -> Bytes64 {
    let mut out = [0; 64];
    out[..32].copy_from_slice(blake3::keyed_hash(public, said).as_bytes());
    out
}

impl Hash for Secret {
    /// Equal secrets have equal public keys, and those are hashed beside it.
    fn hash<H: Hasher>(&self, state: &mut H) {
        matches!(self, Self::Toy).hash(state);
    }
}

impl fmt::Debug for Signer {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("group", &self.group)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_id_is_the_hash_of_its_key() {
        // The registry computes the same on its own: both pin this vector.
        assert_eq!(NodeId::of_key(&[7; 32]).to_string(), "c15f421c11f6d9592fcb0bc32322378c");
    }

    #[test]
    fn a_signature_is_for_one_group_member_seq_and_head() {
        let group = GroupId::named("lobby");
        let signer = Signer::ed25519(&[3; 32], group, 2);
        let (key, member, head) = (signer.key(), signer.member(), [5; 32]);
        let signature = signer.sign(9, &head);
        let good = |group, member, key: &Key, last, head: &Head, signature: &Bytes64| {
            verify(Scheme::Ed25519, (group, member, key), last, head, signature)
        };
        assert!(good(group, member, &key, 9, &head, &signature));
        let other = GroupId::named("other");
        assert!(!good(other, member, &key, 9, &head, &signature));
        assert!(!good(other, key.member(other), &key, 9, &head, &signature));
        let first = Key { join: 0, ..key };
        assert!(!good(group, member, &first, 9, &head, &signature));
        assert!(!good(group, first.member(group), &first, 9, &head, &signature));
        assert!(!good(group, member, &key, 8, &head, &signature));
        assert!(!good(group, member, &key, 9, &[6; 32], &signature));
        let mut bent = signature;
        bent[40] ^= 1;
        assert!(!good(group, member, &key, 9, &head, &bent));
        let another = Signer::ed25519(&[4; 32], group, 2);
        assert!(!good(group, member, &key, 9, &head, &another.sign(9, &head)));
        assert!(!good(group, member, &another.key(), 9, &head, &another.sign(9, &head)));
    }

    #[test]
    fn a_toy_is_no_key_of_a_real_group() {
        let group = GroupId::named("lobby");
        let toy = Signer::toy(MemberId([9; 16]), group);
        let signature = toy.sign(1, &[0; 32]);
        assert!(verify(
            Scheme::Toy,
            (group, toy.member(), &toy.key()),
            1,
            &[0; 32],
            &signature
        ));
        assert!(!verify(
            Scheme::Ed25519,
            (group, toy.member(), &toy.key()),
            1,
            &[0; 32],
            &signature
        ));
    }

    #[test]
    fn small_order_keys_sign_nothing() {
        // The neutral element: without strict verification it "signs" everything.
        let mut public = [0; 32];
        public[0] = 1;
        let key = Key { public, join: 0 };
        let group = GroupId::named("lobby");
        let mut signature = [0; 64];
        signature[0] = 1;
        let member = key.member(group);
        assert!(!verify(Scheme::Ed25519, (group, member, &key), 1, &[1; 32], &signature));
    }
}
