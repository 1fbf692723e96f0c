//! Profiles: one directory of data each, used by one process at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::PathBuf;

use crate::exit::Exit;
use crate::names;
use crate::settings::{self, Settings};

/// Most instances of one user that look for a free number: more than a mesh has members.
pub const NUMBERS_MAX: usize = 256;

/// The name under which this instance appears, and the lock that keeps its profile.
#[derive(Debug)]
pub struct Claim {
    /// The nick.
    pub nick: String,
    /// What a person should know about it.
    pub notice: Option<String>,
    /// Where what outlives this process is kept; none: nothing does.
    pub directory: Option<PathBuf>,
    /// Held for as long as the process lives; the system gives it back whatever ends it.
    _lock: Option<File>,
}

/// Takes the profile of these settings.
pub fn claim(settings: &Settings) -> Result<Claim, Exit> {
    let nick = settings.nick.clone();
    let dots_only = names::is_dots(&settings.profile);
    let data = settings::xdg("XDG_DATA_HOME", ".local/share");
    let (Some(data), false, false) = (data, settings.ephemeral, dots_only) else {
        return Ok(Claim {
            nick,
            notice: None,
            directory: None,
            _lock: None,
        });
    };
    match lock(data.join(&settings.profile)) {
        Ok(lock) => Ok(Claim {
            nick,
            notice: None,
            directory: Some(data.join(&settings.profile)),
            _lock: Some(lock),
        }),
        Err(Busy::InUse) if settings.chosen => Err(Exit::ProfileInUse(format!(
            "profile {} is in use by another running chat: choose another --nick or --profile, or add --ephemeral",
            settings.profile
        ))),
        Err(Busy::InUse) => numbered(&nick, &data),
        Err(Busy::Unusable(why)) => Ok(Claim {
            nick,
            notice: Some(format!("going on without a profile: {why}")),
            directory: None,
            _lock: None,
        }),
    }
}

/// `ana-2`, or the next number that no other instance has. The lock only keeps the number apart.
fn numbered(nick: &str, data: &std::path::Path) -> Result<Claim, Exit> {
    for k in 2..NUMBERS_MAX {
        let name = names::numbered(nick, k);
        let lock = match lock(data.join(&name)) {
            Ok(lock) => Some(lock),
            Err(Busy::InUse) => continue,
            Err(Busy::Unusable(_)) => None,
        };
        return Ok(Claim {
            notice: Some(format!(
                "profile {nick} is in use by another running chat; you are {name}, without a profile"
            )),
            nick: name,
            directory: None,
            _lock: lock,
        });
    }
    Err(Exit::ProfileInUse(format!(
        "profile {nick} and {NUMBERS_MAX} numbered ones are in use: choose a --nick, or end some chats"
    )))
}

enum Busy {
    InUse,
    Unusable(String),
}

fn lock(directory: PathBuf) -> Result<File, Busy> {
    let unusable = |error: std::io::Error| Busy::Unusable(format!("{}: {error}", directory.display()));
    std::fs::create_dir_all(&directory).map_err(unusable)?;
    let mut options = OpenOptions::new();
    let file = options
        .create(true)
        .truncate(false)
        .write(true)
        .open(directory.join("lock"))
        .map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Busy::InUse),
        Err(TryLockError::Error(error)) => Err(unusable(error)),
    }
}
