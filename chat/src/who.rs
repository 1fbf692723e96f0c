//! `chat who`: who is in a room, asked of the registries, without taking part.

use std::collections::BTreeMap;
use std::time::Duration;

use nodeset::client::{self, AskError};

use crate::app::clean;
use crate::app::line::{At, Body, Bye, Hello, Line, MemberLine, Person, VERSION, Where, Who};
use crate::credentials::Credentials;
use crate::exit::Exit;
use crate::session::now;
use crate::settings::{Format, Registries, Settings};
use multicast::MemberId;

/// How long one registry may take to answer.
const ANSWER: Duration = Duration::from_secs(3);

/// Asks every registry and prints the union.
pub async fn run(settings: &Settings) -> Exit {
    let credentials = match Credentials::open(settings) {
        Ok(credentials) => credentials,
        Err(exit) => return exit,
    };
    let registries = match credentials.registries(settings) {
        Registries::Named(names) => names,
        Registries::Default(name) => vec![name],
        Registries::None => {
            let text = "`chat who` asks a registry: name one with --registry, or join with --peer and type /who";
            return Exit::Usage(text.into());
        }
    };
    // That nobody answers is found out below.
    let refusal = credentials.introduce(&settings.nick, ANSWER).await.err();
    if let Some(refusal) = refusal.filter(AskError::is_refusal) {
        return Exit::Refused(clean::line(&refusal.to_string()));
    }
    let answers = registries
        .iter()
        .map(|registry| client::list(registry, &credentials.proofs, ANSWER));
    let mut members = BTreeMap::new();
    let (mut troubles, mut refused) = (Vec::new(), true);
    for answer in futures::future::join_all(answers).await {
        match answer {
            Ok(entries) => members.extend(
                entries
                    .into_iter()
                    .filter(|entry| entry.peer.rooms().contains(&settings.room))
                    .map(|entry| (entry.peer.id(), entry.peer)),
            ),
            Err(trouble) => {
                refused &= trouble.is_refusal();
                troubles.push(clean::line(&trouble.to_string()));
            }
        }
    }
    if troubles.len() == registries.len() && refused {
        return Exit::Refused(troubles.join("; "));
    }
    if troubles.len() == registries.len() {
        return Exit::Alone(format!(
            "{}. Start one with `nodesetd`, or name another with --registry",
            troubles.join("; ")
        ));
    }
    troubles.iter().for_each(|trouble| eprintln!("chat: {trouble}"));
    let members: Vec<_> = members.into_values().collect();
    match settings.output {
        Format::Text => members
            .iter()
            .for_each(|peer| println!("{}\t{}", clean::line(&peer.label()), peer.addr())),
        Format::Json => print_json(settings, &members),
    }
    Exit::Clean
}

fn print_json(settings: &Settings, members: &[nodeset::Peer]) {
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
    let members = members.iter().map(|peer| MemberLine {
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
    let who = Body::Who(Who {
        reference: None,
        place: Where::Room(settings.room.clone()),
        members: members.collect(),
    });
    let bye = Body::Bye(Bye {
        reason: "leave",
        unconfirmed: Vec::new(),
    });
    let at: At = now();
    for (body, n) in [hello, who, bye].into_iter().zip(1..) {
        println!("{}", Line { at, body }.to_json(n));
    }
}
