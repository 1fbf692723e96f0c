//! Ending: goodbye, the last lines, and what the shell is told.

use std::sync::Arc;
use std::time::Duration;

use multicast::Member;
use tokio::time::{Instant, timeout};

use super::drive::{Pending, Session};
use super::{Cause, Ended, Job, LAST_LINES, verdict};
use crate::app::Input;
use crate::exit::Exit;

/// How long a goodbye may take before a person is told what it waits for.
const PATIENT: Duration = Duration::from_millis(300);
/// How long each of the last events may take once everyone was told goodbye; the last one ends the stream.
const LAST_EVENTS: Duration = Duration::from_secs(1);

/// How long connections to the control socket may take to read the last lines.
const LAST_TOLD: Duration = Duration::from_secs(1);
/// How long the store may take to be closed.
const CLOSED: Duration = Duration::from_secs(2);

/// How late the end of a goodbye may be.
const OVERDUE: Duration = Duration::from_secs(5);

/// A goodbye that is under way.
pub(super) struct Leaving {
    pub(super) cause: Cause,
    pub(super) done: Pending<Vec<Member>>,
    /// Whoever is there confirms before that, or did not in time.
    pub(super) until: Instant,
    /// When to say what it waits for.
    pub(super) explain_at: Option<Instant>,
}

impl Session {
    /// Says goodbye; the loop goes on until everyone who is there has it, or for as long as `linger`.
    pub(super) fn leave(&mut self, cause: Cause, reason: String, linger: Duration) {
        if self.leaving.is_some() {
            return;
        }
        self.registries.stop();
        self.roster_at = Some(Instant::now());
        self.show.take(Input::Leaving);
        self.joining = None;
        self.proposing = None;
        let rooms = self.rooms.leave(&reason, linger, linger.saturating_add(OVERDUE));
        let council = self.council.take();
        let done = async move {
            let council = async {
                if let Some(council) = council {
                    council.leave(linger).await;
                }
            };
            futures::future::join(rooms, council).await.0
        };
        self.leaving = Some(Leaving {
            cause,
            done: Box::pin(done),
            until: Instant::now() + linger,
            explain_at: (cause == Cause::Leave).then(|| Instant::now() + PATIENT),
        });
    }

    /// Cuts the goodbye short.
    pub(super) fn hurry(&mut self) {
        if let Some(leaving) = &mut self.leaving {
            leaving.until = Instant::now();
        }
        tokio::spawn(self.rooms.leave("", Duration::ZERO, OVERDUE));
    }

    pub(super) fn explain(&mut self) {
        if let Some(leaving) = &mut self.leaving {
            leaving.explain_at = None;
        }
        self.show.take(Input::StillLeaving);
    }

    /// Everyone who is there has the goodbye, or did not confirm it in time.
    pub(super) async fn on_left(mut self, unconfirmed: Vec<Member>) -> Ended {
        let (cause, until) = match self.leaving.take() {
            Some(leaving) => (leaving.cause, leaving.until),
            None => (Cause::Leave, Instant::now()),
        };
        // A goodbye that ends early has reached everyone who is there.
        let lacking = if Instant::now() < until { &[][..] } else { &unconfirmed };
        let lacking = lacking
            .iter()
            .filter(|member| !self.rooms.is_silent(member))
            .cloned()
            .collect();
        self.end(cause, unconfirmed, lacking).await
    }

    pub(super) async fn end(mut self, cause: Cause, unconfirmed: Vec<Member>, lacking: Vec<Member>) -> Ended {
        let exit = match (&self.job, self.show.take_error()) {
            (Job::Send(_), Some(error)) => Exit::Usage(error),
            _ => self.store_failed.take().unwrap_or_else(|| verdict(cause, &lacking)),
        };
        let exit = match (exit, self.aborted.take()) {
            (Exit::Clean, Some(why)) => Exit::Aborted(why),
            (exit, _) => exit,
        };
        let mut signals = self.signals.take();
        let by_signal = matches!(cause, Cause::Terminated | Cause::Interrupted);
        let mut last_words = std::pin::pin!(self.last_words(cause, unconfirmed));
        let hasty = by_signal || {
            tokio::select! {
                () = &mut last_words => return Ended { exit, hasty: false },
                _ = signals.next() => true,
            }
        };
        let _ = timeout(LAST_LINES, last_words).await;
        Ended { exit, hasty }
    }

    /// The last events, this member's own leave among them, and `bye`.
    async fn last_words(mut self, cause: Cause, unconfirmed: Vec<Member>) {
        // The groups do not keep them for long, so they are taken at once, however slowly stdout is read; the groups
        // limit how many there can be.
        while self.rooms.have_more()
            && let Ok((place, event)) = timeout(LAST_EVENTS, self.rooms.next()).await
        {
            if let Some(event) = event {
                self.on_event(&place, event);
            }
        }
        self.show.bye(cause, unconfirmed);
        self.show.flush().await;
        self.show.hub().close();
        if let Some(control) = self.control.take() {
            control.finish(LAST_TOLD).await;
        }
        self.acknowledge_all().await;
        self.registries.stopped().await;
        drop(self.rooms);
        if let Some(node) = Arc::into_inner(self.node) {
            let _ = timeout(CLOSED, node.shutdown()).await;
        }
    }
}
