//! The node's own task: who is linked to whom, and which groups hear of it. It waits for groups and connections,
//! never they for it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::{JoinError as TaskError, JoinSet};
use tokio::time::timeout;

use crate::group::{self, Group, Wanted};
use crate::id::{GroupId, MemberId, NodeId};
use crate::message::Intro;
use crate::net::dial::{News, Phone, shares};
use crate::net::rpc::{Call, Hello, MAX_GROUPS, PROTOCOL, Presence};
use crate::net::serve::{Desk, Doors, Visit, serve};
use crate::net::socket::TcpListener;
use crate::net::{Door, GROUP_QUEUE, Knock};
use crate::node::places::Places;
use crate::node::{Contact, JoinError, Link};
use crate::options::Options;

/// Visits and news that may wait for the hub.
const NEWS: usize = 256;
/// Nodes that are remembered; beyond, those without a link are forgotten.
const MAX_NODES: usize = 1024;

type Joined = (Group, oneshot::Receiver<()>);

/// What the application wants of its node.
#[derive(Debug)]
pub(super) enum Order {
    Meet(SocketAddr),
    Contact(Contact),
    Join {
        name: String,
        reply: oneshot::Sender<Result<Joined, JoinError>>,
    },
    Shutdown {
        patience: Duration,
        reply: oneshot::Sender<()>,
    },
}

/// Another node.
#[derive(Default)]
struct Remote {
    groups: Vec<Presence>,
    link: Option<(SocketAddr, mpsc::Sender<Call>)>,
    /// Tells the link whether the other side has a connection to this node.
    visited: watch::Sender<bool>,
    /// Ends its inbound connection when a newer one comes.
    visit: Option<oneshot::Sender<()>>,
    /// Calls that it fetches itself, because it cannot be dialled.
    polls: Option<mpsc::Sender<Call>>,
}

impl Remote {
    fn is_visiting(&self) -> bool {
        self.visit.as_ref().is_some_and(|visit| !visit.is_closed())
    }

    /// The way to say something to it: the link, or else its polls.
    fn way(&self) -> Option<&mpsc::Sender<Call>> {
        let polls = self.polls.as_ref().filter(|_| self.is_visiting());
        self.link.as_ref().map(|link| &link.1).or(polls)
    }
}

/// A group that this node takes part in.
struct Local {
    door: Door,
    wanted: watch::Receiver<Wanted>,
    control: group::Control,
    /// Members that the group can talk to, and over which link.
    announced: BTreeMap<MemberId, mpsc::Sender<Call>>,
}

pub(super) struct Hub {
    id: NodeId,
    options: Options,
    addr: SocketAddr,
    jitter: u64,
    hello: watch::Sender<Arc<Hello>>,
    doors: watch::Sender<Doors>,
    phone: Phone,
    news: mpsc::Receiver<(SocketAddr, News)>,
    views: Arc<Notify>,
    links: Arc<Mutex<Vec<Link>>>,
    places: Places,
    nodes: BTreeMap<NodeId, Remote>,
    groups: BTreeMap<GroupId, Local>,
    joins: BTreeMap<GroupId, u64>,
    /// Nodes that a registry vouches for.
    leases: BTreeSet<NodeId>,
    tasks: JoinSet<GroupId>,
}

impl Hub {
    pub(super) fn new(
        id: NodeId,
        addr: SocketAddr,
        options: Options,
        jitter: u64,
        links: Arc<Mutex<Vec<Link>>>,
    ) -> Self {
        let (hello, hears) = watch::channel(Arc::new(Hello {
            protocol: PROTOCOL,
            node: id,
            addr,
            groups: Vec::new(),
        }));
        let (doors, sees) = watch::channel(Doors::default());
        let (tell, news) = mpsc::channel(NEWS);
        let phone = Phone {
            hello: hears,
            doors: sees,
            news: tell,
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
            links,
            places: Places::default(),
            nodes: BTreeMap::new(),
            groups: BTreeMap::new(),
            joins: BTreeMap::new(),
            leases: BTreeSet::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Runs until it is told to shut down, or its node is dropped.
    pub(super) async fn run(mut self, listener: TcpListener, mut orders: mpsc::Receiver<Order>) {
        let (visits, mut visited) = mpsc::channel(NEWS);
        let desk = Desk {
            hello: self.phone.hello.clone(),
            doors: self.phone.doors.clone(),
            visits,
        };
        let mut server = JoinSet::new();
        server.spawn(serve(listener, desk));
        let views = self.views.clone();
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(Order::Meet(addr)) => self.dial(addr, |place| place.pinned = true),
                    Some(Order::Contact(contact)) => self.on_contact(contact).await,
                    Some(Order::Join { name, reply }) => {
                        self.on_join(name, reply);
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
                () = views.notified() => self.dial_members(),
                Some(over) = self.tasks.join_next() => self.on_over(over).await,
            }
            *self.links.lock().expect("never held over a panic") = self.places.links();
        }
    }

    fn dial(&mut self, addr: SocketAddr, note: impl FnOnce(&mut crate::node::places::Place)) {
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
            Contact::Live { node, .. } if node == self.id => {}
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
            // What was vouched for is still dialled; only nobody vouches for it any more.
            Contact::Unknown => {
                let all: Vec<NodeId> = self.leases.iter().copied().collect();
                self.set_leases(&all, false).await;
            }
        }
    }

    /// Leases matter to groups when they decide whether a silent member is closed.
    async fn set_leases(&mut self, nodes: &[NodeId], live: bool) {
        for &node in nodes {
            let changed = match live {
                true => self.leases.len() < MAX_NODES && self.leases.insert(node),
                false => self.leases.remove(&node),
            };
            for local in self.groups.values().filter(|_| changed) {
                let _ = local.door.knock.send(Knock::Lease { node, live }).await;
            }
        }
    }

    fn on_join(&mut self, name: String, reply: oneshot::Sender<Result<Joined, JoinError>>) {
        let id = GroupId::named(&name);
        if self.groups.contains_key(&id) {
            let _ = reply.send(Err(JoinError::AlreadyIn(name)));
            return;
        }
        if self.groups.len() >= MAX_GROUPS {
            let _ = reply.send(Err(JoinError::TooMany));
            return;
        }
        let nth = self.joins.entry(id).or_default();
        let member = MemberId::of_join(self.id, id, *nth);
        *nth += 1;
        self.jitter = self.jitter.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let (knock, knocks) = mpsc::channel(GROUP_QUEUE);
        let door = Door { member, knock };
        let setup = group::Setup {
            id,
            member,
            intro: Intro {
                node: self.id,
                name: self.options.name.clone(),
                addr: self.addr,
            },
            config: self.options.config.clone(),
            seed: self.jitter,
            knocks,
            views: self.views.clone(),
        };
        let started = group::start(setup, &mut self.tasks);
        let (wanted, control) = (started.wanted, started.control);
        self.groups.insert(
            id,
            Local {
                door,
                wanted,
                control,
                announced: BTreeMap::new(),
            },
        );
        self.publish();
        let _ = reply.send(Ok((started.group, started.joined)));
    }

    /// Tells the world, and one's own connections, where this node takes part now.
    fn publish(&mut self) {
        let presence = |(&group, local): (&GroupId, &Local)| Presence {
            group,
            member: local.door.member,
        };
        let groups = self.groups.iter().map(presence).collect();
        let door = |(&group, local): (&GroupId, &Local)| (group, local.door.clone());
        self.doors
            .send_replace(Arc::new(self.groups.iter().map(door).collect()));
        self.hello.send_modify(|hello| {
            *hello = Arc::new(Hello {
                groups,
                ..Hello::clone(hello)
            })
        });
        self.places.kick_all();
    }

    async fn on_over(&mut self, over: Result<GroupId, TaskError>) {
        let Ok(id) = over else { return };
        self.groups.remove(&id);
        self.publish();
        // Links that carry nothing any more close when their last sender is gone.
        let mine = self.hello.borrow().clone();
        for remote in self.nodes.values_mut() {
            let theirs = Hello {
                groups: remote.groups.clone(),
                ..Hello::clone(&mine)
            };
            if !shares(&theirs, &mine) {
                remote.link = None;
            }
        }
        self.reconcile().await;
    }

    async fn on_news(&mut self, addr: SocketAddr, news: News) {
        match news {
            News::Up { hello, link, use_it } => {
                self.another_process(addr, hello.node).await;
                let remote = self.nodes.entry(hello.node).or_default();
                remote.groups = hello.groups;
                // One link a node: a second address of the same node waits until the first fails.
                let fresh = remote.link.is_none();
                if fresh {
                    remote.link = Some((addr, link));
                }
                let _ = use_it.send(fresh.then(|| remote.visited.subscribe()));
                self.places.connected(addr, hello.node, fresh);
            }
            News::Groups { hello } => self.note_groups(hello.node, hello.groups),
            News::Down => self.unlink(addr, "the connection was lost"),
            News::Strangers { hello } => {
                self.another_process(addr, hello.node).await;
                self.places.connected(addr, hello.node, false);
                self.note_groups(hello.node, hello.groups);
            }
            News::Failed { refused, why } => {
                self.unlink(addr, &why);
                if refused {
                    self.refused(addr, None).await;
                }
            }
            News::Myself => self.places.remove(addr),
        }
        self.reconcile().await;
    }

    fn unlink(&mut self, addr: SocketAddr, why: &str) {
        let needed = self
            .groups
            .values()
            .any(|local| local.wanted.borrow().iter().any(|member| member.addr == addr));
        self.places.failed(addr, why.to_owned(), needed);
        for remote in self.nodes.values_mut() {
            if remote.link.as_ref().is_some_and(|link| link.0 == addr) {
                remote.link = None;
            }
        }
    }

    /// Whoever was at that address before is not there any more.
    async fn another_process(&mut self, addr: SocketAddr, node: NodeId) {
        self.refused(addr, Some(node)).await;
    }

    /// Tells groups of members whose address refuses, or has become another node's.
    async fn refused(&mut self, addr: SocketAddr, except: Option<NodeId>) {
        for local in self.groups.values() {
            let away: Vec<MemberId> = local
                .wanted
                .borrow()
                .iter()
                .filter(|member| member.addr == addr && Some(member.node) != except)
                .map(|member| member.member)
                .collect();
            for member in away {
                let _ = local.door.knock.send(Knock::Refused { member }).await;
            }
        }
    }

    async fn on_visit(&mut self, visit: Visit) {
        match visit {
            Visit::Hello { hello, admitted } if hello.node == self.id => drop((hello, admitted)),
            Visit::Hello { hello, admitted } => {
                let (replace, replaced) = oneshot::channel();
                self.forget_strangers();
                let remote = self.nodes.entry(hello.node).or_default();
                // The newer one is the living one: a rebooted peer must not be locked out.
                if let Some(older) = remote.visit.replace(replace) {
                    let _ = older.send(());
                }
                remote.polls = None;
                remote.visited.send_replace(true);
                let _ = admitted.send(replaced);
                self.note_groups(hello.node, hello.groups);
                self.dial(hello.addr, |place| {
                    place.node.get_or_insert(hello.node);
                });
                self.places.kick(hello.addr);
            }
            Visit::Polls { node, link } => self.nodes.entry(node).or_default().polls = Some(link),
            Visit::Bye { node } => {
                let remote = self.nodes.entry(node).or_default();
                let visiting = remote.is_visiting();
                remote
                    .visited
                    .send_if_modified(|visited| std::mem::replace(visited, visiting) != visiting);
            }
            Visit::Groups { node, groups } => {
                self.note_groups(node, groups);
                if let Some(addr) = self.address_of(node) {
                    self.places.kick(addr);
                }
            }
        }
        self.reconcile().await;
    }

    fn address_of(&mut self, node: NodeId) -> Option<SocketAddr> {
        self.places
            .links()
            .into_iter()
            .find(|link| link.node == Some(node))
            .map(|link| link.addr)
    }

    fn note_groups(&mut self, node: NodeId, groups: Vec<Presence>) {
        self.nodes.entry(node).or_default().groups = groups;
    }

    fn forget_strangers(&mut self) {
        if self.nodes.len() >= MAX_NODES {
            self.nodes
                .retain(|_, remote| remote.link.is_some() || remote.is_visiting());
        }
    }

    /// Dials everyone that a group has in its view.
    fn dial_members(&mut self) {
        let wanted: Vec<_> = self
            .groups
            .values_mut()
            .flat_map(|local| local.wanted.borrow_and_update().clone())
            .collect();
        for member in wanted {
            self.dial(member.addr, |place| {
                place.node.get_or_insert(member.node);
            });
        }
    }

    /// Brings what groups were told of links in line with the links that stand.
    async fn reconcile(&mut self) {
        for (&group, local) in &mut self.groups {
            let mut linked = BTreeMap::new();
            for remote in self.nodes.values() {
                let Some(link) = remote.way() else { continue };
                for presence in remote.groups.iter().filter(|presence| presence.group == group) {
                    linked.insert(presence.member, link.clone());
                }
            }
            let before = std::mem::take(&mut local.announced);
            for (&member, link) in &before {
                if linked.get(&member).is_none_or(|now| !now.same_channel(link)) {
                    let _ = local.door.knock.send(Knock::LinkDown { member }).await;
                }
            }
            for (&member, link) in &linked {
                if before.get(&member).is_none_or(|old| !old.same_channel(link)) {
                    let _ = local
                        .door
                        .knock
                        .send(Knock::LinkUp {
                            member,
                            link: link.clone(),
                        })
                        .await;
                }
            }
            local.announced = linked;
        }
    }

    /// Leaves all groups, for at most that long.
    async fn leave_all(&mut self, patience: Duration) {
        for local in self.groups.values() {
            local.control.leave(patience).await;
        }
        let all_over = async {
            while let Some(over) = self.tasks.join_next().await {
                if let Ok(id) = over {
                    self.groups.remove(&id);
                }
            }
        };
        // A little longer than the groups were given, so that it is they who give up.
        let _ = timeout(patience + Duration::from_secs(1), all_over).await;
    }
}
