//! The one task that owns the registry. It awaits its mailbox and the clock, never a peer.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::state::{Saver, StateDir};
use super::stats::Stats;
use crate::peer::PeerId;
use crate::protocol::{Answer, Instance};
use crate::registry::{Ask, Caller, Event, Input, Limits, Output, Registry, What};

/// Letters in the owner's mailbox. Its work is microseconds each, so a longer queue would only
/// hide that it is overwhelmed; connections wait instead.
const MAILBOX: usize = 64;

/// What the owner is told.
#[derive(Debug)]
enum Letter {
    Ask {
        caller: Caller,
        ask: Ask,
        reply: oneshot::Sender<Answer>,
    },
    Forget {
        caller: Caller,
    },
}

/// The way to the owner.
#[derive(Clone, Debug)]
pub(super) struct Mail {
    letters: mpsc::Sender<Letter>,
    last_caller: Arc<AtomicU64>,
}

impl Mail {
    /// Puts a question. The answer comes through the receiver; never, if the server stops.
    pub(super) async fn ask(&self, ask: Ask) -> (Caller, oneshot::Receiver<Answer>) {
        let caller = Caller(self.last_caller.fetch_add(1, Relaxed));
        let (reply, answer) = oneshot::channel();
        drop(self.letters.send(Letter::Ask { caller, ask, reply }).await);
        (caller, answer)
    }

    /// Takes a question back whose answer nobody waits for any more.
    pub(super) async fn forget(&self, caller: Caller) {
        drop(self.letters.send(Letter::Forget { caller }).await);
    }
}

/// The registry with its mailbox, clock and state.
pub(super) struct Owner {
    registry: Registry,
    letters: mpsc::Receiver<Letter>,
    /// The registry's zero of time.
    zero: Instant,
    /// The registry's time at `zero`: as far back as the oldest lease restored.
    offset: Duration,
    waiting: HashMap<Caller, oneshot::Sender<Answer>>,
    saver: Option<Saver>,
    stats: Stats,
}

impl Owner {
    pub(super) fn new(
        instance: Instance,
        limits: Limits,
        state: Option<StateDir>,
        barred: &[(PeerId, Duration)],
        stats: Stats,
    ) -> (Self, Mail) {
        let (kept, saver) = state.map(StateDir::start).unzip();
        let kept = kept.unwrap_or_default();
        let offset = kept.iter().map(|kept| kept.age).max().unwrap_or_default();
        let registry = Registry::restore(instance, limits, kept, barred, offset);
        stats.set_live(registry.live());
        let (letters, mailbox) = mpsc::channel(MAILBOX);
        let (zero, waiting) = (Instant::now(), HashMap::new());
        let owner = Self {
            registry,
            letters: mailbox,
            zero,
            offset,
            waiting,
            saver,
            stats,
        };
        (
            owner,
            Mail {
                letters,
                last_caller: Arc::default(),
            },
        )
    }

    /// Works until nobody can write to it any more, then writes the state a last time.
    pub(super) async fn run(mut self) {
        loop {
            let tick = self.registry.deadline().map(|at| self.zero + (at - self.offset));
            let input = tokio::select! {
                biased; // a tick is soon over, and a flood of letters must not put it off
                () = until(tick) => Input::Tick,
                letter = self.letters.recv() => match letter {
                    Some(letter) => self.open(letter),
                    None => break,
                },
            };
            self.step(input);
        }
        if let Some(saver) = self.saver {
            saver.finish(self.registry.kept()).await;
        }
    }

    fn open(&mut self, letter: Letter) -> Input {
        match letter {
            Letter::Ask { caller, ask, reply } => {
                self.waiting.insert(caller, reply);
                Input::Ask { caller, ask }
            }
            Letter::Forget { caller } => {
                self.waiting.remove(&caller);
                Input::Forget { caller }
            }
        }
    }

    fn step(&mut self, input: Input) {
        let now = self.zero.elapsed() + self.offset;
        let mut changed = false;
        for output in self.registry.handle(input, now) {
            match output {
                Output::Answer { caller, answer } => {
                    if let Some(reply) = self.waiting.remove(&caller) {
                        drop(reply.send(answer)); // whoever asked may be gone
                    }
                }
                Output::Changed(event) => {
                    tell(&event);
                    self.stats.count_event(&event);
                    changed = true;
                }
                Output::Barred { node } => {
                    tracing::info!(target: "nodeset::server", change = "bar", %node, "evict node {node}");
                }
            }
        }
        if let Some(saver) = self.saver.as_ref().filter(|_| changed) {
            saver.save(self.registry.kept());
        }
    }
}

async fn until(tick: Option<Instant>) {
    match tick {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// One line of the log per change; the fields are for machines.
fn tell(event: &Event) {
    let (peer, addr, live) = (event.peer.label(), event.peer.addr(), event.live);
    let (change, line) = match event.what {
        What::Joined => ("join", format!("join {peer} {addr} ({live} live)")),
        What::Updated => ("update", format!("update {peer} {addr} ({live} live)")),
        What::Left => ("leave", format!("leave {peer} {addr} ({live} live)")),
        What::Evicted => ("evict", format!("evict {peer} {addr} ({live} live)")),
        What::Expired { silent } => {
            let silent = silent.as_secs_f64();
            (
                "expire",
                format!("expire {peer} (no renewal for {silent:.1}s, {live} live)"),
            )
        }
    };
    tracing::info!(target: "nodeset::server", change, peer, %addr, live, "{line}");
}
