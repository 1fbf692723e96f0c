//! What comes in on the registry's port from those who do not speak its language, or abuse it.

use nodeset::client::{self, AskError};
use nodeset::protocol::{Answer, Holder, PROTOCOL_VERSION, Refusal, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::raw::{Asked, Raw};
use crate::{HANG, Running, key, lease, peer, proofs, soon};

#[tokio::test]
async fn nonsense_closes_its_own_connection_and_no_other() {
    let registry = Running::start(lease(5_000));
    let mut witness = Raw::enrolled(registry.addr, 1).await;
    let nonsense: [&[u8]; 4] = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",              // announces 1.2 GB
        &[0, 1, 0, 1],                                     // one byte over the limit
        &[0, 0, 0, 5, 0xff, 0xff, 0xff, 0xff, 0xff],       // no such message
        &[0, 0, 0, 8, 0, 1, 2, 3, 0xff, 0xff, 0xff, 0xff], // no such request
    ];
    for bytes in nonsense {
        let mut raw = Raw::open(registry.addr).await;
        raw.write(bytes).await;
        raw.closed().await;
    }
    for bytes in nonsense {
        let mut plain = TcpStream::connect(registry.addr).await.expect("connect");
        drop(plain.write_all(bytes).await);
        drop(plain.shutdown().await); // a TLS record may be that long
        drop(soon("the end", plain.read_to_end(&mut Vec::new())).await);
    }
    let mut half = Raw::open(registry.addr).await;
    half.write(&[0, 0, 0, 9, 1]).await;
    half.stream.shutdown().await.expect("half a frame, then the end");
    half.closed().await;
    let mut hasty = Raw::open(registry.addr).await;
    hasty.call(1, 1_000, Request::List).await;
    assert_eq!(hasty.answer().await.1, Answer::Refused(Refusal::HelloFirst));
    hasty.closed().await;
    let mut stranger = Raw::open(registry.addr).await;
    stranger.call(1, 1_000, Request::Hello { version: 999 }).await;
    let refusal = Refusal::Version {
        ours: PROTOCOL_VERSION,
        theirs: 999,
    };
    assert_eq!(stranger.answer().await.1, Answer::Refused(refusal));
    stranger.closed().await;

    witness.call(7, 1_000, Request::List).await;
    assert_eq!(witness.answer().await, (7, Answer::List(Vec::new())));
    let counts = registry.stats.counts();
    assert_eq!(counts.connections, 12);
    assert!(counts.broken_connections >= 7, "{counts:?}");
}

#[tokio::test]
async fn whoever_does_not_say_who_it_is_has_to_go() {
    let registry = Running::start(lease(5_000));
    let mut silent = TcpStream::connect(registry.addr).await.expect("connect");
    let no_hello = Raw::open(registry.addr).await;
    let mut no_proof = Raw::open(registry.addr).await;
    no_proof.hello().await;
    let mut known = Raw::enrolled(registry.addr, 1).await;
    let mut rest = Vec::new();
    let ends = async { tokio::join!(silent.read_to_end(&mut rest), no_hello.closed(), no_proof.closed()) };
    drop(soon("all three to be closed", ends).await);
    assert_eq!(
        known.ask(Request::List).await,
        Answer::List(Vec::new()),
        "who is known may stay"
    );
}

#[tokio::test]
async fn hostile_deadlines_hurt_nobody() {
    let registry = Running::start(lease(5_000));
    let mut raw = Raw::enrolled(registry.addr, 1).await;
    for (id, deadline_ms) in [(1, 0), (2, 1), (3, u32::MAX)] {
        raw.call(id, deadline_ms, Request::Health).await;
        assert!(matches!(raw.answer().await, (answered, Answer::Health(_)) if answered == id));
    }
    // A watch that would wait for ever is answered when the clamped deadline nears.
    raw.call(
        4,
        0,
        Request::Watch {
            since: None,
            wait_ms: 0,
        },
    )
    .await;
    let Answer::News(nodeset::protocol::News::Resync { at, .. }) = raw.answer().await.1 else {
        panic!("a list");
    };
    raw.call(
        5,
        0,
        Request::Watch {
            since: Some(at),
            wait_ms: u32::MAX,
        },
    )
    .await;
    assert_eq!(raw.answer().await.0, 5);
}

#[tokio::test]
async fn watches_wait_aside_and_can_be_cancelled() {
    let registry = Running::start(lease(5_000));
    let mut raw = Raw::enrolled(registry.addr, 1).await;
    raw.call(
        1,
        60_000,
        Request::Watch {
            since: None,
            wait_ms: 0,
        },
    )
    .await;
    let Answer::News(nodeset::protocol::News::Resync { at, .. }) = raw.answer().await.1 else {
        panic!("a list");
    };
    let watch = || Request::Watch {
        since: Some(at),
        wait_ms: 25_000,
    };
    for id in 2..6 {
        raw.call(id, 60_000, watch()).await;
    }
    raw.call(6, 60_000, watch()).await;
    assert_eq!(
        raw.answer().await,
        (6, Answer::Refused(Refusal::Busy)),
        "four wait already"
    );
    raw.say(&Asked::Cancel { id: 2 }).await;
    raw.say(&Asked::Cancel { id: 99 }).await; // never asked
    raw.call(7, 60_000, Request::Health).await;
    assert_eq!(raw.answer().await.0, 7, "nothing waits behind a watch");

    let claim = peer(1, "ana");
    raw.call(
        8,
        1_000,
        Request::Register {
            claim,
            holder: Holder([1; 16]),
            turn: 1,
        },
    )
    .await;
    let mut answered = Vec::new();
    for _ in 0..4 {
        answered.push(raw.answer().await.0);
    }
    answered.sort_unstable();
    assert_eq!(answered, [3, 4, 5, 8], "every watch but the cancelled one");
}

#[tokio::test]
async fn what_is_not_well_formed_is_refused_in_words() {
    let registry = Running::start(lease(5_000));
    let mut raw = Raw::enrolled(registry.addr, 1).await;
    let mut claims = vec![
        peer(1, ""),
        peer(1, "two\nlines"),
        peer(1, "\u{1b}[2J"),
        peer(1, "a\u{202e}b"),
        peer(1, &"x".repeat(10_000)),
        peer(1, "ana").with_rooms(["a b"]),
        peer(1, "ana").with_rooms(vec!["r"; 1_000]),
    ];
    let addr = |text: &str| text.parse().expect("an address");
    claims.push(nodeset::Registration {
        addrs: vec![],
        ..peer(1, "ana")
    });
    claims.push(nodeset::Registration {
        addrs: vec![addr("0.0.0.0:1")],
        ..peer(1, "ana")
    });
    claims.push(nodeset::Registration {
        addrs: vec![addr("[::1]:1"); 99],
        ..peer(1, "ana")
    });
    for (id, claim) in claims.into_iter().enumerate() {
        let holder = Holder([1; 16]);
        raw.call(
            id as u64,
            1_000,
            Request::Register {
                claim: claim.clone(),
                holder,
                turn: 1,
            },
        )
        .await;
        let (_, answer) = raw.answer().await;
        let malformed = matches!(answer, Answer::Refused(Refusal::Malformed(_)));
        assert!(malformed, "{claim:?} was answered {answer:?}");
    }
    assert_eq!(registry.stats.counts().live, 0);
}

#[tokio::test]
async fn only_the_holder_may_give_a_lease_back() {
    let registry = Running::start(lease(5_000));
    let mut raw = Raw::enrolled(registry.addr, 1).await;
    let (mine, yours) = (Holder([1; 16]), Holder([2; 16]));
    raw.call(
        1,
        1_000,
        Request::Register {
            claim: peer(1, "ana"),
            holder: mine,
            turn: 5,
        },
    )
    .await;
    assert!(matches!(raw.answer().await.1, Answer::Granted { .. }));
    let id = key(1).node();
    raw.call(
        2,
        1_000,
        Request::Leave {
            id,
            holder: yours,
            turn: 9,
        },
    )
    .await;
    assert_eq!(raw.answer().await.1, Answer::Refused(Refusal::Held));
    raw.call(
        3,
        1_000,
        Request::Leave {
            id,
            holder: mine,
            turn: 5,
        },
    )
    .await;
    assert_eq!(raw.answer().await.1, Answer::Refused(Refusal::Stale));
    raw.call(
        4,
        1_000,
        Request::Leave {
            id,
            holder: mine,
            turn: 6,
        },
    )
    .await;
    assert_eq!(raw.answer().await.1, Answer::Left);
}

#[tokio::test]
async fn of_two_who_race_for_an_id_one_gets_it() {
    let registry = Running::start(lease(60_000));
    // Two processes that were started on one key.
    let (mut one, mut two) = (
        Raw::enrolled(registry.addr, 1).await,
        Raw::enrolled(registry.addr, 1).await,
    );
    let id = key(1).node();
    for turn in 1..=1_000 {
        let register = |holder| Request::Register {
            claim: peer(1, "ana"),
            holder,
            turn: turn * 2,
        };
        tokio::join!(
            one.call(turn, 1_000, register(Holder([1; 16]))),
            two.call(turn, 1_000, register(Holder([2; 16]))),
        );
        let answers = [one.answer().await.1, two.answer().await.1];
        let granted = |answer: &&Answer| matches!(answer, Answer::Granted { .. });
        assert_eq!(answers.iter().filter(granted).count(), 1, "round {turn}: {answers:?}");
        assert!(
            answers.contains(&Answer::Refused(Refusal::Held)),
            "round {turn}: {answers:?}"
        );
        let holder = match granted(&&answers[0]) {
            true => Holder([1; 16]),
            false => Holder([2; 16]),
        };
        let turn = turn * 2 + 1;
        assert_eq!(one.ask(Request::Leave { id, holder, turn }).await, Answer::Left);
    }
    assert_eq!(registry.stats.counts().live, 0);
}

#[tokio::test]
async fn a_client_is_not_confused_by_another_server() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let addr = listener.local_addr().expect("bound").to_string();
    let server = tokio::spawn(async move {
        for reply in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"", &[0, 0, 0, 3, 0, 9, 9]] {
            let (mut stream, _) = listener.accept().await.expect("accept");
            stream.write_all(reply).await.expect("write");
        }
    });
    for _ in 0..3 {
        let error = soon("an error", client::health(&addr, &proofs(), HANG))
            .await
            .expect_err("no registry");
        assert!(matches!(error, AskError::Handshake { .. }), "{error:?}");
    }
    server.await.expect("served");
}
