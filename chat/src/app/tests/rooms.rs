//! Several rooms at once.

use super::*;

fn ops() -> Place {
    Place::room("ops")
}

/// The same, in another room.
fn in_ops(input: Input) -> Input {
    match input {
        Input::In(_, inside) => Input::In(ops(), inside),
        other => other,
    }
}

/// Ana in the lobby with bob and cyd, and in ops with bob, who came there first.
fn in_both() -> Stage {
    let mut stage = Stage::of_three();
    let asked = stage.take(Input::TextLine("/join #ops".into()));
    let (place, reference) = (ops(), None);
    assert_eq!(asked, [Output::Join { place, reference }]);
    stage.take(in_ops(inside(opened(ana(), vec![state(bob(), 0)]))));
    stage.take(in_ops(joined(ana(), 2, &[(&ana(), 1), (&bob(), 1)])));
    stage
}

/// The answer to `/rooms`, where these others are known.
fn rooms(stage: &mut Stage, others: &[line::Elsewhere]) -> String {
    let asked = stage.take(Input::TextLine("/rooms".into()));
    let rooms = |output: &Output| matches!(output, Output::Ask { question, .. } if *question == Question::Rooms);
    assert!(asked.iter().all(rooms) && asked.len() == 1, "{asked:?}");
    stage.text(Input::Answered {
        place: None,
        answer: Answer::Rooms(others.to_vec()),
        reference: None,
    })
}

#[test]
fn rooms_of_others_are_listed_with_what_they_are_about() {
    let mut stage = Stage::of_three();
    let other = |room: &str, members, topic: &str, by: Option<&str>| line::Elsewhere {
        room: room.into(),
        members,
        topic: topic.into(),
        by: by.map(str::to_owned),
    };
    let others = [
        other("ops", 0, "on call", Some("bob#c0de44aa")),
        other("tea\u{1b}[2J", 2, "", None),
    ];
    assert_eq!(
        rooms(&mut stage, &others),
        "*** you are in 1 room\n  #lobby  3 members  you type here\n*** others, to /join\n  #ops  nobody there  on call\n  \
         #tea\u{fffd}[2J  2 members"
    );
    let answer = Input::Answered {
        place: None,
        answer: Answer::Rooms(others.to_vec()),
        reference: Some(1.into()),
    };
    let line = &stage.json(answer)[0];
    assert_eq!(
        line["others"][0],
        json!({"room": "ops", "members": 0, "topic": "on call", "by": "bob#c0de44aa"})
    );
    assert_eq!(line["ref"], 1);
}

#[test]
fn people_type_into_the_room_that_they_joined_last() {
    let mut stage = in_both();
    let place_of = |out: &[Output]| match out {
        [Output::Send { place, .. }] => place.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(place_of(&stage.take(Input::TextLine("hi".into()))), ops());
    // What names no room and comes from a program is meant for the first.
    let line = r#"{"do":"send","text":"x"}"#;
    assert_eq!(place_of(&stage.take(Input::JsonLine(line.into()))), lobby());
    let line = r##"{"do":"send","room":"#ops","text":"x"}"##;
    assert_eq!(place_of(&stage.take(Input::JsonLine(line.into()))), ops());
    stage.take(Input::TextLine("/join lobby".into()));
    assert_eq!(place_of(&stage.take(Input::TextLine("hi".into()))), lobby());
}

#[test]
fn what_is_said_in_other_rooms_is_shown_and_counted() {
    let mut stage = in_both();
    let news = said(cyd(), Post::text("news"), 4, &[(&ana(), 1), (&cyd(), 2)]);
    assert_eq!(stage.text(news), "10:02:09 #lobby <cyd> news  [ana:1 cyd:2]");
    let here = in_ops(said(bob(), Post::text("here"), 4, &[(&ana(), 1), (&bob(), 2)]));
    assert_eq!(stage.text(here), "10:02:09 #ops <bob> here  [ana:1 bob:2]");
    assert_eq!(
        rooms(&mut stage, &[]),
        "*** you are in 2 rooms\n  #lobby  3 members  1 unread\n  #ops  2 members  you type here"
    );
    let line = r#"{"do":"join","room":"lobby","ref":7}"#;
    let rooms = &stage.json(Input::JsonLine(line.into()))[0];
    assert_eq!((&rooms["type"], &rooms["ref"]), (&json!("rooms"), &json!(7)));
    let rows = json!([
        {"room": "lobby", "current": true, "members": 3, "unread": 0},
        {"room": "ops", "current": false, "members": 2, "unread": 0}
    ]);
    assert_eq!(rooms["rooms"], rows);
}

#[test]
fn each_room_has_its_own_people_and_its_own_numbers() {
    let mut stage = in_both();
    let here = in_ops(said(bob(), Post::text("here"), 4, &[(&ana(), 1), (&bob(), 2)]));
    // Nothing of the lobby is concurrent with it, whatever was said there.
    stage.take(said(cyd(), Post::text("news"), 4, &[(&cyd(), 2)]));
    assert_eq!(stage.json(here)[0]["concurrent"], json!([]));
    // Cyd is not in ops.
    let why = stage.text(Input::TextLine("/why cyd:2".into()));
    assert_eq!(why, "*** nobody here is called cyd; /who lists the names");
    let line = r#"{"do":"why","id":"cyd:2"}"#;
    assert!(matches!(
        stage.take(Input::JsonLine(line.into()))[..],
        [Output::Ask { .. }]
    ));
}

#[test]
fn parting_ends_one_room() {
    let mut stage = in_both();
    let asked = stage.take(Input::TextLine("/part see you".into()));
    let (place, reason) = (ops(), "see you".to_owned());
    assert_eq!(asked, [Output::Part { place, reason }]);
    let left = Event::Left {
        member: ana(),
        reason: "see you".into(),
        stamp: stamp(&ana(), 5, &[(&ana(), 2)]),
    };
    assert_eq!(
        stage.text(in_ops(heard(left))),
        "10:02:09 *** Participant ana left #ops at logical time 5. (see you)"
    );
    stage.take(Input::In(ops(), Inside::Closed));
    assert_eq!(stage.app.room_names(), ["lobby"]);
    assert_eq!(
        stage.text(Input::TextLine("/part #ops".into())),
        "*** you are not in #ops; you are in #lobby"
    );
    stage.take(Input::In(lobby(), Inside::Closed));
    assert_eq!(
        stage.text(Input::TextLine("hi".into())),
        "*** you are in no room; /join ROOM"
    );
    assert_eq!(rooms(&mut stage, &[]), "*** you are in no room; /join ROOM");
}

#[test]
fn a_join_and_a_part_are_answered_with_their_ref() {
    let mut stage = Stage::of_three();
    let line = r#"{"do":"join","room":"ops","ref":"j"}"#;
    let Output::Join { place, reference } = stage.take(Input::JsonLine(line.into())).remove(0) else {
        panic!("no join");
    };
    let open = Inside::Opened {
        me: ana(),
        present: Vec::new(),
        reference,
    };
    stage.take(Input::In(place, open));
    let own = &stage.json(in_ops(joined(ana(), 1, &[(&ana(), 1)])))[0];
    assert_eq!((&own["ref"], &own["room"]), (&json!("j"), &json!("ops")));
    let other = &stage.json(in_ops(joined(bob(), 2, &[(&ana(), 1), (&bob(), 1)])))[0];
    assert_eq!(other["ref"], Value::Null);
    stage.take(Input::JsonLine(r#"{"do":"part","room":"ops","ref":"p"}"#.into()));
    let left = Event::Left {
        member: ana(),
        reason: String::new(),
        stamp: stamp(&ana(), 5, &[(&ana(), 2)]),
    };
    assert_eq!(stage.json(in_ops(heard(left)))[0]["ref"], "p");
}

#[test]
fn rooms_have_names_and_a_limit() {
    let mut stage = Stage::of_three();
    let refused = stage.text(Input::TextLine("/join a b".into()));
    assert_eq!(
        refused,
        "*** a room's name has no spaces and nothing invisible: the character U+0020 cannot stand in it"
    );
    for n in 1..room::ROOMS_MAX {
        let place = Place::room(&format!("room{n}"));
        stage.take(Input::In(place, opened(ana(), Vec::new())));
    }
    let refused = &stage.json(Input::JsonLine(r#"{"do":"join","room":"more"}"#.into()))[0];
    assert_eq!(refused["code"], "too_many_rooms");
}
