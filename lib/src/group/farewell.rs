//! How a member leaves, and what a group's task does last.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::engine::Input;
use crate::event::Event;
use crate::group::SendError;
use crate::group::backlog::Told;
use crate::group::task::{Leaving, Task, wall_clock};
use crate::message::Member;

impl Task {
    pub(super) fn begin_leave(
        &mut self,
        reason: String,
        linger: Duration,
        reply: Option<oneshot::Sender<Vec<Member>>>,
    ) {
        let until = Instant::now() + linger;
        let leaving = self.state.leaving.get_or_insert(Leaving {
            until,
            replies: Vec::new(),
            reason: Some(reason),
        });
        leaving.until = leaving.until.min(until);
        leaving.replies.extend(reply);
        // Whoever sent before is not forgotten.
        self.inbox.close(&mut self.state.parked);
        self.send_parked();
        self.turn();
        self.leave_when_said();
    }

    /// Says goodbye when everything is said.
    pub(super) fn leave_when_said(&mut self) {
        if !self.state.parked.is_empty() {
            return;
        }
        if let Some(reason) = self.state.leaving.as_mut().and_then(|leaving| leaving.reason.take()) {
            let sent_at = wall_clock();
            self.handle(Input::Leave { reason, sent_at });
        }
    }

    /// The last words: who did not confirm, and events, as far as they are read.
    pub(super) async fn finish(&mut self) {
        // Whoever joins again begins with all of it.
        self.keep_all().await;
        // Nobody is to wait for a task that takes nothing any more.
        self.knocks.close();
        while self.knocks.try_recv().is_ok() {}
        self.note_members();
        let last = self.engine.delivered().get(self.shared.me.id);
        let me = self.shared.me.id;
        let lacks = |row: &super::Row| row.member.id != me && row.acked < last && row.joined;
        let unconfirmed: Vec<Member> = self
            .shared
            .rows()
            .into_iter()
            .filter(lacks)
            .map(|row| row.member)
            .collect();
        if let Some(leaving) = self.state.leaving.take() {
            for reply in leaving.replies {
                let _ = reply.send(unconfirmed.clone());
            }
        }
        self.inbox.close(&mut self.state.parked);
        while let Some(outgoing) = self.state.parked.pop_front() {
            self.state.turn.fail(outgoing, SendError::Left);
        }
        let messages = self.state.turn.unsent;
        if messages > 0 {
            self.state.pending.add(Told::Event(Event::Unsent { messages }), 0);
        }
        self.inbox.answer(&mut self.state.turn.outcomes);
        // Only here, where there is nothing left to do, the task waits for the application.
        let events = std::mem::take(&mut self.state.pending);
        let _ = tokio::time::timeout(super::LEAVE_PATIENCE, self.events.send(events)).await;
    }
}
