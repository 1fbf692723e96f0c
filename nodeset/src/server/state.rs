//! Leases kept over a restart, so that a restarted registry answers `list` at once.
//!
//! One file, replaced whole: written beside, synced, renamed over, directory synced. After a crash
//! it is the old one or the new one. It may lag by the last changes, which is harmless: every
//! restored lease is either renewed or ends within one lease. A damaged file is put aside and the
//! registry starts empty, complete again within one lease.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::peer::Peer;
use crate::private::{self, PrivateError};
use crate::protocol::Holder;
use crate::registry::Kept;

/// First bytes of the file: what it is, and the version of its format.
const MAGIC: &[u8; 8] = b"nodeset1";
const LEASES: &str = "leases";
const BESIDE: &str = "leases.new";
const ASIDE: &str = "leases.damaged";
const LOCK: &str = "lock";

/// A lease in the file: ages do not survive a restart, wall-clock time does.
#[derive(Serialize, Deserialize)]
struct Saved {
    peer: Peer,
    holder: Holder,
    turn: u64,
    since_unix_ms: u64,
}

/// A locked state directory and what it held.
#[derive(Debug)]
pub(super) struct StateDir {
    dir: PathBuf,
    found: Option<Vec<u8>>,
    /// Locked for as long as it is open.
    _lock: File,
}

/// Why a state directory cannot be used. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// Another registry uses it.
    #[error("the state directory {} is in use by another registry", .0.display())]
    InUse(PathBuf),
    /// It is not its owner's alone.
    #[error("the state directory: {0}")]
    Private(#[from] PrivateError),
    /// It cannot be read or locked.
    #[error("the state directory {} cannot be used: {error}", .dir.display())]
    Io {
        /// Which one.
        dir: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

impl StateDir {
    pub(super) fn open(dir: PathBuf) -> Result<Self, StateError> {
        let failed = |error| StateError::Io {
            dir: dir.clone(),
            error,
        };
        private::ensure_dir(&dir)?; // it holds the holders' secrets
        let lock = private_file(&dir.join(LOCK)).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(StateError::InUse(dir)),
            Err(fs::TryLockError::Error(error)) => return Err(failed(error)),
        }
        let found = match fs::read(dir.join(LEASES)) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed(error)),
        };
        Ok(Self {
            dir,
            found,
            _lock: lock,
        })
    }

    /// The leases found, and the way to write later ones.
    pub(super) fn start(mut self) -> (Vec<Kept>, Saver) {
        let kept = self.found.take().map_or_else(Vec::new, |bytes| self.read(&bytes));
        let (latest, mut changes) = watch::channel(Vec::new());
        let task = tokio::spawn(async move {
            let dir = Arc::new(self);
            // Only the latest state counts: what came while one was written is written once.
            while changes.changed().await.is_ok() {
                let (dir, kept) = (Arc::clone(&dir), changes.borrow_and_update().clone());
                drop(tokio::task::spawn_blocking(move || dir.write(&kept)).await);
            }
        });
        (kept, Saver { latest, task })
    }

    fn read(&self, bytes: &[u8]) -> Vec<Kept> {
        decode(bytes).unwrap_or_else(|| {
            tracing::warn!("{LEASES} in {} is damaged: starting empty", self.dir.display());
            drop(fs::rename(self.dir.join(LEASES), self.dir.join(ASIDE)));
            Vec::new()
        })
    }

    fn write(&self, kept: &[Kept]) {
        match self.replace(&encode(kept)) {
            Ok(()) => tracing::debug!("state written, {} leases", kept.len()),
            Err(error) => {
                let dir = self.dir.display();
                tracing::warn!("the state in {dir} could not be written: {error}");
            }
        }
    }

    fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        let beside = self.dir.join(BESIDE);
        let mut file = private_file(&beside)?;
        file.set_len(0)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, self.dir.join(LEASES))?;
        if cfg!(unix) {
            File::open(&self.dir)?.sync_all()?; // the rename itself
        }
        Ok(())
    }
}

/// Writes the latest state in the background.
pub(super) struct Saver {
    latest: watch::Sender<Vec<Kept>>,
    task: JoinHandle<()>,
}

impl Saver {
    pub(super) fn save(&self, kept: Vec<Kept>) {
        self.latest.send_replace(kept);
    }

    /// Writes this and returns when it is on disk.
    pub(super) async fn finish(self, kept: Vec<Kept>) {
        self.latest.send_replace(kept);
        drop(self.latest);
        drop(self.task.await);
    }
}

fn encode(kept: &[Kept]) -> Vec<u8> {
    let now = SystemTime::now();
    let saved = kept.iter().map(
        |Kept {
             peer,
             holder,
             turn,
             age,
         }| {
            let since = now.checked_sub(*age).and_then(|at| at.duration_since(UNIX_EPOCH).ok());
            let since_unix_ms = since.map_or(0, |since| since.as_millis() as u64);
            Saved {
                peer: peer.clone(),
                holder: *holder,
                turn: *turn,
                since_unix_ms,
            }
        },
    );
    let body = postcard::to_stdvec(&saved.collect::<Vec<_>>()).unwrap_or_default();
    [&MAGIC[..], &checksum(&body).to_le_bytes(), &body].concat()
}

fn decode(bytes: &[u8]) -> Option<Vec<Kept>> {
    let (sum, body) = bytes.strip_prefix(MAGIC)?.split_at_checked(8)?;
    if sum != checksum(body).to_le_bytes() {
        return None;
    }
    let (saved, rest): (Vec<Saved>, _) = postcard::take_from_bytes(body).ok()?;
    let keep = |Saved {
                    peer,
                    holder,
                    turn,
                    since_unix_ms,
                }| {
        let since = UNIX_EPOCH.checked_add(Duration::from_millis(since_unix_ms));
        let age = since.and_then(|since| SystemTime::now().duration_since(since).ok());
        Kept {
            peer,
            holder,
            turn,
            age: age.unwrap_or_default(),
        }
    };
    rest.is_empty().then(|| saved.into_iter().map(keep).collect())
}

/// FNV-1a: against a damaged disk, not against an adversary, who would own the directory.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn private_file(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.create(true).truncate(false).write(true).read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::Registration;

    #[test]
    fn what_is_kept_comes_back_and_damage_is_noticed() {
        let addr = std::net::SocketAddr::from(([127, 0, 0, 1], 9));
        let peer = Registration::new(7.into(), "ana", addr).check().expect("well formed");
        let age = Duration::from_secs(90);
        let kept = vec![Kept {
            peer,
            holder: Holder([3; 16]),
            turn: 5,
            age,
        }];
        let bytes = encode(&kept);
        let back = decode(&bytes).expect("whole");
        assert_eq!((back.len(), &back[0].peer, back[0].turn), (1, &kept[0].peer, 5));
        assert!(back[0].age >= age);
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            assert!(decode(&damaged).is_none(), "flipped byte {at}");
            assert!(decode(&bytes[..at]).is_none(), "cut at {at}");
        }
    }
}
