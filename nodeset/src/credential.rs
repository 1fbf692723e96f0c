//! What somebody who was invited keeps, so that the invite is needed once: whom to trust, and
//! where. The other half is the profile key, by which the registry knows them again.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::authority::{cluster, fingerprint};
use crate::key::hex;
use crate::private::{self, PrivateError};

const MAGIC: &[u8; 8] = b"nscred01";
/// Credentials in one directory; who is in more clusters keeps the first ones.
pub const CREDENTIALS_MAX: usize = 64;
const SUFFIX: &str = "credential";

/// A cluster that somebody was let into. Nothing in it is secret, but whoever can change it can
/// say whom its owner trusts; so its file is the owner's alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    root: Vec<u8>,
    registry: String,
}

impl Credential {
    /// Trust in the authority with this certificate (DER), whose registry is at `registry`
    /// (`host:port`).
    pub fn new(root: Vec<u8>, registry: impl Into<String>) -> Self {
        let registry = registry.into();
        Self { root, registry }
    }

    /// The authority's certificate, in DER.
    pub fn root(&self) -> &[u8] {
        &self.root
    }

    /// Where its registry was.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// SHA-256 of the authority's certificate, in 64 hexadecimal digits.
    pub fn fingerprint(&self) -> String {
        hex(&self.fingerprint_bytes())
    }

    /// The name of the cluster.
    pub fn cluster(&self) -> String {
        cluster(&self.fingerprint_bytes())
    }

    pub(crate) fn fingerprint_bytes(&self) -> [u8; 32] {
        fingerprint(&self.root)
    }

    /// Keeps it in `dir` (made if need be, 0700), in a file of its own (0600) that replaces an
    /// earlier one of the same cluster whole.
    ///
    /// # Errors
    /// See [`PrivateError`]. What was kept before is kept still.
    pub fn store(&self, dir: &Path) -> Result<(), PrivateError> {
        private::ensure_dir(dir)?;
        let path = dir.join(format!("{}.{SUFFIX}", self.fingerprint()));
        let body = postcard::to_stdvec(self).unwrap_or_default(); // plain bytes: cannot fail
        private::replace(&path, &private::seal(MAGIC, &body))
    }

    /// All that are kept in `dir`, by fingerprint; none if there is no such directory.
    ///
    /// # Errors
    /// See [`PrivateError`]: the directory or one of the files is not its owner's alone, or
    /// damaged.
    pub fn load_all(dir: &Path) -> Result<Vec<Self>, PrivateError> {
        let entries = match std::fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(private::failed(dir, error)),
        };
        private::check_dir(dir)?;
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let ours = |path: &std::path::PathBuf| path.extension().is_some_and(|end| end == SUFFIX);
        let mut paths: Vec<_> = paths.filter(ours).collect();
        paths.sort();
        paths.truncate(CREDENTIALS_MAX);
        let mut all = Vec::new();
        for path in paths {
            if let Some(bytes) = private::read(&path)? {
                let body = private::unseal(MAGIC, &bytes);
                let read = body.and_then(|body| postcard::from_bytes(body).ok());
                all.push(read.ok_or_else(|| private::damaged(&path, "it is no credential"))?);
            }
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn credentials_are_kept_for_their_owner_alone() {
        let dir = std::env::temp_dir().join(format!("nodeset-credentials-{}", std::process::id()));
        assert_eq!(Credential::load_all(&dir).expect("none yet"), []);
        let (one, two) = (Credential::new(vec![1], "a:1"), Credential::new(vec![2], "b:2"));
        one.store(&dir).expect("stored");
        two.store(&dir).expect("stored");
        Credential::new(vec![1], "c:3").store(&dir).expect("stored over");
        let all = Credential::load_all(&dir).expect("loaded");
        assert_eq!(all.len(), 2);
        assert!(all.contains(&two) && !all.contains(&one), "{all:?}");
        let path = dir.join(format!("{}.{SUFFIX}", two.fingerprint()));
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).expect("set");
        assert!(Credential::load_all(&dir).is_err(), "anyone may have written it");
        fs::remove_dir_all(dir).expect("removed");
    }
}
