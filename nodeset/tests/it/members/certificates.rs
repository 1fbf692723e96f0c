//! What is shown in the handshake, and what becomes of it. The daemon has one line for each.

use std::time::{Duration, SystemTime};

use nodeset::protocol::{Answer, Holder, Refusal, Request};
use nodeset::{Authority, CERTIFICATE_LIFE, ProcessKey, Signature};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::process::Daemon;
use crate::raw::{Raw, Shown, shown};
use crate::{HANG, Home, key, peer, proofs, soon};

fn issued(authority: &Authority, key: &ProcessKey, now: SystemTime) -> Shown {
    let chain = authority.issue(&key.public(), "eve", now, CERTIFICATE_LIFE);
    (key.pkcs8().to_vec(), chain.expect("issued"))
}

fn self_signed(key: &ProcessKey) -> Shown {
    let pair = rcgen::KeyPair::try_from(key.pkcs8()).expect("a key");
    let params = rcgen::CertificateParams::new(Vec::new()).expect("good names");
    let certificate = params.self_signed(&pair).expect("signed");
    (key.pkcs8().to_vec(), vec![certificate.der().to_vec()])
}

#[tokio::test]
async fn only_good_certificates_are_let_in_and_each_bad_one_is_a_line() {
    let home = Home::new("certificates");
    let state = home.0.join("registry");
    let mut daemon = Daemon::start(&["--state-dir", state.to_str().expect("text")]).await;
    let ours = Authority::open(state.join("authority")).expect("the daemon's");
    let other = Authority::ephemeral().expect("made");
    let (key, now) = (key(1), SystemTime::now());
    let two_days = Duration::from_secs(48 * 3600);
    let bad = [
        (issued(&other, &key, now), "it is not of this registry's authority"),
        (self_signed(&key), "its certificate is refused: "),
        (issued(&ours, &key, now - two_days), "it is expired"),
        (issued(&ours, &key, now + two_days), "it is not valid yet"),
    ];
    for (shown, why) in bad {
        // For the client the handshake is over before it is judged.
        let raw = Raw::open_showing(daemon.addr, Some(shown)).await;
        let from = raw.stream.get_ref().0.local_addr().expect("connected").to_string();
        let said = raw.closed().await;
        assert!(said.contains("alert"), "{why}: {said}");
        let line = daemon.says(&from).await;
        assert!(line.contains(why), "{line}");
    }
    let mut plain = TcpStream::connect(daemon.addr).await.expect("connect");
    plain.write_all(b"\0\0\0\x05hello").await.expect("written");
    drop(soon("the end", plain.read_to_end(&mut Vec::new())).await);
    daemon.says("it does not speak TLS 1.3").await;

    let mut good = Raw::open_showing(daemon.addr, Some(issued(&ours, &key, now))).await;
    good.hello().await;
    assert_eq!(good.ask(Request::List).await, Answer::List(Vec::new()));
    // Valid, but for another name.
    let holder = Holder([1; 16]);
    let register = |n| Request::Register {
        claim: peer(n, "ana"),
        holder,
        turn: 1,
    };
    assert_eq!(good.ask(register(2)).await, Answer::Refused(Refusal::NotYours));
    assert!(matches!(good.ask(register(1)).await, Answer::Granted { .. }));
    let id = peer(2, "ana").id;
    let leave = Request::Leave { id, holder, turn: 2 };
    assert_eq!(good.ask(leave).await, Answer::Refused(Refusal::NotYours));
    let another = ProcessKey::generate().expect("a key");
    assert_eq!(good.enrol(&another, "eve").await, Answer::Refused(Refusal::NotYours));
    let evict = Request::Evict { target: "ana".into() };
    assert_eq!(good.ask(evict).await, Answer::Refused(Refusal::NotOperator));
}

#[tokio::test]
async fn whoever_proves_nothing_learns_nothing() {
    let registry = crate::Running::start(crate::lease(5_000));
    let mut nobody = Raw::greeted(registry.addr).await;
    assert_eq!(nobody.ask(Request::Health).await, Answer::Well);
    let (holder, turn, id) = (Holder([1; 16]), 1, key(1).node());
    let claim = peer(1, "ana");
    for request in [
        Request::List,
        Request::Watch {
            since: None,
            wait_ms: 0,
        },
        Request::Register { claim, holder, turn },
        Request::Leave { id, holder, turn },
        Request::Evict { target: "ana".into() },
        Request::Invites,
        Request::Revoke { id: None },
        Request::Pardon { target: "ana".into() },
        Request::Invite {
            kept: [0; 32],
            uses: 1,
            life_ms: 1,
        },
    ] {
        let answer = nobody.ask(request.clone()).await;
        assert_eq!(answer, Answer::Refused(Refusal::Unproven), "{request:?}");
    }
    let key = key(1);
    assert_eq!(nobody.enrol(&key, "ana").await, Answer::Refused(Refusal::Unproven));
    assert_eq!(registry.stats.counts().live, 0);
}

#[tokio::test]
async fn a_proof_of_one_connection_is_worth_nothing_on_another() {
    use nodeset::protocol::{ProfileProof, Proof};
    let registry = crate::Running::start(crate::lease(5_000));
    let mut raw = Raw::greeted(registry.addr).await;
    let name = || "ana".to_owned();
    let forged = Request::Prove {
        proof: Proof::Local { mac: [7; 32] },
        profile: None,
        name: name(),
    };
    assert_eq!(raw.ask(forged).await, Answer::Refused(Refusal::NotLocal));
    let profile = Some(ProfileProof {
        public: key(9).public(),
        signature: Signature([1; 32], [2; 32]),
    });
    let forged = Request::Prove {
        proof: Proof::Profile,
        profile,
        name: name(),
    };
    assert_eq!(raw.ask(forged).await, Answer::Refused(Refusal::Signature));
    assert_eq!(raw.prove().await, Answer::Proven { operator: true });
    let possession = Signature([3; 32], [4; 32]);
    let public = key(1).public();
    let stolen = Request::Enrol {
        public,
        name: name(),
        possession,
    };
    assert_eq!(raw.ask(stolen).await, Answer::Refused(Refusal::Signature));
    for bad in ["", "a b", "\u{1b}[2J"] {
        let answer = raw.enrol(&key(1), bad).await;
        assert!(matches!(answer, Answer::Refused(Refusal::Malformed(_))), "{answer:?}");
    }
    assert!(matches!(raw.enrol(&key(1), "ana").await, Answer::Issued { .. }));

    let process = ProcessKey::generate().expect("a key");
    let name = registry.name();
    let enrolment = nodeset::client::enrol(&name, &process, "bob", &proofs(), HANG).await;
    let mut back = Raw::open_showing(registry.addr, Some(shown(&enrolment.expect("enrolled")))).await;
    back.hello().await;
    assert!(matches!(back.ask(Request::List).await, Answer::List(_)));
}
