//! Signed groups over real sockets, with real keys.

use futures::StreamExt;
use multicast::{Event, Node, Options};

use super::{assert_causal, deliveries, joined, soon, split};

async fn signing(name: &str, secret: u8) -> Node {
    let options = Options::new(name).with_signing_key([secret; 32]);
    Node::bind(options).await.expect("a free port on loopback")
}

async fn three() -> Vec<Node> {
    let nodes = vec![
        signing("ana", 1).await,
        signing("bob", 2).await,
        signing("eve", 3).await,
    ];
    nodes[1].meet(nodes[0].addr());
    nodes[2].meet(nodes[0].addr());
    nodes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signed_group_talks_as_any_other() {
    const EACH: usize = 300;
    let nodes = three().await;
    let members = split(joined(&nodes, "lobby").await);
    let mut tasks = Vec::new();
    for (tell, mut heard) in members {
        tasks.push(tokio::spawn(async move {
            let talker = tell.clone();
            let talk = tokio::spawn(async move {
                for nth in 0..EACH {
                    talker.hand_over(format!("message {nth}")).await.expect("handed over");
                }
            });
            let log = deliveries(&mut heard, 3 * EACH).await;
            talk.await.expect("talks");
            assert_causal(&log);
            (tell, heard)
        }));
    }
    let mut keep = Vec::new();
    for task in tasks {
        keep.push(task.await.expect("no panic"));
    }
    // A second join has a key of its own number.
    keep[2].0.leave_with("", super::PATIENCE).await;
    keep.truncate(2);
    let again = soon("joins again", nodes[2].join("lobby")).await.expect("joins");
    again.send("again").await.expect("sends");
    for (_, heard) in &mut keep {
        assert_eq!(&deliveries(heard, 1).await[0].payload[..], b"again");
    }
}

#[tokio::test]
async fn two_processes_on_one_key_are_told_with_the_proof() {
    let nodes = three().await;
    let members = split(joined(&nodes, "lobby").await);
    // A copy of eve, who never heard of her.
    let copy = signing("eve", 3).await;
    let founded = copy.join("lobby").await.expect("founds");
    for nth in 0..3 {
        founded.send(format!("copy {nth}")).await.expect("sends");
        members[2].0.send(format!("eve {nth}")).await.expect("sends");
    }
    let eve = founded.me().id;
    copy.meet(nodes[0].addr());
    copy.meet(nodes[1].addr());
    let mut heards: Vec<_> = members.into_iter().map(|(tell, heard)| (Some(tell), heard)).collect();
    let (tell, heard) = founded.split();
    heards.push((Some(tell), heard));
    for (nth, (_tell, heard)) in heards.iter_mut().enumerate() {
        loop {
            match soon(&format!("the proof, at member {nth}"), heard.next())
                .await
                .expect("goes on until then")
            {
                Event::Equivocation { member, proof, .. } => {
                    assert_eq!((member.id, proof.member), (eve, eve));
                    proof.verify().expect("a proof");
                    break;
                }
                _ => continue,
            }
        }
    }
    // The others go on.
    let (tell, _) = &heards[0];
    tell.as_ref().expect("kept").send("without eve").await.expect("sends");
    assert_eq!(&last(&mut heards[1].1).await[..], b"without eve");
}

/// Who found the proof tells it, and then has no links to that key any more, also if it comes as a new member.
#[tokio::test]
async fn whoever_is_expelled_hears_why_and_is_cut_off() {
    let nodes = three().await;
    let members = split(joined(&nodes, "lobby").await);
    let copy = signing("eve", 3).await;
    let mut founded = copy.join("lobby").await.expect("founds");
    for nth in 0..3 {
        founded.send(format!("copy {nth}")).await.expect("sends");
        members[2].0.send(format!("eve {nth}")).await.expect("sends");
    }
    copy.meet(nodes[0].addr());
    loop {
        match soon("the proof, at the copy", founded.next()).await {
            Some(Event::Equivocation { .. }) => break,
            Some(_) => {}
            None => panic!("it ended without a word"),
        }
    }
    drop(founded);
    let _again = soon("joins again", copy.join("lobby")).await.expect("joins");
    soon("it is cut off", async {
        while !copy.links().into_iter().any(|link| link.denied) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    members[0].0.send("without eve").await.expect("sends");
}

async fn last(heard: &mut multicast::Events) -> bytes::Bytes {
    loop {
        let delivery = deliveries(heard, 1).await.remove(0);
        if !delivery.payload.starts_with(b"eve") && !delivery.payload.starts_with(b"copy") {
            return delivery.payload;
        }
    }
}
