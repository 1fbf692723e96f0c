//! `multicast` as its users have it: `Node`, `join`, `send`, and the stream of events.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use multicast::{Delivery, Event, Events, Log, MemberId, Node, Options, SendError, Sender, check_logs};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::authority::Authority;
use crate::board::{Board, Ledger, Source};
use crate::road::{self, Road};

/// Messages that are made at a time, as by the floors.
const MESSAGES_AT_ONCE: usize = 512;
/// Deliveries of one member whose stamps are judged.
const SAMPLE: u64 = 2000;
/// The seq of a member's first message of its own: before it comes its join.
const FIRST_SEQ: u64 = 2;
/// A send that was refused because events are not read fast enough is tried again after this.
const BEHIND_PAUSE: Duration = Duration::from_millis(1);
/// For a group to gather: founding takes half a second, and many dial at once.
const GATHERING: Duration = Duration::from_secs(30);

type Logs = Arc<Vec<Mutex<Vec<Delivery>>>>;

pub(crate) struct Ours {
    nodes: Vec<Node>,
    tells: Vec<Sender>,
    sample: Logs,
    _tasks: JoinSet<()>,
}

impl Ours {
    /// With an authority all members have identities, and all links are TLS.
    pub(crate) async fn open(board: &Arc<Board>, road: Road, authority: Option<&Authority>) -> Result<Self, String> {
        let (mut nodes, mut tasks) = (Vec::new(), JoinSet::new());
        for nth in 0..board.members() {
            let name = format!("m{nth}");
            let mut options = Options::new(&name);
            if let Some(authority) = authority {
                options = options.with_identity(authority.identity(&name));
            }
            if road == Road::Long {
                options = behind_a_road(options, &mut tasks)
                    .await
                    .map_err(|error| error.to_string())?;
            }
            let node = Node::bind(options).await;
            nodes.push(node.map_err(|error| error.to_string())?);
        }
        let first = nodes[0].addr();
        nodes[1..].iter().for_each(|node| node.meet(first));
        // The first founds the group, so that the others need not merge many groups of one.
        let mut groups = Vec::new();
        for node in &nodes {
            groups.push(node.join("bench").await.map_err(|error| error.to_string())?);
        }
        let sample: Logs = Arc::new((0..nodes.len()).map(|_| Mutex::default()).collect());
        let mut tells = Vec::new();
        for (me, group) in groups.into_iter().enumerate() {
            let all = group.wait_for(nodes.len());
            timeout(GATHERING, all)
                .await
                .map_err(|_| "the group does not gather".to_owned())?;
            let (tell, events) = group.split();
            tasks.spawn(hear(events, tell.me().id, me, board.clone(), sample.clone()));
            tells.push(tell);
        }
        let ours = Self {
            nodes,
            tells,
            sample,
            _tasks: tasks,
        };
        let linked = timeout(GATHERING, ours.linked()).await;
        linked.map_err(|_| "links are missing".to_owned())?;
        Ok(ours)
    }

    /// Returns when everyone has a link to everyone.
    async fn linked(&self) {
        let others = self.nodes.len() - 1;
        let up = |node: &Node| node.links().iter().filter(|link| link.up).count();
        while self.nodes.iter().any(|node| up(node) < others) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn written(&self) -> u64 {
        self.nodes.iter().map(|node| node.traffic().sent_bytes).sum()
    }

    pub(crate) fn say(&self, me: usize, board: &Arc<Board>, source: Source) -> impl Future<Output = ()> + Send + use<> {
        let (tell, board) = (self.tells[me].clone(), board.clone());
        async move {
            if let Err(error) = say(tell, source, &board).await {
                board.fault(format!("member {me} cannot send: {error}"));
            }
        }
    }

    /// Judges the stamps and the order of the first deliveries, which must have arrived everywhere.
    pub(crate) fn check_sample(&self) -> Result<usize, String> {
        let logs: Vec<Vec<Delivery>> = self
            .sample
            .iter()
            .map(|log| log.lock().expect("no panics here").clone())
            .collect();
        let owners = self.tells.iter().map(|tell| tell.me().id);
        let judged: Vec<Log<'_>> = logs
            .iter()
            .zip(owners)
            .map(|(log, owner)| Log::new(log).of(owner))
            .collect();
        check_logs(&judged).map_err(|violation| violation.to_string())?;
        Ok(logs.iter().map(Vec::len).sum())
    }
}

/// The node will listen at a port that is free now, and most likely still is in a moment; others get there by a road.
async fn behind_a_road(options: Options, tasks: &mut JoinSet<()>) -> io::Result<Options> {
    let free = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
    let proxy = TcpListener::bind("127.0.0.1:0").await?;
    let options = options.with_listen(free).with_advertise(proxy.local_addr()?);
    tasks.spawn(road::lead(proxy, free));
    Ok(options)
}

/// The one place that decides how messages are sent: handed over one by one, as to the floors.
async fn say(tell: Sender, mut source: Source, board: &Board) -> Result<(), SendError> {
    loop {
        let count = source.due(MESSAGES_AT_ONCE).await;
        if count == 0 {
            return Ok(());
        }
        for payload in source.payloads(count) {
            while let Err(error) = tell.hand_over(payload.clone()).await {
                if error != SendError::Behind {
                    return Err(error);
                }
                board.note("a send is refused: events are behind".into());
                tokio::time::sleep(BEHIND_PAUSE).await;
            }
        }
    }
}

/// Reads one member's events for as long as the mesh is open.
async fn hear(mut events: Events, owner: MemberId, me: usize, board: Arc<Board>, sample: Logs) {
    let mut ledger = Ledger::new(&board, me);
    // By sender, so that all members keep the same messages.
    let sampled = SAMPLE / board.members() as u64;
    loop {
        let event = match events.next().now_or_never() {
            Some(event) => event,
            None => {
                ledger.flush();
                events.next().await
            }
        };
        match event {
            Some(Event::Delivered(delivery)) => {
                if delivery.dot.seq <= sampled {
                    sample[me].lock().expect("no panics here").push(delivery.clone());
                }
                if delivery.dot.origin != owner {
                    ledger.take_nth(&delivery.payload, delivery.dot.seq - FIRST_SEQ);
                }
            }
            Some(Event::Gap { dots }) => board.fault(format!("member {me} has a gap: {dots:?}")),
            Some(Event::Broken { reason }) => board.fault(format!("member {me} is broken: {reason}")),
            Some(Event::Lagging { .. }) => board.note("a member lags".into()),
            Some(Event::Silent(_)) => board.note("a member is silent".into()),
            Some(Event::Closed { origin, .. }) => board.fault(format!("member {me} closed {origin}")),
            Some(_) => {}
            None => return,
        }
    }
}
