//! Why a registry does not answer, or does not help.

use std::time::Duration;

use crate::printable::printable;
use crate::protocol::Refusal;

/// Why a question was not answered. Except where noted, nothing changed at the registry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// The registry's name has no address.
    #[error("{} does not resolve: {why}", printable(.registry))]
    Resolve {
        /// As it was given.
        registry: String,
        /// What the resolver says.
        why: String,
    },
    /// No connection.
    #[error("no registry answers on {}: {why}", printable(.registry))]
    Connect {
        /// As it was given.
        registry: String,
        /// What the system says.
        why: String,
    },
    /// No answer in time. Whether the registry acted is unknown.
    #[error("{} did not answer within {waited:?}", printable(.registry))]
    NoAnswer {
        /// As it was given.
        registry: String,
        /// How long was waited.
        waited: Duration,
    },
    /// The connection ended before the answer. Whether the registry acted is unknown.
    #[error("{} closed the connection (is it a nodesetd?)", printable(.registry))]
    Closed {
        /// As it was given.
        registry: String,
    },
    /// An answer to something else.
    #[error("{} gave an answer to another question", printable(.registry))]
    Confused {
        /// As it was given.
        registry: String,
    },
    /// No TLS with it. Nothing was asked.
    #[error("no TLS with {}: {why} (is it a nodesetd of this version?)", printable(.registry))]
    Handshake {
        /// As it was given.
        registry: String,
        /// What went wrong.
        why: String,
    },
    /// It is of an authority that nothing here knows, so nothing was told to it.
    #[error(
        "the registry at {} (fingerprint {fingerprint}) is not of this user, and does not know you: ask for an invite \
         (`nodesetd invite`) and use --invite", printable(.registry)
    )]
    Stranger {
        /// As it was given.
        registry: String,
        /// SHA-256 of the authority's certificate, in hexadecimal digits.
        fingerprint: String,
    },
    /// It ended the connection over the certificate that was shown to it.
    #[error("{} does not accept this process's certificate ({alert})", printable(.registry))]
    NotAccepted {
        /// As it was given.
        registry: String,
        /// TLS's word for it.
        alert: String,
    },
    /// The registry said no.
    #[error(transparent)]
    Refused(Refusal),
}

impl AskError {
    /// Whether there is a registry that refuses, rather than none that answers: asking again
    /// without another proof changes nothing. Programs exit with 4 then, otherwise with 3.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Stranger { .. } | Self::NotAccepted { .. } | Self::Refused(_)
        )
    }
}
