//! From the engine's words to the application's.

use std::time::Duration;

use crate::clock::Clock;
use crate::engine::{Engine, Notice, Standing, Whereabouts};
use crate::event::{Delivery, Event, Explanation, MissingCause};
use crate::group::{Gauges, HeldMessage, MemberState, Want, Wanted};
use crate::id::{Dot, MemberId};
use crate::message::{Kind, Member, Message, Micros, Name};

/// Most held messages that are listed at once.
const LISTED: usize = 1000;

pub(super) fn delivered(message: Message, from: Member, held_for: Micros) -> Event {
    match message.kind {
        Kind::App => Event::Delivered(delivery(message, from, held_for)),
        Kind::Join => Event::Joined {
            member: from,
            stamp: message.stamp(),
        },
        Kind::Leave => {
            let reason = String::from_utf8_lossy(&message.payload).into_owned();
            Event::Left {
                member: from,
                reason,
                stamp: message.stamp(),
            }
        }
        Kind::Retire | Kind::Call | Kind::List => Event::Control {
            member: from,
            stamp: message.stamp(),
        },
    }
}

#[inline]
pub(super) fn delivery(message: Message, from: Member, held_for: Micros) -> Delivery {
    Delivery {
        dot: message.dot,
        from,
        lamport: message.lamport,
        sent_at: message.sent_at,
        held_for: Duration::from_micros(held_for),
        clock: message.clock(),
        payload: message.payload,
    }
}

pub(super) fn notice(notice: Notice, member: impl Fn(MemberId) -> Member) -> Option<Event> {
    Some(match notice {
        Notice::Silent(id) => Event::Silent(member(id)),
        Notice::Resumed(id) => Event::Resumed(member(id)),
        Notice::Lagging { member: id, behind } => Event::Lagging {
            member: member(id),
            behind,
        },
        Notice::Held { dot, needs, held } => Event::Held { dot, needs, held },
        Notice::Closed {
            origin,
            last_seq,
            discarded,
        } => Event::Closed {
            origin: member(origin),
            last_seq,
            discarded,
        },
        Notice::Reopened(id) => Event::Reopened { origin: member(id) },
        Notice::Gap(dots) => Event::Gap { dots },
        Notice::Equivocation {
            member: id,
            delivered,
            discarded,
            proof,
        } => Event::Equivocation {
            member: member(id),
            delivered,
            discarded,
            proof,
        },
        Notice::Odd { .. } => return None,
    })
}

/// Whom to dial: everyone who counts, and everyone who was closed without a goodbye, for a partition must heal by
/// itself.
pub(super) fn wanted(engine: &Engine) -> Wanted {
    let me = engine.me();
    let members = engine.members().into_iter().filter(|view| view.record.member != me);
    members
        .filter(|view| view.record.standing.counts() || !view.record.goodbye)
        .filter_map(|view| {
            let intro = view.record.intro?;
            Some(Want {
                member: view.record.member,
                node: intro.node,
                addr: intro.addr,
            })
        })
        .collect()
}

pub(super) fn roster(engine: &Engine) -> Vec<MemberState> {
    let members = engine
        .members()
        .into_iter()
        .filter(|view| view.record.standing == Standing::Member);
    members
        .map(|view| MemberState {
            member: Member {
                id: view.record.member,
                name: view.name.into(),
            },
            addr: view.record.intro.map(|intro| intro.addr),
            linked: view.linked,
            silent: view.silent || view.refused,
            lagging: view.lagging,
            has_of_mine: view.acked,
            joined_at: view.joined_at,
            digest: view.digest,
        })
        .collect()
}

pub(super) fn held(engine: &Engine, now: Micros) -> Vec<HeldMessage> {
    let mut held: Vec<_> = engine.held().collect();
    held.sort_by_key(|held| held.since);
    held.truncate(LISTED);
    let message = |held: crate::engine::HeldView| HeldMessage {
        dot: held.dot,
        needs: held.needs,
        held_for: Duration::from_micros(now.saturating_sub(held.since)),
    };
    held.into_iter().map(message).collect()
}

pub(super) fn gauges(engine: &Engine) -> Gauges {
    let ((held, held_bytes), (logged, log_bytes)) = (engine.held_size(), engine.log_size());
    let delivered = engine.delivered();
    let cut = engine.cut();
    Gauges {
        delivered: delivered
            .iter()
            .map(|(member, seq)| seq.saturating_sub(cut.get(member)))
            .sum(),
        held,
        held_bytes,
        logged,
        log_bytes,
        lamport: engine.lamport(),
    }
}

pub(super) fn explanation(engine: &Engine, dot: Dot, name: impl Fn(MemberId) -> Option<Name>) -> Explanation {
    match engine.whereabouts(dot) {
        Whereabouts::Delivered(message) => {
            let id = message.dot.origin;
            let from = Member {
                id,
                name: name(id).unwrap_or_else(|| "".into()),
            };
            Explanation::Delivered(delivery(message, from, 0))
        }
        Whereabouts::Past => Explanation::Past,
        Whereabouts::Awaited => Explanation::Awaited,
        Whereabouts::Unknown => Explanation::Unknown,
        Whereabouts::Held { clock, missing } => {
            let delivered: Clock = engine.delivered();
            let cause = |missing: crate::engine::Missing| MissingCause {
                span: missing.span,
                held: missing.held,
                asked: missing.asked,
                holders: missing.holders,
            };
            let missing = missing.into_iter().map(cause).collect();
            Explanation::Held {
                written_after: clock,
                delivered,
                missing,
            }
        }
    }
}
