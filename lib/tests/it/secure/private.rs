//! Private groups: whoever is not on the list hears nothing, is not heard, and does not even notice.

use ed25519_dalek::{Signer, SigningKey};
use futures::StreamExt;
use multicast::{Circle, CircleError, Event, Events, Group, JoinError, Member, Node, Profile, Sender};
use serde::Serialize;

use super::authority::Authority;
use super::{all_hear, bind};
use crate::wire::{deliveries, joined, soon, split};

/// Nodes of one cluster with a profile each, that know the first one's address and are in the lobby.
async fn people(names: &[&str]) -> (Vec<Node>, Vec<Profile>, Vec<Group>) {
    let authority = Authority::new();
    let (mut nodes, mut profiles) = (Vec::<Node>::new(), Vec::new());
    for (name, n) in names.iter().zip(1..) {
        let identity = authority.identity(name);
        let secret = SigningKey::from_bytes(&[n; 32]);
        let signature = secret.sign(&Profile::endorses(&identity.public_key())).to_bytes();
        let public = secret.verifying_key().to_bytes();
        identity.endorsed_by(public, signature).expect("it is over this key");
        let node = bind(name, &identity).await;
        if let Some(first) = nodes.first() {
            node.meet(first.addr());
        }
        profiles.push(Profile::of_key(public));
        nodes.push(node);
    }
    let lobby = joined(&nodes, "lobby").await;
    (nodes, profiles, lobby)
}

/// Joins what another one offers, once it does.
async fn accept(node: &Node, circle: &Circle) -> Group {
    let mut offers = node.offers();
    let offered = soon("an offer", async {
        loop {
            let all = offers.next().await;
            if let Some(offer) = all.into_iter().find(|offer| offer.circle.group() == circle.group()) {
                return offer.circle;
            }
        }
    });
    let circle = offered.await;
    soon("joins", node.join_private(circle))
        .await
        .expect("it is on the list")
}

async fn event<T>(what: &str, events: &mut Events, fits: impl Fn(Event) -> Option<T>) -> T {
    soon(what, async {
        loop {
            let event = events.next().await.unwrap_or_else(|| panic!("the end before {what}"));
            if let Some(found) = fits(event) {
                return found;
            }
        }
    })
    .await
}

async fn meet(members: &[(Sender, Events)], count: usize) {
    for (tell, _) in members {
        soon("all meet", tell.wait_for(count)).await;
    }
}

#[tokio::test]
async fn two_talk_and_a_third_s_traffic_does_not_move() {
    const TEXT: usize = 32 << 10;
    const COUNT: usize = 200;
    let (nodes, profiles, lobby) = people(&["ana", "bob", "cyd"]).await;
    all_hear(&lobby, "hello").await;
    let pair = Circle::of_two(profiles[1], profiles[0]);
    let third = nodes[2].traffic();
    let ana = soon("joins", nodes[0].join_private(pair.clone()))
        .await
        .expect("it is hers");
    let bob = accept(&nodes[1], &pair).await;
    let members = split(vec![ana, bob]);
    meet(&members, 2).await;
    for _ in 0..COUNT {
        members[0].0.send(vec![b'x'; TEXT]).await.expect("sends");
    }
    let [_, (_, mut heard)] = <[_; 2]>::try_from(members).expect("two");
    assert_eq!(deliveries(&mut heard, COUNT).await.len(), COUNT);
    // The heartbeats of the lobby are all that cyd has to do with.
    let now = nodes[2].traffic();
    let moved = now.received_bytes + now.sent_bytes - third.received_bytes - third.sent_bytes;
    assert!(moved < TEXT as u64, "{moved} bytes of {}", COUNT * TEXT);
    assert_eq!(soon("no offer", nodes[2].offers().next()).await, []);
    let refused = nodes[2].join_private(pair).await.err();
    assert!(matches!(refused, Some(JoinError::NotListed)), "{refused:?}");
}

/// A list as it travels, with words that nobody said.
#[derive(Serialize)]
struct Forged {
    kind: ForgedKind,
    words: Vec<(Profile, ForgedWeight, bool)>,
}

/// By the founder, when, and by whom.
type ForgedWeight = (bool, u64, [u8; 16]);

#[derive(Serialize)]
enum ForgedKind {
    #[expect(dead_code, reason = "it holds the first place")]
    Pair,
    Founded {
        founder: Profile,
        name: String,
    },
}

#[tokio::test]
async fn whoever_puts_itself_on_the_list_stays_alone() {
    let (nodes, profiles, lobby) = people(&["ana", "bob", "eve"]).await;
    let ops = Circle::founded_by(profiles[0], "ops");
    let ana = soon("joins", nodes[0].join_private(ops.clone())).await.expect("hers");
    ana.admit(profiles[1]).await.expect("hers");
    let bob = accept(&nodes[1], &ops).await;
    soon("they meet", bob.wait_for(2)).await;
    let forged = Forged {
        kind: ForgedKind::Founded {
            founder: profiles[0],
            name: "ops".to_owned(),
        },
        words: vec![(profiles[2], (true, 1 << 40, [1; 16]), true)],
    };
    let bytes = postcard::to_extend(&forged, Vec::new()).expect("bytes");
    let forged: Circle = postcard::from_bytes(&bytes).expect("it has the form");
    assert_eq!(forged.group(), ops.group());
    let (eve, mut eves) = soon("founds it alone", nodes[2].join_private(forged))
        .await
        .expect("she says so")
        .split();
    eve.send("let me in").await.expect("to herself");
    // After this whatever was on its way has arrived.
    all_hear(&lobby, "in the lobby").await;
    all_hear(&[ana, bob], "in ops").await;
    all_hear(&lobby, "in the lobby again").await;
    assert_eq!(eve.members(), [eve.me()]);
    let own = deliveries(&mut eves, 1).await;
    assert_eq!(own[0].from, eve.me());
    assert_eq!(soon("no offer", nodes[2].offers().next()).await, []);
}

#[tokio::test]
async fn members_let_in_and_the_founder_throws_out() {
    let (nodes, profiles, lobby) = people(&["ana", "bob", "cyd"]).await;
    let ops = Circle::founded_by(profiles[0], "ops");
    let ana = soon("joins", nodes[0].join_private(ops.clone())).await.expect("hers");
    ana.admit(profiles[1]).await.expect("hers");
    let bob = accept(&nodes[1], &ops).await;
    let mut members = split(vec![ana, bob]);
    meet(&members, 2).await;
    members[1].0.admit(profiles[2]).await.expect("any member may");
    let by = |member: Member| {
        move |event| match event {
            Event::Admitted { by, profile, .. } if by == member => Some(profile),
            _ => None,
        }
    };
    let bobs = members[1].0.me();
    for (_, events) in &mut members {
        assert_eq!(event("bob's word", events, by(bobs.clone())).await, profiles[2]);
    }
    members.push(accept(&nodes[2], &ops).await.split());
    meet(&members, 3).await;
    let receipt = members[2].0.send("all of us").await.expect("sends");
    soon("everyone has it", receipt.on(3)).await;

    let refused = members[1].0.exclude(profiles[2]).await.err();
    assert_eq!(refused, Some(CircleError::NotTheFounder));
    members[0].0.exclude(profiles[1]).await.expect("she is the founder");
    let excluded = |event| match event {
        Event::Excluded { profile, .. } => Some(profile),
        _ => None,
    };
    for (_, events) in &mut members {
        assert_eq!(event("ana's word", events, excluded).await, profiles[1]);
    }
    let (outcast, mut ended) = members.remove(1);
    assert_eq!(soon("the end", ended.next()).await, None, "nothing follows");
    assert!(outcast.send("let me in").await.is_err());
    // The others go on, and close his member.
    for (_, events) in &mut members {
        let closed = |event| match event {
            Event::Closed { origin, .. } => Some(origin),
            _ => None,
        };
        assert_eq!(event("the end of bob", events, closed).await, bobs);
    }
    let receipt = members[1].0.send("without bob").await.expect("sends");
    soon("everyone has it", receipt.everyone()).await;
    assert_eq!(members[0].0.circle().expect("private").profiles().len(), 2);
    // In the lobby they still are.
    all_hear(&lobby, "in the lobby").await;
    assert_eq!(soon("no offer", nodes[1].offers().next()).await, []);
}
