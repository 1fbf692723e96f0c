//! Registries that come and go.

use rustix::process::Signal;

use crate::harness::{Place, Registry};

#[test]
fn a_killed_registry_disturbs_nobody_and_knows_all_again() {
    let (place, mut registry) = (Place::new(), Registry::start());
    let start = |name: &str| place.chat(&format!("-n {name} -r {}", registry.addr));
    let mut chats: Vec<_> = ["ana", "bob", "cyd"].map(start).into();
    let mut ids: Vec<_> = chats.iter().map(crate::harness::Chat::joined).collect();
    chats.iter().for_each(|chat| chat.meets(&ids));
    registry.kill();
    chats[0].say("without a registry");
    chats.iter().for_each(|chat| drop(chat.wait_text("without a registry")));
    registry.restart();
    let dan = place.chat(&format!("-n dan -r {}", registry.addr));
    ids.push(dan.joined());
    chats.push(dan);
    chats.iter().for_each(|chat| chat.meets(&ids));
    chats[3].say("all here");
    for chat in chats {
        chat.wait_text("all here");
        // Nobody was told anything about it on the way.
        let lines = chat.json();
        let quiet = |line: &serde_json::Value| line["type"] != "error" && line["type"] != "peer";
        assert!(lines.iter().all(quiet), "{lines:?}");
    }
}

#[test]
fn when_the_host_of_the_registry_is_killed_another_takes_over() {
    let place = Place::new();
    let mut first = place.chat("-n ana");
    first.wait_for("that it serves", |line| {
        line["type"] == "notice" && line["text"].as_str().unwrap().contains("this chat serves one there")
    });
    let second = place.chat("-n bob");
    let ids = [first.joined(), second.joined()];
    first.meets(&ids);
    second.meets(&ids);
    first.signal(Signal::KILL);
    assert_eq!(first.wait().code, None);
    let mut third = place.chat("-n cyd");
    let ids = [second.joined(), third.joined()];
    second.meets(&ids);
    third.meets(&ids);
    third.say("still here");
    second.wait_text("still here");
}

#[test]
fn one_of_two_registries_is_enough() {
    let (place, registry) = (Place::new(), Registry::start());
    let chat = place.chat(&format!("-n ana -r 127.0.0.1:9 -r {}", registry.addr));
    chat.joined();
    chat.wait_for("a word about the other", |line| {
        line["type"] == "notice"
            && line["text"]
                .as_str()
                .unwrap()
                .contains("registry 127.0.0.1:9 unreachable")
    });
}
