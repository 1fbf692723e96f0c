//! The profile's store: which one, and what is said if it cannot be used.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use multicast::store::{PostgresStore, SqliteStore, Store, StoreError, Words};

use crate::app::clean;
use crate::exit::Exit;
use crate::post::Post;
use crate::settings::{self, Settings};

/// Where messages are kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// In a file.
    File(PathBuf),
    /// In a server, at that address.
    Server(String),
}

impl Place {
    /// A path, or the address of a server.
    pub fn of(text: &str) -> Self {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Self::Server(text.to_owned());
        }
        Self::File(PathBuf::from(text))
    }

    /// For people: without a password.
    pub fn shown(&self) -> String {
        match self {
            Self::File(path) => clean::line(&path.display().to_string()),
            Self::Server(address) => match address.split_once("://").and_then(|(_, rest)| rest.rsplit_once('@')) {
                Some((_, host)) => clean::line(&format!("postgres://…@{host}")),
                None => clean::line(address),
            },
        }
    }
}

/// Most messages of the history that are told at a join: they are in memory until they are told.
pub const BACKLOG_MAX: usize = 1000;
/// How much of each room is kept, if nobody says otherwise: some millions of messages.
pub const KEEP: &str = "1GiB";

/// How much of each room is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Keep {
    /// In bytes, as the store counts.
    pub bytes: u64,
    /// How old it may become.
    pub age: Option<Duration>,
}

impl Keep {
    /// As people write it: `1GiB`, and `30d` or nothing.
    pub fn read(size: &str, age: &str) -> Result<Self, String> {
        let units = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)];
        let scaled = units.iter().find_map(|(unit, bits)| {
            let number: u64 = size.strip_suffix(unit)?.trim_end().parse().ok()?;
            number.checked_mul(1 << bits)
        });
        let wrong = || "--history-size is a number of bytes like 64MiB, or 2GiB".to_owned();
        // Days are not parsed as a length of time elsewhere: some have 23 hours.
        let days = age.strip_suffix('d').and_then(|days| days.parse::<u64>().ok());
        let age = match (age, days) {
            ("", _) => None,
            (_, Some(days)) => Some(Duration::from_secs(days.saturating_mul(24 * 3600))),
            (age, None) => Some(settings::duration("history-age", age)?),
        };
        Ok(Self {
            bytes: scaled.or_else(|| size.parse().ok()).ok_or_else(wrong)?,
            age,
        })
    }
}

/// What is found of a message: its words.
fn words() -> Words {
    Arc::new(|payload| Post::decode(payload).ok().map(|post| post.text))
}

/// Opens the store that these settings name, for this process alone; none, if there is none. Blocks.
pub fn to_write(settings: &Settings) -> Result<Option<Box<dyn Store>>, Exit> {
    let opened = match &settings.store {
        None => return Ok(None),
        Some(Place::File(path)) => {
            if let Some(directory) = path.parent() {
                std::fs::create_dir_all(directory).map_err(|error| {
                    Exit::Store(format!(
                        "{}: {error}; name another place with --store",
                        clean::line(&directory.display().to_string())
                    ))
                })?;
            }
            SqliteStore::open(path, words()).map(|store| Box::new(store) as Box<dyn Store>)
        }
        Some(Place::Server(address)) => apart(address, PostgresStore::open),
    };
    opened.map(Some).map_err(|error| exit(&error))
}

/// Opens it to be read, also while a chat runs on it; none, if there is none. Blocks.
pub fn to_read(settings: &Settings) -> Result<Option<Box<dyn Store>>, Exit> {
    let opened = match &settings.store {
        Some(Place::File(path)) if path.exists() || beside(path).exists() => {
            SqliteStore::open_to_read(path, words()).map(|store| Box::new(store) as Box<dyn Store>)
        }
        None | Some(Place::File(_)) => return Ok(None),
        Some(Place::Server(address)) => apart(address, PostgresStore::open_to_read),
    };
    opened.map(Some).map_err(|error| exit(&error))
}

/// The journal: where it is, there was a history.
fn beside(path: &std::path::Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// On a thread without a runtime, as it has one of its own.
fn apart(
    address: &str,
    open: impl FnOnce(&str, Words) -> Result<PostgresStore, StoreError> + Send,
) -> Result<Box<dyn Store>, StoreError> {
    let opened = std::thread::scope(|scope| scope.spawn(|| open(address, words())).join());
    match opened {
        Ok(opened) => opened.map(|store| Box::new(store) as Box<dyn Store>),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// How a chat ends that cannot use its store. The error says what to do.
pub fn exit(error: &StoreError) -> Exit {
    Exit::Store(clean::line(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read() {
        let keep = |bytes, age| Ok(Keep { bytes, age });
        assert_eq!(Keep::read("64MiB", ""), keep(64 << 20, None));
        let month = Duration::from_secs(30 * 24 * 3600);
        assert_eq!(Keep::read("1000", "30d"), keep(1000, Some(month)));
        assert_eq!(
            Keep::read("2 GiB", "90m"),
            keep(2 << 30, Some(Duration::from_secs(5400)))
        );
        assert!(Keep::read("much", "").is_err() && Keep::read("1GiB", "long").is_err());
    }

    #[test]
    fn a_password_is_not_shown() {
        let place = Place::of("postgres://ana:secret@db.example/chat");
        assert_eq!(place.shown(), "postgres://…@db.example/chat");
        assert_eq!(Place::of("/tmp/x.db").shown(), "/tmp/x.db");
    }
}
