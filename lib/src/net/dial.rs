//! Outbound links: dial, greet, carry calls, dial again.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::{sleep_until, timeout};

use crate::engine::Frame;
use crate::net::codec::Caller;
use crate::net::line::Line;
use crate::net::rpc::{Call, Hello, Path, Reply};
use crate::net::serve::Doors;
use crate::net::socket::{Socket, TcpStream, is_private};
use crate::net::tls::{DENIED, Peer, Tls, plain};
use crate::net::transport::Transport;
use crate::net::vouch::{self, Whom};
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
        whom: Whom,
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
    Failed { refused: bool, trouble: Trouble },
    /// The address is this node's own.
    Myself,
}

/// Why an attempt failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Trouble {
    /// For people.
    pub(crate) why: String,
    /// Whether somebody is there, and one side does not let the other in.
    pub(crate) denied: bool,
}

/// What a dialler needs.
#[derive(Clone)]
pub(crate) struct Phone {
    pub(crate) hello: watch::Receiver<Arc<Hello>>,
    pub(crate) doors: watch::Receiver<Doors>,
    pub(crate) news: mpsc::Sender<(SocketAddr, News)>,
    pub(crate) meter: Arc<Meter>,
    /// Without it only nodes on loopback are dialled.
    pub(crate) tls: Option<Tls>,
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
                let trouble = Trouble {
                    denied: error.kind() == DENIED,
                    why: error.to_string(),
                };
                News::Failed { refused, trouble }
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
    let (mut line, whom, mut theirs) = match timeout(HANDSHAKE_TIMEOUT, introduce(addr, phone)).await {
        Ok(introduced) => introduced?,
        Err(_) => return Err(stalled("did not say who it is")),
    };
    if whom.node == phone.hello.borrow().node {
        return Ok(News::Myself);
    }
    if !shares(&theirs, &phone.hello.borrow()) {
        return Ok(News::Strangers { hello: theirs });
    }
    let (link, calls) = mpsc::channel(LINK_QUEUE);
    let (use_it, used) = oneshot::channel();
    let news = News::Up {
        whom: whom.clone(),
        hello: theirs.clone(),
        link,
        use_it,
    };
    phone
        .news
        .send((addr, news))
        .await
        .map_err(|_| stalled("the node is shutting down"))?;
    let Ok(Some(visited)) = used.await else {
        return Ok(News::Strangers { hello: theirs });
    };
    let why = carry(phone, (addr, &mut line), (&whom, &mut theirs), (calls, visited)).await;
    tracing::debug!(%addr, why, "link closed");
    Ok(News::Down)
}

/// Connects, and says who is who.
async fn introduce(addr: SocketAddr, phone: &mut Phone) -> io::Result<(Line, Whom, Hello)> {
    let (socket, peer) = connect(addr, phone.tls.as_ref()).await?;
    let mut line = Line::new(Transport::new(socket, Caller(phone.meter.clone())));
    phone.hello.mark_unchanged();
    line.begin(Call::Hello(Hello::now(&phone.hello, phone.tls.as_ref())));
    let reply = match line.next().await {
        Some((_, Ok(reply))) => reply,
        // What became of the call says less than what became of the connection.
        Some((_, Err(error))) => {
            while line.next().await.is_some() {}
            return Err(line.trouble().unwrap_or_else(|| io::Error::other(error)));
        }
        None => {
            return Err(line.trouble().unwrap_or_else(|| io::ErrorKind::ConnectionReset.into()));
        }
    };
    let hello = match reply {
        Reply::Hello(hello) => hello,
        Reply::Refused(refusal) => return Err(denied(format!("the other side refuses: {refusal}"))),
        _ => return Err(io::Error::other("it answers with something else")),
    };
    let whom = vouch::greeting(peer.as_ref(), &hello).map_err(|refusal| denied(refusal.of_caller()))?;
    Ok((line, whom, hello))
}

/// A connection that has shown who it is with, if that is asked for.
async fn connect(addr: SocketAddr, tls: Option<&Tls>) -> io::Result<(Socket, Option<Peer>)> {
    let Some(tls) = tls else {
        if !is_private(addr.ip()) {
            return Err(io::Error::other("it is not on loopback: that needs an identity"));
        }
        return Ok((Socket::Plain(open(addr).await?), None));
    };
    // Nothing says of which cluster whoever is there is, until it is asked for one.
    let mut last = io::Error::other("this node has no certificate yet");
    for held in tls.identity().credentials() {
        match tls.connect(open(addr).await?, &held).await {
            Ok((socket, peer)) => return Ok((socket, Some(peer))),
            Err(error) => last = error,
        }
    }
    Err(plain(&last))
}

async fn open(addr: SocketAddr) -> io::Result<TcpStream> {
    let socket = timeout(CONNECT_TIMEOUT, TcpStream::connect(addr))
        .await
        .map_err(|_| stalled("no answer"))??;
    socket.set_nodelay(true)?;
    Ok(socket)
}

/// Carries calls until the connection ends; calls are written in the order in which they come.
async fn carry(
    phone: &Phone,
    (addr, line): (SocketAddr, &mut Line),
    (whom, theirs): (&Whom, &mut Hello),
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
                        if let Err(why) = take_reply(phone, (addr, path), (whom, theirs), reply).await {
                            return why;
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

/// Brings a reply where it belongs. Or why the connection is to be closed.
async fn take_reply(
    phone: &Phone,
    (addr, path): (SocketAddr, Path),
    (whom, theirs): (&Whom, &mut Hello),
    reply: Reply,
) -> Result<(), &'static str> {
    let bad = |why: &'static str| {
        tracing::warn!(%addr, node = %whom.node.short(), "link closed: {why}");
        why
    };
    match reply {
        Reply::Frames(mut frames) => {
            let theirs = path.back();
            frames
                .iter_mut()
                .try_for_each(|frame| vouch::frame(whom, theirs, frame))
                .map_err(bad)?;
            hand_in(phone, theirs, frames).await;
        }
        Reply::Hello(hello) => {
            if hello.node != whom.node || !vouch::are_its_own(whom.node, &hello.groups) {
                return Err(bad("it names members that are not its own"));
            }
            *theirs = hello.clone();
            let told = phone.news.send((addr, News::Groups { hello })).await;
            told.map_err(|_| "the node is shutting down")?;
        }
        Reply::Said(said) => {
            for (path, mut frame) in said {
                // Of a member that has left in the meantime something may still come.
                if !theirs.takes_part(path.group, path.from) {
                    continue;
                }
                vouch::frame(whom, path, &mut frame).map_err(bad)?;
                hand_in(phone, path, vec![frame]).await;
            }
        }
        Reply::Refused(refusal) => tracing::debug!(%addr, "a call was refused: {refusal}"),
    }
    Ok(())
}

/// What a member of the other side says goes to the group that it is for.
async fn hand_in(phone: &Phone, path: Path, frames: Vec<Frame>) {
    let door = phone
        .doors
        .borrow()
        .get(&path.group)
        .filter(|door| door.member == path.to)
        .cloned();
    let Some(door) = door else { return };
    for frame in frames {
        // A group that is gone needs no answers.
        let _ = door
            .knock
            .send(Knock::Frame {
                from: path.from,
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

fn denied(why: String) -> io::Error {
    io::Error::new(DENIED, why)
}

fn stalled(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}
