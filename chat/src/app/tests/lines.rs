//! What programs read.

use super::*;

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
fn what_everybody_had_long_ago_is_not_concurrent() {
    let mut room = Stage::of_three();
    room.json(said(bob(), Post::text("last words"), 4, &[(&bob(), 2)]));
    let gone = Event::Closed {
        origin: bob(),
        last_seq: 2,
        discarded: 0,
    };
    room.json(heard(gone));
    // Cyd has not heard them, as long as nothing says that everybody had.
    let apart = room.json(said(cyd(), Post::text("apart"), 5, &[(&cyd(), 2)]));
    assert_eq!(apart[0]["concurrent"], json!(["bob#c0de44aa:2"]));
    let retired = Event::Control {
        member: cyd(),
        stamp: stamp(&cyd(), 6, &[(&bob(), 2), (&cyd(), 3)]),
    };
    assert_eq!(room.json(heard(retired))[0]["type"], "control");
    let later = room.json(said(cyd(), Post::text("later"), 7, &[(&cyd(), 4)]));
    assert_eq!(later[0]["concurrent"], json!([]));
    // Nor is what was kept of an earlier life of somebody.
    let mut room = Stage::of_three();
    let former = member(0xf0f0f0f0, "bob");
    room.json(said(former.clone(), Post::text("kept"), 2, &[(&former, 2)]));
    let now = room.json(said(cyd(), Post::text("now"), 5, &[(&cyd(), 2)]));
    assert_eq!(now[0]["concurrent"], json!([]));
}

#[test]
fn what_mentions_this_member_is_marked() {
    let mut room = Stage::of_three();
    let mentions = |room: &mut Stage, from: Member, kind, text: &str| {
        let post = Post {
            kind,
            ..Post::text(text)
        };
        room.json(said(from.clone(), post, 4, &[(&from, 2)]))[0]["mention"].clone()
    };
    assert_eq!(mentions(&mut room, bob(), Kind::Text, "lunch, ANA?"), true);
    assert_eq!(mentions(&mut room, bob(), Kind::Action, "looks at ana"), true);
    assert_eq!(mentions(&mut room, bob(), Kind::Text, "banana"), false);
    assert_eq!(
        mentions(&mut room, ana(), Kind::Text, "I, ana"),
        false,
        "nobody mentions oneself"
    );
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
