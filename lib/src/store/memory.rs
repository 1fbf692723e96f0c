//! A store in memory: for tests, and as the plainest statement of what a store does.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use bytes::Bytes;

use crate::id::{Dot, GroupId};
use crate::message::Kind;
use crate::store::{Canonical, Change, Page, Saved, Size, Store, StoreError, Stored, Words};

/// Keeps everything in memory, for as long as a [`MemoryStore`] of it is there: so a "restart" finds what was kept.
///
/// Clones are one store, of which one at a time can be open.
#[derive(Clone)]
pub struct MemoryStore {
    shelf: Arc<Room>,
    words: Words,
}

/// What is kept, and where to wait until it is not in use.
#[derive(Default)]
struct Room {
    shelf: Mutex<Shelf>,
    freed: Condvar,
}

/// What is kept, and whether it is in use.
#[derive(Default)]
struct Shelf {
    groups: BTreeMap<GroupId, Kept>,
    open: bool,
}

/// What is kept of one group.
#[derive(Default)]
struct Kept {
    notes: BTreeMap<&'static str, Bytes>,
    messages: BTreeMap<Dot, Stored>,
    by_place: BTreeMap<u64, Dot>,
    canonical: BTreeSet<(Canonical, Dot)>,
    bytes: u64,
    last_place: u64,
    acknowledged: u64,
}

/// A memory store in use. Others find it locked until it is dropped.
struct OpenMemory {
    shelf: Arc<Room>,
    words: Words,
}

impl MemoryStore {
    /// An empty one. Of payloads that are UTF-8 all is found by searches.
    pub fn new() -> Self {
        let text = |payload: &[u8]| std::str::from_utf8(payload).ok().map(str::to_owned);
        Self::with_words(Arc::new(text))
    }

    /// An empty one, with what is searched of a payload.
    pub fn with_words(words: Words) -> Self {
        Self {
            shelf: Arc::default(),
            words,
        }
    }

    /// Returns when nobody has it open: when the thread of a node that was dropped has ended. Blocks until then.
    pub fn wait_until_free(&self) {
        let in_use = |shelf: &mut Shelf| shelf.open;
        let free = self.shelf.freed.wait_while(locked(&self.shelf), in_use);
        drop(free.expect("never held over a panic"));
    }

    /// Opens it, for one node.
    ///
    /// # Errors
    /// [`StoreError::Locked`]: it is open.
    pub fn open(&self) -> Result<impl Store + use<>, StoreError> {
        let mut shelf = locked(&self.shelf);
        if std::mem::replace(&mut shelf.open, true) {
            let place = "the store in memory".to_owned();
            return Err(StoreError::Locked { place });
        }
        Ok(OpenMemory {
            shelf: self.shelf.clone(),
            words: self.words.clone(),
        })
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups = locked(&self.shelf).groups.len();
        f.debug_struct("MemoryStore")
            .field("groups", &groups)
            .finish_non_exhaustive()
    }
}

impl Drop for OpenMemory {
    fn drop(&mut self) {
        locked(&self.shelf).open = false;
        self.shelf.freed.notify_all();
    }
}

impl Store for OpenMemory {
    fn apply(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let mut shelf = locked(&self.shelf);
        for change in changes {
            let (Change::Append { group, .. }
            | Change::Note { group, .. }
            | Change::Acknowledge { group, .. }
            | Change::Prune { group, .. }) = change;
            shelf.groups.entry(*group).or_default().apply(change);
        }
        Ok(())
    }

    fn load(&mut self, group: GroupId, budget: u64) -> Result<Option<Saved>, StoreError> {
        let shelf = locked(&self.shelf);
        let found = shelf.groups.get(&group);
        Ok(found
            .map(|kept| kept.saved(budget))
            .filter(|saved| *saved != Saved::default()))
    }

    fn read(&mut self, group: GroupId, page: Page, limit: usize) -> Result<Vec<Stored>, StoreError> {
        let shelf = locked(&self.shelf);
        Ok(shelf
            .groups
            .get(&group)
            .map_or(Vec::new(), |kept| kept.page(page, limit)))
    }

    fn search(
        &mut self,
        group: GroupId,
        words: &str,
        before: Option<Canonical>,
        limit: usize,
    ) -> Result<Vec<Stored>, StoreError> {
        let words = words.to_lowercase();
        let wanted: BTreeSet<&str> = words_of(&words).collect();
        let matches = |stored: &&Stored| {
            let text = (stored.kind == Kind::App)
                .then(|| (self.words)(&stored.payload))
                .flatten();
            let text = text.map(|text| text.to_lowercase());
            text.is_some_and(|text| words_of(&text).collect::<BTreeSet<_>>().is_superset(&wanted))
        };
        let shelf = locked(&self.shelf);
        let Some(kept) = shelf.groups.get(&group).filter(|_| !wanted.is_empty()) else {
            return Ok(Vec::new());
        };
        let mut found: Vec<Stored> = kept.before(before).filter(matches).take(limit).cloned().collect();
        found.reverse();
        Ok(found)
    }

    fn get(&mut self, group: GroupId, dot: Dot) -> Result<Option<Stored>, StoreError> {
        let shelf = locked(&self.shelf);
        Ok(shelf
            .groups
            .get(&group)
            .and_then(|kept| kept.messages.get(&dot).cloned()))
    }

    fn size(&mut self, group: GroupId) -> Result<Size, StoreError> {
        let shelf = locked(&self.shelf);
        let of = |kept: &Kept| Size {
            messages: kept.messages.len() as u64,
            bytes: kept.bytes,
            earliest: kept.messages.values().map(|stored| stored.sent_at).min(),
        };
        Ok(shelf.groups.get(&group).map(of).unwrap_or_default())
    }

    fn groups(&mut self) -> Result<Vec<GroupId>, StoreError> {
        let shelf = locked(&self.shelf);
        let some = shelf
            .groups
            .iter()
            .filter(|(_, kept)| !kept.notes.is_empty() || !kept.messages.is_empty());
        Ok(some.map(|(group, _)| *group).collect())
    }
}

impl Kept {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Append { message, .. } => self.append(message),
            Change::Note { key, value, .. } if value.is_empty() => drop(self.notes.remove(key)),
            Change::Note { key, value, .. } => drop(self.notes.insert(key, value.clone())),
            Change::Acknowledge { place, .. } => self.acknowledged = self.acknowledged.max(*place),
            &Change::Prune {
                below,
                keep_bytes,
                sent_before,
                ..
            } => {
                while let Some(stored) = self.oldest()
                    && (stored.place < below)
                    && (self.bytes > keep_bytes || stored.sent_at < sent_before)
                {
                    let dot = stored.dot;
                    self.remove(dot);
                }
            }
        }
    }

    fn append(&mut self, message: &Stored) {
        let place = message.place;
        let known = self.messages.entry(message.dot).or_insert_with(|| {
            self.bytes += message.cost();
            self.canonical.insert((message.canonical(), message.dot));
            message.clone()
        });
        if known.place == 0 {
            known.place = place;
        }
        if place > 0 && known.place == place {
            self.by_place.insert(place, message.dot);
            self.last_place = self.last_place.max(place);
        }
    }

    /// The one that is to go first.
    fn oldest(&self) -> Option<&Stored> {
        let told = || {
            self.canonical
                .iter()
                .map(|(_, dot)| &self.messages[dot])
                .find(|stored| stored.place == 0)
        };
        let told = (self.messages.len() > self.by_place.len()).then(told).flatten();
        told.or_else(|| self.by_place.first_key_value().map(|(_, dot)| &self.messages[dot]))
    }

    fn remove(&mut self, dot: Dot) {
        if let Some(stored) = self.messages.remove(&dot) {
            self.bytes -= stored.cost();
            self.by_place.remove(&stored.place);
            self.canonical.remove(&(stored.canonical(), dot));
        }
    }

    fn saved(&self, budget: u64) -> Saved {
        let mut bytes = 0;
        let fits = |stored: &&Stored| {
            let first = bytes == 0;
            bytes += stored.cost();
            first || bytes <= budget
        };
        let last = self.by_place.values().rev().map(|dot| &self.messages[dot]);
        let mut messages: Vec<Stored> = last.take_while(fits).cloned().collect();
        messages.reverse();
        Saved {
            notes: self
                .notes
                .iter()
                .map(|(key, value)| ((*key).to_owned(), value.clone()))
                .collect(),
            messages,
            last_place: self.last_place,
            acknowledged: self.acknowledged,
        }
    }

    fn page(&self, page: Page, limit: usize) -> Vec<Stored> {
        match page {
            Page::Delivered { after } => {
                let dots = self.by_place.range(after.saturating_add(1)..).map(|entry| entry.1);
                dots.take(limit).map(|dot| self.messages[dot].clone()).collect()
            }
            Page::After(after) => {
                let behind = |entry: &&(Canonical, Dot)| after.is_none_or(|after| entry.0 > after);
                let dots = self.canonical.iter().filter(behind).take(limit);
                dots.map(|(_, dot)| self.messages[dot].clone()).collect()
            }
            Page::Before(before) => {
                let mut found: Vec<Stored> = self.before(before).take(limit).cloned().collect();
                found.reverse();
                found
            }
        }
    }

    /// Those before that, the last first.
    fn before(&self, before: Option<Canonical>) -> impl Iterator<Item = &Stored> {
        let below = move |entry: &&(Canonical, Dot)| before.is_none_or(|before| entry.0 < before);
        let found = self.canonical.iter().rev().filter(below);
        found.map(|(_, dot)| &self.messages[dot])
    }
}

fn words_of(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
}

fn locked(room: &Room) -> MutexGuard<'_, Shelf> {
    room.shelf.lock().expect("never held over a panic")
}
