//! Whoever comes to a chat's port without a certificate: refused, with one line in the log.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::harness::{Chat, Place, Registry, nameless};

/// What the other side says until it closes; however it closes.
fn last_words(stream: &mut impl Read) -> Vec<u8> {
    let mut heard = Vec::new();
    let _ = stream.read_to_end(&mut heard);
    heard
}

fn refusals(chat: &Chat) -> Vec<String> {
    let said = chat.stderr();
    let lines = said.lines().filter(|line| line.contains("connection refused"));
    lines.map(str::to_owned).collect()
}

#[test]
fn strangers_at_the_port_cost_one_line_each() {
    let home = Place::alone();
    let registry = Registry::of(&home);
    let start = |name| home.chat(&format!("-n {name} -r {}", registry.addr));
    let (mut ana, bob) = (start("ana"), start("bob"));
    let ids = [ana.joined(), bob.joined()];
    ana.meets(&ids);
    let addr = super::addr(&ana);

    let mut raw = TcpStream::connect(&addr).unwrap();
    raw.write_all(b"GET / HTTP/1.1\r\n\r\nwhat do you say?").unwrap();
    let heard = last_words(&mut raw);
    // An alert of TLS, at most.
    assert!(heard.len() < 16, "{heard:?}");
    ana.wait_stderr("a line on it", |said| {
        said.contains("it does not speak TLS 1.3").then_some(())
    });

    let mut stream = nameless(&addr, &registry.cluster());
    let _ = stream.write_all(&[0; 64]);
    assert!(last_words(&mut stream).is_empty());
    ana.wait_stderr("a line on it", |said| {
        said.contains("it shows no certificate").then_some(())
    });

    ana.say("undisturbed");
    bob.wait_text("undisturbed");
    let lines = refusals(&ana);
    assert_eq!(lines.len(), 2, "{lines:?}");
    let (_, exit) = ana.leave();
    assert_eq!(exit.code, Some(0), "{}", exit.stderr);
}
