//! What people do: join, talk, answer, leave, come back.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::StreamExt;
use multicast::{Event, SendError};
use tokio::task::JoinSet;

use super::{assert_causal, deliveries, joined, node, nodes, soon, split};

const EACH: usize = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everyone_delivers_the_same_set_in_causal_order() {
    let nodes = nodes(4).await;
    let members = split(joined(&nodes, "lobby").await);
    let spawn = |(tell, mut heard): (multicast::Sender, multicast::Events)| {
        tokio::spawn(async move {
            let talker = tell.clone();
            let talk = tokio::spawn(async move {
                for nth in 0..EACH {
                    talker.send(format!("message {nth}")).await.expect("sends");
                }
            });
            let log = deliveries(&mut heard, 4 * EACH).await;
            talk.await.expect("talks");
            (tell, heard, log)
        })
    };
    let tasks: Vec<_> = members.into_iter().map(spawn).collect();
    let mut sets = BTreeSet::new();
    let mut keep = Vec::new();
    for task in tasks {
        let (tell, heard, log) = task.await.expect("no panic");
        assert_causal(&log);
        let mut dots: Vec<_> = log
            .iter()
            .map(|delivery| (delivery.dot, delivery.payload.clone(), delivery.lamport))
            .collect();
        dots.sort();
        sets.insert(dots);
        keep.push((tell, heard));
    }
    assert_eq!(sets.len(), 1, "all delivered the same, with the same stamps");
}

#[tokio::test]
async fn an_answer_never_comes_before_its_question() {
    let nodes = nodes(3).await;
    let mut members = split(joined(&nodes, "lobby").await);
    for round in 0..20 {
        let (asker, answerer) = (round % 3, (round + 1) % 3);
        members[asker].0.send(format!("question {round}")).await.expect("sends");
        let question = deliveries(&mut members[answerer].1, 1).await.remove(0);
        let receipt = members[answerer]
            .0
            .send(format!("answer {round}"))
            .await
            .expect("sends");
        for (nth, (_, heard)) in members.iter_mut().enumerate() {
            let log = deliveries(heard, if nth == answerer { 1 } else { 2 }).await;
            let answer = log.last().expect("at least one");
            assert_eq!(&answer.payload[..], format!("answer {round}").as_bytes());
            assert!(question.precedes(answer) && !answer.precedes(&question));
        }
        soon("everyone has it", receipt.everyone()).await;
        assert_eq!(receipt.progress(), (3, 3));
    }
}

#[tokio::test]
async fn founders_who_meet_later_become_one_group() {
    let (ana, bob) = (node("ana").await, node("bob").await);
    let (mut a, mut b) = (
        ana.join("lobby").await.expect("founds"),
        bob.join("lobby").await.expect("founds"),
    );
    a.send("alone at a").await.expect("sends");
    b.send("alone at b").await.expect("sends");
    bob.meet(ana.addr());
    for group in [&mut a, &mut b] {
        soon("they meet", group.wait_for(2)).await;
    }
    let (_a, mut heard_a) = a.split();
    let (_b, mut heard_b) = b.split();
    let texts = |log: Vec<multicast::Delivery>| log.into_iter().map(|m| m.payload).collect::<BTreeSet<_>>();
    assert_eq!(
        texts(deliveries(&mut heard_a, 2).await),
        texts(deliveries(&mut heard_b, 2).await)
    );
}

#[tokio::test]
async fn a_leave_is_told_to_everyone_and_a_return_is_a_new_member() {
    let nodes = nodes(2).await;
    let mut groups = joined(&nodes, "lobby").await;
    let first = groups[1].me();
    let leaver = groups.pop().expect("two");
    let unconfirmed = soon("leaves", leaver.leave_with("tired", super::PATIENCE)).await;
    assert_eq!(unconfirmed, []);
    assert_eq!(leaver.send("after").await.expect_err("left"), SendError::Left);
    let stayer = &mut groups[0];
    loop {
        match soon("the leave", stayer.next()).await.expect("goes on") {
            Event::Left { member, reason, .. } => {
                assert_eq!((member.id, reason.as_str()), (first.id, "tired"));
                break;
            }
            _ => continue,
        }
    }
    assert_eq!(stayer.members().len(), 1);
    drop(leaver);
    let again = soon("joins again", nodes[1].join("lobby")).await.expect("joins");
    assert_ne!(again.me().id, first.id);
    soon("they meet again", stayer.wait_for(2)).await;
}

#[tokio::test]
async fn a_joiner_starts_at_a_cut_and_misses_nothing_after_it() {
    let nodes = nodes(2).await;
    let (talker, quiet) = nodes[0].join("lobby").await.expect("founds").split();
    drop(quiet);
    let (stop, mut stopped) = tokio::sync::oneshot::channel();
    let talk = tokio::spawn(async move {
        let mut last = 0u32;
        while stopped.try_recv().is_err() {
            last += 1;
            talker.send(format!("{last}")).await.expect("sends");
        }
        last += 1;
        talker.send(format!("{last}")).await.expect("sends");
        (talker, last)
    });
    let (_tell, mut heard) = soon("joins", nodes[1].join("lobby")).await.expect("joins").split();
    stop.send(()).expect("still talks");
    let (_talker, last) = talk.await.expect("talks");
    // Whatever was after the cut is there without a hole, up to the last one.
    let mut texts: Vec<u32> = Vec::new();
    while texts.last() != Some(&last) {
        let delivery = deliveries(&mut heard, 1).await.remove(0);
        texts.push(
            std::str::from_utf8(&delivery.payload)
                .expect("text")
                .parse()
                .expect("a number"),
        );
    }
    assert!(texts.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{texts:?}");
}

#[tokio::test]
async fn who_does_not_read_is_behind_and_loses_nothing() {
    let nodes = nodes(2).await;
    let mut members = split(joined(&nodes, "lobby").await);
    let (reader, sleeper) = (members.remove(0), members.remove(0));
    let (tell, mut heard) = sleeper;
    // Everyone reads but this member: sooner or later its own sends fail at once instead of waiting for itself.
    let drain = tokio::spawn(async move {
        let (_tell, mut heard) = reader;
        let mut count = 0u64;
        while let Some(event) = heard.next().await {
            count += u64::from(matches!(event, Event::Delivered(_)));
        }
        count
    });
    let mut sent = 0usize;
    let error = loop {
        match soon("sends or fails", tell.send("unread")).await {
            Ok(_) => sent += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error, SendError::Behind);
    assert_eq!(deliveries(&mut heard, sent).await.len(), sent);
    let again = soon("sends again", async {
        loop {
            match tell.send("read").await {
                Ok(receipt) => break receipt,
                Err(SendError::Behind) => drop(deliveries(&mut heard, 0).await),
                Err(other) => panic!("{other}"),
            }
            tokio::task::yield_now().await;
        }
    });
    soon("everyone has it", again.await.everyone()).await;
    for node in nodes {
        node.shutdown().await;
    }
    assert_eq!(drain.await.expect("no panic"), sent as u64 + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_handed_over_before_a_leave_is_said_first() {
    const MANY: usize = 3000;
    let nodes = nodes(2).await;
    let mut members = split(joined(&nodes, "lobby").await);
    let ((tell, _own), (_other, mut heard)) = (members.remove(0), members.remove(0));
    for nth in 0..MANY {
        soon("there is room", tell.hand_over(format!("message {nth}")))
            .await
            .expect("handed over");
    }
    let (unconfirmed, log) = tokio::join!(
        tell.leave_with("", Duration::from_secs(20)),
        deliveries(&mut heard, MANY)
    );
    assert!(unconfirmed.is_empty(), "{unconfirmed:?}");
    let said = log.iter().map(|delivery| delivery.payload.clone());
    assert!(said.eq((0..MANY).map(|nth| format!("message {nth}"))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_handed_over_and_not_sent_is_counted() {
    for round in 0..6 {
        let nodes = nodes(2).await;
        let mut members = split(joined(&nodes, "lobby").await);
        let ((tell, mut own), _other) = (members.remove(0), members.remove(0));
        let mut talker = JoinSet::new();
        let hasty = tell.clone();
        talker.spawn(async move {
            let mut handed_over = 0u64;
            loop {
                match hasty.hand_over("now or never").await {
                    Ok(()) => handed_over += 1,
                    Err(SendError::Behind) => tokio::task::yield_now().await,
                    Err(_) => return handed_over,
                }
            }
        });
        let me = tell.me().id;
        let (mut sent, mut unsent, mut leaving) = (0u64, 0, false);
        while let Some(event) = soon("an event", own.next()).await {
            match event {
                Event::Delivered(delivery) => sent += u64::from(delivery.dot.origin == me),
                Event::Unsent { messages } => unsent = messages,
                _ => {}
            }
            if sent > 100 * round && !std::mem::replace(&mut leaving, true) {
                let tell = tell.clone();
                tokio::spawn(async move { tell.leave_with("", Duration::ZERO).await });
            }
        }
        let handed_over = talker.join_next().await.expect("one").expect("no panic");
        assert_eq!(sent + unsent, handed_over, "{sent} sent, {unsent} unsent");
    }
}

#[tokio::test]
async fn reached_waits_for_a_clock_from_another_channel() {
    let nodes = nodes(2).await;
    let groups = joined(&nodes, "lobby").await;
    groups[0].send("first").await.expect("sends");
    let clock = groups[0].clock();
    soon("the other one reaches it", groups[1].reached(&clock)).await;
    assert!(groups[1].clock().dominates(&clock));
}

#[tokio::test]
async fn too_long_is_refused_and_nothing_changed() {
    let ana = node("ana").await;
    let group = ana.join("lobby").await.expect("founds");
    let before = group.clock();
    let error = group
        .send(vec![0u8; multicast::MAX_PAYLOAD + 1])
        .await
        .expect_err("too long");
    assert!(matches!(error, SendError::TooLong { .. }), "{error}");
    assert_eq!(group.clock(), before);
    group.send(vec![0u8; multicast::MAX_PAYLOAD]).await.expect("just fits");
}

#[tokio::test]
async fn a_peer_that_cannot_be_dialled_is_served_over_its_own_connection() {
    let ana = node("ana").await;
    // Nobody listens where others are told to find bob, as behind a NAT.
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("bound");
    let bob = multicast::Options::new("bob").with_advertise(nowhere);
    let bob = multicast::Node::bind(bob).await.expect("binds");
    bob.meet(ana.addr());
    let nodes = [ana, bob];
    let mut members = split(joined(&nodes, "lobby").await);
    for round in 0..5 {
        members[round % 2]
            .0
            .send(format!("round {round}"))
            .await
            .expect("sends");
        for (_, heard) in &mut members {
            let log = deliveries(heard, 1).await;
            assert_eq!(&log[0].payload[..], format!("round {round}").as_bytes());
        }
    }
    let receipt = members[0].0.send("has everyone got it?").await.expect("sends");
    soon("everyone has it", receipt.everyone()).await;
}

#[tokio::test]
async fn a_node_counts_what_it_sends_and_receives() {
    const PAYLOAD: usize = 10_000;
    let nodes = nodes(2).await;
    let members = split(joined(&nodes, "lobby").await);
    let before = (nodes[0].traffic(), nodes[1].traffic());
    let receipt = members[0].0.send(vec![7; PAYLOAD]).await.expect("sends");
    soon("the other one has it", receipt.everyone()).await;
    let sent = nodes[0].traffic().sent_bytes - before.0.sent_bytes;
    let received = nodes[1].traffic().received_bytes - before.1.received_bytes;
    for bytes in [sent, received] {
        assert!(
            (PAYLOAD as u64..2 * PAYLOAD as u64).contains(&bytes),
            "{bytes} bytes for a message of {PAYLOAD}"
        );
    }
}
