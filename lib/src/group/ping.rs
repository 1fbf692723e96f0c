//! How long a member takes to answer. No message: a word of the group RPC about a request that nobody made.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use crate::engine::Frame;
use crate::group::{Ask, Sender};
use crate::id::{Dot, MemberId};

/// Pings that wait for one member at once; a further one is not answered. One a moment is what a person asks.
pub(crate) const MAX_PINGS: usize = 16;

/// Who waits for an answer of whom.
#[derive(Default)]
pub(super) struct Pings {
    waiting: BTreeMap<MemberId, Vec<(Instant, oneshot::Sender<Duration>)>>,
}

impl Sender {
    /// The time that a member takes to answer over its link: there, through the queue of its group, and back. Nothing, if
    /// it did not within `patience`, or has no link to this node, or is this member itself.
    pub async fn ping(&self, member: MemberId, patience: Duration) -> Option<Duration> {
        let (reply, replied) = oneshot::channel();
        self.asks.send(Ask::Ping { member, reply }).await.ok()?;
        timeout(patience, replied).await.ok()?.ok()
    }
}

impl Pings {
    /// What to ask, if there is room for one more who waits.
    pub(super) fn begin(&mut self, me: MemberId, of: MemberId, reply: oneshot::Sender<Duration>) -> Option<Frame> {
        self.waiting.retain(|_, waiting| {
            waiting.retain(|(_, reply)| !reply.is_closed());
            !waiting.is_empty()
        });
        let waiting = self.waiting.entry(of).or_default();
        if of == me || waiting.len() >= MAX_PINGS {
            return None;
        }
        waiting.push((Instant::now(), reply));
        Some(Frame::Asking { dot: of_nobody(me) })
    }

    /// A member answered: all who waited for it know.
    pub(super) fn on_answer(&mut self, from: MemberId) {
        for (since, reply) in self.waiting.remove(&from).unwrap_or_default() {
            let _ = reply.send(since.elapsed());
        }
    }
}

/// What a member that is asked so says.
pub(super) fn answer(dot: Dot) -> Option<Frame> {
    let reply = Bytes::new();
    is_ping(dot).then_some(Frame::Answer { dot, reply })
}

/// Messages are counted from 1: nobody has ever made this request.
pub(super) fn is_ping(dot: Dot) -> bool {
    dot.seq == 0
}

fn of_nobody(origin: MemberId) -> Dot {
    Dot { origin, seq: 0 }
}
