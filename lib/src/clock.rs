//! Vector clocks: maps from member id to seq, absent means 0, never positional.

mod shared;

use std::fmt;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(crate) use self::shared::SharedEntries;
use crate::id::{Dot, MemberId};

/// Largest seq and Lamport time that are believed: integers up to here survive JSON, and sums with them do not
/// overflow.
pub(crate) const MAX_NUMBER: u64 = (1 << 53) - 1;

/// Entries of a clock, ascending by member id, none of them 0.
pub(crate) type Entries = Vec<(MemberId, u64)>;

/// A vector clock: how many messages of each member are in a causally closed set.
///
/// Absent means 0. Clones share their entries, so a clone costs a reference count, and consecutive messages of
/// one burst share one list. (Fidge 1988, Mattern 1989; members instead of positions, so that a group may grow.)
#[derive(Clone, Default)]
pub struct Clock {
    entries: SharedEntries,
    /// Overrides the entry of its origin: the part in which messages of one burst differ.
    head: Option<Dot>,
}

/// How two clocks of one moment relate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Causality {
    /// The left one is below the right one.
    Before,
    /// The left one is above the right one.
    After,
    /// They are the same set.
    Equal,
    /// Each has something that the other lacks.
    Concurrent,
}

impl Clock {
    /// The empty clock.
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn with_head(entries: SharedEntries, head: Dot) -> Self {
        Self {
            entries,
            head: Some(head),
        }
    }

    /// From entries that are ascending by id and not 0. The caller vouches for it.
    pub(crate) fn from_sorted(entries: Entries) -> Self {
        Self {
            entries: SharedEntries::from_sorted(entries),
            head: None,
        }
    }

    /// The number of messages of `member`; 0 if the clock does not name it.
    pub fn get(&self, member: MemberId) -> u64 {
        match self.head {
            Some(head) if head.origin == member => head.seq,
            _ => self.entries.get(member),
        }
    }

    /// Whether the message with that dot is in the set.
    pub fn covers(&self, dot: Dot) -> bool {
        self.get(dot.origin) >= dot.seq
    }

    /// All entries that are not 0, ascending by member id.
    pub fn iter(&self) -> impl Iterator<Item = (MemberId, u64)> + '_ {
        // Without a head everything is above.
        let origin = self.head.map_or(MemberId([0; 16]), |head| head.origin);
        let (low, high) = self.entries.split_at(origin);
        let overridden = self.head.is_some() && self.entries.get(origin) > 0;
        let head = self.head.filter(|head| head.seq > 0);
        low.chain(head.map(|dot| (dot.origin, dot.seq)))
            .chain(high.skip(usize::from(overridden)))
    }

    /// How many members it names.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether it names nobody.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Sets one entry; 0 removes it.
    pub fn set(&mut self, member: MemberId, seq: u64) {
        self.settle();
        self.entries.set(member, seq);
    }

    /// The union with another causally closed set: the maximum of every entry.
    pub fn merge(&mut self, other: &Clock) {
        if other.iter().all(|(member, seq)| self.get(member) >= seq) {
            return;
        }
        self.settle();
        let mut merged = Entries::with_capacity(self.entries.len() + other.entries.len());
        let (mut left, mut right) = (self.entries.iter().peekable(), other.iter().peekable());
        loop {
            match (left.peek(), right.peek()) {
                (Some(a), Some(b)) if a.0 == b.0 => {
                    merged.push((a.0, a.1.max(b.1)));
                    left.next();
                    right.next();
                }
                (Some(a), Some(b)) if a.0 < b.0 => merged.extend(left.next()),
                (Some(_), Some(_)) | (None, Some(_)) => merged.extend(right.next()),
                (Some(_), None) => merged.extend(left.next()),
                (None, None) => break,
            }
        }
        drop(left);
        self.entries = SharedEntries::from_sorted(merged);
    }

    /// The intersection: the minimum of every entry. If both sets are causally closed, so is what they share.
    pub fn meet(&mut self, other: &Clock) {
        let met = self
            .iter()
            .map(|(member, seq)| (member, seq.min(other.get(member))))
            .filter(|entry| entry.1 > 0)
            .collect();
        *self = Self::from_sorted(met);
    }

    /// Whether every entry is at least the other's.
    pub fn dominates(&self, other: &Clock) -> bool {
        other.iter().all(|(member, seq)| self.get(member) >= seq)
    }

    /// Compares two clocks *of one moment*, for example two members' digests.
    ///
    /// Whether one *message* precedes another is asked by dot (`Delivery::precedes`), because clocks of
    /// messages leave out retired members.
    pub fn compare(&self, other: &Clock) -> Causality {
        match (self.dominates(other), other.dominates(self)) {
            (true, true) => Causality::Equal,
            (true, false) => Causality::After,
            (false, true) => Causality::Before,
            (false, false) => Causality::Concurrent,
        }
    }

    fn settle(&mut self) {
        if let Some(head) = self.head.take() {
            self.entries.set(head.origin, head.seq);
        }
    }
}

/// Sets one entry of a sorted list; 0 removes it.
pub(crate) fn set_entry(entries: &mut Entries, member: MemberId, seq: u64) {
    match entries.binary_search_by(|entry| entry.0.cmp(&member)) {
        Ok(at) if seq == 0 => drop(entries.remove(at)),
        Ok(at) => entries[at].1 = seq,
        Err(_) if seq == 0 => {}
        Err(at) => entries.insert(at, (member, seq)),
    }
}

impl FromIterator<(MemberId, u64)> for Clock {
    /// Later pairs win over earlier ones; 0 removes.
    fn from_iter<I: IntoIterator<Item = (MemberId, u64)>>(pairs: I) -> Self {
        let map: std::collections::BTreeMap<_, _> = pairs.into_iter().collect();
        Self::from_sorted(map.into_iter().filter(|entry| entry.1 > 0).collect())
    }
}

impl PartialEq for Clock {
    fn eq(&self, other: &Self) -> bool {
        (self.entries.is_same(&other.entries) && self.head == other.head) || self.iter().eq(other.iter())
    }
}

impl Eq for Clock {}

impl Hash for Clock {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.iter().for_each(|entry| entry.hash(state));
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl fmt::Display for Clock {
    /// `[7f3a01c2:2 c0de44aa:1]`; a screen that knows names shows names instead.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (nth, (member, seq)) in self.iter().enumerate() {
            let space = if nth == 0 { "" } else { " " };
            write!(f, "{space}{}:{seq}", member.short())?;
        }
        f.write_str("]")
    }
}

impl Serialize for Clock {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // A length is needed up front; collecting is cheap beside writing it.
        self.iter().collect::<Vec<_>>().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Clock {
    /// Refuses entries out of order, repeated, 0, or beyond 2^53.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entries: Entries = crate::bound::list(deserializer)?;
        let ascending = entries.windows(2).all(|pair| pair[0].0 < pair[1].0);
        if !ascending || entries.iter().any(|entry| entry.1 == 0 || entry.1 > MAX_NUMBER) {
            return Err(serde::de::Error::custom(
                "clock entries must ascend by member, and be from 1 to 2^53",
            ));
        }
        Ok(Self::from_sorted(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(n: u128) -> MemberId {
        MemberId::from(n)
    }

    fn clock(pairs: &[(u128, u64)]) -> Clock {
        pairs.iter().map(|&(n, seq)| (member(n), seq)).collect()
    }

    #[test]
    fn a_head_overrides_adds_and_removes() {
        let base = SharedEntries::from_sorted(vec![(member(1), 5), (member(3), 7)]);
        let at = |n, seq| Clock::with_head(base.clone(), Dot { origin: member(n), seq });
        assert_eq!(at(1, 6), clock(&[(1, 6), (3, 7)]));
        assert_eq!(at(2, 1), clock(&[(1, 5), (2, 1), (3, 7)]));
        assert_eq!(at(9, 1), clock(&[(1, 5), (3, 7), (9, 1)]));
        assert_eq!(at(3, 0), clock(&[(1, 5)]));
        assert_eq!(at(2, 1).len(), 3);
        assert_eq!(at(3, 9).get(member(3)), 9);
    }

    #[test]
    fn clocks_compare_as_sets() {
        let (low, high) = (clock(&[(1, 1)]), clock(&[(1, 1), (2, 3)]));
        assert_eq!(low.compare(&high), Causality::Before);
        assert_eq!(high.compare(&low), Causality::After);
        assert_eq!(low.compare(&low), Causality::Equal);
        assert_eq!(low.compare(&clock(&[(2, 1)])), Causality::Concurrent);
    }

    #[test]
    fn merge_and_meet_are_maximum_and_minimum() {
        let (a, b) = (clock(&[(1, 4), (2, 1)]), clock(&[(1, 2), (3, 5)]));
        let mut merged = a.clone();
        merged.merge(&b);
        assert_eq!(merged, clock(&[(1, 4), (2, 1), (3, 5)]));
        let mut met = a;
        met.meet(&b);
        assert_eq!(met, clock(&[(1, 2)]));
    }

    #[test]
    fn it_prints_short_ids() {
        let clock: Clock = [(MemberId([0xab; 16]), 2)].into_iter().collect();
        assert_eq!(clock.to_string(), "[abababab:2]");
    }
}
