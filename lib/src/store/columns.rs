//! What the stores with tables have in common: messages as columns, and what proves that a row is what was written.

use crate::clock::Clock;
use crate::id::{GroupId, MemberId};
use crate::message::Kind;
use crate::store::{Stored, Words};

/// Longest word that is told from others, in bytes: indices have limits, and nobody types a longer one to find it.
const WORD_BYTES: usize = 200;

/// Most members whose numbers are remembered: a few times as many as a group may ever have had, 40 bytes each. Beyond, all
/// are forgotten and read again.
const REMEMBERED: usize = 16_384;

/// Members have numbers in a store: a clock names each in a byte or two instead of sixteen.
#[derive(Default)]
pub(super) struct Numbers {
    by_member: std::collections::BTreeMap<MemberId, i64>,
    by_number: std::collections::BTreeMap<i64, MemberId>,
}

impl Numbers {
    pub(super) fn number(&self, member: MemberId) -> Option<i64> {
        self.by_member.get(&member).copied()
    }

    pub(super) fn member(&self, number: i64) -> Option<MemberId> {
        self.by_number.get(&number).copied()
    }

    pub(super) fn learn(&mut self, member: MemberId, number: i64) {
        if self.by_member.len() >= REMEMBERED {
            self.forget();
        }
        self.by_member.insert(member, number);
        self.by_number.insert(number, member);
    }

    /// After a transaction that was not made: its numbers may be given to others.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

/// A clock as pairs of a member's number and a seq, each in groups of seven bits.
pub(super) fn clock_bytes<E>(clock: &Clock, mut number: impl FnMut(MemberId) -> Result<i64, E>) -> Result<Vec<u8>, E> {
    let mut bytes = Vec::new();
    for (member, seq) in clock.iter() {
        push(&mut bytes, number(member)?.cast_unsigned());
        push(&mut bytes, seq);
    }
    Ok(bytes)
}

/// The pairs of a clock; none, if they are not what [`clock_bytes`] writes.
pub(super) fn clock_pairs(mut bytes: &[u8]) -> Option<Vec<(i64, u64)>> {
    let mut pairs = Vec::new();
    while !bytes.is_empty() {
        let number = pull(&mut bytes)?.cast_signed();
        pairs.push((number, pull(&mut bytes)?));
    }
    Some(pairs)
}

fn push(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn pull(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

pub(super) fn kind_number(kind: Kind) -> i16 {
    match kind {
        Kind::App => 0,
        Kind::Join => 1,
        Kind::Leave => 2,
        Kind::Retire => 3,
        Kind::Call => 4,
        Kind::List => 5,
    }
}

pub(super) fn kind_of(number: i16) -> Option<Kind> {
    let kinds = [Kind::App, Kind::Join, Kind::Leave, Kind::Retire, Kind::Call, Kind::List];
    kinds.into_iter().find(|kind| kind_number(*kind) == number)
}

/// What tells a damaged row: 32 bits of a hash of all that stands in it, less the place, which a message may get later.
pub(super) fn sum(group: GroupId, stored: &Stored) -> i64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&group.0).update(&stored.dot.origin.0);
    for number in [stored.dot.seq, stored.lamport, stored.sent_at] {
        hasher.update(&number.to_be_bytes());
    }
    hasher.update(&[kind_number(stored.kind) as u8, u8::from(stored.own)]);
    for (member, seq) in stored.clock.iter() {
        hasher.update(&member.0).update(&seq.to_be_bytes());
    }
    for bytes in [&stored.payload, &stored.proof] {
        hasher.update(&(bytes.len() as u64).to_be_bytes()).update(bytes);
    }
    first(&hasher)
}

/// The same for a note.
pub(super) fn note_sum(group: GroupId, key: &str, value: &[u8]) -> i64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&group.0).update(&(key.len() as u64).to_be_bytes());
    hasher.update(key.as_bytes()).update(value);
    first(&hasher)
}

fn first(hasher: &blake3::Hasher) -> i64 {
    let hash = hasher.finalize();
    let bytes = hash.as_bytes();
    i64::from(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

/// The words by which a message is found; empty, if it is not.
pub(super) fn words_of_message(stored: &Stored, words: &Words) -> Vec<String> {
    let text = (stored.kind == Kind::App).then(|| words(&stored.payload)).flatten();
    text.map(|text| words_of(&text)).unwrap_or_default()
}

/// The words of a text, each once.
pub(super) fn words_of(text: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    let words = lower
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty());
    let cut = |word: &str| word[..word.floor_char_boundary(WORD_BYTES)].to_owned();
    let all: std::collections::BTreeSet<String> = words.map(cut).collect();
    all.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_comes_back() {
        let member = |n: u128| MemberId::from(n);
        let clock: Clock = [(member(1), 1), (member(7), 300), (member(9), (1 << 53) - 1)]
            .into_iter()
            .collect();
        let number = |member: MemberId| Ok::<_, ()>(i64::from(member.0[15]) * 100);
        let bytes = clock_bytes(&clock, number).expect("numbers for all");
        let pairs = clock_pairs(&bytes).expect("what was written");
        assert_eq!(pairs, [(100, 1), (700, 300), (900, (1 << 53) - 1)]);
        assert_eq!(clock_pairs(&bytes[..bytes.len() - 1]), None);
        assert_eq!(clock_pairs(&[0xff; 11]), None);
    }

    #[test]
    fn words_are_letters_and_digits() {
        assert_eq!(words_of("Lunch, at one; LUNCH?"), ["at", "lunch", "one"]);
        assert_eq!(words_of("a_b c-d"), ["a", "b", "c", "d"]);
        assert_eq!(words_of(&"ä".repeat(300))[0].len(), WORD_BYTES);
    }
}
