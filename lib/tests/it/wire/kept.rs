//! Nodes with stores that end without a word, and begin again.

use std::sync::mpsc::{Receiver, Sender, channel};

use futures::StreamExt;
use multicast::store::{Canonical, Change, MemoryStore, Page, Saved, Size, Store, StoreError, Stored};
use multicast::{BindError, Dot, Event, Events, GroupId, Node, Options, SendError};

use super::{PATIENCE, deliveries, node, soon};

/// A store that says what it has written, and returns only when it is told to.
struct Gated {
    inner: Box<dyn Store>,
    written: Sender<usize>,
    go_on: Receiver<Result<(), StoreError>>,
}

impl Store for Gated {
    fn apply(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        self.inner.apply(changes)?;
        let own = changes
            .iter()
            .filter(|change| matches!(change, Change::Append { message, .. } if message.own));
        let _ = self.written.send(own.count());
        // Nobody is there any more to tell: as if it had been told to go on.
        self.go_on.recv().unwrap_or(Ok(()))
    }

    fn load(&mut self, group: GroupId, budget: u64) -> Result<Option<Saved>, StoreError> {
        self.inner.load(group, budget)
    }

    fn read(&mut self, group: GroupId, page: Page, limit: usize) -> Result<Vec<Stored>, StoreError> {
        self.inner.read(group, page, limit)
    }

    fn search(
        &mut self,
        group: GroupId,
        words: &str,
        before: Option<Canonical>,
        limit: usize,
    ) -> Result<Vec<Stored>, StoreError> {
        self.inner.search(group, words, before, limit)
    }

    fn get(&mut self, group: GroupId, dot: Dot) -> Result<Option<Stored>, StoreError> {
        self.inner.get(group, dot)
    }

    fn size(&mut self, group: GroupId) -> Result<Size, StoreError> {
        self.inner.size(group)
    }

    fn groups(&mut self) -> Result<Vec<GroupId>, StoreError> {
        self.inner.groups()
    }
}

fn options(name: &str, memory: &MemoryStore, signing: Option<[u8; 32]>) -> Options {
    let options = Options::new(name).with_store(memory.open().expect("it is free"));
    match signing {
        Some(secret) => options.with_signing_key(secret),
        None => options,
    }
}

async fn kept_node(name: &str, memory: &MemoryStore) -> Node {
    Node::bind(options(name, memory, None)).await.expect("a free port")
}

/// The node is gone without a word.
fn crash(node: Node, memory: &MemoryStore) {
    drop(node);
    memory.wait_until_free();
}

async fn texts(events: &mut Events, count: usize) -> Vec<String> {
    let got = deliveries(events, count).await;
    got.iter()
        .map(|delivery| String::from_utf8_lossy(&delivery.payload).into_owned())
        .collect()
}

/// The sender dies when its message is on the disk, and before anybody was told.
async fn dies_with_the_last_word(signed: bool) {
    let secret = |n: u8| signed.then_some([n; 32]);
    let memory = MemoryStore::new();
    let (written, writes) = channel();
    let (open, go_on) = channel();
    let inner: Box<dyn Store> = Box::new(memory.open().expect("it is free"));
    let gated = Gated { inner, written, go_on };
    let plain = match secret(1) {
        Some(secret) => Options::new("bob").with_signing_key(secret),
        None => Options::new("bob"),
    };
    let bob = Node::bind(plain).await.expect("a free port");
    let (_tell, mut heard) = bob.join("lobby").await.expect("joins").split();
    let options = Options::new("ana").with_store(gated);
    let options = match secret(2) {
        Some(secret) => options.with_signing_key(secret),
        None => options,
    };
    let ana = Node::bind(options).await.expect("a free port");
    ana.meet(bob.addr());
    let (go, keep_going) = (
        open.clone(),
        std::thread::spawn(move || {
            // Until it has written one's own message for the third time: the join, "first", and "last".
            let mut own = 0;
            while own < 3 {
                own += writes.recv_timeout(PATIENCE).expect("it writes");
                if own < 3 {
                    open.send(Ok(())).expect("it waits");
                }
            }
        }),
    );
    let (tell, _events) = ana.join("lobby").await.expect("joins").split();
    soon("both are there", tell.wait_for(2)).await;
    soon("sent", tell.send("first")).await.expect("kept");
    assert_eq!(texts(&mut heard, 1).await, ["first"]);
    let last = tokio::spawn(async move { tell.send("last").await });
    let written = tokio::task::spawn_blocking(move || keep_going.join());
    soon("it is on the disk", written)
        .await
        .expect("no panic")
        .expect("no panic");
    drop(ana);
    let lost = soon("nobody confirms it", last).await.expect("no panic");
    assert!(lost.is_err(), "it was not confirmed: {lost:?}");
    drop(go);
    memory.wait_until_free();

    let again = Node::bind(self::options("ana", &memory, secret(3)))
        .await
        .expect("a free port");
    again.meet(bob.addr());
    let back = soon("it is back", again.join("lobby")).await.expect("joins");
    assert_eq!(texts(&mut heard, 1).await, ["last"]);
    let me = back.me().id;
    loop {
        match soon("it joins after that", heard.next()).await.expect("goes on") {
            Event::Joined { member, .. } if member.id == me => break,
            Event::Delivered(delivery) => panic!("again: {delivery:?}"),
            _ => {}
        }
    }
    soon("sent", back.send("new")).await.expect("kept");
    assert_eq!(texts(&mut heard, 1).await, ["new"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_on_the_disk_reaches_the_others_in_its_place() {
    dies_with_the_last_word(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_on_the_disk_reaches_the_others_signed() {
    dies_with_the_last_word(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_of_them_begin_again_and_have_the_same_history() {
    let memories: Vec<MemoryStore> = (0..3).map(|_| MemoryStore::new()).collect();
    for round in 0..3 {
        let mut nodes: Vec<Node> = Vec::new();
        for (nth, memory) in memories.iter().enumerate() {
            let node = kept_node(&format!("n{nth}"), memory).await;
            if let Some(first) = nodes.first() {
                node.meet(first.addr());
            }
            nodes.push(node);
        }
        let groups = super::joined(&nodes, "lobby").await;
        for (nth, group) in groups.iter().enumerate() {
            for word in 0..5 {
                let sent = soon("sent", group.send(format!("{round} {nth} {word}"))).await;
                soon("all have it", sent.expect("kept").everyone()).await;
            }
        }
        let clock = groups[0].clock();
        for group in &groups {
            soon("all have all", group.reached(&clock)).await;
        }
        // What others said is on the disk a little later than it is delivered.
        for group in &groups {
            soon("kept", group.send("kept")).await.expect("kept");
        }
        for (node, memory) in nodes.into_iter().zip(&memories) {
            soon("ends", node.shutdown()).await;
            memory.wait_until_free();
        }
    }
    let group = GroupId::named("lobby");
    let history = |memory: &MemoryStore| {
        let mut store = memory.open().expect("it is free");
        let all = store.read(group, Page::Before(None), 10_000).expect("readable");
        all.into_iter()
            .filter(|stored| stored.payload.len() == 5)
            .map(|stored| stored.payload)
            .collect::<Vec<_>>()
    };
    let first = history(&memories[0]);
    assert_eq!(first.len(), 3 * 3 * 5);
    assert!(memories.iter().all(|memory| history(memory) == first));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_acknowledged_is_handed_out_again_in_order() {
    let memory = MemoryStore::new();
    let bob = node("bob").await;
    let (tell, _quiet) = bob.join("lobby").await.expect("joins").split();
    let ana = kept_node("ana", &memory).await;
    ana.meet(bob.addr());
    let (me, mut heard) = ana.join("lobby").await.expect("joins").split();
    for nth in 0..6 {
        soon("sent", tell.send(format!("{nth}"))).await.expect("sends");
    }
    assert_eq!(texts(&mut heard, 3).await, ["0", "1", "2"]);
    let place = heard.place();
    assert!(place > 0);
    assert_eq!(texts(&mut heard, 3).await, ["3", "4", "5"]);
    me.acknowledge(place);
    // What is said after it is kept after it.
    soon("kept", me.send("mine")).await.expect("kept");
    crash(ana, &memory);

    let ana = kept_node("ana", &memory).await;
    ana.meet(bob.addr());
    let (me, mut heard) = soon("back", ana.join("lobby")).await.expect("joins").split();
    let mut again = Vec::new();
    loop {
        match soon("an event", heard.next()).await.expect("goes on") {
            Event::Replayed(event) => match *event {
                Event::Delivered(delivery) => again.push(String::from_utf8_lossy(&delivery.payload).into_owned()),
                other => panic!("{other:?}"),
            },
            Event::Joined { member, .. } if member.id == me.me().id => break,
            Event::Delivered(delivery) => panic!("before what is old: {delivery:?}"),
            _ => {}
        }
    }
    assert_eq!(again, ["3", "4", "5", "mine"]);
    me.acknowledge(heard.place());
    soon("ends", ana.shutdown()).await;
    let mut store = memory.open().expect("closed by the shutdown");
    let saved = store.load(GroupId::named("lobby"), 0).expect("readable").expect("kept");
    assert_eq!(saved.acknowledged, saved.messages[0].place - 1, "all but its leave");
}

#[tokio::test]
async fn a_store_is_for_one_node() {
    let memory = MemoryStore::new();
    let options = options("ana", &memory, None);
    assert!(matches!(memory.open().map(drop), Err(StoreError::Locked { .. })));
    let first = Node::bind(options.clone()).await.expect("a free port");
    assert!(matches!(Node::bind(options).await, Err(BindError::StoreInUse)));
    crash(first, &memory);
    kept_node("ana", &memory).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_fails_ends_the_group_and_says_what_to_do() {
    let memory = MemoryStore::new();
    let (written, _writes) = channel();
    let (open, go_on) = channel();
    let inner: Box<dyn Store> = Box::new(memory.open().expect("it is free"));
    let full = StoreError::Full {
        place: "/disk".into(),
        what: "no space left".into(),
    };
    for answer in [Ok(()), Err(full.clone())] {
        open.send(answer).expect("it listens");
    }
    let gated = Gated { inner, written, go_on };
    let node = Node::bind(Options::new("ana").with_store(gated))
        .await
        .expect("a free port");
    let (tell, mut heard) = node.join("lobby").await.expect("joins").split();
    // Told when it is kept: what is sent now is in another batch.
    while !matches!(soon("an event", heard.next()).await, Some(Event::Joined { .. })) {}
    let refused = soon("refused", tell.send("too much")).await.expect_err("not kept");
    assert!(matches!(refused, SendError::NotKept | SendError::Left), "{refused}");
    let mut last = None;
    while let Some(event) = soon("an event", heard.next()).await {
        last = Some(event);
    }
    assert_eq!(last, Some(Event::StoreFailed { error: full }));
}

/// One comes late, and asks the others for what was said before.
async fn comes_late(signed: bool) {
    const SAID: usize = 700;
    let secret = |n: u8| signed.then_some([n; 32]);
    let (early, late) = (MemoryStore::new(), MemoryStore::new());
    let ana = Node::bind(options("ana", &early, secret(1)))
        .await
        .expect("a free port");
    let (tell, mut heard) = ana.join("lobby").await.expect("joins").split();
    for nth in 0..SAID {
        soon("sent", tell.hand_over(format!("{nth:01000}")))
            .await
            .expect("handed over");
    }
    deliveries(&mut heard, SAID).await;
    let bob = Node::bind(options("bob", &late, secret(2))).await.expect("a free port");
    bob.meet(ana.addr());
    let (me, mut events) = soon("in", bob.join("lobby")).await.expect("joins").split();
    soon("said", me.send("late")).await.expect("kept");
    deliveries(&mut heard, 1).await;
    me.recall().await;
    let mut recalled = 0;
    loop {
        match soon("history", events.next()).await.expect("goes on") {
            Event::Recalled { messages } => recalled += messages.len(),
            Event::RecallOver { missing } => {
                assert_eq!(missing, 0);
                break;
            }
            _ => {}
        }
    }
    assert_eq!(recalled, SAID + 1, "and the join");
    let recall = tell.recall();
    soon("nothing lies before the founder", recall).await;
    let over = soon("told", async {
        loop {
            if let Some(Event::RecallOver { missing }) = heard.next().await {
                break missing;
            }
        }
    });
    assert_eq!(over.await, 0);
    soon("kept", me.send("kept")).await.expect("kept");
    deliveries(&mut heard, 1).await;
    soon("kept", tell.send("kept")).await.expect("kept");
    soon("ends", bob.shutdown()).await;
    soon("ends", ana.shutdown()).await;
    let history = |memory: &MemoryStore| {
        let mut store = memory.open().expect("it is free");
        let all = store
            .read(GroupId::named("lobby"), Page::Before(None), 10_000)
            .expect("readable");
        let said = all
            .into_iter()
            .filter(|stored| stored.payload.len() >= 1000 || &stored.payload[..] == b"late");
        said.map(|stored| {
            (
                stored.dot,
                stored.lamport,
                stored.clock,
                stored.payload,
                stored.proof.is_empty(),
            )
        })
        .collect::<Vec<_>>()
    };
    assert_eq!(history(&early).len(), SAID + 1);
    assert!(history(&early) == history(&late), "one history");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_late_has_the_same_history() {
    comes_late(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_late_has_the_same_signed_history() {
    comes_late(true).await;
}
