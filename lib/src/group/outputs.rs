//! What a group's task does with what its engine says.

use std::sync::Arc;

use bytes::Bytes;

use crate::circle::Act;
use crate::engine::seal::is_forgery;
use crate::engine::{Batch, Frame, Input, Notice, Output};
use crate::event::Event;
use crate::group::Outcast;
use crate::group::backlog::Told;
use crate::group::call::Request;
use crate::group::show;
use crate::group::task::Task;
use crate::group::turn::Turn;
use crate::id::{MemberId, NodeId};
use crate::message::{Kind, Member, Message, Micros};
use crate::net::rpc::{Call, Path};
use crate::piece::Piece;

/// Encoded batches that are kept for other links that will ask for the same: those in flight at a time.
const ENCODED: usize = 8;

impl Task {
    /// One input, and what was to be taken before it.
    pub(super) fn handle(&mut self, input: Input) {
        self.state.turn.inputs.push(input);
        self.turn();
    }

    /// Hands the engine what came, does what it says, and answers whoever waits for that.
    pub(super) fn turn(&mut self) {
        if !self.state.turn.inputs.is_empty() {
            self.take_turn();
        }
        self.hold_outcomes();
        self.inbox.answer(&mut self.state.turn.outcomes);
    }

    fn take_turn(&mut self) {
        let now = self.now();
        self.state.turn.changes = *self.shared.changes.borrow();
        let Turn { inputs, outputs, .. } = &mut self.state.turn;
        let mut outputs = std::mem::take(outputs);
        self.engine.handle_all(inputs.drain(..), now, &mut outputs);
        for output in outputs.drain(..) {
            // Most are these, and large: they are not moved more often than they must.
            match output {
                Output::Deliver { piece, held_for } => self.on_deliver(piece, held_for),
                output => self.on_output(output),
            }
        }
        self.state.turn.outputs = outputs;
        self.show_clock();
        self.state.turn.give_up();
        self.answer_all();
        for outgoing in self.state.turn.refused.drain(..).rev() {
            self.state.parked.push_front(outgoing);
        }
    }

    /// Before anybody is told of a delivery: whoever knows of it finds it in the clock.
    fn show_clock(&mut self) {
        if std::mem::take(&mut self.state.clock_changed) {
            self.state.delivered.clear();
            self.shared.set_clock(self.engine.delivered());
        } else if !self.state.delivered.is_empty() {
            self.shared.advance(&mut self.state.delivered);
        }
    }

    fn on_output(&mut self, output: Output) {
        match output {
            Output::Deliver { piece, held_for } => self.on_deliver(piece, held_for),
            Output::Notice(notice) => self.on_notice(notice),
            Output::Send { to, frame } => {
                if let Some(frame) = self.state.turn.answer(to, frame) {
                    self.say(to, frame);
                }
            }
            Output::Push { to, batch } => self.push(to, batch),
            Output::Recalled { messages } => self.on_recalled(messages),
            Output::RecallOver { missing } => self.on_recall_over(missing),
            Output::Sent { dot, .. } => self.state.turn.sent(dot),
            Output::Refused { why, .. } => self.state.turn.refused(why),
            Output::Acked { by, seq } => {
                self.shared.set_acked(by, seq);
                self.state.acks_changed = true;
            }
            Output::ViewChanged => {
                self.state.members_changed = true;
                self.note_change();
                let wanted = show::wanted(&self.engine);
                self.wanted.send_replace(wanted);
                self.views.notify_one();
            }
            Output::Full { limit } => {
                self.entered(Err(limit));
                self.state.over = true;
            }
            Output::Left => self.state.over = true,
            Output::Broken(reason) => {
                tracing::error!(reason, "the group stopped: an invariant does not hold");
                self.state.pending.add(Told::Event(Event::Broken { reason }), 0);
                self.state.over = true;
            }
        }
    }

    fn on_deliver(&mut self, piece: Piece, held_for: Micros) {
        let payload_bytes = piece.payload_bytes();
        self.state.delivered.push((piece.origin(), piece.last()));
        let place = self.note_delivered(&piece);
        match piece {
            Piece::One(message) => self.on_message(message, payload_bytes, held_for, place),
            Piece::Many(part) if part.kind() == Kind::App => {
                let from = self.member(part.origin());
                let told = Told::Messages {
                    part,
                    from,
                    held_for,
                    place,
                };
                self.tell(told, payload_bytes);
            }
            Piece::Many(part) => self.on_message(part.nth(0), payload_bytes, held_for, place),
        }
    }

    fn on_message(&mut self, message: Message, payload_bytes: usize, held_for: Micros, place: u64) {
        if message.kind == Kind::Join && message.dot.origin == self.shared.me.id {
            self.note_members();
            self.state.members_changed = false;
            self.shared.set_clock(self.engine.delivered());
            self.note_entered();
            self.entered(Ok(()));
        }
        if message.kind == Kind::Join {
            self.name(&message);
        }
        let from = self.member(message.dot.origin);
        let event = match message.kind {
            Kind::Call if message.dot.origin != self.shared.me.id => Event::Called(Request {
                from,
                stamp: message.stamp(),
                payload: message.payload,
                replies: self.replies.clone(),
            }),
            Kind::List => self.on_list(message, from),
            _ => show::delivered(message, from, held_for),
        };
        self.tell(Told::Placed(event, place), payload_bytes);
    }

    /// What a member said of who may be in the group. It counts from here on.
    fn on_list(&mut self, message: Message, by: Member) -> Event {
        let stamp = message.stamp();
        let nothing = Event::Control {
            member: by.clone(),
            stamp: stamp.clone(),
        };
        let (Some(private), Some(act)) = (&self.private, Act::decode(&message.payload)) else {
            return nothing;
        };
        if !private.listing.hear(&act, (by.id, stamp.lamport)) {
            return nothing;
        }
        // The node tells its links.
        self.views.notify_one();
        let profile = act.about;
        if act.admits {
            return Event::Admitted { profile, by, stamp };
        }
        self.state.over |= private.identity.profile() == Some(profile);
        Event::Excluded { profile, by, stamp }
    }

    /// Tells whoever waits in `Node::join`, if it still does.
    fn entered(&mut self, how: super::Entered) {
        if let Some(joined) = self.joined.take() {
            let _ = joined.send(how);
        }
    }

    pub(super) fn on_notice(&mut self, notice: Notice) {
        if let Notice::Odd { peer, what } = &notice {
            tracing::warn!(peer = %peer.short(), what, "ignored: no correct member says this");
            if is_forgery(what) {
                self.cast_out(Outcast::Forger(*peer));
            }
            return;
        }
        if matches!(notice, Notice::Gap(_)) {
            self.state.clock_changed = true;
            self.note_change();
        }
        if let Notice::Equivocation { member, proof, .. } = &notice
            && *member != self.shared.me.id
        {
            self.cast_out(Outcast::Expelled(NodeId::of_key(&proof.key.public)));
        }
        if matches!(notice, Notice::Silent(_) | Notice::Resumed(_)) {
            self.state.members_changed = true;
        }
        let name = |id: MemberId| {
            self.state
                .members
                .get(&id)
                .cloned()
                .unwrap_or(Member { id, name: "".into() })
        };
        if let Some(event) = show::notice(notice, name) {
            self.tell(Told::Event(event), 0);
        }
    }

    /// Tells the node of one that it should have no links to any more.
    fn cast_out(&mut self, outcast: Outcast) {
        let is_news = |outcasts: &mut Vec<Outcast>| {
            let news = !outcasts.contains(&outcast);
            outcasts.extend(news.then_some(outcast));
            news
        };
        if self.outcasts.send_if_modified(is_news) {
            self.views.notify_one();
        }
    }

    pub(super) fn push(&mut self, to: MemberId, batch: Batch) {
        let cached = self.state.encoded.iter().find(|entry| entry.0 == batch);
        let run = match cached {
            Some((_, run)) => run.clone(),
            None => {
                let run: Arc<[Bytes]> = self.engine.encode_own(batch).into();
                if self.state.encoded.len() == ENCODED {
                    self.state.encoded.pop_front();
                }
                self.state.encoded.push_back((batch, run.clone()));
                run
            }
        };
        let path = self.path(to);
        self.call(to, Call::Push { path, run });
    }

    pub(super) fn say(&mut self, to: MemberId, frame: Frame) {
        let path = self.path(to);
        self.call(
            to,
            Call::Frame {
                path,
                frame: Box::new(frame),
            },
        );
    }

    pub(super) fn path(&self, to: MemberId) -> Path {
        Path {
            group: self.group,
            from: self.shared.me.id,
            to,
        }
    }

    /// Never waits: what a full queue does not take is said again by the protocol.
    pub(super) fn call(&mut self, to: MemberId, call: Call) {
        if let Some(call) = self.hold_call(to, call) {
            self.put_through(to, call);
        }
    }

    pub(super) fn put_through(&mut self, to: MemberId, call: Call) {
        let Some(link) = self.state.links.get(&to) else { return };
        if self.state.faulty.as_ref().is_some_and(|faulty| faulty.is_cut(to)) {
            return;
        }
        if link.try_send(call).is_err() {
            tracing::debug!(peer = %to.short(), "a call was dropped: the link is busy or gone");
        }
    }

    fn member(&mut self, id: MemberId) -> Member {
        if let Some(speaker) = self.state.speaker.as_ref().filter(|speaker| speaker.id == id) {
            return speaker.clone();
        }
        let named = |member: &&Member| !member.name.is_empty();
        let member = match self.state.members.get(&id).filter(named) {
            Some(member) => member.clone(),
            None => Member {
                id,
                name: self.shared.name_of(id).unwrap_or_else(|| "".into()),
            },
        };
        // What is known only by its id may be named any time.
        self.state.speaker = Some(member.clone()).filter(|member| !member.name.is_empty());
        member
    }

    /// A join message brings the name of one that is not known by name yet.
    fn name(&mut self, join: &Message) {
        let id = join.dot.origin;
        if self.state.members.get(&id).is_none_or(|member| member.name.is_empty()) {
            let name = join.joined_name().into();
            self.state.members.insert(id, Member { id, name });
        }
    }
}
