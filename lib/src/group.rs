//! A member's handle on its group, and the task behind it.

pub(crate) mod backlog;
pub(crate) mod call;
mod events;
mod farewell;
pub(crate) mod faulty;
mod hear;
pub(crate) mod keep;
mod listing;
mod mailbox;
mod outputs;
pub(crate) mod ping;
mod recall;
mod shared;
mod show;
mod task;
mod turn;

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::engine::{Config, Engine, Former};
use crate::event::{Event, Explanation};
use crate::faults::Faults;
use crate::id::{Dot, GroupId, MemberId, NodeId};
use crate::message::{Intro, Kind, Member, Name};
use crate::net::Knock;
use crate::receipt::Receipt;
use crate::sign::Signer;
use crate::store::keeper::Keeper;
use crate::store::{Saved, rows};
use call::Collected;
pub use call::{CallError, Collect, Replies, Request};
pub use events::Events;
use events::Replay;
use faulty::Faulty;
use keep::Keeping;
pub use listing::CircleError;
pub(crate) use listing::{Listing, Private};
use mailbox::{Mailbox, Sent};
pub(crate) use shared::{Row, Shared};
use task::{State, Task};

/// Batches of events that wait for the application; each is what one turn of the group's task delivered.
const EVENT_BATCHES: usize = 8;
/// Buffers of events that were read and wait to be filled again.
const SPARE_BATCHES: usize = 4;
/// Sends that wait for the group's task, and that one turn of it takes; then `send` waits.
pub(crate) const SEND_QUEUE: usize = 256;
/// Frames that one turn of the task takes.
const KNOCKS_AT_ONCE: usize = 64;
/// Questions that wait for the group's task.
const ASK_QUEUE: usize = 64;
/// How long `leave` waits for everyone who is there.
const LEAVE_PATIENCE: Duration = Duration::from_secs(5);

/// Membership in a group: a stream of events, and the way to send.
#[derive(Debug)]
pub struct Group {
    sender: Sender,
    events: Events,
}

/// The sending half; clones share the membership.
#[derive(Clone, Debug)]
pub struct Sender {
    mailbox: Mailbox,
    asks: mpsc::Sender<Ask>,
    shared: Arc<Shared>,
    /// With a store.
    keeper: Option<Keeper>,
    private: Option<Private>,
}

/// Why a message was not sent. It was not stamped: nothing changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// Longer than the payload limit.
    #[error("the message has {bytes} bytes; at most {limit} can be sent")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// This member's events are not being read: read them, then send again. (One task that reads and sends
    /// would otherwise wait for itself.)
    #[error("events are not being read: read them, then send again")]
    Behind,
    /// The node's store failed, and the group ended with [`Event::StoreFailed`]: the message may be kept there, or not.
    #[error("the store failed; the message may be kept, or not")]
    NotKept,
    /// The member left, or the node was shut down.
    #[error("this member left the group")]
    Left,
}

/// A member as `members()` shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemberState {
    /// Who.
    pub member: Member,
    /// Where its node listens, if known.
    pub addr: Option<SocketAddr>,
    /// Whether a link to its node stands now; true for this member itself.
    pub linked: bool,
    /// Whether there has been no sign of it lately, or its address refuses connections.
    pub silent: bool,
    /// Whether it is too slow to hold others back.
    pub lagging: bool,
    /// How many of this member's own messages it has delivered, as far as known here.
    pub has_of_mine: u64,
    /// The Lamport time of its join message, if that is known here.
    pub joined_at: Option<u64>,
    /// What it has delivered, as far as known here.
    pub digest: Clock,
}

/// A message that waits for its causes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeldMessage {
    /// Its id.
    pub dot: Dot,
    /// The first missing cause.
    pub needs: Dot,
    /// For how long.
    pub held_for: Duration,
}

/// Numbers for status lines and metrics.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Gauges {
    /// Messages delivered since the join.
    pub delivered: u64,
    /// Messages held now.
    pub held: usize,
    /// Bytes held now.
    pub held_bytes: usize,
    /// Messages in the log now.
    pub logged: usize,
    /// Bytes in the log now.
    pub log_bytes: usize,
    /// The greatest Lamport time known.
    pub lamport: u64,
}

/// A question to the group's task, or the wish to leave.
#[derive(Debug)]
pub(crate) enum Ask {
    Leave {
        reason: String,
        linger: Duration,
        reply: Option<oneshot::Sender<Vec<Member>>>,
    },
    Recall,
    Ping {
        member: MemberId,
        reply: oneshot::Sender<Duration>,
    },
    Roster(oneshot::Sender<Vec<MemberState>>),
    Held(oneshot::Sender<Vec<HeldMessage>>),
    Gauges(oneshot::Sender<Gauges>),
    Reply {
        dot: Dot,
        reply: Bytes,
    },
    Collect {
        dot: Dot,
        collect: Collect,
        until: tokio::time::Instant,
        reply: oneshot::Sender<Option<Collected>>,
    },
    Explain {
        dot: Dot,
        reply: oneshot::Sender<Explanation>,
    },
}

/// A member that the group wants a link to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Want {
    pub(crate) member: MemberId,
    pub(crate) node: NodeId,
    pub(crate) addr: SocketAddr,
}

/// Everyone that the group wants a link to.
pub(crate) type Wanted = Vec<Want>;

/// Who should be cut off from this node, as a group found out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcast {
    /// This node's key signed two histories, which anybody can verify.
    Expelled(NodeId),
    /// This member's own link brought what the member's key did not sign.
    Forger(MemberId),
}

/// What a group's task is made of.
pub(crate) struct Setup {
    pub(crate) id: GroupId,
    pub(crate) member: MemberId,
    pub(crate) intro: Intro,
    pub(crate) config: Config,
    /// What the member signs with; none: the group is not signed.
    pub(crate) signer: Option<Signer>,
    /// If the group is private.
    pub(crate) private: Option<Private>,
    pub(crate) seed: u64,
    pub(crate) faults: Option<Faults>,
    pub(crate) knocks: mpsc::Receiver<Knock>,
    /// Woken when `Started::wanted` or `Started::outcasts` changed.
    pub(crate) views: Arc<Notify>,
    /// What the node keeps, with what it kept of this group.
    pub(crate) kept: Option<Kept>,
}

/// A node's store, and what is there of a group.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) keeper: Keeper,
    pub(crate) saved: Saved,
    pub(crate) former: Option<Former>,
}

/// How a join ended: the node is a member, or the group has so many members that it takes no more.
pub(crate) type Entered = Result<(), usize>;

/// A group that has begun to join.
pub(crate) struct Started {
    pub(crate) group: Group,
    pub(crate) joined: oneshot::Receiver<Entered>,
    pub(crate) wanted: watch::Receiver<Wanted>,
    /// Each once, in the order in which they were found: at most as many as a group may have had members.
    pub(crate) outcasts: watch::Receiver<Vec<Outcast>>,
    pub(crate) control: Control,
}

/// The node's own way to end a membership. Does not keep it alive.
pub(crate) struct Control(mpsc::WeakSender<Ask>);

impl Control {
    pub(crate) async fn leave(&self, linger: Duration) {
        if let Some(asks) = self.0.upgrade() {
            let _ = asks
                .send(Ask::Leave {
                    reason: String::new(),
                    linger,
                    reply: None,
                })
                .await;
        }
    }
}

/// Starts the task of a group in `tasks`.
pub(crate) fn start(setup: Setup, tasks: &mut JoinSet<GroupId>) -> Started {
    let Setup {
        id,
        member,
        intro,
        config,
        signer,
        private,
        seed,
        faults,
        knocks,
        views,
        kept,
    } = setup;
    let me = Member {
        id: member,
        name: Name::from(&*intro.name),
    };
    let shared = Arc::new(Shared::new(id, me, config.payload_limit));
    let (mailbox, inbox) = mailbox::mailbox();
    let (asks, asked) = mpsc::channel(ASK_QUEUE);
    let (events, batches) = mpsc::channel(EVENT_BATCHES);
    let (give_back, read) = mpsc::channel(SPARE_BATCHES);
    let (want, wanted) = watch::channel(Wanted::new());
    let (expel, outcasts) = watch::channel(Vec::new());
    let (tell_joined, joined) = oneshot::channel();
    let (mut state, mut replay, mut keeper) = (State::default(), None, None);
    state.faulty = faults.map(|faults| Faulty::new(faults, seed));
    let engine = match kept {
        None => Engine::new(config, member, intro, seed, 0),
        Some(Kept {
            keeper: of,
            saved,
            former,
        }) => {
            let (after, upto) = (saved.acknowledged, saved.last_place);
            let names = former.as_ref().map(rows::names).unwrap_or_default();
            replay = (after < upto).then(|| Replay::new(of.clone(), id, (after, upto), names));
            let kept = former.as_ref().map(|former| former.standpoint.delivered.clone());
            let history = rows::lacking(&saved);
            state.keeping = Some(Keeping::new(of.clone(), upto, kept.unwrap_or_default(), history));
            keeper = Some(of);
            match former {
                Some(former) => Engine::restored(config, member, intro, seed, 0, former),
                None => Engine::new(config, member, intro, seed, 0).with_store(),
            }
        }
    };
    let engine = match signer {
        Some(signer) => engine.with_signer(signer),
        None => engine,
    };
    let task = Task {
        replies: asks.downgrade(),
        group: id,
        engine,
        shared: shared.clone(),
        private: private.clone(),
        knocks,
        inbox,
        asks: asked,
        events,
        read,
        wanted: want,
        outcasts: expel,
        views,
        joined: Some(tell_joined),
        state,
    };
    tasks.spawn(task.run());
    let control = Control(asks.downgrade());
    let events = Events::new(batches, give_back, asks.clone(), replay);
    let group = Group {
        sender: Sender {
            mailbox,
            asks,
            shared,
            keeper,
            private,
        },
        events,
    };
    Started {
        group,
        joined,
        wanted,
        outcasts,
        control,
    }
}

impl Group {
    /// Separates sending from receiving. The member leaves when the last `Sender` and the `Events` are gone;
    /// dropped `Events` discard.
    pub fn split(self) -> (Sender, Events) {
        (self.sender, self.events)
    }

    /// Says goodbye, and returns when everyone who is there has it, at most after 5 s.
    pub async fn leave(self) {
        self.sender.leave_with("", LEAVE_PATIENCE).await;
    }
}

impl std::ops::Deref for Group {
    type Target = Sender;

    /// Everything that a `Sender` can do, a `Group` can.
    fn deref(&self) -> &Sender {
        &self.sender
    }
}

impl Sender {
    /// Sends to everyone in the group, this member included: it is delivered here before this returns.
    ///
    /// Waits while the slowest member that is neither silent nor lagging is more than a window behind. Dropping
    /// the future before it is ready leaves open whether the message was sent.
    ///
    /// # Errors
    /// [`SendError`]: the message was not stamped, nothing changed.
    pub async fn send(&self, payload: impl Into<Bytes>) -> Result<Receipt, SendError> {
        self.send_as(Kind::App, payload.into()).await
    }

    async fn send_as(&self, kind: Kind, payload: Bytes) -> Result<Receipt, SendError> {
        match self.mailbox.post(kind, payload).await? {
            Sent::Stamped(dot, seen) => Ok(Receipt::new(dot, self.shared.clone(), seen)),
            Sent::HandedOver => unreachable!("it waits to be stamped"),
        }
    }

    /// Hands a message over without waiting for it to be sent: for whoever has much to say. It is sent in its turn, with
    /// what is sent and handed over before and after it, and its delivery shows in the events as everyone's.
    ///
    /// Waits while 256 messages wait already; they do while the window is full, as with [`Sender::send`]. What is not
    /// sent when this member leaves is counted in [`Event::Unsent`].
    ///
    /// # Errors
    /// [`SendError`]: the message was not taken, nothing changed.
    pub async fn hand_over(&self, payload: impl Into<Bytes>) -> Result<(), SendError> {
        let (payload, limit) = (payload.into(), self.shared.payload_limit);
        if payload.len() > limit {
            let bytes = payload.len();
            return Err(SendError::TooLong { bytes, limit });
        }
        self.mailbox.hand_over(Kind::App, payload).await.map(drop)
    }

    /// With a store: the application has taken in every event up to the one whose [`Events::place`] this is: shown it, say, or
    /// kept it itself. What it has not is handed out again after a restart, as [`Event::Replayed`]. Saved a little later;
    /// does nothing without a store, and for a place that is not higher than before.
    pub fn acknowledge(&self, place: u64) {
        if let Some(keeper) = self.keeper.as_ref().filter(|_| place > 0) {
            keeper.acknowledge(self.shared.id, place);
        }
    }

    /// Asks the other members for what was said before this one joined, as far as they remember it (with a store: what it
    /// does not keep yet). It comes in pieces, as [`Event::Recalled`], is kept in the store beside what was delivered, and
    /// is never delivered; [`Event::RecallOver`] says that nobody has more. A second call begins anew.
    pub async fn recall(&self) {
        let _ = self.asks.send(Ask::Recall).await;
    }

    /// This member.
    pub fn me(&self) -> Member {
        self.shared.me.clone()
    }

    /// The group's id.
    pub fn id(&self) -> GroupId {
        self.shared.id
    }

    /// Who is a member now, this one included, ascending by id.
    pub fn members(&self) -> Vec<Member> {
        self.shared.members()
    }

    /// The same with what is known of each. Empty once this member left.
    pub async fn roster(&self) -> Vec<MemberState> {
        self.ask(Ask::Roster).await.unwrap_or_default()
    }

    /// The name of an origin, also of one that left, if known.
    pub fn name_of(&self, member: MemberId) -> Option<Name> {
        self.shared.name_of(member)
    }

    /// What this member has delivered.
    pub fn clock(&self) -> Clock {
        self.shared.clock.borrow().clone()
    }

    /// What every member that counts has delivered, as far as known here (causal stability); brought up to date
    /// several times a second.
    pub fn stable(&self) -> Clock {
        self.shared.stable()
    }

    /// Returns when this member has delivered at least that: the answer to hidden channels.
    pub async fn reached(&self, clock: &Clock) {
        let mut delivered = self.shared.clock.subscribe();
        // The sender lives in `shared`: there is no error to come.
        let _ = delivered.wait_for(|delivered| delivered.dominates(clock)).await;
    }

    /// Returns when at least `n` members, this one included, have joined, as far as known here.
    pub async fn wait_for(&self, n: usize) {
        let mut joined = self.shared.joined.subscribe();
        let _ = joined.wait_for(|joined| *joined >= n).await;
    }

    /// Why a message is or is not delivered here. `Unknown` once this member left.
    pub async fn explain(&self, dot: Dot) -> Explanation {
        self.ask(|reply| Ask::Explain { dot, reply })
            .await
            .unwrap_or(Explanation::Unknown)
    }

    /// What is held now, oldest first; at most 1,000 messages.
    pub async fn held(&self) -> Vec<HeldMessage> {
        self.ask(Ask::Held).await.unwrap_or_default()
    }

    /// Numbers for status lines and metrics. Zeros once this member left.
    pub async fn gauges(&self) -> Gauges {
        self.ask(Ask::Gauges).await.unwrap_or_default()
    }

    /// Says goodbye with a reason, and returns when everyone who is there has it, at most after `linger`: then
    /// the members that did not confirm, those that are away included. A second call with a shorter time cuts the
    /// first one short.
    pub async fn leave_with(&self, reason: &str, linger: Duration) -> Vec<Member> {
        let reason = reason.to_owned();
        self.ask(|reply| Ask::Leave {
            reason,
            linger,
            reply: Some(reply),
        })
        .await
        .unwrap_or_default()
    }

    async fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.asks.send(question(reply)).await.ok()?;
        answer.await.ok()
    }
}

impl Stream for Group {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.events.poll_next_unpin(cx)
    }
}
