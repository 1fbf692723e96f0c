//! Clients and servers on real sockets.

use std::net::TcpListener;

use futures::StreamExt;
use nodeset::Registration;
use nodeset::client::{self, AskError, Client, Contact, Contacts, Standing, StartError, Watch};
use nodeset::protocol::{Change, News, Refusal, Why};
use nodeset::server::{Options, Server, SetupError, StateError};

use crate::{HANG, Running, label, lease, number, peer, proofs, soon, try_start};

fn start(registries: &[String], me: Registration) -> (Client, Contacts) {
    try_start(registries, me).expect("started")
}

/// The next contact, in short: `+1 ana`, `-1`, `?`.
async fn hear(contacts: &mut Contacts) -> String {
    match soon("a contact", contacts.next()).await.expect("the client runs") {
        Contact::Live { id, nick, .. } => format!("+{} {nick}", number(id)),
        Contact::Gone { id } => format!("-{}", number(id)),
        Contact::Evicted { id } => format!("!{}", number(id)),
        Contact::Unknown => "?".to_owned(),
    }
}

async fn standing(client: &mut Client, index: usize, wanted: impl Fn(&Standing) -> bool) {
    let reached = async {
        while !wanted(&client.status()[index].standing) {
            client.status_changed().await;
        }
    };
    soon("a standing", reached).await;
}

#[tokio::test]
async fn peers_meet_change_and_part() {
    let registry = Running::start(lease(600));
    let (ana, mut ana_hears) = start(&[registry.name()], peer(1, "ana"));
    let (mut bob, mut bob_hears) = start(&[registry.name()], peer(2, "bob").with_rooms(["lobby"]));
    assert_eq!(hear(&mut ana_hears).await, "+2 bob");
    assert_eq!(hear(&mut bob_hears).await, "+1 ana");

    bob.update("rob", &["lobby".into(), "ops".into()]).expect("well formed");
    assert_eq!(hear(&mut ana_hears).await, "+2 rob");
    assert!(bob.update("no spaces", &[]).is_err());
    let listed = client::list(&registry.name(), &proofs(), HANG).await.expect("answers");
    let rob = listed.iter().find(|entry| entry.peer.nick() == "rob").expect("listed");
    assert_eq!(rob.peer.rooms(), ["lobby", "ops"]);
    standing(&mut bob, 0, |standing| *standing == Standing::Registered).await;
    assert!(bob.is_registered());

    assert!(soon("bob to leave", bob.leave()).await.is_empty());
    assert_eq!(hear(&mut ana_hears).await, "-2");
    assert!(
        soon("the end", bob_hears.next()).await.is_none(),
        "no client, no contacts"
    );

    let (cyd, _) = start(&[registry.name()], peer(3, "cyd"));
    assert_eq!(hear(&mut ana_hears).await, "+3 cyd");
    drop(cyd); // without a word: its lease runs out
    assert_eq!(hear(&mut ana_hears).await, "-3");
    assert_eq!(registry.stats.counts().expirations, 1);
    drop(ana);
    registry.stop().await;
}

#[tokio::test]
async fn a_registry_that_restarts_empty_disturbs_nobody() {
    let registry = Running::start(lease(2_000));
    let (mut ana, mut ana_hears) = start(&[registry.name()], peer(1, "ana"));
    let (bob, mut bob_hears) = start(&[registry.name()], peer(2, "bob"));
    assert_eq!(hear(&mut ana_hears).await, "+2 bob");
    assert_eq!(hear(&mut bob_hears).await, "+1 ana");

    let addr = registry.stop().await;
    assert_eq!(hear(&mut ana_hears).await, "?");
    standing(&mut ana, 0, |standing| matches!(standing, Standing::Unreachable(_))).await;
    let registry = Running::start_on(addr, lease(2_000));
    assert_eq!(
        hear(&mut ana_hears).await,
        "+2 bob",
        "said again, and never gone in between"
    );
    standing(&mut ana, 0, |standing| *standing == Standing::Registered).await;

    let (_cyd, mut cyd_hears) = start(&[registry.name()], peer(3, "cyd"));
    let mut met = vec![hear(&mut cyd_hears).await, hear(&mut cyd_hears).await];
    met.sort();
    assert_eq!(met, ["+1 ana", "+2 bob"]);
    assert_eq!(hear(&mut ana_hears).await, "+3 cyd");
    drop(bob);
}

#[tokio::test]
async fn registries_are_united() {
    let (one, two) = (Running::start(lease(1_000)), Running::start(lease(1_000)));
    let both = [one.name(), two.name(), one.name()]; // named twice counts once
    let (mut ana, mut ana_hears) = start(&both, peer(1, "ana"));
    assert_eq!(ana.status().len(), 2);
    let (_bob, _) = start(&[one.name()], peer(2, "bob"));
    let (_cyd, _) = start(&[two.name()], peer(3, "cyd"));
    let (_dee, _) = start(&both, peer(4, "dee"));
    let mut met = Vec::new();
    for _ in 0..3 {
        met.push(hear(&mut ana_hears).await);
    }
    met.sort();
    assert_eq!(met, ["+2 bob", "+3 cyd", "+4 dee"]);

    one.stop().await;
    standing(&mut ana, 0, |standing| matches!(standing, Standing::Unreachable(_))).await;
    assert!(ana.is_registered(), "the other registry still knows her");
    assert_eq!(
        hear(&mut ana_hears).await,
        "-2",
        "only the lost one knew bob; dee is at both"
    );
    let left = soon("ana to leave", ana.leave()).await;
    assert!(
        left.len() <= 1,
        "the lost registry may hold a lease for a while, the other does not"
    );
}

#[tokio::test]
async fn all_who_start_at_once_meet() {
    let registry = Running::start(lease(6_000));
    for round in 0..20 {
        let peers = (0..6).map(|n| peer(1 + round * 6 + n, "p"));
        let mut all: Vec<_> = peers.map(|me| start(&[registry.name()], me)).collect();
        for (client, _) in &mut all {
            soon("everyone to settle", client.settled()).await;
        }
        for (_, contacts) in &mut all {
            let mut met = std::collections::BTreeSet::new();
            while met.len() < 5 {
                let contact = hear(contacts).await;
                assert!(contact.starts_with('+') && met.insert(contact));
            }
        }
        let left = all.into_iter().map(|(client, _)| client.leave());
        let left = soon("all to leave", futures::future::join_all(left)).await;
        assert!(left.iter().all(Vec::is_empty));
    }
}

#[tokio::test]
async fn what_does_not_answer_is_told_and_tried_again() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("bind"); // accepts, says nothing
    let silent_addr = silent.local_addr().expect("bound").to_string();
    let gone = TcpListener::bind("127.0.0.1:0")
        .expect("bind")
        .local_addr()
        .expect("bound");
    let registries = [silent_addr, gone.to_string(), "no-such-host.invalid:7420".into()];
    let (mut ana, mut ana_hears) = start(&registries, peer(1, "ana"));
    soon("the first attempts to end", ana.settled()).await;
    assert_eq!(hear(&mut ana_hears).await, "?");
    let text = |status: &client::RegistryStatus| match &status.standing {
        Standing::Unreachable(why) => why.clone(),
        other => panic!("{other:?}"),
    };
    let status = ana.status();
    assert!(text(&status[0]).contains("did not answer"), "{status:?}");
    assert!(text(&status[1]).contains("no registry answers"), "{status:?}");
    assert!(text(&status[2]).contains("no-such-host.invalid:7420"), "{status:?}");
    assert!(!ana.is_registered());

    let registry = Running::start_on(gone, lease(1_000));
    standing(&mut ana, 1, |standing| *standing == Standing::Registered).await;
    assert!(
        soon("ana to leave", ana.leave()).await.is_empty(),
        "elsewhere there is no lease"
    );
    registry.stop().await;
}

#[tokio::test]
async fn what_is_refused_is_told() {
    let registry = Running::start(Options {
        max_peers: 1,
        ..lease(600)
    });
    let (mut ana, _) = start(&[registry.name()], peer(1, "ana"));
    standing(&mut ana, 0, |standing| *standing == Standing::Registered).await;
    let refused = |part: &'static str| move |standing: &Standing| matches!(standing, Standing::Refused(why) if why.contains(part));
    let (mut bob, mut bob_hears) = start(&[registry.name()], peer(2, "bob"));
    standing(&mut bob, 0, refused("full")).await;
    assert_eq!(hear(&mut bob_hears).await, "+1 ana", "who is refused may still look");
    let (mut impostor, _) = start(&[registry.name()], peer(1, "ana"));
    standing(&mut impostor, 0, refused("another holder")).await;
    drop(impostor);

    let evicted = client::evict(&registry.name(), &proofs(), "ana", HANG)
        .await
        .expect("ana is live");
    assert_eq!((evicted.peers.len(), evicted.peers[0].nick()), (1, "ana"));
    assert_eq!(hear(&mut bob_hears).await, "!1");
    assert_eq!(hear(&mut bob_hears).await, "-1");
    standing(&mut bob, 0, |standing| *standing == Standing::Registered).await;
    let again = client::evict(&registry.name(), &proofs(), "ana", HANG).await;
    assert_eq!(again, Err(AskError::Refused(Refusal::Nobody)));
}

#[tokio::test]
async fn a_watch_goes_on_where_it_was_or_says_so() {
    let registry = Running::start(lease(5_000));
    let mut watch = Watch::new(registry.name(), proofs());
    let news = soon("a list", watch.next(HANG)).await.expect("answers");
    assert!(matches!(news, News::Resync { entries, .. } if entries.is_empty()));
    let (ana, _) = start(&[registry.name()], peer(1, "ana"));
    let News::Changes { changes, .. } = watch.next(HANG).await.expect("answers") else {
        panic!("a change");
    };
    assert!(matches!(&changes[..], [Change::Live(entry)] if entry.peer.nick() == "ana"));
    ana.leave().await;
    let News::Changes { changes, .. } = watch.next(HANG).await.expect("answers") else {
        panic!("a change");
    };
    assert!(matches!(&changes[..], [Change::Gone { why: Why::Left, .. }]));

    let addr = registry.stop().await;
    soon("the end", watch.next(HANG)).await.expect_err("no registry");
    let _registry = Running::start_on(addr, lease(5_000));
    let news = soon("a list", watch.next(HANG)).await.expect("answers");
    assert!(matches!(news, News::Resync { .. }), "another instance: {news:?}");
}

#[tokio::test]
async fn leases_are_kept_over_a_restart_where_asked() {
    let dir = std::env::temp_dir().join(format!("nodeset-kept-{}", std::process::id()));
    let options = Options {
        state_dir: Some(dir.clone()),
        ..lease(60_000)
    };
    let registry = Running::start(options.clone());
    let (mut ana, _) = start(&[registry.name()], peer(1, "ana"));
    standing(&mut ana, 0, |standing| *standing == Standing::Registered).await;
    let second = Server::new(options.clone());
    assert!(matches!(second, Err(SetupError::State(StateError::InUse(_)))));
    drop(ana);
    registry.stop().await;

    let registry = Running::start(options.clone());
    let listed = client::list(&registry.name(), &proofs(), HANG).await.expect("answers");
    assert_eq!(listed.len(), 1, "known at once");
    assert_eq!(listed[0].peer.label(), label(1, "ana"));
    registry.stop().await;

    std::fs::write(dir.join("leases"), b"nodeset1 but damaged").expect("written");
    let registry = Running::start(options);
    assert_eq!(
        client::list(&registry.name(), &proofs(), HANG).await.expect("answers"),
        []
    );
    registry.stop().await;
    std::fs::remove_dir_all(dir).expect("removed");
}

#[tokio::test]
async fn what_cannot_start_says_why() {
    let none = try_start(&[], peer(1, "ana")).expect_err("no registry");
    assert_eq!(none, StartError::NoRegistry);
    let many: Vec<_> = (0..17).map(|n| format!("127.0.0.1:{n}")).collect();
    let many = try_start(&many, peer(1, "ana")).expect_err("too many");
    assert_eq!(many, StartError::TooManyRegistries(17));
    let bad = try_start(&["127.0.0.1:1".into()], peer(1, "a\u{1b}[2J")).expect_err("malformed");
    assert!(bad.to_string().contains("U+001B"), "{bad}");
    assert!(matches!(Server::new(lease(1)), Err(SetupError::Lease(_))));
    let peers = Options {
        max_peers: 0,
        ..Options::default()
    };
    assert!(matches!(Server::new(peers), Err(SetupError::MaxPeers(0))));
}
