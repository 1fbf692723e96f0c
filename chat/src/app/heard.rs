//! What the group told, as lines.

use multicast::{Dot, Event, Member, MemberState, Span, Stamp};

use super::line::{Body, Closed, Control, Dots, Gap, Held, Join, Leave, Made, Message, MessageId, Peer, PeerState};
use super::room::Room;
use super::{Outputs, Said, command, question};

/// How many delivered messages a new one is compared with for `concurrent`.
pub(super) const RECENT: usize = 50;
/// After this long without a sign of it `multicast` calls a member silent.
const SILENT_MS: u64 = 6000;

impl Room {
    pub(super) fn on_present(&mut self, mut members: Vec<MemberState>, out: &mut Outputs) {
        members.sort_by_key(|state| (state.joined_at, state.member.id));
        members.retain(|state| state.member.id != self.people.me());
        for state in &members {
            let member = &state.member;
            self.people.arrived(member, state.joined_at);
            self.outbox.arrived(member.id);
            if self.people.only_listens(member.id) {
                continue;
            }
            out.tell(Body::Join(Join {
                from: self.people.person(member.id),
                id: self.people.message_id(Dot {
                    origin: member.id,
                    seq: 1,
                }),
                place: self.at(),
                lamport: state.joined_at,
                clock: None,
                reference: None,
                own: false,
                replay: true,
            }));
            if state.silent {
                self.tell_peer(member, PeerState::Silent, out);
            }
        }
    }

    /// A message; `watched` if people look at this room now.
    pub(super) fn on_said(
        &mut self,
        Said {
            from,
            stamp,
            held_ms,
            post,
        }: Said,
        watched: bool,
        out: &mut Outputs,
    ) {
        self.people.named(&from);
        let post = match post {
            Ok(post) => post,
            Err(why) => return self.tell_control(&from, &stamp, Some(why.to_string()), out),
        };
        let own = from.id == self.people.me();
        let unseen = self.recent.iter().filter(|(dot, _)| !self.is_before(*dot, &stamp));
        let concurrent: Vec<MessageId> = unseen.map(|(dot, _)| self.people.message_id(*dot)).collect();
        self.remember(stamp.dot, held_ms);
        if !own {
            self.newest = Some(stamp.dot);
        }
        self.unread += u64::from(!own && !watched && self.entered);
        out.tell(Body::Message(Message {
            id: self.people.message_id(stamp.dot),
            place: self.at(),
            from: self.people.person(from.id),
            kind: post.kind,
            mention: !own && mentions(&post.text, self.people.nick(self.people.me())),
            text: post.text,
            reply_to: post.reply_to.map(|dot| self.people.message_id(dot)),
            lamport: stamp.lamport,
            clock: self.people.vector(&stamp.clock),
            sent_at: question::utc_of_micros(stamp.sent_at),
            held_ms,
            concurrent,
            own,
            replay: !self.entered,
        }));
    }

    /// Whether a message that was delivered here before another one is in its past. Of an origin that has ended long ago
    /// clocks have no entry any more: what it said everybody had.
    fn is_before(&self, dot: Dot, later: &Stamp) -> bool {
        let may_lack = !self.people.is_present(dot.origin) && (self.retires || !self.people.has_been_here(dot.origin));
        later.clock.covers(dot) || (may_lack && later.clock.get(dot.origin) == 0)
    }

    fn remember(&mut self, dot: Dot, held_ms: u64) {
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back((dot, held_ms));
    }

    /// A message of somebody who is not to be heard: it has its place, and is not shown.
    pub(super) fn on_ignored(&mut self, said: Said, out: &mut Outputs) {
        let Said {
            from, stamp, held_ms, ..
        } = said;
        self.people.named(&from);
        self.remember(stamp.dot, held_ms);
        out.tell(Body::Control(Control {
            ignored: true,
            ..self.control(&from, &stamp)
        }));
    }

    pub(super) fn on_heard(&mut self, event: Event, out: &mut Outputs) {
        match event {
            Event::Joined { member, stamp } => self.on_joined(&member, &stamp, out),
            Event::Left { member, reason, stamp } => self.on_left(&member, reason, &stamp, out),
            Event::Control { member, stamp } => {
                // It may say that clocks have no entry any more for one who is gone.
                self.retires = true;
                self.tell_control(&member, &stamp, None, out);
            }
            // Asked by a program that is no chat: it has its place in the order.
            Event::Called(request) => self.tell_control(&request.from, &request.stamp, None, out),
            Event::Silent(member) => {
                self.tell_peer(&member, PeerState::Silent, out);
                self.outbox.heard(member.id, true);
                self.tell_topic(out);
            }
            Event::Resumed(member) => {
                self.outbox.heard(member.id, false);
                self.tell_peer(&member, PeerState::Up, out);
            }
            Event::Lagging { member, behind } => {
                self.people.named(&member);
                let peer = self.peer(&member, PeerState::Lagging);
                out.tell(Body::Peer(Peer {
                    behind: Some(behind),
                    ..peer
                }));
            }
            // A newcomer's first message brings its name; while it waits, nobody could say who it is.
            Event::Held { dot, needs, .. }
                if !(self.people.is_named(dot.origin) && self.people.is_named(needs.origin)) => {}
            Event::Held { dot, needs, held } => out.tell(Body::Held(Held {
                id: self.people.message_id(dot),
                place: self.at(),
                needs: vec![self.people.message_id(needs)],
                held: held as u64,
            })),
            Event::Closed {
                origin,
                last_seq,
                discarded,
            } => self.on_closed(&origin, last_seq, discarded, out),
            Event::Reopened { origin } => {
                self.people.arrived(&origin, None);
                self.outbox.arrived(origin.id);
                self.tell_peer(&origin, PeerState::Up, out);
            }
            Event::Gap { dots } => self.on_gap(&dots, out),
            Event::Broken { reason } => {
                let text = format!("this member's group ended by itself, please report it: {reason}");
                out.tell(Body::Error(command::error("broken", text)));
            }
            // The chat ends with it, and says so then.
            Event::Evicted => {}
            Event::StoreFailed { error } => out.tell(Body::Error(command::error("store_failed", error.to_string()))),
            // Kinds that a later version of the library adds have no line yet.
            _ => {}
        }
    }

    fn on_joined(&mut self, member: &Member, stamp: &Stamp, out: &mut Outputs) {
        self.people.arrived(member, Some(stamp.lamport));
        let own = member.id == self.people.me();
        self.entered |= own;
        if !own {
            self.outbox.arrived(member.id);
        }
        if own && self.made {
            self.tell_nick(out);
            return out.tell(Body::Made(Made {
                id: self.people.message_id(stamp.dot),
                place: self.at(),
                order: "causal",
                by: self.people.id(member.id),
                lamport: stamp.lamport,
                clock: self.people.vector(&stamp.clock),
                reference: self.reference.take(),
                member: member.id,
            }));
        }
        if !own && self.people.only_listens(member.id) {
            self.tell_control(member, stamp, None, out);
            return self.on_newcomer(stamp, out);
        }
        out.tell(Body::Join(Join {
            from: self.people.person(member.id),
            id: self.people.message_id(stamp.dot),
            place: self.at(),
            lamport: Some(stamp.lamport),
            clock: Some(self.people.vector(&stamp.clock)),
            reference: if own { self.reference.take() } else { None },
            own,
            replay: !self.entered,
        }));
        if own {
            self.tell_nick(out);
            if self.about.is_some() {
                out.tell(self.topic(None));
            }
        } else {
            self.on_newcomer(stamp, out);
        }
    }

    fn on_left(&mut self, member: &Member, reason: String, stamp: &Stamp, out: &mut Outputs) {
        self.people.named(member);
        let own = member.id == self.people.me();
        if !own && self.people.only_listens(member.id) {
            self.tell_control(member, stamp, None, out);
            self.people.departed(member);
            return self.outbox.departed(member.id, &self.people, out);
        }
        out.tell(Body::Leave(Leave {
            from: self.people.person(member.id),
            id: self.people.message_id(stamp.dot),
            place: self.at(),
            lamport: stamp.lamport,
            clock: self.people.vector(&stamp.clock),
            reason,
            reference: if own { self.reference.take() } else { None },
            own,
            replay: !self.entered,
        }));
        self.people.departed(member);
        self.outbox.departed(member.id, &self.people, out);
        if !own {
            self.tell_topic(out);
        }
    }

    fn on_closed(&mut self, origin: &Member, last_seq: u64, discarded: u64, out: &mut Outputs) {
        self.people.named(origin);
        out.tell(Body::Closed(Closed {
            origin: self.people.id(origin.id),
            place: self.at(),
            last_seq,
            discarded,
            member: origin.id,
            expected: !self.people.is_present(origin.id) || self.people.only_listens(origin.id),
        }));
        self.people.departed(origin);
        self.outbox.departed(origin.id, &self.people, out);
        self.tell_topic(out);
    }

    fn on_gap(&mut self, dots: &[Span], out: &mut Outputs) {
        let dots = dots.iter().map(|span| Dots {
            origin: self.people.id(span.origin),
            from: span.from,
            to: span.to,
            member: span.origin,
        });
        let gap = Gap {
            place: self.at(),
            dots: dots.collect(),
        };
        out.tell(Body::Gap(gap));
    }

    fn tell_control(&mut self, from: &Member, stamp: &Stamp, unreadable: Option<String>, out: &mut Outputs) {
        self.people.named(from);
        out.tell(Body::Control(Control {
            unreadable,
            ..self.control(from, stamp)
        }));
    }

    fn tell_peer(&mut self, member: &Member, state: PeerState, out: &mut Outputs) {
        self.people.named(member);
        out.tell(Body::Peer(self.peer(member, state)));
    }

    fn peer(&self, member: &Member, state: PeerState) -> Peer {
        Peer {
            peer: self.people.id(member.id),
            place: self.at(),
            state,
            silent_ms: (state == PeerState::Silent).then_some(SILENT_MS),
            behind: None,
            member: member.id,
        }
    }
}

/// Whether the nick occurs as a word, in any case. A full stop at a word's end belongs to the sentence.
pub(super) fn mentions(text: &str, nick: &str) -> bool {
    let nick = nick.to_lowercase();
    text.to_lowercase()
        .split(|c| !crate::names::nick_allows(c))
        .any(|word| word == nick || word.trim_matches(['.', '-']) == nick)
}
