//! Long polls: who waits for what, and from where the history can be told.

use std::time::Duration;

use super::{CHANGES_MAX, Caller, Registry, WATCH_WAIT_MAX};
use crate::protocol::{Answer, News, Position, Refusal, millis};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Watcher {
    since: u64,
    pub(super) until: Duration,
}

impl Registry {
    pub(super) fn on_watch(&mut self, caller: Caller, since: Option<Position>, wait: Duration) {
        match since.and_then(|since| self.known(since)) {
            None => {
                let news = self.resync();
                self.answer(caller, Answer::News(news));
            }
            Some(since) if since == self.at.revision && !wait.is_zero() => {
                if self.watchers.len() >= self.limits.watchers() {
                    return self.answer(caller, Answer::Refused(Refusal::Busy));
                }
                let until = self.now + wait.min(WATCH_WAIT_MAX);
                self.watchers.insert(caller, Watcher { since, until });
            }
            Some(since) => self.tell(caller, since),
        }
    }

    /// Answers everyone for whom something happened or whose time is over.
    pub(super) fn answer_watchers(&mut self) {
        let revision = self.at.revision;
        let ready = |w: &Watcher| w.since != revision || w.until <= self.now;
        let ready: Vec<_> = self
            .watchers
            .iter()
            .filter(|(_, w)| ready(w))
            .map(|(c, w)| (*c, w.since))
            .collect();
        for (caller, since) in ready {
            self.watchers.remove(&caller);
            self.tell(caller, since);
        }
    }

    fn resync(&self) -> News {
        let left = self.barred.iter().filter(|(_, until)| **until > self.now);
        News::Resync {
            at: self.at,
            entries: self.entries(),
            evicted: left.map(|(node, until)| (*node, millis(*until - self.now))).collect(),
        }
    }

    /// The revision of a place in this instance's history from which it can still be told on.
    fn known(&self, since: Position) -> Option<u64> {
        let oldest = self.at.revision - self.history.len() as u64;
        let reaches = (oldest..=self.at.revision).contains(&since.revision);
        (since.instance == self.at.instance && reaches).then_some(since.revision)
    }

    /// Tells what happened after `since`, which the history must reach.
    fn tell(&mut self, caller: Caller, since: u64) {
        let behind = usize::try_from(self.at.revision - since).unwrap_or(usize::MAX);
        let Some(first) = self.history.len().checked_sub(behind) else {
            // A burst longer than the whole history came between the question and the answer.
            let news = self.resync();
            return self.answer(caller, Answer::News(news));
        };
        let changes: Vec<_> = self
            .history
            .range(first..)
            .take(CHANGES_MAX)
            .map(|past| self.change(past))
            .collect();
        let at = Position {
            revision: since + changes.len() as u64,
            ..self.at
        };
        self.answer(caller, Answer::News(News::Changes { at, changes }));
    }
}
