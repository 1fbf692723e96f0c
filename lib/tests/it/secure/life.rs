//! Certificates end, and are renewed; a group lives longer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use multicast::{Group, Identity, Node, Options};

use super::authority::{self, Authority, DAY};
use super::relay::{Relay, free};
use super::{all_hear, bind, log};
use crate::wire::{joined, soon};

/// A wall clock that a test can put forward.
#[derive(Clone, Default)]
struct Wall(Arc<AtomicU64>);

impl Wall {
    fn now(&self) -> SystemTime {
        SystemTime::now() + Duration::from_secs(self.0.load(Ordering::Relaxed))
    }

    fn pass(&self, time: Duration) {
        self.0.fetch_add(time.as_secs(), Ordering::Relaxed);
    }

    fn identity(&self) -> Identity {
        let wall = self.clone();
        authority::fresh().with_clock(move || wall.now())
    }
}

/// Three members whose links can be cut.
struct Mesh {
    authority: Authority,
    wall: Wall,
    identities: Vec<Identity>,
    relays: Vec<Relay>,
    nodes: Vec<Node>,
    groups: Vec<Group>,
}

const NAMES: [&str; 3] = ["ana", "bob", "cyd"];

impl Mesh {
    async fn new() -> Self {
        log::listen();
        let (authority, wall) = (Authority::new(), Wall::default());
        let (mut identities, mut relays, mut nodes) = (Vec::new(), Vec::<Relay>::new(), Vec::<Node>::new());
        for name in NAMES {
            let identity = wall.identity();
            let credential = authority.issue(&identity, name, wall.now());
            identity.add(credential).expect("a good credential");
            let listen = free();
            let relay = Relay::to(listen).await;
            let options = Options::new(name).with_listen(listen).with_advertise(relay.addr);
            let node = Node::bind(options.with_identity(identity.clone()))
                .await
                .expect("the port is free");
            if let Some(first) = relays.first() {
                node.meet(first.addr);
            }
            identities.push(identity);
            relays.push(relay);
            nodes.push(node);
        }
        let groups = joined(&nodes, "lobby").await;
        all_hear(&groups, "before").await;
        Self {
            authority,
            wall,
            identities,
            relays,
            nodes,
            groups,
        }
    }

    fn cut(&self) {
        self.relays.iter().for_each(Relay::cut);
    }

    fn renew(&self) {
        for (identity, name) in self.identities.iter().zip(NAMES) {
            let credential = self.authority.issue(identity, name, self.wall.now());
            identity.add(credential).expect("a good credential");
        }
    }
}

#[tokio::test]
async fn a_group_outlives_its_certificates_and_its_links_reconnect() {
    let mesh = Mesh::new().await;
    mesh.wall.pass(3 * DAY);
    all_hear(&mesh.groups, "on links that stand").await;
    for _ in 0..3 {
        mesh.cut();
        all_hear(&mesh.groups, "on links made anew").await;
    }
    assert_eq!(log::rest(), Vec::<String>::new(), "nobody was refused");
}

#[tokio::test]
async fn expiry_bars_newcomers() {
    let mesh = Mesh::new().await;
    // Its own clock stands still: it sees nothing wrong with anybody.
    let identity = mesh.authority.identity("dan");
    let dan = bind("dan", &identity).await;
    mesh.wall.pass(2 * DAY);
    dan.meet(mesh.nodes[0].addr());
    let alone = soon("founds a group of its own", dan.join("lobby"))
        .await
        .expect("joins");
    let line = log::line("connection refused").await;
    assert!(
        line.contains("its certificate has expired, and it is in no group here"),
        "{line}"
    );
    let why = soon("the link says why", async {
        loop {
            if let Some(trouble) = dan.links().into_iter().find_map(|link| link.trouble) {
                return trouble;
            }
            tokio::task::yield_now().await;
        }
    });
    let why = why.await;
    assert!(why.contains("this node's certificate has expired"), "{why}");
    all_hear(&mesh.groups, "after").await;
    assert_eq!((alone.members().len(), mesh.groups[0].members().len()), (1, 3));
}

#[tokio::test]
async fn renewed_certificates_are_shown_at_once() {
    let mesh = Mesh::new().await;
    mesh.wall.pass(DAY / 2);
    mesh.renew();
    mesh.wall.pass(DAY * 3 / 4);
    // To a newcomer only the renewed ones are good.
    let identity = mesh.wall.identity();
    let credential = mesh.authority.issue(&identity, "dan", mesh.wall.now());
    identity.add(credential).expect("a good credential");
    let dan = bind("dan", &identity).await;
    dan.meet(mesh.nodes[0].addr());
    let fourth = soon("joins", dan.join("lobby")).await.expect("joins");
    soon("they meet", fourth.wait_for(4)).await;
    for group in &mesh.groups {
        soon("they meet", group.wait_for(4)).await;
    }
    let mut groups = mesh.groups;
    groups.push(fourth);
    all_hear(&groups, "all four").await;
    assert_eq!(log::rest(), Vec::<String>::new(), "nobody was refused");
}
