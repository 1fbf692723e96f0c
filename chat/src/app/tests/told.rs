//! Nicks and topics.

use super::*;
use crate::word::{Rank, Word};

fn told(from: Member, word: Word, lamport: u64, entries: &[(&Member, u64)]) -> Input {
    let stamp = stamp(&from, lamport, entries);
    inside(Inside::Told(Told { from, stamp, word }))
}

fn nick(name: &str) -> Word {
    Word::Nick(name.into())
}

fn topic(text: &str) -> Word {
    Word::Topic {
        text: text.into(),
        set: None,
    }
}

/// What is said again for newcomers.
fn again(out: &[Output]) -> Vec<Word> {
    let word = |output: &Output| match output {
        Output::TellAgain { word, .. } => Some(word.clone()),
        _ => None,
    };
    out.iter().filter_map(word).collect()
}

fn dan() -> Member {
    member(0xdadadada, "dan")
}

fn typed(line: &str) -> Input {
    Input::TextLine(line.into())
}

#[test]
fn a_nick_changes_what_is_shown_and_no_id() {
    let mut room = Stage::of_three();
    assert_eq!(
        room.text(told(bob(), nick("robert"), 4, &[(&bob(), 2)])),
        "10:02:09 *** bob is called robert from now on."
    );
    let hi = said(bob(), Post::text("hi"), 5, &[(&bob(), 3)]);
    assert_eq!(room.text(hi.clone()), "10:02:09 #lobby <robert> hi  [robert:3]");
    let line = &room.json(hi)[0];
    assert_eq!(line["from"], json!({"id": "bob#c0de44aa", "nick": "robert"}));
    assert_eq!(line["id"], "bob#c0de44aa:3");
    // Said again for somebody else it is no news.
    let repeated = told(bob(), nick("robert"), 6, &[(&bob(), 4)]);
    let line = &room.json(repeated.clone())[0];
    assert_eq!((&line["type"], &line["nick"]), (&json!("control"), &json!("robert")));
    assert_eq!(room.text(repeated), "");
    // Whoever shares a nick is shown with its digits, which stay.
    let same = room.text(told(cyd(), nick("robert"), 7, &[(&cyd(), 2)]));
    assert_eq!(same, "10:02:09 *** cyd is called robert#11aa90ff from now on.");
    let both = room.text(said(bob(), Post::text("x"), 8, &[(&bob(), 5)]));
    assert!(both.contains("<robert#c0de44aa> x"), "{both}");
    assert!(room.text(typed("/why robert:3")).contains("could be"));
    assert_eq!(room.text(typed("/why robert#11aa90ff:3")), "");
    assert_eq!(
        room.text(typed("/why cyd:3")),
        "",
        "the name of the id still says who is meant"
    );
}

#[test]
fn ones_own_nick_goes_to_every_room_and_what_mentions_it_is_known() {
    let mut room = Stage::of_three();
    for odd in ["a b", "\u{1b}[31m", &"x".repeat(33)] {
        let refused = room.text(typed(&format!("/nick {odd}")));
        assert!(refused.starts_with("*** a nick has "), "{refused:?}");
        assert!(!refused.contains('\u{1b}'));
    }
    assert_eq!(room.text(typed("/nick ana")), "*** you are ana already");
    let sent = room.take(Input::JsonLine(r#"{"do":"nick","name":"annie","ref":"n"}"#.into()));
    let [
        Output::Send {
            place,
            payload,
            reference,
            ..
        },
    ] = sent.as_slice()
    else {
        panic!("{sent:?}");
    };
    assert_eq!((place, reference), (&lobby(), &Some("n".into())));
    assert_eq!(Word::decode(payload), Some(nick("annie")));
    room.take(told(ana(), nick("annie"), 4, &[(&ana(), 2)]));
    let called = |text: &str| said(bob(), Post::text(text), 5, &[(&bob(), 2)]);
    assert_eq!(room.json(called("Annie?"))[0]["mention"], true);
    assert_eq!(room.json(called("ana?"))[0]["mention"], false);
    assert_eq!(
        room.json(Input::Started)[0]["self"],
        json!({"id": "ana#7f3a01c2", "nick": "annie"})
    );
    // Who comes later is told, and so is a room that is joined later.
    assert_eq!(again(&room.take(joined(dan(), 6, &[(&dan(), 1)]))), [nick("annie")]);
    let ops = |inside| Input::In(Place::room("ops"), inside);
    room.take(ops(opened(ana(), Vec::new())));
    let own = Event::Joined {
        member: ana(),
        stamp: stamp(&ana(), 1, &[(&ana(), 1)]),
    };
    assert_eq!(again(&room.take(ops(Inside::Heard(own)))), [nick("annie")]);
}

#[test]
fn the_last_topic_holds_in_whatever_order_they_come() {
    let set = |of: Member, text: &str, lamport| told(of.clone(), topic(text), lamport, &[(&of, 2)]);
    let all = [set(bob(), "first", 7), set(cyd(), "second", 7), set(ana(), "third", 8)];
    for first in 0..3 {
        let mut room = Stage::of_three();
        for one in all.iter().cycle().skip(first).take(3) {
            room.take(one.clone());
        }
        assert_eq!(
            room.text(typed("/topic")),
            "*** The topic of #lobby: third (set by ana)"
        );
    }
    let mut room = Stage::of_three();
    assert_eq!(
        room.text(typed("/topic")),
        "*** #lobby has no topic; /topic TEXT sets one"
    );
    assert_eq!(
        room.text(all[0].clone()),
        "10:02:09 *** bob set the topic of #lobby: first"
    );
    let line = &room.json(Input::JsonLine(r#"{"do":"topic","ref":1}"#.into()))[0];
    assert_eq!(
        (&line["type"], &line["topic"], &line["by"], &line["ref"]),
        (&json!("topic"), &json!("first"), &json!("bob#c0de44aa"), &json!(1))
    );
    let away = told(bob(), topic(""), 9, &[(&bob(), 3)]);
    assert_eq!(
        room.text(away.clone()),
        "10:02:09 *** bob took the topic of #lobby away."
    );
    assert_eq!(room.json(away)[0]["topic"], "");
    for odd in ["x".repeat(121), "a\u{202e}b".into()] {
        assert!(
            room.text(typed(&format!("/topic {odd}")))
                .starts_with("*** a topic has ")
        );
    }
}

#[test]
fn newcomers_are_told_the_topic_once_by_whoever_is_there() {
    let mut room = Stage::of_three();
    room.take(told(bob(), topic("on call"), 7, &[(&bob(), 2)]));
    let came = joined(dan(), 8, &[(&bob(), 2), (&dan(), 1)]);
    assert_eq!(again(&room.take(came)), [], "bob set it and tells it");
    // Bob goes before it did. Cyd has the smallest id of those who are left.
    let gone = |member: Member, lamport| {
        heard(Event::Closed {
            origin: member,
            last_seq: lamport,
            discarded: 0,
        })
    };
    assert_eq!(again(&room.take(gone(bob(), 2))), []);
    let rank = Rank {
        lamport: 7,
        by: bob().id,
    };
    let repeated = Word::Topic {
        text: "on call".into(),
        set: Some(rank),
    };
    let silent = room.take(heard(Event::Silent(cyd())));
    assert_eq!(again(&silent), std::slice::from_ref(&repeated));
    // What is told reaches whoever came before it was said.
    room.take(told(ana(), repeated.clone(), 9, &[(&ana(), 2), (&dan(), 1)]));
    assert_eq!(again(&room.take(gone(cyd(), 1))), []);

    let mut late = Stage::of_three();
    assert_eq!(
        late.text(told(ana(), repeated, 9, &[(&ana(), 2)])),
        "10:02:09 *** The topic of #lobby: on call (set by bob)"
    );
    // A rank from the future is not believed: else nobody could set another topic.
    let lie = Word::Topic {
        text: "eve was here".into(),
        set: Some(Rank {
            lamport: u64::MAX,
            by: cyd().id,
        }),
    };
    late.take(told(cyd(), lie, 10, &[(&cyd(), 2)]));
    late.take(told(bob(), topic("lunch"), 11, &[(&bob(), 2)]));
    assert!(late.text(typed("/topic")).contains("lunch"));
}

#[test]
fn a_room_that_was_created_with_a_topic_shows_it_at_the_join() {
    let mut room = Stage::of_three();
    let ops = |inside| Input::In(Place::room("ops"), inside);
    room.take(ops(opened(ana(), Vec::new())));
    room.take(ops(Inside::CreatedWith {
        topic: "on call".into(),
        by: bob(),
    }));
    let own = Event::Joined {
        member: ana(),
        stamp: stamp(&ana(), 3, &[(&ana(), 1)]),
    };
    assert_eq!(
        room.text(ops(Inside::Heard(own))),
        "10:02:09 *** Participant ana joined #ops at logical time 3.\n*** The topic of #ops: on call (set by bob)"
    );
    // Everybody knows what it was created with: nobody has to tell that.
    let came = Event::Joined {
        member: dan(),
        stamp: stamp(&dan(), 4, &[(&dan(), 1)]),
    };
    assert_eq!(again(&room.take(ops(Inside::Heard(came)))), []);
}
