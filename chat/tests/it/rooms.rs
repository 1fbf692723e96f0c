//! Several rooms at once.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Chat, Place, Registry};

fn say_in(chat: &mut Chat, room: &str, text: &str) {
    chat.ask(json!({"do": "send", "room": room, "text": text}));
}

/// Joins; returns this chat's identity in that room.
fn join(chat: &mut Chat, room: &str) -> String {
    chat.ask(json!({"do": "join", "room": room, "ref": format!("join {room}")}));
    let own = chat.wait_for("own join", |line| {
        line["type"] == "join" && line["ref"] == format!("join {room}")
    });
    assert_eq!(
        (&own["room"], &own["self"], &own["replay"]),
        (&json!(room), &json!(true), &json!(false))
    );
    own["from"]["id"].as_str().unwrap().to_owned()
}

fn meets_in(chat: &Chat, room: &str, id: &str) {
    chat.wait_for(&format!("join of {id} in {room}"), |line| {
        line["type"] == "join" && line["room"] == room && line["from"]["id"] == id
    });
}

fn of_room<'a>(lines: &'a [Value], room: &'a str) -> impl Iterator<Item = &'a Value> {
    lines.iter().filter(move |line| line["room"] == room)
}

#[test]
fn each_room_is_heard_by_those_who_are_in_it() {
    let (place, registry) = (Place::new(), Registry::start());
    let chat = |args: &str| place.chat(&format!("{args} -r {}", registry.addr));
    let (mut ana, bob) = (chat("-n ana"), chat("-n bob"));
    let cyd = chat("-n cyd --room ops");
    let ids = [&ana, &bob, &cyd].map(Chat::joined);
    [&ana, &bob].iter().for_each(|chat| chat.meets(&ids[..2]));

    let in_ops = join(&mut ana, "ops");
    assert_eq!(in_ops, ids[0], "the first join of each room goes by the node's own id");
    meets_in(&ana, "ops", &ids[2]);
    meets_in(&cyd, "ops", &in_ops);
    say_in(&mut ana, "lobby", "to the lobby");
    say_in(&mut ana, "ops", "to ops");
    ana.ask(json!({"do": "send", "text": "to the first"}));
    assert_eq!(cyd.wait_text("to ops")["room"], "ops");
    assert_eq!(bob.wait_text("to the lobby")["room"], "lobby");
    assert_eq!(bob.wait_text("to the first")["room"], "lobby");

    ana.ask(json!({"do": "rooms", "ref": "r"}));
    let rooms = ana.wait_for("the rooms", |line| line["type"] == "rooms" && line["ref"] == "r");
    let names: Vec<_> = rooms["rooms"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| &row["room"])
        .collect();
    assert_eq!(names, ["lobby", "ops"]);
    ana.ask(json!({"do": "who", "room": "ops", "ref": "w"}));
    let who = ana.wait_for("who is in ops", |line| line["type"] == "who");
    assert_eq!(who["members"].as_array().unwrap().len(), 2);

    // One goodbye for all rooms.
    let (lines, exit) = ana.leave();
    assert_eq!((exit.code, exit.stderr.as_str()), (Some(0), ""));
    assert_eq!(lines.last().unwrap()["type"], "bye");
    for (chat, room) in [(&bob, "lobby"), (&cyd, "ops")] {
        let leave = chat.wait_for("ana's leave", |line| line["type"] == "leave");
        assert_eq!((&leave["room"], &leave["from"]["nick"]), (&json!(room), &json!("ana")));
    }
    let (bobs, cyds) = (bob.leave().0, cyd.leave().0);
    assert_eq!(of_room(&bobs, "ops").count(), 0, "bob is not in ops");
    assert_eq!(of_room(&cyds, "lobby").count(), 0, "cyd is not in the lobby");
    let texts = of_room(&cyds, "ops").filter(|line| line["type"] == "message");
    assert_eq!(texts.map(|line| &line["text"]).collect::<Vec<_>>(), ["to ops"]);
}

#[test]
fn whoever_parts_and_joins_again_is_another_member() {
    let (place, registry) = (Place::new(), Registry::start());
    let chat = |args: &str| place.chat(&format!("{args} -r {}", registry.addr));
    let (mut ana, cyd) = (chat("-n ana"), chat("-n cyd --room ops"));
    [&ana, &cyd].iter().for_each(|chat| drop(chat.joined()));
    let first = join(&mut ana, "ops");
    meets_in(&cyd, "ops", &first);
    // Without a pause: the next line is read when this one is carried out.
    ana.ask(json!({"do": "part", "room": "ops", "reason": "tea", "ref": "p"}));
    ana.ask(json!({"do": "send", "room": "ops", "text": "too late", "ref": "late"}));
    let own = ana.wait_for("own leave", |line| line["type"] == "leave");
    assert_eq!(
        (&own["ref"], &own["room"], &own["self"]),
        (&json!("p"), &json!("ops"), &json!(true))
    );
    let refused = ana.wait_for("a refusal", |line| line["type"] == "error");
    assert_eq!((&refused["code"], &refused["ref"]), (&json!("no_room"), &json!("late")));
    let leave = cyd.wait_for("ana's leave", |line| line["type"] == "leave");
    assert_eq!((&leave["reason"], &leave["from"]["id"]), (&json!("tea"), &json!(first)));

    ana.ask(json!({"do": "join", "room": "ops", "ref": "again"}));
    let own = ana.wait_for("own join", |line| line["type"] == "join" && line["ref"] == "again");
    let second = own["from"]["id"].as_str().unwrap();
    assert_ne!(second, first, "what has ended is not continued");
    meets_in(&cyd, "ops", second);
    say_in(&mut ana, "ops", "here again");
    assert_eq!(cyd.wait_text("here again")["from"]["id"], second);
}

#[test]
fn the_node_set_says_who_is_in_which_room() {
    let (place, registry) = (Place::new(), Registry::start());
    let mut ana = place.chat(&format!("-n ana -r {}", registry.addr));
    let id = ana.joined();
    let is_listed = |room: &str| {
        let run = place.run(&format!("who --room {room} -r {}", registry.addr), "");
        run.stdout.lines().any(|line| line.starts_with(&id))
    };
    let becomes = |room: &str, listed: bool| {
        let deadline = Instant::now() + Duration::from_secs(30);
        while is_listed(room) != listed {
            assert!(Instant::now() < deadline, "{room}: not {listed}");
        }
    };
    becomes("lobby", true);
    join(&mut ana, "ops");
    becomes("ops", true);
    ana.ask(json!({"do": "part"}));
    becomes("lobby", false);
    assert!(is_listed("ops"));
}

#[test]
fn people_type_into_the_room_that_they_joined_last() {
    let (place, registry) = (Place::new(), Registry::start());
    let bob = place.chat(&format!("-n bob -r {}", registry.addr));
    bob.joined();
    let mut ana = Chat::start(place.command(&format!("-n ana -r {}", registry.addr)));
    let text = |chat: &Chat, part: &str| chat.wait_line(part, |line| line.contains(part).then(|| line.to_owned()));
    text(&ana, "Participant ana joined #lobby");
    ana.write(b"/join ops\nhello ops\n/join lobby\nhello lobby\n/rooms\n/part #ops done\n/join\n");
    text(&ana, "Participant ana joined #ops at logical time 1.");
    text(&ana, "#ops <ana> hello ops  [ana:2]");
    text(&ana, "#lobby <ana> hello lobby");
    text(&ana, "*** you are in 2 rooms");
    text(&ana, "Participant ana left #ops at logical time 3. (done)");
    text(&ana, "*** usage: /join ROOM");
    assert_eq!(bob.wait_text("hello lobby")["room"], "lobby");
    assert!(bob.json().iter().all(|line| line["text"] != "hello ops"));
}
