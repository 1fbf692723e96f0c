//! A group whose node has a store: what is delivered goes there, and what mentions one's own messages waits for it.
//!
//! The group's task waits for nothing: it hands a batch over, and goes on. What comes up meanwhile is the next batch.

use std::collections::BTreeMap;

use tokio::sync::oneshot;

use crate::clock::Clock;
use crate::engine::Dam;
use crate::event::Event;
use crate::group::SendError;
use crate::group::backlog::Told;
use crate::group::mailbox::{Outcome, Ticket};
use crate::group::task::Task;
use crate::group::turn::Answer;
use crate::id::{MemberId, Span};
use crate::net::rpc::Call;
use crate::piece::Piece;
use crate::store::keeper::{Keeper, closed};
use crate::store::{Change, StoreError, rows};

/// Messages that wait for the store before others' are left where they are: what a second of a busy group brings.
pub(crate) const MOST_MESSAGES: usize = 8192;
/// The same in bytes.
pub(crate) const MOST_BYTES: usize = 16 << 20;
/// Calls that wait for the store; further ones are dropped, and said again by the protocol.
pub(crate) const MOST_HELD: usize = 8192;

/// What a group with a store remembers.
pub(super) struct Keeping {
    keeper: Keeper,
    dam: Dam<Held>,
    next: Vec<Change>,
    next_bytes: usize,
    /// Of the last message that was delivered.
    place: u64,
    /// Somebody joined or left, or the view changed otherwise.
    knows_more: bool,
    saved: Option<oneshot::Receiver<Result<(), StoreError>>>,
    /// So much waits that others' messages are not taken.
    swamped: bool,
    /// What earlier lives had delivered.
    pub(super) kept_before: Clock,
    /// What lies before this member's beginning, and is not kept: the others can be asked for it.
    pub(super) history: Vec<Span>,
    history_changed: bool,
}

/// What waits until everything of one's own is kept.
pub(super) enum Held {
    Call(MemberId, Call),
    Answer(Answer),
    Outcome(Ticket, Outcome),
    Told(Told, usize),
}

impl Keeping {
    pub(super) fn new(keeper: Keeper, place: u64, kept_before: Clock, history: Vec<Span>) -> Self {
        Self {
            keeper,
            dam: Dam::default(),
            next: Vec::new(),
            next_bytes: 0,
            place,
            knows_more: true,
            saved: None,
            swamped: false,
            kept_before,
            history,
            history_changed: true,
        }
    }

    /// Something that is not one's own goes into the next batch.
    pub(super) fn add(&mut self, cost: u64, change: Change) {
        self.next_bytes += cost as usize;
        self.next.push(change);
        self.dam.note(false);
    }

    pub(super) fn note_history(&mut self) {
        self.history_changed = true;
    }

    /// Ready when the batch that the store has is kept, or the store fails. Never, if it has none.
    pub(super) async fn saved(&mut self) -> Result<(), StoreError> {
        match &mut self.saved {
            Some(saved) => saved.await.map_err(|_| closed())?,
            None => std::future::pending().await,
        }
    }
}

impl Task {
    /// A delivered piece goes into the next batch. The place of its last message; 0 without a store.
    pub(super) fn note_delivered(&mut self, piece: &Piece) -> u64 {
        let Some(keeping) = &mut self.state.keeping else {
            return 0;
        };
        let (group, own) = (self.group, piece.origin() == self.shared.me.id);
        for message in piece.messages() {
            keeping.place += 1;
            let sealing = self.engine.sealing(message.dot);
            let message = rows::row(message, keeping.place, own, sealing);
            keeping.next_bytes += message.cost() as usize;
            keeping.next.push(Change::Append { group, message });
        }
        keeping.dam.note(own);
        keeping.place
    }

    /// The view, or what counts as delivered, changed without a message.
    pub(super) fn note_change(&mut self) {
        if let Some(keeping) = self.state.keeping.as_mut().filter(|keeping| keeping.place > 0) {
            keeping.knows_more = true;
            keeping.dam.note(false);
        }
    }

    /// Tells the application, as soon as what it may follow from is kept.
    pub(super) fn tell(&mut self, told: Told, payload_bytes: usize) {
        match self.state.keeping.as_mut().filter(|keeping| keeping.dam.is_shut()) {
            Some(keeping) => drop(keeping.dam.pass(Held::Told(told, payload_bytes))),
            None => self.state.pending.add(told, payload_bytes),
        }
    }

    /// Whether a call leaves now; else it waits.
    pub(super) fn hold_call(&mut self, to: MemberId, call: Call) -> Option<Call> {
        let Some(keeping) = self.state.keeping.as_mut().filter(|keeping| keeping.dam.is_shut()) else {
            return Some(call);
        };
        if keeping.dam.held() < MOST_HELD {
            keeping.dam.pass(Held::Call(to, call));
        }
        None
    }

    pub(super) fn answer_all(&mut self) {
        let mut keeping = self.state.keeping.as_mut().filter(|keeping| keeping.dam.is_shut());
        for answer in self.state.turn.answers.drain(..) {
            match &mut keeping {
                Some(keeping) => drop(keeping.dam.pass(Held::Answer(answer))),
                None => answer.send(),
            }
        }
    }

    /// Senders learn what came of their sends when that is kept.
    pub(super) fn hold_outcomes(&mut self) {
        let Some(keeping) = self.state.keeping.as_mut().filter(|keeping| keeping.dam.is_shut()) else {
            return;
        };
        for (ticket, outcome) in self.state.turn.outcomes.drain(..) {
            keeping.dam.pass(Held::Outcome(ticket, outcome));
        }
    }

    fn let_go(&mut self, held: Held) {
        match held {
            Held::Call(to, call) => self.put_through(to, call),
            Held::Answer(answer) => answer.send(),
            Held::Outcome(ticket, outcome) => self.state.turn.outcomes.push((ticket, outcome)),
            Held::Told(told, payload_bytes) => self.state.pending.add(told, payload_bytes),
        }
    }

    /// Hands what there is to the store, unless that has something of this group already.
    pub(super) fn keep(&mut self) {
        let Some(keeping) = &mut self.state.keeping else { return };
        if keeping.dam.begin() {
            let mut changes = std::mem::take(&mut keeping.next);
            keeping.next_bytes = 0;
            changes.push(rows::standpoint(self.group, &self.engine.standpoint()));
            if std::mem::take(&mut keeping.knows_more) {
                changes.push(rows::acquaintance(self.group, &self.engine.acquaintance()));
            }
            if std::mem::take(&mut keeping.history_changed) {
                changes.push(rows::history(self.group, &keeping.history));
            }
            keeping.saved = Some(keeping.keeper.save(changes));
        }
        keeping.swamped = keeping.next.len() >= MOST_MESSAGES || keeping.next_bytes >= MOST_BYTES;
    }

    pub(super) fn is_swamped(&self) -> bool {
        self.state.keeping.as_ref().is_some_and(|keeping| keeping.swamped)
    }

    /// The store has kept its batch, or failed.
    pub(super) fn on_saved(&mut self, saved: Result<(), StoreError>) {
        let Some(keeping) = &mut self.state.keeping else { return };
        keeping.saved = None;
        let was_swamped = keeping.swamped;
        let held = keeping.dam.done();
        match saved {
            Ok(()) => {
                held.into_iter().for_each(|held| self.let_go(held));
                self.inbox.answer(&mut self.state.turn.outcomes);
                self.keep();
                if was_swamped && !self.is_swamped() {
                    self.handle(crate::engine::Input::CaughtUp);
                }
            }
            Err(error) => self.fail(error, held),
        }
    }

    /// What waited is told to nobody: it may be kept, or not.
    fn fail(&mut self, error: StoreError, mut held: Vec<Held>) {
        tracing::error!(%error, "the group stopped: what it is told cannot be kept");
        if let Some(mut keeping) = self.state.keeping.take() {
            keeping.dam.note(true);
            keeping.dam.begin();
            held.extend(keeping.dam.done());
        }
        for held in held {
            if let Held::Outcome(ticket, outcome) = held {
                let outcome = outcome.and(Err(SendError::NotKept));
                self.state.turn.outcomes.push((ticket, outcome));
            }
        }
        self.state.pending.add(Told::Event(Event::StoreFailed { error }), 0);
        self.state.over = true;
    }

    /// Waits until everything is kept: only at the end, when there is nothing left to do.
    pub(super) async fn keep_all(&mut self) {
        self.note_change();
        self.keep();
        while let Some(keeping) = self.state.keeping.as_mut().filter(|keeping| keeping.dam.is_saving()) {
            let saved = keeping.saved().await;
            self.on_saved(saved);
        }
    }
}

/// Names of an earlier life, for what is handed out again.
pub(super) type Names = BTreeMap<MemberId, String>;
