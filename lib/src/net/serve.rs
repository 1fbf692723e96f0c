//! Inbound connections: one task each, requests in order, a bounded number of them waiting for their groups.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::FuturesUnordered;
use futures::{SinkExt, StreamExt};
use tarpc::server::{BaseChannel, TrackedRequest};
use tarpc::{ClientMessage, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::engine::Frame;
use crate::id::GroupId;
use crate::net::codec::Callee;
use crate::net::rpc::{Call, Hello, MAX_GROUPS, PROTOCOL, Path, Presence, Refusal, Reply, Request};
use crate::net::socket::{TcpListener, TcpStream};
use crate::net::transport::Transport;
use crate::net::{
    Door, HANDSHAKE_TIMEOUT, Knock, LINK_QUEUE, MAX_CONNECTIONS, MAX_HANDSHAKES, Meter, POLL_TIME, POLLED,
    REQUESTS_IN_FLIGHT, STALL_TIMEOUT,
};
use crate::run::Run;

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
    /// It wants to be told over its own connection what this node has to say.
    Polls {
        node: crate::id::NodeId,
        link: mpsc::Sender<Call>,
    },
    /// Its connection ended.
    Bye { node: crate::id::NodeId },
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
    pub(crate) meter: Arc<Meter>,
}

type Channel = BaseChannel<Request, Reply, Transport<TcpStream, Callee>>;
/// A request that waits for its group.
type Waiting = (u64, oneshot::Receiver<Vec<Frame>>);

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
                match is_reset(&error) {
                    true => tracing::debug!(%peer, "connection lost: {error}"),
                    false => tracing::warn!(%peer, "connection closed: {error}"),
                }
            }
            drop(seat);
        });
    }
}

async fn connection(socket: TcpStream, desk: Desk, stranger: OwnedSemaphorePermit) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let peer = socket.peer_addr()?;
    let mut channel = BaseChannel::with_defaults(Transport::new(socket, Callee(desk.meter.clone())));
    let greeting = timeout(HANDSHAKE_TIMEOUT, greet(&mut channel, &desk, peer)).await;
    let Some((theirs, replaced)) = greeting.map_err(|_| odd("said nothing"))?? else {
        return Ok(());
    };
    drop(stranger);
    let (node, visits) = (theirs.node, desk.visits.clone());
    let ended = Visitor {
        channel,
        desk,
        theirs,
        poll: None,
        reverse: None,
        postponed: None,
    }
    .serve(replaced)
    .await;
    // A node that is shutting down needs no news.
    let _ = visits.send(Visit::Bye { node }).await;
    ended
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
            Some(io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::TimedOut)
        ) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// A connection that said who it is.
struct Visitor {
    channel: Channel,
    desk: Desk,
    theirs: Hello,
    /// The poll that waits for something to say, and until when.
    poll: Option<(u64, Instant)>,
    /// What this node has to say to one that it cannot dial.
    reverse: Option<mpsc::Receiver<Call>>,
    /// What did not fit into the last answer to a poll.
    postponed: Option<Call>,
}

impl Visitor {
    async fn serve(mut self, mut replaced: oneshot::Receiver<()>) -> io::Result<()> {
        let mut waiting = FuturesUnordered::new();
        loop {
            let polled = self.poll;
            tokio::select! {
                Some((id, reply)) = waiting.next() => answer(&mut self.channel, id, reply).await?,
                request = self.channel.next(), if waiting.len() < REQUESTS_IN_FLIGHT => {
                    let Some(request) = request else { return Ok(()) };
                    let TrackedRequest { request, .. } = request.map_err(io::Error::other)?;
                    waiting.extend(self.on_request(request.id, request.message).await?.map(reply_of));
                }
                call = next_call(&mut self.postponed, &mut self.reverse), if polled.is_some() => self.say(call).await?,
                () = over(polled), if polled.is_some() => {
                    self.answer_poll(Vec::new()).await?;
                }
                _ = &mut replaced => return Ok(()),
            }
        }
    }

    /// Answers at once, or says what to wait for.
    async fn on_request(&mut self, id: u64, request: Request) -> io::Result<Option<Waiting>> {
        match request {
            Request::Frame { path, frame } => match admit(&self.theirs, &self.desk, path) {
                Ok(door) => {
                    let (answer, answered) = oneshot::channel();
                    let knock = Knock::Frame {
                        from: path.from,
                        frame: *frame,
                        answer: Some(answer),
                    };
                    // A group that is gone lets go of the knock, and of the answer in it.
                    let _ = door.knock.send(knock).await;
                    return Ok(Some((id, answered)));
                }
                Err(refusal) => answer(&mut self.channel, id, Reply::Refused(refusal)).await?,
            },
            Request::Groups(groups) if groups.len() <= MAX_GROUPS => {
                self.theirs.groups = groups.clone();
                self.tell(Visit::Groups {
                    node: self.theirs.node,
                    groups,
                })
                .await?;
                let mine = Hello::clone(&self.desk.hello.borrow());
                answer(&mut self.channel, id, Reply::Hello(mine)).await?;
            }
            Request::Poll => {
                // A second poll takes the place of the first.
                self.answer_poll(Vec::new()).await?;
                self.poll = Some((id, Instant::now() + POLL_TIME));
                if self.reverse.is_none() {
                    let (link, calls) = mpsc::channel(LINK_QUEUE);
                    self.reverse = Some(calls);
                    self.tell(Visit::Polls {
                        node: self.theirs.node,
                        link,
                    })
                    .await?;
                }
            }
            Request::Groups(_) | Request::Hello(_) => return Err(odd("greets twice, or with too much")),
        }
        Ok(None)
    }

    async fn tell(&self, visit: Visit) -> io::Result<()> {
        self.desk
            .visits
            .send(visit)
            .await
            .map_err(|_| odd("the node is shutting down"))
    }

    /// Answers the poll with this call, and small ones that wait behind it. One that may be large goes alone, so
    /// that the answer fits a frame.
    async fn say(&mut self, first: Call) -> io::Result<()> {
        let (mut said, mut bytes) = (Vec::new(), weight(&first));
        said.extend(frame_of(first));
        while said.len() < POLLED.0 {
            let Some(call) = self.reverse.as_mut().and_then(|calls| calls.try_recv().ok()) else {
                break;
            };
            bytes += weight(&call);
            if bytes > POLLED.1 {
                self.postponed = Some(call);
                break;
            }
            said.extend(frame_of(call));
        }
        self.answer_poll(said).await
    }

    async fn answer_poll(&mut self, said: Vec<(Path, Frame)>) -> io::Result<()> {
        match self.poll.take() {
            Some((id, _)) => answer(&mut self.channel, id, Reply::Said(said)).await,
            None => Ok(()),
        }
    }
}

/// Returns when a group has answered, or is gone.
async fn reply_of((id, answered): Waiting) -> (u64, Reply) {
    let frames = answered.await.ok();
    (id, frames.map_or(Reply::Refused(Refusal::NotHere), Reply::Frames))
}

/// Returns when a poll has waited long enough.
async fn over(poll: Option<(u64, Instant)>) {
    if let Some((_, until)) = poll {
        sleep_until(until).await;
    }
}

/// The next call for a node that polls; never, if it does not, or if nobody has a use for it any more.
async fn next_call(postponed: &mut Option<Call>, calls: &mut Option<mpsc::Receiver<Call>>) -> Call {
    if let Some(call) = postponed.take() {
        return call;
    }
    if let Some(call) = match calls {
        Some(calls) => calls.recv().await,
        None => None,
    } {
        return call;
    }
    std::future::pending().await
}

/// What is counted for a call or frame without lists, in bytes; an introduction is the longest.
const SMALL: usize = 1024;

/// What a call may add to an answer, in bytes, roughly.
fn weight(call: &Call) -> usize {
    match call {
        Call::Push { run, .. } => run.iter().map(Bytes::len).sum(),
        Call::Frame { frame, .. } => weight_of(frame),
        Call::Hello(_) | Call::Groups(_) | Call::Poll => SMALL,
    }
}

/// The same of a frame: one that carries lists counts as all that an answer may have, so that it goes alone.
fn weight_of(frame: &Frame) -> usize {
    match frame {
        Frame::PushAck(_)
        | Frame::Greeted { .. }
        | Frame::Full { .. }
        | Frame::JoinAsk { .. }
        | Frame::Asking { .. } => SMALL,
        _ => POLLED.1,
    }
}

/// Whether one more frame fits an answer that has these.
pub(crate) fn has_room(said: &[Frame], more: &Frame) -> bool {
    said.iter().map(weight_of).sum::<usize>() + weight_of(more) <= POLLED.1
}

fn frame_of(call: Call) -> Option<(Path, Frame)> {
    match call {
        Call::Push { path, run } => Some((path, Frame::Push(Run::decode(&run.concat().into()).ok()?))),
        Call::Frame { path, frame } => Some((path, *frame)),
        Call::Hello(_) | Call::Groups(_) | Call::Poll => None,
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
    is_transport::<Transport<TcpStream, Callee>>();
};
