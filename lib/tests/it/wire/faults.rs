//! Faults on purpose, over real sockets: what they delay, lose and cut is what a bad network would.

use std::time::Duration;

use futures::StreamExt;
use multicast::{Event, Explanation, Faults, MAX_DELAY, Node, Options, Sender};

use super::{assert_causal, deliveries, joined, soon, split};

const NONE: Duration = Duration::ZERO;

/// Three nodes; the last one has faults.
async fn nodes(faults: &Faults) -> Vec<Node> {
    let mut nodes = super::nodes(2).await;
    let last = Node::bind(Options::new("n2").with_faults(faults.clone())).await;
    nodes.push(last.expect("a free port on loopback"));
    nodes[2].meet(nodes[0].addr());
    nodes
}

#[tokio::test]
async fn an_answer_waits_for_its_question_that_is_late() {
    let faults = Faults::default();
    let nodes = nodes(&faults).await;
    let mut members = split(joined(&nodes, "lobby").await);
    let (tell, mut heard) = members.pop().expect("three");
    let (ana, mut hears) = members.pop().expect("two");
    let (bob, _ignored) = members.pop().expect("one");
    let late = Duration::from_millis(1_500);
    faults.delay(bob.me().id, late..=late).expect("a delay");
    let question = bob.send("question").await.expect("sent").dot();
    deliveries(&mut hears, 1).await;
    let answer = ana.send("answer").await.expect("sent").dot();
    loop {
        let event = soon("the answer is held", heard.next()).await.expect("an event");
        assert!(!matches!(event, Event::Delivered(_)), "{event:?}");
        if let Event::Held { dot, needs, .. } = event {
            assert_eq!((dot, needs), (answer, question));
            break;
        }
    }
    match tell.explain(answer).await {
        Explanation::Held { missing, .. } => assert_eq!(missing[0].span.origin, bob.me().id),
        other => panic!("{other:?}"),
    }
    // A ping is as late.
    let waited = soon("a ping", tell.ping(bob.me().id, MAX_DELAY))
        .await
        .expect("it answers");
    assert!(waited >= late, "{waited:?}");
    let log = deliveries(&mut heard, 2).await;
    assert_eq!((log[0].dot, log[1].dot), (question, answer));
    assert!(log[1].held_for > NONE);
    assert_causal(&log);
    faults.heal();
    let waited = soon("a ping", ana.ping(bob.me().id, MAX_DELAY)).await;
    assert!(waited.is_some_and(|waited| waited < late), "{waited:?}");
}

#[tokio::test]
async fn a_member_that_is_cut_off_hears_everything_when_that_heals() {
    let faults = Faults::default();
    let nodes = nodes(&faults).await;
    let mut members = split(joined(&nodes, "lobby").await);
    let (tell, mut heard) = members.pop().expect("three");
    let others: Vec<Sender> = members.iter().map(|(tell, _)| tell.clone()).collect();
    faults.cut(others.iter().map(|other| other.me().id)).expect("a cut");
    let unheard = others[0].send("unheard").await.expect("sent");
    let alone = tell.send("alone").await.expect("sent");
    assert_eq!(tell.ping(others[0].me().id, Duration::from_millis(300)).await, None);
    loop {
        match soon("silence", heard.next()).await.expect("an event") {
            Event::Silent(_) => break,
            Event::Delivered(delivery) => assert_eq!(delivery.dot, alone.dot()),
            _ => {}
        }
    }
    assert!(!tell.clock().covers(unheard.dot()) && !others[0].clock().covers(alone.dot()));
    faults.heal();
    soon("the others hear it", others[0].reached(&tell.clock())).await;
    soon("it hears the others", tell.reached(&others[0].clock())).await;
}

#[tokio::test]
async fn what_is_lost_half_of_the_time_arrives() {
    let faults = Faults::default();
    let nodes = nodes(&faults).await;
    let mut members = split(joined(&nodes, "lobby").await);
    let (_tell, mut heard) = members.pop().expect("three");
    for (other, _) in &members {
        faults.lose(other.me().id, 50).expect("a loss");
    }
    for nth in 0..40 {
        members[nth % 2].0.send(format!("{nth}")).await.expect("sent");
    }
    assert_causal(&deliveries(&mut heard, 40).await);
}
