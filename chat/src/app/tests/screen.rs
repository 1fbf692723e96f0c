//! What people see.

use super::*;
use crate::word::Word;

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
    let told = |word: Word, seq| {
        let stamp = stamp(&eve, 6, &[(&eve, seq)]);
        let from = eve.clone();
        inside(Inside::Told(Told { from, stamp, word }))
    };
    let reply = Post {
        reply_to: Some(Dot { origin: eve.id, seq: 1 }),
        ..Post::text("\u{9b}2J")
    };
    let topic = Word::Topic {
        text: "\u{1b}c\u{2028}\u{202E}".into(),
        set: None,
    };
    for input in [
        joined(eve.clone(), 4, &[(&eve, 1)]),
        told(Word::Nick("\u{1b}[31m\n".into()), 2),
        told(topic, 3),
        said(eve.clone(), reply, 5, &[(&eve, 4)]),
        Input::TextLine("/topic".into()),
        Input::TextLine("/ignore \u{1b}c".into()),
        Input::TextLine("/ping \u{202E}".into()),
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
