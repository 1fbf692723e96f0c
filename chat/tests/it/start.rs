//! Starts: several at a time, with and without a registry, and with nobody at all.

use crate::harness::{Chat, Log, Place, Registry, judge, rounds};

const SIX: usize = 6;

/// They all meet, and a message of each reaches all.
fn one_group(mut chats: Vec<Chat>) {
    let ids: Vec<_> = chats.iter().map(Chat::joined).collect();
    chats.iter().for_each(|chat| chat.meets(&ids));
    for (chat, id) in chats.iter_mut().zip(&ids) {
        chat.say(&format!("hello from {id}"));
    }
    for chat in &chats {
        ids.iter()
            .for_each(|id| drop(chat.wait_text(&format!("hello from {id}"))));
    }
    let logs = chats.into_iter().map(|chat| {
        let (lines, exit) = chat.leave();
        assert_eq!(exit.code, Some(0), "{}", exit.stderr);
        Log { lines, ended: true }
    });
    judge(&logs.collect::<Vec<_>>());
}

#[test]
fn six_at_the_same_instant_with_a_registry() {
    for _ in 0..rounds() {
        let (place, registry) = (Place::new(), Registry::start());
        let start = |k| place.chat(&format!("-n p{k} -r {}", registry.addr));
        one_group((0..SIX).map(start).collect());
    }
}

#[test]
fn six_at_the_same_instant_without_arguments() {
    for _ in 0..rounds() {
        let place = Place::new();
        one_group((0..SIX).map(|_| place.chat("")).collect());
    }
}

#[test]
fn six_at_the_same_instant_over_two_registries() {
    let (place, one, other) = (Place::new(), Registry::start(), Registry::start());
    // Two know only one of the registries each; the rest introduces them.
    let registries = |k| match k {
        0 => format!("-r {}", one.addr),
        1 => format!("-r {}", other.addr),
        _ => format!("-r {} -r {}", one.addr, other.addr),
    };
    one_group(
        (0..SIX)
            .map(|k| place.chat(&format!("-n p{k} {}", registries(k))))
            .collect(),
    );
}

#[test]
fn a_peer_is_enough() {
    let place = Place::new();
    let first = place.chat("-n ana");
    let hello = first.wait_for("hello", |line| line["type"] == "hello");
    let addr = hello["addr"].as_str().unwrap().to_owned();
    first.joined();
    let second = place.chat(&format!("-n bob -p {addr}"));
    let hello = second.wait_for("hello", |line| line["type"] == "hello");
    assert_eq!(hello.get("registry"), None);
    one_group(vec![first, second]);
}

#[test]
fn the_nick_of_a_second_instance_is_numbered() {
    let place = Place::new();
    let first = place.chat("");
    let joined = first.joined();
    assert!(joined.starts_with("ursula#"), "{joined}");
    let second = place.chat("");
    let joined = second.joined();
    assert!(joined.starts_with("ursula-2#"), "{joined}");
    second.wait_for("a notice", |line| {
        line["type"] == "notice" && line["text"].as_str().unwrap().contains("you are ursula-2")
    });
    let third = place.chat("");
    assert!(third.joined().starts_with("ursula-3#"));
}

#[test]
fn a_chosen_nick_whose_profile_is_in_use_is_refused() {
    let place = Place::new();
    let first = place.chat("-n ana");
    first.joined();
    let refused = place.run("-n ana", "");
    assert_eq!((refused.exit.code, refused.stdout.as_str()), (Some(7), ""));
    assert!(
        refused.exit.stderr.contains("profile ana is in use"),
        "{}",
        refused.exit.stderr
    );
    let ephemeral = place.chat("-n ana --ephemeral");
    let id = ephemeral.joined();
    first.meets(&[id]);
}

#[test]
fn nobody_in_reach_is_said_with_what_to_do() {
    let place = Place::new();
    for args in ["-r nosuch.invalid:1", "-r 127.0.0.1:9", "-p 127.0.0.1:9"] {
        let run = place.run(args, "");
        assert_eq!((run.exit.code, run.stdout.as_str()), (Some(3), ""), "{args}");
        let words = &run.exit.stderr;
        assert!(words.contains("no registry and no peer can be reached"), "{words}");
        assert!(words.contains("Start a registry with `nodesetd`"), "{words}");
    }
    let run = place.run("--json -r 127.0.0.1:9", "");
    assert_eq!(run.exit.code, Some(3));
    let types: Vec<_> = run
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["type"].clone())
        .collect();
    assert_eq!(types, ["hello", "error", "bye"]);
}

#[test]
fn a_port_in_use_is_said() {
    let place = Place::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let run = place.run(&format!("-l {}", taken.local_addr().unwrap()), "");
    assert_eq!(run.exit.code, Some(1));
    assert!(
        run.exit.stderr.contains("cannot listen on 127.0.0.1:"),
        "{}",
        run.exit.stderr
    );
}
