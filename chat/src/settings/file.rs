//! `chat.toml`.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::app::clean;
use crate::exit::Exit;

/// Largest configuration file that is read: far more than all keys take.
pub const FILE_MAX: u64 = 64 * 1024;

/// The keys of `chat.toml`; each means what the flag of its name means.
#[derive(Clone, Default, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) registry: Option<Vec<String>>,
    pub(super) peer: Option<Vec<String>>,
    pub(super) nick: Option<String>,
    pub(super) profile: Option<String>,
    pub(super) ephemeral: Option<bool>,
    pub(super) store: Option<String>,
    pub(super) history_size: Option<String>,
    pub(super) history_age: Option<String>,
    pub(super) backlog: Option<u64>,
    pub(super) room: Option<String>,
    pub(super) listen: Option<String>,
    pub(super) advertise: Option<String>,
    pub(super) output: Option<String>,
    pub(super) input: Option<String>,
    pub(super) stamp: Option<String>,
    pub(super) color: Option<String>,
    pub(super) ui: Option<String>,
    pub(super) stay: Option<bool>,
    pub(super) linger: Option<String>,
    pub(super) grace: Option<String>,
    pub(super) chaos: Option<bool>,
    pub(super) no_commands: Option<bool>,
    pub(super) log_file: Option<PathBuf>,
}

impl File {
    pub(super) fn read(path: &Path) -> Result<Self, Exit> {
        let refuse = |why: String| {
            let path = clean::line(&path.display().to_string());
            Exit::Usage(format!("configuration file {path}: {}", why.trim_end()))
        };
        let size = path.metadata().map_err(|error| refuse(error.to_string()))?.len();
        if size > FILE_MAX {
            return Err(refuse(format!("it has {size} bytes, at most {FILE_MAX} are read")));
        }
        let text = std::fs::read_to_string(path).map_err(|error| refuse(error.to_string()))?;
        toml::from_str(&text).map_err(|error| {
            let lines = error.to_string();
            let lines: Vec<_> = lines.lines().map(clean::line).collect();
            refuse(lines.join("\n"))
        })
    }
}

pub(super) fn standard_path() -> Option<PathBuf> {
    Some(super::xdg("XDG_CONFIG_HOME", ".config")?.join("chat.toml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_are_refused() {
        let file: File = toml::from_str("nick = \"ana\"\nregistry = [\"a:1\"]\nlinger = \"2s\"").unwrap();
        assert_eq!(file.nick.as_deref(), Some("ana"));
        assert!(toml::from_str::<File>("nik = \"ana\"").is_err());
    }
}
