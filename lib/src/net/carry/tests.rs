//! One node dials, the other serves; hubs and groups are the test's.

use std::collections::BTreeMap;

use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::*;
use crate::id::{Dot, GroupId, MemberId, NodeId};
use crate::net::rpc::{PROTOCOL, Presence};
use crate::net::serve::{Desk, Visit, serve};
use crate::net::socket::TcpListener;
use crate::net::{CALLS_IN_FLIGHT, Door, Meter, REQUESTS_IN_FLIGHT};

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);
const GROUP: GroupId = GroupId([7; 16]);

fn member_of(node: u128) -> MemberId {
    MemberId::of_join(NodeId::from(node), GROUP, 0)
}

fn hello(node: u128, addr: SocketAddr) -> Hello {
    let member = member_of(node);
    Hello {
        protocol: PROTOCOL,
        node: NodeId::from(node),
        name: "ana".into(),
        addr,
        groups: vec![Presence {
            group: GROUP,
            member,
            nth: 0,
            circle: None,
        }],
        revision: 1,
        endorsement: None,
    }
}

/// One node dials, the other serves; what they tell their hubs, and what comes to the door, is the test's.
struct Pair {
    own: watch::Sender<Arc<Hello>>,
    news: mpsc::Receiver<(SocketAddr, News)>,
    visits: mpsc::Receiver<Visit>,
    door: mpsc::Receiver<Knock>,
    _others: watch::Sender<Arc<Hello>>,
    _tasks: JoinSet<()>,
}

async fn pair() -> Pair {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("bound");
    let (own, hears) = watch::channel(Arc::new(hello(1, addr)));
    let (others, theirs) = watch::channel(Arc::new(hello(2, addr)));
    let (tell, news) = mpsc::channel(8);
    let (visit, visits) = mpsc::channel(8);
    let (knock, door) = mpsc::channel(1024);
    let member = member_of(2);
    let doors = Arc::new(BTreeMap::from([(
        GROUP,
        Door {
            member,
            knock,
            listing: None,
        },
    )]));
    let desk = Desk {
        hello: theirs,
        doors: watch::channel(doors).1,
        visits: visit,
        meter: Arc::new(Meter::default()),
        tls: None,
    };
    let phone = Phone {
        hello: hears,
        doors: watch::channel(Arc::default()).1,
        news: tell,
        meter: Arc::new(Meter::default()),
        tls: None,
        kick: Arc::new(Notify::new()),
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(serve(listener, desk));
    tasks.spawn(crate::net::dial::dial(addr, phone, 1));
    Pair {
        own,
        news,
        visits,
        door,
        _others: others,
        _tasks: tasks,
    }
}

impl Pair {
    /// The link, once it stands.
    async fn link(&mut self) -> (mpsc::Sender<Call>, watch::Sender<bool>) {
        let Some(Visit::Hello { admitted, .. }) = self.visits.recv().await else {
            panic!("it greets first");
        };
        let (stays, replaced) = oneshot::channel();
        admitted.send(Ok(replaced)).expect("waits for that");
        // Held for as long as the test runs.
        std::mem::forget(stays);
        let Some((_, News::Up { link, use_it, .. })) = self.news.recv().await else {
            panic!("it is up then");
        };
        let (visited, visits) = watch::channel(true);
        use_it.send(Some(visits)).expect("waits for that");
        (link, visited)
    }

    fn leaves_the_group(&self) {
        self.own.send_modify(|own| {
            let groups = Vec::new();
            *own = Arc::new(Hello {
                groups,
                revision: own.revision + 1,
                ..Hello::clone(own)
            });
        });
    }

    /// What came to the door, in order. Answers are given only when no more comes without them.
    async fn heard(&mut self, count: u64) -> Vec<u64> {
        let (mut heard, mut held) = (Vec::new(), Vec::<oneshot::Sender<Vec<Frame>>>::new());
        while (heard.len() as u64) < count {
            let knock = self.door.recv().await.expect("open");
            let Knock::Frame {
                frame: Frame::Asking { dot },
                answer,
                ..
            } = knock
            else {
                panic!("nothing else was said");
            };
            heard.push(dot.seq);
            held.extend(answer);
            if held.len() == REQUESTS_IN_FLIGHT || heard.len() as u64 == count {
                held.drain(..).for_each(|answer| drop(answer.send(Vec::new())));
            }
        }
        heard
    }
}

fn ask(seq: u64) -> Call {
    let origin = member_of(1);
    let path = Path {
        group: GROUP,
        from: origin,
        to: member_of(2),
    };
    let frame = Box::new(Frame::Asking {
        dot: Dot { origin, seq },
    });
    Call::Frame { path, frame }
}

/// More than may be under way, so that the last of them wait.
const MANY: u64 = CALLS_IN_FLIGHT as u64 + 60;

/// Of a group that was over the other side heard before its last words, and refused those: who had found its own
/// key at work twice told nobody.
#[tokio::test]
async fn last_words_go_before_the_word_that_a_group_is_over() {
    let mut pair = pair().await;
    let (link, _visited) = timeout(PATIENCE, pair.link()).await.expect("a link");
    for seq in 1..=MANY {
        link.try_send(ask(seq)).expect("room");
    }
    // The link has begun as many as it may before it hears of the end.
    while link.capacity() < LINK_QUEUE - 60 {
        tokio::task::yield_now().await;
    }
    pair.leaves_the_group();
    let heard = timeout(PATIENCE, pair.heard(MANY)).await.expect("all of it");
    assert_eq!(heard, (1..=MANY).collect::<Vec<_>>());
    let told = timeout(PATIENCE, pair.visits.recv()).await.expect("told");
    assert!(matches!(told, Some(Visit::Groups { groups, .. }) if groups.is_empty()));
}

#[tokio::test]
async fn a_link_that_nobody_needs_ends_when_what_was_said_is_answered() {
    let mut pair = pair().await;
    let (link, _visited) = timeout(PATIENCE, pair.link()).await.expect("a link");
    for seq in 1..=MANY {
        link.try_send(ask(seq)).expect("room");
    }
    pair.leaves_the_group();
    drop(link);
    let heard = timeout(PATIENCE, pair.heard(MANY)).await.expect("all of it");
    assert_eq!(heard, (1..=MANY).collect::<Vec<_>>());
    let told = timeout(PATIENCE, pair.visits.recv()).await.expect("told");
    assert!(matches!(told, Some(Visit::Groups { groups, .. }) if groups.is_empty()));
    let over = timeout(PATIENCE, pair.visits.recv()).await.expect("the end");
    assert!(matches!(over, Some(Visit::Bye { .. })));
    let groups = timeout(PATIENCE, pair.news.recv()).await.expect("answered");
    assert!(matches!(groups, Some((_, News::Groups { .. }))));
    let down = timeout(PATIENCE, pair.news.recv()).await.expect("the end");
    assert!(matches!(down, Some((_, News::Down))));
}
