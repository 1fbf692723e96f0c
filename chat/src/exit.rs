//! How a chat ends: exit codes, and what is said on stderr.

use std::process::ExitCode;

/// Why the process ends as it does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Exit {
    /// Left cleanly; also by SIGTERM or when the reader of stdout went away.
    Clean,
    /// Something that should not happen.
    Unexpected(String),
    /// The command line, the environment or the configuration file is wrong.
    Usage(String),
    /// No registry and no peer can be reached; or nobody is there who could get a message.
    Alone(String),
    /// Every registry refuses this instance.
    Refused(String),
    /// These had not confirmed everything in time.
    Unconfirmed(Vec<String>),
    /// Something that is done by all together was not done, and nobody was there to read why.
    Aborted(String),
    /// The profile is used by another process.
    ProfileInUse(String),
    /// The store is in use, damaged, or cannot be written.
    Store(String),
    /// SIGINT in line mode; the leave was announced.
    Interrupted,
}

impl Exit {
    /// The exit code.
    pub fn code(&self) -> u8 {
        match self {
            Self::Clean => 0,
            Self::Unexpected(_) => 1,
            Self::Usage(_) => 2,
            Self::Alone(_) => 3,
            Self::Refused(_) => 4,
            Self::Unconfirmed(_) => 5,
            Self::Aborted(_) => 6,
            Self::ProfileInUse(_) | Self::Store(_) => 7,
            Self::Interrupted => 130,
        }
    }

    /// What stands on stderr, if there is something to say.
    pub fn words(&self) -> Option<String> {
        match self {
            Self::Clean | Self::Interrupted => None,
            Self::Unexpected(text)
            | Self::Usage(text)
            | Self::Alone(text)
            | Self::Refused(text)
            | Self::Aborted(text)
            | Self::ProfileInUse(text)
            | Self::Store(text) => Some(format!("chat: {text}")),
            Self::Unconfirmed(names) => Some(format!("chat: not confirmed in time by {}", names.join(", "))),
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
