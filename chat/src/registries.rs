//! Registries: registering with all of them, being vouched for by them, telling the node who is there, and serving one
//! where nobody does.

mod host;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::join_all;
use futures::stream::select;
use futures::{FutureExt, Stream, StreamExt};
use multicast::{Contact, Node, NodeId};
use nodeset::client::{Client, Contacts, Enrolment, RegistryStatus, Standing, StartError};
use nodeset::{PeerId, Registration};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::credentials::Credentials;
use crate::exit::Exit;
use crate::names;
use crate::settings;
use host::Host;

/// How long a start waits for a registry or a peer that is being started at the same time.
const START_PATIENCE: Duration = Duration::from_secs(3);
/// How often a start looks who has answered.
const POLL: Duration = Duration::from_millis(50);
/// How long a peer may take to accept a connection.
const KNOCK: Duration = Duration::from_secs(1);
/// How long to wait for the first list of a registry that answers: usually a round trip.
const FIRST_LIST: Duration = Duration::from_secs(1);

/// The rooms of everybody else, as registries know them.
type Seen = Arc<Mutex<BTreeMap<PeerId, Vec<String>>>>;

/// Registrations, for as long as this lives.
#[derive(Debug)]
pub struct Registries {
    seen: Seen,
    status: watch::Receiver<Vec<RegistryStatus>>,
    rooms: watch::Sender<Vec<String>>,
    stop: Option<oneshot::Sender<()>>,
    task: Option<JoinHandle<()>>,
    /// Renews the certificate of whoever vouches for itself.
    by_self: Option<JoinHandle<()>>,
}

/// How to take part.
pub struct Plan<'a> {
    /// Which registries.
    pub registries: &'a settings::Registries,
    /// Whether this instance may serve one.
    pub may_serve: bool,
    /// Where notices for people go.
    pub notices: mpsc::Sender<String>,
    /// Peers that were named, of which one is enough.
    pub peers: &'a [SocketAddr],
    pub nick: &'a str,
    pub room: &'a str,
    /// Who this is.
    pub credentials: Arc<Credentials>,
}

/// Registers, and returns when a registry or a peer was reached.
///
/// # Errors
/// What cannot be reached, and what to do. After this has returned, the absence of registries disturbs nobody.
pub async fn start(plan: Plan<'_>, node: &Node) -> Result<Registries, Exit> {
    let names = match plan.registries {
        settings::Registries::Named(names) => names.clone(),
        settings::Registries::Default(name) => vec![name.clone()],
        settings::Registries::None => Vec::new(),
    };
    let mut host = match plan.registries {
        settings::Registries::Default(name) if plan.may_serve => Some(Host::new(name, node.id())),
        _ => None,
    };
    if let Some(host) = &mut host
        && let Some(notice) = host.try_to_serve()
    {
        let _ = plan.notices.send(notice).await;
    }
    let (credentials, seen) = (plan.credentials, Seen::default());
    let registration = Registration::new(credentials.key.node(), plan.nick, node.addr()).with_rooms([plan.room]);
    let shown = (credentials.key.clone(), credentials.proofs.clone());
    let mine = credentials.clone();
    let enrolled = move |enrolment: &Enrolment| mine.accept(enrolment);
    let (evicted, own_eviction) = oneshot::channel();
    let mut client = match Client::start_with(&names, registration, shown, enrolled) {
        Ok((client, contacts)) => {
            let own = own_eviction
                .into_stream()
                .filter_map(async |node| Some(Contact::Evicted { node: node.ok()? }));
            node.contacts(select(introductions(contacts, seen.clone()), own));
            Some(client)
        }
        Err(StartError::NoRegistry) => None,
        Err(refusal) => return Err(Exit::Usage(advice(&refusal))),
    };
    let missing = reach(&mut client, plan.peers).await.map_err(|exit| {
        let trouble = host.as_mut().and_then(|host| host.trouble.take());
        trouble.map_or(exit, |trouble| {
            Exit::ProfileInUse(format!("cannot serve a registry: {trouble}"))
        })
    })?;
    // Whoever has only peers, or whom only they answer, vouches for itself.
    let by_self = match credentials.are_vouched_for() {
        true => None,
        false => Some(credentials.vouch_for_self(plan.nick)?),
    };
    for text in missing {
        let _ = plan.notices.send(text).await;
    }
    let first = client.as_ref().map(Client::status).unwrap_or_default();
    let (tell_status, status) = watch::channel(first);
    let (rooms, wanted) = watch::channel(vec![plan.room.to_owned()]);
    let (stop, stopped) = oneshot::channel();
    let task = client.map(|client| {
        let keeper = Keeper {
            client,
            host,
            nick: plan.nick.to_owned(),
            rooms: wanted,
            node: node.id(),
            evicted: Some(evicted),
            status: tell_status,
            notices: plan.notices,
        };
        tokio::spawn(keeper.run(stopped))
    });
    Ok(Registries {
        seen,
        status,
        rooms,
        stop: Some(stop),
        task,
        by_self,
    })
}

impl Drop for Registries {
    fn drop(&mut self) {
        if let Some(task) = &self.by_self {
            task.abort();
        }
    }
}

impl Registries {
    /// How each registry stands.
    pub fn status(&self) -> Vec<RegistryStatus> {
        self.status.borrow().clone()
    }

    /// Whether one of them let this instance in, when it was last heard of.
    pub fn one_holds_a_lease(&self) -> bool {
        let status = self.status.borrow();
        status.iter().any(|one| one.standing == Standing::Registered)
    }

    /// In which rooms others are, and how many.
    pub fn rooms(&self) -> BTreeMap<String, u64> {
        let seen = self.seen.lock().expect("never held over a panic");
        let mut rooms = BTreeMap::new();
        for room in seen.values().flatten() {
            *rooms.entry(room.clone()).or_default() += 1;
        }
        rooms
    }

    /// From now on others are told that this instance is in these rooms.
    pub fn tell_rooms(&self, rooms: Vec<String>) {
        self.rooms
            .send_if_modified(|told| std::mem::replace(told, rooms.clone()) != rooms);
    }

    /// Begins to give the leases back.
    pub fn stop(&mut self) {
        self.stop.take();
    }

    /// Waits until the leases were given back, for at most as long as the client waits for that.
    pub async fn stopped(mut self) {
        self.stop();
        if let Some(task) = self.task.take() {
            let _ = task.await;
        }
    }
}

/// How a registry stands, in a few words.
pub fn words(standing: &Standing) -> String {
    match standing {
        Standing::Connecting => "connecting".to_owned(),
        Standing::Registered => "registered".to_owned(),
        Standing::Refused(why) | Standing::Evicted(why) => format!("refused: {why}"),
        Standing::Unreachable(why) => format!("unreachable: {why}"),
        _ => "unknown".to_owned(),
    }
}

/// Waits for a registry or a peer; returns what to say about registries that do not answer.
async fn reach(client: &mut Option<Client>, peers: &[SocketAddr]) -> Result<Vec<String>, Exit> {
    let deadline = Instant::now() + START_PATIENCE;
    loop {
        // A node dials only once it has joined something, which this start has not; so peers are tried from here.
        let troubles = join_all(peers.iter().map(|peer| knock(*peer))).await;
        let status = client.as_ref().map(Client::status).unwrap_or_default();
        let registered = status.iter().any(|one| one.standing == Standing::Registered);
        if registered && let Some(client) = client {
            let _ = timeout(FIRST_LIST, client.settled()).await;
        }
        if registered || troubles.iter().any(Option::is_none) {
            return Ok(complaints(&status));
        }
        // A refusal is an answer: waiting changes nothing.
        if Instant::now() >= deadline || are_all_refused(&status) {
            return Err(nobody(&status, troubles.into_iter().flatten()));
        }
        sleep(POLL).await;
    }
}

/// Why nobody listens at a peer's address, if nobody does.
async fn knock(peer: SocketAddr) -> Option<String> {
    match timeout(KNOCK, TcpStream::connect(peer)).await {
        Ok(Ok(_)) => None,
        Ok(Err(error)) => Some(format!("peer {peer}: {error}")),
        Err(_) => Some(format!("peer {peer} does not answer")),
    }
}

fn complaints(status: &[RegistryStatus]) -> Vec<String> {
    let bad = status.iter().filter(|one| {
        let standing = &one.standing;
        matches!(
            standing,
            Standing::Refused(_) | Standing::Evicted(_) | Standing::Unreachable(_)
        )
    });
    bad.map(|one| {
        format!(
            "registry {} {}; going on without it",
            one.registry,
            words(&one.standing)
        )
    })
    .collect()
}

fn are_all_refused(status: &[RegistryStatus]) -> bool {
    let refused = |one: &RegistryStatus| matches!(one.standing, Standing::Refused(_) | Standing::Evicted(_));
    !status.is_empty() && status.iter().all(refused)
}

fn nobody(status: &[RegistryStatus], peers: impl Iterator<Item = String>) -> Exit {
    let registries = status.iter().map(|one| match &one.standing {
        Standing::Refused(why) | Standing::Evicted(why) | Standing::Unreachable(why) => why.clone(),
        other => format!("{}: {}", one.registry, words(other)),
    });
    let list = registries.chain(peers).collect::<Vec<_>>().join("; ");
    if are_all_refused(status) {
        return Exit::Refused(format!("every registry refuses: {list}"));
    }
    Exit::Alone(format!(
        "no registry and no peer can be reached: {list}. Start a registry with `nodesetd`, name another with \
         --registry HOST:PORT, or name a running chat with --peer HOST:PORT"
    ))
}

fn advice(refusal: &StartError) -> String {
    format!("{refusal}. Others must be able to dial the registered address: see --listen and --advertise")
}

/// What nodeset says of peers, for multicast, each with the address that it prefers. Also of those in other rooms: which
/// groups are shared is found out when they are dialled, and changes.
fn introductions(contacts: Contacts, seen: Seen) -> impl Stream<Item = Contact> + Send {
    contacts
        .inspect(move |contact| note(contact, &seen))
        .map(|contact| match contact {
            nodeset::client::Contact::Live { id, addrs, .. } => {
                let node = NodeId(id.to_bytes());
                match addrs.first() {
                    Some(addr) => Contact::Live { node, addr: *addr },
                    None => Contact::Gone { node },
                }
            }
            nodeset::client::Contact::Gone { id } => Contact::Gone {
                node: NodeId(id.to_bytes()),
            },
            nodeset::client::Contact::Evicted { id } => Contact::Evicted {
                node: NodeId(id.to_bytes()),
            },
            nodeset::client::Contact::Unknown => Contact::Unknown,
        })
}

/// Notes in which rooms somebody is. What was known last is kept while no registry is in reach.
fn note(contact: &nodeset::client::Contact, seen: &Seen) {
    use nodeset::client::Contact;
    let mut seen = seen.lock().expect("never held over a panic");
    match contact {
        // Listeners are nobody whom one would join.
        Contact::Live { id, nick, rooms, .. } if !names::is_listener(nick) => drop(seen.insert(*id, rooms.clone())),
        Contact::Gone { id } | Contact::Evicted { id } => drop(seen.remove(id)),
        _ => {}
    }
}

struct Keeper {
    client: Client,
    host: Option<Host>,
    nick: String,
    /// Where this instance is now.
    rooms: watch::Receiver<Vec<String>>,
    node: NodeId,
    /// Tells the node that it was evicted itself.
    evicted: Option<oneshot::Sender<NodeId>>,
    status: watch::Sender<Vec<RegistryStatus>>,
    notices: mpsc::Sender<String>,
}

impl Keeper {
    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        let mut attempt = None;
        loop {
            let status = self.client.status();
            let unreachable = status
                .iter()
                .all(|one| matches!(one.standing, Standing::Unreachable(_)));
            let out = status.iter().any(|one| matches!(one.standing, Standing::Evicted(_)));
            if let Some(evicted) = self.evicted.take_if(|_| out) {
                let _ = evicted.send(self.node);
            }
            self.status.send_replace(status);
            attempt = match (&self.host, unreachable) {
                (Some(host), true) => attempt.or_else(|| host.next_attempt()),
                _ => None,
            };
            tokio::select! {
                _ = &mut stopped => break,
                () = self.client.status_changed() => {}
                Ok(()) = self.rooms.changed() => {
                    let rooms = self.rooms.borrow_and_update().clone();
                    // The names were checked when the rooms were joined, and there are no more than may be named.
                    if let Err(refusal) = self.client.update(&self.nick, &rooms) {
                        tracing::warn!("registries are not told of {} rooms: {refusal}", rooms.len());
                    }
                }
                () = at(attempt) => {
                    attempt = None;
                    if let Some(notice) = self.host.as_mut().and_then(Host::try_to_serve) {
                        // A full screen of notices is no reason to lose the lease.
                        let _ = self.notices.try_send(notice);
                    }
                }
            }
        }
        let unconfirmed = self.client.leave().await;
        if !unconfirmed.is_empty() {
            tracing::info!("leases run out by themselves at {}", unconfirmed.join(", "));
        }
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
