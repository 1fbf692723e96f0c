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
