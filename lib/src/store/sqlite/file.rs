//! The file and its lock, before SQLite sees it.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use crate::store::StoreError;

/// Takes the right to write the store, for as long as the result lives. Not on the database itself: to close a second
/// handle of it would let go of SQLite's own locks.
pub(super) fn lock(path: &Path) -> Result<File, StoreError> {
    let file = private(&beside(path, "-lock")).map_err(|error| cannot(path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked {
            place: path.display().to_string(),
        }),
        Err(TryLockError::Error(error)) => Err(cannot(path, &error)),
    }
}

/// Creates the store where there is none. It is made under another name, so that one which is there is whole: an empty
/// file is damage, not a beginning.
pub(super) fn ensure(path: &Path) -> Result<(), StoreError> {
    if path.try_exists().map_err(|error| cannot(path, &error))? {
        return look(path);
    }
    let journal = beside(path, "-wal");
    if journal.metadata().is_ok_and(|metadata| metadata.len() > 0) {
        return Err(damaged(path, "it is gone, and its journal is there"));
    }
    let fresh = beside(path, "-new");
    make(&fresh).and_then(|()| {
        fs::rename(&fresh, path).map_err(|error| cannot(path, &error))?;
        sync_directory_of(path).map_err(|error| cannot(path, &error))
    })
}

/// Refuses what cannot be a store.
pub(super) fn look(path: &Path) -> Result<(), StoreError> {
    let metadata = fs::metadata(path).map_err(|error| cannot(path, &error))?;
    if metadata.is_dir() {
        return Err(cannot(path, &io::Error::from(io::ErrorKind::IsADirectory)));
    }
    if metadata.len() == 0 {
        return Err(damaged(path, "it is empty"));
    }
    Ok(())
}

fn make(fresh: &Path) -> Result<(), StoreError> {
    for left in ["", "-wal", "-shm", "-journal"] {
        match fs::remove_file(beside(fresh, left)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(cannot(fresh, &error)),
            _ => {}
        }
    }
    private(fresh).map_err(|error| cannot(fresh, &error))?;
    let place = fresh.display().to_string();
    let connection = Connection::open_with_flags(fresh, OpenFlags::SQLITE_OPEN_READ_WRITE)
        .map_err(|error| super::Trouble::Sql(error).at(&place))?;
    super::create(&connection).map_err(|trouble| trouble.at(&place))?;
    // The last one that closes it empties the journal into it.
    let closed = connection
        .close()
        .map_err(|(_, error)| super::Trouble::Sql(error).at(&place));
    closed?;
    let synced = File::open(fresh).and_then(|file| file.sync_all());
    synced.map_err(|error| cannot(fresh, &error))
}

/// Opens or creates a file for its owner alone.
fn private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn sync_directory_of(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

/// The file whose name is that with something behind it.
fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(end);
    name.into()
}

fn cannot(path: &Path, error: &io::Error) -> StoreError {
    let place = path.display().to_string();
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full {
            place,
            what: error.to_string(),
        },
        _ => StoreError::Io {
            place,
            what: error.to_string(),
        },
    }
}

fn damaged(path: &Path, what: &str) -> StoreError {
    StoreError::Damaged {
        place: path.display().to_string(),
        what: what.to_owned(),
    }
}
