//! The proof that two processes are of one user on one machine, without any configuration.
//!
//! A running registry publishes, where only its user can read it, the certificate of its authority
//! and a secret. A client that is shown that authority reads the file and proves that it could,
//! by whatever address it reached the registry. The secret never crosses the wire.

use std::env;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::authority::{Authority, fingerprint};
use crate::key::hex;
use crate::private::{self, PrivateError};

const MAGIC: &[u8; 8] = b"nslocal1";
/// Authorities published in one directory at once: far more than one user runs; bounds what a
/// start looks through.
pub const PUBLICATIONS_MAX: usize = 64;
/// Ending of the files that running registries hold locks on.
const LOCK_SUFFIX: &str = ".lock";

/// Where everything of this package that outlives a process is kept unless told otherwise:
/// `$XDG_STATE_HOME/nodeset`, by default `$HOME/.local/state/nodeset`. `None` without either.
pub fn state_home() -> Option<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    Some(base.join("nodeset"))
}

/// Where the registries of this process's user publish unless told otherwise:
/// `$XDG_STATE_HOME/nodeset/local`. `None` without a home.
pub fn default_dir() -> Option<PathBuf> {
    Some(state_home()?.join("local"))
}

#[derive(Serialize, Deserialize)]
struct Published {
    certificate: Vec<u8>,
    secret: [u8; 32],
}

/// A publication, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Publication {
    path: PathBuf,
    /// Shared by all registries of one authority; whoever can have it alone is the last.
    lock: File,
    lock_path: PathBuf,
}

impl Publication {
    /// Publishes `authority` in `dir`, and removes what registries left there that were killed.
    pub(crate) fn new(dir: &Path, authority: &Authority) -> Result<Self, PrivateError> {
        private::ensure_dir(dir)?;
        let _sweeping = private::lock(&dir.join("sweep"))?;
        if sweep(dir) >= PUBLICATIONS_MAX {
            let full = format!("{PUBLICATIONS_MAX} registries publish there already");
            return Err(private::failed(dir, io::Error::other(full)));
        }
        let name = hex(authority.fingerprint_bytes());
        let (path, lock_path) = (dir.join(&name), dir.join(name + LOCK_SUFFIX));
        let lock = private::open_lock(&lock_path)?;
        lock.lock_shared().map_err(|error| private::failed(&lock_path, error))?;
        let published = Published {
            certificate: authority.certificate().to_vec(),
            secret: *authority.local_secret(),
        };
        let body = postcard::to_stdvec(&published).unwrap_or_default(); // plain bytes: cannot fail
        private::replace(&path, &private::seal(MAGIC, &body))?;
        Ok(Self { path, lock, lock_path })
    }
}

impl Drop for Publication {
    fn drop(&mut self) {
        let Some(dir) = self.path.parent() else { return };
        let Ok(_sweeping) = private::lock(&dir.join("sweep")) else {
            return;
        };
        // Another registry of this authority may run; then the publication stays, for it.
        if self.lock.unlock().is_ok() && self.lock.try_lock().is_ok() {
            drop(fs::remove_file(&self.path));
            drop(fs::remove_file(&self.lock_path));
        }
    }
}

/// Removes publications on which nobody holds a lock; returns how many there are then. Called
/// under the lock on sweeping.
fn sweep(dir: &Path) -> usize {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let mut held = 0;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    for name in names.filter(|name| is_fingerprint(name)) {
        let lock = dir.join(format!("{name}{LOCK_SUFFIX}"));
        match private::try_lock(&lock) {
            Ok(Some(_alone)) => {
                drop(fs::remove_file(dir.join(&name)));
                drop(fs::remove_file(lock));
            }
            _ => held += 1,
        }
    }
    held
}

fn is_fingerprint(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The local secret of the authority with this fingerprint, if it is published in `dir` and
/// nobody else can have written or read it.
pub(crate) fn secret_of(dir: &Path, wanted: &[u8; 32]) -> Result<Option<[u8; 32]>, PrivateError> {
    match private::check_dir(dir) {
        Err(PrivateError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        checked => checked?,
    }
    let path = dir.join(hex(wanted));
    let Some(bytes) = private::read(&path)? else {
        return Ok(None);
    };
    let published = private::unseal(MAGIC, &bytes).and_then(|body| postcard::from_bytes::<Published>(body).ok());
    match published {
        Some(published) if fingerprint(&published.certificate) == *wanted => Ok(Some(published.secret)),
        _ => Err(private::damaged(&path, "it is no publication of a registry")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_published_is_there_while_a_registry_runs() {
        let dir = env::temp_dir().join(format!("nodeset-local-{}", std::process::id()));
        let (one, two) = (
            Authority::ephemeral().expect("made"),
            Authority::ephemeral().expect("made"),
        );
        let secret = |authority: &Authority| secret_of(&dir, authority.fingerprint_bytes()).expect("readable");
        assert_eq!(secret(&one), None, "no directory yet");
        let first = Publication::new(&dir, &one).expect("published");
        let again = Publication::new(&dir, &one).expect("published");
        assert_eq!(secret(&one).as_ref(), Some(one.local_secret()));
        drop(first);
        assert_eq!(secret(&one).as_ref(), Some(one.local_secret()), "another one runs");
        let path = dir.join(one.fingerprint());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("set");
        assert!(secret_of(&dir, one.fingerprint_bytes()).is_err(), "others can read it");
        drop(again);
        assert_eq!(secret(&one), None);

        // Killed: the files stay, the locks do not.
        fs::write(&path, b"left behind").expect("written");
        fs::write(dir.join(one.fingerprint() + LOCK_SUFFIX), b"").expect("written");
        let _other = Publication::new(&dir, &two).expect("published");
        assert!(!path.exists());
        assert!(secret(&two).is_some());
        fs::remove_dir_all(&dir).expect("removed");
    }
}
