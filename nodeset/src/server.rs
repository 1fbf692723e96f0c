//! Serving a registry, in `nodesetd` or embedded in another program.
//!
//! The caller binds and the caller stops:
//!
//! ```
//! use nodeset::server::{Options, Server};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//! let addr = listener.local_addr()?.to_string();
//! let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
//! let server = Server::new(Options::default())?;
//! let serving = tokio::spawn(server.run(vec![listener], async { drop(stopped.await) }));
//!
//! let health = nodeset::client::health(&addr, std::time::Duration::from_secs(5)).await?;
//! assert_eq!(health.live, 0);
//! drop(stop);
//! serving.await??;
//! # Ok(())
//! # }
//! ```

mod connection;
mod door;
mod owner;
mod state;
mod stats;

use std::future::Future;
use std::io;
use std::net::TcpListener as StdListener;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use self::door::Door;
use self::owner::{Mail, Owner};
use self::state::StateDir;
pub use self::state::StateError;
pub use self::stats::{Counts, Stats};
use crate::protocol::Instance;
use crate::random::random_u64;
use crate::registry::{LEASE_MAX, LEASE_MIN, Limits, PEERS_MAX};

/// How long to wait after a failed accept: the usual cause, no file descriptor left, passes only
/// when connections end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

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

impl Default for Options {
    fn default() -> Self {
        let Limits { lease, max_peers, .. } = Limits::default();
        Self {
            lease,
            max_peers,
            state_dir: None,
        }
    }
}

/// A registry, ready to run.
#[derive(Debug)]
pub struct Server {
    limits: Limits,
    state: Option<StateDir>,
    stats: Stats,
}

impl Server {
    /// A registry with these options. With a state directory: creates it if need be, locks it for
    /// as long as the server lives, and starts with the leases that it holds.
    ///
    /// # Errors
    /// See [`SetupError`]. Nothing was started.
    pub fn new(options: Options) -> Result<Self, SetupError> {
        let Options {
            lease,
            max_peers,
            state_dir,
        } = options;
        if !(LEASE_MIN..=LEASE_MAX).contains(&lease) {
            return Err(SetupError::Lease(lease));
        }
        if !(1..=PEERS_MAX).contains(&max_peers) {
            return Err(SetupError::MaxPeers(max_peers));
        }
        let state = state_dir.map(StateDir::open).transpose()?;
        let limits = Limits {
            lease,
            max_peers,
            ..Limits::default()
        };
        Ok(Self {
            limits,
            state,
            stats: Stats::default(),
        })
    }

    /// The counters of this server; they go on living when it runs.
    pub fn stats(&self) -> Stats {
        self.stats.clone()
    }

    /// Serves on all `listeners` until `shutdown` is ready, then stops accepting, closes every
    /// connection, writes the state and returns. Must be polled inside a tokio runtime. Dropping
    /// the future stops the server as well, without writing the state a last time.
    ///
    /// What happens is told as `tracing` events of the target `nodeset::server`: `INFO` for each
    /// change of the node set, `WARN` for each connection that was refused or spoke nonsense.
    ///
    /// # Errors
    /// A listener that the runtime cannot take, before anything is served. Once it serves, it does
    /// not fail.
    pub async fn run(self, listeners: Vec<StdListener>, shutdown: impl Future<Output = ()> + Send) -> io::Result<()> {
        let listeners = listeners.into_iter().map(adopt).collect::<io::Result<Vec<_>>>()?;
        let instance = Instance(random_u64());
        let (owner, mail) = Owner::new(instance, self.limits, self.state, self.stats.clone());
        let mut owner_task = JoinSet::new(); // a set, so that dropping this future stops the task
        owner_task.spawn(owner.run());

        let mut house = House {
            door: Arc::new(Door::new(&self.limits)),
            mail,
            lease: self.limits.lease,
            stats: self.stats,
            connections: JoinSet::new(),
        };
        let mut shutdown = pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                accepted = accept_any(&listeners) => house.on_accepted(accepted).await,
                Some(_) = house.connections.join_next() => {}
            }
        }
        drop(listeners);
        house.connections.shutdown().await;
        drop(house); // the owner ends when nobody can write to it any more
        owner_task.join_next().await;
        Ok(())
    }
}

/// Everything that an accepted connection needs.
struct House {
    door: Arc<Door>,
    mail: Mail,
    lease: Duration,
    stats: Stats,
    connections: JoinSet<()>,
}

impl House {
    async fn on_accepted(&mut self, accepted: io::Result<TcpStream>) {
        let stream = match accepted {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!("a connection could not be accepted: {error}");
                return tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        };
        let Ok(from) = stream.peer_addr() else { return }; // gone already
        match Door::enter(&self.door, from.ip()) {
            Ok(pass) => {
                let (mail, stats) = (self.mail.clone(), self.stats.clone());
                let connection = connection::serve(stream, from, mail, self.lease, stats);
                self.connections.spawn(async move {
                    connection.await;
                    drop(pass);
                });
            }
            Err(full) => {
                self.stats.count_refused_connection();
                tracing::warn!("connection from {from} refused: {full}");
            }
        }
    }
}

fn adopt(listener: StdListener) -> io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

async fn accept_any(listeners: &[TcpListener]) -> io::Result<TcpStream> {
    if listeners.is_empty() {
        return std::future::pending().await;
    }
    let accepts = listeners.iter().map(|listener| Box::pin(listener.accept()));
    let (accepted, ..) = futures::future::select_all(accepts).await;
    accepted.map(|(stream, _)| stream)
}

/// Why a registry could not be set up. Nothing was started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The lease is outside what is allowed.
    #[error("a lease lasts from {LEASE_MIN:?} to {LEASE_MAX:?}, not {0:?}")]
    Lease(Duration),
    /// The number of peers is outside what is allowed.
    #[error("a registry admits from 1 to {PEERS_MAX} peers, not {0}")]
    MaxPeers(usize),
    /// The state directory cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
}
