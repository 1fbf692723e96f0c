//! One connection: requests are taken one by one and answered in order; only watches wait aside,
//! so that they hold up nothing else. Nothing more is read while an answer is not taken.

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
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::codec::Framed;

use super::owner::Mail;
use super::stats::Stats;
use crate::protocol::{Answer, PROTOCOL_VERSION, Refusal, Request, millis};
use crate::registry::{Ask, Caller};
use crate::rpc::RegistryCodec;

/// A connection that has not said hello by then is not a client.
const HELLO_MAX: Duration = Duration::from_secs(5);
/// A connection that asks nothing and waits for nothing for this long is closed. A client renews
/// its lease or watches at least every 25 s.
const IDLE_MAX: Duration = Duration::from_secs(90);
/// A peer that does not take an answer for this long is cut off: on any working network a list
/// passes in a fraction of it.
const WRITE_MAX: Duration = Duration::from_secs(5);
/// Watches that wait at once on one connection: one, and some that were cancelled a moment ago.
const WAITING_MAX: usize = 4;
/// A watch is answered this long before its deadline, so that the answer arrives in time.
const WATCH_MARGIN: Duration = Duration::from_millis(500);

type Channel = BaseChannel<Request, Answer, Framed<TcpStream, RegistryCodec>>;

/// Why a connection ended.
enum End {
    /// As connections end, or the server stops.
    Quiet(String),
    /// Something was wrong with the other side; worth a line in the log.
    Broken(String),
}

/// Serves one connection until its end.
pub(super) async fn serve(stream: TcpStream, from: SocketAddr, mail: Mail, lease: Duration, stats: Stats) {
    stats.count_connection();
    drop(stream.set_nodelay(true)); // only costs time if it fails
    let framed = Framed::new(stream, RegistryCodec::new());
    // The buffer is that of tarpc's own request loop, which is not used here.
    let channel = BaseChannel::new(
        Config {
            pending_response_buffer: 1,
        },
        framed,
    );
    let waiting = BTreeSet::new();
    let mut desk = Desk {
        channel,
        mail,
        lease,
        stats,
        greeted: false,
        waiting,
    };
    match desk.serve().await {
        End::Quiet(why) => tracing::debug!("connection from {from} ended: {why}"),
        End::Broken(why) => {
            desk.stats.count_broken_connection();
            tracing::warn!("connection from {from} closed: {why}");
        }
    }
    for caller in std::mem::take(&mut desk.waiting) {
        desk.mail.forget(caller).await;
    }
}

struct Desk {
    channel: Channel,
    mail: Mail,
    lease: Duration,
    stats: Stats,
    greeted: bool,
    /// Who of this connection waits for a change.
    waiting: BTreeSet<Caller>,
}

impl Desk {
    async fn serve(&mut self) -> End {
        let mut watches = FuturesUnordered::new();
        let mut patience = Instant::now() + HELLO_MAX;
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
                        None => { self.mail.forget(caller).await; Ok(()) }
                    }
                },
                () = sleep_until(patience), if watches.is_empty() => Err(match self.greeted {
                    true => End::Quiet(format!("idle for {IDLE_MAX:?}")),
                    false => End::Broken(format!("it did not say hello within {HELLO_MAX:?}")),
                }),
            };
            if let Err(end) = done {
                return end;
            }
            if self.greeted {
                patience = Instant::now() + IDLE_MAX;
            }
        }
    }

    /// Answers the request, or returns it as something to wait for: request id, caller, and the
    /// answer unless the client cancelled it.
    async fn on_request(
        &mut self,
        tracked: TrackedRequest<Request>,
    ) -> Result<Option<impl Future<Output = (u64, Caller, Option<Answer>)> + use<>>, End> {
        let tarpc::Request { id, context, message } = tracked.request;
        let ask = match message {
            Request::Hello { version } => return self.on_hello(id, version).await.map(|()| None),
            _ if !self.greeted => {
                self.answer(id, Answer::Refused(Refusal::HelloFirst)).await?;
                return Err(End::Broken("its first request was not a hello".into()));
            }
            Request::Watch { since, wait_ms } => {
                let left = context.deadline.saturating_duration_since(std::time::Instant::now());
                let wait = Duration::from_millis(wait_ms.into());
                let wait = wait.min(left.saturating_sub(WATCH_MARGIN));
                Ok(Ask::Watch { since, wait })
            }
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
        let (caller, answer) = self.mail.ask(ask).await;
        if may_wait {
            self.waiting.insert(caller);
            let answer = Abortable::new(answer, tracked.abort_registration);
            return Ok(Some(
                async move { (id, caller, answer.await.ok().and_then(Result::ok)) },
            ));
        }
        let answer = answer.await.map_err(|_| End::Quiet("the server stops".into()))?;
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
        let lease_ms = millis(self.lease);
        self.answer(
            id,
            Answer::Welcome {
                version: PROTOCOL_VERSION,
                lease_ms,
            },
        )
        .await
    }

    async fn refuse(&mut self, id: u64, refusal: Refusal) -> Result<(), End> {
        self.answer(id, Answer::Refused(refusal)).await
    }

    async fn answer(&mut self, request_id: u64, answer: Answer) -> Result<(), End> {
        self.stats.count_request(matches!(answer, Answer::Refused(_)));
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
        Request::Evict { target } => Ask::Evict { target },
        Request::Health => Ask::Health,
        Request::Watch { since, wait_ms } => Ask::Watch {
            since,
            wait: Duration::from_millis(wait_ms.into()),
        },
        Request::Hello { .. } => return Err(Refusal::HelloFirst),
    })
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
