//! Outbound links: dial, greet, carry calls, dial again.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::id::NodeId;
use crate::net::carry::{Mine, carry};
use crate::net::codec::Caller;
use crate::net::line::Line;
use crate::net::rpc::{Call, Hello, Presence, Reply};
use crate::net::serve::Doors;
use crate::net::socket::{Socket, TcpStream, is_private};
use crate::net::tls::{DENIED, Peer, Tls, plain};
use crate::net::transport::Transport;
use crate::net::vouch::{self, Whom};
use crate::net::{CONNECT_TIMEOUT, HANDSHAKE_TIMEOUT, LINK_QUEUE, Meter, PROBE_AFTER, PROBE_PAUSE, RECONNECT_PAUSE};

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
    /// It proved who it is, and answers what only others may say.
    Forged { node: NodeId },
    /// The link that was up is not any more.
    Down,
    /// Connected, and closed again: no group is shared.
    Strangers { whom: Whom, hello: Hello },
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
    let (mut line, whom, mut theirs, told) = match timeout(HANDSHAKE_TIMEOUT, introduce(addr, phone)).await {
        Ok(introduced) => introduced?,
        Err(_) => return Err(stalled("did not say who it is")),
    };
    if whom.node == phone.hello.borrow().node {
        return Ok(News::Myself);
    }
    if !shares(&theirs.groups, &phone.hello.borrow().groups_for(whom.profile.as_ref())) {
        return Ok(News::Strangers { whom, hello: theirs });
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
        return Ok(News::Strangers { whom, hello: theirs });
    };
    let mine = Mine {
        hello: phone.hello.clone(),
        told,
        whom: whom.profile,
    };
    let why = carry(phone, (addr, &mut line), (&whom, &mut theirs), mine, (calls, visited)).await;
    tracing::debug!(%addr, why, "link closed");
    Ok(News::Down)
}

/// Connects, and says who is who. Who is there is known when it has answered: private groups are told of after that.
async fn introduce(addr: SocketAddr, phone: &mut Phone) -> io::Result<(Line, Whom, Hello, Vec<Presence>)> {
    let (socket, peer) = connect(addr, phone.tls.as_ref()).await?;
    let mut line = Line::new(Transport::new(socket, Caller(phone.meter.clone())));
    phone.hello.mark_unchanged();
    let hello = Hello::now(&phone.hello, phone.tls.as_ref(), None);
    let told = hello.groups.clone();
    line.begin(Call::Hello(hello));
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
    Ok((line, whom, hello, told))
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

pub(crate) fn shares(theirs: &[Presence], mine: &[Presence]) -> bool {
    theirs
        .iter()
        .any(|other| mine.iter().any(|own| own.group == other.group))
}

fn denied(why: String) -> io::Error {
    io::Error::new(DENIED, why)
}

fn stalled(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}
