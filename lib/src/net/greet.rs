//! How an inbound connection begins: the TLS handshake, and then it says who it is.

use std::io;
use std::net::SocketAddr;

use futures::StreamExt;
use tarpc::server::BaseChannel;
use tokio::sync::oneshot;

use crate::identity::Profile;
use crate::net::codec::Callee;
use crate::net::rpc::{Hello, Refusal, Reply, Request};
use crate::net::seats::{Guest, Stranger};
use crate::net::serve::{Channel, Desk, Visit, down, odd};
use crate::net::socket::{Socket, TcpStream};
use crate::net::transport::Transport;
use crate::net::visitor::answer;
use crate::net::vouch::{self, Whom};

/// A connection that said, and where that is asked for proved, who it is.
pub(super) struct Greeted {
    pub(super) channel: Channel,
    pub(super) theirs: Hello,
    pub(super) whom: Whom,
    /// Ends when a newer connection of the same node came.
    pub(super) replaced: oneshot::Receiver<()>,
    pub(super) guest: Guest,
}

/// The first request must say who calls. Nothing, if the client went before it said anything.
pub(super) async fn greet(
    (socket, from): (TcpStream, SocketAddr),
    desk: &Desk,
    stranger: Stranger,
) -> io::Result<Option<Greeted>> {
    socket.set_nodelay(true)?;
    let (socket, peer) = match &desk.tls {
        None => (Socket::Plain(socket), None),
        Some(tls) => {
            let (socket, peer) = tls.accept(socket).await?;
            (socket, Some(peer))
        }
    };
    let mut channel = BaseChannel::with_defaults(Transport::new(socket, Callee(desk.meter.clone())));
    let Some(request) = channel.next().await else {
        return Ok(None);
    };
    let request = request.map_err(io::Error::other)?.request;
    let Request::Hello(mut theirs) = request.message else {
        return Err(odd("it did not say who it is"));
    };
    let admission = match vouch::greeting(peer.as_ref(), &theirs) {
        Ok(whom) => admit(desk, (&mut theirs, from), stranger, whom).await?,
        Err(refusal) => Err(refusal),
    };
    match admission {
        Ok((whom, replaced, guest)) => {
            let mine = desk.mine(whom.profile.as_ref());
            answer(&mut channel, request.id, Reply::Hello(mine)).await?;
            Ok(Some(Greeted {
                channel,
                theirs,
                whom,
                replaced,
                guest,
            }))
        }
        Err(refusal) => {
            let why = odd(&refusal.of_caller());
            answer(&mut channel, request.id, Reply::Refused(refusal)).await?;
            Err(why)
        }
    }
}

type Admission = Result<(Whom, oneshot::Receiver<()>, Guest), Refusal>;

/// Whether the node has a place for it.
async fn admit(
    desk: &Desk,
    (theirs, from): (&mut Hello, SocketAddr),
    stranger: Stranger,
    whom: Whom,
) -> io::Result<Admission> {
    if theirs.addr.ip().is_unspecified() {
        theirs.addr.set_ip(from.ip());
    }
    let guest = match stranger.introduced(whom.node) {
        Ok(guest) => guest,
        Err(why) => {
            tracing::warn!(peer = %from, node = %whom.node.short(), "no place for a connection: {why}");
            return Ok(Err(Refusal::Crowded));
        }
    };
    let (admitted, admission) = oneshot::channel();
    let visit = Visit::Hello {
        whom: whom.clone(),
        hello: Box::new(theirs.clone()),
        admitted,
    };
    desk.visits.send(visit).await.map_err(|_| down())?;
    let admission = admission.await.map_err(|_| down())?;
    Ok(admission.map(|replaced| (whom, replaced, guest)))
}

impl Desk {
    /// How this node presents itself now, to that profile.
    pub(super) fn mine(&self, whom: Option<&Profile>) -> Hello {
        Hello::now(&self.hello, self.tls.as_ref(), whom)
    }
}
