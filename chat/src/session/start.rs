//! From settings to a member: binding, finding others, joining.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use multicast::{BindError, Event, Events, JoinError, MemberId, MemberState, Node, Options, Sender, Stamp};
use tokio::net::lookup_host;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::show::Show;
use super::{Cause, Job, peers};
use crate::app::clean;
use crate::credentials::Credentials;
use crate::exit::Exit;
use crate::registries::{self, Plan, Registries};
use crate::settings::Settings;

/// Notices that wait to be shown; there is hardly ever more than one.
const NOTICES: usize = 16;
/// How long `chat send` waits for someone to be there who could get the message.
const SOMEBODY: Duration = Duration::from_secs(2);

/// A member.
pub struct Started {
    pub sender: Sender,
    pub events: Events,
    /// What was delivered up to this member's own join.
    pub first: Vec<Event>,
    pub present: Vec<MemberState>,
    pub roster: Vec<MemberState>,
    pub registries: Registries,
    pub notices: mpsc::Receiver<String>,
}

/// A node as the settings want it.
pub async fn bind(settings: &Settings, nick: &str, credentials: &Credentials) -> Result<Node, Exit> {
    let mut options = Options::new(nick)
        .with_identity(credentials.identity.clone())
        .with_listen(settings.listen)
        .with_grace(settings.grace);
    if let Some(advertise) = settings.advertise {
        options = options.with_advertise(advertise);
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
pub async fn join(
    settings: &Settings,
    job: &Job,
    (nick, credentials): (&str, Arc<Credentials>),
    node: &Node,
    show: &mut Show,
) -> Result<Started, (Cause, Exit)> {
    let peers = meet(settings, node, show).await;
    let (tell, mut notices) = mpsc::channel(NOTICES);
    let plan = Plan {
        registries: &credentials.registries(settings),
        may_serve: !matches!(job, Job::Send(_)),
        notices: tell,
        peers: &peers,
        nick,
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
    let group = node.join(&settings.room).await;
    let group = group.map_err(|refusal| not_joined(&settings.room, &refusal))?;
    let (sender, mut events) = group.split();
    let (first, own) = up_to_own_join(&mut events, sender.me().id).await;
    if !peers.is_empty() {
        let verdict = peers::judge(node, &peers).await;
        let alone = sender.members().len() < 2 && !registries.one_holds_a_lease();
        if let Some(exit) = verdict.nobody().filter(|_| alone) {
            sender.leave_with("", Duration::ZERO).await;
            return Err((Cause::Refused, exit));
        }
        verdict.notices().for_each(|notice| show.notice(notice));
    }
    let roster = sender.roster().await;
    let present = present(&roster, &first, own.as_ref());
    Ok(Started {
        sender,
        events,
        first,
        present,
        roster,
        registries,
        notices,
    })
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

fn not_joined(room: &str, refusal: &JoinError) -> (Cause, Exit) {
    let why = format!("cannot join #{}: {refusal}", clean::line(room));
    match refusal {
        JoinError::BadName => (Cause::Broken, Exit::Usage(refusal.to_string())),
        JoinError::Full(_) | JoinError::Evicted => (Cause::Refused, Exit::Refused(why)),
        _ => (Cause::Broken, Exit::Unexpected(why)),
    }
}

/// Waits for someone who could get a message.
pub async fn somebody(sender: &Sender, room: &str) -> Result<(), (Cause, Exit)> {
    if timeout(SOMEBODY, sender.wait_for(2)).await.is_ok() {
        return Ok(());
    }
    sender.leave_with("", Duration::ZERO).await;
    let text = format!("nobody is in #{}, so nobody got the message", clean::line(room));
    Err((Cause::NotReachable, Exit::Alone(text)))
}

/// The own join has been delivered when `join` returns, so this does not wait.
async fn up_to_own_join(events: &mut Events, me: MemberId) -> (Vec<Event>, Option<Stamp>) {
    let mut first = Vec::new();
    while let Some(event) = events.next().await {
        let own = match &event {
            Event::Joined { member, stamp } if member.id == me => Some(stamp.clone()),
            _ => None,
        };
        first.push(event);
        if own.is_some() {
            return (first, own);
        }
    }
    (first, None)
}

/// Who was there when this member came. Those who join later, or whose join is among the first events, are told by
/// their own join.
fn present(roster: &[MemberState], first: &[Event], own: Option<&Stamp>) -> Vec<MemberState> {
    let told: BTreeSet<_> = first
        .iter()
        .filter_map(|event| match event {
            Event::Joined { member, .. } => Some(member.id),
            _ => None,
        })
        .collect();
    let was_there = |state: &MemberState| own.is_some_and(|own| own.clock.get(state.member.id) > 0);
    roster
        .iter()
        .filter(|state| was_there(state) && !told.contains(&state.member.id))
        .cloned()
        .collect()
}
