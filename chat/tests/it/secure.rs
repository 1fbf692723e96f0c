//! Who gets in, who does not, and what they are told.

mod evicted;
mod flood;
mod homes;
mod invites;
mod listen;
mod peers;
mod strangers;

use crate::harness::{Chat, Run};

/// The run was refused, and says why on stderr alone. Returns that.
fn refused(run: &Run) -> String {
    assert_eq!(run.exit.code, Some(4), "{run:?}");
    let words = run.exit.stderr.trim_end();
    assert!(
        words.starts_with("chat: ") && !words.chars().any(char::is_control),
        "{words:?}"
    );
    words.to_owned()
}

/// Where it is dialled.
fn addr(chat: &Chat) -> String {
    let hello = chat.wait_for("hello", |line| line["type"] == "hello");
    hello["addr"].as_str().expect("an address").to_owned()
}
