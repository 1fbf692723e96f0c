//! Values with where they come from, row by row.

use std::path::PathBuf;
use std::time::Duration;

use clap::ArgMatches;
use clap::parser::ValueSource;

use super::words;
use crate::app::clean;

/// Where a value comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    Flag,
    Environment,
    File(PathBuf),
    Default,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Environment => f.write_str("environment"),
            Self::File(path) => write!(f, "file {}", clean::line(&path.display().to_string())),
            Self::Default => f.write_str("default"),
        }
    }
}

/// The values so far.
pub(super) struct Table<'a> {
    /// What was given on the command line, and in the environment.
    pub(super) matches: &'a ArgMatches,
    /// The file that was read, if any.
    pub(super) path: PathBuf,
    /// For `chat config`: name, value, source.
    pub(super) rows: Vec<(&'static str, String, Source)>,
}

impl Table<'_> {
    pub(super) fn text(
        &mut self,
        name: &'static str,
        flag: Option<String>,
        file: Option<String>,
        default: &str,
    ) -> String {
        let source = self.source(name, flag.is_some(), file.is_some());
        let value = flag.or(file).unwrap_or_else(|| default.to_owned());
        self.rows.push((name, value.clone(), source));
        value
    }

    /// The default is only shown: what it means is decided by whoever asks.
    pub(super) fn list(
        &mut self,
        name: &'static str,
        flag: Vec<String>,
        file: Option<Vec<String>>,
        default: &str,
    ) -> Vec<String> {
        let source = self.source(name, !flag.is_empty(), file.is_some());
        let value = if flag.is_empty() {
            file.unwrap_or_default()
        } else {
            flag
        };
        let shown = if source == Source::Default {
            default.to_owned()
        } else {
            value.join(",")
        };
        self.rows.push((name, shown, source));
        value
    }

    pub(super) fn switch(&mut self, name: &'static str, flag: bool, file: Option<bool>) -> bool {
        let source = self.source(name, flag, file.is_some());
        let value = flag || file.unwrap_or(false);
        self.rows.push((name, value.to_string(), source));
        value
    }

    pub(super) fn duration(
        &mut self,
        name: &'static str,
        flag: Option<String>,
        file: Option<String>,
        default: Duration,
    ) -> Result<Duration, String> {
        let text = self.text(name, flag, file, &format!("{}s", default.as_secs()));
        words::duration(name, &text)
    }

    pub(super) fn source(&self, name: &str, flag: bool, file: bool) -> Source {
        let from_environment = || matches!(self.matches.value_source(name), Some(ValueSource::EnvVariable));
        match (flag, file) {
            (true, _) if from_environment() => Source::Environment,
            (true, _) => Source::Flag,
            (false, true) => Source::File(self.path.clone()),
            (false, false) => Source::Default,
        }
    }
}
