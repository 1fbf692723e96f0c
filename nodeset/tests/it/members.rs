//! Who gets in, and who does not: two homes, invites, certificates of all kinds, evictions.

mod certificates;
mod daemons;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use nodeset::client::{self, AskError, Client, Contact, Proofs, Standing, Watch};
use nodeset::protocol::{InviteRefusal, News, Refusal};
use nodeset::server::Options;
use nodeset::{Invite, ProcessKey, ProfileKey, Registration};

use crate::{HANG, Home, Running, key, label, lease, number, peer, proofs, soon, try_start};

fn profile() -> Arc<ProfileKey> {
    Arc::new(ProfileKey::generate().expect("a key"))
}

fn stranger(profile: &Arc<ProfileKey>) -> Proofs {
    Proofs::none().with_profile(Arc::clone(profile))
}

fn invited(profile: &Arc<ProfileKey>, invite: &Invite) -> Proofs {
    stranger(profile).with_invite(invite.clone()).expect("it has a profile")
}

async fn invite(registry: &Running, uses: u32, life: Duration) -> Invite {
    let name = registry.name();
    let made = client::invite(&name, &proofs(), &name, uses, life, HANG).await;
    made.expect("the operator may")
}

async fn enrol(registry: &Running, proofs: &Proofs) -> Result<client::Enrolment, AskError> {
    let key = ProcessKey::generate().expect("a key");
    soon("an answer", client::enrol(&registry.name(), &key, "bob", proofs, HANG)).await
}

fn start(registry: &Running, n: u8, nick: &str, proofs: Proofs) -> (Client, client::Contacts) {
    Client::start(&[registry.name()], peer(n, nick), Arc::new(key(n)), proofs).expect("started")
}

async fn standing(client: &mut Client, wanted: impl Fn(&Standing) -> bool) {
    let reached = async {
        while !wanted(&client.status()[0].standing) {
            client.status_changed().await;
        }
    };
    soon("a standing", reached).await;
}

fn refused_with(part: &'static str) -> impl Fn(&Standing) -> bool {
    move |standing| matches!(standing, Standing::Refused(why) | Standing::Evicted(why) if why.contains(part))
}

const QUARTER: Duration = Duration::from_secs(900);

#[tokio::test]
async fn an_invite_is_needed_once() {
    let registry = Running::start(lease(5_000));
    let (bob, cyd) = (profile(), profile());
    let error = enrol(&registry, &stranger(&bob)).await.expect_err("not invited");
    let words = error.to_string();
    assert!(
        matches!(error, AskError::Stranger { .. }) && error.is_refusal(),
        "{words}"
    );
    assert!(words.contains("--invite") && words.contains("fingerprint"), "{words}");

    let invite = invite(&registry, 1, QUARTER).await;
    assert_eq!(invite.addr(), registry.name());
    let enrolment = enrol(&registry, &invited(&bob, &invite)).await.expect("invited");
    assert!(!enrolment.local);
    let again = enrol(&registry, &invited(&bob, &invite))
        .await
        .expect("known by its profile");
    assert_eq!(again.cluster, enrolment.cluster);
    let kept = stranger(&bob).with_credentials([enrolment.credential()]);
    enrol(&registry, &kept).await.expect("without the invite");

    let used_up = Refusal::Invite(InviteRefusal::UsedUp { uses: 1 });
    let refused = enrol(&registry, &invited(&cyd, &invite)).await;
    assert_eq!(refused, Err(AskError::Refused(used_up)));
    let only_trusts = stranger(&cyd).with_credentials([enrolment.credential()]);
    let refused = enrol(&registry, &only_trusts).await;
    assert_eq!(refused, Err(AskError::Refused(Refusal::NotAdmitted)));
    let none = enrol(&registry, &Proofs::none().with_credentials([enrolment.credential()])).await;
    assert!(none.expect_err("nothing to show").is_refusal());

    let listed = client::invites(&registry.name(), &proofs(), HANG)
        .await
        .expect("listed");
    assert_eq!((listed.len(), listed[0].id, listed[0].used), (1, invite.id(), 1));
    assert_eq!(listed[0].came, [format!("bob ({})", bob.fingerprint())]);
    // Who came by an invite is no operator.
    let member = client::invites(&registry.name(), &kept, HANG).await;
    assert_eq!(member, Err(AskError::Refused(Refusal::NotOperator)));
    let member = client::evict(&registry.name(), &kept, "bob", HANG).await;
    assert_eq!(member, Err(AskError::Refused(Refusal::NotOperator)));
}

#[tokio::test]
async fn every_bad_invite_has_its_own_words() {
    let registry = Running::start(lease(5_000));
    let refused = async |invite: &Invite| match enrol(&registry, &invited(&profile(), invite)).await {
        Err(AskError::Refused(Refusal::Invite(refusal))) => Some(refusal),
        _ => None,
    };
    // Of a registry of the same authority that did not make it.
    let authority = nodeset::Authority::ephemeral().expect("made");
    let with = |authority: &nodeset::Authority| Options {
        authority: Some(authority.clone()),
        ..lease(5_000)
    };
    let (one, two) = (Running::start(with(&authority)), Running::start(with(&authority)));
    let of_one = invite(&one, 1, QUARTER).await;
    let wrong = enrol(&two, &invited(&profile(), &of_one)).await;
    assert_eq!(wrong, Err(AskError::Refused(Refusal::Invite(InviteRefusal::Wrong))));
    // Of another authority altogether.
    let error = enrol(&registry, &invited(&profile(), &of_one))
        .await
        .expect_err("another");
    assert!(matches!(error, AskError::Stranger { .. }), "{error}");

    let short = invite(&registry, 1_000, Duration::from_secs(1)).await;
    let expired = async {
        loop {
            if let Some(refusal) = refused(&short).await {
                return refusal;
            }
        }
    };
    let expired = soon("the end of the invite", expired).await;
    assert!(matches!(expired, InviteRefusal::Expired { .. }), "{expired:?}");

    let revoked = invite(&registry, 5, QUARTER).await;
    let all = client::revoke(&registry.name(), &proofs(), None, HANG)
        .await
        .expect("revoked");
    assert_eq!(all.0, 1, "the other one is over already");
    assert_eq!(refused(&revoked).await, Some(InviteRefusal::Revoked));
    let id = Some(of_one.id());
    let unknown = client::revoke(&registry.name(), &proofs(), id, HANG).await;
    assert_eq!(unknown, Err(AskError::Refused(Refusal::Invite(InviteRefusal::Wrong))));
}

#[tokio::test]
async fn whatever_name_a_registry_has_its_user_gets_in() {
    let registry = Running::start(lease(5_000));
    let named = format!("localhost:{}", registry.addr.port());
    client::list(&named, &proofs(), HANG).await.expect("by any address");
    let elsewhere = Home::new("elsewhere");
    let error = client::list(&named, &elsewhere.proofs(), HANG)
        .await
        .expect_err("another home");
    assert!(matches!(error, AskError::Stranger { .. }), "{error}");
    // Whether it is there, anybody may ask.
    let health = client::health(&named, &Proofs::none(), HANG).await;
    assert_eq!(health, Ok(None));
    let health = client::health(&named, &proofs(), HANG).await.expect("well");
    assert_eq!(health.expect("known").listens, [registry.addr]);
}

#[tokio::test]
async fn an_eviction_is_told_to_all_and_lasts() {
    let dir = Home::new("evictions");
    let options = Options {
        state_dir: Some(dir.0.join("registry")),
        ..lease(1_000)
    };
    let registry = Running::start(options.clone());
    let (mut ana, mut ana_hears) = start(&registry, 1, "ana", proofs());
    standing(&mut ana, |standing| *standing == Standing::Registered).await;
    let (bob, invite) = (profile(), invite(&registry, 9, QUARTER).await);
    let (mut bob_runs, _) = start(&registry, 2, "bob", invited(&bob, &invite));
    let met = soon("bob", ana_hears.next()).await;
    assert!(matches!(met, Some(Contact::Live { id, .. }) if number(id) == 2));

    let evicted = client::evict(&registry.name(), &proofs(), "bob", HANG)
        .await
        .expect("evicted");
    assert_eq!(evicted.profiles, [bob.fingerprint()]);
    assert_eq!((evicted.nodes, evicted.peers.len()), (vec![key(2).node()], 1));
    let told = soon("an eviction", ana_hears.next()).await;
    assert!(
        matches!(told, Some(Contact::Evicted { id }) if number(id) == 2),
        "{told:?}"
    );
    let told = soon("its end", ana_hears.next()).await;
    assert!(
        matches!(told, Some(Contact::Gone { id }) if number(id) == 2),
        "{told:?}"
    );
    standing(&mut bob_runs, refused_with("evicted")).await;
    let new_key = enrol(&registry, &invited(&bob, &invite))
        .await
        .expect_err("its profile");
    assert!(
        matches!(new_key, AskError::Refused(Refusal::Banned { .. })),
        "{new_key}"
    );

    // The same after a restart, and for those who come late.
    let addr = registry.stop().await;
    let registry = Running::start_on(addr, options);
    let mut watch = Watch::new(registry.name(), proofs());
    let News::Resync { evicted, .. } = soon("a list", watch.next(HANG)).await.expect("answers") else {
        panic!("a list");
    };
    assert_eq!(
        evicted.iter().map(|(node, _)| *node).collect::<Vec<_>>(),
        [key(2).node()]
    );
    let still = enrol(&registry, &invited(&bob, &invite))
        .await
        .expect_err("its profile");
    assert!(matches!(still, AskError::Refused(Refusal::Banned { .. })), "{still}");

    let name = registry.name();
    let pardoned = client::pardon(&name, &proofs(), "bob", HANG).await.expect("pardoned");
    assert_eq!(pardoned, [bob.fingerprint()]);
    enrol(&registry, &invited(&bob, &invite)).await.expect("may ask again");
    let nobody = client::pardon(&name, &proofs(), "bob", HANG).await;
    assert_eq!(nobody, Err(AskError::Refused(Refusal::Nobody)));
    standing(&mut bob_runs, refused_with("evicted")).await; // its process key still is
}

#[tokio::test]
async fn revoking_an_invite_evicts_who_came_by_it() {
    let registry = Running::start(lease(1_000));
    let (_ana, mut ana_hears) = start(&registry, 1, "ana", proofs());
    let (one, two) = (invite(&registry, 9, QUARTER).await, invite(&registry, 9, QUARTER).await);
    let (mut bob, _) = start(&registry, 2, "bob", invited(&profile(), &one));
    let (mut cyd, _) = start(&registry, 3, "cyd", invited(&profile(), &two));
    for client in [&mut bob, &mut cyd] {
        standing(client, |standing| *standing == Standing::Registered).await;
    }
    let revoked = client::revoke(&registry.name(), &proofs(), Some(one.id()), HANG).await;
    let (invites, evicted) = revoked.expect("revoked");
    assert_eq!(
        (invites, evicted.nodes, evicted.profiles.len()),
        (1, vec![key(2).node()], 1)
    );
    let hears = async {
        loop {
            if let Some(Contact::Evicted { id }) = ana_hears.next().await {
                return number(id);
            }
        }
    };
    assert_eq!(soon("an eviction", hears).await, 2);
    standing(&mut bob, refused_with("evicted")).await;
    let listed = client::list(&registry.name(), &proofs(), HANG).await.expect("listed");
    let labels: Vec<_> = listed.iter().map(|entry| entry.peer.label()).collect();
    assert!(
        labels.contains(&label(3, "cyd")) && !labels.contains(&label(2, "bob")),
        "{labels:?}"
    );
}

#[tokio::test]
async fn certificates_are_renewed_at_half_their_life() {
    let registry = Running::start(Options {
        certificate_life: Duration::from_secs(2),
        ..lease(600)
    });
    let (client, _) = start(&registry, 1, "ana", proofs());
    let mut enrolments = client.enrolments();
    let first = soon("a certificate", enrolments.next()).await.expect("runs");
    let mut before = first.clone();
    for _ in 0..3 {
        let next = soon("a renewal", enrolments.next()).await.expect("runs");
        assert_eq!((next.node, &next.root), (first.node, &first.root));
        assert!(next.chain != before.chain && next.until > before.until);
        before = next;
    }
    assert!(client.is_registered());
    let counts = registry.stats.counts();
    assert_eq!(
        (counts.connections, counts.expirations),
        (1, 0),
        "over one connection, without a gap"
    );
    drop(client);
    assert!(soon("the end", enrolments.next()).await.is_none());
}

#[tokio::test]
async fn a_restart_keeps_authority_invites_and_admissions() {
    let dir = Home::new("restart");
    let options = Options {
        state_dir: Some(dir.0.join("registry")),
        ..lease(1_000)
    };
    let registry = Running::start(options.clone());
    let (bob, invite) = (profile(), invite(&registry, 2, QUARTER).await);
    let enrolment = enrol(&registry, &invited(&bob, &invite)).await.expect("invited");
    let (mut cyd, _) = start(&registry, 3, "cyd", invited(&profile(), &invite));
    standing(&mut cyd, |standing| *standing == Standing::Registered).await;

    let addr = registry.stop().await;
    let registry = Running::start_on(addr, options);
    let kept = stranger(&bob).with_credentials([enrolment.credential()]);
    let again = enrol(&registry, &kept).await.expect("known");
    assert_eq!(again.root, enrolment.root);
    let used_up = Refusal::Invite(InviteRefusal::UsedUp { uses: 2 });
    let third = enrol(&registry, &invited(&profile(), &invite)).await;
    assert_eq!(third, Err(AskError::Refused(used_up)));
    // A running client comes back by its certificate, with nothing else to show.
    standing(&mut cyd, |standing| matches!(standing, Standing::Unreachable(_))).await;
    standing(&mut cyd, |standing| *standing == Standing::Registered).await;
}

#[tokio::test]
async fn a_process_registers_its_own_node_only() {
    let registry = Running::start(lease(1_000));
    let of_another = Client::start(&[registry.name()], peer(2, "bob"), Arc::new(key(1)), proofs());
    assert_eq!(of_another.expect_err("refused"), client::StartError::NotYours);
    let claim = Registration::new(key(2).node(), "bob", peer(2, "bob").addrs[0]);
    assert!(try_start(&[registry.name()], claim).is_ok());
}
