//! One connection: who it is comes first, then requests are taken one by one and answered in order; only watches wait aside,
//! so that they hold up nothing else. Nothing more is read while an answer is not taken.

mod introduction;

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::Abortable;
use futures::stream::FuturesUnordered;
use futures::{SinkExt, StreamExt};
use tarpc::ChannelError;
use tarpc::server::{BaseChannel, Config, TrackedRequest};
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::codec::Framed;

use super::door::Pass;
use super::office::{Badge, Office, Refused};
use super::owner::Mail;
use super::stats::Stats;
use crate::peer::PeerId;
use crate::printable::printable;
use crate::proof::Exported;
use crate::protocol::{Answer, Health, PROTOCOL_VERSION, Refusal, Request, millis};
use crate::registry::{Ask, Caller};
use crate::rpc::RegistryCodec;
use crate::tls;

/// A connection that has not said hello by then is not a client. The TLS handshake is part of it:
/// two round trips and some milliseconds of arithmetic.
pub(crate) const HELLO_MAX: Duration = Duration::from_secs(5);
/// By then it must be known who it is. A proof is one question after the hello.
pub(crate) const INTRODUCTION_MAX: Duration = Duration::from_secs(10);
/// A connection that asks nothing and waits for nothing for this long is closed. A client renews
/// its lease or watches at least every 25 s.
pub(crate) const IDLE_MAX: Duration = Duration::from_secs(90);
/// A peer that does not take an answer for this long is cut off: on any working network a list
/// passes in a fraction of it.
pub(crate) const WRITE_MAX: Duration = Duration::from_secs(5);
/// Watches that wait at once on one connection: one, and some that were cancelled a moment ago.
pub(crate) const WAITING_MAX: usize = 4;
/// A watch is answered this long before its deadline, so that the answer arrives in time.
const WATCH_MARGIN: Duration = Duration::from_millis(500);

type Channel = BaseChannel<Request, Answer, Framed<TlsStream<TcpStream>, RegistryCodec>>;

/// Why a connection ended.
enum End {
    /// As connections end, or the server stops.
    Quiet(String),
    /// Something was wrong with the other side; worth a line in the log.
    Broken(String),
}

/// What all connections share.
#[derive(Clone)]
pub(super) struct House {
    pub(super) tls: TlsAcceptor,
    pub(super) office: Office,
    pub(super) mail: Mail,
    pub(super) lease: Duration,
    pub(super) stats: Stats,
    pub(super) listens: Arc<Vec<SocketAddr>>,
}

/// Serves one connection until its end, or until `go` while it is a stranger's.
pub(super) async fn serve(
    stream: TcpStream,
    from: SocketAddr,
    house: House,
    pass: Pass,
    mut go: oneshot::Receiver<()>,
) {
    let stats = house.stats.clone();
    stats.count_connection();
    let came = Instant::now();
    drop(stream.set_nodelay(true)); // only costs time if it fails
    let greeted = tokio::select! {
        greeted = timeout(HELLO_MAX, house.tls.accept(stream)) => greeted,
        _ = &mut go => return tell_end(from, End::Quiet("others wait to say who they are".into()), &stats),
    };
    let stream = match greeted {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tell_end(from, shake_end(&error), &stats),
        Err(_) => {
            let why = format!("it did not say hello within {HELLO_MAX:?}");
            return tell_end(from, End::Broken(why), &stats);
        }
    };
    let (exported, shown) = {
        let tls = stream.get_ref().1;
        (tls::exported(tls), tls::node_of(tls.peer_certificates()))
    };
    let exported = match exported {
        Ok(exported) => exported,
        Err(error) => return tell_end(from, End::Broken(error.to_string()), &stats),
    };
    let framed = Framed::new(stream, RegistryCodec::new());
    // The buffer is that of tarpc's own request loop, which is not used here.
    let channel = BaseChannel::new(
        Config {
            pending_response_buffer: 1,
        },
        framed,
    );
    let mut desk = Desk {
        channel,
        refused: house.office.refused(),
        house,
        pass,
        came,
        shown,
        exported,
        badge: Badge::default(),
        greeted: false,
        waiting: BTreeSet::new(),
    };
    tell_end(from, desk.serve(go).await, &stats);
    for caller in std::mem::take(&mut desk.waiting) {
        desk.house.mail.forget(caller).await;
    }
}

fn tell_end(from: SocketAddr, end: End, stats: &Stats) {
    match end {
        End::Quiet(why) => tracing::debug!("connection from {from} ended: {why}"),
        End::Broken(why) => {
            stats.count_broken_connection();
            tracing::warn!("connection from {from} closed: {why}");
        }
    }
}

/// A handshake that fails. One that is broken off is how a port is looked at.
fn shake_end(error: &io::Error) -> End {
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => End::Quiet("closed by the peer".into()),
        _ => End::Broken(printable(&tls::words(error))),
    }
}

struct Desk {
    channel: Channel,
    house: House,
    pass: Pass,
    came: Instant,
    /// The node whose certificate was shown in the handshake.
    shown: Option<PeerId>,
    exported: Exported,
    badge: Badge,
    /// Who is refused, and that it changed.
    refused: watch::Receiver<Arc<Refused>>,
    greeted: bool,
    /// Who of this connection waits for a change.
    waiting: BTreeSet<Caller>,
}

impl Desk {
    async fn serve(&mut self, mut go: oneshot::Receiver<()>) -> End {
        let mut watches = FuturesUnordered::new();
        let mut patience = self.came + HELLO_MAX;
        loop {
            let done = tokio::select! {
                asked = self.channel.next() => match asked {
                    None => Err(End::Quiet("closed by the peer".into())),
                    Some(Err(error)) => Err(read_end(error)),
                    Some(Ok(tracked)) => match self.on_request(tracked).await {
                        Ok(Some(watch)) => { watches.push(watch); Ok(()) }
                        Ok(None) => Ok(()),
                        Err(end) => Err(end),
                    },
                },
                Some((id, caller, answer)) = watches.next() => {
                    self.waiting.remove(&caller);
                    match answer {
                        Some(answer) => self.answer(id, answer).await,
                        None => { self.house.mail.forget(caller).await; Ok(()) }
                    }
                },
                Ok(()) = self.refused.changed() => self.check_badge(),
                _ = &mut go, if !self.badge.is_known() => {
                    Err(End::Quiet("others wait to say who they are".into()))
                },
                () = sleep_until(patience), if watches.is_empty() => Err(self.impatience()),
            };
            if let Err(end) = done {
                return end;
            }
            patience = match (self.greeted, self.badge.is_known()) {
                (_, true) => Instant::now() + IDLE_MAX,
                (true, false) => self.came + INTRODUCTION_MAX,
                (false, false) => self.came + HELLO_MAX,
            };
        }
    }

    fn impatience(&self) -> End {
        match (self.greeted, self.badge.is_known()) {
            (_, true) => End::Quiet(format!("idle for {IDLE_MAX:?}")),
            (true, false) => End::Quiet(format!("it did not say who it is within {INTRODUCTION_MAX:?}")),
            (false, false) => End::Broken(format!("it did not say hello within {HELLO_MAX:?}")),
        }
    }

    /// Whoever was evicted is heard no longer.
    fn check_badge(&mut self) -> Result<(), End> {
        let refusal = self.refused.borrow_and_update().check(&self.badge);
        refusal.map_err(|refusal| End::Broken(refusal.to_string()))
    }

    /// Answers the request, or returns it as something to wait for: request id, caller, and the
    /// answer unless the client cancelled it.
    async fn on_request(
        &mut self,
        tracked: TrackedRequest<Request>,
    ) -> Result<Option<impl Future<Output = (u64, Caller, Option<Answer>)> + use<>>, End> {
        let tarpc::Request { id, context, message } = tracked.request;
        let refused = match self.greeted {
            true => self.may(&message).err(),
            false => None, // that comes first
        };
        let ask = match message {
            Request::Hello { version } => return self.on_hello(id, version).await.map(|()| None),
            _ if !self.greeted => {
                self.answer(id, Answer::Refused(Refusal::HelloFirst)).await?;
                return Err(End::Broken("its first request was not a hello".into()));
            }
            _ if refused.is_some() => Err(refused.unwrap_or(Refusal::Unproven)),
            Request::Watch { since, wait_ms } => {
                let left = context.deadline.saturating_duration_since(std::time::Instant::now());
                let wait = Duration::from_millis(wait_ms.into());
                let wait = wait.min(left.saturating_sub(WATCH_MARGIN));
                Ok(Ask::Watch { since, wait })
            }
            Request::Prove { .. } | Request::Enrol { .. } => {
                return self.on_introduction(id, message).await.map(|()| None);
            }
            Request::Evict { .. }
            | Request::Pardon { .. }
            | Request::Invite { .. }
            | Request::Invites
            | Request::Revoke { .. } => return self.on_operator(id, message).await.map(|()| None),
            other => checked(other),
        };
        let ask = match ask {
            Ok(ask) => ask,
            Err(refusal) => return self.refuse(id, refusal).await.map(|()| None),
        };
        let may_wait = matches!(ask, Ask::Watch { .. });
        if may_wait && self.waiting.len() >= WAITING_MAX {
            return self.refuse(id, Refusal::Busy).await.map(|()| None);
        }
        let (caller, answer) = self.house.mail.ask(ask).await;
        if may_wait {
            self.waiting.insert(caller);
            let answer = Abortable::new(answer, tracked.abort_registration);
            return Ok(Some(
                async move { (id, caller, answer.await.ok().and_then(Result::ok)) },
            ));
        }
        let answer = match answer.await.map_err(|_| stopping())? {
            Answer::Health(_) if !self.badge.is_known() => Answer::Well,
            Answer::Health(health) => Answer::Health(Health {
                listens: self.house.listens.to_vec(),
                ..health
            }),
            answer => answer,
        };
        self.answer(id, answer).await.map(|()| None)
    }

    async fn on_hello(&mut self, id: u64, theirs: u16) -> Result<(), End> {
        if theirs != PROTOCOL_VERSION {
            let refusal = Refusal::Version {
                ours: PROTOCOL_VERSION,
                theirs,
            };
            let why = format!("it speaks protocol version {theirs}, not {PROTOCOL_VERSION}");
            self.refuse(id, refusal).await?;
            return Err(End::Broken(why));
        }
        self.greeted = true;
        if let Some(node) = self.shown {
            match self.house.office.recognise(node).await {
                Ok(badge) => self.introduce(id, badge).await?,
                Err(refusal) => {
                    let why = refusal.to_string();
                    self.refuse(id, refusal).await?;
                    return Err(End::Broken(why));
                }
            }
        }
        let welcome = Answer::Welcome {
            version: PROTOCOL_VERSION,
            lease_ms: millis(self.house.lease),
            you: self.badge.node(),
        };
        self.answer(id, welcome).await
    }

    async fn refuse(&mut self, id: u64, refusal: Refusal) -> Result<(), End> {
        self.answer(id, Answer::Refused(refusal)).await
    }

    async fn answer(&mut self, request_id: u64, answer: Answer) -> Result<(), End> {
        self.house.stats.count_request(matches!(answer, Answer::Refused(_)));
        let response = tarpc::Response {
            request_id,
            message: Ok(answer),
        };
        match timeout(WRITE_MAX, self.channel.send(response)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(End::Quiet(error.to_string())),
            Err(_) => Err(End::Broken(format!("it did not take an answer for {WRITE_MAX:?}"))),
        }
    }
}

/// The edge: from here on, every field is in order.
fn checked(request: Request) -> Result<Ask, Refusal> {
    Ok(match request {
        Request::Register { claim, holder, turn } => Ask::Register {
            peer: claim.check()?,
            holder,
            turn,
        },
        Request::Leave { id, holder, turn } => Ask::Leave { id, holder, turn },
        Request::List => Ask::List,
        Request::Health => Ask::Health,
        Request::Watch { since, wait_ms } => Ask::Watch {
            since,
            wait: Duration::from_millis(wait_ms.into()),
        },
        // All else is answered before.
        _ => return Err(Refusal::HelloFirst),
    })
}

fn stopping() -> End {
    End::Quiet("the server stops".into())
}

fn read_end(error: ChannelError<io::Error>) -> End {
    let source: Arc<io::Error> = match error {
        ChannelError::Read(source) => source,
        other => return End::Quiet(other.to_string()),
    };
    match source.kind() {
        io::ErrorKind::InvalidData => End::Broken(source.to_string()),
        io::ErrorKind::ConnectionAborted => End::Quiet("closed by the peer".into()),
        _ => End::Quiet(source.to_string()),
    }
}
