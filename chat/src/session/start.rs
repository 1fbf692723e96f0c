//! From settings to a member: binding, finding others, joining.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use multicast::store::Store;
use multicast::{BindError, Faults, JoinError, Node, Options, Sender};
use tokio::net::lookup_host;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::council::{self, Council};
use super::rooms::{Entered, enter};
use super::show::Show;
use super::{Cause, Job, peers};
use crate::app::charter::{self, Key};
use crate::app::clean;
use crate::app::place::Place;
use crate::credentials::Credentials;
use crate::exit::Exit;
use crate::history;
use crate::profile::Claim;
use crate::registries::{self, Plan, Registries};
use crate::settings::Settings;

/// Notices that wait to be shown; there is hardly ever more than one.
const NOTICES: usize = 16;
/// How long `chat send` waits for someone to be there who could get the message.
const SOMEBODY: Duration = Duration::from_secs(2);

/// A member of the first room.
pub(super) struct Started {
    pub(super) place: Place,
    pub(super) entered: Entered,
    /// What the room was created as, if somebody created it.
    pub(super) key: Option<Key>,
    pub(super) council: Option<Council>,
    pub(super) registries: Registries,
    pub(super) notices: mpsc::Receiver<String>,
}

/// A node as the settings want it.
pub async fn bind(
    settings: &Settings,
    nick: &str,
    (credentials, faults): (&Credentials, Option<Faults>),
    store: Option<Box<dyn Store>>,
) -> Result<Node, Exit> {
    let mut options = Options::new(nick)
        .with_identity(credentials.identity.clone())
        .with_listen(settings.listen)
        .with_grace(settings.grace);
    if let Some(advertise) = settings.advertise {
        options = options.with_advertise(advertise);
    }
    if let Some(faults) = faults {
        options = options.with_faults(faults);
    }
    if let Some(store) = store {
        options = options.with_store(store);
    }
    Node::bind(options).await.map_err(|refusal| match refusal {
        BindError::BadName(_) => Exit::Usage("the nick is not allowed; it has 1 to 32 letters, digits, _ - .".into()),
        BindError::Listen { addr, source } => Exit::Unexpected(format!(
            "cannot listen on {addr}: {source}; choose another address with --listen"
        )),
        other => Exit::Unexpected(other.to_string()),
    })
}

/// Finds others and joins the room.
pub(super) async fn join(
    settings: &Settings,
    job: &Job,
    (claim, credentials): (&Claim, Arc<Credentials>),
    node: &Node,
    show: &mut Show,
) -> Result<Started, (Cause, Exit)> {
    let peers = meet(settings, node, show).await;
    let (tell, mut notices) = mpsc::channel(NOTICES);
    let plan = Plan {
        registries: &credentials.registries(settings),
        may_serve: matches!(job, Job::Join | Job::Tail(_)),
        notices: tell,
        peers: &peers,
        nick: &claim.nick,
        room: &settings.room,
        credentials: credentials.clone(),
    };
    let registries = registries::start(plan, node).await.map_err(|exit| match exit {
        Exit::Refused(_) => (Cause::Refused, exit),
        _ => (Cause::NotReachable, exit),
    })?;
    while let Ok(notice) = notices.try_recv() {
        show.notice(notice);
    }
    show.flush().await;
    let place = Place::room(&settings.room);
    let (entered, key, council) = enter_first(job, (claim, settings.backlog), node, &place).await?;
    let sender = &entered.sender;
    if !peers.is_empty() {
        let verdict = peers::judge(node, &peers).await;
        let alone = sender.members().len() < 2 && !registries.one_holds_a_lease();
        if let Some(exit) = verdict.nobody().filter(|_| alone) {
            sender.leave_with("", Duration::ZERO).await;
            return Err((Cause::Refused, exit));
        }
        verdict.notices().for_each(|notice| show.notice(notice));
    }
    Ok(Started {
        place,
        entered,
        key,
        council,
        registries,
        notices,
    })
}

/// The room, what it was created as, and a seat in the council; that only for whoever stays.
async fn enter_first(
    job: &Job,
    (claim, backlog): (&Claim, usize),
    node: &Node,
    place: &Place,
) -> Result<(Entered, Option<Key>, Option<Council>), (Cause, Exit)> {
    let stays = matches!(job, Job::Join);
    let directory = claim.directory.as_deref().filter(|_| stays);
    let sit = async {
        council::sit(node, directory)
            .await
            .map_err(|exit| (Cause::Broken, exit))
    };
    let refused = |refusal| not_joined(place, &refusal);
    if *place == Place::room(charter::LOBBY) {
        // Nobody creates the lobby, so there is nothing to know before it is entered.
        let sit = async { if stays { sit.await } else { Ok(None) } };
        let (entered, council) = futures::future::join(enter(node, place, None, backlog), sit).await;
        return Ok((entered.map_err(refused)?, None, council?));
    }
    let mut council = sit.await?;
    let mut key = None;
    if let Some(council) = &mut council {
        council.learned().await;
        key = council.charters.find(place.to_string().trim_start_matches('#'));
    }
    let entered = enter(node, place, key, backlog).await.map_err(refused)?;
    if !stays && let Some(council) = council.take() {
        council.leave(Duration::ZERO).await;
    }
    Ok((entered, key, council))
}

/// Dials the peers that were named; returns where they are.
async fn meet(settings: &Settings, node: &Node, show: &mut Show) -> Vec<SocketAddr> {
    let mut peers = Vec::new();
    for peer in &settings.peers {
        match lookup_host(peer.as_str()).await.map(|mut found| found.next()) {
            Ok(Some(addr)) => {
                node.meet(addr);
                peers.push(addr);
            }
            _ => show.notice(format!("peer {} does not resolve", clean::line(peer))),
        }
    }
    peers
}

fn not_joined(place: &Place, refusal: &JoinError) -> (Cause, Exit) {
    let why = format!("cannot join {place}: {refusal}");
    match refusal {
        JoinError::Store(error) => (Cause::Broken, history::store::exit(error)),
        JoinError::BadName => (Cause::Broken, Exit::Usage(refusal.to_string())),
        JoinError::Full(_) | JoinError::Evicted => (Cause::Refused, Exit::Refused(why)),
        _ => (Cause::Broken, Exit::Unexpected(why)),
    }
}

/// Waits for someone who could get a message.
pub async fn somebody(sender: &Sender, place: &Place) -> Result<(), (Cause, Exit)> {
    if timeout(SOMEBODY, sender.wait_for(2)).await.is_ok() {
        return Ok(());
    }
    sender.leave_with("", Duration::ZERO).await;
    let text = format!("nobody is in {place}, so nobody got the message");
    Err((Cause::NotReachable, Exit::Alone(text)))
}
