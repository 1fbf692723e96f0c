//! What travels over an outbound link: calls of groups, in the order in which they come, and the node's own.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use crate::engine::Frame;
use crate::net::dial::{News, Phone};
use crate::net::line::Line;
use crate::net::rpc::{Call, Hello, Path, Reply};
use crate::net::vouch::{self, Whom};
use crate::net::{Knock, LINK_QUEUE, POLL_AFTER, STALL_TIMEOUT};

/// Carries calls until the connection ends; calls are written in the order in which they come. When nobody has a use
/// for the link any more it ends as soon as what was begun is answered.
pub(super) async fn carry(
    phone: &Phone,
    (addr, line): (SocketAddr, &mut Line),
    (whom, theirs): (&Whom, &mut Hello),
    (mut calls, mut visited): (mpsc::Receiver<Call>, watch::Receiver<bool>),
) -> &'static str {
    let mut hello = phone.hello.clone();
    let mut stall = pin!(sleep_until(Instant::now() + STALL_TIMEOUT));
    // A node that is not dialled back within a while asks for what the other has to say.
    let (mut polling, poll_from) = (false, Instant::now() + POLL_AFTER);
    let mut needed = true;
    loop {
        if !needed && hello.has_changed().unwrap_or(false) {
            line.begin(Call::Groups(hello.borrow_and_update().groups.clone()));
        }
        // What happens rarely is waited for as one, so that a busy link need not enlist for each with every call.
        let mut rare = pin!(rare_call(&mut hello, &mut visited, (!polling).then_some(poll_from)));
        // Until that changes:
        loop {
            // A poll is answered when there is something to say: nobody would hear it.
            if !needed && line.under_way() <= usize::from(polling) {
                return "no group needs it";
            }
            tokio::select! {
                // First what was begun: those that were begun together share a write.
                biased;
                answered = line.next() => match answered {
                    Some((path, Ok(reply))) => {
                        let answers_poll = matches!(reply, Reply::Said(_));
                        if let Err(why) = take_reply(phone, (addr, path), (whom, theirs), reply).await {
                            return why;
                        }
                        if answers_poll {
                            polling = false;
                            break;
                        }
                    }
                    Some((_, Err(error))) => {
                        tracing::debug!(%addr, error, "a call failed");
                        return "a call failed";
                    }
                    None => return "the connection was closed",
                },
                call = calls.recv(), if needed && line.has_room() => match call {
                    Some(call) => {
                        line.begin(call);
                        while line.has_room() && let Ok(call) = calls.try_recv() {
                            line.begin(call);
                        }
                    }
                    // A group that is over has let go of it, which the other side is still to know.
                    None => {
                        needed = false;
                        break;
                    }
                },
                call = &mut rare, if needed => {
                    let Some(call) = call else { return "the node is shutting down" };
                    begin_last(line, &mut calls, call, &mut polling);
                    break;
                }
                () = &mut stall => {
                    let now = Instant::now();
                    let due = line.oldest().unwrap_or(now) + STALL_TIMEOUT;
                    if due <= now {
                        return "no answer in time";
                    }
                    stall.as_mut().reset(due);
                }
            }
        }
    }
}

/// Begins a call of the node itself behind those that wait, room or not: a group that is over has said its last words
/// before the node says that it is, and from a member that is not there any more nothing would be taken.
fn begin_last(line: &mut Line, calls: &mut mpsc::Receiver<Call>, last: Call, polling: &mut bool) {
    for _ in 0..LINK_QUEUE {
        let Ok(call) = calls.try_recv() else { break };
        line.begin(call);
    }
    *polling |= matches!(last, Call::Poll);
    line.begin(last);
}

/// A call that the node itself has to make, on which the dialling side waits seldom; nothing, if it is shutting down.
async fn rare_call(
    hello: &mut watch::Receiver<Arc<Hello>>,
    visited: &mut watch::Receiver<bool>,
    poll_from: Option<Instant>,
) -> Option<Call> {
    loop {
        let lonely = poll_from.filter(|_| !*visited.borrow_and_update());
        let poll = async {
            match lonely {
                Some(from) => sleep_until(from).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = hello.changed() => {
                changed.ok()?;
                return Some(Call::Groups(hello.borrow_and_update().groups.clone()));
            }
            changed = visited.changed() => changed.ok()?,
            () = poll => return Some(Call::Poll),
        }
    }
}

/// Brings a reply where it belongs. Or why the connection is to be closed.
async fn take_reply(
    phone: &Phone,
    (addr, path): (SocketAddr, Path),
    (whom, theirs): (&Whom, &mut Hello),
    reply: Reply,
) -> Result<(), &'static str> {
    let bad = |why: &'static str| {
        tracing::warn!(%addr, node = %whom.node.short(), "link closed: {why}");
        why
    };
    match reply {
        Reply::Frames(mut frames) => {
            let theirs = path.back();
            frames
                .iter_mut()
                .try_for_each(|frame| vouch::frame(whom, theirs, frame))
                .map_err(bad)?;
            hand_in(phone, theirs, frames).await;
        }
        Reply::Hello(hello) => {
            if hello.node != whom.node || !vouch::are_its_own(whom.node, &hello.groups) {
                return Err(bad("it names members that are not its own"));
            }
            *theirs = hello.clone();
            let told = phone.news.send((addr, News::Groups { hello })).await;
            told.map_err(|_| "the node is shutting down")?;
        }
        Reply::Said(said) => {
            for (path, mut frame) in said {
                // Of a member that has left in the meantime something may still come.
                if !theirs.takes_part(path.group, path.from) {
                    continue;
                }
                vouch::frame(whom, path, &mut frame).map_err(bad)?;
                hand_in(phone, path, vec![frame]).await;
            }
        }
        Reply::Refused(refusal) => tracing::debug!(%addr, "a call was refused: {refusal}"),
    }
    Ok(())
}

/// What a member of the other side says goes to the group that it is for.
async fn hand_in(phone: &Phone, path: Path, frames: Vec<Frame>) {
    let door = phone
        .doors
        .borrow()
        .get(&path.group)
        .filter(|door| door.member == path.to)
        .cloned();
    let Some(door) = door else { return };
    for frame in frames {
        // A group that is gone needs no answers.
        let _ = door
            .knock
            .send(Knock::Frame {
                from: path.from,
                frame,
                answer: None,
            })
            .await;
    }
}

#[cfg(test)]
mod tests {
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
            }],
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
        let doors = Arc::new(BTreeMap::from([(GROUP, Door { member, knock })]));
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
}
