//! Chats that know only each other: of one home they meet, of two they are told that they do not.

use rustix::process::Signal;

use super::{addr, refused};
use crate::harness::{Place, Registry};

#[test]
fn chats_of_one_home_need_no_registry() {
    let place = Place::alone();
    let mut ana = place.chat("-n ana");
    ana.joined();
    let mut bob = place.chat(&format!("-n bob -p {}", addr(&ana)));
    let cyd = place.chat(&format!("-n cyd -p {}", addr(&bob)));
    let ids = [ana.joined(), bob.joined(), cyd.joined()];
    [&ana, &bob, &cyd].iter().for_each(|chat| chat.meets(&ids));
    assert_eq!(ana.stderr(), "");
    // The registry that the first one served goes with it.
    ana.signal(Signal::KILL);
    ana.wait();
    bob.say("still here");
    cyd.wait_text("still here");
}

#[test]
fn a_peer_of_another_home_refuses_and_that_is_said() {
    let (place, other) = (Place::alone(), Place::alone());
    let mut ana = place.chat("-n ana");
    ana.joined();
    let addr = addr(&ana);
    let run = other.run(&format!("-n bob -p {addr}"), "");
    let words = refused(&run);
    assert!(
        words.contains(&format!(
            "no peer lets this chat in: peer {addr}: the other side refuses"
        )),
        "{words}"
    );
    assert!(
        words.contains("name that with --registry, or ask for an invite"),
        "{words}"
    );
    let run = other.run(&format!("-n bob --json -p {addr}"), "");
    refused(&run);
    let kind = |line| serde_json::from_str::<serde_json::Value>(line).unwrap()["type"].clone();
    let kinds: Vec<_> = run.stdout.lines().map(kind).collect();
    assert_eq!(kinds, ["hello", "error", "bye"]);
    ana.say("nobody came");
    ana.wait_text("nobody came");
    assert!(
        ana.json()
            .iter()
            .all(|line| line["type"] != "join" || line["self"] == true)
    );
}

#[test]
fn one_peer_of_two_is_enough_and_the_other_is_named() {
    let (place, other) = (Place::alone(), Place::alone());
    let (ana, eve) = (place.chat("-n ana"), other.chat("-n eve"));
    let (id, _) = (ana.joined(), eve.joined());
    let refusing = addr(&eve);
    let bob = place.chat(&format!("-n bob -p {} -p {refusing}", addr(&ana)));
    bob.meets(&[id]);
    bob.wait_for("a word about the other", |line| {
        let text = line["text"].as_str().unwrap_or_default();
        line["type"] == "notice" && text.contains(&format!("peer {refusing}: ")) && text.contains("going on without it")
    });
}

#[test]
fn a_registry_of_another_authority_disturbs_nobody_and_newcomers_are_met() {
    let home = Place::alone();
    let mut registry = Registry::of(&home);
    let start = |name: &str| home.chat(&format!("-n {name} -r {}", registry.addr));
    let (mut ana, bob) = (start("ana"), start("bob"));
    let mut ids = vec![ana.joined(), bob.joined()];
    [&ana, &bob].iter().for_each(|chat| chat.meets(&ids));
    let before = registry.cluster();
    registry.kill();
    registry.restart();
    assert_ne!(before, registry.cluster());
    let cyd = home.chat(&format!("-n cyd -r {}", registry.addr));
    ids.push(cyd.joined());
    [&ana, &bob, &cyd].iter().for_each(|chat| chat.meets(&ids));
    ana.say("all three");
    [&bob, &cyd].iter().for_each(|chat| drop(chat.wait_text("all three")));
}
