//! What went wrong with a connection, in plain words.

use std::error::Error as StdError;
use std::sync::Arc;
use std::{fmt, io};

use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

use crate::identity::Fault;

/// Somebody is there, and one side does not let the other in.
pub(crate) const DENIED: io::ErrorKind = io::ErrorKind::PermissionDenied;

/// A certificate's fault, as rustls carries it.
#[derive(Debug)]
pub(super) struct Refused(pub(super) Fault);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "its certificate {}", self.0)
    }
}

impl StdError for Refused {}

/// What an error says to people: what TLS found wrong, if it was that, else its own words. If one side does not let the
/// other in, its kind is [`DENIED`].
pub(crate) fn plain(error: &(dyn StdError + 'static)) -> io::Error {
    let Some(found) = of_causes(error) else {
        let mut last = error;
        while let Some(deeper) = last.source() {
            last = deeper;
        }
        return io::Error::other(last.to_string());
    };
    let denied = matches!(
        found,
        Error::NoCertificatesPresented | Error::InvalidCertificate(_) | Error::AlertReceived(_)
    );
    let kind = if denied { DENIED } else { io::ErrorKind::Other };
    io::Error::new(kind, of_tls(found))
}

/// What TLS found wrong, if it was that.
fn of_causes<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Error> {
    let mut cause = Some(error);
    while let Some(this) = cause {
        let found = this.downcast_ref::<Error>();
        let io = this.downcast_ref::<io::Error>();
        // tarpc shares its causes.
        let io = io.or_else(|| this.downcast_ref::<Arc<io::Error>>().map(Arc::as_ref));
        let inner = io.and_then(|error| error.get_ref());
        if let Some(found) = found.or_else(|| inner.and_then(|error| error.downcast_ref::<Error>())) {
            return Some(found);
        }
        cause = this.source();
    }
    None
}

fn of_tls(error: &Error) -> String {
    match error {
        Error::NoCertificatesPresented => "it shows no certificate".to_owned(),
        Error::InvalidCertificate(fault) => of_certificate(fault),
        Error::InvalidMessage(_) | Error::InappropriateMessage { .. } => "it does not speak TLS 1.3".to_owned(),
        Error::PeerIncompatible(
            PeerIncompatible::Tls12NotOffered | PeerIncompatible::SupportedVersionsExtensionRequired,
        ) => "it does not speak TLS 1.3".to_owned(),
        Error::AlertReceived(alert) => format!("the other side refuses: {}", of_alert(*alert)),
        Error::General(what) if what.contains("no server certificate chain resolved") => {
            "it asks for a cluster that this node is not in".to_owned()
        }
        other => other.to_string(),
    }
}

fn of_certificate(fault: &CertificateError) -> String {
    match fault {
        CertificateError::Expired => "its certificate has expired, and it is in no group here".to_owned(),
        CertificateError::NotValidYet => {
            "its certificate is of the future (do the clocks differ?), and it is in no group here".to_owned()
        }
        CertificateError::Revoked => "it was evicted".to_owned(),
        CertificateError::UnknownIssuer => "its certificate is of no cluster that this node is in".to_owned(),
        CertificateError::BadSignature => "its certificate is not signed by its cluster's authority".to_owned(),
        CertificateError::BadEncoding => "its certificate cannot be parsed".to_owned(),
        CertificateError::Other(other) => other.to_string(),
        other => format!("its certificate is refused: {other}"),
    }
}

fn of_alert(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::CertificateExpired => "this node's certificate has expired".to_owned(),
        AlertDescription::CertificateRevoked => "this node was evicted".to_owned(),
        AlertDescription::UnknownCA => "it is in no cluster that this node is in".to_owned(),
        AlertDescription::CertificateRequired => "this node shows no certificate".to_owned(),
        AlertDescription::AccessDenied | AlertDescription::UnrecognisedName => {
            "it is not in this node's cluster".to_owned()
        }
        other => format!("{other:?}"),
    }
}
