//! Group RPC: a request is an ordinary causal message, the replies come straight back to the caller.
//!
//! Replies may get lost with a connection: the caller asks again for those that are missing, and a member keeps its
//! latest replies to say them again.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::engine::Frame;
use crate::group::{Ask, SendError, Sender};
use crate::id::{Dot, MemberId};
use crate::message::{Kind, Member, Stamp};

/// Calls of one member that may wait for replies at once; more are refused.
const MAX_CALLS: usize = 1024;
/// Replies that a member keeps for callers that ask again, and their bytes in all.
pub(crate) const KEPT: (usize, usize) = (1024, 4 << 20);
/// Replies that came before their call was noted here: a few, for one turn of the task.
const EARLY: usize = 256;
/// Pause between two askings for the replies that are missing: several round trips of any place where a mesh makes
/// sense.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// How many replies a call waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Collect {
    /// One from every member that was asked and did not leave since.
    All,
    /// So many that, with the caller, they are more than half of the members.
    Majority,
    /// So many.
    First(usize),
}

/// What came of a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Replies<R> {
    /// The request's id.
    pub dot: Dot,
    /// Who replied, with the reply, in the order in which they came.
    pub replies: Vec<(Member, R)>,
    /// Who was asked and did not reply in time, or replied with something that is not an `R`.
    pub missing: Vec<Member>,
    /// Whether as many replied as were to be collected.
    pub complete: bool,
}

/// Why a call failed. Nothing was sent, unless it says so.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// As for `send`.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The request cannot be encoded.
    #[error("the request cannot be encoded: {0}")]
    Encode(String),
    /// This member waits for replies to as many calls as it may.
    #[error("more than {MAX_CALLS} calls wait for replies: wait for some of them")]
    TooMany,
}

/// A request of another member, delivered in causal order. It waits for this member's reply; dropped, there is none.
#[derive(Clone, Debug)]
pub struct Request {
    /// Who asks.
    pub from: Member,
    /// Its place in time; the dot is its id.
    pub stamp: Stamp,
    /// The encoded request.
    pub payload: Bytes,
    pub(super) replies: tokio::sync::mpsc::WeakSender<Ask>,
}

impl PartialEq for Request {
    fn eq(&self, other: &Self) -> bool {
        self.stamp == other.stamp && self.payload == other.payload
    }
}

impl Eq for Request {}

impl Request {
    /// The request as the caller's type.
    ///
    /// # Errors
    /// In words, when the bytes are not that type; the request still waits for a reply.
    pub fn read<Q: DeserializeOwned>(&self) -> Result<Q, String> {
        postcard::from_bytes(&self.payload).map_err(|error| error.to_string())
    }

    /// Replies to the caller. A second reply to the same request is ignored. Without effect once this member left.
    ///
    /// # Errors
    /// In words, when the reply cannot be encoded or is longer than a payload may be: nothing was sent.
    pub async fn reply<R: Serialize>(&self, reply: &R) -> Result<(), String> {
        let reply: Bytes = postcard::to_stdvec(reply).map_err(|error| error.to_string())?.into();
        if reply.len() > crate::run::MAX_PAYLOAD {
            return Err(format!("a reply has at most {} bytes", crate::run::MAX_PAYLOAD));
        }
        if let Some(asks) = self.replies.upgrade() {
            let _ = asks
                .send(Ask::Reply {
                    dot: self.stamp.dot,
                    reply,
                })
                .await;
        }
        Ok(())
    }
}

impl Sender {
    /// Delivers a request in causal order at every other member, and collects their replies for at most `deadline`.
    ///
    /// The members that are asked are those that have joined when the request is stamped; the caller is not among
    /// them. They get it as `Event::Called`.
    ///
    /// # Errors
    /// [`CallError`]: nothing was sent.
    pub async fn call<Q: Serialize, R: DeserializeOwned>(
        &self,
        request: &Q,
        collect: Collect,
        deadline: Duration,
    ) -> Result<Replies<R>, CallError> {
        let until = Instant::now() + deadline;
        let payload = postcard::to_stdvec(request).map_err(|error| CallError::Encode(error.to_string()))?;
        let receipt = self.send_as(Kind::Call, payload.into()).await?;
        let (reply, replied) = oneshot::channel();
        let dot = receipt.dot();
        let ask = Ask::Collect {
            dot,
            collect,
            until,
            reply,
        };
        self.asks.send(ask).await.map_err(|_| SendError::Left)?;
        let collected = replied.await.map_err(|_| SendError::Left)?.ok_or(CallError::TooMany)?;
        let (mut replies, mut missing) = (Vec::new(), collected.missing);
        for (member, bytes) in collected.replies {
            match postcard::from_bytes(&bytes) {
                Ok(reply) => replies.push((member, reply)),
                Err(_) => missing.push(member),
            }
        }
        let complete = collected.complete && replies.len() >= collected.enough;
        Ok(Replies {
            dot,
            replies,
            missing,
            complete,
        })
    }
}

/// Replies as they came.
#[derive(Debug)]
pub(crate) struct Collected {
    replies: Vec<(Member, Bytes)>,
    missing: Vec<Member>,
    complete: bool,
    enough: usize,
}

/// Calls that wait, and replies that are kept.
#[derive(Default)]
pub(super) struct Calls {
    waiting: BTreeMap<Dot, Waiting>,
    /// Replies to requests that are not waited for yet: they may overtake the caller's own bookkeeping.
    early: VecDeque<(MemberId, Dot, Bytes)>,
    kept: VecDeque<(Dot, Bytes)>,
    kept_bytes: usize,
    again_at: Option<Instant>,
}

struct Waiting {
    asked: Vec<Member>,
    collect: Collect,
    replies: Vec<(Member, Bytes)>,
    until: Instant,
    reply: oneshot::Sender<Option<Collected>>,
}

impl Waiting {
    /// How many replies are enough, of those who are asked and still count.
    fn enough(&self, counts: &[Member]) -> usize {
        match self.collect {
            Collect::All => {
                let gone = |asked: &&Member| !counts.iter().any(|member| member.id == asked.id) && !self.has(asked.id);
                self.asked.len() - self.asked.iter().filter(gone).count()
            }
            Collect::Majority => self.asked.len().div_ceil(2),
            Collect::First(n) => n,
        }
    }

    fn has(&self, id: MemberId) -> bool {
        self.replies.iter().any(|reply| reply.0.id == id)
    }

    fn lacks(&self) -> impl Iterator<Item = &Member> {
        self.asked.iter().filter(|member| !self.has(member.id))
    }

    fn finish(self, counts: &[Member]) {
        let enough = self.enough(counts);
        let missing = self.lacks().cloned().collect();
        let complete = self.replies.len() >= enough;
        // A caller that does not wait any more needs nothing.
        let _ = self.reply.send(Some(Collected {
            replies: self.replies,
            missing,
            complete,
            enough,
        }));
    }
}

impl Calls {
    /// Begins to collect replies to a request that was just sent.
    pub(super) fn collect(
        &mut self,
        dot: Dot,
        asked: Vec<Member>,
        (collect, until): (Collect, Instant),
        reply: oneshot::Sender<Option<Collected>>,
    ) {
        if self.waiting.len() >= MAX_CALLS {
            let _ = reply.send(None);
            return;
        }
        self.waiting.insert(
            dot,
            Waiting {
                asked,
                collect,
                replies: Vec::new(),
                until,
                reply,
            },
        );
        self.again_at.get_or_insert(Instant::now() + ASK_AGAIN);
        let (mine, others) = std::mem::take(&mut self.early)
            .into_iter()
            .partition(|early| early.1 == dot);
        self.early = others;
        let mine: VecDeque<_> = mine;
        mine.into_iter()
            .for_each(|(from, dot, reply)| self.on_answer(from, dot, reply));
    }

    pub(super) fn on_answer(&mut self, from: MemberId, dot: Dot, reply: Bytes) {
        let Some(waiting) = self.waiting.get_mut(&dot) else {
            self.early.push_back((from, dot, reply));
            let bytes =
                |early: &VecDeque<(MemberId, Dot, Bytes)>| early.iter().map(|entry| entry.2.len()).sum::<usize>();
            while self.early.len() > EARLY || bytes(&self.early) > KEPT.1 {
                self.early.pop_front();
            }
            return;
        };
        let asked = waiting.asked.iter().find(|member| member.id == from).cloned();
        if let Some(member) = asked.filter(|member| !waiting.has(member.id)) {
            waiting.replies.push((member, reply));
        }
    }

    /// This member's reply: kept, and said.
    pub(super) fn keep(&mut self, dot: Dot, reply: Bytes) -> Option<Frame> {
        if self.kept.iter().any(|kept| kept.0 == dot) {
            return None;
        }
        self.kept_bytes += reply.len();
        self.kept.push_back((dot, reply.clone()));
        while self.kept.len() > KEPT.0 || self.kept_bytes > KEPT.1 {
            let Some((_, oldest)) = self.kept.pop_front() else {
                break;
            };
            self.kept_bytes -= oldest.len();
        }
        Some(Frame::Answer { dot, reply })
    }

    /// A caller asks again.
    pub(super) fn said(&self, dot: Dot) -> Option<Frame> {
        let (dot, reply) = self.kept.iter().find(|kept| kept.0 == dot)?.clone();
        Some(Frame::Answer { dot, reply })
    }

    /// Ends calls that have what they want, or no time left, and says whom to ask again.
    pub(super) fn turn(&mut self, counts: &[Member]) -> Vec<(MemberId, Frame)> {
        let now = Instant::now();
        let done = |waiting: &Waiting| waiting.until <= now || waiting.replies.len() >= waiting.enough(counts);
        let dots: Vec<Dot> = self
            .waiting
            .iter()
            .filter(|(_, waiting)| done(waiting))
            .map(|entry| *entry.0)
            .collect();
        for dot in dots {
            if let Some(waiting) = self.waiting.remove(&dot) {
                waiting.finish(counts);
            }
        }
        let again = self.again_at.is_some_and(|at| at <= now);
        self.again_at = match self.waiting.is_empty() {
            true => None,
            false if again => Some(now + ASK_AGAIN),
            false => self.again_at,
        };
        let asking = |(dot, waiting): (&Dot, &Waiting)| {
            let dot = *dot;
            waiting
                .lacks()
                .map(move |member| (member.id, Frame::Asking { dot }))
                .collect::<Vec<_>>()
        };
        if again {
            self.waiting.iter().flat_map(asking).collect()
        } else {
            Vec::new()
        }
    }

    /// When `turn` is due at the latest.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let until = self.waiting.values().map(|waiting| waiting.until).min();
        until.into_iter().chain(self.again_at).min()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }
}
