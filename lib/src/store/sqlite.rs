//! A store in a file, with SQLite.
//!
//! The file is in write-ahead mode and every batch of changes is one transaction, which is on the disk when
//! [`Store::apply`] returns. One process at a time writes; others may read meanwhile ([`SqliteStore::open_to_read`]).

mod file;
mod read;
mod write;

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use crate::id::{Dot, GroupId};
use crate::store::columns::Numbers;
use crate::store::{Canonical, Change, Page, Saved, Size, Store, StoreError, Stored, Words};
use read::Read;
use write::Write;

/// Marks a SQLite file as one of these stores: `mcst`.
const APPLICATION: i32 = i32::from_be_bytes(*b"mcst");
/// The tables below. Another number is another format.
const FORMAT: i32 = 1;

/// How long one waits for the other where a reader and the writer need the file for themselves for a moment, at opening
/// and closing: longer than that takes on a slow disk.
const BUSY: Duration = Duration::from_secs(5);

/// SQLite's code for a file that ends within what is read.
const SHORT_READ: i32 = rusqlite::ffi::SQLITE_IOERR_SHORT_READ;

/// Pages that are kept in memory, in KiB: enough for the indices' last pages and a few hundred messages.
const CACHE_KIB: i32 = 8_192;

/// `words` has no text of its own: it finds rows of `messages`. What is given to it was cut into words before, so its own
/// rule is the simplest one. A word that cannot occur in a text, made of the group's number, keeps groups apart.
const TABLES: &str = "
    CREATE TABLE groups (
        id INTEGER PRIMARY KEY, name BLOB NOT NULL UNIQUE, notes INTEGER NOT NULL, messages INTEGER NOT NULL,
        placed INTEGER NOT NULL, bytes INTEGER NOT NULL, last_place INTEGER NOT NULL, acknowledged INTEGER NOT NULL);
    CREATE TABLE notes (
        grp INTEGER NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, sum INTEGER NOT NULL,
        PRIMARY KEY (grp, key)) WITHOUT ROWID;
    CREATE TABLE members (id INTEGER PRIMARY KEY, member BLOB NOT NULL UNIQUE);
    CREATE TABLE messages (
        id INTEGER PRIMARY KEY, grp INTEGER NOT NULL, place INTEGER NOT NULL, origin BLOB NOT NULL, seq INTEGER NOT NULL,
        lamport INTEGER NOT NULL, sent_at INTEGER NOT NULL, kind INTEGER NOT NULL, own INTEGER NOT NULL,
        clock BLOB NOT NULL, payload BLOB NOT NULL, proof BLOB NOT NULL, cost INTEGER NOT NULL, sum INTEGER NOT NULL);
    CREATE UNIQUE INDEX dots ON messages (grp, origin, seq);
    CREATE UNIQUE INDEX places ON messages (grp, place) WHERE place > 0;
    CREATE INDEX canonical ON messages (grp, lamport, origin, seq);
    CREATE INDEX told ON messages (grp, lamport, origin, seq) WHERE place = 0;
    CREATE VIRTUAL TABLE words USING fts5 (
        text, content = '', contentless_delete = 1, detail = none, tokenize = 'ascii');
";

/// A store in a file. See [`crate::store`].
pub struct SqliteStore {
    place: String,
    connection: Connection,
    words: Words,
    numbers: Numbers,
    reads_only: bool,
    /// Held for as long as this lives; let go after the connection is closed.
    _lock: Option<File>,
}

/// What goes wrong inside, before it is said where.
#[derive(Debug)]
enum Trouble {
    Sql(rusqlite::Error),
    Damaged(String),
}

impl SqliteStore {
    /// Opens the store in that file, or creates it where there is none. Beside it lie its journal and its lock, whose
    /// names begin with the file's; they belong to their owner alone. Blocks.
    ///
    /// # Errors
    /// [`StoreError::Locked`]: another process writes it. [`StoreError::Damaged`]: it is empty, it is no database, or its
    /// journal is there without it. [`StoreError::OtherVersion`], [`StoreError::Full`], [`StoreError::Io`]. What was there
    /// is unchanged.
    pub fn open(path: impl AsRef<Path>, words: Words) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let place = path.display().to_string();
        let lock = file::lock(path)?;
        file::ensure(path)?;
        let connection = connect(path, None).map_err(|trouble| trouble.at(&place))?;
        Self::on(connection, place, words, Some(lock), "FULL")
    }

    /// Opens the store in that file to read it, also while another process writes it, which does not notice. Blocks.
    /// [`Store::apply`] is refused.
    ///
    /// # Errors
    /// As [`SqliteStore::open`]; where there is no file it is [`StoreError::Io`].
    pub fn open_to_read(path: impl AsRef<Path>, words: Words) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let place = path.display().to_string();
        file::look(path)?;
        let connection = connect(path, None).map_err(|trouble| trouble.at(&place))?;
        let mut store = Self::on(connection, place, words, None, "FULL")?;
        store.reads_only = true;
        let quiet = store.connection.pragma_update(None, "query_only", true);
        quiet.map_err(|error| Trouble::Sql(error).at(&store.place))?;
        Ok(store)
    }

    /// On a simulated disk, for tests of what a loss of power leaves: the name of a registered VFS, and what SQLite's
    /// `synchronous` is to be.
    #[doc(hidden)]
    pub fn open_simulated(path: &str, vfs: &str, synchronous: &str, words: Words) -> Result<Self, StoreError> {
        let connection = connect(Path::new(path), Some(vfs)).map_err(|trouble| trouble.at(path))?;
        let fresh = connection.query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| row.get(0));
        if fresh.map_err(|error| Trouble::Sql(error).at(path))? {
            create(&connection).map_err(|trouble| trouble.at(path))?;
        }
        // Often, so that there is a loss of power in the middle of it.
        let often = connection.pragma_update(None, "wal_autocheckpoint", 16);
        often.map_err(|error| Trouble::Sql(error).at(path))?;
        Self::on(connection, path.to_owned(), words, None, synchronous)
    }

    fn on(
        connection: Connection,
        place: String,
        words: Words,
        lock: Option<File>,
        synchronous: &str,
    ) -> Result<Self, StoreError> {
        let pragma =
            |name: &str| -> Result<i32, Trouble> { Ok(connection.pragma_query_value(None, name, |row| row.get(0))?) };
        let found = (|| Ok((pragma("application_id")?, pragma("user_version")?)))();
        let (application, format) = found.map_err(|trouble: Trouble| trouble.at(&place))?;
        if application != APPLICATION || format != FORMAT {
            let found = if application == APPLICATION {
                format.to_string()
            } else {
                "of something else".to_owned()
            };
            let expected = FORMAT.to_string();
            return Err(StoreError::OtherVersion { place, found, expected });
        }
        let tuned = (|| {
            connection.pragma_update(None, "synchronous", synchronous)?;
            connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
            connection.pragma_update(None, "cell_size_check", true)
        })();
        tuned.map_err(|error| Trouble::Sql(error).at(&place))?;
        Ok(Self {
            place,
            connection,
            words,
            numbers: Numbers::default(),
            reads_only: false,
            _lock: lock,
        })
    }

    fn read<T>(
        &mut self,
        group: GroupId,
        read: impl FnOnce(&mut Read<'_>) -> Result<T, Trouble>,
    ) -> Result<T, StoreError> {
        // One transaction, so that what several statements find is of one moment.
        let done = (|| {
            let transaction = self.connection.transaction()?;
            read(&mut Read {
                connection: &transaction,
                numbers: &mut self.numbers,
                group,
            })
        })();
        done.map_err(|trouble| trouble.at(&self.place))
    }
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl Store for SqliteStore {
    fn apply(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        if self.reads_only {
            let (place, what) = (self.place.clone(), "it was opened to be read".to_owned());
            return Err(StoreError::Io { place, what });
        }
        let done = (|| {
            let transaction = self
                .connection
                .transaction_with_behavior(TransactionBehavior::Immediate)?;
            let mut write = Write::new(&transaction, &mut self.numbers, &self.words)?;
            for change in changes {
                write.change(change)?;
            }
            write.end()?;
            Ok(transaction.commit()?)
        })();
        if done.is_err() {
            self.numbers.forget();
        }
        done.map_err(|trouble: Trouble| trouble.at(&self.place))
    }

    fn load(&mut self, group: GroupId, budget: u64) -> Result<Option<Saved>, StoreError> {
        self.read(group, |read| read.saved(budget))
    }

    fn read(&mut self, group: GroupId, page: Page, limit: usize) -> Result<Vec<Stored>, StoreError> {
        self.read(group, |read| read.page(page, limit))
    }

    fn search(
        &mut self,
        group: GroupId,
        words: &str,
        before: Option<Canonical>,
        limit: usize,
    ) -> Result<Vec<Stored>, StoreError> {
        self.read(group, |read| read.search(words, before, limit))
    }

    fn get(&mut self, group: GroupId, dot: Dot) -> Result<Option<Stored>, StoreError> {
        self.read(group, |read| read.get(dot))
    }

    fn size(&mut self, group: GroupId) -> Result<Size, StoreError> {
        self.read(group, |read| read.size())
    }

    fn groups(&mut self) -> Result<Vec<GroupId>, StoreError> {
        read::groups(&self.connection).map_err(|trouble| trouble.at(&self.place))
    }
}

fn connect(path: &Path, vfs: Option<&str>) -> Result<Connection, Trouble> {
    // To write, also where it is only read: whoever reads a journal marks in shared memory how far it has come.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = match vfs {
        Some(vfs) => Connection::open_with_flags_and_vfs(path, flags | OpenFlags::SQLITE_OPEN_CREATE, vfs)?,
        None => Connection::open_with_flags(path, flags)?,
    };
    connection.busy_timeout(BUSY)?;
    Ok(connection)
}

/// Makes an empty database a store.
fn create(connection: &Connection) -> Result<(), Trouble> {
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        return Err(Trouble::Damaged(format!(
            "its journal cannot be written ahead, it is {mode}"
        )));
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.execute_batch(&format!(
        "BEGIN; {TABLES} PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {FORMAT}; COMMIT;"
    ))?;
    Ok(())
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl Trouble {
    fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged(what.into())
    }

    fn at(self, place: &str) -> StoreError {
        let place = place.to_owned();
        let error = match self {
            Self::Sql(error) => error,
            Self::Damaged(what) => return StoreError::Damaged { place, what },
        };
        let what = error.to_string();
        let is_short = error
            .sqlite_error()
            .is_some_and(|error| error.extended_code == SHORT_READ);
        match (error.sqlite_error_code(), error) {
            // The file ends too early.
            _ if is_short => StoreError::Damaged { place, what },
            (Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase), _) => StoreError::Damaged { place, what },
            (Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked), _) => StoreError::Locked { place },
            (Some(ErrorCode::DiskFull), _) => StoreError::Full { place, what },
            // A column has what none of ours has.
            (
                None,
                rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
                | rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::Utf8Error(..)
                | rusqlite::Error::QueryReturnedNoRows,
            ) => StoreError::Damaged { place, what },
            _ => StoreError::Io { place, what },
        }
    }
}
