//! The authority on disk: one file, so that key, certificate and local secret are always of one
//! making.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rcgen::date_time_ymd;
use serde::{Deserialize, Serialize};

use super::{AUTHORITY_LIFE, AuthorityError, EARLY, ca_params, serial};
use crate::key::{KeyError, Pair};
use crate::private;

const MAGIC: &[u8; 8] = b"nsauth01";
const FILE: &str = "authority.key";
const LOCK: &str = "authority.lock";

#[derive(Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) pkcs8: Vec<u8>,
    pub(super) certificate: Vec<u8>,
    pub(super) local_secret: [u8; 32],
    until_unix: u64,
}

/// Reads what `dir` holds, or makes it, under a lock.
pub(super) fn open(dir: &Path) -> Result<Kept, AuthorityError> {
    private::ensure_dir(dir)?;
    let path = dir.join(FILE);
    let _lock = private::lock(&dir.join(LOCK))?;
    let Some(bytes) = private::read(&path)? else {
        let kept = make()?;
        let body = postcard::to_stdvec(&kept).map_err(|error| AuthorityError::Encoding(error.to_string()))?;
        private::replace(&path, &private::seal(MAGIC, &body))?;
        return Ok(kept);
    };
    let body = private::unseal(MAGIC, &bytes).ok_or_else(|| damaged(dir))?;
    let kept: Kept = postcard::from_bytes(body).map_err(|_| damaged(dir))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    if now.as_secs() >= kept.until_unix {
        return Err(AuthorityError::Expired(dir.to_owned()));
    }
    Ok(kept)
}

pub(super) fn damaged(dir: &Path) -> AuthorityError {
    private::damaged(&dir.join(FILE), "it holds no certificate authority").into()
}

pub(super) fn make() -> Result<Kept, AuthorityError> {
    let key = Pair::generate()?;
    let mut local_secret = [0; 32];
    getrandom::fill(&mut local_secret).map_err(|_| KeyError::Entropy)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let until = now + AUTHORITY_LIFE;
    let mut params = ca_params(&key);
    let at = |time: std::time::Duration| date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(time.as_secs());
    params.not_before = at(now.saturating_sub(EARLY));
    params.not_after = at(until);
    params.serial_number = Some(serial().map_err(|_| KeyError::Entropy)?);
    let certificate = params.self_signed(&key);
    let certificate = certificate.map_err(|error| AuthorityError::Encoding(error.to_string()))?;
    Ok(Kept {
        certificate: certificate.der().to_vec(),
        pkcs8: key.pkcs8,
        local_secret,
        until_unix: until.as_secs(),
    })
}
