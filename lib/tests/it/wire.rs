//! Real nodes over real sockets on loopback.

mod call;
mod faults;
mod hostile;
mod kept;
mod signed;
mod talk;

use std::time::Duration;

use futures::StreamExt;
use multicast::{Delivery, Event, Events, Group, Node, Options, Sender};
use tokio::time::timeout;

/// Longest wait for anything; far beyond what it takes, so that a slow machine does not fail a test.
const PATIENCE: Duration = Duration::from_secs(30);

/// Fails the test when the future takes too long, instead of hanging it.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("gave up waiting: {what}"),
    }
}

pub(crate) async fn node(name: &str) -> Node {
    Node::bind(Options::new(name)).await.expect("a free port on loopback")
}

/// Nodes that know the first one's address, and nothing else of each other.
pub(crate) async fn nodes(count: usize) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::new();
    for nth in 0..count {
        let node = node(&format!("n{nth}")).await;
        if let Some(first) = nodes.first() {
            node.meet(first.addr());
        }
        nodes.push(node);
    }
    nodes
}

/// All join at once and see each other.
pub(crate) async fn joined(nodes: &[Node], group: &str) -> Vec<Group> {
    let joins = nodes.iter().map(|node| node.join(group));
    let groups = soon("everyone joins", futures::future::join_all(joins)).await;
    let groups: Vec<Group> = groups.into_iter().map(|group| group.expect("joins")).collect();
    for group in &groups {
        soon("everyone meets", group.wait_for(nodes.len())).await;
    }
    groups
}

/// Reads deliveries until there are that many.
pub(crate) async fn deliveries(events: &mut Events, count: usize) -> Vec<Delivery> {
    let mut got = Vec::new();
    while got.len() < count {
        match soon("a delivery", events.next()).await {
            Some(Event::Delivered(delivery)) => got.push(delivery),
            Some(_) => {}
            None => panic!("the stream of events ended after {} of {count} deliveries", got.len()),
        }
    }
    got
}

pub(crate) fn split(groups: Vec<Group>) -> Vec<(Sender, Events)> {
    groups.into_iter().map(Group::split).collect()
}

/// Causal order seen from outside: in no log does a message stand before one that its clock covers.
pub(crate) fn assert_causal(log: &[Delivery]) {
    let mut seen = std::collections::BTreeMap::new();
    for delivery in log {
        let before = seen.insert(delivery.dot.origin, delivery.dot.seq);
        assert!(
            before.is_none_or(|seq| seq < delivery.dot.seq),
            "{} after {before:?}",
            delivery.dot
        );
    }
    for (nth, later) in log.iter().enumerate() {
        for earlier in &log[..nth] {
            assert!(!later.precedes(earlier), "{} stands after {}", later.dot, earlier.dot);
        }
    }
}
