//! Members talk over TLS as they do without.

use std::collections::BTreeSet;
use std::time::SystemTime;

use ed25519_dalek::{Signer, SigningKey};
use multicast::Profile;

use super::authority::{self, Authority};
use super::{all_hear, bind, nodes};
use crate::wire::{assert_causal, deliveries, joined, soon, split};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_talk_over_tls_and_deliver_the_same() {
    const EACH: usize = 200;
    let nodes = nodes(&Authority::new(), &["ana", "bob", "cyd"]).await;
    let members = split(joined(&nodes, "lobby").await);
    let tasks: Vec<_> = members
        .into_iter()
        .map(|(tell, mut heard)| {
            tokio::spawn(async move {
                let talker = tell.clone();
                let talk = tokio::spawn(async move {
                    for nth in 0..EACH {
                        // From small ones to ones that fill several records.
                        let text = format!("message {nth} ").repeat(1 + nth % 50 * 60);
                        talker.send(text).await.expect("sends");
                    }
                });
                let log = deliveries(&mut heard, 3 * EACH).await;
                talk.await.expect("talks");
                (tell, heard, log)
            })
        })
        .collect();
    let (mut sets, mut keep) = (BTreeSet::new(), Vec::new());
    for task in tasks {
        let (tell, heard, log) = task.await.expect("no panic");
        assert_causal(&log);
        let mut dots: Vec<_> = log
            .iter()
            .map(|delivery| (delivery.dot, delivery.payload.clone()))
            .collect();
        dots.sort();
        sets.insert(dots);
        keep.push((tell, heard));
    }
    assert_eq!(sets.len(), 1, "all delivered the same");
}

#[tokio::test]
async fn the_id_is_the_key_s_and_comes_back_for_a_second_join() {
    let authority = Authority::new();
    let identity = authority.identity("ana");
    let ana = bind("ana", &identity).await;
    assert_eq!(ana.id(), identity.node_id());
    let bob = bind("bob", &authority.identity("bob")).await;
    bob.meet(ana.addr());
    let nodes = [ana, bob];
    let mut groups = joined(&nodes, "lobby").await;
    assert_eq!(groups[0].me().id.0, nodes[0].id().0);
    soon("leaves", groups.remove(1).leave()).await;
    // Its second join has another member id, which the others can derive.
    let again = soon("joins again", nodes[1].join("lobby")).await.expect("joins");
    soon("they meet again", groups[0].wait_for(2)).await;
    soon("they meet again", again.wait_for(2)).await;
    let receipt = again.send("back").await.expect("sends");
    soon("everyone has it", receipt.everyone()).await;
}

#[tokio::test]
async fn a_node_that_is_in_two_clusters_talks_in_both() {
    let (one, two) = (Authority::new(), Authority::new());
    let both = one.identity("xia");
    both.add(two.issue(&both, "xia", SystemTime::now()))
        .expect("a second cluster");
    let xia = bind("xia", &both).await;
    let ana = bind("ana", &one.identity("ana")).await;
    let bob = bind("bob", &two.identity("bob")).await;
    ana.meet(xia.addr());
    // Xia does not know of which cluster bob is.
    xia.meet(bob.addr());
    for (other, group) in [(&ana, "one"), (&bob, "two")] {
        let (x, y) = tokio::join!(xia.join(group), other.join(group));
        let groups = [x.expect("joins"), y.expect("joins")];
        for group in &groups {
            soon("they meet", group.wait_for(2)).await;
        }
        all_hear(&groups, "in this cluster").await;
    }
}

#[tokio::test]
async fn the_profile_behind_a_node_is_shown_to_those_that_are_linked() {
    let authority = Authority::new();
    let (signed, plain) = (authority.identity("ana"), authority.identity("bob"));
    let profile = SigningKey::from_bytes(&[4; 32]);
    let signature = profile.sign(&Profile::endorses(&signed.public_key())).to_bytes();
    let public = profile.verifying_key().to_bytes();
    signed.endorsed_by(public, signature).expect("it is over this key");
    let nodes = [bind("ana", &signed).await, bind("bob", &plain).await];
    nodes[1].meet(nodes[0].addr());
    let groups = joined(&nodes, "lobby").await;
    all_hear(&groups, "hello").await;
    let shown = nodes[1].profile(nodes[0].id()).expect("shown");
    assert_eq!(shown.key(), public);
    assert_eq!(nodes[0].profile(nodes[1].id()), None);
    assert_eq!(nodes[0].profile(authority::fresh().node_id()), None);
}
