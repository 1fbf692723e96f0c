//! What a server says when it does not do something, and whether to ask again.

use std::error::Error as _;

use tokio_postgres::error::SqlState;

use crate::store::StoreError;

/// What goes wrong inside, before it is said where.
#[derive(Debug)]
pub(super) enum Trouble {
    Sql(tokio_postgres::Error),
    Passing(&'static str),
    Damaged(String),
    Locked,
    OtherVersion { found: String, expected: String },
    Wrong(&'static str),
}

impl Trouble {
    pub(super) fn passing(what: &'static str) -> Self {
        Self::Passing(what)
    }

    pub(super) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged(what.into())
    }

    /// Whether it may go well if it is tried again: transactions that met, a server that starts anew, a lost connection.
    pub(super) fn may_pass(&self) -> bool {
        let error = match self {
            Self::Sql(error) => error,
            Self::Passing(_) => return true,
            _ => return false,
        };
        let Some(state) = error.code() else {
            // Nothing from the server: the way to it is broken.
            return error.is_closed() || error.source().is_some_and(|source| source.is::<std::io::Error>());
        };
        [
            SqlState::T_R_SERIALIZATION_FAILURE,
            SqlState::T_R_DEADLOCK_DETECTED,
            SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN,
            SqlState::ADMIN_SHUTDOWN,
            SqlState::CRASH_SHUTDOWN,
            SqlState::CANNOT_CONNECT_NOW,
            SqlState::TOO_MANY_CONNECTIONS,
            SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
        ]
        .contains(state)
            || state.code().starts_with("08")
    }

    pub(super) fn at(self, place: &str) -> StoreError {
        let place = place.to_owned();
        let io = |what: String| StoreError::Io {
            place: place.clone(),
            what,
        };
        match self {
            Self::Damaged(what) => StoreError::Damaged { place, what },
            Self::Locked => StoreError::Locked { place },
            Self::OtherVersion { found, expected } => StoreError::OtherVersion { place, found, expected },
            Self::Passing(what) | Self::Wrong(what) => io(what.to_owned()),
            Self::Sql(error) => {
                let what = words(&error);
                match error.code() {
                    Some(&SqlState::DISK_FULL) => StoreError::Full { place, what },
                    Some(&SqlState::DATA_CORRUPTED | &SqlState::INDEX_CORRUPTED) => StoreError::Damaged { place, what },
                    _ => io(what),
                }
            }
        }
    }
}

impl From<tokio_postgres::Error> for Trouble {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Sql(error)
    }
}

/// The error with its cause, which the library keeps apart.
pub(super) fn words(error: &tokio_postgres::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
