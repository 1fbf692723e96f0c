//! Files and directories that only their owner may see, and that are whole or not there.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Whatever is kept here is far below; more is not ours, and is not read into memory.
const FILE_MAX_BYTES: u64 = 8 * 1024 * 1024;

/// Why a private file or directory cannot be used. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrivateError {
    /// Others may look into it.
    #[error("{} has mode {mode:03o}: others could read or change it; `chmod {cure} {}` if nobody did", .path.display(), .path.display())]
    Open {
        /// Which one.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
        /// What they should be, for `chmod`.
        cure: &'static str,
    },
    /// It belongs to somebody else.
    #[error("{} belongs to user {owner}, not to user {me}: name another place, or have it changed with `chown`", .path.display())]
    Foreign {
        /// Which one.
        path: PathBuf,
        /// The user id of its owner.
        owner: u32,
        /// The user id of this process.
        me: u32,
    },
    /// It is not what should be there: damaged, too long, or no file.
    #[error("{} is damaged: {why}; move it away to begin anew", .path.display())]
    Damaged {
        /// Which one.
        path: PathBuf,
        /// What is wrong.
        why: &'static str,
    },
    /// The system refuses.
    #[error("{} cannot be used: {error}", .path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

/// Makes the directory (and its parents) for its owner alone, or checks that it is.
pub(crate) fn ensure_dir(path: &Path) -> Result<(), PrivateError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| failed(path, error))?;
    check_dir(path)
}

/// That the directory is its owner's alone, and its owner is this process's user.
pub(crate) fn check_dir(path: &Path) -> Result<(), PrivateError> {
    let found = fs::metadata(path).map_err(|error| failed(path, error))?;
    if !found.is_dir() {
        return Err(failed(path, io::ErrorKind::NotADirectory.into()));
    }
    check(path, &found, "700")
}

/// The content of a private file; `None` if there is none.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, PrivateError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(path, error)),
    };
    // Of the file that is open, not of whatever has that name by now.
    let found = file.metadata().map_err(|error| failed(path, error))?;
    check(path, &found, "600")?;
    if !found.is_file() || found.len() > FILE_MAX_BYTES {
        return Err(damaged(path, "it is not a short file"));
    }
    let mut bytes = Vec::new();
    let whole = file.take(FILE_MAX_BYTES).read_to_end(&mut bytes);
    whole.map_err(|error| failed(path, error))?;
    Ok(Some(bytes))
}

/// Replaces a private file whole: written beside, synced, renamed over, directory synced. After a
/// crash it is the old one or the new one.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), PrivateError> {
    static NTH: AtomicU64 = AtomicU64::new(0);
    let nth = NTH.fetch_add(1, Relaxed);
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}-{nth}.new", std::process::id()));
    let beside = PathBuf::from(beside);
    let write = || {
        let mut file = create(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        match path.parent() {
            Some(dir) => File::open(dir)?.sync_all(), // the rename itself
            None => Ok(()),
        }
    };
    write().map_err(|error| {
        drop(fs::remove_file(&beside));
        failed(path, error)
    })
}

/// Opens a file to lock, and waits until it is locked. The lock ends with the file.
pub(crate) fn lock(path: &Path) -> Result<File, PrivateError> {
    let file = open_lock(path)?;
    file.lock().map_err(|error| failed(path, error))?;
    Ok(file)
}

/// As [`lock`], but `None` if another has it.
pub(crate) fn try_lock(path: &Path) -> Result<Option<File>, PrivateError> {
    let file = open_lock(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(error)) => Err(failed(path, error)),
    }
}

pub(crate) fn open_lock(path: &Path) -> Result<File, PrivateError> {
    let mut options = File::options();
    options.create(true).truncate(false).write(true).read(true).mode(0o600);
    options.open(path).map_err(|error| failed(path, error))
}

/// `body` with what the file is in front, and a checksum against damage, not against an adversary,
/// who would own the directory.
pub(crate) fn seal(magic: &[u8; 8], body: &[u8]) -> Vec<u8> {
    [&magic[..], &checksum(body), body].concat()
}

/// The body of what was sealed with the same `magic`, if it is undamaged.
pub(crate) fn unseal<'a>(magic: &[u8; 8], bytes: &'a [u8]) -> Option<&'a [u8]> {
    let (sum, body) = bytes.strip_prefix(magic)?.split_at_checked(8)?;
    (sum == checksum(body)).then_some(body)
}

pub(crate) fn damaged(path: &Path, why: &'static str) -> PrivateError {
    let path = path.to_owned();
    PrivateError::Damaged { path, why }
}

pub(crate) fn failed(path: &Path, error: io::Error) -> PrivateError {
    let path = path.to_owned();
    PrivateError::Io { path, error }
}

fn checksum(bytes: &[u8]) -> [u8; 8] {
    let mut sum = [0; 8];
    sum.copy_from_slice(&blake3::hash(bytes).as_bytes()[..8]);
    sum
}

fn create(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.create(true).truncate(true).write(true).mode(0o600);
    options.open(path)
}

fn check(path: &Path, found: &fs::Metadata, cure: &'static str) -> Result<(), PrivateError> {
    let (path, owner, me) = (path.to_owned(), found.uid(), rustix::process::geteuid().as_raw());
    if owner != me {
        return Err(PrivateError::Foreign { path, owner, me });
    }
    let mode = found.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(PrivateError::Open { path, mode, cure });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_others_may_read_is_refused_with_the_cure() {
        let dir = std::env::temp_dir().join(format!("nodeset-private-{}", std::process::id()));
        ensure_dir(&dir).expect("made");
        assert_eq!(fs::metadata(&dir).expect("there").mode() & 0o777, 0o700);
        let file = dir.join("secret");
        assert!(read(&file).expect("no file is no error").is_none());
        replace(&file, b"one").expect("written");
        replace(&file, b"two").expect("written over");
        assert_eq!(fs::metadata(&file).expect("there").mode() & 0o777, 0o600);
        assert_eq!(read(&file).expect("read").as_deref(), Some(&b"two"[..]));
        assert_eq!(fs::read_dir(&dir).expect("read").count(), 1, "nothing is left beside");

        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("set");
        let refused = read(&file).expect_err("the group may read it").to_string();
        assert!(refused.contains("chmod 600"), "{refused}");
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).expect("set");
        let refused = ensure_dir(&dir).expect_err("everyone may look").to_string();
        assert!(refused.contains("chmod 700"), "{refused}");
        fs::remove_dir_all(dir).expect("removed");
    }

    #[test]
    fn damage_is_noticed() {
        let sealed = seal(b"a test 1", b"content");
        assert_eq!(unseal(b"a test 1", &sealed), Some(&b"content"[..]));
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert!(unseal(b"a test 1", &damaged).is_none(), "byte {at}");
            assert!(unseal(b"a test 1", &sealed[..at]).is_none(), "cut at {at}");
        }
    }
}
