//! One string that lets somebody in: whom to trust, a secret, and where to go.
//!
//! ```text
//! nodeset1 (version) ‖ base32 (Crockford's) of:
//!     16 bytes  of the SHA-256 of the authority's certificate
//!     16 bytes  secret
//!      n bytes  address, as text
//!      4 bytes  checksum: a mistyped invite is recognised before anything is sent
//! ```
//!
//! Case does not matter, nor do spaces and hyphens; `o`, `i` and `l` are read as what they look
//! like. The registry never learns the secret, and keeps only a hash of a hash of it.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use data_encoding::{Encoding, Specification};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use crate::key::{KeyError, hex};
use crate::proof::{id_of_invite, kept_of_invite};

/// What an invite begins with: what it is, and the version of its form.
const PREFIX: &str = "nodeset1";
/// Longest address in an invite: a host name has at most 253 characters, a port 5.
pub const INVITE_ADDR_MAX_BYTES: usize = 259;
/// Bytes of the fingerprint: as many as the secret has, so that neither is the weaker half.
const FINGERPRINT_BYTES: usize = 16;
const SECRET_BYTES: usize = 16;
const CHECKSUM_BYTES: usize = 4;

/// Crockford's base32: no letter looks like a digit, and it is safe in a shell and in a chat.
static BASE32: LazyLock<Option<Encoding>> = LazyLock::new(|| {
    let mut base32 = Specification::new();
    base32.symbols.push_str("0123456789abcdefghjkmnpqrstvwxyz");
    base32.translate.from.push_str("ABCDEFGHJKMNPQRSTVWXYZoOiIlL");
    base32.translate.to.push_str("abcdefghjkmnpqrstvwxyz001111");
    base32.ignore.push_str(" -\t\r\n");
    base32.encoding().ok() // the test below makes one
});

/// An invite. Its text is a secret until it is used up.
#[derive(Clone, PartialEq, Eq)]
pub struct Invite {
    fingerprint: [u8; FINGERPRINT_BYTES],
    secret: [u8; SECRET_BYTES],
    addr: String,
}

impl Invite {
    /// A new invite to the registry of the authority with this fingerprint.
    pub(crate) fn generate(fingerprint: &[u8; 32], addr: &str) -> Result<Self, InviteError> {
        if addr.is_empty() || addr.len() > INVITE_ADDR_MAX_BYTES || addr.contains(char::is_whitespace) {
            return Err(InviteError::Address);
        }
        let mut secret = [0; SECRET_BYTES];
        getrandom::fill(&mut secret).map_err(|_| KeyError::Entropy)?;
        let mut pinned = [0; FINGERPRINT_BYTES];
        pinned.copy_from_slice(&fingerprint[..FINGERPRINT_BYTES]);
        Ok(Self {
            fingerprint: pinned,
            secret,
            addr: addr.to_owned(),
        })
    }

    /// Where the registry is, as `host:port`.
    pub fn addr(&self) -> &str {
        &self.addr
    }

    /// What the registry calls it. Not secret.
    pub fn id(&self) -> InviteId {
        InviteId(id_of_invite(&self.kept()))
    }

    /// What the registry keeps of it.
    pub(crate) fn kept(&self) -> [u8; 32] {
        kept_of_invite(&self.secret)
    }

    pub(crate) fn secret(&self) -> &[u8; SECRET_BYTES] {
        &self.secret
    }

    /// Whether it is of the authority with this fingerprint.
    pub(crate) fn pins(&self, fingerprint: &[u8; 32]) -> bool {
        fingerprint[..FINGERPRINT_BYTES] == self.fingerprint
    }
}

impl fmt::Display for Invite {
    /// The string to give away. Whoever reads it can use it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [&self.fingerprint[..], &self.secret, self.addr.as_bytes()].concat();
        bytes.extend_from_slice(&checksum(&bytes));
        let base32 = BASE32.as_ref().ok_or(fmt::Error)?;
        write!(f, "{PREFIX}{}", base32.encode(&bytes))
    }
}

impl fmt::Debug for Invite {
    /// A secret does not belong into a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Invite({} at {:?})", self.id(), self.addr)
    }
}

impl FromStr for Invite {
    type Err = InviteError;

    fn from_str(text: &str) -> Result<Self, InviteError> {
        let text = text.trim();
        let (prefix, body) = text.split_at_checked(PREFIX.len()).ok_or(InviteError::NotAnInvite)?;
        if !prefix.eq_ignore_ascii_case(PREFIX) {
            return Err(InviteError::NotAnInvite);
        }
        let base32 = BASE32.as_ref().ok_or(InviteError::Mistyped)?;
        let bytes = base32.decode(body.as_bytes()).map_err(|_| InviteError::Mistyped)?;
        let split = bytes.split_last_chunk::<CHECKSUM_BYTES>();
        let (content, sum) = split.ok_or(InviteError::Mistyped)?;
        if *sum != checksum(content) {
            return Err(InviteError::Mistyped);
        }
        let fields = content.split_first_chunk().and_then(|(fingerprint, rest)| {
            let (secret, addr) = rest.split_first_chunk()?;
            Some((*fingerprint, *secret, str::from_utf8(addr).ok()?.to_owned()))
        });
        let (fingerprint, secret, addr) = fields.ok_or(InviteError::Mistyped)?;
        if addr.is_empty() || addr.len() > INVITE_ADDR_MAX_BYTES {
            return Err(InviteError::Address);
        }
        Ok(Self {
            fingerprint,
            secret,
            addr,
        })
    }
}

fn checksum(content: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut sum = [0; CHECKSUM_BYTES];
    let all = [PREFIX.as_bytes(), content].concat();
    sum.copy_from_slice(&digest(&SHA256, &all).as_ref()[..CHECKSUM_BYTES]);
    sum
}

/// What a registry calls an invite: 16 hexadecimal digits. Says nothing about the secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InviteId(pub [u8; 8]);

impl fmt::Display for InviteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for InviteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InviteId({self})")
    }
}

impl FromStr for InviteId {
    type Err = InviteError;

    /// Exactly 16 hexadecimal digits.
    fn from_str(text: &str) -> Result<Self, InviteError> {
        let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let id = digits.then(|| u64::from_str_radix(text, 16).ok()).flatten();
        id.map(|id| Self(id.to_be_bytes())).ok_or(InviteError::NotAnId)
    }
}

/// What is wrong with the text of an invite. Nothing was sent anywhere.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InviteError {
    /// It does not begin as an invite does.
    #[error("this is not an invite: one begins with \"nodeset1\" and is printed by `nodesetd invite`")]
    NotAnInvite,
    /// A character is wrong or missing.
    #[error("the invite is mistyped or not complete: copy it again, the whole of it")]
    Mistyped,
    /// It has no address that fits.
    #[error("the address of an invite is HOST:PORT without spaces, at most {INVITE_ADDR_MAX_BYTES} bytes")]
    Address,
    /// Not the id of an invite.
    #[error("the id of an invite is 16 hexadecimal digits, as `nodesetd invite --list` prints them")]
    NotAnId,
    /// No randomness for a secret.
    #[error(transparent)]
    Key(#[from] KeyError),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invite() -> Invite {
        Invite::generate(&[0xab; 32], "registry.example:7420").expect("made")
    }

    #[test]
    fn it_survives_people() {
        let invite = invite();
        let text = invite.to_string();
        assert!(text.starts_with("nodeset1"), "{text}");
        assert!(
            text.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        );
        let shouted = text.to_uppercase();
        let (prefix, body) = text.split_at(PREFIX.len());
        let spaced = format!("  {prefix}-{} {}\n", &body[..20], &body[20..]);
        let confused = format!("{prefix}{}", body.replace('0', "o").replace('1', "l"));
        for text in [&text, &shouted, &spaced, &confused] {
            assert_eq!(text.parse::<Invite>().expect("reads"), invite, "{text}");
        }
        assert!(invite.pins(&[0xab; 32]) && !invite.pins(&[0xac; 32]));
        assert_eq!(invite.id().to_string().parse::<InviteId>().expect("an id"), invite.id());
        assert!(!format!("{invite:?}").contains(&hex(invite.secret())));
    }

    #[test]
    fn every_single_mistake_is_noticed() {
        let text = invite().to_string();
        for at in PREFIX.len()..text.len() {
            for instead in ["0", "z", ""] {
                let wrong = format!("{}{instead}{}", &text[..at], &text[at + 1..]);
                if wrong != text {
                    let error = wrong.parse::<Invite>().expect_err("mistyped");
                    assert!(matches!(error, InviteError::Mistyped), "{wrong}: {error}");
                }
            }
            let mut swapped = text.clone().into_bytes();
            if at + 1 < swapped.len() && swapped[at] != swapped[at + 1] {
                swapped.swap(at, at + 1);
                let swapped = String::from_utf8(swapped).expect("ASCII");
                assert!(swapped.parse::<Invite>().is_err(), "{swapped}");
            }
        }
        for no_invite in ["", "nodeset", "hello there", "nodeset2abc", "ñodeset1"] {
            let error = no_invite.parse::<Invite>().expect_err("no invite");
            assert!(matches!(error, InviteError::NotAnInvite), "{no_invite}: {error}");
        }
    }

    #[test]
    fn only_addresses_fit() {
        for addr in ["", "two words:1", &"x".repeat(260)] {
            assert!(matches!(Invite::generate(&[0; 32], addr), Err(InviteError::Address)));
        }
    }
}
