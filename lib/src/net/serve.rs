//! Inbound connections: one task each, requests in order, a bounded number of them waiting for their groups.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use futures::stream::FuturesUnordered;
use futures::{SinkExt, StreamExt};
use tarpc::server::{BaseChannel, TrackedRequest};
use tarpc::{ClientMessage, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::codec::Framed;

use crate::id::GroupId;
use crate::net::codec::Callee;
use crate::net::rpc::{Hello, MAX_GROUPS, PROTOCOL, Path, Presence, Refusal, Reply, Request};
use crate::net::{Door, HANDSHAKE_TIMEOUT, Knock, MAX_CONNECTIONS, MAX_HANDSHAKES, REQUESTS_IN_FLIGHT, STALL_TIMEOUT};

/// Doors of all groups of this node, as connections see them.
pub(crate) type Doors = Arc<BTreeMap<GroupId, Door>>;

/// What inbound connections tell the node.
#[derive(Debug)]
pub(crate) enum Visit {
    /// A node said who it is. `replaced` ends when a newer connection of the same node came.
    Hello {
        hello: Hello,
        admitted: oneshot::Sender<oneshot::Receiver<()>>,
    },
    /// Its groups changed.
    Groups {
        node: crate::id::NodeId,
        groups: Vec<Presence>,
    },
}

/// What every inbound connection needs.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) hello: watch::Receiver<Arc<Hello>>,
    pub(crate) doors: watch::Receiver<Doors>,
    pub(crate) visits: mpsc::Sender<Visit>,
}

type Channel = BaseChannel<Request, Reply, Framed<TcpStream, Callee>>;
type Waiting = Pin<Box<dyn Future<Output = (u64, Reply)> + Send>>;

/// Accepts until it is dropped.
pub(crate) async fn serve(listener: TcpListener, desk: Desk) {
    let all = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let strangers = Arc::new(Semaphore::new(MAX_HANDSHAKES));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let (socket, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, most likely: the pause leaves time for some to be given back.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        let (Ok(seat), Ok(stranger)) = (all.clone().try_acquire_owned(), strangers.clone().try_acquire_owned()) else {
            tracing::warn!(%peer, "too many connections: refused");
            continue;
        };
        let desk = desk.clone();
        connections.spawn(async move {
            if let Err(error) = connection(socket, desk, stranger).await {
                tracing::warn!(%peer, "connection closed: {error}");
            }
            drop(seat);
        });
    }
}

async fn connection(socket: TcpStream, desk: Desk, stranger: OwnedSemaphorePermit) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let peer = socket.peer_addr()?;
    let mut channel = BaseChannel::with_defaults(Framed::new(socket, Callee::default()));
    let greeting = timeout(HANDSHAKE_TIMEOUT, greet(&mut channel, &desk, peer)).await;
    let Some((mut theirs, mut replaced)) = greeting.map_err(|_| odd("said nothing"))?? else {
        return Ok(());
    };
    drop(stranger);
    let mut waiting: FuturesUnordered<Waiting> = FuturesUnordered::new();
    loop {
        tokio::select! {
            Some((id, reply)) = waiting.next() => answer(&mut channel, id, reply).await?,
            request = channel.next(), if waiting.len() < REQUESTS_IN_FLIGHT => {
                let Some(request) = request else { return Ok(()) };
                let TrackedRequest { request, .. } = request.map_err(io::Error::other)?;
                match request.message {
                    Request::Frame { path, frame } => match admit(&theirs, &desk, path) {
                        Ok(door) => {
                            let (answer, answered) = oneshot::channel();
                            let knock = Knock::Frame { from: path.from, frame: *frame, answer: Some(answer) };
                            let sent = door.knock.send(knock).await;
                            let id = request.id;
                            waiting.push(Box::pin(async move {
                                let reply = if sent.is_err() { None } else { answered.await.ok() };
                                (id, reply.map_or(Reply::Refused(Refusal::NotHere), Reply::Frames))
                            }));
                        }
                        Err(refusal) => answer(&mut channel, request.id, Reply::Refused(refusal)).await?,
                    },
                    Request::Groups(groups) if groups.len() <= MAX_GROUPS => {
                        theirs.groups = groups.clone();
                        let visit = Visit::Groups { node: theirs.node, groups };
                        desk.visits.send(visit).await.map_err(|_| odd("the node is shutting down"))?;
                        let mine = Hello::clone(&desk.hello.borrow());
                        answer(&mut channel, request.id, Reply::Hello(mine)).await?;
                    }
                    Request::Groups(_) | Request::Hello(_) => return Err(odd("greets twice, or with too much")),
                }
            }
            _ = &mut replaced => return Ok(()),
        }
    }
}

/// The first request must say who calls. A client that connects and goes is nobody's business.
async fn greet(
    channel: &mut Channel,
    desk: &Desk,
    peer: SocketAddr,
) -> io::Result<Option<(Hello, oneshot::Receiver<()>)>> {
    let Some(request) = channel.next().await else {
        return Ok(None);
    };
    let request = request.map_err(io::Error::other)?.request;
    let Request::Hello(mut theirs) = request.message else {
        return Err(odd("did not say who it is"));
    };
    let refusal = if theirs.protocol != PROTOCOL {
        Some(Refusal::Version(PROTOCOL))
    } else if theirs.groups.len() > MAX_GROUPS {
        Some(Refusal::TooMany)
    } else {
        None
    };
    if let Some(refusal) = refusal {
        answer(channel, request.id, Reply::Refused(refusal)).await?;
        return Err(odd("greeted with another protocol version or too many groups"));
    }
    if theirs.addr.ip().is_unspecified() {
        theirs.addr.set_ip(peer.ip());
    }
    let (admitted, admission) = oneshot::channel();
    let visit = Visit::Hello {
        hello: theirs.clone(),
        admitted,
    };
    desk.visits
        .send(visit)
        .await
        .map_err(|_| odd("the node is shutting down"))?;
    let replaced = admission.await.map_err(|_| odd("the node is shutting down"))?;
    let mine = Hello::clone(&desk.hello.borrow());
    answer(channel, request.id, Reply::Hello(mine)).await?;
    Ok(Some((theirs, replaced)))
}

/// A frame goes in only from a member that lives in the calling node, to the member that lives here.
fn admit(theirs: &Hello, desk: &Desk, path: Path) -> Result<Door, Refusal> {
    let presence = Presence {
        group: path.group,
        member: path.from,
    };
    if !theirs.groups.contains(&presence) {
        return Err(Refusal::NotYou);
    }
    let doors = desk.doors.borrow();
    let door = doors.get(&path.group).filter(|door| door.member == path.to);
    door.cloned().ok_or(Refusal::NotHere)
}

async fn answer(channel: &mut Channel, request_id: u64, reply: Reply) -> io::Result<()> {
    let response = Response {
        request_id,
        message: Ok(reply),
    };
    match timeout(STALL_TIMEOUT, channel.send(response)).await {
        Ok(sent) => sent.map_err(io::Error::other),
        Err(_) => Err(odd("does not read its answers")),
    }
}

fn odd(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

// The transport must fit what tarpc expects on this side.
const _: fn() = || {
    fn is_transport<T: tarpc::Transport<Response<Reply>, ClientMessage<Request>>>() {}
    is_transport::<Framed<TcpStream, Callee>>();
};
