//! Outbound links: dial, greet, carry calls, dial again.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tarpc::client::{self, NewClient};
use tarpc::context;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::{JoinHandle, unconstrained};
use tokio::time::timeout;
use tokio_util::codec::Framed;

use crate::net::codec::Caller;
use crate::net::rpc::{Call, Hello, PROTOCOL, Path, Refusal, Reply};
use crate::net::serve::Doors;
use crate::net::socket::TcpStream;
use crate::net::{
    CALLS_IN_FLIGHT, CONNECT_TIMEOUT, HANDSHAKE_TIMEOUT, Knock, LINK_QUEUE, Meter, POLL_AFTER, PROBE_AFTER,
    PROBE_PAUSE, RECONNECT_PAUSE, STALL_TIMEOUT,
};

/// Pause before an address is tried again whose node shares no group with this one.
const STRANGER_PAUSE: Duration = Duration::from_secs(5);

/// What a dialler tells the node about its address.
#[derive(Debug)]
pub(crate) enum News {
    /// Connected to this node. The answer says whether the link is to be used, and then whether that node
    /// has a connection to this one; the sender of calls goes to groups.
    Up {
        hello: Hello,
        link: mpsc::Sender<Call>,
        use_it: oneshot::Sender<Option<watch::Receiver<bool>>>,
    },
    /// What the other side's groups are now.
    Groups { hello: Hello },
    /// The link that was up is not any more.
    Down,
    /// Connected, and closed again: no group is shared.
    Strangers { hello: Hello },
    /// An attempt failed.
    Failed { refused: bool, why: String },
    /// The address is this node's own.
    Myself,
}

/// What a dialler needs.
#[derive(Clone)]
pub(crate) struct Phone {
    pub(crate) hello: watch::Receiver<Arc<Hello>>,
    pub(crate) doors: watch::Receiver<Doors>,
    pub(crate) news: mpsc::Sender<(SocketAddr, News)>,
    pub(crate) meter: Arc<Meter>,
    /// Cuts a pause short.
    pub(crate) kick: Arc<Notify>,
}

type Answered = (Path, Result<Reply, String>);

/// Keeps a link to `addr` for as long as the node wants it: dropped, it closes the connection.
pub(crate) async fn dial(addr: SocketAddr, mut phone: Phone, mut jitter: u64) {
    let (shortest, longest) = RECONNECT_PAUSE;
    let mut pause = shortest;
    let mut good_at = tokio::time::Instant::now();
    loop {
        if phone.hello.wait_for(|hello| !hello.groups.is_empty()).await.is_err() {
            return;
        }
        let news = match attempt(addr, &mut phone).await {
            Ok(news) => news,
            Err(error) => {
                let refused = error.kind() == io::ErrorKind::ConnectionRefused;
                News::Failed {
                    refused,
                    why: error.to_string(),
                }
            }
        };
        let wait = match &news {
            News::Failed { .. } => {
                let rarely = good_at.elapsed() > PROBE_AFTER;
                pause = (pause * 2).min(if rarely { PROBE_PAUSE } else { longest });
                pause
            }
            News::Strangers { .. } => STRANGER_PAUSE,
            _ => {
                good_at = tokio::time::Instant::now();
                pause = shortest;
                pause
            }
        };
        let myself = matches!(news, News::Myself);
        if phone.news.send((addr, news)).await.is_err() || myself {
            return;
        }
        // From half to the whole pause: two nodes that lost each other do not dial in step.
        jitter = jitter
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let wait = wait.mul_f64(0.5 + (jitter >> 40) as f64 / (1u64 << 25) as f64);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = phone.kick.notified() => {}
        }
    }
}

/// One connection, from dialling to its end.
async fn attempt(addr: SocketAddr, phone: &mut Phone) -> io::Result<News> {
    let socket = timeout(CONNECT_TIMEOUT, TcpStream::connect(addr))
        .await
        .map_err(|_| stalled("no answer"))??;
    socket.set_nodelay(true)?;
    let mut config = client::Config::default();
    config.max_in_flight_requests = CALLS_IN_FLIGHT * 2;
    config.pending_request_buffer = CALLS_IN_FLIGHT * 2;
    let NewClient { client, dispatch } = client::new(config, Framed::new(socket, Caller(phone.meter.clone())));
    let dispatch = Dispatch(tokio::spawn(dispatch.map(drop)));
    let mine = Hello::clone(&phone.hello.borrow_and_update());
    let me = mine.node;
    let greeting = client.call(context_of(HANDSHAKE_TIMEOUT), Call::Hello(mine));
    let reply = timeout(HANDSHAKE_TIMEOUT, greeting)
        .await
        .map_err(|_| stalled("did not say who it is"))?;
    let hello = match reply.map_err(|error| io::Error::other(error.to_string()))? {
        Reply::Hello(hello) if hello.protocol == PROTOCOL => hello,
        Reply::Hello(Hello { protocol, .. }) | Reply::Refused(Refusal::Version(protocol)) => {
            return Err(io::Error::other(format!(
                "speaks protocol version {protocol}, this is version {PROTOCOL}"
            )));
        }
        other => return Err(io::Error::other(format!("refuses: {other:?}"))),
    };
    if hello.node == me {
        return Ok(News::Myself);
    }
    if !shares(&hello, &phone.hello.borrow()) {
        return Ok(News::Strangers { hello });
    }
    let (link, calls) = mpsc::channel(LINK_QUEUE);
    let (use_it, used) = oneshot::channel();
    let news = News::Up {
        hello: hello.clone(),
        link,
        use_it,
    };
    phone
        .news
        .send((addr, news))
        .await
        .map_err(|_| stalled("the node is shutting down"))?;
    let Ok(Some(visited)) = used.await else {
        return Ok(News::Strangers { hello });
    };
    let why = carry(addr, phone, client, dispatch, (calls, visited)).await;
    tracing::debug!(%addr, why, "link closed");
    Ok(News::Down)
}

/// Carries calls until the connection ends; calls are written in the order in which they come.
async fn carry(
    addr: SocketAddr,
    phone: &mut Phone,
    client: client::Channel<Call, Reply>,
    mut dispatch: Dispatch,
    (mut calls, mut visited): (mpsc::Receiver<Call>, watch::Receiver<bool>),
) -> &'static str {
    let mut under_way = FuturesUnordered::new();
    // A node that is not dialled back within a while asks for what the other has to say.
    let (mut polling, poll_from) = (false, tokio::time::Instant::now() + POLL_AFTER);
    let mut answered: Option<Answered> = None;
    loop {
        if let Some((path, reply)) = answered.take() {
            match reply {
                Ok(Reply::Frames(frames)) => hand_in(phone, path, frames).await,
                Ok(Reply::Hello(hello)) => {
                    if phone.news.send((addr, News::Groups { hello })).await.is_err() {
                        return "the node is shutting down";
                    }
                }
                Ok(Reply::Said(said)) => {
                    polling = false;
                    for (path, frame) in said {
                        let back = Path {
                            from: path.to,
                            to: path.from,
                            ..path
                        };
                        hand_in(phone, back, vec![frame]).await;
                    }
                }
                Ok(Reply::Refused(refusal)) => tracing::debug!(%addr, ?refusal, "a call was refused"),
                Err(error) => {
                    tracing::debug!(%addr, error, "a call failed");
                    return "a call failed";
                }
            }
        }
        let lonely = !polling && !*visited.borrow_and_update();
        let (path, call) = tokio::select! {
            call = calls.recv(), if under_way.len() < CALLS_IN_FLIGHT => match call {
                Some(call) => (path_of(&call), call),
                None => return "no group needs it",
            },
            next = under_way.next(), if !under_way.is_empty() => {
                answered = next;
                continue;
            }
            changed = phone.hello.changed() => {
                if changed.is_err() {
                    return "the node is shutting down";
                }
                let groups = phone.hello.borrow_and_update().groups.clone();
                (NOWHERE, Call::Groups(groups))
            }
            () = tokio::time::sleep_until(poll_from), if lonely => {
                polling = true;
                (NOWHERE, Call::Poll)
            }
            changed = visited.changed() => {
                if changed.is_err() {
                    return "the node is shutting down";
                }
                continue;
            }
            _ = &mut dispatch.0 => return "the connection was closed",
        };
        let client = client.clone();
        // Unconstrained, and polled here once: else the runtime's fairness may let a later call pass.
        let mut under = Box::pin(unconstrained(async move {
            let reply = timeout(STALL_TIMEOUT, client.call(context_of(STALL_TIMEOUT), call)).await;
            let reply = reply.map_err(|_| "no answer in time".to_owned());
            (path, reply.and_then(|reply| reply.map_err(|error| error.to_string())))
        }));
        answered = under.as_mut().now_or_never();
        if answered.is_none() {
            under_way.push(under);
        }
    }
}

/// What the called member said back goes to the group that called.
async fn hand_in(phone: &Phone, path: Path, frames: Vec<crate::engine::Frame>) {
    let door = phone
        .doors
        .borrow()
        .get(&path.group)
        .filter(|door| door.member == path.from)
        .cloned();
    let Some(door) = door else { return };
    for frame in frames {
        // A group that is gone needs no answers.
        let _ = door
            .knock
            .send(Knock::Frame {
                from: path.to,
                frame,
                answer: None,
            })
            .await;
    }
}

pub(crate) fn shares(theirs: &Hello, mine: &Hello) -> bool {
    theirs
        .groups
        .iter()
        .any(|other| mine.groups.iter().any(|own| own.group == other.group))
}

const NOWHERE: Path = Path {
    group: crate::id::GroupId([0; 16]),
    from: crate::id::MemberId([0; 16]),
    to: crate::id::MemberId([0; 16]),
};

fn path_of(call: &Call) -> Path {
    match call {
        Call::Push { path, .. } | Call::Frame { path, .. } => *path,
        Call::Hello(_) | Call::Groups(_) | Call::Poll => NOWHERE,
    }
}

fn context_of(deadline: Duration) -> context::Context {
    let mut context = context::current();
    context.deadline = Instant::now() + deadline;
    context
}

fn stalled(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

/// The task that drives a client; its end is the end of the connection.
struct Dispatch(JoinHandle<()>);

impl Drop for Dispatch {
    fn drop(&mut self) {
        self.0.abort();
    }
}
