//! Where records are kept.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::{MAX_OPERATION, Record};

/// The first bytes of a file: what it is, and how the rest is written.
const MAGIC: &[u8] = b"multicast journal 1\n";
/// Length, check of the length, check of the rest.
const HEAD: usize = 4 + 4 + 8;
/// Longest record, in bytes: an operation with what names it.
const MAX_RECORD: usize = MAX_OPERATION + 64;
/// Longest file that is read, in bytes. A life that appends more begins the file anew with what still counts.
const MAX_FILE: u64 = 64 << 20;

/// Keeps records over the end of the process.
pub trait Journal: Send + 'static {
    /// Everything that was appended, or put in place of it, oldest first.
    ///
    /// # Errors
    /// [`JournalError`]: nothing changed.
    fn load(&mut self) -> Result<Vec<Record>, JournalError>;

    /// Adds one. When this returns it survives a loss of power.
    ///
    /// # Errors
    /// [`JournalError`]: the record may be there or not, and the journal must not be used any more.
    fn append(&mut self, record: &Record) -> Result<(), JournalError>;

    /// Puts these in the place of everything, or changes nothing. When this returns they survive a loss of power.
    ///
    /// # Errors
    /// [`JournalError`]: what was there is there, or what was to take its place is.
    fn replace(&mut self, records: &[Record]) -> Result<(), JournalError>;

    /// How many bytes it takes on disk, or would.
    fn size(&self) -> u64;
}

/// Why a journal cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// Another process, or another committee, has it open.
    #[error("{0} is in use by another process")]
    InUse(PathBuf),
    /// Something in it is not what was written.
    #[error(
        "{path} is damaged at byte {at}: put a copy from before in its place, or move it away. Without it, what this \
         journal's owner has committed or promised is not known any more"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where what was written ends.
        at: u64,
    },
    /// The file cannot be read or written.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: String,
    },
}

/// A journal in a file, for one process at a time. Each record is synced when it is written; one that was cut off by the
/// end of the process, at the end of the file, was never promised to anybody and is left out.
#[derive(Debug)]
pub struct FileJournal {
    path: PathBuf,
    file: Option<File>,
    size: u64,
    _lock: File,
}

impl FileJournal {
    /// Opens the journal, in a directory that exists. Beside it lies a file with `.lock` at the end of its name.
    ///
    /// # Errors
    /// [`JournalError`]: nothing changed.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, JournalError> {
        let path = path.into();
        let mut options = OpenOptions::new();
        let lock = options
            .create(true)
            .truncate(false)
            .write(true)
            .open(beside(&path, ".lock"));
        let lock = lock.map_err(|error| trouble(&path, &error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(JournalError::InUse(path)),
            Err(TryLockError::Error(error)) => return Err(trouble(&path, &error)),
        }
        Ok(Self {
            path,
            file: None,
            size: 0,
            _lock: lock,
        })
    }

    fn try_load(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match File::open(&self.path) {
            Ok(file) => file.take(MAX_FILE + 1).read_to_end(&mut bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(bytes),
            Err(error) => return Err(error),
        };
        if bytes.len() as u64 > MAX_FILE {
            return Err(io::Error::other("it is longer than a journal can be"));
        }
        Ok(bytes)
    }

    fn try_replace(&mut self, bytes: &[u8]) -> io::Result<()> {
        let new = beside(&self.path, ".new");
        let mut file = File::create(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        let directory = match self.path.parent() {
            Some(directory) if !directory.as_os_str().is_empty() => directory,
            _ => Path::new("."),
        };
        // The rename itself.
        File::open(directory)?.sync_all()?;
        self.size = bytes.len() as u64;
        self.file = Some(OpenOptions::new().append(true).open(&self.path)?);
        Ok(())
    }

    fn try_append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(file) = &mut self.file else {
            return Err(io::Error::other("nothing is appended before something was put into it"));
        };
        file.write_all(bytes)?;
        file.sync_data()?;
        self.size += bytes.len() as u64;
        Ok(())
    }
}

impl Journal for FileJournal {
    fn load(&mut self) -> Result<Vec<Record>, JournalError> {
        let bytes = self.try_load().map_err(|error| trouble(&self.path, &error))?;
        parse(&bytes).map_err(|at| JournalError::Damaged {
            path: self.path.clone(),
            at,
        })
    }

    fn append(&mut self, record: &Record) -> Result<(), JournalError> {
        let mut bytes = Vec::new();
        write(record, &mut bytes);
        self.try_append(&bytes).map_err(|error| trouble(&self.path, &error))
    }

    fn replace(&mut self, records: &[Record]) -> Result<(), JournalError> {
        let mut bytes = MAGIC.to_vec();
        records.iter().for_each(|record| write(record, &mut bytes));
        self.try_replace(&bytes).map_err(|error| trouble(&self.path, &error))
    }

    fn size(&self) -> u64 {
        self.size
    }
}

/// A journal in memory. Clones are one journal: so a "restart" in a test finds what was kept.
#[derive(Clone, Default, Debug)]
pub struct MemoryJournal(Arc<Mutex<Vec<Record>>>);

impl MemoryJournal {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    fn records(&self) -> std::sync::MutexGuard<'_, Vec<Record>> {
        self.0.lock().expect("never held over a panic")
    }
}

impl Journal for MemoryJournal {
    fn load(&mut self) -> Result<Vec<Record>, JournalError> {
        Ok(self.records().clone())
    }

    fn append(&mut self, record: &Record) -> Result<(), JournalError> {
        self.records().push(record.clone());
        Ok(())
    }

    fn replace(&mut self, records: &[Record]) -> Result<(), JournalError> {
        *self.records() = records.to_vec();
        Ok(())
    }

    fn size(&self) -> u64 {
        (self.records().len() * MAX_RECORD) as u64
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn trouble(path: &Path, error: &io::Error) -> JournalError {
    JournalError::Io {
        path: path.to_owned(),
        error: error.to_string(),
    }
}

fn write(record: &Record, bytes: &mut Vec<u8>) {
    let body = postcard::to_stdvec(record).expect("a vector takes any number of bytes");
    let length = (body.len() as u32).to_le_bytes();
    bytes.extend(length);
    bytes.extend(check::<4>(&length));
    bytes.extend(check::<8>(&body));
    bytes.extend(body);
}

/// All records; or where something stands that was not written so.
fn parse(bytes: &[u8]) -> Result<Vec<Record>, u64> {
    let mut records = Vec::new();
    if bytes.is_empty() {
        return Ok(records);
    }
    let mut rest = bytes.strip_prefix(MAGIC).ok_or(0u64)?;
    while !rest.is_empty() {
        let at = (bytes.len() - rest.len()) as u64;
        // Only the last record can have been cut off: each was on disk before the next was begun.
        let Some((head, after)) = rest.split_at_checked(HEAD) else {
            break;
        };
        let length: [u8; 4] = head[..4].try_into().expect("four bytes");
        if head[4..8] != check::<4>(&length) {
            // Space that the file was given and that was not filled any more.
            if after.iter().all(|byte| *byte == 0) {
                break;
            }
            return Err(at);
        }
        let length = u32::from_le_bytes(length) as usize;
        if length > MAX_RECORD {
            return Err(at);
        }
        let Some((body, after)) = after.split_at_checked(length) else {
            break;
        };
        if head[8..] != check::<8>(body) {
            if after.is_empty() {
                break;
            }
            return Err(at);
        }
        records.push(postcard::from_bytes(body).map_err(|_| at)?);
        rest = after;
    }
    Ok(records)
}

fn check<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&blake3::hash(bytes).as_bytes()[..N]);
    out
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::TxnId;
    use super::*;
    use crate::id::JournalId;

    fn records(count: u32) -> Vec<Record> {
        let journal = JournalId::from(1);
        let commit = |n| Record::Commit {
            txn: TxnId { journal, life: 1, n },
            operation: Bytes::from(vec![7; n as usize]),
        };
        let opened = Record::Opened { journal, life: 1 };
        std::iter::once(opened).chain((1..count).map(commit)).collect()
    }

    fn bytes(records: &[Record]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        records.iter().for_each(|record| write(record, &mut bytes));
        bytes
    }

    #[test]
    fn a_torn_end_is_left_out_and_damage_is_told() {
        let all = records(4);
        let (whole, before) = (bytes(&all), bytes(&all[..3]).len());
        assert_eq!(parse(&whole), Ok(all.clone()));
        for end in before..whole.len() {
            assert_eq!(parse(&whole[..end]), Ok(all[..3].to_vec()), "cut at {end}");
            let padded = [&whole[..end], &vec![0; whole.len() - end][..]].concat();
            assert_eq!(parse(&padded).map_err(drop), Ok(all[..3].to_vec()), "zeros from {end}");
        }
        for at in 0..before {
            let mut damaged = whole.clone();
            damaged[at] ^= 4;
            assert!(parse(&damaged).is_err(), "damaged at {at}");
        }
    }

    #[test]
    fn a_file_keeps_what_was_appended_and_has_one_owner() {
        let directory = std::env::temp_dir().join(format!("multicast-journal-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join("journal");
        let all = records(4);
        let mut journal = FileJournal::open(&path).unwrap();
        assert_eq!(journal.load(), Ok(Vec::new()));
        journal.replace(&all[..2]).unwrap();
        journal.append(&all[2]).unwrap();
        assert_eq!(FileJournal::open(&path).unwrap_err(), JournalError::InUse(path.clone()));
        drop(journal);
        let mut journal = FileJournal::open(&path).unwrap();
        assert_eq!(journal.load(), Ok(all[..3].to_vec()));
        fs::write(&path, b"something else").unwrap();
        let refusal = journal.load().unwrap_err().to_string();
        assert!(refusal.contains("is damaged at byte 0: put a copy"), "{refusal}");
        fs::remove_dir_all(&directory).unwrap();
    }
}
