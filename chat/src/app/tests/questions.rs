//! What is asked, and answered.

use super::*;

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
                attached: 0,
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
fn an_export_goes_into_a_file_of_this_directory_unless_another_is_named() {
    let mut room = Stage::of_three();
    let file_of = |out: Vec<Output>| match out.as_slice() {
        [
            Output::Ask {
                question: Question::Export(file),
                ..
            },
        ] => file.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        file_of(room.take(Input::TextLine("/export".into()))),
        "chat-lobby.jsonl"
    );
    assert_eq!(
        file_of(room.take(Input::TextLine("/export /tmp/a b.jsonl".into()))),
        "/tmp/a b.jsonl"
    );
    let other = Place::room("../x/y");
    room.take(Input::In(other, opened(ana(), Vec::new())));
    assert_eq!(file_of(room.take(Input::TextLine("/export".into()))), "chat-..xy.jsonl");
    let done = Input::Answered {
        place: Some(lobby()),
        answer: Answer::Exported(Ok(("a\u{1b}".into(), 2))),
        reference: None,
    };
    assert_eq!(room.text(done), "*** wrote 2 messages of #lobby into a\u{fffd}");
}
