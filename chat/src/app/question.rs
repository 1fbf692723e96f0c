//! Questions that only the group's task or the registries can answer, and what the answers look like.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use multicast::{Clock, Dot, Explanation, Gauges, HeldMessage, Link, Member, MemberId, MemberState};

use super::Said;
use super::chaos::Fault;
use super::command::{self, COMMANDS};
use super::line::{
    At, Body, ClockNow, Elsewhere, Error, Export, Help, HelpLine, History, Info, MemberLine, Message, Missing,
    PeerLine, Peers, Ping, Ref, RegistryLine, StampMode, Waiting, WaitingMessage, Where, Who, Why, WhyState,
};
use super::people::People;
use super::text::Stamp;
use crate::names;
use crate::post::Post;

/// What to find out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Question {
    Who,
    /// The last messages that are kept, or the last ones with these words.
    History {
        limit: usize,
        text: Option<String>,
    },
    Clock,
    Held,
    Why(Dot),
    Info(Dot),
    Peers,
    Status,
    /// Which rooms there are elsewhere.
    Rooms,
    /// Write what is kept of the room into that new file.
    Export(String),
    /// How long somebody takes to answer.
    Ping(MemberId),
    /// What a fault makes of this chat.
    Fault(Fault),
}

/// What was found out.
#[derive(Clone, PartialEq, Debug)]
pub enum Answer {
    Who {
        roster: Vec<MemberState>,
        /// Programs that listen through this chat.
        attached: u64,
        /// Fingerprints of profiles, as far as they are known here.
        profiles: BTreeMap<MemberId, String>,
    },
    Clock {
        delivered: Clock,
        stable: Clock,
        lamport: u64,
    },
    Held {
        /// How many in all.
        held: u64,
        /// The oldest of them.
        messages: Vec<HeldMessage>,
    },
    Why(Dot, Explanation),
    Info(Dot, Explanation),
    /// Messages as they are kept, and names of whoever they mention.
    History {
        messages: Vec<Said>,
        names: Vec<Member>,
    },
    /// Something was asked that there is no store, or no readable one, to answer; why.
    NotKept(String),
    /// Nothing: it did not answer while that was waited for.
    Ping(MemberId, Option<Duration>),
    /// It is there now, or is not, and why.
    Fault(Result<Fault, String>),
    /// So many messages were written into that file; or why they were not.
    Exported(Result<(String, u64), String>),
    Peers(Vec<Link>),
    Rooms(Vec<Elsewhere>),
    Status {
        registries: Vec<RegistryLine>,
        gauges: Gauges,
        members: u64,
    },
}

/// What an answer about one room is put into words with.
pub(super) struct Context<'a> {
    pub people: &'a People,
    pub at: Where,
    /// What was delivered last, and for how many milliseconds it had waited.
    pub recent: &'a VecDeque<(Dot, u64)>,
}

impl Context<'_> {
    /// The answer as a line; nothing, if it is not about a room.
    pub(super) fn body(&self, answer: Answer, reference: Option<Ref>) -> Option<Body> {
        Some(match answer {
            Answer::Who {
                roster,
                attached,
                profiles,
            } => self.who((roster, attached), profiles, reference),
            Answer::Clock {
                delivered,
                stable,
                lamport,
            } => Body::Clock(ClockNow {
                reference,
                place: self.at.clone(),
                lamport,
                clock: self.people.vector(&delivered),
                stable: self.people.vector(&stable),
            }),
            Answer::Held { held, messages } => self.held(held, &messages, reference),
            Answer::Why(dot, explanation) => self.why(dot, explanation, reference),
            Answer::Info(dot, explanation) => self.info(dot, explanation, reference),
            Answer::History { messages, .. } => self.history(messages, reference),
            Answer::NotKept(why) => Body::Error(Error {
                reference,
                ..command::error("no_history", why)
            }),
            Answer::Ping(member, took) => Body::Ping(Ping {
                reference,
                place: self.at.clone(),
                peer: self.people.id(member),
                round_trip_us: took.map(|took| took.as_micros() as u64),
                member,
            }),
            Answer::Exported(Ok((file, messages))) => Body::Export(Export {
                reference,
                place: self.at.clone(),
                file,
                messages,
            }),
            Answer::Fault(Ok(fault)) => self.chaos(fault, reference),
            Answer::Fault(Err(why)) | Answer::Exported(Err(why)) => Body::Error(Error {
                reference,
                ..command::error("not_done", why)
            }),
            Answer::Peers(_) | Answer::Rooms(_) | Answer::Status { .. } => return None,
        })
    }

    fn history(&self, messages: Vec<Said>, reference: Option<Ref>) -> Body {
        let message = |said: Said| {
            let post = said.post.ok()?;
            Some(Message {
                id: self.people.message_id(said.stamp.dot),
                place: self.at.clone(),
                from: self.people.person(said.from.id),
                kind: post.kind,
                text: post.text,
                reply_to: post.reply_to.map(|dot| self.people.message_id(dot)),
                lamport: said.stamp.lamport,
                clock: self.people.vector(&said.stamp.clock),
                sent_at: utc_of_micros(said.stamp.sent_at),
                held_ms: 0,
                concurrent: Vec::new(),
                own: said.from.id == self.people.me(),
                mention: false,
                replay: true,
            })
        };
        Body::History(History {
            reference,
            place: self.at.clone(),
            messages: messages.into_iter().filter_map(message).collect(),
        })
    }

    fn who(
        &self,
        (mut roster, attached): (Vec<MemberState>, u64),
        mut profiles: BTreeMap<MemberId, String>,
        reference: Option<Ref>,
    ) -> Body {
        roster.sort_by_key(|state| (state.joined_at, state.member.id));
        let (listeners, roster): (Vec<_>, Vec<_>) = roster
            .into_iter()
            .partition(|state| names::is_listener(&state.member.name));
        let members = roster.into_iter().map(|state| MemberLine {
            id: self.people.id(state.member.id),
            nick: self.people.nick(state.member.id).to_owned(),
            own: state.member.id == self.people.me(),
            addr: state.addr.map(|addr| addr.to_string()),
            profile: profiles.remove(&state.member.id),
            joined: state.joined_at,
            silent: state.silent,
            lagging: state.lagging,
            member: state.member.id,
        });
        Body::Who(Who {
            reference,
            place: self.at.clone(),
            members: members.collect(),
            // Whoever asks only to see who is there does not count itself.
            listeners: listeners
                .iter()
                .filter(|state| state.member.id != self.people.me())
                .count() as u64
                + attached,
        })
    }

    fn held(&self, held: u64, messages: &[HeldMessage], reference: Option<Ref>) -> Body {
        let messages = messages.iter().map(|message| WaitingMessage {
            id: self.people.message_id(message.dot),
            needs: vec![self.people.message_id(message.needs)],
            held_ms: message.held_for.as_millis() as u64,
        });
        Body::Waiting(Waiting {
            reference,
            place: self.at.clone(),
            held,
            messages: messages.collect(),
        })
    }

    fn why(&self, dot: Dot, explanation: Explanation, reference: Option<Ref>) -> Body {
        let mut why = Why {
            reference,
            place: self.at.clone(),
            id: self.people.message_id(dot),
            state: WhyState::Unknown,
            lamport: None,
            written_after: None,
            delivered: None,
            missing: Vec::new(),
        };
        match explanation {
            Explanation::Delivered(delivery) => {
                why.state = WhyState::Delivered;
                why.lamport = Some(delivery.lamport);
                why.written_after = Some(self.people.vector(&before(delivery.clock(), dot)));
            }
            Explanation::Past => why.state = WhyState::Past,
            Explanation::Held {
                written_after,
                delivered,
                missing,
            } => {
                why.state = WhyState::Held;
                why.written_after = Some(self.people.vector(&before(&written_after, dot)));
                why.delivered = Some(self.people.vector(&delivered));
                why.missing = missing.into_iter().map(|cause| self.missing(cause)).collect();
            }
            Explanation::Awaited => why.state = WhyState::Awaited,
            _ => {}
        }
        Body::Why(why)
    }

    fn missing(&self, cause: multicast::MissingCause) -> Missing {
        let ids = |members: &[MemberId]| members.iter().map(|id| self.people.id(*id)).collect();
        Missing {
            origin: self.people.id(cause.span.origin),
            from: cause.span.from,
            to: cause.span.to,
            held: cause.held,
            asked: ids(&cause.asked),
            holders: ids(&cause.holders),
            member: cause.span.origin,
            asked_members: cause.asked,
            holding_members: cause.holders,
        }
    }

    /// Everything about a message that is still kept; of others what `/why` would say.
    fn info(&self, dot: Dot, explanation: Explanation, reference: Option<Ref>) -> Body {
        let Explanation::Delivered(delivery) = explanation else {
            return self.why(dot, explanation, reference);
        };
        Body::Info(Info {
            reference,
            place: self.at.clone(),
            id: self.people.message_id(dot),
            from: self.people.person(delivery.from.id),
            lamport: delivery.lamport,
            clock: self.people.vector(delivery.clock()),
            sent_at: utc_of_micros(delivery.sent_at),
            // The log does not know.
            held_ms: self.recent.iter().find(|recent| recent.0 == dot).map(|recent| recent.1),
            text: Post::decode(&delivery.payload).ok().map(|post| post.text),
        })
    }
}

/// The answer to `/peers`; `name` says who a node is.
pub(super) fn peers(links: &[Link], name: impl Fn(MemberId) -> String, reference: Option<Ref>) -> Body {
    let peers = links.iter().map(|link| PeerLine {
        addr: link.addr.to_string(),
        // A node's first membership of a group has the node's own id.
        peer: link.node.map(|node| name(MemberId(node.0))),
        up: link.up,
        trouble: link.trouble.clone(),
    });
    Body::Peers(Peers {
        reference,
        peers: peers.collect(),
    })
}

/// The answer to `/help`.
pub(super) fn help(reference: Option<Ref>) -> Body {
    let commands = COMMANDS.iter().map(|entry: &command::Entry| HelpLine {
        command: entry.usage,
        does: entry.does,
    });
    Body::Help(Help {
        reference,
        commands: commands.collect(),
    })
}

/// The answer to `/stamp`.
pub(super) fn stamp(mode: Stamp, reference: Option<Ref>) -> Body {
    Body::Stamp(StampMode { reference, mode })
}

/// A sender's wall clock as text. It may be wrong; nothing is decided by it.
pub fn utc_of_micros(micros: u64) -> String {
    At {
        unix_ms: (micros / 1000) as i64,
        offset_s: 0,
    }
    .utc()
}

/// What the sender had seen before it wrote: its clock without the message itself.
fn before(clock: &Clock, dot: Dot) -> Clock {
    let mut clock = clock.clone();
    if clock.get(dot.origin) == dot.seq {
        clock.set(dot.origin, dot.seq - 1);
    }
    clock
}
