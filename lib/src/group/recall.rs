//! History from before this member's join: asked of the others, kept, and told to the application.

use crate::engine::{Input, Sealing};
use crate::event::Event;
use crate::group::backlog::Told;
use crate::group::task::Task;
use crate::id::{MemberId, Span};
use crate::message::Message;
use crate::store::{Change, rows};

impl Task {
    /// This member is in: what lies below its cut, and is not kept from an earlier life, can be recalled.
    pub(super) fn note_entered(&mut self) {
        if let Some(keeping) = &mut self.state.keeping {
            keeping.history.extend(self.engine.before(&keeping.kept_before));
        }
    }

    /// Asks the others for it.
    pub(super) fn recall(&mut self) {
        let wants = match &self.state.keeping {
            Some(keeping) => keeping.history.clone(),
            None => self.engine.before(&crate::clock::Clock::new()),
        };
        self.handle(Input::Recall { wants });
    }

    pub(super) fn on_recalled(&mut self, messages: Vec<(Message, Option<Sealing>)>) {
        let kept = messages
            .into_iter()
            .map(|(message, sealing)| rows::row(message, 0, false, sealing));
        let mut kept: Vec<_> = kept.collect();
        kept.sort_by_key(|stored| stored.canonical());
        if let Some(keeping) = &mut self.state.keeping {
            for stored in &kept {
                let (group, message) = (self.group, stored.clone());
                keeping.add(stored.cost(), Change::Append { group, message });
                let (origin, seq) = (stored.dot.origin, stored.dot.seq);
                strike(&mut keeping.history, origin, seq);
            }
            keeping.note_history();
        }
        let bytes = kept.iter().map(|stored| stored.payload.len()).sum();
        self.tell(Told::Event(Event::Recalled { messages: kept }), bytes);
    }

    pub(super) fn on_recall_over(&mut self, missing: Vec<Span>) {
        let messages = missing.iter().map(Span::count).sum();
        self.tell(Told::Event(Event::RecallOver { missing: messages }), 0);
    }
}

/// Takes one message out of a list of spans.
fn strike(spans: &mut Vec<Span>, origin: MemberId, seq: u64) {
    let has = |span: &Span| span.origin == origin && (span.from..=span.to).contains(&seq);
    let Some(at) = spans.iter().position(has) else { return };
    let Span { from, to, .. } = spans[at];
    match (from == seq, to == seq) {
        (true, true) => drop(spans.swap_remove(at)),
        (true, false) => spans[at].from = seq + 1,
        (false, true) => spans[at].to = seq - 1,
        (false, false) => {
            spans[at].to = seq - 1;
            let from = seq + 1;
            spans.push(Span { origin, from, to });
        }
    }
}
