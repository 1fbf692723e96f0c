//! The same with processes: two homes, what their files look like, what is on the wire.

use std::collections::VecDeque;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex};

use nodeset::client;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::process::{Daemon, ask_of, nodesetd_of};
use crate::{HANG, Home, peer, soon, try_start};

fn every_file(dir: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            every_file(&path, found);
        }
        found.push(path);
    }
}

#[tokio::test]
async fn two_homes_on_one_machine() {
    let (ours, theirs, others) = (Home::new("ours"), Home::new("theirs"), Home::new("others"));
    let daemon = Daemon::start_of(&ours, &[]).await;
    let name = daemon.name();
    let list = ["list", "-r", &name];
    let (code, _, stderr) = ask_of(&ours, &list).await;
    assert_eq!(code, 0, "{stderr}");
    for command in [&list[..], &["evict", "ana", "-r", &name], &["invite", "-r", &name]] {
        let (code, stdout, stderr) = ask_of(&theirs, command).await;
        assert_eq!((code, stdout.as_str()), (4, ""), "{command:?}");
        assert!(
            stderr.contains("fingerprint") && stderr.contains("--invite"),
            "{stderr}"
        );
    }
    let (code, stdout, _) = ask_of(&theirs, &["health", "-r", &name]).await;
    assert_eq!((code, stdout.as_str()), (0, "ok\n"));

    let (code, stdout, stderr) = ask_of(&ours, &["invite", "-r", &name]).await;
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("this machine only"), "{stderr}");
    let invite = stdout.trim_end();
    assert_eq!(stdout, format!("{invite}\n"), "the string alone");
    let mistyped = format!("{}{}", &invite[..20], &invite[21..]);
    let (code, _, stderr) = ask_of(&theirs, &["list", "--invite", &mistyped]).await;
    assert_eq!(code, 4);
    assert!(stderr.contains("mistyped"), "{stderr}");
    let (code, _, stderr) = ask_of(&theirs, &["list", "--invite", invite]).await;
    assert_eq!(code, 0, "{stderr}");
    let (code, _, stderr) = ask_of(&theirs, &list).await;
    assert_eq!(code, 0, "the second time without: {stderr}");
    let (code, _, stderr) = ask_of(&theirs, &["invite", "-r", &name]).await;
    assert_eq!(code, 4);
    assert!(stderr.contains("own user"), "{stderr}");
    let (code, _, stderr) = ask_of(&others, &["list", "--invite", invite]).await;
    assert_eq!(code, 4);
    assert!(stderr.contains("used up"), "{stderr}");

    let (_, stdout, _) = ask_of(&ours, &["invite", "--list", "-r", &name]).await;
    let cells: Vec<_> = stdout.trim_end().split('\t').collect();
    assert_eq!((cells.len(), cells[1]), (4, "1/1"), "{stdout}");
    let (code, stdout, stderr) = ask_of(&ours, &["invite", "--revoke", cells[0], "-r", &name]).await;
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("evicted 1 profiles"), "{stdout}");
    let (code, _, stderr) = ask_of(&theirs, &list).await;
    assert_eq!(code, 4);
    assert!(stderr.contains("--undo"), "{stderr}");

    for home in [&ours, &theirs] {
        let mut files = Vec::new();
        every_file(&home.state().join("nodeset"), &mut files);
        assert!(!files.is_empty());
        for path in files {
            let mode = fs::metadata(&path).expect("there").mode() & 0o777;
            let wanted = if path.is_dir() { 0o700 } else { 0o600 };
            assert_eq!(mode, wanted, "{}", path.display());
        }
    }
}

#[tokio::test]
async fn an_invite_names_where_the_registry_can_be_reached() {
    let home = Home::new("addresses");
    let daemon = Daemon::start_of(&home, &[]).await;
    let name = daemon.name();
    let addr = |invite: &str| {
        invite
            .trim()
            .parse::<nodeset::Invite>()
            .expect("an invite")
            .addr()
            .to_owned()
    };
    let (_, stdout, _) = ask_of(&home, &["invite", "-r", &name, "--advertise", "box.example:9"]).await;
    assert_eq!(addr(&stdout), "box.example:9");
    let (_, stdout, _) = ask_of(&home, &["invite", "-r", &name]).await;
    assert_eq!(addr(&stdout), name);
    let (code, _, stderr) = ask_of(&home, &["invite", "-r", &name, "--advertise", "a b"]).await;
    assert_eq!(code, 2, "{stderr}");
}

#[tokio::test]
async fn what_others_could_read_is_not_used() {
    let home = Home::new("loose");
    let state = home.0.join("registry");
    fs::create_dir(&state).expect("made");
    fs::set_permissions(&state, fs::Permissions::from_mode(0o755)).expect("set");
    let flags = ["--listen", "127.0.0.1:0", "--state-dir", state.to_str().expect("text")];
    let (code, _, stderr) = ask_of(&home, &flags).await;
    assert_eq!(code, 1);
    assert!(stderr.contains("chmod 700"), "{stderr}");
    fs::set_permissions(&state, fs::Permissions::from_mode(0o700)).expect("set");
    let daemon = Daemon::spawn(nodesetd_of(&home, &flags)).await;
    daemon.signal("-TERM").await;
    let (status, ..) = daemon.ended().await;
    assert_eq!(status.code(), Some(0));
    let published = fs::read_dir(home.publications()).expect("there");
    let names: Vec<_> = published.map(|entry| entry.expect("an entry").file_name()).collect();
    assert_eq!(names, ["sweep"], "nothing is published any more");
}

/// Passes everything on, and keeps it.
async fn tap(to: std::net::SocketAddr) -> (std::net::SocketAddr, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let addr = listener.local_addr().expect("bound");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let far = TcpStream::connect(to).await.expect("connect");
            let (near, far) = (near.into_split(), far.into_split());
            for (mut from, mut to) in [(near.0, far.1), (far.0, near.1)] {
                let kept = Arc::clone(&kept);
                tokio::spawn(async move {
                    let mut bytes = [0; 4096];
                    while let Ok(n @ 1..) = from.read(&mut bytes).await {
                        kept.lock().expect("no panic").extend_from_slice(&bytes[..n]);
                        if to.write_all(&bytes[..n]).await.is_err() {
                            return;
                        }
                    }
                });
            }
        }
    });
    (addr, seen)
}

#[tokio::test]
async fn no_secret_is_on_the_wire_or_in_the_log() {
    let (ours, theirs) = (Home::new("wire-ours"), Home::new("wire-theirs"));
    let daemon = Daemon::start_of(&ours, &["-vv"]).await;
    let (addr, seen) = tap(daemon.addr).await;
    let name = addr.to_string();
    let (code, invite, stderr) = ask_of(&ours, &["invite", "-r", &name]).await;
    assert_eq!(code, 0, "{stderr}");
    let (code, _, stderr) = ask_of(&theirs, &["list", "--invite", invite.trim()]).await;
    assert_eq!(code, 0, "{stderr}");

    let mut secrets = vec![invite.trim().as_bytes().to_vec()];
    let mut base32 = data_encoding::Specification::new();
    base32.symbols.push_str("0123456789abcdefghjkmnpqrstvwxyz");
    let decoded = base32.encoding().expect("good").decode(&invite.trim().as_bytes()[8..]);
    secrets.push(decoded.expect("base32")[16..32].to_vec());
    let published = fs::read_dir(ours.publications()).expect("there");
    let paths = published.map(|entry| entry.expect("an entry").path());
    let published = paths.filter(|path| path.file_name().is_some_and(|name| name.len() == 64));
    for path in published {
        let bytes = fs::read(path).expect("read");
        secrets.push(bytes[bytes.len() - 32..].to_vec());
    }
    assert_eq!(secrets.len(), 3);
    daemon.signal("-TERM").await;
    let log = daemon.ended().await.2.join("\n").into_bytes();
    let seen = seen.lock().expect("no panic").clone();
    assert!(seen.len() > 2_000 && log.len() > 100);
    for secret in &secrets {
        let hex = secret
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
            .into_bytes();
        for place in [&seen, &log] {
            for form in [secret, &hex] {
                assert!(!place.windows(form.len()).any(|window| window == form));
            }
        }
    }
}

#[tokio::test]
async fn ten_thousand_silent_connections_disturb_nobody() {
    let daemon = Daemon::start(&["--lease", "2s"]).await;
    let (mut ana, _) = try_start(&[daemon.name()], peer(1, "ana")).expect("started");
    soon("to settle", ana.settled()).await;
    let mut silent = VecDeque::new();
    for n in 0..10_000 {
        let mut stream = TcpStream::connect(daemon.addr).await.expect("connect");
        if n % 2 == 0 {
            drop(stream.write_all(&[0x16]).await); // the first byte of a handshake, and no more
        }
        silent.push_back(stream);
        if silent.len() > 300 {
            silent.pop_front(); // so that this process needs no more than that
        }
        if n % 1_000 == 0 {
            let listed = client::list(&daemon.name(), &crate::proofs(), HANG).await;
            assert_eq!(listed.expect("answers").len(), 1);
        }
    }
    assert!(ana.is_registered(), "{:?}", ana.status());
    let pid = daemon.child.id().expect("running");
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).expect("Linux").count();
    // 2 * 256 + 64 that may be known, 3 * 128 that are not, and its own few.
    assert!(descriptors < 1_000, "{descriptors} descriptors");
    daemon.signal("-TERM").await;
    let (_, _, log) = daemon.ended().await;
    assert!(log.len() < 20, "{} lines", log.len());
}
