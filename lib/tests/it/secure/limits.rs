//! Connections that cost time and memory and say nothing: they are ended, and members talk on.

use std::net::SocketAddr;
use std::time::Duration;

use multicast::Group;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::authority::Authority;
use super::stranger::{Hello, Shown, connect, request};
use super::{all_hear, log, nodes};
use crate::wire::{self, joined, soon};

/// Members talk, and not so much that somebody would have to read it.
async fn talk(groups: &[Group]) {
    tokio::time::sleep(Duration::from_millis(50)).await;
    all_hear(groups, "meanwhile").await;
}

/// Reads until the other side closes.
async fn closed(mut stream: TcpStream) {
    let _ = stream.read_to_end(&mut Vec::new()).await;
}

async fn silent(addr: SocketAddr) {
    closed(TcpStream::connect(addr).await.expect("connects")).await;
}

/// A byte of a handshake at a time, as slowly as it can without being taken for dead.
async fn one_byte_at_a_time(addr: SocketAddr) {
    let hello = client_hello();
    let (mut from, mut to) = TcpStream::connect(addr).await.expect("connects").into_split();
    let mut drip = JoinSet::new();
    drip.spawn(async move {
        let mut pace = tokio::time::interval(Duration::from_millis(100));
        for byte in hello {
            pace.tick().await;
            if to.write_all(&[byte]).await.is_err() {
                return;
            }
        }
        std::future::pending().await
    });
    let _ = from.read_to_end(&mut Vec::new()).await;
}

/// Half of a handshake, and then nothing; the socket's other half is closed.
async fn half_open(addr: SocketAddr) {
    let hello = client_hello();
    let mut stream = TcpStream::connect(addr).await.expect("connects");
    stream.write_all(&hello[..hello.len() / 2]).await.expect("it is open");
    closed(stream).await;
}

/// The whole handshake, and then no greeting.
async fn mute(addr: SocketAddr, cluster: String, shown: Shown) {
    let mut stream = connect(addr, &cluster, Some(shown)).await;
    let _ = stream.read_to_end(&mut Vec::new()).await;
}

/// What a client says first.
fn client_hello() -> Vec<u8> {
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("TLS 1.3")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from("0123456789abcdef.nodeset").expect("a name");
    let mut client = rustls::ClientConnection::new(config.into(), name).expect("a client");
    let mut hello = Vec::new();
    client.write_tls(&mut hello).expect("memory has room");
    hello
}

#[tokio::test]
async fn whoever_does_not_say_who_it_is_goes_after_the_time_for_that() {
    log::listen();
    let authority = Authority::new();
    let nodes = nodes(&authority, &["ana", "bob"]).await;
    let groups = joined(&nodes, "lobby").await;
    let addr = nodes[0].addr();
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519)
        .expect("a key")
        .serialize_der();
    let identity = multicast::Identity::new(&key).expect("an ed25519 key");
    let good = authority.issue(&identity, "eve", std::time::SystemTime::now());
    let mut strangers = JoinSet::new();
    strangers.spawn(silent(addr));
    strangers.spawn(one_byte_at_a_time(addr));
    strangers.spawn(half_open(addr));
    strangers.spawn(mute(addr, authority.cluster.clone(), Shown::new(key, good)));
    while !strangers.is_empty() {
        tokio::select! {
            gone = strangers.join_next() => gone.expect("one").expect("no panic"),
            () = talk(&groups) => {}
        }
    }
    for _ in 0..4 {
        let line = log::line("connection refused").await;
        assert!(line.contains("it did not say who it is in time"), "{line}");
    }
    assert_eq!(log::rest(), Vec::<String>::new());
}

#[tokio::test]
async fn a_crowd_that_says_nothing_keeps_nobody_out() {
    const CROWD: usize = 1000;
    log::listen();
    let authority = Authority::new();
    let mut nodes = nodes(&authority, &["ana", "bob"]).await;
    let mut groups = joined(&nodes, "lobby").await;
    let addr = nodes[0].addr();
    let (mut crowd, mut last) = (Vec::new(), JoinSet::new());
    for nth in 0..CROWD {
        crowd.push(TcpStream::connect(addr).await.expect("connects"));
        if nth % 100 == 0 {
            all_hear(&groups, "meanwhile").await;
        }
    }
    // Most have been closed by now, each for a newer one; of those that are left a newcomer takes the place.
    let cyd = super::bind("cyd", &authority.identity("cyd")).await;
    cyd.meet(addr);
    let third: Group = soon("joins", cyd.join("lobby")).await.expect("joins");
    soon("they meet", third.wait_for(3)).await;
    nodes.push(cyd);
    groups.push(third);
    for group in &groups {
        soon("they meet", group.wait_for(3)).await;
    }
    all_hear(&groups, "after").await;
    for stream in crowd {
        last.spawn(closed(stream));
    }
    soon("all are closed", last.join_all()).await;
    let line = log::line("newer ones came").await;
    assert!(line.contains("WARN"), "{line}");
}

/// It asks and asks, and never reads an answer.
#[tokio::test]
async fn whoever_never_reads_is_given_up() {
    log::listen();
    let nodes = wire::nodes(2).await;
    let groups = joined(&nodes, "lobby").await;
    let eve = multicast::NodeId([9; 16]);
    let mut stream = TcpStream::connect(nodes[0].addr()).await.expect("connects");
    stream
        .write_all(&Hello::of(eve, "eve").request())
        .await
        .expect("it is open");
    // "At revision 1 my groups are: none", which is answered with a greeting each time.
    let mut id = 2;
    let asking = async {
        loop {
            let requests: Vec<u8> = (0..500).flat_map(|nth| request(id + nth, 1, &[1, 0])).collect();
            id += 500;
            if stream.write_all(&requests).await.is_err() {
                return;
            }
        }
    };
    let mut asking = std::pin::pin!(soon("it is given up", asking));
    loop {
        tokio::select! {
            () = &mut asking => break,
            () = talk(&groups) => {}
        }
    }
    let line = log::line("connection closed").await;
    assert!(line.contains("it does not read its answers"), "{line}");
    all_hear(&groups, "after").await;
}

/// A second connection of the same node takes the place of the first, over and over.
#[tokio::test]
async fn a_node_has_one_connection_and_the_newest_is_it() {
    log::listen();
    let authority = Authority::new();
    let nodes = nodes(&authority, &["ana", "bob"]).await;
    let groups = joined(&nodes, "lobby").await;
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519)
        .expect("a key")
        .serialize_der();
    let identity = multicast::Identity::new(&key).expect("an ed25519 key");
    let mut before = None;
    for _ in 0..20 {
        let good = authority.issue(&identity, "eve", std::time::SystemTime::now());
        let shown = Shown::new(key.clone(), good);
        let mut stream = connect(nodes[0].addr(), &authority.cluster, Some(shown)).await;
        let hello = Hello::of(identity.node_id(), "eve").request();
        stream.write_all(&hello).await.expect("it is open");
        let mut answer = [0; 13];
        soon("an answer", stream.read_exact(&mut answer))
            .await
            .expect("it is let in");
        assert_eq!(answer[12], 0, "with a greeting");
        if let Some(mut older) = before.replace(stream) {
            let _ = soon("the older one is closed", older.read_to_end(&mut Vec::new())).await;
        }
    }
    all_hear(&groups, "after").await;
    assert_eq!(log::rest(), Vec::<String>::new());
}
