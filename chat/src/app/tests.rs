//! The model as a table of inputs and what people and scripts then see.

use multicast::{Clock, Dot, Event, Explanation, Member, MemberId, MemberState, MissingCause, Span, Stamp};
use serde_json::{Value, json};

use super::question::Question;
use super::*;
use crate::post::{Kind, Post};

mod rooms;

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

#[test]
fn text_lines_are_as_agreed() {
    let mut room = Stage::new();
    assert_eq!(
        room.text(joined(ana(), 1, &[(&ana(), 1)])),
        "10:02:09 *** Participant ana joined #lobby at logical time 1."
    );
    let mut room = Stage::of_three();
    let anyone = said(
        ana(),
        Post::text("anyone here?"),
        4,
        &[(&ana(), 2), (&bob(), 1), (&cyd(), 1)],
    );
    assert_eq!(
        room.text(anyone),
        "10:02:09 #lobby <ana> anyone here?  [ana:2 bob:1 cyd:1]"
    );
    let waves = Post {
        kind: Kind::Action,
        ..Post::text("waves")
    };
    let waves = said(bob(), waves, 5, &[(&ana(), 2), (&bob(), 2), (&cyd(), 1)]);
    assert_eq!(room.text(waves), "10:02:09 #lobby * bob waves  [ana:2 bob:2 cyd:1]");
    let two = Post::text("a message\r\nwith a second line\n");
    let two = said(cyd(), two, 6, &[(&ana(), 2), (&bob(), 2), (&cyd(), 2)]);
    assert_eq!(
        room.text(two),
        "10:02:09 #lobby <cyd> a message\n         | with a second line  [ana:2 bob:2 cyd:2]"
    );
    let left = Event::Left {
        member: bob(),
        reason: String::new(),
        stamp: stamp(&bob(), 12, &[(&bob(), 3)]),
    };
    assert_eq!(
        room.text(heard(left)),
        "10:02:09 *** Participant bob left #lobby at logical time 12."
    );
    assert_eq!(
        room.text(heard(Event::Silent(cyd()))),
        "10:02:09 *** cyd is not answering (6.0 s); its messages so far are safe."
    );
    assert_eq!(
        room.text(Input::TextLine("/foo".into())),
        "*** no command /foo (did you mean /me?); /help lists them"
    );
}

#[test]
fn stamps_have_four_modes() {
    let mut room = Stage::of_three();
    let message = |seq| said(ana(), Post::text("x"), 9, &[(&ana(), seq), (&cyd(), 1)]);
    let expected = [
        ("vector", "  [ana:2 cyd:1]"),
        ("lamport", "  @9"),
        ("dense", "  [2,0,1]"),
        ("none", ""),
    ];
    for (mode, tail) in expected {
        let answer = room.text(Input::TextLine(format!("/stamp {mode}")));
        assert_eq!(answer, format!("*** the stamp is {mode}"));
        assert_eq!(room.text(message(2)), format!("10:02:09 #lobby <ana> x{tail}"));
    }
}

#[test]
fn hostile_names_and_texts_are_neutralised() {
    let eve = member(0xe0e0e0e0, "eve>\u{1b}[2J\n");
    let mut room = Stage::of_three();
    let hostile = Post::text("\u{1b}]0;title\u{7}\u{202E}x\n\u{9b}2J");
    for input in [
        joined(eve.clone(), 4, &[(&eve, 1)]),
        said(eve.clone(), hostile, 5, &[(&eve, 2)]),
        heard(Event::Left {
            member: eve.clone(),
            reason: "\u{1b}c\nx".into(),
            stamp: stamp(&eve, 6, &[(&eve, 3)]),
        }),
    ] {
        for output in room.take(input) {
            let Output::Tell(line) = output else { continue };
            let text = room.app.text(&line, false).unwrap();
            let steering = |c: char| (c.is_control() && c != '\n') || c == '\u{202E}';
            assert!(!text.contains(steering), "{text:?}");
            assert!(!line.to_json(1).contains(|c: char| c.is_control() || c == '\u{202E}'));
        }
    }
}

#[test]
fn a_message_of_very_many_lines_does_not_flood_the_screen() {
    let mut room = Stage::of_three();
    let text = room.text(said(bob(), Post::text("x\n".repeat(1000) + "y"), 4, &[(&bob(), 2)]));
    assert_eq!(text.lines().count(), 201);
    assert!(text.ends_with("         | (801 more lines)  [bob:2]"));
}

#[test]
fn json_lines_are_as_agreed() {
    let mut room = Stage::new();
    let hello = &room.json(Input::Started)[0];
    assert_eq!(hello["type"], "hello");
    assert_eq!(hello["n"], 1);
    assert_eq!(hello["at"], "2026-11-21T10:02:09.001Z");
    assert_eq!(hello["self"], json!({"id": "ana#7f3a01c2", "nick": "ana"}));
    room.json(joined(ana(), 1, &[(&ana(), 1)]));
    let join = &room.json(joined(bob(), 2, &[(&ana(), 1), (&bob(), 1)]))[0];
    assert_eq!(join["id"], "bob#c0de44aa:1");
    assert_eq!(join["clock"], json!({"ana#7f3a01c2": 1, "bob#c0de44aa": 1}));
    assert_eq!(join["replay"], false);
    let message = &room.json(said(bob(), Post::text("hi Ana."), 4, &[(&ana(), 1), (&bob(), 2)]))[0];
    assert_eq!(
        *message,
        json!({
            "type": "message", "n": 4, "at": "2026-11-21T10:02:09.001Z", "id": "bob#c0de44aa:2", "room": "lobby",
            "from": {"id": "bob#c0de44aa", "nick": "bob"}, "kind": "text", "text": "hi Ana.", "lamport": 4,
            "clock": {"ana#7f3a01c2": 1, "bob#c0de44aa": 2}, "sent_at": "2026-11-21T10:02:09.000Z", "held_ms": 0,
            "concurrent": [], "self": false, "mention": true, "replay": false
        })
    );
    let error = &room.json(Input::JsonLine(r#"{"do":"foo","ref":"x9"}"#.into()))[0];
    assert_eq!(error["code"], "unknown_command");
    assert_eq!(error["ref"], "x9");
    assert_eq!(error["text"], "no command /foo");
    let bye = room.json(Input::Ended {
        reason: "leave",
        unconfirmed: vec![],
    });
    assert_eq!(bye[0]["unconfirmed"], json!([]));
}

#[test]
fn who_is_there_is_replayed_and_what_comes_before_ones_own_join_too() {
    let mut room = Stage::new();
    let replayed = room.json(inside(opened(ana(), vec![state(bob(), 0), state(ana(), 0)])));
    assert_eq!(replayed.len(), 1);
    assert_eq!(replayed[0]["replay"], true);
    assert_eq!(replayed[0]["lamport"], 2);
    let early = room.json(said(bob(), Post::text("early"), 3, &[(&bob(), 2)]));
    assert_eq!(early[0]["replay"], true);
    let own = room.json(joined(ana(), 4, &[(&ana(), 1), (&bob(), 2)]));
    assert_eq!((&own[0]["replay"], &own[0]["self"]), (&json!(false), &json!(true)));
    let late = room.json(said(bob(), Post::text("late"), 5, &[(&ana(), 1), (&bob(), 3)]));
    assert_eq!(late[0]["replay"], false);
}

#[test]
fn concurrent_names_what_neither_side_had_seen() {
    let mut room = Stage::of_three();
    room.json(said(ana(), Post::text("question"), 4, &[(&ana(), 2)]));
    let aside = room.json(said(bob(), Post::text("aside"), 4, &[(&bob(), 2)]));
    assert_eq!(aside[0]["concurrent"], json!(["ana#7f3a01c2:2"]));
    let answer = room.json(said(cyd(), Post::text("answer"), 5, &[(&ana(), 2), (&cyd(), 2)]));
    assert_eq!(answer[0]["concurrent"], json!(["bob#c0de44aa:2"]));
    for seq in 3..3 + heard::RECENT as u64 {
        room.json(said(
            ana(),
            Post::text("x"),
            9,
            &[(&ana(), seq), (&bob(), 2), (&cyd(), 2)],
        ));
    }
    let forgotten = room.json(said(bob(), Post::text("y"), 9, &[(&bob(), 3)]));
    assert_eq!(forgotten[0]["concurrent"].as_array().unwrap().len(), heard::RECENT);
}

#[test]
fn acks_go_from_queued_to_all() {
    let mut room = Stage::of_three();
    let dot = Dot {
        origin: ana().id,
        seq: 2,
    };
    let sent = inside(Inside::Sent {
        dot,
        reference: Some("x1".into()),
    });
    let state_of = |acks: &[Value]| -> Vec<String> {
        let line = |ack: &Value| format!("{} {} {}", ack["state"], ack["acked"], ack["pending"]);
        acks.iter().map(line).map(|line| line.replace('"', "")).collect()
    };
    let queued = room.json(sent);
    assert_eq!(queued[0]["ref"], "x1");
    assert_eq!(state_of(&queued), ["queued [] [cyd#11aa90ff,bob#c0de44aa]"]);
    let roster = |bob_has, cyd_has| {
        inside(Inside::Roster(vec![
            state(ana(), 9),
            state(bob(), bob_has),
            state(cyd(), cyd_has),
        ]))
    };
    assert_eq!(state_of(&room.json(roster(1, 1))), Vec::<String>::new());
    assert_eq!(
        state_of(&room.json(roster(2, 1))),
        ["partial [bob#c0de44aa] [cyd#11aa90ff]"]
    );
    assert_eq!(state_of(&room.json(roster(2, 1))), Vec::<String>::new());
    assert!(room.app.is_waiting_for_confirmation());
    assert_eq!(
        state_of(&room.json(roster(2, 2))),
        ["all [cyd#11aa90ff,bob#c0de44aa] []"]
    );
    assert!(!room.app.is_waiting_for_confirmation());
}

#[test]
fn who_leaves_is_not_waited_for() {
    let mut room = Stage::of_three();
    let dot = Dot {
        origin: ana().id,
        seq: 2,
    };
    room.take(inside(Inside::Sent { dot, reference: None }));
    room.take(inside(Inside::Roster(vec![state(bob(), 2), state(cyd(), 1)])));
    let left = Event::Left {
        member: cyd(),
        reason: String::new(),
        stamp: stamp(&cyd(), 12, &[(&cyd(), 2)]),
    };
    let told = room.json(heard(left));
    assert_eq!((&told[0]["type"], &told[1]["state"]), (&json!("leave"), &json!("all")));
}

#[test]
fn leaving_says_who_has_not_confirmed() {
    let mut room = Stage::of_three();
    let dot = Dot {
        origin: ana().id,
        seq: 2,
    };
    room.take(inside(Inside::Sent { dot, reference: None }));
    room.take(inside(Inside::Roster(vec![state(bob(), 2), state(cyd(), 1)])));
    let leave = room.take(Input::TextLine("/leave".into()));
    assert_eq!(leave, [Output::Leave { reason: String::new() }]);
    assert_eq!(
        room.text(Input::StillLeaving),
        "*** 1 message not confirmed by cyd. Waiting 5 s; /leave again to go now."
    );
    let refused = room.text(Input::TextLine("one more thing".into()));
    assert_eq!(refused, "*** you are leaving; nothing more can be sent");
    assert_eq!(room.take(Input::TextLine("/leave".into())), [Output::LeaveNow]);
}

#[test]
fn why_explains_what_is_missing() {
    let mut room = Stage::of_three();
    let dot = Dot {
        origin: cyd().id,
        seq: 3,
    };
    let asked = room.take(Input::TextLine("/why cyd:3".into()));
    let (question, place) = (Question::Why(dot), Some(lobby()));
    let reference = None;
    assert_eq!(
        asked,
        [Output::Ask {
            place,
            question,
            reference
        }]
    );
    let explanation = Explanation::Held {
        written_after: clock(&[(&ana(), 2), (&bob(), 4), (&cyd(), 3)]),
        delivered: clock(&[(&ana(), 3), (&bob(), 3), (&cyd(), 2)]),
        missing: vec![MissingCause {
            span: Span {
                origin: bob().id,
                from: 4,
                to: 4,
            },
            held: 0,
            asked: vec![bob().id, cyd().id],
            holders: vec![cyd().id],
        }],
    };
    let answer = Input::Answered {
        place: Some(lobby()),
        answer: Answer::Why(dot, explanation),
        reference: None,
    };
    let expected = "\
*** cyd:3 is waiting for 1 message
  cyd:3 was written after seeing  [ana:2 bob:4 cyd:2]
  you have delivered              [ana:3 bob:3 cyd:2]
  missing                         bob:4    asked bob (no answer), cyd (has it, sending)";
    assert_eq!(room.text(answer.clone()), expected);
    assert_eq!(room.json(answer)[0]["state"], "held");
}

#[test]
fn every_answer_is_a_line_of_its_name() {
    let mut room = Stage::of_three();
    let answers = [
        (
            "who",
            Answer::Who {
                roster: vec![state(ana(), 1), state(bob(), 1)],
                profiles: [(ana().id, "0123456789abcdef".to_owned())].into(),
            },
        ),
        (
            "clock",
            Answer::Clock {
                delivered: clock(&[(&ana(), 1)]),
                stable: Clock::new(),
                lamport: 3,
            },
        ),
        (
            "held",
            Answer::Held {
                held: 0,
                messages: vec![],
            },
        ),
        ("peers", Answer::Peers(vec![])),
        (
            "status",
            Answer::Status {
                registries: vec![],
                gauges: multicast::Gauges::default(),
                members: 3,
            },
        ),
    ];
    for (name, answer) in answers {
        let reference = Some("q".into());
        let place = Some(lobby());
        let answered = Input::Answered {
            place,
            answer,
            reference,
        };
        let line = &room.json(answered)[0];
        assert_eq!((&line["type"], &line["ref"]), (&json!(name), &json!("q")));
    }
    for (name, line) in [("help", r#"{"do":"help"}"#), ("stamp", r#"{"do":"stamp"}"#)] {
        assert_eq!(room.json(Input::JsonLine(line.into()))[0]["type"], name);
    }
}

#[test]
fn the_end_of_someone_who_said_goodbye_is_told_to_programs_only() {
    let closed = |origin: Member| {
        heard(Event::Closed {
            origin,
            last_seq: 3,
            discarded: 0,
        })
    };
    let mut room = Stage::of_three();
    assert_eq!(
        room.text(closed(cyd())),
        "10:02:09 *** cyd is gone; cyd:3 was its last message."
    );
    room.take(heard(Event::Left {
        member: bob(),
        reason: String::new(),
        stamp: stamp(&bob(), 12, &[(&bob(), 3)]),
    }));
    assert_eq!(room.text(closed(bob())), "");
    assert_eq!(room.json(closed(bob()))[0]["last_seq"], 3);
}

#[test]
fn commands_can_be_switched_off() {
    let mut room = Stage::of_three();
    room.app.setup.no_commands = true;
    let sent = room.take(Input::TextLine("/leave".into()));
    assert!(matches!(sent.as_slice(), [Output::Send { .. }]));
}

#[test]
fn another_room_is_refused() {
    let mut room = Stage::of_three();
    let line = r#"{"do":"send","room":"ops","text":"x","ref":1}"#;
    let refused = &room.json(Input::JsonLine(line.into()))[0];
    assert_eq!((&refused["code"], &refused["ref"]), (&json!("no_room"), &json!(1)));
}

#[test]
fn every_event_of_a_group_has_a_line() {
    let mut room = Stage::of_three();
    let dot = |seq| Dot { origin: bob().id, seq };
    let events = [
        ("peer", Event::Resumed(bob())),
        (
            "peer",
            Event::Lagging {
                member: bob(),
                behind: 5,
            },
        ),
        (
            "held",
            Event::Held {
                dot: dot(4),
                needs: dot(3),
                held: 1,
            },
        ),
        (
            "closed",
            Event::Closed {
                origin: bob(),
                last_seq: 9,
                discarded: 2,
            },
        ),
        ("peer", Event::Reopened { origin: bob() }),
        (
            "gap",
            Event::Gap {
                dots: vec![Span {
                    origin: bob().id,
                    from: 4,
                    to: 7,
                }],
            },
        ),
        (
            "control",
            Event::Control {
                member: bob(),
                stamp: stamp(&bob(), 9, &[(&bob(), 5)]),
            },
        ),
        ("error", Event::Broken { reason: "x".into() }),
    ];
    for (name, event) in events {
        assert_eq!(room.json(heard(event))[0]["type"], name);
    }
}

#[test]
fn what_waits_is_told_once_its_sender_has_a_name() {
    let mut room = Stage::of_three();
    let held = |of: &Member| {
        let dot = |seq| Dot { origin: of.id, seq };
        heard(Event::Held {
            dot: dot(2),
            needs: dot(1),
            held: 1,
        })
    };
    let dan = member(0xdadadada, "dan");
    assert!(room.json(held(&dan)).is_empty());
    room.take(inside(Inside::Named(vec![dan.clone()])));
    assert_eq!(room.json(held(&dan))[0]["needs"], json!(["dan#dadadada:1"]));
}

#[test]
fn words_mention() {
    for text in ["ana", "hi Ana!", "ana: look", "ask ana.", "(ana)", "@ana"] {
        assert!(heard::mentions(text, "ana"), "{text}");
    }
    for text in ["banana", "ana-b", "anas", "an a", "ana_2"] {
        assert!(!heard::mentions(text, "ana"), "{text}");
    }
}
