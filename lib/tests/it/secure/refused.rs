//! Strangers, each refused before anything of theirs is read, with one log line; members talk on.

use std::time::SystemTime;

use multicast::{BindError, Credential, Group, Identity, IdentityError, Node, NodeId, Options};
use rcgen::KeyPair;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::authority::{self, Authority, DAY};
use super::stranger::{Hello, Shown, connect, say};
use super::{all_hear, bind, log, nodes};
use crate::wire::{joined, soon};

/// Two members of a cluster that talk.
struct Members {
    authority: Authority,
    nodes: Vec<Node>,
    groups: Vec<Group>,
}

impl Members {
    async fn new() -> Self {
        log::listen();
        let authority = Authority::new();
        let nodes = nodes(&authority, &["ana", "bob"]).await;
        let groups = joined(&nodes, "lobby").await;
        all_hear(&groups, "before").await;
        Self {
            authority,
            nodes,
            groups,
        }
    }

    /// Shows that to a member and greets well. The member must have refused, in these words, and have answered nothing.
    async fn refuse(&self, shown: Option<Shown>, hello: Hello, words: &str) {
        let mut stream = connect(self.nodes[0].addr(), &self.authority.cluster, shown).await;
        let answer = say(&mut stream, &hello.request()).await;
        assert_eq!(answer, b"", "nothing is answered");
        self.undisturbed(words).await;
    }

    async fn undisturbed(&self, words: &str) {
        let line = log::line("connection refused").await;
        assert!(line.contains(words) && line.contains("127.0.0.1:"), "{line}");
        all_hear(&self.groups, "after").await;
        assert_eq!(log::rest(), Vec::<String>::new(), "one line and no other");
        let count = |group: &Group| group.members().len();
        assert!(self.groups.iter().all(|group| count(group) == 2));
    }
}

/// A key in PKCS#8 and the identity that it is.
fn key() -> (Vec<u8>, Identity) {
    let key = KeyPair::generate_for(&rcgen::PKCS_ED25519)
        .expect("a key")
        .serialize_der();
    let identity = Identity::new(&key).expect("an ed25519 key");
    (key, identity)
}

#[tokio::test]
async fn a_raw_connection_is_refused() {
    let members = Members::new().await;
    let mut stream = TcpStream::connect(members.nodes[0].addr()).await.expect("connects");
    let answer = say(&mut stream, &Hello::of(NodeId([1; 16]), "eve").request()).await;
    assert!(answer.len() <= 7, "an alert at most: {answer:?}");
    members.undisturbed("does not speak TLS").await;
}

#[tokio::test]
async fn without_a_certificate_it_is_refused() {
    let members = Members::new().await;
    let hello = Hello::of(NodeId([1; 16]), "eve");
    members.refuse(None, hello, "it shows no certificate").await;
}

#[tokio::test]
async fn a_certificate_that_it_signed_itself_is_refused() {
    let members = Members::new().await;
    let (key, identity) = key();
    let pair = KeyPair::try_from(key.as_slice()).expect("the same key");
    for (cluster, words) in [
        (
            members.authority.cluster.as_str(),
            "is not signed by its cluster's authority",
        ),
        ("0123456789abcdef", "is of no cluster that this node is in"),
    ] {
        let uri = format!("nodeset://{cluster}/{}", identity.node_id());
        let mut params = authority::params("eve", &uri, SystemTime::now());
        if cluster == members.authority.cluster {
            // Under the authority's name, too.
            params.distinguished_name.push(rcgen::DnType::CommonName, "a cluster");
        }
        let certificate = params.self_signed(&pair).expect("a certificate");
        let shown = Shown {
            key: key.clone(),
            chain: vec![certificate.der().to_vec()],
        };
        let hello = Hello::of(identity.node_id(), "eve");
        members.refuse(Some(shown), hello, words).await;
    }
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused() {
    let members = Members::new().await;
    let (key, identity) = key();
    let other = Authority::new();
    let theirs = other.issue(&identity, "eve", SystemTime::now());
    let hello = Hello::of(identity.node_id(), "eve");
    let words = "is of no cluster that this node is in";
    members
        .refuse(Some(Shown::new(key.clone(), theirs)), hello, words)
        .await;
    // It may say that it is of this cluster: its authority is not this one.
    let uri = format!("nodeset://{}/{}", members.authority.cluster, identity.node_id());
    let forged = other.issue_uri(&identity, "eve", &uri, SystemTime::now());
    let hello = Hello::of(identity.node_id(), "eve");
    let words = "not signed by its cluster's authority";
    members.refuse(Some(Shown::new(key, forged)), hello, words).await;
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let members = Members::new().await;
    let (key, identity) = key();
    let old = members.authority.issue(&identity, "eve", SystemTime::now() - 2 * DAY);
    let hello = Hello::of(identity.node_id(), "eve");
    members.refuse(Some(Shown::new(key, old)), hello, "has expired").await;
}

#[tokio::test]
async fn a_certificate_of_tomorrow_is_refused() {
    let members = Members::new().await;
    let (key, identity) = key();
    let early = members.authority.issue(&identity, "eve", SystemTime::now() + DAY);
    let hello = Hello::of(identity.node_id(), "eve");
    members
        .refuse(Some(Shown::new(key, early)), hello, "is of the future")
        .await;
}

#[tokio::test]
async fn a_certificate_for_the_id_of_another_key_is_refused() {
    let members = Members::new().await;
    let (key, identity) = key();
    let uri = format!("nodeset://{}/{}", members.authority.cluster, members.nodes[1].id());
    let stolen = members.authority.issue_uri(&identity, "bob", &uri, SystemTime::now());
    let hello = Hello::of(members.nodes[1].id(), "bob");
    let words = "names a node id that is not the hash of its key";
    members.refuse(Some(Shown::new(key, stolen)), hello, words).await;
}

/// A good certificate, and then another's id, name or member in the greeting: told why, and let in no further.
#[tokio::test]
async fn who_greets_as_somebody_else_is_refused() {
    let members = Members::new().await;
    let (key, identity) = key();
    let bob = members.nodes[1].id();
    let (me, group) = (identity.node_id(), multicast::GroupId::named("lobby"));
    let cases = [
        (Hello::of(bob, "eve"), "another node than its certificate's"),
        (Hello::of(me, "bob"), "valid, but for another name, \"eve\""),
        (
            Hello {
                groups: vec![(group.0, bob.0, 0, None)],
                ..Hello::of(me, "eve")
            },
            "names a member that is not its own",
        ),
    ];
    for (hello, words) in cases {
        let good = members.authority.issue(&identity, "eve", SystemTime::now());
        let shown = Shown::new(key.clone(), good);
        let mut stream = connect(members.nodes[0].addr(), &members.authority.cluster, Some(shown)).await;
        let answer = say(&mut stream, &hello.request()).await;
        // The frame's length, the request's number, "refused", and why.
        assert_eq!((&answer[4..12], answer[12]), (&1u64.to_be_bytes()[..], 3));
        members.undisturbed(words).await;
    }
}

/// The same with the library: the link says why, and the member is never heard of.
#[tokio::test]
async fn a_node_with_a_certificate_for_another_name_is_told_so() {
    let members = Members::new().await;
    let identity = authority::fresh();
    let eve = bind("ana", &identity).await;
    let credential = members.authority.issue(&identity, "eve", SystemTime::now());
    identity.add(credential.clone()).expect("a good credential");
    eve.meet(members.nodes[0].addr());
    let alone = soon("founds a group of its own", eve.join("lobby"))
        .await
        .expect("joins");
    let words = "valid, but for another name, \"eve\"";
    assert!(log::line("connection refused").await.contains(words));
    let why = soon("the link says why", async {
        loop {
            if let Some(link) = eve.links().into_iter().find(|link| link.trouble.is_some()) {
                assert!(link.denied, "{link:?}");
                return link.trouble.expect("looked for");
            }
            tokio::task::yield_now().await;
        }
    });
    let why = why.await;
    assert!(why.contains("certificate is for another name, \"eve\""), "{why}");
    all_hear(&members.groups, "after").await;
    assert_eq!((alone.members().len(), members.groups[0].members().len()), (1, 2));
    // With the certificate there from the start it is told at once.
    let again = Identity::new(&[5; 32]).expect("a key");
    let credential = members.authority.issue(&again, "eve", SystemTime::now());
    again.add(credential).expect("a good credential");
    let refused = Node::bind(Options::new("ana").with_identity(again)).await;
    assert!(matches!(refused, Err(BindError::OtherName { certificate, .. }) if certificate == "eve"));
}

#[tokio::test]
async fn off_loopback_a_node_needs_an_identity() {
    for options in [Options::new("ana"), Options::new("ana").insecure_loopback()] {
        let everywhere = "0.0.0.0:0".parse().expect("an address");
        let refused = Node::bind(options.with_listen(everywhere)).await;
        assert!(matches!(refused, Err(BindError::NeedsIdentity(addr)) if addr == everywhere));
    }
    // Nor does it dial there.
    let ana = crate::wire::node("ana").await;
    ana.meet("192.0.2.1:9".parse().expect("an address"));
    let _group = ana.join("lobby").await.expect("founds");
    let why = soon("the link says why", async {
        loop {
            if let Some(link) = ana.links().into_iter().find(|link| link.trouble.is_some()) {
                assert!(!link.denied, "nobody is there: {link:?}");
                return link.trouble.expect("looked for");
            }
            tokio::task::yield_now().await;
        }
    });
    assert!(why.await.contains("needs an identity"));
    let options = Options::new("ana").with_identity(Authority::new().identity("ana"));
    let anywhere = options.with_listen("0.0.0.0:0".parse().expect("an address"));
    Node::bind(anywhere).await.expect("with one it may listen anywhere");
}

#[test]
fn credentials_that_cannot_be_used_are_not_taken() {
    let (authority, now) = (Authority::new(), SystemTime::now());
    let (mine, other) = (authority::fresh(), authority::fresh());
    let add = |credential: Credential| mine.add(credential).expect_err("no good");
    assert_eq!(add(authority.issue(&other, "ana", now)), IdentityError::OtherKey);
    let good = authority.issue(&mine, "ana", now);
    let rootless = Credential {
        root: Authority::new().issue(&mine, "ana", now).root,
        ..good.clone()
    };
    assert!(add(rootless).to_string().contains("another cluster"));
    let chainless = Credential {
        chain: Vec::new(),
        ..good.clone()
    };
    assert_eq!(add(chainless), IdentityError::ChainLength(0));
    for uri in [
        "https://example.org".to_owned(),
        format!("nodeset://{}/{}", authority.cluster, other.node_id()),
        format!("nodeset://{}/", authority.cluster),
        format!("nodeset://{}/{}", &authority.cluster[..15], mine.node_id()),
    ] {
        let refusal = add(authority.issue_uri(&mine, "ana", &uri, now));
        assert!(matches!(refusal, IdentityError::Certificate(_)), "{uri}: {refusal}");
    }
    mine.add(good).expect("nothing is wrong with it");
    let old = authority.issue(&mine, "ana", now - 3 * DAY);
    mine.add(old).expect("expired ones are judged by those who see them");
}

#[tokio::test]
async fn a_client_that_connects_and_goes_is_nobody_s_business() {
    let members = Members::new().await;
    for _ in 0..3 {
        drop(TcpStream::connect(members.nodes[0].addr()).await.expect("connects"));
    }
    let mut last = TcpStream::connect(members.nodes[0].addr()).await.expect("connects");
    let shutdown = tokio::io::AsyncWriteExt::shutdown(&mut last);
    shutdown.await.expect("it is open");
    let _ = soon("closes", last.read_to_end(&mut Vec::new())).await;
    all_hear(&members.groups, "after").await;
    assert_eq!(log::rest(), Vec::<String>::new());
}
