//! Rooms that are created and closed by all together.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Chat, Net, Place, Registry};

fn txn(chat: &Chat, op: &str, phase: &str) -> Value {
    chat.wait_for(&format!("{op} {phase}"), |line| {
        line["type"] == "txn" && line["op"] == op && line["phase"] == phase
    })
}

fn create(chat: &mut Chat, room: &str) {
    chat.ask(json!({"do": "create", "room": room, "ref": format!("create {room}")}));
}

/// The room is this chat's own, and it is in.
fn made(chat: &Chat, room: &str) -> Value {
    chat.wait_for(&format!("room {room}"), |line| {
        line["type"] == "room" && line["room"] == room
    })
}

fn joins(chat: &mut Chat, room: &str) {
    chat.ask(json!({"do": "join", "room": room}));
    chat.wait_for(&format!("own join of {room}"), |line| {
        line["type"] == "join" && line["self"] == true && line["room"] == room
    });
}

fn meets_in(chat: &Chat, room: &str, id: &str) {
    chat.wait_for(&format!("join of {id} in {room}"), |line| {
        line["type"] == "join" && line["room"] == room && line["from"]["id"] == id
    });
}

/// All are in the lobby and have met, so they are in the council, too.
fn met(place: &Place, registry: &Registry, names: &[&str]) -> (Vec<Chat>, Vec<String>) {
    let start = |name: &&str| place.chat(&format!("-n {name} -r {}", registry.addr));
    let chats: Vec<_> = names.iter().map(start).collect();
    let ids: Vec<_> = chats.iter().map(Chat::joined).collect();
    chats.iter().for_each(|chat| chat.meets(&ids));
    (chats, ids)
}

/// Creates a room of a name that nobody else has, to see that these many are asked: whoever has met in the lobby may still
/// be on the way to the council.
fn sit_together(chats: &mut [Chat]) {
    let all = chats.len() as u64 - 1;
    for (nth, chat) in chats.iter_mut().enumerate() {
        for round in 0.. {
            let room = format!("probe-{nth}-{round}");
            create(chat, &room);
            let ended = chat.wait_for("the end of a probe", |line| {
                line["type"] == "txn" && line["room"] == room && line["took_ms"].is_u64()
            });
            if ended["phase"] == "committed" && ended["asked"] == all {
                break;
            }
            assert!(round < 10, "{ended}");
        }
    }
}

#[test]
fn a_created_room_has_one_name_and_whoever_comes_late_finds_it() {
    let (place, registry) = (Place::new(), Registry::start());
    let (mut chats, ids) = met(&place, &registry, &["ana", "bob"]);
    sit_together(&mut chats);
    create(&mut chats[0], "ops");
    let committed = chats[0].wait_for("the commit", |line| {
        line["type"] == "txn" && line["room"] == "ops" && line["phase"] == "committed"
    });
    assert_eq!(
        (&committed["self"], &committed["ref"]),
        (&json!(true), &json!("create ops"))
    );
    assert_eq!(committed["votes"], json!({&ids[1]: "yes"}));
    let room = made(&chats[0], "ops");
    assert_eq!(
        (&room["id"], &room["order"], &room["ref"]),
        (&json!(format!("{}:1", ids[0])), &json!("causal"), &json!("create ops"))
    );
    let heard = chats[1].wait_for("the commit at bob", |line| {
        line["type"] == "txn" && line["room"] == "ops" && line["phase"] == "committed"
    });
    assert_eq!((&heard["by"], &heard["self"]), (&json!(ids[0]), &json!(false)));
    joins(&mut chats[1], "ops");
    meets_in(&chats[1], "ops", &ids[0]);

    create(&mut chats[1], "ops");
    let refused = chats[1].wait_for("a refusal", |line| line["type"] == "error");
    assert_eq!(refused["text"], "not created: name taken; nothing changed anywhere");

    let mut cyd = place.chat(&format!("-n cyd --room ops -r {}", registry.addr));
    cyd.joined();
    meets_in(&cyd, "ops", &ids[0]);
    cyd.say("found it");
    assert_eq!(chats[0].wait_text("found it")["room"], "ops");

    // And when it is closed all are out.
    chats[1].ask(json!({"do": "close", "room": "ops", "ref": "c"}));
    let closed = txn(&chats[1], "room.close", "committed");
    assert_eq!((&closed["room"], &closed["ref"]), (&json!("ops"), &json!("c")));
    for chat in &chats {
        chat.wait_for("the own leave", |line| {
            line["type"] == "leave" && line["room"] == "ops" && line["self"] == true && line["reason"] == "closed"
        });
    }
    create(&mut chats[0], "ops");
    chats[0].wait_for("another room of that name", |line| {
        line["type"] == "txn"
            && line["phase"] == "committed"
            && line["txn"] != committed["txn"]
            && line["room"] == "ops"
    });
}

#[test]
fn somebodys_no_is_told_and_is_the_exit_code_of_a_script() {
    let (place, registry) = (Place::new(), Registry::start());
    let (mut chats, _) = met(&place, &registry, &["bob"]);
    joins(&mut chats[0], "ops");
    let mut ana = Chat::start(place.command(&format!("-n ana -r {}", registry.addr)));
    let text = |chat: &Chat, part: &str| chat.wait_line(part, |line| line.contains(part).then(|| line.to_owned()));
    text(&ana, "Participant ana joined #lobby");
    text(&ana, "Participant bob joined #lobby");
    ana.write(b"/create quiet --topic nothing much\n");
    let heard = chats[0].wait_for("the topic", |line| line["type"] == "txn" && line["room"] == "quiet");
    assert_eq!(heard["topic"], "nothing much");
    let made = text(&ana, "*** created #quiet (transaction ");
    assert!(made.ends_with(" ms)"), "{made}");
    ana.write(b"/create ops --ordered\n/create ops\n");
    text(&ana, "*** ordered rooms cannot be created yet");
    text(&ana, "*** creating #ops: asked 1 peer");
    text(
        &ana,
        "*** not created: bob said no (name taken); nothing changed anywhere",
    );
    ana.close_stdin();
    let exit = ana.wait();
    assert_eq!(exit.code, Some(6));
    assert_eq!(exit.stderr, "chat: #ops was not created: bob said no (name taken)\n");
}

#[test]
fn an_ephemeral_chat_creates_nothing() {
    let (place, registry) = (Place::new(), Registry::start());
    let mut ana = place.chat(&format!("-n ana --ephemeral -r {}", registry.addr));
    ana.joined();
    create(&mut ana, "ops");
    let refused = ana.wait_for("a refusal", |line| line["type"] == "error");
    assert_eq!(
        (&refused["code"], &refused["ref"]),
        (&json!("not_proposed"), &json!("create ops"))
    );
}

#[test]
fn a_coordinator_that_dies_leaves_a_doubt_and_ends_it_when_it_is_back() {
    let (place, registry) = (Place::new(), Registry::start());
    let (mut chats, _) = met(&place, &registry, &["ana", "bob", "cyd"]);
    sit_together(&mut chats);
    // Its vote does not come, so nothing is decided.
    chats[2].stop();
    create(&mut chats[0], "ops");
    let about = |line: &Value, phase: &str| line["type"] == "txn" && line["room"] == "ops" && line["phase"] == phase;
    chats[1].wait_for("the question", |line| about(line, "prepare"));
    let ana = chats.remove(0);
    ana.signal(Signal::KILL);
    drop(ana);
    chats[0].wait_for("doubt", |line| about(line, "in_doubt"));
    // Who did not hear of the end does not give the name away.
    create(&mut chats[0], "ops");
    let refused = chats[0].wait_for("a refusal", |line| line["type"] == "error");
    assert_eq!(refused["text"], "not created: name undecided; nothing changed anywhere");
    let back = place.chat(&format!("-n ana -r {}", registry.addr));
    back.joined();
    let ended = chats[0].wait_for("the end of the doubt", |line| about(line, "aborted"));
    assert_eq!(ended["reason"], "not everybody said yes in time");
    chats[1].signal(Signal::CONT);
}

#[test]
fn two_sides_that_create_one_name_have_two_rooms() {
    const PORT: u16 = 7000;
    let net = match Net::new(2) {
        Ok(net) => net,
        Err(reason) => return println!("skipped: no network namespaces here ({reason})"),
    };
    let place = Place::new();
    let mut chats = Vec::<Chat>::new();
    for (k, name) in ["ana", "bob"].into_iter().enumerate() {
        let peers: String = (0..k).map(|k| format!(" -p {}:{PORT}", Net::addr(k))).collect();
        let command = format!("--json --input json -n {name} -l {}:{PORT}{peers}", Net::addr(k));
        chats.push(Chat::start(net.on(k, &place.command(&command))));
        chats[k].joined();
    }
    let ids: Vec<_> = chats.iter().map(Chat::joined).collect();
    chats.iter().for_each(|chat| chat.meets(&ids));
    sit_together(&mut chats);
    net.part(&[1]);
    for (chat, other) in [(0, 1), (1, 0)] {
        chats[chat].wait_for("silence", |line| {
            line["type"] == "peer" && line["state"] == "silent" && line["peer"] == ids[other]
        });
    }
    for chat in &mut chats {
        // Whoever is silent in the lobby is silent in the council, soon.
        for round in 0.. {
            create(chat, "ops");
            let ended = chat.wait_for("an end", |line| {
                let before = round > 0 && line["phase"] == "aborted";
                line["type"] == "txn" && line["room"] == "ops" && line["took_ms"].is_u64() && !before
            });
            if ended["phase"] == "committed" {
                break;
            }
            assert!(round < 5, "{ended}");
        }
        made(chat, "ops");
    }
    net.heal();
    // One of them is renamed, and both know both.
    for chat in &mut chats {
        chat.wait_for("the other's room", |line| {
            line["type"] == "txn" && line["room"] == "ops" && line["phase"] == "committed" && line["self"] == false
        });
        chat.ask(json!({"do": "rooms", "ref": "r"}));
    }
    let own = |chat: &Chat| {
        let rooms = chat.wait_for("the rooms", |line| line["type"] == "rooms" && line["ref"] == "r");
        let rooms = rooms["rooms"].as_array().unwrap().clone();
        let name = rooms
            .iter()
            .map(|row| row["room"].as_str().unwrap())
            .find(|room| room.starts_with("ops"));
        name.expect("it is in its room").to_owned()
    };
    let names = [own(&chats[0]), own(&chats[1])];
    let (loser, winner) = if names[0] == "ops" { (1, 0) } else { (0, 1) };
    let expected = format!("ops~{}", ["ana", "bob"][loser]);
    assert_eq!(
        (names[winner].as_str(), names[loser].as_str()),
        ("ops", expected.as_str())
    );
    joins(&mut chats[winner], &expected);
    meets_in(&chats[winner], &expected, &ids[loser]);
    chats[winner].ask(json!({"do": "send", "room": expected, "text": "to the other"}));
    assert_eq!(chats[loser].wait_text("to the other")["room"], expected);
}
