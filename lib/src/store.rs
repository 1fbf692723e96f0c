//! What a node keeps over its own end: the messages of its groups and what a member goes on from.
//!
//! A [`Store`] belongs to one node and holds many groups. It knows nothing of the protocol: it keeps rows and notes,
//! and gives them back. Its methods block, and are called from a thread of its own, one after the other.

#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod columns;
pub(crate) mod keeper;
mod memory;
#[cfg(feature = "postgres")]
mod postgres;
pub(crate) mod rows;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::clock::Clock;
use crate::id::{Dot, GroupId, MemberId};
use crate::message::Kind;

pub use keeper::Archive;
pub use memory::MemoryStore;
#[cfg(feature = "postgres")]
pub use postgres::PostgresStore;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteStore;

/// Makes the text that is searched of a payload, which only the application understands; none: it is not found by any
/// search. Asked once a message, when that is stored.
pub type Words = Arc<dyn Fn(&[u8]) -> Option<String> + Send + Sync>;

/// A place to keep messages. See the module's words; an implementation passes `check_store` in `tests/it/store.rs`.
///
/// After an error of [`Store::apply`] a store is not used any more: what it did of that call is not known, except that it
/// is all or nothing.
pub trait Store: Send + 'static {
    /// Makes all of these changes, in order, in one transaction. When it returns they survive a loss of power.
    ///
    /// # Errors
    /// [`StoreError`]: all of the changes were made, or none.
    fn apply(&mut self, changes: &[Change]) -> Result<(), StoreError>;

    /// What a member of the group goes on from: all notes, and the last delivered messages, in delivery order, as far as
    /// `budget` bytes allow (by [`Stored::cost`]; the last one always). None, if there is neither a note nor a message of
    /// the group.
    ///
    /// # Errors
    /// [`StoreError`]: nothing changed.
    fn load(&mut self, group: GroupId, budget: u64) -> Result<Option<Saved>, StoreError>;

    /// At most `limit` messages, in the order that the page names.
    ///
    /// # Errors
    /// [`StoreError`]: nothing changed.
    fn read(&mut self, group: GroupId, page: Page, limit: usize) -> Result<Vec<Stored>, StoreError>;

    /// The last `limit` messages before that place in which the words occur, in canonical order. A word is
    /// letters and digits, and what is between them separates; case does not matter, all must occur.
    ///
    /// # Errors
    /// [`StoreError`]: nothing changed.
    fn search(
        &mut self,
        group: GroupId,
        words: &str,
        before: Option<Canonical>,
        limit: usize,
    ) -> Result<Vec<Stored>, StoreError>;

    /// The message with that dot, if it is there.
    ///
    /// # Errors
    /// [`StoreError`]: nothing changed.
    fn get(&mut self, group: GroupId, dot: Dot) -> Result<Option<Stored>, StoreError>;

    /// How much there is of a group; zeros, if nothing.
    ///
    /// # Errors
    /// [`StoreError`]: nothing changed.
    fn size(&mut self, group: GroupId) -> Result<Size, StoreError>;

    /// Every group of which there is a message or a note, ascending.
    ///
    /// # Errors
    /// [`StoreError`]: nothing changed.
    fn groups(&mut self) -> Result<Vec<GroupId>, StoreError>;
}

impl<S: Store + ?Sized> Store for Box<S> {
    fn apply(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        (**self).apply(changes)
    }

    fn load(&mut self, group: GroupId, budget: u64) -> Result<Option<Saved>, StoreError> {
        (**self).load(group, budget)
    }

    fn read(&mut self, group: GroupId, page: Page, limit: usize) -> Result<Vec<Stored>, StoreError> {
        (**self).read(group, page, limit)
    }

    fn search(
        &mut self,
        group: GroupId,
        words: &str,
        before: Option<Canonical>,
        limit: usize,
    ) -> Result<Vec<Stored>, StoreError> {
        (**self).search(group, words, before, limit)
    }

    fn get(&mut self, group: GroupId, dot: Dot) -> Result<Option<Stored>, StoreError> {
        (**self).get(group, dot)
    }

    fn size(&mut self, group: GroupId) -> Result<Size, StoreError> {
        (**self).size(group)
    }

    fn groups(&mut self) -> Result<Vec<GroupId>, StoreError> {
        (**self).groups()
    }
}

/// One change. Changes of several groups may be made together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// Adds a message. If there is one with its dot: with a place it stays as it is; without one (it was told as
    /// history) it takes this one's place, and nothing else of it.
    Append {
        /// The group.
        group: GroupId,
        /// The message.
        message: Stored,
    },
    /// Sets a note of the group.
    Note {
        /// The group.
        group: GroupId,
        /// Which note: a word of the library.
        key: &'static str,
        /// What it says from now on; empty takes it away.
        value: Bytes,
    },
    /// The application has taken in everything up to that place. The cursor never goes back: a lower place changes nothing.
    Acknowledge {
        /// The group.
        group: GroupId,
        /// The place of the last message taken in.
        place: u64,
    },
    /// Lets old messages go: those first that have no place, in canonical order, then from the front of the delivery order.
    Prune {
        /// The group.
        group: GroupId,
        /// Messages from this place on stay, whatever else is said here.
        below: u64,
        /// While messages take more than so many bytes ([`Stored::cost`]), the next one goes.
        keep_bytes: u64,
        /// While the next one was sent before that, in microseconds since 1970, it goes.
        sent_before: u64,
    },
}

/// A message as it is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stored {
    /// Where it stands in this member's delivery order, over all its lives, from 1, without holes until something is
    /// pruned. 0: it was not delivered here, but told as history from before this member's join.
    pub place: u64,
    /// Its id.
    pub dot: Dot,
    /// Lamport time.
    pub lamport: u64,
    /// The sender's wall clock in microseconds since 1970; advisory.
    pub sent_at: u64,
    /// What it is for.
    pub kind: Kind,
    /// Its full clock, itself included.
    pub clock: Clock,
    /// The bytes.
    pub payload: Bytes,
    /// Whether this node said it, in whichever life.
    pub own: bool,
    /// What proves to others that its origin said it and those after it, in a signed group; opaque, and empty where the
    /// message before it has the proof, or the group is not signed.
    pub proof: Bytes,
}

/// A place in the order that is the same for everyone: by Lamport time, then by member.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Canonical {
    /// Lamport time.
    pub lamport: u64,
    /// The origin.
    pub origin: MemberId,
}

/// Which messages to read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Page {
    /// The first ones with a greater place, in delivery order. Messages without a place are not among them.
    Delivered {
        /// The place; 0 for the first page.
        after: u64,
    },
    /// The first ones behind that, in canonical order.
    After(Option<Canonical>),
    /// The last ones before that, in canonical order, the earliest first; none: the last ones of all.
    Before(Option<Canonical>),
}

/// What a member goes on from.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Saved {
    /// Every note, by its key.
    pub notes: BTreeMap<String, Bytes>,
    /// The last delivered messages, in delivery order, without holes.
    pub messages: Vec<Stored>,
    /// The place of the last delivered message, also if it was pruned.
    pub last_place: u64,
    /// The place up to which the application has taken everything in.
    pub acknowledged: u64,
}

/// How much a store has of a group.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Size {
    /// Messages.
    pub messages: u64,
    /// Bytes, by [`Stored::cost`].
    pub bytes: u64,
    /// When the earliest of them was sent, by its sender's clock, in microseconds since 1970.
    pub earliest: Option<u64>,
}

/// Why a store does not do what it was asked to. Each says what to do about it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process, or another node of this one, has it open. Nothing changed.
    #[error("{place} is in use by another process; end that one, or name another place")]
    Locked {
        /// Where the store is.
        place: String,
    },
    /// What is there cannot be read as what was written. Nothing changed.
    #[error(
        "{place} is damaged ({what}); move it away and start anew, or restore it from an export: \
         other members still have what they had"
    )]
    Damaged {
        /// Where the store is.
        place: String,
        /// What was found.
        what: String,
    },
    /// It was written by a later version of this library, or is something else. Nothing changed.
    #[error("{place} has format {found}, this program reads {expected}; use the program that wrote it, or a later one")]
    OtherVersion {
        /// Where the store is.
        place: String,
        /// The format that was found.
        found: String,
        /// The format of this version.
        expected: String,
    },
    /// There is no room left. Nothing of what was to be written is there.
    #[error("{place} cannot grow ({what}); make room, then start again: nothing that was confirmed is lost")]
    Full {
        /// Where the store is.
        place: String,
        /// What the system said.
        what: String,
    },
    /// The system, or the server, does not do what it was asked to. What was to be written is there as a whole or not at
    /// all.
    #[error(
        "{place} cannot be used ({what}); see that it can be reached and written, then start again: nothing that was \
         confirmed is lost"
    )]
    Io {
        /// Where the store is.
        place: String,
        /// What the system said.
        what: String,
    },
}

impl Saved {
    /// What people call the members that this one knew, also those who came and went before it.
    ///
    /// # Errors
    /// [`StoreError::Damaged`]: the notes are not what was written.
    pub fn names(&self) -> Result<BTreeMap<MemberId, String>, StoreError> {
        let saved = Self {
            messages: Vec::new(),
            ..self.clone()
        };
        Ok(rows::former(&saved)?.as_ref().map(rows::names).unwrap_or_default())
    }
}

impl Stored {
    /// What it counts against budgets, in bytes: its payload, proof and clock, and 64 for what is the same for all.
    pub fn cost(&self) -> u64 {
        (self.payload.len() + self.proof.len() + self.clock.len() * 24 + 64) as u64
    }

    /// Its place in the order that is the same for everyone.
    pub fn canonical(&self) -> Canonical {
        Canonical {
            lamport: self.lamport,
            origin: self.dot.origin,
        }
    }
}
