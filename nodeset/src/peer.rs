//! The words every part shares: who a peer is, and what a well-formed registration looks like.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::printable::is_printable;

/// Longest nick, in characters: fits a chat line's margin and a table column.
pub const NICK_MAX_CHARS: usize = 32;
/// Most addresses of one peer: IPv4 and IPv6, on loopback and off it.
pub const ADDRS_MAX: usize = 4;
/// Most rooms of one peer: more than anyone reads at once; bounds the size of a full list.
pub const ROOMS_MAX: usize = 32;
/// Longest room name, in bytes of UTF-8; with [`ROOMS_MAX`] it bounds the size of a full list.
pub const ROOM_MAX_BYTES: usize = 64;

/// A peer's identity: 128 bits, new at every process start of the peer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PeerId([u8; 16]);

impl PeerId {
    /// The id with exactly these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes of this id.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// The first 8 hexadecimal digits, as people see them after the `#`.
    pub fn short(self) -> String {
        self.0[..4].iter().map(|b| format!("{b:02x}")).collect()
    }
}

impl From<u128> for PeerId {
    /// Big endian, so that the hexadecimal forms of both agree.
    fn from(n: u128) -> Self {
        Self(n.to_be_bytes())
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({})", self.short())
    }
}

impl FromStr for PeerId {
    type Err = Malformed;

    /// Exactly 32 hexadecimal digits.
    fn from_str(text: &str) -> Result<Self, Malformed> {
        let hex = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let n = hex.then(|| u128::from_str_radix(text, 16).ok()).flatten();
        n.map(Self::from).ok_or(Malformed::Id)
    }
}

/// What a peer says about itself. Nothing here is checked yet; see [`Registration::check`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Registration {
    /// The peer's identity.
    pub id: PeerId,
    /// The name people see; need not be unique.
    pub nick: String,
    /// Where others can dial it, the preferred address first.
    pub addrs: Vec<SocketAddr>,
    /// The rooms it is in.
    pub rooms: Vec<String>,
}

impl Registration {
    /// A peer with one address and in no room.
    pub fn new(id: PeerId, nick: impl Into<String>, addr: SocketAddr) -> Self {
        Self {
            id,
            nick: nick.into(),
            addrs: vec![addr],
            rooms: Vec::new(),
        }
    }

    /// The same, in these rooms.
    pub fn with_rooms(mut self, rooms: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.rooms = rooms.into_iter().map(Into::into).collect();
        self
    }

    /// Checks every field. The one place where a claim becomes a [`Peer`].
    ///
    /// # Errors
    /// The first thing that is wrong. The registration is consumed and nothing else happens.
    pub fn check(self) -> Result<Peer, Malformed> {
        check_nick(&self.nick)?;
        if self.addrs.is_empty() || self.addrs.len() > ADDRS_MAX {
            return Err(Malformed::AddrCount {
                found: self.addrs.len(),
            });
        }
        if let Some(addr) = self.addrs.iter().find(|a| !can_be_dialled(a)) {
            return Err(Malformed::Addr { addr: *addr });
        }
        if self.rooms.len() > ROOMS_MAX {
            return Err(Malformed::RoomCount {
                found: self.rooms.len(),
            });
        }
        self.rooms.iter().try_for_each(|room| check_room(room))?;
        Ok(Peer(self))
    }
}

pub(crate) fn check_nick(nick: &str) -> Result<(), Malformed> {
    let length = nick.chars().count();
    if !(1..=NICK_MAX_CHARS).contains(&length) {
        return Err(Malformed::NickLength { found: length });
    }
    match nick
        .chars()
        .find(|c| !(c.is_alphanumeric() || matches!(c, '_' | '-' | '.')))
    {
        Some(c) => Err(Malformed::NickCharacter { code: u32::from(c) }),
        None => Ok(()),
    }
}

fn check_room(room: &str) -> Result<(), Malformed> {
    if !(1..=ROOM_MAX_BYTES).contains(&room.len()) {
        return Err(Malformed::RoomLength { found: room.len() });
    }
    match room.chars().find(|c| c.is_whitespace() || !is_printable(*c)) {
        Some(c) => Err(Malformed::RoomCharacter { code: u32::from(c) }),
        None => Ok(()),
    }
}

/// An address that names one host and one port. "Any address" and "any port" are for listening.
fn can_be_dialled(addr: &SocketAddr) -> bool {
    let broadcast = matches!(addr.ip(), IpAddr::V4(ip) if ip.is_broadcast());
    addr.port() != 0 && !addr.ip().is_unspecified() && !addr.ip().is_multicast() && !broadcast
}

/// A registration that passed [`Registration::check`]: lengths, counts and characters are in
/// order, and there is at least one address.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Registration", into = "Registration")]
pub struct Peer(Registration);

impl Peer {
    /// The peer's identity.
    pub fn id(&self) -> PeerId {
        self.0.id
    }

    /// The name people see.
    pub fn nick(&self) -> &str {
        &self.0.nick
    }

    /// The address to try first.
    pub fn addr(&self) -> SocketAddr {
        self.0.addrs[0] // `check` refuses an empty list
    }

    /// Every address, the preferred one first; never empty.
    pub fn addrs(&self) -> &[SocketAddr] {
        &self.0.addrs
    }

    /// The rooms it is in.
    pub fn rooms(&self) -> &[String] {
        &self.0.rooms
    }

    /// How people tell peers of one nick apart: `ana#7f3a01c2`.
    pub fn label(&self) -> String {
        format!("{}#{}", self.0.nick, self.0.id.short())
    }
}

impl TryFrom<Registration> for Peer {
    type Error = Malformed;

    fn try_from(claim: Registration) -> Result<Self, Malformed> {
        claim.check()
    }
}

impl From<Peer> for Registration {
    fn from(peer: Peer) -> Self {
        peer.0
    }
}

/// What is wrong with a registration. Hostile text is never repeated, only its code point.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum Malformed {
    /// Not 32 hexadecimal digits.
    #[error("a peer id is 32 hexadecimal digits")]
    Id,
    /// The nick is empty or too long.
    #[error("a nick has 1 to {NICK_MAX_CHARS} characters, this one has {found}")]
    NickLength {
        /// Its length in characters.
        found: usize,
    },
    /// The nick has a character that nicks may not have.
    #[error("a nick is made of letters, digits, '_', '-' and '.'; this one contains U+{code:04X}")]
    NickCharacter {
        /// The code point.
        code: u32,
    },
    /// No address, or too many.
    #[error("a peer has 1 to {ADDRS_MAX} addresses, this one has {found}")]
    AddrCount {
        /// How many there were.
        found: usize,
    },
    /// An address that nobody can dial.
    #[error("nobody can dial {addr}: it must name one host and one port")]
    Addr {
        /// The address.
        addr: SocketAddr,
    },
    /// Too many rooms.
    #[error("a peer is in at most {ROOMS_MAX} rooms, this one in {found}")]
    RoomCount {
        /// How many there were.
        found: usize,
    },
    /// A room name is empty or too long.
    #[error("a room name has 1 to {ROOM_MAX_BYTES} bytes, this one has {found}")]
    RoomLength {
        /// Its length in bytes.
        found: usize,
    },
    /// A room name contains white space or a character that cannot be shown.
    #[error("a room name has no white space and no invisible characters; this one has U+{code:04X}")]
    RoomCharacter {
        /// The code point.
        code: u32,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(nick: &str) -> Registration {
        let addr = SocketAddr::from(([127, 0, 0, 1], 49152));
        Registration::new(PeerId::from(0x7f3a_01c2_u128 << 96), nick, addr)
    }

    #[test]
    fn a_label_is_the_nick_and_eight_digits() {
        let peer = claim("ana").check().expect("well formed");
        assert_eq!(peer.label(), "ana#7f3a01c2");
        assert_eq!(peer.id().to_string().parse(), Ok(peer.id()));
    }

    #[test]
    fn nicks_are_letters_digits_and_three_marks() {
        for good in ["a", "Zoë_1.x-y", "中", &"n".repeat(32)] {
            assert!(claim(good).check().is_ok(), "{good}");
        }
        for bad in ["", "a b", "a\n", "\u{1b}[31m", "x\u{202E}y", "a#b", &"n".repeat(33)] {
            assert!(claim(bad).check().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn addresses_and_rooms_are_counted_and_checked() {
        let with = |addrs: &[&str]| {
            let addrs = addrs.iter().map(|a| a.parse().expect("address")).collect();
            Registration { addrs, ..claim("ana") }.check().is_ok()
        };
        assert!(with(&["127.0.0.1:1", "[::1]:1"]));
        assert!(!with(&[]));
        assert!(!with(&["0.0.0.0:1"]));
        assert!(!with(&["127.0.0.1:0"]));
        assert!(!with(&[
            "1.1.1.1:1",
            "1.1.1.1:2",
            "1.1.1.1:3",
            "1.1.1.1:4",
            "1.1.1.1:5"
        ]));
        assert!(claim("ana").with_rooms(["lobby", "#ops"]).check().is_ok());
        assert!(claim("ana").with_rooms(["two words"]).check().is_err());
        assert!(claim("ana").with_rooms(vec!["r"; ROOMS_MAX + 1]).check().is_err());
    }
}
