//! What typed lines mean, and what is refused.

use super::*;

fn command(line: &str) -> Command {
    of_text(line).unwrap().unwrap().command
}

fn refusal(line: &str) -> String {
    let error = of_text(line).unwrap_err();
    error.screen.unwrap_or(error.text)
}

fn said(kind: Kind, text: &str) -> Command {
    Command::Send {
        kind,
        text: text.into(),
        reply_to: None,
    }
}

#[test]
fn text_and_actions() {
    assert_eq!(command("hi there "), said(Kind::Text, "hi there "));
    assert_eq!(command("//me"), said(Kind::Text, "/me"));
    assert_eq!(command("/me waves"), said(Kind::Action, "waves"));
    assert_eq!(of_text("").unwrap(), None);
    assert_eq!(of_text("  ").unwrap(), None);
}

#[test]
fn names_are_found_by_case_prefix_and_alias() {
    assert_eq!(command("/WHO"), Command::Who);
    assert_eq!(command("/cloc"), Command::Clock);
    let stamp = Command::Stamp {
        mode: Some(Stamp::Lamport),
    };
    assert_eq!(command("/stam lamport"), stamp);
    assert_eq!(refusal("/sta"), "/sta could be /stamp or /status; /help lists them");
    let leave = Command::Leave {
        reason: "see you".into(),
    };
    for line in [
        "/leave see you",
        "/quit see you",
        "/EXIT  see you",
        "/q see you",
        "/l see you",
    ] {
        assert_eq!(command(line), leave, "{line}");
    }
    let history = |limit, text: Option<&str>| Command::History {
        limit,
        text: text.map(str::to_owned),
    };
    assert_eq!(command("/hi 5"), history(5, None));
    assert_eq!(command("/history two words"), history(HISTORY, Some("two words")));
    assert_eq!(command("/history 99999"), history(HISTORY_MAX, None));
    assert_eq!(command("/search 5"), history(HISTORY, Some("5")));
    assert_eq!(refusal("/w"), "/w could be /who or /why; /help lists them");
}

#[test]
fn a_topic_is_the_rest_of_the_line() {
    let create = |room: &str, ordered, topic: &str| {
        Command::Create(Create {
            room: room.into(),
            ordered,
            private: false,
            topic: topic.into(),
        })
    };
    assert_eq!(command("/create ops"), create("ops", false, ""));
    assert_eq!(
        command("/create #ops --ordered --topic  on call "),
        create("#ops", true, "on call")
    );
    assert_eq!(refusal("/create"), "usage: /create ROOM [--ordered] [--topic T]");
    assert_eq!(refusal("/create a b"), "usage: /create ROOM [--ordered] [--topic T]");
}

#[test]
fn unknown_commands_get_the_agreed_text() {
    assert_eq!(refusal("/foo"), "no command /foo (did you mean /me?); /help lists them");
    assert_eq!(
        refusal("/hepl"),
        "no command /hepl (did you mean /help?); /help lists them"
    );
    assert_eq!(
        refusal("/leaev"),
        "no command /leaev (did you mean /leave?); /help lists them"
    );
    assert_eq!(refusal("/wo"), "no command /wo (did you mean /who?); /help lists them");
    assert_eq!(refusal("/"), "no command / (did you mean /me?); /help lists them");
    let hostile = refusal("/\u{1b}[31m");
    assert!(hostile.chars().all(|c| !c.is_control()), "{hostile:?}");
    assert!(refusal(&format!("/{}", "x".repeat(100_000))).len() < 200);
}

#[test]
fn arguments_are_checked() {
    assert_eq!(refusal("/why"), "usage: /why ID");
    assert_eq!(refusal("/me"), "usage: /me TEXT");
    assert_eq!(refusal("/stamp blue"), "a stamp is vector, lamport, dense or none");
    assert!(refusal(&format!("/leave {}", "x".repeat(300))).starts_with("a reason has at most 256"));
    assert_eq!(command("/stamp"), Command::Stamp { mode: None });
    assert_eq!(command("/info"), Command::Info { id: None });
}
