//! Whoever is evicted is out, at every member that hears of it.

use futures::StreamExt;
use multicast::{Contact, Event, JoinError};

use super::authority::Authority;
use super::{all_hear, log, nodes};
use crate::wire::{joined, soon};

#[tokio::test]
async fn the_evicted_are_cut_off_and_closed() {
    log::listen();
    let nodes = nodes(&Authority::new(), &["ana", "bob", "eve"]).await;
    let mut groups = joined(&nodes, "lobby").await;
    all_hear(&groups, "before").await;
    let (eve, outcast) = (nodes[2].id(), groups.pop().expect("three"));
    for node in &nodes[..2] {
        node.contacts(futures::stream::iter([Contact::Evicted { node: eve }]));
    }
    // Both say so, and then refuse it.
    for _ in 0..2 {
        assert!(log::line("evicted").await.contains(&eve.short()));
    }
    for group in &mut groups {
        loop {
            match soon("the end of eve", group.next()).await.expect("goes on") {
                Event::Closed { origin, .. } if origin.id == outcast.me().id => break,
                _ => {}
            }
        }
    }
    outcast.send("let me in").await.expect("delivered to itself");
    let refused = log::line("connection refused").await;
    assert!(refused.contains("it was evicted"), "{refused}");
    all_hear(&groups, "after").await;
    assert_eq!(groups[0].members().len(), 2);
    let why = soon("its links say why", async {
        loop {
            let links = nodes[2].links();
            if let Some(why) = links
                .into_iter()
                .filter(|link| link.denied)
                .filter_map(|link| link.trouble)
                .find(|why| why.contains("evicted"))
            {
                return why;
            }
            tokio::task::yield_now().await;
        }
    });
    assert!(why.await.contains("the other side refuses: this node was evicted"));
}

#[tokio::test]
async fn whoever_hears_of_its_own_eviction_is_told_and_stops() {
    log::listen();
    let nodes = nodes(&Authority::new(), &["ana", "eve"]).await;
    let mut groups = joined(&nodes, "lobby").await;
    let mut outcast = groups.pop().expect("two");
    let node = nodes[1].id();
    nodes[1].contacts(futures::stream::iter([Contact::Evicted { node }]));
    loop {
        match soon("the end", outcast.next()).await {
            Some(Event::Evicted) => break,
            Some(_) => {}
            None => panic!("it ended without a word"),
        }
    }
    assert!(soon("the end", outcast.next()).await.is_none());
    assert!(outcast.send("still there?").await.is_err());
    let refused = nodes[1].join("another").await.err();
    assert!(matches!(refused, Some(JoinError::Evicted)), "{refused:?}");
    log::line("this node was evicted").await;
}
