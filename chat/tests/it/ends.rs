//! Ends: whatever ends a chat short of a kill, it says goodbye and then `bye`.

use rustix::process::Signal;
use serde_json::json;

use crate::harness::{Chat, Place};

fn two(place: &Place, args: &str) -> [Chat; 2] {
    let chats = ["ana", "bob"].map(|name| place.chat(&format!("-n {name} {args}")));
    let ids = [chats[0].joined(), chats[1].joined()];
    chats.iter().for_each(|chat| chat.meets(&ids));
    chats
}

fn left(chat: &Chat, nick: &str) -> serde_json::Value {
    chat.wait_for(&format!("leave of {nick}"), |line| {
        line["type"] == "leave" && line["from"]["nick"] == nick
    })
}

#[test]
fn every_end_is_announced_and_has_its_code() {
    for (end, code, reason) in [
        ("term", 0, "terminated"),
        ("int", 130, "interrupted"),
        ("eof", 0, "end_of_input"),
        ("leave", 0, "leave"),
    ] {
        let place = Place::new();
        let [mut ana, bob] = two(&place, "");
        match end {
            "term" => ana.signal(Signal::TERM),
            "int" => ana.signal(Signal::INT),
            "eof" => ana.close_stdin(),
            _ => ana.ask(json!({"do": "leave", "reason": "see you"})),
        }
        let exit = ana.wait();
        assert_eq!((exit.code, exit.stderr.as_str()), (Some(code), ""), "{end}");
        let lines = ana.json();
        let last: Vec<_> = lines[lines.len() - 2..]
            .iter()
            .map(|line| line["type"].clone())
            .collect();
        assert_eq!(last, ["leave", "bye"], "{end}");
        assert_eq!(lines.last().unwrap()["reason"], reason);
        let seen = left(&bob, "ana");
        assert_eq!(seen["lamport"], left(&ana, "ana")["lamport"]);
        assert_eq!(seen["reason"], if end == "leave" { "see you" } else { "" });
    }
}

#[test]
fn a_closed_stdout_is_a_goodbye() {
    let place = Place::new();
    let ana = place.chat("-n ana");
    ana.joined();
    let mut bob = Chat::start_unread(place.command("-n bob --json --input json"));
    ana.wait_for("bob", |line| line["type"] == "join" && line["from"]["nick"] == "bob");
    bob.drop_stdout();
    let exit = bob.wait();
    assert_eq!((exit.code, exit.stderr.as_str()), (Some(0), ""));
    left(&ana, "bob");
}

#[test]
fn staying_outlives_the_input() {
    let place = Place::new();
    let [mut ana, mut bob] = two(&place, "--stay");
    ana.say("last words");
    ana.close_stdin();
    bob.wait_text("last words");
    bob.say("are you there?");
    ana.wait_text("are you there?");
    ana.signal(Signal::TERM);
    assert_eq!(ana.wait().code, Some(0));
}

#[test]
fn what_is_not_confirmed_is_said_by_name() {
    let place = Place::new();
    let [mut ana, bob] = two(&place, "--linger 1s");
    bob.stop();
    ana.say("are you there?");
    ana.close_stdin();
    let exit = ana.wait();
    assert_eq!(exit.code, Some(5), "{}", exit.stderr);
    assert_eq!(exit.stderr, "chat: not confirmed in time by bob\n");
    let lines = ana.json();
    let bye = lines.last().unwrap();
    assert!(bye["unconfirmed"][0].as_str().unwrap().starts_with("bob#"), "{bye}");
    bob.signal(Signal::CONT);
}

#[test]
fn a_leave_says_whom_it_waits_for_and_can_be_cut_short() {
    let place = Place::new();
    let mut ana = Chat::start(place.command("-n ana --linger 3600s"));
    let bob = place.chat("-n bob");
    bob.joined();
    ana.wait_line("bob", |line| line.contains("Participant bob ").then_some(()));
    bob.stop();
    ana.write(b"hello?\n/leave\n");
    ana.wait_line("what it waits for", |line| {
        (line == "*** 1 message not confirmed by bob. Waiting 3600 s; /leave again to go now.").then_some(())
    });
    ana.write(b"/leave\n");
    let exit = ana.wait();
    assert_eq!(exit.code, Some(5), "{}", exit.stderr);
    bob.signal(Signal::CONT);
}

#[test]
fn a_killed_peer_is_no_reason_to_wait() {
    let place = Place::new();
    let [mut ana, mut bob] = two(&place, "--linger 3600s");
    bob.signal(Signal::KILL);
    bob.wait();
    ana.say("are you there?");
    ana.wait_text("are you there?");
    ana.close_stdin();
    assert_eq!(ana.wait().code, Some(0));
}
