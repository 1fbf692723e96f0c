//! One connection to one registry: whom it has there, who asks, and questions with answers.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tarpc::client::{Channel, Config, RpcError};
use tarpc::{ChannelError, context};
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::codec::Framed;

use super::proofs::{Enrolment, Proofs};
use crate::authority::fingerprint;
use crate::key::{ProcessKey, hex};
use crate::peer::PeerId;
use crate::printable::printable;
use crate::proof::Exported;
use crate::protocol::{Answer, News, PROTOCOL_VERSION, Position, ProfileProof, Proof, Refusal, Request, millis};
use crate::rpc::ClientCodec;
use crate::tls::{self, Authentic};

/// How long one address may take to accept a connection: three round trips on the worst network
/// that a registry is worth having on.
const CONNECT_MAX: Duration = Duration::from_secs(1);
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;
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

fn stranger(registry: &str, authentic: &Authentic) -> AskError {
    AskError::Stranger {
        registry: registry.into(),
        fingerprint: hex(&authentic.fingerprint),
    }
}

async fn shake_hands(
    registry: &str,
    stream: TcpStream,
    papers: Papers<'_>,
) -> Result<(TlsStream<TcpStream>, Authentic, Exported), AskError> {
    let failed = |why: String| AskError::Handshake {
        registry: registry.into(),
        why,
    };
    let (proofs, anyone) = (papers.proofs.clone(), papers.anyone);
    let earlier = papers.enrolled.map(|(enrolled, _)| fingerprint(&enrolled.root));
    let knows = move |shown: &[u8; 32]| anyone || earlier.as_ref() == Some(shown) || proofs.know(shown);
    let shown = papers.enrolled.map(|(enrolled, key)| tls::Shown {
        key,
        chain: &enrolled.chain,
        root: &enrolled.root,
    });
    let (config, seen) = tls::client(knows, shown).map_err(|error| failed(error.to_string()))?;
    let name = tls::server_name().map_err(|error| failed(error.to_string()))?;
    let connected = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    let authentic = seen.take();
    let stream = connected.map_err(|error| match &authentic {
        Some(authentic) if !authentic.known => stranger(registry, authentic),
        _ => failed(tls::words(&error)),
    })?;
    let exported = tls::exported(stream.get_ref().1).map_err(|error| failed(error.to_string()))?;
    let authentic = authentic.ok_or_else(|| failed("it showed no authority".into()))?;
    Ok((stream, authentic, exported))
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

async fn resolve(registry: &str) -> Result<Vec<SocketAddr>, AskError> {
    if let Ok(addr) = registry.parse() {
        return Ok(vec![addr]);
    }
    let failed = |why: String| AskError::Resolve {
        registry: registry.into(),
        why,
    };
    // A thread of its own, not one of the runtime's: the system's resolver may block for long,
    // and a program that ends must not wait for it.
    let (found, finding) = oneshot::channel();
    let name = registry.to_owned();
    let search = move || drop(found.send(name.to_socket_addrs().map(Vec::from_iter)));
    let thread = std::thread::Builder::new().name("nodeset-resolve".into());
    thread.spawn(search).map_err(|error| failed(error.to_string()))?;
    match finding.await {
        Ok(Ok(addrs)) if addrs.is_empty() => Err(failed("it has no address".into())),
        Ok(Ok(addrs)) => Ok(addrs),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_) => Err(failed("the resolver gave up".into())),
    }
}

async fn connect(registry: &str, addrs: &[SocketAddr]) -> Result<TcpStream, AskError> {
    let mut why = String::new();
    for addr in addrs.iter().take(ADDRESSES_MAX) {
        match timeout(CONNECT_MAX, TcpStream::connect(addr)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => why = error.to_string(),
            Err(_) => why = format!("no connection within {CONNECT_MAX:?}"),
        }
    }
    Err(AskError::Connect {
        registry: registry.into(),
        why,
    })
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

/// Why a question was not answered. Except where noted, nothing changed at the registry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// The registry's name has no address.
    #[error("{} does not resolve: {why}", printable(.registry))]
    Resolve {
        /// As it was given.
        registry: String,
        /// What the resolver says.
        why: String,
    },
    /// No connection.
    #[error("no registry answers on {}: {why}", printable(.registry))]
    Connect {
        /// As it was given.
        registry: String,
        /// What the system says.
        why: String,
    },
    /// No answer in time. Whether the registry acted is unknown.
    #[error("{} did not answer within {waited:?}", printable(.registry))]
    NoAnswer {
        /// As it was given.
        registry: String,
        /// How long was waited.
        waited: Duration,
    },
    /// The connection ended before the answer. Whether the registry acted is unknown.
    #[error("{} closed the connection (is it a nodesetd?)", printable(.registry))]
    Closed {
        /// As it was given.
        registry: String,
    },
    /// An answer to something else.
    #[error("{} gave an answer to another question", printable(.registry))]
    Confused {
        /// As it was given.
        registry: String,
    },
    /// No TLS with it. Nothing was asked.
    #[error("{}: {why}", printable(.registry))]
    Handshake {
        /// As it was given.
        registry: String,
        /// What went wrong.
        why: String,
    },
    /// It is of an authority that nothing here knows, so nothing was told to it.
    #[error(
        "the registry at {} (fingerprint {fingerprint}) is not of this user, and does not know you: ask for an invite \
         (`nodesetd invite`) and use --invite", printable(.registry)
    )]
    Stranger {
        /// As it was given.
        registry: String,
        /// SHA-256 of the authority's certificate, in hexadecimal digits.
        fingerprint: String,
    },
    /// It ended the connection over the certificate that was shown to it.
    #[error("{} does not accept this process's certificate ({alert})", printable(.registry))]
    NotAccepted {
        /// As it was given.
        registry: String,
        /// TLS's word for it.
        alert: String,
    },
    /// The registry said no.
    #[error(transparent)]
    Refused(Refusal),
}

impl AskError {
    /// Whether there is a registry that refuses, rather than none that answers: asking again
    /// without another proof changes nothing. Programs exit with 4 then, otherwise with 3.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Stranger { .. } | Self::NotAccepted { .. } | Self::Refused(_)
        )
    }
}
