//! Serving a registry, in `nodesetd` or embedded in another program.

use std::future::Future;
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

/// How a registry is served.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long a lease lasts without renewal. Default 6 s.
    pub lease: Duration,
    /// Most live peers. Default 256.
    pub max_peers: usize,
    /// Where leases are kept over a restart. Default `None`: a restarted registry is empty, and
    /// complete again within one lease.
    pub state_dir: Option<PathBuf>,
}

/// A registry, ready to run.
#[derive(Debug)]
pub struct Server {}

impl Server {
    /// A registry with these options; with a state directory, what it held when it last ran.
    ///
    /// # Errors
    /// See [`SetupError`]. Nothing was started.
    pub fn new(options: Options) -> Result<Self, SetupError> {
        let _ = options;
        unimplemented!("comes with the wire")
    }

    /// Serves on all `listeners` until `shutdown` is ready, then stops accepting, closes every
    /// connection and returns. Must be polled inside a tokio runtime. Dropping the future stops
    /// the server as well.
    pub async fn run(self, listeners: Vec<TcpListener>, shutdown: impl Future<Output = ()> + Send) {
        let _ = (listeners, shutdown.await);
    }
}

/// Why a registry could not be set up. Nothing was started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The lease is outside what is allowed.
    #[error("a lease of {0:?} is outside what is allowed")]
    Lease(Duration),
}
