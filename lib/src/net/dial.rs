//! Outbound links: dial, greet, carry calls, dial again.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::{sleep_until, timeout};

use crate::net::codec::Caller;
use crate::net::line::Line;
use crate::net::rpc::{Call, Hello, PROTOCOL, Path, Refusal, Reply};
use crate::net::serve::Doors;
use crate::net::socket::TcpStream;
use crate::net::transport::Transport;
use crate::net::{
    CONNECT_TIMEOUT, HANDSHAKE_TIMEOUT, Knock, LINK_QUEUE, Meter, POLL_AFTER, PROBE_AFTER, PROBE_PAUSE,
    RECONNECT_PAUSE, STALL_TIMEOUT,
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
    let mut line = Line::new(Transport::new(socket, Caller(phone.meter.clone())));
    let mine = Hello::clone(&phone.hello.borrow_and_update());
    let me = mine.node;
    line.begin(Call::Hello(mine));
    let answered = timeout(HANDSHAKE_TIMEOUT, line.next())
        .await
        .map_err(|_| stalled("did not say who it is"))?;
    let (_, reply) = answered.ok_or(io::ErrorKind::ConnectionReset)?;
    let hello = match reply.map_err(io::Error::other)? {
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
    let why = carry(phone, (addr, line), (calls, visited)).await;
    tracing::debug!(%addr, why, "link closed");
    Ok(News::Down)
}

/// Carries calls until the connection ends; calls are written in the order in which they come.
async fn carry(
    phone: &Phone,
    (addr, mut line): (SocketAddr, Line),
    (mut calls, mut visited): (mpsc::Receiver<Call>, watch::Receiver<bool>),
) -> &'static str {
    let mut hello = phone.hello.clone();
    let mut stall = pin!(sleep_until(tokio::time::Instant::now() + STALL_TIMEOUT));
    // A node that is not dialled back within a while asks for what the other has to say.
    let (mut polling, poll_from) = (false, tokio::time::Instant::now() + POLL_AFTER);
    loop {
        // What happens rarely is waited for as one, so that a busy link need not enlist for each with every call.
        let mut rare = pin!(rare_call(&mut hello, &mut visited, (!polling).then_some(poll_from)));
        // Until that changes:
        loop {
            tokio::select! {
                // First what was begun: those that were begun together share a write.
                biased;
                answered = line.next() => match answered {
                    Some((path, Ok(reply))) => {
                        let answers_poll = matches!(reply, Reply::Said(_));
                        if !take_reply(phone, (addr, path), reply).await {
                            return "the node is shutting down";
                        }
                        if answers_poll {
                            polling = false;
                            break;
                        }
                    }
                    Some((_, Err(error))) => {
                        tracing::debug!(%addr, error, "a call failed");
                        return "a call failed";
                    }
                    None => return "the connection was closed",
                },
                call = calls.recv(), if line.has_room() => {
                    let Some(call) = call else { return "no group needs it" };
                    line.begin(call);
                    while line.has_room() && let Ok(call) = calls.try_recv() {
                        line.begin(call);
                    }
                }
                call = &mut rare => {
                    let Some(call) = call else { return "the node is shutting down" };
                    polling |= matches!(call, Call::Poll);
                    line.begin(call);
                    break;
                }
                () = &mut stall => {
                    let now = tokio::time::Instant::now();
                    let due = line.oldest().unwrap_or(now) + STALL_TIMEOUT;
                    if due <= now {
                        return "no answer in time";
                    }
                    stall.as_mut().reset(due);
                }
            }
        }
    }
}

/// A call that the node itself has to make, on which the dialling side waits seldom; nothing, if it is shutting down.
async fn rare_call(
    hello: &mut watch::Receiver<Arc<Hello>>,
    visited: &mut watch::Receiver<bool>,
    poll_from: Option<tokio::time::Instant>,
) -> Option<Call> {
    loop {
        let lonely = poll_from.filter(|_| !*visited.borrow_and_update());
        let poll = async {
            match lonely {
                Some(from) => sleep_until(from).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = hello.changed() => {
                changed.ok()?;
                return Some(Call::Groups(hello.borrow_and_update().groups.clone()));
            }
            changed = visited.changed() => changed.ok()?,
            () = poll => return Some(Call::Poll),
        }
    }
}

/// Brings a reply where it belongs; false if there is nobody any more.
async fn take_reply(phone: &Phone, (addr, path): (SocketAddr, Path), reply: Reply) -> bool {
    match reply {
        Reply::Frames(frames) => hand_in(phone, path, frames).await,
        Reply::Hello(hello) => return phone.news.send((addr, News::Groups { hello })).await.is_ok(),
        Reply::Said(said) => {
            for (path, frame) in said {
                let back = Path {
                    from: path.to,
                    to: path.from,
                    ..path
                };
                hand_in(phone, back, vec![frame]).await;
            }
        }
        Reply::Refused(refusal) => tracing::debug!(%addr, ?refusal, "a call was refused"),
    }
    true
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

fn stalled(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}
