//! The node's own task: who is linked to whom, and which groups hear of it. It waits for groups and connections,
//! never they for it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::{JoinError as TaskError, JoinSet};
use tokio::time::{Instant, timeout};

use crate::circle::Circle;
use crate::group::{self, Group, Listing, Outcast, Wanted};
use crate::id::{GroupId, MemberId, NodeId};
use crate::identity::Profile;
use crate::message::Intro;
use crate::net::dial::{News, Phone};
use crate::net::rpc::{Call, Hello, MAX_GROUPS, PROTOCOL, Presence};
use crate::net::serve::{Desk, Doors, serve};
use crate::net::socket::TcpListener;
use crate::net::tls::Tls;
use crate::net::{Door, GROUP_QUEUE, Meter};
use crate::node::gate::Gate;
use crate::node::lists::Which;
use crate::node::outcasts::heard_out;
use crate::node::places::Places;
use crate::node::{Board, Contact, JoinError};
use crate::options::Options;
use crate::sign::Signer;

/// Visits and news that may wait for the hub.
const NEWS: usize = 256;
/// Nodes that are remembered; beyond, those without a link are forgotten.
pub(crate) const MAX_NODES: usize = 1024;

type Joined = (Group, oneshot::Receiver<group::Entered>);

/// What the application wants of its node.
#[derive(Debug)]
pub(super) enum Order {
    Meet(SocketAddr),
    Contact(Contact),
    Join {
        which: Which,
        kept: Option<Box<group::Kept>>,
        reply: oneshot::Sender<Result<Joined, JoinError>>,
    },
    Shutdown {
        patience: Duration,
        reply: oneshot::Sender<()>,
    },
}

/// Another node.
#[derive(Default)]
pub(super) struct Remote {
    pub(super) groups: Vec<Presence>,
    /// Of what it said of its groups.
    pub(super) revision: u64,
    pub(super) profile: Option<Profile>,
    pub(super) link: Option<(SocketAddr, mpsc::Sender<Call>)>,
    /// Tells the link whether the other side has a connection to this node.
    pub(super) visited: watch::Sender<bool>,
    /// Ends its inbound connection when a newer one comes.
    pub(super) visit: Option<oneshot::Sender<()>>,
    /// Calls that it fetches itself, because it cannot be dialled.
    pub(super) polls: Option<mpsc::Sender<Call>>,
}

impl Remote {
    pub(super) fn is_visiting(&self) -> bool {
        self.visit.as_ref().is_some_and(|visit| !visit.is_closed())
    }

    /// The way to say something to it: the link, or else its polls.
    pub(super) fn way(&self) -> Option<&mpsc::Sender<Call>> {
        let polls = self.polls.as_ref().filter(|_| self.is_visiting());
        self.link.as_ref().map(|link| &link.1).or(polls)
    }
}

/// A group that this node takes part in.
pub(super) struct Local {
    pub(super) door: Door,
    /// Which join of the group by this node it is.
    pub(super) nth: u64,
    pub(super) wanted: watch::Receiver<Wanted>,
    pub(super) outcasts: watch::Receiver<Vec<Outcast>>,
    pub(super) control: group::Control,
    /// Members that the group can talk to, and over which link.
    pub(super) announced: BTreeMap<MemberId, mpsc::Sender<Call>>,
    /// The list as links were told it, if the group is private.
    pub(super) told: Option<Circle>,
}

pub(super) struct Hub {
    pub(super) id: NodeId,
    pub(super) options: Options,
    pub(super) addr: SocketAddr,
    pub(super) jitter: u64,
    pub(super) hello: watch::Sender<Arc<Hello>>,
    pub(super) doors: watch::Sender<Doors>,
    pub(super) phone: Phone,
    pub(super) news: mpsc::Receiver<(SocketAddr, News)>,
    pub(super) views: Arc<Notify>,
    pub(super) board: Arc<Board>,
    pub(super) gate: Gate,
    /// This node itself.
    pub(super) evicted: bool,
    /// Who is expelled from a group, and until when it may still hear why.
    pub(super) hearings: VecDeque<(Instant, NodeId)>,
    pub(super) places: Places,
    pub(super) nodes: BTreeMap<NodeId, Remote>,
    pub(super) groups: BTreeMap<GroupId, Local>,
    pub(super) joins: BTreeMap<GroupId, u64>,
    /// Nodes that a registry vouches for.
    pub(super) leases: BTreeSet<NodeId>,
    pub(super) tasks: JoinSet<GroupId>,
    /// What others offer may have changed.
    pub(super) offers_stale: bool,
}

impl Hub {
    pub(super) fn new(
        (id, addr): (NodeId, SocketAddr),
        options: Options,
        jitter: u64,
        board: Arc<Board>,
        (meter, tls, gate): (Arc<Meter>, Option<Tls>, Gate),
    ) -> Self {
        let (hello, hears) = watch::channel(Arc::new(Hello {
            protocol: PROTOCOL,
            node: id,
            name: options.name.clone(),
            addr,
            groups: Vec::new(),
            revision: 0,
            endorsement: None,
        }));
        let (doors, sees) = watch::channel(Doors::default());
        let (tell, news) = mpsc::channel(NEWS);
        let phone = Phone {
            hello: hears,
            doors: sees,
            news: tell,
            meter,
            tls,
            kick: Arc::new(Notify::new()),
        };
        Self {
            id,
            options,
            addr,
            jitter,
            hello,
            doors,
            phone,
            news,
            views: Arc::new(Notify::new()),
            board,
            gate,
            evicted: false,
            hearings: VecDeque::new(),
            places: Places::default(),
            nodes: BTreeMap::new(),
            groups: BTreeMap::new(),
            joins: BTreeMap::new(),
            leases: BTreeSet::new(),
            tasks: JoinSet::new(),
            offers_stale: false,
        }
    }

    /// Runs until it is told to shut down, or its node is dropped.
    pub(super) async fn run(mut self, listener: TcpListener, mut orders: mpsc::Receiver<Order>) {
        let (visits, mut visited) = mpsc::channel(NEWS);
        let desk = Desk {
            hello: self.phone.hello.clone(),
            doors: self.phone.doors.clone(),
            visits,
            meter: self.phone.meter.clone(),
            tls: self.phone.tls.clone(),
        };
        let mut server = JoinSet::new();
        server.spawn(serve(listener, desk));
        let views = self.views.clone();
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(Order::Meet(addr)) => self.dial(addr, |place| place.pinned = true),
                    Some(Order::Contact(contact)) => self.on_contact(contact).await,
                    Some(Order::Join { which, kept, reply }) => {
                        self.on_join(which, kept, reply);
                        let leased: Vec<NodeId> = std::mem::take(&mut self.leases).into_iter().collect();
                        self.set_leases(&leased, true).await;
                    }
                    Some(Order::Shutdown { patience, reply }) => {
                        self.leave_all(patience).await;
                        let _ = reply.send(());
                        return;
                    }
                    None => return,
                },
                Some((addr, news)) = self.news.recv() => self.on_news(addr, news).await,
                Some(visit) = visited.recv() => self.on_visit(visit).await,
                () = views.notified() => {
                    self.dial_members();
                    self.hear_of_outcasts().await;
                    if self.note_lists().await {
                        self.reconcile().await;
                    }
                }
                () = heard_out(self.hearings.front()) => {
                    let (_, node) = self.hearings.pop_front().expect("the first is over");
                    self.ban(node).await;
                }
                Some(over) = self.tasks.join_next() => self.on_over(over).await,
            }
            self.show();
        }
    }

    /// What the application may look at.
    fn show(&mut self) {
        self.show_offers();
        *self.board.links.lock().expect("never held over a panic") = self.places.links();
        let shown = |(&node, remote): (&NodeId, &Remote)| Some((node, remote.profile?));
        let connected = self
            .nodes
            .iter()
            .filter(|(_, remote)| remote.way().is_some() || remote.is_visiting());
        *self.board.profiles.lock().expect("never held over a panic") = connected.filter_map(shown).collect();
    }

    pub(super) fn dial(&mut self, addr: SocketAddr, note: impl FnOnce(&mut crate::node::places::Place)) {
        self.jitter = self.jitter.wrapping_add(0x9e37_79b9_7f4a_7c15);
        if addr == self.addr {
            return;
        }
        if let Some(place) = self.places.dial(addr, &self.phone, self.jitter) {
            note(place);
        }
    }

    async fn on_contact(&mut self, contact: Contact) {
        match contact {
            Contact::Live { node, .. } if node == self.id || self.gate.bars(node) => {}
            Contact::Live { node, addr } => {
                self.dial(addr, |place| {
                    place.live = true;
                    place.node.get_or_insert(node);
                });
                self.set_leases(&[node], true).await;
            }
            Contact::Gone { node } => {
                self.places.gone(node);
                self.set_leases(&[node], false).await;
            }
            Contact::Evicted { node } => self.evict(node).await,
            // What was vouched for is still dialled; only nobody vouches for it any more.
            Contact::Unknown => {
                let all: Vec<NodeId> = self.leases.iter().copied().collect();
                self.set_leases(&all, false).await;
            }
        }
    }

    fn on_join(
        &mut self,
        which: Which,
        kept: Option<Box<group::Kept>>,
        reply: oneshot::Sender<Result<Joined, JoinError>>,
    ) {
        let id = which.id();
        if self.is_in(id) {
            let _ = reply.send(Err(JoinError::AlreadyIn(which.name())));
            return;
        }
        if self.evicted {
            let _ = reply.send(Err(JoinError::Evicted));
            return;
        }
        if self.groups.len() >= MAX_GROUPS {
            let _ = reply.send(Err(JoinError::TooMany));
            return;
        }
        let joins = self.joins.entry(id).or_default();
        let nth = std::mem::replace(joins, *joins + 1);
        let member = MemberId::of_join(self.id, id, nth);
        // The one place where a member gets what it signs with.
        let identity = self.options.identity.as_ref();
        let secret = identity
            .map(|identity| identity.signer().to_bytes())
            .or(self.options.signing);
        let signer = secret.map(|secret| Signer::ed25519(&secret, id, nth));
        self.jitter = self.jitter.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let (knock, knocks) = mpsc::channel(GROUP_QUEUE);
        let private = self.private(which, nth);
        let listing = private.as_ref().map(|private| private.listing.clone());
        let door = Door { member, knock, listing };
        let setup = group::Setup {
            id,
            member,
            intro: Intro {
                node: self.id,
                name: self.options.name.clone(),
                addr: self.addr,
            },
            config: self.options.config.clone(),
            signer,
            private,
            seed: self.jitter,
            faults: self.options.faults.clone(),
            knocks,
            views: self.views.clone(),
            kept: kept.map(|kept| *kept),
        };
        let started = group::start(setup, &mut self.tasks);
        let (wanted, outcasts, control) = (started.wanted, started.outcasts, started.control);
        self.groups.insert(
            id,
            Local {
                door,
                nth,
                wanted,
                outcasts,
                control,
                announced: BTreeMap::new(),
                told: None,
            },
        );
        self.publish();
        self.kick(id);
        let _ = reply.send(Ok((started.group, started.joined)));
    }

    /// Tells the world, and one's own connections, where this node takes part now.
    pub(super) fn publish(&mut self) {
        let presence = |(&group, local): (&GroupId, &Local)| Presence {
            group,
            member: local.door.member,
            nth: local.nth,
            circle: local.door.listing.as_ref().map(Listing::now),
        };
        let groups = self.groups.iter().map(presence).collect();
        let door = |(&group, local): (&GroupId, &Local)| (group, local.door.clone());
        self.doors
            .send_replace(Arc::new(self.groups.iter().map(door).collect()));
        self.hello.send_modify(|hello| {
            *hello = Arc::new(Hello {
                groups,
                revision: hello.revision + 1,
                ..Hello::clone(hello)
            })
        });
        self.offers_stale = true;
    }

    /// Whether this node takes part in a group: not in one that it has left, though the application may still read its
    /// last events.
    pub(super) fn is_in(&self, id: GroupId) -> bool {
        self.groups.get(&id).is_some_and(|local| !local.door.knock.is_closed())
    }

    /// It may have been joined again already.
    fn forget_left(&mut self, id: GroupId) {
        if !self.is_in(id) {
            self.groups.remove(&id);
        }
    }

    async fn on_over(&mut self, over: Result<GroupId, TaskError>) {
        let Ok(id) = over else { return };
        let was_public = self.groups.get(&id).is_none_or(|local| local.door.listing.is_none());
        self.forget_left(id);
        self.publish();
        // Of a private group only those are to notice that it is over who are told.
        if was_public {
            self.places.kick_some(|_| true);
        }
        self.drop_idle_links();
        self.reconcile().await;
    }

    /// Leaves all groups, for at most that long.
    async fn leave_all(&mut self, patience: Duration) {
        for local in self.groups.values() {
            local.control.leave(patience).await;
        }
        let all_over = async {
            while let Some(over) = self.tasks.join_next().await {
                if let Ok(id) = over {
                    self.forget_left(id);
                }
            }
        };
        // A little longer than the groups were given, so that it is they who give up.
        let _ = timeout(patience + Duration::from_secs(1), all_over).await;
    }
}
