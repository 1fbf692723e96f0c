//! Group RPC over real sockets.

use std::time::Duration;

use futures::StreamExt;
use multicast::{Collect, Event, Events, Replies};
use tokio::task::JoinHandle;

use super::{PATIENCE, joined, nodes, soon, split};

/// Replies to every request with its double, as long as events come.
fn doubler(mut events: Events) -> JoinHandle<()> {
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            if let Event::Called(request) = event {
                let number: u32 = request.read().expect("a number");
                request.reply(&(number * 2)).await.expect("fits");
            }
        }
    })
}

#[tokio::test]
async fn everyone_replies_to_a_call() {
    let nodes = nodes(3).await;
    let mut members = split(joined(&nodes, "lobby").await);
    let (caller, quiet) = members.remove(0);
    drop(quiet);
    let mut names = Vec::new();
    let mut doublers = Vec::new();
    for (tell, heard) in members {
        names.push(tell.me().name);
        doublers.push((doubler(heard), tell));
    }
    let replies: Replies<u32> = soon("replies", caller.call(&21u32, Collect::All, PATIENCE))
        .await
        .expect("sent");
    assert!(replies.complete && replies.missing.is_empty());
    let mut who: Vec<_> = replies
        .replies
        .iter()
        .map(|reply| (reply.0.name.clone(), reply.1))
        .collect();
    who.sort();
    names.sort();
    assert_eq!(who, names.into_iter().map(|name| (name, 42)).collect::<Vec<_>>());
}

#[tokio::test]
async fn who_does_not_reply_is_named() {
    let nodes = nodes(3).await;
    let mut members = split(joined(&nodes, "lobby").await);
    let (caller, quiet) = members.remove(0);
    drop(quiet);
    let (silent, _unread) = members.remove(0);
    let (tell, heard) = members.remove(0);
    let _doubler = doubler(heard);
    let first: Replies<u32> = soon("a reply", caller.call(&1u32, Collect::First(1), PATIENCE))
        .await
        .expect("sent");
    assert_eq!((first.complete, first.replies[0].0.id), (true, tell.me().id));
    let majority: Replies<u32> = soon("a reply", caller.call(&2u32, Collect::Majority, PATIENCE))
        .await
        .expect("sent");
    assert!(majority.complete && majority.replies[0].1 == 4);
    let all: Replies<u32> = soon(
        "the deadline",
        caller.call(&3u32, Collect::All, Duration::from_millis(300)),
    )
    .await
    .expect("sent");
    assert!(!all.complete);
    assert_eq!(
        all.missing.iter().map(|member| member.id).collect::<Vec<_>>(),
        [silent.me().id]
    );
}

#[tokio::test]
async fn who_leaves_is_not_waited_for() {
    let nodes = nodes(2).await;
    let mut members = split(joined(&nodes, "lobby").await);
    let (caller, quiet) = members.remove(0);
    drop(quiet);
    let (leaver, mut heard) = members.remove(0);
    let leaving = tokio::spawn(async move {
        loop {
            if let Some(Event::Called(_)) = heard.next().await {
                leaver.leave_with("no time", PATIENCE).await;
                break;
            }
        }
    });
    let replies: Replies<u32> = soon("an end", caller.call(&1u32, Collect::All, PATIENCE))
        .await
        .expect("sent");
    assert!(replies.complete && replies.replies.is_empty());
    leaving.await.expect("no panic");
}
