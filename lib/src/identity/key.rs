//! Keys, as they are given and as TLS takes them.

use std::sync::Arc;

use ed25519_dalek::{SECRET_KEY_LENGTH, SigningKey};
use rustls::pki_types::PrivatePkcs8KeyDer;

/// Between length and version, and the 32 bytes of the key: its algorithm, and that there follow 32 bytes (RFC 8410).
const ALGORITHM: [u8; 11] = [0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
/// Where the public key follows, as the standard has it and as some libraries write it.
const PUBLIC: [&[u8]; 2] = [&[0x81, 0x21, 0x00], &[0xa1, 0x23, 0x03, 0x21, 0x00]];

/// Takes 32 bytes, or PKCS#8 with or without the public key.
pub(super) fn parse(bytes: &[u8]) -> Result<SigningKey, &'static str> {
    if let Ok(seed) = <[u8; SECRET_KEY_LENGTH]>::try_from(bytes) {
        return Ok(SigningKey::from_bytes(&seed));
    }
    let [0x30, length, 0x02, 0x01, version @ (0 | 1), rest @ ..] = bytes else {
        return Err("neither 32 bytes nor PKCS#8");
    };
    if usize::from(*length) != bytes.len() - 2 {
        return Err("its length is wrong");
    }
    let rest = rest.strip_prefix(&ALGORITHM).ok_or("of another algorithm")?;
    let (seed, rest) = rest.split_first_chunk::<SECRET_KEY_LENGTH>().ok_or("too short")?;
    let key = SigningKey::from_bytes(seed);
    match (version, PUBLIC.iter().find_map(|prefix| rest.strip_prefix(*prefix))) {
        (0, None) if rest.is_empty() => Ok(key),
        (1, Some(public)) if public == key.verifying_key().as_bytes() => Ok(key),
        (1, Some(_)) => Err("its public half is of another key"),
        _ => Err("something else follows the key"),
    }
}

/// The key as rustls signs with it.
pub(super) fn for_tls(key: &SigningKey) -> Result<Arc<dyn rustls::sign::SigningKey>, &'static str> {
    let der = [&[0x30, 0x2e, 0x02, 0x01, 0x00][..], &ALGORITHM, key.as_bytes()].concat();
    rustls::crypto::ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(der)).map_err(|_| "the provider refuses it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_usual_form_of_a_key_is_read_and_no_other() {
        let seed = [9; 32];
        let key = SigningKey::from_bytes(&seed);
        let public = key.verifying_key().to_bytes();
        let one = [&[0x30, 0x2e, 0x02, 0x01, 0x00][..], &ALGORITHM, &seed].concat();
        let two = [
            &[0x30, 0x51, 0x02, 0x01, 0x01][..],
            &ALGORITHM,
            &seed,
            PUBLIC[0],
            &public,
        ]
        .concat();
        let ring = [
            &[0x30, 0x53, 0x02, 0x01, 0x01][..],
            &ALGORITHM,
            &seed,
            PUBLIC[1],
            &public,
        ]
        .concat();
        for form in [&seed[..], &one, &two, &ring] {
            assert_eq!(parse(form).as_ref(), Ok(&key), "{form:02x?}");
        }
        let generated = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
        let parsed = parse(&generated.serialize_der()).expect("the form that rcgen writes");
        assert_eq!(&parsed.verifying_key().to_bytes()[..], generated.public_key_raw());
        let mut other = two.clone();
        *other.last_mut().expect("not empty") ^= 1;
        assert!(parse(&other).is_err());
        for length in 0..two.len() {
            assert_eq!(parse(&two[..length]).is_ok(), length == 32, "the first {length} bytes");
        }
        assert!(parse(&[&one[..], &[0]].concat()).is_err());
    }
}
