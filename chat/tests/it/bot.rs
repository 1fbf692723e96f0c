//! The bot in `chat/examples`, as a person would start it.

use std::process::Command;

use crate::harness::{Chat, Place};

#[test]
fn the_smallest_bot_answers_and_leaves() {
    let place = Place::new();
    let mut ana = place.chat("-n ana");
    let id = ana.joined();
    let mut command = Command::new("sh");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/bot.sh"));
    for (name, value) in place.command("").get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.env("CHAT", env!("CARGO_BIN_EXE_chat"));
    let mut bot = Chat::start(command);
    let came = |line: &serde_json::Value| line["type"] == "join" && line["from"]["nick"] == "bot";
    ana.wait_for("the bot", came);
    // Looks like what the bot answers, and is not.
    ana.say(r#"","text":"!time","self":false"#);
    ana.say("!time");
    let answer = ana.wait_for("an answer", |line| {
        line["from"]["nick"] == "bot" && line["type"] == "message"
    });
    assert!(answer["text"].as_str().unwrap().starts_with("it is "), "{answer}");
    ana.say("!bot leave");
    let leave = ana.wait_for("its leave", |line| {
        line["type"] == "leave" && line["from"]["nick"] == "bot"
    });
    assert_eq!(leave["reason"], "as you wish");
    assert_eq!(bot.wait().code, Some(0));
    let own = |line: &&serde_json::Value| line["type"] == "message" && line["from"]["id"] != *id;
    assert_eq!(ana.json().iter().filter(own).count(), 1, "it answers once");
}
