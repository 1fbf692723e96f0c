//! One connection to one registry, and the questions that need only that.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use tarpc::client::{Channel, Config, RpcError};
use tarpc::context;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::codec::Framed;

use crate::peer::Peer;
use crate::printable::printable;
use crate::protocol::{Answer, Entry, Health, News, PROTOCOL_VERSION, Position, Refusal, Request, millis};
use crate::rpc::ClientCodec;

/// How long one address may take to accept a connection: three round trips on the worst network
/// that a registry is worth having on.
const CONNECT_MAX: Duration = Duration::from_secs(1);
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;
/// Requests in flight on one connection: a renewal, a watch, and those being cancelled.
const IN_FLIGHT_MAX: usize = 8;
/// How long the answer of a watch may be late before the registry counts as stalled.
pub(super) const WATCH_GRACE: Duration = Duration::from_secs(3);

/// An open connection on which hello was said. Dropping it closes it.
pub(super) struct Connection {
    pub(super) calls: Calls,
    pub(super) pump: Pump,
    /// How long the registry's leases last.
    pub(super) lease: Duration,
}

impl Connection {
    /// Resolves, connects and says hello, all within `limit`.
    pub(super) async fn open(registry: &str, limit: Duration) -> Result<Self, AskError> {
        let late = |_| AskError::NoAnswer {
            registry: registry.into(),
            waited: limit,
        };
        timeout(limit, Self::open_unhurried(registry, limit))
            .await
            .map_err(late)?
    }

    async fn open_unhurried(registry: &str, limit: Duration) -> Result<Self, AskError> {
        let stream = connect(registry, &resolve(registry).await?).await?;
        drop(stream.set_nodelay(true)); // only costs time if it fails
        let mut config = Config::default();
        config.max_in_flight_requests = IN_FLIGHT_MAX;
        config.pending_request_buffer = IN_FLIGHT_MAX;
        let framed = Framed::new(stream, ClientCodec::new());
        let new = tarpc::client::new(config, framed);
        // The end of the dispatch is the end of the connection; it tells nobody else.
        let pump = Pump(tokio::spawn(async move { drop(new.dispatch.await) }));
        let calls = Calls {
            channel: new.client,
            registry: registry.into(),
        };
        let hello = Request::Hello {
            version: PROTOCOL_VERSION,
        };
        match calls.ask(hello, limit).await? {
            Answer::Welcome { lease_ms, .. } => {
                let lease = Duration::from_millis(lease_ms.into());
                Ok(Self { calls, pump, lease })
            }
            _ => Err(calls.confused()),
        }
    }
}

/// Asks questions over a connection.
#[derive(Clone)]
pub(super) struct Calls {
    channel: Channel<Request, Answer>,
    registry: String,
}

impl Calls {
    /// One question; a refusal is an error. After an error other than a refusal it is unknown
    /// whether the registry acted on the question.
    pub(super) async fn ask(&self, request: Request, limit: Duration) -> Result<Answer, AskError> {
        let late = || AskError::NoAnswer {
            registry: self.registry.clone(),
            waited: limit,
        };
        let mut context = context::current();
        context.deadline = Instant::now() + limit;
        // tarpc's own deadline starts to run only when the request is written, which a stalled
        // connection never does.
        match timeout(limit, self.channel.call(context, request)).await {
            Ok(Ok(Answer::Refused(refusal))) => Err(AskError::Refused(refusal)),
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(RpcError::DeadlineExceeded)) | Err(_) => Err(late()),
            Ok(Err(_)) => Err(AskError::Closed {
                registry: self.registry.clone(),
            }),
        }
    }

    /// One long poll.
    pub(super) async fn watch(&self, since: Option<Position>, wait: Duration) -> Result<News, AskError> {
        let request = Request::Watch {
            since,
            wait_ms: millis(wait),
        };
        match self.ask(request, wait + WATCH_GRACE).await? {
            Answer::News(news) => Ok(news),
            _ => Err(self.confused()),
        }
    }

    pub(super) fn confused(&self) -> AskError {
        AskError::Confused {
            registry: self.registry.clone(),
        }
    }
}

/// The task that reads and writes the connection; it ends with the connection.
pub(super) struct Pump(JoinHandle<()>);

impl Pump {
    /// Waits for the end of the connection.
    pub(super) async fn ended(&mut self) {
        drop((&mut self.0).await);
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn resolve(registry: &str) -> Result<Vec<SocketAddr>, AskError> {
    if let Ok(addr) = registry.parse() {
        return Ok(vec![addr]);
    }
    let failed = |why: String| AskError::Resolve {
        registry: registry.into(),
        why,
    };
    // A thread of its own, not one of the runtime's: the system's resolver may block for long,
    // and a program that ends must not wait for it.
    let (found, finding) = oneshot::channel();
    let name = registry.to_owned();
    let search = move || drop(found.send(name.to_socket_addrs().map(Vec::from_iter)));
    let thread = std::thread::Builder::new().name("nodeset-resolve".into());
    thread.spawn(search).map_err(|error| failed(error.to_string()))?;
    match finding.await {
        Ok(Ok(addrs)) if addrs.is_empty() => Err(failed("it has no address".into())),
        Ok(Ok(addrs)) => Ok(addrs),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_) => Err(failed("the resolver gave up".into())),
    }
}

async fn connect(registry: &str, addrs: &[SocketAddr]) -> Result<TcpStream, AskError> {
    let mut why = String::new();
    for addr in addrs.iter().take(ADDRESSES_MAX) {
        match timeout(CONNECT_MAX, TcpStream::connect(addr)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => why = error.to_string(),
            Err(_) => why = format!("no connection within {CONNECT_MAX:?}"),
        }
    }
    Err(AskError::Connect {
        registry: registry.into(),
        why,
    })
}

/// Everyone who is live at `registry` (`host:port`), by id; within `limit`.
///
/// # Errors
/// See [`AskError`]. Asking changes nothing at the registry.
pub async fn list(registry: &str, limit: Duration) -> Result<Vec<Entry>, AskError> {
    let connection = Connection::open(registry, limit).await?;
    match connection.calls.ask(Request::List, limit).await? {
        Answer::List(entries) => Ok(entries),
        _ => Err(connection.calls.confused()),
    }
}

/// How `registry` (`host:port`) is; within `limit`.
///
/// # Errors
/// See [`AskError`]. Asking changes nothing at the registry.
pub async fn health(registry: &str, limit: Duration) -> Result<Health, AskError> {
    let connection = Connection::open(registry, limit).await?;
    match connection.calls.ask(Request::Health, limit).await? {
        Answer::Health(health) => Ok(health),
        _ => Err(connection.calls.confused()),
    }
}

/// Takes a live peer's lease away at `registry` and has its id refused for one lease. `target` is
/// `nick#8hex`, the 32 digits of an id, or a nick that only one live peer has. Returns who it was
/// and for how long it is refused.
///
/// # Errors
/// See [`AskError`]: refused with [`Refusal::Nobody`] or [`Refusal::Ambiguous`], nothing changed;
/// without an answer it is unknown whether the peer was evicted.
pub async fn evict(registry: &str, target: &str, limit: Duration) -> Result<(Peer, Duration), AskError> {
    let connection = Connection::open(registry, limit).await?;
    let request = Request::Evict { target: target.into() };
    match connection.calls.ask(request, limit).await? {
        Answer::Evicted { peer, refused_ms } => Ok((peer, Duration::from_millis(refused_ms.into()))),
        _ => Err(connection.calls.confused()),
    }
}

/// Follows one registry without registering: for tools. A program that is itself a peer uses
/// [`super::Client`].
pub struct Watch {
    registry: String,
    at: Option<Position>,
    connection: Option<Connection>,
}

impl Watch {
    /// A watch of `registry` (`host:port`). Connects at the first [`Watch::next`].
    pub fn new(registry: impl Into<String>) -> Self {
        Self {
            registry: registry.into(),
            at: None,
            connection: None,
        }
    }

    /// What happened since the last call: the full list at first, later the changes, none if
    /// `wait` passed without any. Misses and repeats nothing, also over reconnects, unless the
    /// answer is [`News::Resync`].
    ///
    /// # Errors
    /// See [`AskError`]. The position is kept; the next call connects again and goes on from it.
    pub async fn next(&mut self, wait: Duration) -> Result<News, AskError> {
        // Put back only after an answer: whatever fails in between drops the connection.
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(&self.registry, WATCH_GRACE).await?,
        };
        let news = connection.calls.watch(self.at, wait).await?;
        let (News::Resync { at, .. } | News::Changes { at, .. }) = &news;
        self.at = Some(*at);
        self.connection = Some(connection);
        Ok(news)
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("registry", &self.registry)
            .field("at", &self.at)
            .finish()
    }
}

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
    /// The registry said no.
    #[error(transparent)]
    Refused(Refusal),
}
