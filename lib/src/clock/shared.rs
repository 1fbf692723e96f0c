//! Entries of clocks that differ in few of them, sharing the rest.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::{Entries, set_entry};
use crate::id::MemberId;

/// Up to so many entries lie in one list, which is copied whole: 3 KiB, which takes less time than
/// to share most of them would.
const LIST_MAX: usize = 2 * CHUNK_MAX - 1;
/// Most entries of a chunk, of which a longer clock has many. A change copies one of them and the list of chunks, so
/// that both should be short: this is about right for hundreds of members up to thousands.
const CHUNK_MAX: usize = 64;

/// Entries of a clock, ascending by member id, none of them 0. A clone costs a reference count, and a change to a long
/// one copies a few dozen entries: messages of one origin differ in few entries from one to the next, and everyone
/// keeps many messages.
#[derive(Clone, Default)]
pub(crate) struct SharedEntries(Arc<Lists>);

/// All entries below the chunks, and chunks, none of them empty. Short clocks have no chunks.
#[derive(Clone, Default)]
struct Lists {
    low: Entries,
    chunks: Vec<Chunk>,
}

#[derive(Clone)]
struct Chunk {
    /// No entry of it is below this one, and those of the chunk before are. Kept here, so that who looks for a chunk
    /// need not look into each.
    from: MemberId,
    entries: Arc<[(MemberId, u64)]>,
}

impl SharedEntries {
    /// From entries that are ascending by id and not 0. The caller vouches for it.
    pub(crate) fn from_sorted(mut entries: Entries) -> Self {
        debug_assert!(entries.windows(2).all(|pair| pair[0].0 < pair[1].0));
        debug_assert!(entries.iter().all(|entry| entry.1 > 0));
        let mut chunks = Vec::new();
        if entries.len() > LIST_MAX {
            // Half full, as they are after growing.
            const HALF: usize = CHUNK_MAX / 2;
            chunks.extend(entries[HALF..].chunks(HALF).map(|list| Chunk::new(list.into())));
            entries.truncate(HALF);
            entries.shrink_to_fit();
        }
        Self(Arc::new(Lists { low: entries, chunks }))
    }

    pub(crate) fn get(&self, member: MemberId) -> u64 {
        let list = self.0.list(self.0.place(member));
        match list.binary_search_by(|entry| entry.0.cmp(&member)) {
            Ok(at) => list[at].1,
            Err(_) => 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.low.len() + self.0.chunks.iter().map(|chunk| chunk.entries.len()).sum::<usize>()
    }

    /// All entries, ascending.
    #[inline]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (MemberId, u64)> + '_ {
        self.0
            .low
            .iter()
            .chain(self.0.chunks.iter().flat_map(|chunk| chunk.entries.iter()))
            .copied()
    }

    /// The entries below `member`, and those from it on.
    #[inline]
    pub(crate) fn split_at(
        &self,
        member: MemberId,
    ) -> (
        impl Iterator<Item = (MemberId, u64)> + '_,
        impl Iterator<Item = (MemberId, u64)> + '_,
    ) {
        let Lists { low, chunks } = &*self.0;
        let place = self.0.place(member);
        let list = self.0.list(place);
        let (left, right) = list.split_at(list.partition_point(|entry| entry.0 < member));
        let (before, after) = match place.checked_sub(1) {
            None => (&[] as &[(MemberId, u64)], &chunks[..]),
            Some(_) => (&low[..], &chunks[place..]),
        };
        let between = &chunks[..place.saturating_sub(1)];
        let below = before
            .iter()
            .chain(between.iter().flat_map(|chunk| chunk.entries.iter()))
            .chain(left);
        let above = right.iter().chain(after.iter().flat_map(|chunk| chunk.entries.iter()));
        (below.copied(), above.copied())
    }

    /// Sets one entry; 0 removes it.
    pub(crate) fn set(&mut self, member: MemberId, seq: u64) {
        Arc::make_mut(&mut self.0).set(member, seq);
    }

    /// With some entries replaced, 0 for those to be removed; the same list if none is.
    pub(crate) fn with(&self, changes: &[(MemberId, u64)]) -> Self {
        let mut changed = self.clone();
        if !changes.is_empty() {
            let lists = Arc::make_mut(&mut changed.0);
            for &(member, seq) in changes {
                lists.set(member, seq);
            }
        }
        changed
    }

    /// Whether both are one list. If not, they may be equal all the same.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(crate) fn to_vec(&self) -> Entries {
        let mut entries = Entries::with_capacity(self.len());
        entries.extend(self.iter());
        entries
    }
}

impl Lists {
    /// Where a member's entry belongs: 0 is the low list, n the chunk before the nth.
    fn place(&self, member: MemberId) -> usize {
        self.chunks.partition_point(|chunk| chunk.from <= member)
    }

    fn list(&self, place: usize) -> &[(MemberId, u64)] {
        match place.checked_sub(1) {
            None => &self.low,
            Some(nth) => &self.chunks[nth].entries,
        }
    }

    fn set(&mut self, member: MemberId, seq: u64) {
        let place = self.place(member);
        let Some(nth) = place.checked_sub(1) else {
            set_entry(&mut self.low, member, seq);
            let most = if self.chunks.is_empty() { LIST_MAX } else { CHUNK_MAX };
            if self.low.len() > most {
                let upper = self.low.split_off(self.low.len() / 2);
                self.chunks.insert(0, Chunk::new(upper));
            }
            return;
        };
        self.chunks[nth].set(member, seq);
        let entries = &self.chunks[nth].entries;
        if entries.len() > CHUNK_MAX {
            let (lower, upper) = entries.split_at(entries.len() / 2);
            let (lower, upper) = (lower.into(), Chunk::new(upper.into()));
            self.chunks[nth].entries = lower;
            self.chunks.insert(place, upper);
        } else if entries.is_empty() {
            self.chunks.remove(nth);
        }
    }
}

impl Chunk {
    /// Of entries, at least one.
    fn new(entries: Entries) -> Self {
        Self {
            from: entries[0].0,
            entries: entries.into(),
        }
    }

    fn set(&mut self, member: MemberId, seq: u64) {
        match self.entries.binary_search_by(|entry| entry.0.cmp(&member)) {
            Ok(at) if seq > 0 => Arc::make_mut(&mut self.entries)[at].1 = seq,
            Err(_) if seq == 0 => {}
            _ => {
                let mut entries = self.entries.to_vec();
                set_entry(&mut entries, member, seq);
                self.entries = entries.into();
            }
        }
    }
}

impl PartialEq for SharedEntries {
    fn eq(&self, other: &Self) -> bool {
        self.is_same(other) || self.iter().eq(other.iter())
    }
}

impl Eq for SharedEntries {}

impl Hash for SharedEntries {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.iter().for_each(|entry| entry.hash(state));
    }
}

impl fmt::Debug for SharedEntries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn member(n: u64) -> MemberId {
        MemberId::from(u128::from(n))
    }

    /// A sequence that looks random (Knuth's MMIX constants).
    fn next(state: &mut u64) -> u64 {
        *state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        *state >> 33
    }

    fn assert_is(entries: &SharedEntries, model: &BTreeMap<MemberId, u64>, around: MemberId) {
        assert!(entries.iter().eq(model.iter().map(|(member, seq)| (*member, *seq))));
        assert_eq!(entries.len(), model.len());
        assert_eq!(entries.get(around), model.get(&around).copied().unwrap_or(0));
        let (below, above) = entries.split_at(around);
        let pair = |(member, seq): (&MemberId, &u64)| (*member, *seq);
        assert!(below.eq(model.range(..around).map(pair)));
        assert!(above.eq(model.range(around..).map(pair)));
    }

    /// It grows to hundreds and shrinks to nothing, through all its shapes.
    #[test]
    fn it_is_a_sorted_map_and_old_versions_stay() {
        let (mut entries, mut model, mut state) = (SharedEntries::default(), BTreeMap::new(), 7);
        for step in 0..6000u64 {
            let (who, old, was) = (member(next(&mut state) % 700), entries.clone(), model.clone());
            // First mostly set, then mostly removed.
            let seq = if next(&mut state) % 6000 < step { 0 } else { step + 1 };
            match seq {
                0 => drop(model.remove(&who)),
                _ => drop(model.insert(who, seq)),
            }
            entries = entries.with(&[(who, seq)]);
            assert_is(&entries, &model, who);
            if step % 50 == 0 {
                assert_is(&old, &was, who);
                assert_eq!(entries, SharedEntries::from_sorted(entries.to_vec()));
            }
            let full = entries
                .0
                .chunks
                .iter()
                .any(|chunk| chunk.entries.is_empty() || chunk.entries.len() > CHUNK_MAX);
            assert!(!full && entries.0.low.len() <= LIST_MAX);
        }
    }

    #[test]
    fn a_change_to_a_long_one_copies_one_chunk() {
        let entries = SharedEntries::from_sorted((0..1024).map(|n| (member(n), 1)).collect());
        let changed = entries.with(&[(member(500), 2), (member(501), 2)]);
        let kept = entries
            .0
            .chunks
            .iter()
            .zip(&changed.0.chunks)
            .filter(|(old, new)| Arc::ptr_eq(&old.entries, &new.entries));
        assert_eq!(kept.count() + 1, entries.0.chunks.len());
    }
}
