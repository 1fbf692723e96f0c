//! Whom one hears, how far they are, and faults on purpose.

use std::time::Duration;

use super::*;
use crate::app::chaos::Fault;

fn typed(line: &str) -> Input {
    Input::TextLine(line.into())
}

fn asked(out: &[Output]) -> Question {
    match out {
        [Output::Ask { question, .. }] => question.clone(),
        other => panic!("{other:?}"),
    }
}

fn answered(answer: Answer) -> Input {
    Input::Answered {
        place: Some(lobby()),
        answer,
        reference: None,
    }
}

#[test]
fn who_is_ignored_is_delivered_and_not_shown() {
    let mut room = Stage::of_three();
    let says = |seq| said(bob(), Post::text("ana!"), 4 + seq, &[(&bob(), seq)]);
    assert_eq!(
        room.text(typed("/ignore bob")),
        "*** ignored: bob#c0de44aa; /ignore again to hear"
    );
    assert_eq!(room.text(says(2)), "");
    let line = &room.json(says(3))[0];
    assert_eq!(
        (&line["type"], &line["id"], &line["ignored"]),
        (&json!("control"), &json!("bob#c0de44aa:3"), &json!(true))
    );
    assert!(line["clock"].is_object() && line["lamport"].is_u64() && line["text"].is_null());
    assert_eq!(
        room.text(typed("/reply hm")),
        "*** nobody else has said anything here yet"
    );
    // A script says which of the two it wants, as often as it likes.
    for _ in 0..2 {
        let answer = &room.json(Input::JsonLine(r#"{"do":"ignore","peer":"bob","ref":1}"#.into()))[0];
        assert_eq!(
            (&answer["ignored"], &answer["ref"]),
            (&json!(["bob#c0de44aa"]), &json!(1))
        );
    }
    assert_eq!(room.text(typed("/ignore bob")), "*** nobody is ignored");
    assert_eq!(room.json(says(4))[0]["type"], "message");
    assert_eq!(room.text(typed("/ignore ana")), "*** that is you; name somebody else");
    assert!(room.text(typed("/ignore eve")).contains("nobody here is called eve"));
}

#[test]
fn a_ping_is_told_in_milliseconds() {
    let mut room = Stage::of_three();
    assert_eq!(asked(&room.take(typed("/ping bob"))), Question::Ping(bob().id));
    let took = Some(Duration::from_micros(12_345));
    let answer = answered(Answer::Ping(bob().id, took));
    assert_eq!(room.text(answer.clone()), "*** bob answers in 12.3 ms");
    assert_eq!(room.json(answer)[0]["round_trip_us"], 12_345);
    let nothing = answered(Answer::Ping(bob().id, None));
    assert_eq!(room.text(nothing.clone()), "*** bob does not answer");
    assert!(room.json(nothing)[0]["round_trip_us"].is_null());
}

#[test]
fn faults_are_for_those_who_asked_for_them() {
    let mut room = Stage::of_three();
    for line in ["/delay bob 1s", "/drop bob 5", "/partition bob | cyd", "/heal"] {
        assert_eq!(
            room.text(typed(line)),
            "*** faults on purpose are for chats that were started with --chaos"
        );
    }
    room.app.setup.chaos = true;
    let cut = |of: &[Member]| Fault::Cut(of.iter().map(|member| member.id).collect());
    let wishes = [
        ("/delay bob 0-1500ms", Fault::Delay(bob().id, (0, 1500))),
        ("/drop cyd 30%", Fault::Drop(cyd().id, 30)),
        ("/partition ana bob | cyd", cut(&[cyd()])),
        ("/partition ana", cut(&[bob(), cyd()])),
        ("/partition bob", cut(&[bob()])),
        ("/partition bob | cyd", cut(&[])),
        ("/heal", Fault::Heal),
    ];
    for (line, fault) in wishes {
        assert_eq!(asked(&room.take(typed(line))), Question::Fault(fault), "{line}");
    }
    let json = r#"{"do":"partition","groups":[["ana"],["bob","cyd"]]}"#;
    let both = cut(&[bob(), cyd()]);
    assert_eq!(asked(&room.take(Input::JsonLine(json.into()))), Question::Fault(both));
    for (line, refusal) in [
        ("/delay bob", "*** usage: /delay PEER RANGE"),
        ("/delay bob 5", "*** a delay is a range like"),
        ("/drop bob 101", "*** what is lost is 0 to 100 percent"),
        ("/partition ana bob | bob", "*** somebody is in two groups"),
        ("/partition", "*** usage: /partition A B | C D"),
    ] {
        let text = room.text(typed(line));
        assert!(text.starts_with(refusal), "{line}: {text}");
    }
}

#[test]
fn a_fault_that_is_there_is_told() {
    let mut room = Stage::of_three();
    let told = [
        (
            Fault::Delay(bob().id, (0, 9)),
            "delay",
            "*** what bob says is late by 0 to 9 ms here",
        ),
        (
            Fault::Delay(bob().id, (0, 0)),
            "delay",
            "*** what bob says is not late any more",
        ),
        (
            Fault::Drop(bob().id, 30),
            "drop",
            "*** of what bob says 30 % are lost here",
        ),
        (
            Fault::Cut([bob().id, cyd().id].into()),
            "partition",
            "*** cut off from this chat: cyd, bob; /heal ends it",
        ),
        (
            Fault::Cut([].into()),
            "partition",
            "*** nobody is cut off from this chat",
        ),
        (Fault::Heal, "heal", "*** no faults on purpose any more"),
    ];
    for (fault, name, words) in told {
        let answer = answered(Answer::Fault(Ok(fault)));
        assert_eq!(room.text(answer.clone()), words);
        assert_eq!(room.json(answer)[0]["type"], name);
    }
}

#[test]
fn whoever_only_listens_is_counted_and_not_seen() {
    let mut room = Stage::of_three();
    let ears = member(0xeeeeeeee, "eve.listener");
    let came = joined(ears.clone(), 4, &[(&ana(), 1), (&ears, 1)]);
    assert_eq!(room.text(came.clone()), "");
    let mut other = Stage::of_three();
    let line = &other.json(came)[0];
    assert_eq!(
        (&line["type"], &line["id"]),
        (&json!("control"), &json!("eve.listener#eeeeeeee:1"))
    );
    // It is in the clock, and a person has no use for that.
    let hi = said(bob(), Post::text("hi"), 5, &[(&bob(), 2), (&ears, 1)]);
    assert_eq!(room.text(hi), "10:02:09 #lobby <bob> hi  [bob:2]");
    let who = answered(Answer::Who {
        roster: vec![state(ana(), 0), state(bob(), 0), state(ears.clone(), 0)],
        attached: 1,
        profiles: BTreeMap::new(),
    });
    let text = room.text(who.clone());
    assert!(text.starts_with("*** 2 members in #lobby, 2 listeners\n"), "{text}");
    assert!(!text.contains("eve"));
    assert_eq!(room.json(who)[0]["listeners"], 2);
    assert_eq!(room.text(heard(Event::Silent(ears.clone()))), "");
    let gone = Event::Left {
        member: ears.clone(),
        reason: String::new(),
        stamp: stamp(&ears, 6, &[(&ears, 2)]),
    };
    assert_eq!(room.json(heard(gone))[0]["type"], "control");
    assert_eq!(
        room.text(typed("/nick eve.listener")),
        "*** a nick that ends with .listener is for who only listens"
    );
}
