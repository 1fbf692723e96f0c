//! The task that looks after one registry: connect, register, renew, watch, and again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;
use tokio::time::{sleep, sleep_until};

use super::Standing;
use super::connection::{Calls, Connection, Papers};
use super::error::AskError;
use super::proofs::{Enrolment, Proofs};
use super::view::View;
use crate::key::ProcessKey;
use crate::peer::{Peer, PeerId, Registration};
use crate::protocol::{Answer, Holder, Refusal, Request};
use crate::random::jitter;

/// First and longest pause between two attempts: a registry that is back is found within a second,
/// and one that stays away costs next to nothing.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How long resolving, connecting and saying hello may take together.
const OPEN_MAX: Duration = Duration::from_secs(3);
/// How long a watch waits for a change.
const WATCH_WAIT: Duration = Duration::from_secs(20);
/// How long giving the lease back may take.
const LEAVE_MAX: Duration = Duration::from_secs(1);
/// A renewal is answered within this range or the connection is given up: a third of the lease,
/// so that there is time for another, but neither hasty nor for ever.
const RENEW_ANSWER_MIN: Duration = Duration::from_millis(250);
const RENEW_ANSWER_MAX: Duration = Duration::from_secs(2);

/// What the client wants its registries to know.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) claim: Registration,
    pub(super) leaving: bool,
}

/// The wish, and that it changed.
pub(super) type Wishes = watch::Receiver<Wish>;

/// What one link has come to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct LinkState {
    pub(super) standing: Standing,
    /// The present connection has told a full list.
    pub(super) heard: bool,
    /// Its peers count: it is heard, or was less than a lease ago.
    pub(super) counts: bool,
    /// The first attempt is over, either way.
    pub(super) tried: bool,
    pub(super) peers: Arc<BTreeMap<PeerId, Peer>>,
    /// Nodes that the registry refuses.
    pub(super) evicted: Arc<BTreeSet<PeerId>>,
    /// The latest certificate of this process.
    pub(super) enrolment: Option<Arc<Enrolment>>,
    /// Until when this peer may believe that it holds a lease here.
    pub(super) believed_until: Option<Instant>,
}

impl LinkState {
    pub(super) fn new() -> Self {
        Self {
            standing: Standing::Connecting,
            heard: false,
            counts: false,
            tried: false,
            peers: Arc::default(),
            evicted: Arc::default(),
            enrolment: None,
            believed_until: None,
        }
    }
}

/// Until when a holder may believe in its lease: the registry counts from when it *heard* the
/// renewal, which is not before it was sent; a tenth of the lease is for clocks that run at
/// different speeds (R3).
pub(super) fn believed_until(sent: Instant, lease: Duration) -> Instant {
    sent + lease - lease / 10
}

/// How a session with a registry ended.
enum End {
    Left,
    Lost(AskError),
}

/// Takes certificates as they come.
pub(super) type Enrolled = dyn Fn(&Enrolment) + Send + Sync;

/// One registry's task.
pub(super) struct Link {
    pub(super) index: usize,
    pub(super) registry: String,
    pub(super) holder: Holder,
    pub(super) key: Arc<ProcessKey>,
    pub(super) proofs: Arc<Proofs>,
    pub(super) enrolled: Arc<Enrolled>,
    /// Shared by all links of a client: two names may lead to one registry.
    pub(super) turns: Arc<AtomicU64>,
    pub(super) wish: Wishes,
    pub(super) states: Arc<watch::Sender<Vec<LinkState>>>,
}

impl Link {
    /// Works until the wish is to leave. Returns whether no lease is left behind.
    pub(super) async fn run(self) -> bool {
        let mut view = View::default();
        let mut lost: Option<(Instant, Duration)> = None; // since when, and the registry's lease
        let mut pause = PAUSE_MIN;
        loop {
            let mut wish = self.wish.clone();
            let opened = tokio::select! {
                opened = self.enter() => opened,
                () = leaving(&mut wish) => return self.holds_nothing(),
            };
            let error = match opened {
                Ok(connection) => {
                    let lease = connection.lease;
                    let end = self.session(connection, &mut view).await;
                    if self.state().heard {
                        (lost, pause) = (Some((Instant::now(), lease)), PAUSE_MIN);
                    }
                    match end {
                        End::Left => return true,
                        End::Lost(error) => error,
                    }
                }
                Err(error) => error,
            };
            let counts = lost.is_some_and(|(since, lease)| since.elapsed() < lease);
            self.change(|state| {
                (state.heard, state.counts, state.tried) = (false, counts, true);
                state.standing = standing(&error);
            });
            tokio::select! {
                () = sleep(jitter(pause / 2, pause)) => pause = (pause * 2).min(PAUSE_MAX),
                () = leaving(&mut wish) => return self.holds_nothing(),
            }
        }
    }

    /// Connects, with the certificate of an earlier connection if it is still good, or proves who
    /// it is and gets one.
    async fn enter(&self) -> Result<Connection, AskError> {
        let enrolled = self
            .state()
            .enrolment
            .filter(|enrolled| SystemTime::now() < enrolled.until);
        let papers = Papers {
            enrolled: enrolled.as_ref().map(|enrolled| (&**enrolled, &*self.key)),
            ..Papers::of(&self.proofs)
        };
        let opened = Connection::open(&self.registry, papers, OPEN_MAX).await;
        if matches!(opened, Err(AskError::NotAccepted { .. })) {
            // Whatever it has against the certificate, the next attempt comes without.
            self.change(|state| state.enrolment = None);
        }
        let connection = opened?;
        if connection.you != Some(self.key.node()) {
            let name = self.wish.borrow().claim.nick.clone();
            let proven = connection.prove(&self.proofs, &name, OPEN_MAX).await?;
            self.enrol(&connection, &name, proven.local).await?;
        }
        Ok(connection)
    }

    async fn enrol(&self, connection: &Connection, name: &str, local: bool) -> Result<(), AskError> {
        let mut enrolment = connection.enrol(&self.key, name, OPEN_MAX).await?;
        enrolment.local = local;
        (self.enrolled)(&enrolment);
        self.change(|state| state.enrolment = Some(Arc::new(enrolment)));
        Ok(())
    }

    /// At half its life the certificate is replaced. What fails is tried again with the next
    /// renewal of the lease; there is half a life for it.
    async fn renew_certificate(&self, connection: &Connection) {
        let Some(present) = self
            .state()
            .enrolment
            .filter(|present| SystemTime::now() >= present.renew_at)
        else {
            return;
        };
        let name = self.wish.borrow().claim.nick.clone();
        if let Err(error) = self.enrol(connection, &name, present.local).await {
            tracing::warn!("the certificate could not be renewed: {error}");
        }
    }

    /// Registers first and asks for the list then: of two peers that have both done so, at least
    /// one was told of the other at once.
    async fn session(&self, connection: Connection, view: &mut View) -> End {
        let (calls, lease) = (connection.calls.clone(), connection.lease);
        let mut wish = self.wish.clone();
        wish.mark_unchanged(); // before it is read: what changes from here on is said again
        let granted = match self.register(&calls, lease).await {
            Ok(granted) => granted,
            Err(error) => return End::Lost(error),
        };
        tokio::select! {
            end = self.renew(&connection, granted, wish) => end,
            error = self.watch(&calls, lease, view) => End::Lost(error),
            () = calls.ended() => End::Lost(AskError::Closed { registry: self.registry.clone() }),
        }
    }

    /// Registers now. Returns the lease to renew; a refusal is told in the status and tried again
    /// like a renewal.
    async fn register(&self, calls: &Calls, lease: Duration) -> Result<Duration, AskError> {
        let limit = (lease / 3).clamp(RENEW_ANSWER_MIN, RENEW_ANSWER_MAX);
        let claim = self.wish.borrow().claim.clone();
        let turn = self.turns.fetch_add(1, Relaxed) + 1;
        let sent = Instant::now();
        match calls
            .ask(
                Request::Register {
                    claim,
                    holder: self.holder,
                    turn,
                },
                limit,
            )
            .await
        {
            Ok(Answer::Granted { lease_ms }) => {
                let lease = Duration::from_millis(lease_ms.into());
                self.change(|state| {
                    state.standing = Standing::Registered;
                    state.believed_until = Some(believed_until(sent, lease));
                });
                Ok(lease)
            }
            Ok(_) => Err(calls.confused()),
            Err(AskError::Refused(Refusal::Stale)) => Ok(lease), // a later one was heard already
            Err(AskError::Refused(refusal)) => {
                self.change(|state| {
                    state.standing = standing(&AskError::Refused(refusal));
                    state.believed_until = None;
                });
                Ok(lease)
            }
            Err(error) => Err(error),
        }
    }

    async fn renew(&self, connection: &Connection, mut lease: Duration, mut wish: Wishes) -> End {
        let calls = &connection.calls;
        loop {
            if wish.borrow().leaving {
                return self.leave(calls).await;
            }
            tokio::select! {
                () = sleep(jitter(lease.mul_f64(0.26), lease / 3)) => {}
                changed = wish.changed() => match changed {
                    Ok(()) if wish.borrow().leaving => continue,
                    Ok(()) => {}
                    Err(_) => return std::future::pending().await, // the client is gone, and so is this task
                },
            }
            self.renew_certificate(connection).await;
            match self.register(calls, lease).await {
                Ok(granted) => lease = granted,
                Err(error) => return End::Lost(error),
            }
        }
    }

    async fn leave(&self, calls: &Calls) -> End {
        let turn = self.turns.fetch_add(1, Relaxed) + 1;
        let id = self.wish.borrow().claim.id;
        match calls
            .ask(
                Request::Leave {
                    id,
                    holder: self.holder,
                    turn,
                },
                LEAVE_MAX,
            )
            .await
        {
            // Refused: somebody else holds the id by now. Nothing of ours is left.
            Ok(_) | Err(AskError::Refused(_)) => End::Left,
            Err(error) => End::Lost(error),
        }
    }

    async fn watch(&self, calls: &Calls, lease: Duration, view: &mut View) -> AskError {
        // The first answer must come at once, changed or not: it is the sign that what we know is
        // what the registry knows.
        let mut wait = Duration::ZERO;
        loop {
            let doubt = view.deadline();
            let news = tokio::select! {
                news = calls.watch(view.at(), wait) => Some(news),
                () = until(doubt) => None,
            };
            let heard = news.is_some();
            match news {
                Some(Ok(news)) => {
                    if view.apply(news, lease, Instant::now()).is_err() {
                        *view = View::default();
                        return calls.confused();
                    }
                }
                Some(Err(error)) => return error,
                None => view.settle(Instant::now()),
            }
            self.change(|state| {
                if heard {
                    (state.heard, state.counts, state.tried) = (true, true, true);
                    wait = WATCH_WAIT;
                }
                if *state.peers != *view.peers() {
                    state.peers = Arc::new(view.peers().clone());
                }
                if *state.evicted != *view.evicted() {
                    state.evicted = Arc::new(view.evicted().clone());
                }
            });
        }
    }

    fn state(&self) -> LinkState {
        self.states.borrow()[self.index].clone()
    }

    fn holds_nothing(&self) -> bool {
        self.state().believed_until.is_none_or(|until| until <= Instant::now())
    }

    /// Changes this link's state and wakes readers if it is different then. A mere renewal wakes
    /// nobody.
    fn change(&self, change: impl FnOnce(&mut LinkState)) {
        self.states.send_if_modified(|states| {
            let state = &mut states[self.index];
            let before = state.clone();
            change(state);
            LinkState {
                believed_until: state.believed_until,
                ..before
            } != *state
        });
    }
}

fn standing(error: &AskError) -> Standing {
    match error {
        AskError::Refused(refusal @ Refusal::Evicted { .. }) => Standing::Evicted(refusal.to_string()),
        refusal if refusal.is_refusal() => Standing::Refused(refusal.to_string()),
        other => Standing::Unreachable(other.to_string()),
    }
}

/// Ready when the client wants to leave, or is gone.
async fn leaving(wish: &mut Wishes) {
    drop(wish.wait_for(|wish| wish.leaving).await);
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R3, with clocks that differ by up to one part in ten and answers that take any time: whoever
    /// believes in its lease by its own clock holds it by the registry's, which counts the full
    /// lease from when it heard the renewal.
    #[test]
    fn belief_ends_before_the_lease_does() {
        let start = Instant::now();
        for lease_ms in [200, 6_000, 3_600_000] {
            let lease = Duration::from_millis(lease_ms);
            for percent in 90..=110 {
                for delay in [Duration::ZERO, lease / 3, lease * 2] {
                    let believed = believed_until(start, lease) - start; // by the holder's clock
                    let really = believed * 100 / percent; // the holder's clock is fast or slow
                    let ends = delay + lease; // heard `delay` after it was sent
                    assert!(really <= ends, "{lease:?}, {percent} %, {delay:?}");
                }
            }
        }
    }
}
