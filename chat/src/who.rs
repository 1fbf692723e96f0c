//! `chat who` and `chat rooms`: who is in a room, and which rooms there are; asked of the chat that runs with this
//! profile, or else of the registries, without taking part.

use std::collections::BTreeMap;
use std::time::Duration;

use multicast::MemberId;
use nodeset::client::AskError;

use crate::app::clean;
use crate::app::line::{At, Body, Bye, Hello, Line, MemberLine, Person, RoomLine, Rooms, VERSION, Where, Who};
use crate::console;
use crate::control::client;
use crate::credentials::Credentials;
use crate::exit::Exit;
use crate::names;
use crate::session::now;
use crate::settings::{Format, Registries, Settings};

/// How long one registry may take to answer.
const ANSWER: Duration = Duration::from_secs(3);

/// Asks, and prints the answer.
pub async fn run(settings: &Settings, what: &'static str) -> Exit {
    let running = match what {
        "who" => client::find(settings).await,
        _ => client::anyone(settings).await,
    };
    if let Some(mut running) = running {
        let (console, written) = console::start(None);
        let exit = client::ask(&mut running, settings, what, &console).await;
        drop(console);
        written.wait(ANSWER).await;
        if let Some(exit) = exit {
            return exit;
        }
    }
    let peers = match registered(settings).await {
        Ok(peers) => peers,
        Err(exit) => return exit,
    };
    let body = match what {
        "who" => who(settings, &peers),
        _ => rooms(&peers),
    };
    match (settings.output, body) {
        (Format::Json, body) => print_json(settings, vec![body]),
        (Format::Text, Body::Rooms(rooms)) => rooms
            .rooms
            .iter()
            .for_each(|row| println!("{}\t{}", clean::line(&row.room), row.members)),
        (Format::Text, _) => peers
            .iter()
            .filter(|peer| peer.rooms().contains(&settings.room) && !names::is_listener(peer.nick()))
            .for_each(|peer| println!("{}\t{}", clean::line(&peer.label()), peer.addr())),
    }
    Exit::Clean
}

/// Asks every registry; the union of what they say.
async fn registered(settings: &Settings) -> Result<Vec<nodeset::Peer>, Exit> {
    let credentials = Credentials::open(settings)?;
    let registries = match credentials.registries(settings) {
        Registries::Named(names) => names,
        Registries::Default(name) => vec![name],
        Registries::None => {
            let text = "`chat rooms` asks a registry: name one with --registry, or join with --peer and type /rooms";
            return Err(Exit::Usage(text.into()));
        }
    };
    // That nobody answers is found out below.
    let refusal = credentials.introduce(&settings.nick, ANSWER).await.err();
    if let Some(refusal) = refusal.filter(AskError::is_refusal) {
        return Err(Exit::Refused(clean::line(&refusal.to_string())));
    }
    let answers = registries
        .iter()
        .map(|registry| nodeset::client::list(registry, &credentials.proofs, ANSWER));
    let mut members = BTreeMap::new();
    let (mut troubles, mut refused) = (Vec::new(), true);
    for answer in futures::future::join_all(answers).await {
        match answer {
            Ok(entries) => members.extend(entries.into_iter().map(|entry| (entry.peer.id(), entry.peer))),
            Err(trouble) => {
                refused &= trouble.is_refusal();
                troubles.push(clean::line(&trouble.to_string()));
            }
        }
    }
    if troubles.len() == registries.len() && refused {
        return Err(Exit::Refused(troubles.join("; ")));
    }
    if troubles.len() == registries.len() {
        return Err(Exit::Alone(format!(
            "{}. Start one with `nodesetd`, or name another with --registry",
            troubles.join("; ")
        )));
    }
    troubles.iter().for_each(|trouble| eprintln!("chat: {trouble}"));
    Ok(members.into_values().collect())
}

fn who(settings: &Settings, peers: &[nodeset::Peer]) -> Body {
    let there = || peers.iter().filter(|peer| peer.rooms().contains(&settings.room));
    let listeners = there().filter(|peer| names::is_listener(peer.nick())).count() as u64;
    let members = there().filter(|peer| !names::is_listener(peer.nick()));
    let members = members.map(|peer| MemberLine {
        id: peer.label(),
        nick: peer.nick().to_owned(),
        own: false,
        addr: Some(peer.addr().to_string()),
        profile: None,
        joined: None,
        silent: false,
        lagging: false,
        member: MemberId(peer.id().to_bytes()),
    });
    Body::Who(Who {
        reference: None,
        place: Where::Room(settings.room.clone()),
        members: members.collect(),
        listeners,
    })
}

/// One tab-separated row a member, for scripts.
pub fn rows(who: &Who) -> String {
    let row = |member: &MemberLine| {
        let addr = member.addr.as_deref().unwrap_or_default();
        format!("{}\t{}", clean::line(&member.id), clean::line(addr))
    };
    who.members.iter().map(row).collect::<Vec<_>>().join("\n")
}

/// Every room that somebody is in.
fn rooms(peers: &[nodeset::Peer]) -> Body {
    let mut members: BTreeMap<&str, u64> = BTreeMap::new();
    let people = peers.iter().filter(|peer| !names::is_listener(peer.nick()));
    for room in people.flat_map(|peer| peer.rooms()) {
        *members.entry(room).or_default() += 1;
    }
    let rooms = members.into_iter().map(|(room, members)| RoomLine {
        room: room.to_owned(),
        current: false,
        members,
        unread: 0,
    });
    Body::Rooms(Rooms {
        reference: None,
        rooms: rooms.collect(),
        others: Vec::new(),
    })
}

/// Prints these as a stream of their own.
pub fn print_json(settings: &Settings, bodies: Vec<Body>) {
    // Nobody takes part here, so there is no identity; the lines still have the form of every stream.
    let nobody = MemberId([0; 16]);
    let hello = Body::Hello(Hello {
        v: VERSION,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        own: Person {
            id: format!("{}#{}", settings.nick, nobody.short()),
            nick: settings.nick.clone(),
            member: nobody,
        },
        addr: String::new(),
        registry: None,
        rooms: vec![settings.room.clone()],
    });
    let bye = Body::Bye(Bye {
        reason: "leave",
        unconfirmed: Vec::new(),
    });
    let at: At = now();
    let lines = std::iter::once(hello).chain(bodies).chain([bye]);
    for (body, n) in lines.zip(1..) {
        println!("{}", Line { at, body }.to_json(n));
    }
}
