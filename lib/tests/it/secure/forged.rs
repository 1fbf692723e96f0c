//! Whoever says what only others may say, over a connection that proved who it is, is let in no more.

use multicast::{GroupId, Node};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::authority::Authority;
use super::stranger::{Hello, Shown, connect, request, say};
use super::{all_hear, log, nodes};
use crate::wire::{joined, soon};

const PUSH: u8 = 2;

struct Eve {
    authority: Authority,
    key: Vec<u8>,
    identity: multicast::Identity,
    group: GroupId,
}

impl Eve {
    fn new(authority: Authority) -> Self {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519)
            .expect("a key")
            .serialize_der();
        let identity = multicast::Identity::new(&key).expect("an ed25519 key");
        let group = GroupId::named("lobby");
        Self {
            authority,
            key,
            identity,
            group,
        }
    }

    async fn connect(&self, to: &Node) -> TlsStream<TcpStream> {
        let good = self
            .authority
            .issue(&self.identity, "eve", std::time::SystemTime::now());
        let shown = Shown::new(self.key.clone(), good);
        connect(to.addr(), &self.authority.cluster, Some(shown)).await
    }

    fn hello(&self) -> Vec<u8> {
        let me = self.identity.node_id();
        let hello = Hello {
            groups: vec![(self.group.0, me.0, 0, None)],
            ..Hello::of(me, "eve")
        };
        hello.request()
    }

    /// As herself to that node, one message of that member, unsigned.
    fn push(&self, to: &Node, origin: [u8; 16]) -> Vec<u8> {
        let path = [self.group.0, self.identity.node_id().0, to.id().0].concat();
        // Version, origin; first, count, Lamport and wall time; a full clock, which is empty; one entry.
        let run = [&[3][..], &origin, &[1, 1, 1, 0, 0x10, 0], &[0, 0, 0, 1, b'x']].concat();
        request(2, PUSH, &[path, run].concat())
    }

    /// Greets, is let in, and says that.
    async fn says(&self, to: &Node, what: &[u8]) -> TlsStream<TcpStream> {
        let mut stream = self.connect(to).await;
        stream.write_all(&self.hello()).await.expect("it is open");
        let mut length = [0; 4];
        soon("an answer", stream.read_exact(&mut length))
            .await
            .expect("it is let in");
        let mut answer = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut answer).await.expect("the rest of it");
        assert_eq!(answer[8], 0, "with a greeting");
        stream.write_all(what).await.expect("it is open");
        stream
    }

    async fn is_out(&self, of: &Node) {
        let line = log::line("for it forged").await;
        assert!(line.contains(&self.identity.node_id().short()), "{line}");
        let mut again = self.connect(of).await;
        let answer = say(&mut again, &self.hello()).await;
        assert_eq!(answer, b"", "nothing is answered");
        let refused = log::line("connection refused").await;
        assert!(refused.contains("it was evicted"), "{refused}");
    }
}

#[tokio::test]
async fn who_pushes_under_another_s_dot_is_cut_off_and_stays_out() {
    log::listen();
    let authority = Authority::new();
    let nodes = nodes(&authority, &["ana", "bob"]).await;
    let groups = joined(&nodes, "lobby").await;
    let eve = Eve::new(authority);
    let push = eve.push(&nodes[0], nodes[1].id().0);
    let mut stream = eve.says(&nodes[0], &push).await;
    let _ = soon("it is cut off", stream.read_to_end(&mut Vec::new())).await;
    let closed = log::line("connection closed").await;
    assert!(closed.contains("it pushes another member's messages"), "{closed}");
    eve.is_out(&nodes[0]).await;
    all_hear(&groups, "after").await;
    assert_eq!(log::rest(), Vec::<String>::new(), "no other line");
}

/// What its own link brings it did not sign, as the group found out.
#[tokio::test]
async fn who_does_not_sign_in_a_signed_group_is_cut_off_and_stays_out() {
    log::listen();
    let authority = Authority::new();
    let nodes = nodes(&authority, &["ana", "bob"]).await;
    let groups = joined(&nodes, "lobby").await;
    let eve = Eve::new(authority);
    let push = eve.push(&nodes[0], eve.identity.node_id().0);
    let mut stream = eve.says(&nodes[0], &push).await;
    let _ = soon("it is cut off", stream.read_to_end(&mut Vec::new())).await;
    let odd = log::line("no correct member says this").await;
    assert!(odd.contains("pushes unsigned messages"), "{odd}");
    eve.is_out(&nodes[0]).await;
    all_hear(&groups[..1], "after").await;
}
