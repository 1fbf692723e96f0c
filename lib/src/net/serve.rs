//! Inbound connections: one task each, requests in order, a bounded number of them waiting for their groups.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tarpc::server::BaseChannel;
use tarpc::{ClientMessage, Response};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::allowance::Allowance;
use crate::id::{GroupId, NodeId};
use crate::message::Micros;
use crate::net::codec::Callee;
use crate::net::greet::{Greeted, greet};
use crate::net::rpc::{Call, Hello, Presence, Refusal, Reply, Request};
use crate::net::seats::{Seats, Stranger};
use crate::net::socket::{Socket, TcpListener, TcpStream};
use crate::net::tls::{Tls, plain};
use crate::net::transport::Transport;
use crate::net::visitor::Visitor;
use crate::net::vouch::Whom;
use crate::net::{ACCEPTED_AT_ONCE, ACCEPTED_IN_A_SECOND, Door, HANDSHAKE_TIMEOUT, Meter};

/// Shortest time between two log lines about strangers that gave way: whoever floods a node should not flood its log.
const CROWD_LOG_PAUSE: Duration = Duration::from_secs(5);

/// Doors of all groups of this node, as connections see them.
pub(crate) type Doors = Arc<BTreeMap<GroupId, Door>>;

/// What inbound connections tell the node.
#[derive(Debug)]
pub(crate) enum Visit {
    /// A node said, and where identities are asked for proved, who it is. What it is admitted with ends when a newer
    /// connection of the same node came.
    Hello {
        whom: Whom,
        hello: Box<Hello>,
        admitted: oneshot::Sender<Result<oneshot::Receiver<()>, Refusal>>,
    },
    /// It wants to be told over its own connection what this node has to say.
    Polls { node: NodeId, link: mpsc::Sender<Call> },
    /// It proved who it is, and said what only others may say.
    Forged { node: NodeId },
    /// Its connection ended.
    Bye { node: NodeId },
    /// Its groups changed.
    Groups {
        node: NodeId,
        revision: u64,
        groups: Vec<Presence>,
    },
}

/// What every inbound connection needs.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) hello: watch::Receiver<Arc<Hello>>,
    pub(crate) doors: watch::Receiver<Doors>,
    pub(crate) visits: mpsc::Sender<Visit>,
    pub(crate) meter: Arc<Meter>,
    /// Without it everyone is let in, and the node is on loopback.
    pub(crate) tls: Option<Tls>,
}

pub(super) type Channel = BaseChannel<Request, Reply, Transport<Socket, Callee>>;

/// Accepts until it is dropped.
pub(crate) async fn serve(listener: TcpListener, desk: Desk) {
    let seats = Seats::default();
    let mut crowd = Crowd::default();
    let mut pace = Pace::new();
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        pace.next().await;
        let (socket, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, most likely: the pause leaves time for some to be given back.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (stranger, must_go, gave_way) = seats.stranger(peer.ip());
        crowd.note(gave_way);
        let desk = desk.clone();
        connections.spawn(async move { connection((socket, peer), desk, stranger, must_go).await });
    }
}

async fn connection(
    (socket, peer): (TcpStream, SocketAddr),
    desk: Desk,
    stranger: Stranger,
    mut must_go: oneshot::Receiver<()>,
) {
    let visits = desk.visits.clone();
    let greeting = timeout(HANDSHAKE_TIMEOUT, greet((socket, peer), &desk, stranger));
    let greeted = tokio::select! {
        greeted = greeting => greeted.unwrap_or_else(|_| Err(odd("it did not say who it is in time"))),
        Ok(()) = &mut must_go => return,
    };
    let Greeted {
        channel,
        theirs,
        whom,
        replaced,
        guest,
    } = match greeted {
        Ok(Some(greeted)) => greeted,
        // A client that connects and goes is nobody's business.
        Ok(None) => return,
        Err(error) if is_reset(&error) => return tracing::debug!(%peer, "connection lost: {}", plain(&error)),
        Err(error) => return tracing::warn!(%peer, "connection refused: {}", plain(&error)),
    };
    let (node, proved) = (whom.node, desk.tls.is_some());
    match Visitor::new(channel, desk, theirs, whom).serve(replaced).await {
        Ok(()) => {}
        Err(error) if is_reset(&error) => tracing::debug!(%peer, "connection lost: {}", plain(&error)),
        Err(error) => {
            tracing::warn!(%peer, node = %node.short(), "connection closed: {}", plain(&error));
            // Who has not proved its id could make it another's fault.
            if proved && error.kind() == FORGED {
                let _ = visits.send(Visit::Forged { node }).await;
            }
        }
    }
    drop(guest);
    // A node that is shutting down needs no news.
    let _ = visits.send(Visit::Bye { node }).await;
}

/// A process that dies takes its connections with it: nothing to warn of, unlike nonsense.
fn is_reset(error: &io::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        // tarpc shares its causes.
        let shared = error.downcast_ref::<Arc<io::Error>>().map(Arc::as_ref);
        let kind = error.downcast_ref::<io::Error>().or(shared).map(io::Error::kind);
        if matches!(
            kind,
            Some(
                io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::BrokenPipe
                    | io::ErrorKind::TimedOut
                    | io::ErrorKind::UnexpectedEof
            )
        ) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// How fast connections are taken up.
struct Pace {
    started: Instant,
    allowance: Allowance,
}

impl Pace {
    fn new() -> Self {
        Self {
            started: Instant::now(),
            allowance: Allowance::default(),
        }
    }

    /// Returns when one more may come.
    async fn next(&mut self) {
        let cost = 1_000_000 / ACCEPTED_IN_A_SECOND as Micros;
        let most = cost * ACCEPTED_AT_ONCE as Micros;
        let now = |started: Instant| started.elapsed().as_micros() as Micros;
        while let Err(at) = self.allowance.take(cost, most, now(self.started)) {
            sleep_until(self.started + Duration::from_micros(at)).await;
        }
    }
}

/// Strangers that gave way since that was last logged.
#[derive(Default)]
struct Crowd {
    count: u64,
    logged: Option<Instant>,
}

impl Crowd {
    fn note(&mut self, gave_way: bool) {
        self.count += u64::from(gave_way);
        let due = self.logged.is_none_or(|logged| logged.elapsed() >= CROWD_LOG_PAUSE);
        if self.count > 0 && due {
            let count = std::mem::take(&mut self.count);
            tracing::warn!(
                count,
                "connections closed that did not say who they are: newer ones came"
            );
            self.logged = Some(Instant::now());
        }
    }
}

/// What was said is not the other side's to say.
const FORGED: io::ErrorKind = io::ErrorKind::PermissionDenied;

pub(super) fn forged(what: &str) -> io::Error {
    io::Error::new(FORGED, what)
}

/// This node's own end, of which nobody needs a warning.
pub(super) fn down() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the node is shutting down")
}

pub(super) fn odd(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

// The transport must fit what tarpc expects on this side.
const _: fn() = || {
    fn is_transport<T: tarpc::Transport<Response<Reply>, ClientMessage<Request>>>() {}
    is_transport::<Transport<Socket, Callee>>();
};
