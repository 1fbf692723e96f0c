//! How somebody proves something over one TLS connection without saying it: everything is bound
//! to the connection's exported key, so what was proved there is worth nothing anywhere else.

use ring::digest::{SHA256, digest};
use ring::hmac;

use crate::key::{ProcessKey, ProfileKey, Signature};

/// Label of the key that is exported from TLS (RFC 8446, section 7.5).
pub(crate) const EXPORTER_LABEL: &[u8] = b"EXPORTER-nodeset-enrol";
const LOCAL: &[u8] = b"nodeset 2026-11 proof of the local secret\0";
const INVITED: &[u8] = b"nodeset 2026-11 proof of an invite\0";
const INVITE_KEY: &[u8] = b"nodeset 2026-11 key of an invite\0";
const INVITE_ID: &[u8] = b"nodeset 2026-11 id of an invite\0";
const POSSESSION: &[u8] = b"nodeset 2026-11 possession of a process key\0";
const PROFILE: &[u8] = b"nodeset 2026-11 proof of a profile\0";
/// Who proves. The registry has nothing to prove this way: its certificate does it.
const CLIENT: &[u8] = b"client";

/// The key exported from one TLS connection, known to its two ends only.
#[derive(Clone, Copy)]
pub(crate) struct Exported(pub(crate) [u8; 32]);

impl Exported {
    /// Proof of the secret that a registry published for its user.
    pub(crate) fn local(&self, secret: &[u8; 32]) -> [u8; 32] {
        mac(secret, &[LOCAL, &self.0, CLIENT])
    }

    pub(crate) fn is_local(&self, secret: &[u8; 32], proof: &[u8; 32]) -> bool {
        let message = [LOCAL, &self.0, CLIENT].concat();
        hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, secret), &message, proof).is_ok()
    }

    /// Proof of an invite's secret, as SCRAM (RFC 5802) has it: the registry, which keeps only a
    /// hash, can check it, and what it keeps is of no use to make one.
    pub(crate) fn invited(&self, secret: &[u8; 16]) -> [u8; 32] {
        let key = invite_key(secret);
        xor(&key, &mac(&hash_of(&key), &[INVITED, &self.0, CLIENT]))
    }

    pub(crate) fn is_invited(&self, kept: &[u8; 32], proof: &[u8; 32]) -> bool {
        let key = xor(proof, &mac(kept, &[INVITED, &self.0, CLIENT]));
        hash_of(&key) == *kept // of hashes: the time that this takes tells nothing of use
    }

    /// Proof that this end has the process key, and means this name.
    pub(crate) fn possession(&self, key: &ProcessKey, name: &str) -> Signature {
        key.sign(&[POSSESSION, &self.0, name.as_bytes()].concat())
    }

    pub(crate) fn is_possession(&self, public: &[u8; 32], name: &str, proof: &Signature) -> bool {
        proof.verifies(public, &[POSSESSION, &self.0, name.as_bytes()].concat())
    }

    /// Proof that this end has the profile key.
    pub(crate) fn profile(&self, key: &ProfileKey) -> Signature {
        key.sign(&[PROFILE, &self.0].concat())
    }

    pub(crate) fn is_profile(&self, public: &[u8; 32], proof: &Signature) -> bool {
        proof.verifies(public, &[PROFILE, &self.0].concat())
    }
}

/// What a registry keeps of an invite's secret.
pub(crate) fn kept_of_invite(secret: &[u8; 16]) -> [u8; 32] {
    hash_of(&invite_key(secret))
}

/// The name of an invite: says nothing about its secret, not even to who may guess.
pub(crate) fn id_of_invite(kept: &[u8; 32]) -> [u8; 8] {
    let mut id = [0; 8];
    id.copy_from_slice(&hash_of(&[INVITE_ID, kept].concat())[..8]);
    id
}

fn invite_key(secret: &[u8; 16]) -> [u8; 32] {
    mac(secret, &[INVITE_KEY])
}

fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    parts.iter().for_each(|part| context.update(part));
    let mut mac = [0; 32];
    mac.copy_from_slice(context.sign().as_ref());
    mac
}

fn hash_of(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

fn xor(one: &[u8; 32], two: &[u8; 32]) -> [u8; 32] {
    std::array::from_fn(|at| one[at] ^ two[at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_good_on_its_own_connection_only() {
        let (here, elsewhere) = (Exported([1; 32]), Exported([2; 32]));
        let local = here.local(&[7; 32]);
        assert!(here.is_local(&[7; 32], &local));
        assert!(!here.is_local(&[8; 32], &local));
        assert!(!elsewhere.is_local(&[7; 32], &local));

        let (secret, kept) = ([5; 16], kept_of_invite(&[5; 16]));
        let invited = here.invited(&secret);
        assert!(here.is_invited(&kept, &invited));
        assert!(!elsewhere.is_invited(&kept, &invited));
        assert!(!here.is_invited(&kept_of_invite(&[6; 16]), &invited));
        // What the registry keeps does not help to make a proof.
        let forged = mac(&kept, &[INVITED, &here.0, CLIENT]);
        assert!(!here.is_invited(&kept, &forged));
        assert!(!here.is_invited(&kept, &xor(&kept, &forged)));

        let (process, profile) = (
            ProcessKey::generate().expect("a key"),
            ProfileKey::generate().expect("a key"),
        );
        let possession = here.possession(&process, "ana");
        assert!(here.is_possession(&process.public(), "ana", &possession));
        assert!(!here.is_possession(&process.public(), "bob", &possession));
        assert!(!elsewhere.is_possession(&process.public(), "ana", &possession));
        let signed = here.profile(&profile);
        assert!(here.is_profile(&profile.public(), &signed));
        assert!(!elsewhere.is_profile(&profile.public(), &signed));
    }
}
