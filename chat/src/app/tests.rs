//! The model as a table of inputs and what people and scripts then see.

use multicast::{Clock, Dot, Event, Explanation, Member, MemberId, MemberState, MissingCause, Span, Stamp};
use serde_json::{Value, json};

use super::question::Question;
use super::*;
use crate::post::{Kind, Post};

mod acks;
mod lines;
mod peers;
mod questions;
mod replies;
mod rooms;
mod screen;
mod told;

/// 10:02:09 UTC.
const NOW: At = At {
    unix_ms: 1_795_255_329_001,
    offset_s: 0,
};

struct Stage {
    app: App,
    n: u64,
}

fn member(n: u128, name: &str) -> Member {
    Member {
        id: MemberId::from(n << 96),
        name: name.into(),
    }
}

fn ana() -> Member {
    member(0x7f3a01c2, "ana")
}

fn bob() -> Member {
    member(0xc0de44aa, "bob")
}

fn cyd() -> Member {
    member(0x11aa90ff, "cyd")
}

fn clock(entries: &[(&Member, u64)]) -> Clock {
    entries.iter().map(|(member, seq)| (member.id, *seq)).collect()
}

fn stamp(of: &Member, lamport: u64, entries: &[(&Member, u64)]) -> Stamp {
    let clock = clock(entries);
    Stamp {
        dot: Dot {
            origin: of.id,
            seq: clock.get(of.id),
        },
        clock,
        lamport,
        sent_at: 1_795_255_329_000_123,
    }
}

fn state(member: Member, has_of_mine: u64) -> MemberState {
    MemberState {
        member,
        addr: None,
        linked: true,
        silent: false,
        lagging: false,
        has_of_mine,
        joined_at: Some(2),
        digest: Clock::new(),
    }
}

fn joined(member: Member, lamport: u64, entries: &[(&Member, u64)]) -> Input {
    let stamp = stamp(&member, lamport, entries);
    heard(Event::Joined { member, stamp })
}

fn lobby() -> Place {
    Place::room("lobby")
}

fn inside(inside: Inside) -> Input {
    Input::In(lobby(), inside)
}

fn heard(event: Event) -> Input {
    inside(Inside::Heard(event))
}

fn said(from: Member, post: Post, lamport: u64, entries: &[(&Member, u64)]) -> Input {
    inside(Inside::Said(Said {
        stamp: stamp(&from, lamport, entries),
        from,
        held_ms: 0,
        post: Ok(post),
    }))
}

fn opened(me: Member, present: Vec<MemberState>) -> Inside {
    Inside::Opened {
        me,
        present,
        reference: None,
    }
}

impl Stage {
    /// Ana alone.
    fn new() -> Self {
        let setup = Setup {
            me: ana(),
            room: "lobby".into(),
            addr: "127.0.0.1:4000".into(),
            registry: Some("127.0.0.1:7420".into()),
            stamp: text::Stamp::Vector,
            by_id: false,
            chaos: false,
            no_commands: false,
        };
        let mut stage = Self {
            app: App::new(setup, 5),
            n: 0,
        };
        stage.take(inside(opened(ana(), Vec::new())));
        stage
    }

    /// Ana, bob and cyd, who joined in this order.
    fn of_three() -> Self {
        let mut room = Self::new();
        room.take(joined(ana(), 1, &[(&ana(), 1)]));
        room.take(joined(bob(), 2, &[(&ana(), 1), (&bob(), 1)]));
        room.take(joined(cyd(), 3, &[(&ana(), 1), (&bob(), 1), (&cyd(), 1)]));
        room
    }

    fn take(&mut self, input: Input) -> Vec<Output> {
        self.app.update(input, NOW)
    }

    fn text(&mut self, input: Input) -> String {
        let out = self.take(input);
        let lines = out.iter().filter_map(|output| match output {
            Output::Tell(line) => self.app.text(line, false),
            _ => None,
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    fn json(&mut self, input: Input) -> Vec<Value> {
        let out = self.take(input);
        let lines = out.iter().filter_map(|output| match output {
            Output::Tell(line) => {
                self.n += 1;
                let text = line.to_json(self.n);
                let value = serde_json::from_str(&text).expect("a line is JSON");
                crate::schema::check(&value);
                Some(value)
            }
            _ => None,
        });
        lines.collect()
    }
}
