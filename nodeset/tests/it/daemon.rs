//! `nodesetd` as a process.

use std::net::TcpListener;

use futures::StreamExt;
use nodeset::Registration;
use nodeset::client::{self, Client, Contact, Contacts, Standing};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::process::{Daemon, ask, lines_of, nodesetd};
use crate::{HANG, label, peer, proofs, soon, try_start};

async fn join(daemon: &Daemon, me: Registration) -> (Client, Contacts) {
    let (mut client, contacts) = try_start(&[daemon.name()], me).expect("started");
    soon("to settle", client.settled()).await;
    assert!(client.is_registered(), "{:?}", client.status());
    (client, contacts)
}

#[tokio::test]
async fn the_first_line_names_the_address_and_signals_end_it_well() {
    for (flags, signal) in [
        (&["-qqq"][..], "-TERM"),
        (&["-vv", "--max-peers", "9"], "-INT"),
        (
            &["serve", "--listen", "127.0.0.1:0", "--log-format", "json", "-q"],
            "-TERM",
        ),
    ] {
        let mut command = nodesetd(flags);
        command
            .env("NODESETD_LISTEN", "127.0.0.1:0")
            .env("NODESETD_LEASE", "1m");
        let daemon = Daemon::spawn(command).await;
        let peers = if flags.contains(&"9") { 9 } else { 256 };
        let line = format!(
            "nodesetd 0.1.0 listening on {} (lease 1m, at most {peers} peers)",
            daemon.addr
        );
        match flags.contains(&"json") {
            true => assert!(daemon.first.contains(&format!("\"message\":\"{line}\""))),
            false => assert_eq!(daemon.first, line),
        }
        let _open = TcpStream::connect(daemon.addr).await.expect("it listens");
        daemon.signal(signal).await;
        let (status, stdout, _) = daemon.ended().await;
        assert_eq!((status.code(), stdout.as_str()), (Some(0), ""));
    }
}

#[tokio::test]
async fn every_failure_has_its_code_and_its_words() {
    let busy = TcpListener::bind("127.0.0.1:0").expect("bind"); // listens, answers nothing
    let taken = busy.local_addr().expect("bound").to_string();
    let cases: [(&[&str], i32, &str); 10] = [
        (&["--listen", &taken], 1, "is in use"),
        (&["--listen", "nowhere"], 2, "--listen"),
        (&["--lease", "1ms"], 2, "200ms"),
        (&["--max-peers", "0"], 2, "1024"),
        (&["bogus"], 2, "bogus"),
        (&["invite", "--uses", "0"], 2, "--uses"),
        (&["invite", "-r", &taken, "--timeout", "100ms"], 3, "did not answer"),
        (&["list", "-r", "no-such-host.invalid:1"], 3, "no-such-host.invalid:1"),
        (&["health", "-r", &taken, "--timeout", "100ms"], 3, "did not answer"),
        (
            &["evict", "ana", "-r", &taken, "--timeout", "100ms"],
            3,
            "did not answer",
        ),
    ];
    for (arguments, code, words) in cases {
        let (found, stdout, stderr) = ask(arguments).await;
        assert_eq!((found, stdout.as_str()), (code, ""), "{arguments:?}: {stderr}");
        assert!(stderr.contains(words), "{arguments:?}: {stderr}");
    }
    drop(busy);
    let (code, _, stderr) = ask(&["list", "--watch", "-r", &taken]).await;
    assert_eq!(code, 3, "{stderr}");
    let daemon = Daemon::start(&[]).await;
    let (code, _, stderr) = ask(&["evict", "ana\u{1b}[2J", "-r", &daemon.name()]).await;
    assert_eq!(code, 4);
    assert!(!stderr.contains('\u{1b}'), "{stderr:?}");
}

#[tokio::test]
async fn every_change_is_one_line() {
    let mut daemon = Daemon::start(&["--lease", "600ms", "--ephemeral"]).await;
    let (ana, _) = join(&daemon, peer(1, "ana")).await;
    let join_ana = format!("join {} 127.0.0.1:40001 (1 live)", label(1, "ana"));
    assert_eq!(daemon.says("ana").await, join_ana);
    let (bob, _) = join(&daemon, peer(2, "bob")).await;
    let join_bob = format!("join {} 127.0.0.1:40002 (2 live)", label(2, "bob"));
    assert_eq!(daemon.says("bob").await, join_bob);
    ana.update("anna", &[]).expect("well formed");
    assert_eq!(
        daemon.says("anna").await,
        format!("update {} 127.0.0.1:40001 (2 live)", label(1, "anna"))
    );
    assert!(ana.leave().await.is_empty());
    assert_eq!(
        daemon.says("anna").await,
        format!("leave {} 127.0.0.1:40001 (1 live)", label(1, "anna"))
    );
    drop(bob);
    let expire = daemon.says("bob").await;
    assert!(
        expire.starts_with(&format!("expire {} (no renewal for 0.", label(2, "bob"))),
        "{expire}"
    );
    assert!(expire.ends_with("s, 0 live)"), "{expire}");

    let (mut cyd, _) = join(&daemon, peer(3, "cyd")).await;
    let (code, stdout, _) = ask(&["evict", "cyd", "-r", &daemon.name()]).await;
    let words = format!("evicted {}; it has no profile\n", label(3, "cyd"));
    assert_eq!((code, stdout.as_str()), (0, words.as_str()));
    let line = format!("evict {} 127.0.0.1:40003 (0 live)", label(3, "cyd"));
    daemon.says(&line).await;
    let refused = |client: &Client| match &client.status()[0].standing {
        Standing::Evicted(why) => why.contains("evicted"),
        _ => false,
    };
    while !refused(&cyd) {
        soon("cyd to be told", cyd.status_changed()).await;
    }
}

#[tokio::test]
async fn lists_are_for_scripts() {
    let daemon = Daemon::start(&["--lease", "30s"]).await;
    let mut watching = nodesetd(&["list", "--watch", "-r", &daemon.name()])
        .spawn()
        .expect("ran");
    let mut watched = lines_of(&mut watching).await;
    let ana = peer(1, "ana").with_rooms(["lobby", "ops"]);
    let ana_is = label(1, "ana");
    let (ana, _) = join(&daemon, ana).await;
    let (code, stdout, _) = ask(&["list", "-r", &daemon.name()]).await;
    assert_eq!(code, 0);
    let cells: Vec<_> = stdout.trim_end().split('\t').collect();
    assert_eq!(cells[..4], [ana_is.as_str(), "ana", "127.0.0.1:40001", "lobby,ops"]);
    assert!(cells[4].ends_with('Z') && cells[5].parse::<f64>().is_ok(), "{stdout}");

    let (_, stdout, _) = ask(&["list", "--json", "-r", &daemon.name()]).await;
    let object: serde_json::Value = serde_json::from_str(&stdout).expect("one object");
    let keys: Vec<_> = object.as_object().expect("an object").keys().cloned().collect();
    assert_eq!(keys, ["addr", "id", "nick", "rooms", "seconds_left", "since"]);
    assert_eq!(object["rooms"], serde_json::json!(["lobby", "ops"]));
    let left = object["seconds_left"].as_f64().expect("a number");
    assert!((0.0..=30.0).contains(&left), "{left}");

    let mut line = async || soon("a change", watched.next_line()).await.expect("text");
    assert!(
        line()
            .await
            .expect("a line")
            .starts_with(&format!("join\t{ana_is}\tana\t127.0.0.1:40001"))
    );
    ana.leave().await;
    assert!(line().await.expect("a line").starts_with(&format!("leave\t{ana_is}\t")));

    // The daemon dies and another takes its place: the watch goes on.
    let addr = daemon.name();
    daemon.signal("-KILL").await;
    daemon.ended().await;
    let daemon = Daemon::spawn(nodesetd(&["--listen", &addr])).await;
    let (_bob, _) = join(&daemon, peer(2, "bob")).await;
    assert!(
        line()
            .await
            .expect("a line")
            .starts_with(&format!("join\t{}\t", label(2, "bob")))
    );
}

#[tokio::test]
async fn a_reader_that_stops_reading_is_no_error() {
    let daemon = Daemon::start(&[]).await;
    let (_ana, _) = join(&daemon, peer(1, "ana")).await;
    let name = daemon.name();
    for arguments in [
        &["list", "-r", &name][..],
        &["list", "--json", "-r", &name],
        &["list", "--watch", "-r", &name],
        &["health", "-r", &name],
        &["completions", "bash"],
        &["man"],
    ] {
        let mut child = nodesetd(arguments).spawn().expect("spawned");
        drop(child.stdout.take());
        let output = soon("the end", child.wait_with_output()).await.expect("ended");
        let stderr = String::from_utf8(output.stderr).expect("text");
        assert_eq!((output.status.code(), stderr.as_str()), (Some(0), ""), "{arguments:?}");
    }
    for (arguments, word) in [(&["completions", "bash"][..], "nodesetd()"), (&["man"], ".TH")] {
        assert!(ask(arguments).await.1.contains(word));
    }
}

#[tokio::test]
async fn nonsense_on_the_port_is_one_line_and_disturbs_nobody() {
    let mut daemon = Daemon::start(&[]).await;
    let (_ana, mut contacts) = join(&daemon, peer(1, "ana")).await;
    daemon.says("join ana").await;
    let mut own = Vec::new();
    for nonsense in [&b"\xff\xff\xff\xff random bytes"[..], b"\0\0\0\x03abc"] {
        let mut raw = TcpStream::connect(daemon.addr).await.expect("connect");
        own.push(raw.local_addr().expect("connected").to_string());
        drop(raw.write_all(nonsense).await);
        drop(soon("to be cut off", raw.read_to_end(&mut Vec::new())).await);
    }
    let (_bob, _) = join(&daemon, peer(2, "bob")).await;
    let met = soon("bob", contacts.next()).await;
    assert!(matches!(met, Some(Contact::Live { nick, .. }) if nick == "bob"));
    daemon.signal("-TERM").await;
    let (_, _, log) = daemon.ended().await;
    assert_eq!(log.len(), 3, "{log:?}");
    let no_tls = "closed: it does not speak TLS 1.3 (an older nodeset, or something else)";
    assert_eq!(log[0], format!("warning: connection from {} {no_tls}", own[0]));
    assert!(log[1].starts_with(&format!("warning: connection from {} closed: ", own[1])));
    assert!(log[2].starts_with("join bob"));
}

#[tokio::test]
async fn a_registry_that_stood_still_does_not_blame_its_peers() {
    let daemon = Daemon::start(&["--lease", "600ms"]).await;
    let (_ana, mut contacts) = join(&daemon, peer(1, "ana")).await;
    let (_bob, _) = join(&daemon, peer(2, "bob")).await;
    let met = |contact| matches!(contact, Some(Contact::Live { nick, .. }) if nick == "bob");
    assert!(met(soon("bob", contacts.next()).await));
    daemon.signal("-STOP").await;
    assert_eq!(soon("silence", contacts.next()).await, Some(Contact::Unknown));
    daemon.signal("-CONT").await;
    assert!(met(soon("bob again", contacts.next()).await), "said again, not gone");

    daemon.signal("-TERM").await;
    let (_, _, log) = daemon.ended().await;
    assert!(!log.iter().any(|line| line.starts_with("expire")), "{log:?}");
}

#[tokio::test]
async fn leases_survive_a_kill_where_asked() {
    let dir = std::env::temp_dir().join(format!("nodesetd-state-{}", std::process::id()));
    let flags = ["-v", "--lease", "1m", "--state-dir", dir.to_str().expect("text")];
    let mut daemon = Daemon::start(&flags).await;
    let (ana, _) = join(&daemon, peer(1, "ana")).await;
    daemon.says("state written, 1 leases").await;
    let (code, _, stderr) = ask(&[&["--listen", "127.0.0.1:0"], &flags[..]].concat()).await;
    assert_eq!(code, 1);
    assert!(stderr.contains("in use by another registry"), "{stderr}");
    drop(ana); // without a word
    daemon.signal("-KILL").await;
    daemon.ended().await;

    let daemon = Daemon::start(&flags).await;
    let known = client::list(&daemon.name(), &proofs(), HANG).await.expect("answers");
    assert_eq!(known.len(), 1);
    let forgetful = Daemon::start(&[&flags[..], &["--ephemeral"]].concat()).await;
    assert!(
        client::list(&forgetful.name(), &proofs(), HANG)
            .await
            .expect("answers")
            .is_empty()
    );
    std::fs::remove_dir_all(dir).expect("removed");
}

#[tokio::test]
async fn monitoring_sees_the_counters() {
    let mut daemon = Daemon::start(&["--http", "127.0.0.1:0"]).await;
    let said = daemon.says("http on ").await;
    let addr = said["http on ".len()..].split_once(':').expect("an address");
    let port = addr.1.split_once(':').expect("more").0;
    let (_ana, _) = join(&daemon, peer(1, "ana")).await;
    let get = async |path: &str| {
        let mut http = TcpStream::connect(format!("{}:{port}", addr.0)).await.expect("connect");
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        http.write_all(request.as_bytes()).await.expect("written");
        let mut page = String::new();
        soon("a page", http.read_to_string(&mut page)).await.expect("text");
        page
    };
    let health = get("/healthz").await;
    assert!(
        health.starts_with("HTTP/1.1 200") && health.ends_with("ok\n"),
        "{health}"
    );
    let metrics = get("/metrics").await;
    assert!(metrics.contains("\nnodesetd_peers_live 1\n"), "{metrics}");
    assert!(metrics.contains("\nnodesetd_joins_total 1\n"), "{metrics}");
    assert!(get("/").await.starts_with("HTTP/1.1 404"));
}
