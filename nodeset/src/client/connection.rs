//! One connection to one registry: whom it has there, who asks, and questions with answers.

use std::fmt;
use std::time::{Duration, Instant};

use tarpc::client::{Channel, Config, RpcError};
use tarpc::{ChannelError, context};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::codec::Framed;

use super::error::AskError;
use super::proofs::{Enrolment, Proofs};
use super::reach::{connect, resolve, shake_hands, stranger};
use crate::key::ProcessKey;
use crate::peer::PeerId;
use crate::proof::Exported;
use crate::protocol::{Answer, News, PROTOCOL_VERSION, Position, ProfileProof, Proof, Refusal, Request, millis};
use crate::rpc::ClientCodec;
use crate::tls::Authentic;

/// Requests in flight on one connection: a renewal, a watch, and those being cancelled.
const IN_FLIGHT_MAX: usize = 8;
/// The name of whoever only asks.
const TOOL: &str = "nodesetd";
/// How long the answer of a watch may be late before the registry counts as stalled.
pub(super) const WATCH_GRACE: Duration = Duration::from_secs(3);

/// What a connection is opened with.
#[derive(Clone, Copy)]
pub(super) struct Papers<'a> {
    pub(super) proofs: &'a Proofs,
    /// What was got at an earlier connection, and the key that it is for.
    pub(super) enrolled: Option<(&'a Enrolment, &'a ProcessKey)>,
    /// Go on where the authority is not known: for questions that anybody may ask.
    pub(super) anyone: bool,
}

impl<'a> Papers<'a> {
    pub(super) fn of(proofs: &'a Proofs) -> Self {
        Self {
            proofs,
            enrolled: None,
            anyone: false,
        }
    }
}

/// An open connection on which hello was said. Dropping it closes it.
pub(super) struct Connection {
    pub(super) calls: Calls,
    _pump: Pump,
    /// How long the registry's leases last.
    pub(super) lease: Duration,
    /// The node of the certificate that was shown and accepted.
    pub(super) you: Option<PeerId>,
    authentic: Authentic,
    exported: Exported,
}

impl Connection {
    /// Resolves, connects, looks whom it has there, and says hello, all within `limit`.
    pub(super) async fn open(registry: &str, papers: Papers<'_>, limit: Duration) -> Result<Self, AskError> {
        let late = |_| AskError::NoAnswer {
            registry: registry.into(),
            waited: limit,
        };
        timeout(limit, Self::open_unhurried(registry, papers, limit))
            .await
            .map_err(late)?
    }

    /// The same, and proves who asks.
    pub(super) async fn open_proven(registry: &str, proofs: &Proofs, limit: Duration) -> Result<Self, AskError> {
        let connection = Self::open(registry, Papers::of(proofs), limit).await?;
        connection.prove(proofs, TOOL, limit).await?;
        Ok(connection)
    }

    async fn open_unhurried(registry: &str, papers: Papers<'_>, limit: Duration) -> Result<Self, AskError> {
        let stream = connect(registry, &resolve(registry).await?).await?;
        drop(stream.set_nodelay(true)); // only costs time if it fails
        let (stream, authentic, exported) = shake_hands(registry, stream, papers).await?;
        let mut config = Config::default();
        config.max_in_flight_requests = IN_FLIGHT_MAX;
        config.pending_request_buffer = IN_FLIGHT_MAX;
        let framed = Framed::new(stream, ClientCodec::new());
        let new = tarpc::client::new(config, framed);
        // The end of the dispatch is the end of the connection; it tells nobody else.
        let (end, ended) = watch::channel(None);
        let pump = Pump(tokio::spawn(async move {
            let done = new.dispatch.await;
            end.send_replace(Some(done.err().and_then(|error| refused_by(&error))));
        }));
        let calls = Calls {
            channel: new.client,
            registry: registry.into(),
            ended,
        };
        let hello = Request::Hello {
            version: PROTOCOL_VERSION,
        };
        match calls.ask(hello, limit).await? {
            Answer::Welcome { lease_ms, you, .. } => Ok(Self {
                calls,
                _pump: pump,
                lease: Duration::from_millis(lease_ms.into()),
                you,
                authentic,
                exported,
            }),
            _ => Err(calls.confused()),
        }
    }

    /// Proves who asks, by the best proof that fits this registry. Returns how.
    pub(super) async fn prove(&self, proofs: &Proofs, name: &str, limit: Duration) -> Result<Proven, AskError> {
        let fingerprint = &self.authentic.fingerprint;
        if let Some(secret) = proofs.local_secret(fingerprint) {
            let mac = self.exported.local(&secret);
            self.prove_by(Proof::Local { mac }, proofs, name, limit).await?;
            return Ok(Proven { local: true });
        }
        let unknown = if proofs.profile.is_some() {
            match self.prove_by(Proof::Profile, proofs, name, limit).await {
                Ok(()) => return Ok(Proven { local: false }),
                Err(error @ AskError::Refused(Refusal::NotAdmitted)) => error,
                Err(error) => return Err(error),
            }
        } else {
            self.stranger()
        };
        let invite = proofs.invite.as_ref().filter(|invite| invite.pins(fingerprint));
        let Some(invite) = invite else {
            return Err(unknown);
        };
        let proof = self.exported.invited(invite.secret());
        let id = invite.id();
        self.prove_by(Proof::Invite { id, proof }, proofs, name, limit).await?;
        Ok(Proven { local: false })
    }

    async fn prove_by(&self, proof: Proof, proofs: &Proofs, name: &str, limit: Duration) -> Result<(), AskError> {
        let profile = proofs.profile.as_ref().map(|key| ProfileProof {
            public: key.public(),
            signature: self.exported.profile(key),
        });
        let name = name.to_owned();
        match self.calls.ask(Request::Prove { proof, profile, name }, limit).await? {
            Answer::Proven { .. } => Ok(()),
            _ => Err(self.calls.confused()),
        }
    }

    /// Gets a certificate for `key`, the first or the next one.
    pub(super) async fn enrol(&self, key: &ProcessKey, name: &str, limit: Duration) -> Result<Enrolment, AskError> {
        let request = Request::Enrol {
            public: key.public(),
            name: name.to_owned(),
            possession: self.exported.possession(key, name),
        };
        match self.calls.ask(request, limit).await? {
            Answer::Issued { chain, life_ms } => {
                let (registry, root) = (&self.calls.registry, &self.authentic.root);
                let life = Duration::from_millis(life_ms);
                Ok(Enrolment::new(registry, key, chain, root, life))
            }
            _ => Err(self.calls.confused()),
        }
    }

    fn stranger(&self) -> AskError {
        stranger(&self.calls.registry, &self.authentic)
    }

    /// The certificate of the authority that the registry showed.
    pub(super) fn root(&self) -> &[u8] {
        &self.authentic.root
    }

    /// SHA-256 of the authority that the registry showed.
    pub(super) fn fingerprint(&self) -> &[u8; 32] {
        &self.authentic.fingerprint
    }
}

/// How this end proved who it is.
pub(super) struct Proven {
    pub(super) local: bool,
}

/// What the other side has against us, if that is why the connection ended: a certificate of ours
/// is judged only after the handshake is over for this end.
fn refused_by<E: std::error::Error + 'static>(error: &ChannelError<E>) -> Option<String> {
    let mut error: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(error);
    while let Some(inner) = error {
        let tls = inner.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(rustls::Error::AlertReceived(alert)) = tls.and_then(|tls| tls.downcast_ref()) {
            return Some(format!("{alert:?}"));
        }
        error = inner.source();
    }
    None
}

/// Asks questions over a connection.
#[derive(Clone)]
pub(super) struct Calls {
    channel: Channel<Request, Answer>,
    registry: String,
    /// Turns to something when the connection has ended: what the other side had against it.
    ended: watch::Receiver<Option<Option<String>>>,
}

impl Calls {
    /// One question; a refusal is an error. After an error other than a refusal it is unknown
    /// whether the registry acted on the question.
    pub(super) async fn ask(&self, request: Request, limit: Duration) -> Result<Answer, AskError> {
        let late = || AskError::NoAnswer {
            registry: self.registry.clone(),
            waited: limit,
        };
        let mut context = context::current();
        context.deadline = Instant::now() + limit;
        // tarpc's own deadline starts to run only when the request is written, which a stalled
        // connection never does.
        match timeout(limit, self.channel.call(context, request)).await {
            Ok(Ok(Answer::Refused(refusal))) => Err(AskError::Refused(refusal)),
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(RpcError::DeadlineExceeded)) | Err(_) => Err(late()),
            Ok(Err(_)) => Err(self.end().await),
        }
    }

    /// Waits for the end of the connection.
    pub(super) async fn ended(&self) {
        drop(self.ended.clone().wait_for(Option::is_some).await);
    }

    /// Why the connection ended.
    async fn end(&self) -> AskError {
        let (mut ended, registry) = (self.ended.clone(), self.registry.clone());
        // An error means that the task was stopped, which only this end does.
        let why = match ended.wait_for(Option::is_some).await {
            Ok(why) => why.clone().flatten(),
            Err(_) => None,
        };
        match why {
            Some(alert) => AskError::NotAccepted { registry, alert },
            None => AskError::Closed { registry },
        }
    }

    /// One long poll.
    pub(super) async fn watch(&self, since: Option<Position>, wait: Duration) -> Result<News, AskError> {
        let request = Request::Watch {
            since,
            wait_ms: millis(wait),
        };
        match self.ask(request, wait + WATCH_GRACE).await? {
            Answer::News(news) => Ok(news),
            _ => Err(self.confused()),
        }
    }

    pub(super) fn confused(&self) -> AskError {
        AskError::Confused {
            registry: self.registry.clone(),
        }
    }
}

/// The task that reads and writes the connection; it ends with the connection.
pub(super) struct Pump(JoinHandle<()>);

impl Drop for Pump {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Follows one registry without registering: for tools. A program that is itself a peer uses
/// [`super::Client`].
pub struct Watch {
    registry: String,
    proofs: Proofs,
    at: Option<Position>,
    connection: Option<Connection>,
}

impl Watch {
    /// A watch of `registry` (`host:port`). Connects at the first [`Watch::next`].
    pub fn new(registry: impl Into<String>, proofs: Proofs) -> Self {
        Self {
            registry: registry.into(),
            proofs,
            at: None,
            connection: None,
        }
    }

    /// What happened since the last call: the full list at first, later the changes, none if
    /// `wait` passed without any. Misses and repeats nothing, also over reconnects, unless the
    /// answer is [`News::Resync`].
    ///
    /// # Errors
    /// See [`AskError`]. The position is kept; the next call connects again and goes on from it.
    pub async fn next(&mut self, wait: Duration) -> Result<News, AskError> {
        // Put back only after an answer: whatever fails in between drops the connection.
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open_proven(&self.registry, &self.proofs, WATCH_GRACE).await?,
        };
        let news = connection.calls.watch(self.at, wait).await?;
        let (News::Resync { at, .. } | News::Changes { at, .. }) = &news;
        self.at = Some(*at);
        self.connection = Some(connection);
        Ok(news)
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("registry", &self.registry)
            .field("at", &self.at)
            .finish()
    }
}
