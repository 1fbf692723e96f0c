//! Bad input, each time while another chat goes on undisturbed.

use std::io::Write;
use std::net::TcpStream;

use serde_json::json;

use crate::harness::{Chat, Place};

fn two(place: &Place) -> [Chat; 2] {
    let chats = ["ana", "bob"].map(|name| place.chat(&format!("-n {name}")));
    let ids = [chats[0].joined(), chats[1].joined()];
    chats.iter().for_each(|chat| chat.meets(&ids));
    chats
}

fn error(chat: &Chat, code: &str) -> serde_json::Value {
    chat.wait_for(&format!("error {code}"), |line| {
        line["type"] == "error" && line["code"] == code
    })
}

#[test]
fn bad_lines_are_refused_and_the_next_is_taken() {
    let place = Place::new();
    let [mut ana, bob] = two(&place);
    ana.write(b"\xff\xfe\xfd\n");
    error(&ana, "bad_utf8");
    ana.write(b"{\"do\":\"send\",\"te\n");
    error(&ana, "bad_json");
    ana.ask(json!({"do": "foo", "ref": "x9"}));
    let unknown = error(&ana, "unknown_command");
    assert_eq!(
        (&unknown["ref"], &unknown["text"]),
        (&json!("x9"), &json!("no command /foo"))
    );
    ana.ask(json!({"do": "send", "text": "x".repeat(65_536), "ref": "long"}));
    let long = error(&ana, "too_long");
    assert_eq!(long["ref"], "long");
    ana.ask(json!({"do": "send", "text": "x", "room": "elsewhere"}));
    error(&ana, "no_room");
    ana.ask(json!({"do": "send", "text": "x", "reply_to": "nobody:1"}));
    error(&ana, "bad_argument");
    ana.say("still here");
    bob.wait_text("still here");
    let heard = bob.json().into_iter().filter(|line| line["type"] == "message").count();
    assert_eq!(heard, 1);
}

#[test]
fn a_line_without_end_takes_little_memory() {
    let place = Place::new();
    let [mut ana, bob] = two(&place);
    let chunk = vec![b'x'; 1 << 20];
    for _ in 0..200 {
        ana.write(&chunk);
    }
    ana.write(b"\n");
    error(&ana, "too_long");
    ana.say("still here");
    bob.wait_text("still here");
}

#[test]
fn text_of_the_greatest_length_arrives() {
    let place = Place::new();
    let [mut ana, bob] = two(&place);
    let text = "\u{1}".repeat(65_500);
    ana.say(&text);
    bob.wait_text(&text);
}

#[test]
fn hostile_text_is_neutralised_on_every_screen() {
    let place = Place::new();
    let mut ana = place.chat("-n ana");
    let bob = Chat::start(place.command("-n bob --stay"));
    bob.wait_line("bob's join", |line| {
        line.contains("Participant bob joined").then_some(())
    });
    ana.wait_for("bob", |line| line["type"] == "join" && line["from"]["nick"] == "bob");
    ana.say("\u{1b}[2Jfirst\nsecond\u{202e}\u{9b}2J\u{7}end");
    let second = bob.wait_line("the second line", |line| {
        line.contains("second").then(|| line.to_owned())
    });
    assert!(
        second.starts_with("         | second\u{fffd}\u{fffd}2J\u{fffd}end  ["),
        "{second}"
    );
    let steers = |c: char| c.is_control() || c == '\u{202e}';
    assert!(
        bob.lines().iter().all(|line| !line.contains(steers)),
        "{:?}",
        bob.lines()
    );
    assert!(ana.lines().iter().all(|line| !line.contains(steers)));
}

#[test]
fn unknown_commands_in_text_send_nothing() {
    let place = Place::new();
    let run = place.run("-n ana", "/foo\n//foo\n/STAMP lamport\nhi\n");
    assert_eq!(run.exit.code, Some(0));
    let lines: Vec<_> = run.stdout.lines().collect();
    assert!(
        lines.contains(&"*** no command /foo (did you mean /me?); /help lists them"),
        "{lines:?}"
    );
    assert!(
        lines.iter().any(|line| line.ends_with(" #lobby <ana> /foo  [ana:2]")),
        "{lines:?}"
    );
    assert!(
        lines.iter().any(|line| line.ends_with(" #lobby <ana> hi  @3")),
        "{lines:?}"
    );
}

#[test]
fn nonsense_on_a_peers_port_disturbs_nobody() {
    let place = Place::new();
    let [mut ana, bob] = two(&place);
    let hello = ana.wait_for("hello", |line| line["type"] == "hello");
    let addr = hello["addr"].as_str().unwrap();
    let noise: Vec<u8> = (0..5000u32)
        .map(|k| (k.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    for bytes in [noise, vec![0xff; 2 << 20], b"GET / HTTP/1.1\r\n\r\n".to_vec()] {
        let mut stream = TcpStream::connect(addr).unwrap();
        let _ = stream.write_all(&bytes); // it may hang up before all is written
    }
    ana.say("still here");
    bob.wait_text("still here");
    let (_, exit) = ana.leave();
    assert_eq!(exit.code, Some(0));
}
