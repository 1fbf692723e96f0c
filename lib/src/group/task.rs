//! The one task that owns a group's engine. It never waits for a peer or for the application.

use std::collections::{BTreeMap, VecDeque};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use crate::engine::{Batch, Engine, Input};
use crate::event::Event;
use crate::group::backlog::{Backlog, Told};
use crate::group::call::Calls;
use crate::group::faulty::Faulty;
use crate::group::keep::Keeping;
use crate::group::mailbox::{Inbox, Outgoing};
use crate::group::ping::Pings;
use crate::group::show;
use crate::group::turn::Turn;
use crate::group::{Ask, Outcast, Private, SendError, Shared, Wanted};
use crate::id::{GroupId, MemberId};
use crate::message::{Member, Micros};
use crate::net::Knock;
use crate::net::rpc::Call;
use crate::store::StoreError;

pub(super) struct Task {
    pub(super) group: GroupId,
    pub(super) engine: Engine,
    pub(super) shared: Arc<Shared>,
    /// If the group is private.
    pub(super) private: Option<Private>,
    pub(super) knocks: mpsc::Receiver<Knock>,
    pub(super) inbox: Inbox,
    pub(super) asks: mpsc::Receiver<Ask>,
    pub(super) events: mpsc::Sender<Backlog>,
    /// Buffers of events that the application has read.
    pub(super) read: mpsc::Receiver<Backlog>,
    pub(super) wanted: watch::Sender<Wanted>,
    pub(super) outcasts: watch::Sender<Vec<Outcast>>,
    pub(super) views: Arc<Notify>,
    pub(super) joined: Option<oneshot::Sender<super::Entered>>,
    /// Where requests that are shown to the application bring their replies.
    pub(super) replies: mpsc::WeakSender<Ask>,
    pub(super) state: State,
}

/// What the task remembers between inputs.
pub(super) struct State {
    pub(super) started: Instant,
    pub(super) links: BTreeMap<MemberId, mpsc::Sender<Call>>,
    pub(super) members: BTreeMap<MemberId, Member>,
    pub(super) encoded: VecDeque<(Batch, Arc<[Bytes]>)>,
    /// What is on its way to the application.
    pub(super) pending: Backlog,
    /// The application does not keep up.
    pub(super) behind: bool,
    /// Sends that wait for the window.
    pub(super) parked: VecDeque<Outgoing>,
    pub(super) leaving: Option<Leaving>,
    pub(super) calls: Calls,
    pub(super) pings: Pings,
    /// With faults on purpose.
    pub(super) faulty: Option<Faulty>,
    /// With a store.
    pub(super) keeping: Option<Keeping>,
    /// What the next turn of the engine takes, and who waits for what comes of it.
    pub(super) turn: Turn,
    /// Whose message was delivered last: often the next one's too.
    pub(super) speaker: Option<Member>,
    pub(super) acks_changed: bool,
    /// What was delivered in this turn: of each piece the origin and the last seq; and whether that is not all.
    pub(super) delivered: Vec<(MemberId, u64)>,
    pub(super) clock_changed: bool,
    pub(super) members_changed: bool,
    /// Some handle is alive.
    pub(super) asks_open: bool,
    pub(super) over: bool,
}

pub(super) struct Leaving {
    pub(super) until: Instant,
    pub(super) replies: Vec<oneshot::Sender<Vec<Member>>>,
    /// Until it is said.
    pub(super) reason: Option<String>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            links: BTreeMap::new(),
            members: BTreeMap::new(),
            encoded: VecDeque::new(),
            pending: Backlog::default(),
            behind: false,
            parked: VecDeque::new(),
            leaving: None,
            calls: Calls::default(),
            pings: Pings::default(),
            faulty: None,
            keeping: None,
            turn: Turn::default(),
            speaker: None,
            acks_changed: false,
            delivered: Vec::new(),
            clock_changed: false,
            members_changed: false,
            asks_open: true,
            over: false,
        }
    }
}

impl Task {
    pub(super) async fn run(mut self) -> GroupId {
        let mut knocks = Vec::new();
        self.note_members();
        let mut alarm = pin!(sleep_until(self.deadline()));
        while !self.state.over {
            // Moved only when it must ring earlier: one that rings for nothing costs less than one moved in each turn.
            let deadline = self.deadline();
            if deadline < alarm.deadline() || alarm.is_elapsed() {
                alarm.as_mut().reset(deadline);
            }
            let flushing = !self.state.pending.is_empty();
            let takes_sends = (self.state.parked.is_empty() && !self.is_swamped()) || self.state.behind;
            tokio::select! {
                count = self.knocks.recv_many(&mut knocks, super::KNOCKS_AT_ONCE) => {
                    // Without its node a group cannot go on.
                    self.state.over |= count == 0;
                    knocks.drain(..).for_each(|knock| self.on_knock(knock));
                }
                () = self.inbox.ready(), if takes_sends => {}
                ask = self.asks.recv(), if self.state.asks_open => match ask {
                    Some(ask) => self.on_ask(ask),
                    None => {
                        self.state.asks_open = false;
                        self.begin_leave(String::new(), super::LEAVE_PATIENCE, None);
                    }
                },
                permit = room_for(&self.events), if flushing => self.flush(permit),
                () = &mut alarm => self.on_deadline(),
                saved = saved(&mut self.state.keeping) => self.on_saved(saved),
            }
            self.take_at_hand();
            self.send_parked();
            self.turn();
            // The window may have opened.
            self.send_parked();
            self.turn();
            self.leave_when_said();
            self.collect_replies();
            self.keep();
            self.publish();
        }
        self.finish().await;
        self.group
    }

    pub(super) fn now(&self) -> Micros {
        self.state.started.elapsed().as_micros() as Micros
    }

    fn deadline(&self) -> Instant {
        // An engine that waits for nothing is over; an hour is never reached.
        let engine = self.engine.deadline().unwrap_or(3_600_000_000);
        let deadline = self.state.started + Duration::from_micros(engine);
        let deadline = self
            .state
            .calls
            .deadline()
            .map_or(deadline, |calls| deadline.min(calls));
        let late = self.state.faulty.as_ref().and_then(Faulty::deadline);
        let deadline = late.map_or(deadline, |late| deadline.min(late));
        self.state
            .leaving
            .as_ref()
            .map_or(deadline, |leaving| deadline.min(leaving.until))
    }

    fn on_deadline(&mut self) {
        if self
            .state
            .leaving
            .as_ref()
            .is_some_and(|leaving| leaving.until <= Instant::now())
        {
            self.state.over = true;
            return;
        }
        self.hear_late();
        self.handle(Input::Tick);
        self.shared.set_stable(self.engine.stable());
    }

    fn on_knock(&mut self, knock: Knock) {
        match knock {
            Knock::Frame { from, frame, answer } => self.on_frame(from, frame, answer),
            Knock::LinkUp { member, link } => {
                self.state.links.insert(member, link);
                self.state.members_changed = true;
                self.handle(Input::LinkUp { peer: member });
            }
            Knock::LinkDown { member } => {
                self.state.links.remove(&member);
                self.state.members_changed = true;
                self.handle(Input::LinkDown { peer: member });
            }
            Knock::Evicted => {
                self.state.pending.add(Told::Event(Event::Evicted), 0);
                self.state.over = true;
            }
            Knock::Lease { node, live } => self.handle(Input::Lease { node, live }),
            Knock::Refused { member } => {
                self.state.members_changed = true;
                self.handle(Input::Refused { peer: member });
            }
        }
    }

    fn on_ask(&mut self, ask: Ask) {
        match ask {
            Ask::Leave { reason, linger, reply } => self.begin_leave(reason, linger, reply),
            Ask::Reply { dot, reply } => {
                let said = self.state.calls.keep(dot, reply);
                said.into_iter().for_each(|frame| self.say(dot.origin, frame));
            }
            Ask::Collect {
                dot,
                collect,
                until,
                reply,
            } => {
                let me = self.shared.me.id;
                let asked = self
                    .shared
                    .members()
                    .into_iter()
                    .filter(|member| member.id != me)
                    .collect();
                self.state.calls.collect(dot, asked, (collect, until), reply);
            }
            Ask::Ping { member, reply } => {
                let asked = self.state.pings.begin(self.shared.me.id, member, reply);
                asked.into_iter().for_each(|frame| self.say(member, frame));
            }
            Ask::Recall => self.recall(),
            Ask::Roster(reply) => drop(reply.send(show::roster(&self.engine))),
            Ask::Held(reply) => drop(reply.send(show::held(&self.engine, self.now()))),
            Ask::Gauges(reply) => drop(reply.send(show::gauges(&self.engine))),
            Ask::Explain { dot, reply } => {
                let explanation = show::explanation(&self.engine, dot, |id| self.shared.name_of(id));
                drop(reply.send(explanation));
            }
        }
    }

    /// Takes what else is at hand, so that one turn of the engine is for all of it.
    fn take_at_hand(&mut self) {
        for _ in 0..super::KNOCKS_AT_ONCE {
            let Ok(knock) = self.knocks.try_recv() else { break };
            self.on_knock(knock);
        }
        self.take_sends();
    }

    fn take_sends(&mut self) {
        // While events are not read the mailbox lets nothing in, and who is in it is to know at once. What was handed
        // over waits on.
        let waiting = self.state.parked.len();
        if waiting == 0 || (self.state.behind && waiting <= super::SEND_QUEUE) {
            self.inbox.take(&mut self.state.parked);
        }
    }

    /// Sends what waits, unless the window is shut; what the window refuses then waits on.
    pub(super) fn send_parked(&mut self) {
        if self.state.parked.is_empty() {
            return;
        }
        if self.state.behind {
            self.refuse_awaited();
        } else if !self.engine.window_is_shut() && !self.is_swamped() {
            let sent_at = wall_clock();
            let parked = self.state.parked.drain(..);
            parked.for_each(|outgoing| self.state.turn.say(outgoing, sent_at));
        }
    }

    /// Tells whoever waits for a send that events are not read. What was handed over waits on.
    fn refuse_awaited(&mut self) {
        for outgoing in std::mem::take(&mut self.state.parked) {
            match outgoing.ticket {
                Some(_) => self.state.turn.fail(outgoing, SendError::Behind),
                None => self.state.parked.push_back(outgoing),
            }
        }
    }

    /// Ends calls that have their replies, and asks again for those that are missing.
    fn collect_replies(&mut self) {
        if self.state.calls.is_idle() {
            return;
        }
        for (to, frame) in self.state.calls.turn(&self.shared.members()) {
            self.say(to, frame);
        }
    }

    pub(super) fn note_members(&mut self) {
        let members = self.engine.members();
        self.shared.set_members(&members);
        self.state.speaker = None;
        for view in members {
            let id = view.record.member;
            let known = self.state.members.get(&id);
            if known.is_none_or(|member| *member.name != *view.name) {
                self.state.members.insert(
                    id,
                    Member {
                        id,
                        name: view.name.into(),
                    },
                );
            }
        }
    }

    /// Brings snapshots up to date, and events to the application.
    fn publish(&mut self) {
        if std::mem::take(&mut self.state.members_changed) {
            self.note_members();
        }
        if std::mem::take(&mut self.state.acks_changed) {
            self.shared.changed();
        }
        if self.state.pending.is_empty() {
            return;
        }
        match self.events.clone().try_reserve_owned() {
            Ok(permit) => self.flush(Some(permit)),
            Err(mpsc::error::TrySendError::Full(_)) => {
                if self.state.pending.is_too_long() && !std::mem::replace(&mut self.state.behind, true) {
                    self.inbox.set_behind(true);
                }
            }
            Err(mpsc::error::TrySendError::Closed(_)) => self.flush(None),
        }
    }

    /// Hands over what the application has room for; dropped `Events` discard.
    fn flush(&mut self, permit: Option<mpsc::OwnedPermit<Backlog>>) {
        let spare = self.read.try_recv().map(Backlog::cleared).unwrap_or_default();
        let events = std::mem::replace(&mut self.state.pending, spare);
        if let Some(permit) = permit {
            permit.send(events);
        }
        if std::mem::take(&mut self.state.behind) {
            self.inbox.set_behind(false);
            self.handle(Input::CaughtUp);
        }
    }
}

/// When the store has kept what it was given; never without one.
async fn saved(keeping: &mut Option<Keeping>) -> Result<(), StoreError> {
    match keeping {
        Some(keeping) => keeping.saved().await,
        None => std::future::pending().await,
    }
}

/// Nothing, if nobody will read any more.
async fn room_for(events: &mpsc::Sender<Backlog>) -> Option<mpsc::OwnedPermit<Backlog>> {
    events.clone().reserve_owned().await.ok()
}

pub(super) fn wall_clock() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_micros() as u64)
}
