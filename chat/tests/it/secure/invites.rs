//! Invites that are no good: each is told apart, and none lets anybody in.

use std::time::Duration;

use super::refused;
use crate::harness::{Place, Registry};

/// What a stranger with that invite is told.
fn told(invite: &str) -> String {
    let mut command = Place::alone().command("-n bob who");
    command.args(["--invite", invite]);
    refused(&crate::harness::Run::of(command))
}

#[test]
fn each_bad_invite_has_its_own_text() {
    let host = Place::alone();
    let mut registry = Registry::of(&host);
    let operator = registry.operator();

    assert!(told("let me in").contains("this is not an invite"));
    assert!(told("\u{1b}[31mnodeset1\u{202e}").contains("this is not an invite"));
    let good = operator.invite(1).to_string();
    let last = if good.ends_with('0') { "1" } else { "0" };
    for mistyped in [
        format!("{}{last}", &good[..good.len() - 1]),
        good[..good.len() - 5].to_owned(),
    ] {
        let words = told(&mistyped);
        assert!(words.contains("the invite is mistyped or not complete"), "{words}");
    }

    let short = operator.invite_for(1, Duration::from_secs(1));
    operator.wait_until_over(short.id());
    let words = told(&short.to_string());
    assert!(
        words.contains("the invite expired") && words.contains("ask for another"),
        "{words}"
    );

    let taken_back = operator.invite(1);
    assert_eq!(operator.revoke(taken_back.id()), 0);
    let words = told(&taken_back.to_string());
    assert!(words.contains("the invite was revoked"), "{words}");

    let used = operator.invite(1);
    let guest = Place::alone().run(&format!("-n cyd who --invite {used}"), "");
    assert_eq!(guest.exit.code, Some(0), "{}", guest.exit.stderr);
    let words = told(&used.to_string());
    assert!(words.contains("the invite is used up (1 of 1)"), "{words}");

    // The same registry, as it were, but one that never made this invite.
    registry.kill();
    registry.forget();
    let words = told(&good);
    assert!(words.contains("the registry does not know this invite"), "{words}");

    // And one with another authority: the invite is not even shown to it.
    registry.kill();
    registry.restart();
    let words = told(&good);
    assert!(words.contains("does not know you"), "{words}");
}

#[test]
fn an_invite_to_nowhere_steers_no_terminal() {
    let host = Place::alone();
    let registry = Registry::of(&host);
    let odd = registry.operator().invite_to("\u{1b}[31m\u{202e}:1").to_string();
    let run = Place::alone().run(&format!("-n bob --invite {odd}"), "");
    assert_eq!(run.exit.code, Some(3), "{}", run.exit.stderr);
    let odd = |c: char| c.is_control() || c == '\u{202e}';
    assert!(!run.exit.stderr.trim_end().chars().any(odd), "{:?}", run.exit.stderr);
}
