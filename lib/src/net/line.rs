//! A connection as the calling side has it: what was asked, and what drives it.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use futures::stream::FuturesUnordered;
use futures::task::AtomicWaker;
use futures::{FutureExt, StreamExt};
use tarpc::client::{self, NewClient, RequestDispatch};
use tarpc::context;
use tokio::task::unconstrained;

use crate::net::codec::Caller;
use crate::net::rpc::{Call, Path, Reply};
use crate::net::socket::Socket;
use crate::net::tls::plain;
use crate::net::transport::Transport;
use crate::net::{CALLS_IN_FLIGHT, STALL_TIMEOUT};

type Wire = Transport<Socket, Caller>;
/// The number and path of a call, and what came of it.
type Answered = (u64, Path, Result<Reply, String>);

/// Calls over one connection, written in the order in which they were begun. Dropped, it closes the connection.
///
/// Whoever waits for answers also drives the connection. A task of its own for that, as is usual, would be one more
/// wake-up for every call and one for every answer, and at low load wake-ups are most of what a message costs.
pub(crate) struct Line {
    client: client::Channel<Box<Call>, Reply>,
    dispatch: Pin<Box<RequestDispatch<Box<Call>, Reply, Wire>>>,
    /// First polled in the order in which they were begun.
    calls: FuturesUnordered<Pin<Box<dyn Future<Output = Answered> + Send>>>,
    coupled: Coupled,
    /// When each was begun. One timer a link looks at these: one for each call would be set and cancelled in vain.
    since: BTreeMap<u64, tokio::time::Instant>,
    begun: u64,
    /// The connection is closed; and why, if it was an error.
    ended: bool,
    trouble: Option<io::Error>,
}

impl Line {
    pub(crate) fn new(transport: Wire) -> Self {
        let mut config = client::Config::default();
        config.max_in_flight_requests = CALLS_IN_FLIGHT * 2;
        config.pending_request_buffer = CALLS_IN_FLIGHT * 2;
        let NewClient { client, dispatch } = client::new(config, transport);
        Self {
            client,
            dispatch: Box::pin(dispatch),
            calls: FuturesUnordered::new(),
            coupled: Coupled::new(),
            since: BTreeMap::new(),
            begun: 0,
            ended: false,
            trouble: None,
        }
    }

    /// Why the connection was closed, if that was an error.
    pub(crate) fn trouble(&mut self) -> Option<io::Error> {
        self.trouble.take()
    }

    pub(crate) fn has_room(&self) -> bool {
        self.calls.len() < CALLS_IN_FLIGHT
    }

    /// Calls that are begun and not answered.
    pub(crate) fn under_way(&self) -> usize {
        self.calls.len()
    }

    /// It is written when `next` is polled.
    pub(crate) fn begin(&mut self, call: Call) {
        let (nth, path, client) = (self.begun, path_of(&call), self.client.clone());
        // Its future holds the call in several places. Above a kilobyte memory would be taken from further away.
        let call = Box::new(call);
        self.begun += 1;
        self.since.insert(nth, tokio::time::Instant::now());
        // Unconstrained: else the runtime's fairness may let a later call pass.
        self.calls.push(Box::pin(unconstrained(async move {
            // Whoever looks at `oldest` gives up before tarpc does, whose deadlines begin only when a call is written.
            let reply = client.call(context_of(STALL_TIMEOUT * 2), call).await;
            (nth, path, reply.map_err(|error| error.to_string()))
        })));
    }

    /// Drives the connection until there is an answer; nothing when the connection is closed. May be dropped and called
    /// again.
    pub(crate) async fn next(&mut self) -> Option<(Path, Result<Reply, String>)> {
        let (nth, path, reply) = match self.answered().await {
            Some(answered) => answered,
            // The last answers may have come together with the end.
            None => self.calls.next().now_or_never()??,
        };
        self.since.remove(&nth);
        Some((path, reply))
    }

    async fn answered(&mut self) -> Option<Answered> {
        if self.ended {
            return None;
        }
        let answered = poll_fn(|cx| {
            self.coupled.poll(
                cx,
                |cx| match self.calls.poll_next_unpin(cx) {
                    Poll::Ready(Some(answered)) => Poll::Ready(Some(answered)),
                    // No call under way is no reason to stop.
                    Poll::Ready(None) | Poll::Pending => Poll::Pending,
                },
                |cx| {
                    self.dispatch.as_mut().poll(cx).map(|ended| {
                        self.trouble = ended.err().map(|error| plain(&error));
                        None
                    })
                },
            )
        });
        let answered = answered.await;
        self.ended |= answered.is_none();
        answered
    }

    /// When the call that waits longest was begun.
    pub(crate) fn oldest(&self) -> Option<tokio::time::Instant> {
        self.since.values().next().copied()
    }
}

const NOWHERE: Path = Path {
    group: crate::id::GroupId([0; 16]),
    from: crate::id::MemberId([0; 16]),
    to: crate::id::MemberId([0; 16]),
};

fn path_of(call: &Call) -> Path {
    match call {
        Call::Push { path, .. } | Call::Frame { path, .. } => *path,
        Call::Hello(_) | Call::Groups(..) | Call::Poll => NOWHERE,
    }
}

fn context_of(deadline: Duration) -> context::Context {
    let mut context = context::current();
    context.deadline = Instant::now() + deadline;
    context
}

/// Two futures that wake each other, polled as one: both, until neither has anything to do.
///
/// In a `select!` one that wakes the other wakes the whole task, which is running: the runtime then runs it once more
/// for nothing. Here such a wake-up is a bit that is looked at before the task goes to sleep.
struct Coupled {
    first: Waker,
    second: Waker,
    state: Arc<State>,
}

/// Woken while nobody was polling, or to be polled again.
const FIRST: u8 = 1;
const SECOND: u8 = 2;
/// Somebody is polling, and will look at the other bits before it stops.
const POLLING: u8 = 4;

#[derive(Default)]
struct State {
    bits: AtomicU8,
    task: AtomicWaker,
}

struct Side<const BIT: u8>(Arc<State>);

impl<const BIT: u8> Wake for Side<BIT> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.0.bits.fetch_or(BIT, Ordering::AcqRel) & POLLING == 0 {
            self.0.task.wake();
        }
    }
}

impl Coupled {
    fn new() -> Self {
        let state = Arc::<State>::default();
        Self {
            first: Waker::from(Arc::new(Side::<FIRST>(state.clone()))),
            second: Waker::from(Arc::new(Side::<SECOND>(state.clone()))),
            state,
        }
    }

    /// What the first or the second is ready with. Both are polled at least once in every call.
    fn poll<T>(
        &self,
        cx: &mut Context<'_>,
        mut first: impl FnMut(&mut Context<'_>) -> Poll<T>,
        mut second: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let bits = &self.state.bits;
        self.state.task.register(cx.waker());
        loop {
            bits.store(POLLING, Ordering::Release);
            let mut ready = first(&mut Context::from_waker(&self.first));
            if ready.is_pending() {
                // What the first said so far, the second will see.
                bits.fetch_and(!SECOND, Ordering::AcqRel);
                ready = second(&mut Context::from_waker(&self.second));
            }
            let woken = bits.swap(0, Ordering::AcqRel) & (FIRST | SECOND) != 0;
            // After something is ready it is polled again anyway.
            if ready.is_ready() || !woken {
                return ready;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures::task::noop_waker;

    use super::*;

    struct Count(AtomicU8);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn they_wake_each_other_without_the_task() {
        let count = Arc::new(Count(AtomicU8::new(0)));
        let task = Waker::from(count.clone());
        let coupled = Coupled::new();
        let (asked, answered, polls) = (Cell::new(false), Cell::new(false), Cell::new(0));
        let (first, second) = (coupled.first.clone(), coupled.second.clone());
        let poll = |cx: &mut Context<'_>| {
            coupled.poll(
                cx,
                |_| {
                    polls.set(polls.get() + 1);
                    if !asked.replace(true) {
                        second.wake_by_ref();
                    }
                    if answered.get() { Poll::Ready(()) } else { Poll::Pending }
                },
                |_| {
                    if asked.get() && !answered.replace(true) {
                        first.wake_by_ref();
                    }
                    Poll::Pending
                },
            )
        };
        assert!(poll(&mut Context::from_waker(&task)).is_ready());
        assert_eq!((polls.get(), count.0.load(Ordering::Relaxed)), (2, 0));
    }

    #[test]
    fn from_outside_each_wakes_the_task() {
        let count = Arc::new(Count(AtomicU8::new(0)));
        let task = Waker::from(count.clone());
        let coupled = Coupled::new();
        let idle = |_: &mut Context<'_>| Poll::<()>::Pending;
        for (nth, side) in [&coupled.first, &coupled.second].into_iter().enumerate() {
            assert!(coupled.poll(&mut Context::from_waker(&task), idle, idle).is_pending());
            side.wake_by_ref();
            assert_eq!(count.0.load(Ordering::Relaxed) as usize, nth + 1);
        }
        let _ = coupled.poll(&mut Context::from_waker(&noop_waker()), idle, idle);
        coupled.first.wake_by_ref();
        assert_eq!(count.0.load(Ordering::Relaxed), 2, "the last task that polled is woken");
    }
}
