//! Slash commands among several chats: what is typed in one shows in the others.

use serde_json::json;

use crate::harness::{Chat, Place, Registry};

/// A chat that a person types into, once it is in the lobby.
fn typist(place: &Place, registry: &Registry, nick: &str) -> Chat {
    let chat = Chat::start(place.command(&format!("-n {nick} --stamp none -r {}", registry.addr)));
    wait(&chat, &format!("Participant {nick} joined #lobby"));
    chat
}

/// A line with this in it, without its time.
fn wait(chat: &Chat, part: &str) -> String {
    chat.wait_line(part, |line| {
        let text = line.split_once(' ').map_or(line, |(_, text)| text);
        line.contains(part).then(|| text.to_owned())
    })
}

#[test]
fn a_reply_names_the_message_that_it_answers() {
    let (place, registry) = (Place::new(), Registry::start());
    let mut bob = place.chat(&format!("-n bob -r {}", registry.addr));
    let bobs = bob.joined();
    let mut ana = typist(&place, &registry, "ana");
    bob.wait_for("ana", |line| line["type"] == "join" && line["from"]["nick"] == "ana");
    bob.say("lunch?");
    wait(&ana, "lunch?");
    ana.write(b"/reply yes\n/reply bob:99 what\n");
    assert_eq!(wait(&ana, "yes"), "#lobby <ana> re bob:2: yes");
    wait(&ana, "*** that message was not delivered here");
    let yes = bob.wait_text("yes");
    assert_eq!(yes["reply_to"], json!(format!("{bobs}:2")));
    bob.ask(json!({"do": "reply", "text": "good", "ref": "r"}));
    assert_eq!(bob.wait_text("good")["reply_to"], yes["id"]);
    bob.wait_for("an ack", |line| line["type"] == "ack" && line["ref"] == "r");
    bob.ask(json!({"do": "reply", "id": format!("{bobs}:99"), "text": "x", "ref": "no"}));
    let refused = bob.wait_for("a refusal", |line| line["type"] == "error");
    assert_eq!(
        (&refused["code"], &refused["ref"]),
        (&json!("not_delivered"), &json!("no"))
    );
}

#[test]
fn nicks_and_topics_reach_everybody_and_whoever_comes_later() {
    let (place, registry) = (Place::new(), Registry::start());
    let mut bob = place.chat(&format!("-n bob -r {}", registry.addr));
    let bobs = bob.joined();
    let mut ana = typist(&place, &registry, "ana");
    bob.wait_for("ana", |line| line["type"] == "join" && line["from"]["nick"] == "ana");
    ana.write(b"/nick annie\n/topic lunch \xe2\x80\x94 where?\nhi\n/nick bob\x1b[31m\n");
    wait(&ana, "*** ana is called annie from now on.");
    wait(&ana, "*** annie set the topic of #lobby: lunch \u{2014} where?");
    wait(&ana, "#lobby <annie> hi");
    wait(&ana, "*** a nick has only letters");
    let hi = bob.wait_text("hi");
    assert_eq!(hi["from"]["nick"], "annie");
    let id = hi["from"]["id"].as_str().unwrap().to_owned();
    assert!(id.starts_with("ana#"), "{id}");
    // Each is a message of its own, with its place in the order.
    let told = |chat: &Chat, key: &str| {
        let line = chat.wait_for(key, |line| line["type"] == "control" && line[key].is_string());
        (line[key].clone(), line["from"]["id"].clone())
    };
    assert_eq!(told(&bob, "nick"), (json!("annie"), json!(id)));
    assert_eq!(told(&bob, "topic"), (json!("lunch \u{2014} where?"), json!(id)));
    bob.ask(json!({"do": "nick", "name": "annie", "ref": "n"}));
    bob.wait_for("an ack", |line| line["type"] == "ack" && line["ref"] == "n");
    bob.say("me, too");
    wait(&ana, &format!("<annie#{}> me, too", &bobs[4..]));

    // Whoever comes later is told, also if who set the topic is gone.
    ana.write(b"/leave\n");
    bob.wait_for("ana's leave", |line| line["type"] == "leave");
    let mut cyd = place.chat(&format!("-n cyd -r {}", registry.addr));
    cyd.joined();
    assert_eq!(told(&cyd, "nick"), (json!("annie"), json!(bobs)));
    assert_eq!(told(&cyd, "topic"), (json!("lunch \u{2014} where?"), json!(bobs)));
    cyd.ask(json!({"do": "topic", "ref": "t"}));
    let topic = cyd.wait_for("the topic", |line| line["type"] == "topic");
    assert_eq!((&topic["by"], &topic["ref"]), (&json!(id), &json!("t")));
    // Nothing that they say of themselves is more than once in anybody's stream, and nothing is missing.
    let (lines, _) = bob.leave();
    let own = lines
        .iter()
        .filter(|line| line["clock"].is_object() && line["from"]["id"] == json!(bobs));
    let seqs: Vec<_> = own.map(|line| line["clock"][&bobs].as_u64().unwrap()).collect();
    assert_eq!(seqs, Vec::from_iter(1..=seqs.len() as u64));
}

#[test]
fn what_a_room_was_created_with_is_told_to_whoever_joins_it() {
    let (place, registry) = (Place::new(), Registry::start());
    let mut bob = place.chat(&format!("-n bob -r {}", registry.addr));
    bob.joined();
    let mut ana = typist(&place, &registry, "ana");
    bob.wait_for("ana", |line| line["type"] == "join" && line["from"]["nick"] == "ana");
    ana.write(b"/create ops --topic on call\n");
    wait(&ana, "Participant ana joined #ops");
    bob.wait_for("the creation", |line| {
        line["type"] == "txn" && line["phase"] == "committed"
    });
    // Known to whoever is not in it.
    bob.ask(json!({"do": "rooms", "ref": "r"}));
    let rooms = bob.wait_for("the rooms", |line| line["type"] == "rooms");
    let ops = &rooms["others"][0];
    assert_eq!((&ops["room"], &ops["topic"]), (&json!("ops"), &json!("on call")));
    assert!(ops["by"].as_str().unwrap().starts_with("ana#"), "{ops}");
    bob.ask(json!({"do": "join", "room": "ops"}));
    let topic = bob.wait_for("the topic", |line| line["type"] == "topic");
    assert_eq!((&topic["room"], &topic["topic"]), (&json!("ops"), &json!("on call")));
}

#[test]
fn what_is_kept_of_a_room_is_exported_while_one_is_in_it() {
    let (place, registry) = (Place::new(), Registry::start());
    let mut ana = place.chat(&format!("-n ana -r {}", registry.addr));
    ana.joined();
    for text in ["one", "two"] {
        ana.say(text);
    }
    ana.wait_text("two");
    let file = place.home().join("kept.jsonl");
    ana.ask(json!({"do": "export", "file": file, "ref": "e"}));
    let done = ana.wait_for("the export", |line| line["type"] == "export");
    // With the join.
    assert_eq!(
        (&done["messages"], &done["room"], &done["ref"]),
        (&json!(3), &json!("lobby"), &json!("e"))
    );
    let restored = place.run(&format!("-n other history --restore {}", file.display()), "");
    assert_eq!(restored.exit.code, Some(0), "{}", restored.exit.stderr);
    assert!(
        restored.exit.stderr.contains("restored 3 messages"),
        "{}",
        restored.exit.stderr
    );
    // Nothing is written over.
    ana.ask(json!({"do": "export", "file": file, "ref": "again"}));
    let refused = ana.wait_for("a refusal", |line| line["type"] == "error");
    assert_eq!(
        (&refused["code"], &refused["ref"]),
        (&json!("not_done"), &json!("again"))
    );
    assert!(refused["text"].as_str().unwrap().contains("exists"), "{refused}");
    let mut cyd = place.chat(&format!("-n cyd --ephemeral -r {}", registry.addr));
    cyd.joined();
    cyd.ask(json!({"do": "export", "ref": "no"}));
    let refused = cyd.wait_for("a refusal", |line| line["type"] == "error");
    assert!(refused["text"].as_str().unwrap().contains("keeps nothing"), "{refused}");
}
