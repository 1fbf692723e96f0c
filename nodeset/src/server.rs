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
//! let (proofs, limit) = (nodeset::client::Proofs::local(), std::time::Duration::from_secs(5));
//! let health = nodeset::client::health(&addr, &proofs, limit).await?;
//! assert_eq!(health.ok_or("a stranger")?.live, 0);
//! drop(stop);
//! serving.await??;
//! # Ok(())
//! # }
//! ```

pub(crate) mod connection;
pub(crate) mod door;
mod office;
mod operator;
mod owner;
mod state;
mod stats;

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use self::connection::House;
use self::door::Door;
use self::office::Office;
use self::owner::{Mail, Owner};
use self::state::StateDir;
pub use self::state::StateError;
pub use self::stats::{Counts, Stats};
use crate::authority::{Authority, AuthorityError, CERTIFICATE_LIFE};
use crate::local::{self, Publication};
use crate::private::{self, PrivateError};
use crate::protocol::Instance;
use crate::random::random_u64;
use crate::registry::{Ask, LEASE_MAX, LEASE_MIN, Limits, PEERS_MAX};
use crate::tls;

/// How long to wait after a failed accept: the usual cause, no file descriptor left, passes only
/// when connections end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections that wait to be accepted. With the usual 128 a flood of a few milliseconds makes
/// everybody's connecting take a second longer.
const BACKLOG: i32 = 4096;
/// Between two lines on too many strangers.
const CROWD_PAUSE: Duration = Duration::from_secs(10);
/// Shortest life of a certificate: time is told in whole seconds there, and half of it must be
/// enough to renew.
pub const CERTIFICATE_LIFE_MIN: Duration = Duration::from_secs(2);

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
    /// Who vouches for members. What was decided on invites and evictions is kept beside it.
    /// Default `None`: one in `authority` in the state directory; without that an ephemeral one,
    /// and after a restart whoever was invited needs another invite.
    pub authority: Option<Authority>,
    /// How long the certificates of members live: from [`CERTIFICATE_LIFE_MIN`] on. Default 24 h.
    pub certificate_life: Duration,
    /// The directory in which the local proof is published while the registry runs. Default
    /// [`local::default_dir`]. `None`: there is no local proof, so nobody can invite or evict.
    pub publications: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        let Limits { lease, max_peers, .. } = Limits::default();
        Self {
            lease,
            max_peers,
            state_dir: None,
            authority: None,
            certificate_life: CERTIFICATE_LIFE,
            publications: local::default_dir(),
        }
    }
}

/// A registry, ready to run.
pub struct Server {
    limits: Limits,
    state: Option<StateDir>,
    authority: Authority,
    tls: TlsAcceptor,
    office: Office,
    publication: Option<Publication>,
    stats: Stats,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("limits", &self.limits)
            .field("authority", &self.authority)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// A registry with these options. With a state directory: creates it if need be, locks it for
    /// as long as the server lives, and starts with the leases that it holds. Publishes the local
    /// proof, for as long as the server lives.
    ///
    /// # Errors
    /// See [`SetupError`]. Nothing was started.
    pub fn new(options: Options) -> Result<Self, SetupError> {
        let Options {
            lease,
            max_peers,
            state_dir,
            authority,
            certificate_life,
            publications,
        } = options;
        if !(LEASE_MIN..=LEASE_MAX).contains(&lease) {
            return Err(SetupError::Lease(lease));
        }
        if !(1..=PEERS_MAX).contains(&max_peers) {
            return Err(SetupError::MaxPeers(max_peers));
        }
        if certificate_life < CERTIFICATE_LIFE_MIN {
            return Err(SetupError::CertificateLife(certificate_life));
        }
        let authority = match (authority, &state_dir) {
            (Some(authority), _) => authority,
            (None, Some(dir)) => {
                private::ensure_dir(dir)?;
                Authority::open(dir.join("authority"))?
            }
            (None, None) => Authority::ephemeral()?,
        };
        let state = state_dir.map(StateDir::open).transpose()?;
        let tls = tls::server(&authority).map_err(|error| SetupError::Tls(error.to_string()))?;
        let office = Office::open(authority.clone(), certificate_life)?;
        let publication = publications.map(|dir| Publication::new(&dir, &authority)).transpose()?;
        let limits = Limits {
            lease,
            max_peers,
            ..Limits::default()
        };
        Ok(Self {
            limits,
            state,
            authority,
            tls: TlsAcceptor::from(Arc::new(tls)),
            office,
            publication,
            stats: Stats::default(),
        })
    }

    /// SHA-256 of its authority's certificate, in 64 hexadecimal digits: what people compare.
    pub fn fingerprint(&self) -> String {
        self.authority.fingerprint()
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
        let listens = listeners
            .iter()
            .map(TcpListener::local_addr)
            .collect::<io::Result<Vec<_>>>()?;
        let instance = Instance(random_u64());
        let refused = self.office.refused();
        let barred = refused.borrow().nodes();
        let (owner, mail) = Owner::new(instance, self.limits, self.state, &barred, self.stats.clone());
        let mut tasks = JoinSet::new(); // a set, so that dropping this future stops the tasks
        tasks.spawn(owner.run());

        let mut porch = Porch {
            door: Arc::new(Door::new(&self.limits)),
            house: House {
                tls: self.tls,
                office: self.office,
                mail: mail.clone(),
                lease: self.limits.lease,
                stats: self.stats,
                listens: Arc::new(listens),
            },
            connections: JoinSet::new(),
            crowded: None,
        };
        porch.connections.spawn(herald(refused, mail));
        let mut shutdown = pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                accepted = accept_any(&listeners), if porch.has_room() => porch.on_accepted(accepted).await,
                Some(_) = porch.connections.join_next() => {}
            }
        }
        drop(listeners);
        porch.connections.shutdown().await;
        drop(porch); // the owner ends when nobody can write to it any more
        drop(self.publication);
        tasks.join_next().await;
        Ok(())
    }
}

/// Carries evictions out that another registry of the same authority decided on.
async fn herald(mut refused: watch::Receiver<Arc<office::Refused>>, mail: Mail) {
    while refused.changed().await.is_ok() {
        let nodes = refused.borrow_and_update().nodes();
        mail.ask(Ask::Evict { nodes }).await;
    }
}

/// Where connections arrive.
struct Porch {
    door: Arc<Door>,
    house: House,
    connections: JoinSet<()>,
    /// When it was last said that strangers are too many.
    crowded: Option<Instant>,
}

impl Porch {
    /// Whoever has to go is gone only when its task has run; until then its descriptor is taken.
    fn has_room(&self) -> bool {
        self.connections.len() < self.door.most() + door::STRANGERS_MAX * 2
    }

    async fn on_accepted(&mut self, accepted: io::Result<TcpStream>) {
        let stream = match accepted {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!("a connection could not be accepted: {error}");
                return tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        };
        let Ok(from) = stream.peer_addr() else { return }; // gone already
        let (pass, go, crowded) = Door::enter(&self.door, from.ip());
        if crowded {
            self.house.stats.count_refused_connection();
            self.tell_crowd(from);
        }
        let connection = connection::serve(stream, from, self.house.clone(), pass, go);
        self.connections.spawn(connection);
        if crowded {
            tokio::task::yield_now().await; // lets those go who have to
        }
    }

    /// One line for many: whoever floods the port must not flood the log.
    fn tell_crowd(&mut self, from: SocketAddr) {
        let quiet = self.crowded.is_some_and(|last| last.elapsed() < CROWD_PAUSE);
        if !quiet {
            self.crowded = Some(Instant::now());
            let most = door::STRANGERS_MAX;
            tracing::warn!(
                "more than {most} connections do not say who they are, the last one from {from}: oldest closed"
            );
        }
    }
}

fn adopt(listener: StdListener) -> io::Result<TcpListener> {
    rustix::net::listen(&listener, BACKLOG)?; // again, with more room
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
    /// The life of certificates is too short.
    #[error("a certificate lives for at least {CERTIFICATE_LIFE_MIN:?}, not {0:?}")]
    CertificateLife(Duration),
    /// The state directory cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The certificate authority cannot be used.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// What is kept about admissions cannot be read, or the local proof cannot be published.
    #[error(transparent)]
    Private(#[from] PrivateError),
    /// TLS cannot be set up.
    #[error("{0}")]
    Tls(String),
}
