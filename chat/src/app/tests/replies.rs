//! Answers to messages.

use super::*;

/// The posts that are sent, and which messages they answer.
fn sent(out: &[Output]) -> Vec<(String, Option<Dot>)> {
    let post = |output: &Output| match output {
        Output::Send { payload, reply_to, .. } => {
            let post = Post::decode(payload).unwrap();
            assert_eq!(post.reply_to, *reply_to);
            Some((post.text, post.reply_to))
        }
        _ => None,
    };
    out.iter().filter_map(post).collect()
}

fn dot(of: &Member, seq: u64) -> Dot {
    Dot { origin: of.id, seq }
}

#[test]
fn a_reply_names_what_it_answers() {
    let mut room = Stage::of_three();
    let typed = |line: &str| Input::TextLine(line.into());
    assert_eq!(
        room.text(typed("/reply yes")),
        "*** nobody else has said anything here yet"
    );
    room.take(said(bob(), Post::text("lunch?"), 4, &[(&bob(), 2)]));
    room.take(said(cyd(), Post::text("where?"), 5, &[(&cyd(), 2)]));
    room.take(said(ana(), Post::text("hm"), 6, &[(&ana(), 2)]));
    let newest = Some(dot(&cyd(), 2));
    assert_eq!(
        sent(&room.take(typed("/reply at the river"))),
        [("at the river".into(), newest)]
    );
    assert_eq!(
        sent(&room.take(typed("/re 10:30 is fine"))),
        [("10:30 is fine".into(), newest)]
    );
    let bobs = Some(dot(&bob(), 2));
    assert_eq!(sent(&room.take(typed("/reply bob:2  yes"))), [("yes".into(), bobs)]);
    let json = r#"{"do":"reply","id":"bob#c0de44aa:2","text":"yes"}"#;
    assert_eq!(sent(&room.take(Input::JsonLine(json.into()))), [("yes".into(), bobs)]);
    assert_eq!(room.text(typed("/reply bob:2")), "*** usage: /reply [ID] TEXT");
    assert_eq!(
        room.text(typed("/reply bbo:2 yes")),
        "*** nobody here is called bbo; /who lists the names"
    );
}

#[test]
fn a_reply_is_shown_with_what_it_answers() {
    let mut room = Stage::of_three();
    room.take(said(bob(), Post::text("lunch?"), 4, &[(&bob(), 2)]));
    let reply = Post {
        reply_to: Some(dot(&bob(), 2)),
        ..Post::text("yes")
    };
    let reply = said(cyd(), reply, 5, &[(&bob(), 2), (&cyd(), 2)]);
    assert_eq!(
        room.text(reply.clone()),
        "10:02:09 #lobby <cyd> re bob:2: yes  [bob:2 cyd:2]"
    );
    assert_eq!(room.json(reply)[0]["reply_to"], "bob#c0de44aa:2");
}
