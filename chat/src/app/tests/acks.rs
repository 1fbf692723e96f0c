//! Who has what, and who is waited for.

use super::*;

#[test]
fn acks_go_from_queued_to_all() {
    let mut room = Stage::of_three();
    let dot = Dot {
        origin: ana().id,
        seq: 2,
    };
    let sent = inside(Inside::Sent {
        dot,
        reference: Some("x1".into()),
    });
    let state_of = |acks: &[Value]| -> Vec<String> {
        let line = |ack: &Value| format!("{} {} {}", ack["state"], ack["acked"], ack["pending"]);
        acks.iter().map(line).map(|line| line.replace('"', "")).collect()
    };
    let queued = room.json(sent);
    assert_eq!(queued[0]["ref"], "x1");
    assert_eq!(state_of(&queued), ["queued [] [cyd#11aa90ff,bob#c0de44aa]"]);
    let roster = |bob_has, cyd_has| {
        inside(Inside::Roster(vec![
            state(ana(), 9),
            state(bob(), bob_has),
            state(cyd(), cyd_has),
        ]))
    };
    assert_eq!(state_of(&room.json(roster(1, 1))), Vec::<String>::new());
    assert_eq!(
        state_of(&room.json(roster(2, 1))),
        ["partial [bob#c0de44aa] [cyd#11aa90ff]"]
    );
    assert_eq!(state_of(&room.json(roster(2, 1))), Vec::<String>::new());
    assert!(room.app.is_waiting_for_confirmation());
    assert_eq!(
        state_of(&room.json(roster(2, 2))),
        ["all [cyd#11aa90ff,bob#c0de44aa] []"]
    );
    assert!(!room.app.is_waiting_for_confirmation());
}

#[test]
fn who_leaves_is_not_waited_for() {
    let mut room = Stage::of_three();
    let dot = Dot {
        origin: ana().id,
        seq: 2,
    };
    room.take(inside(Inside::Sent { dot, reference: None }));
    room.take(inside(Inside::Roster(vec![state(bob(), 2), state(cyd(), 1)])));
    let left = Event::Left {
        member: cyd(),
        reason: String::new(),
        stamp: stamp(&cyd(), 12, &[(&cyd(), 2)]),
    };
    let told = room.json(heard(left));
    assert_eq!((&told[0]["type"], &told[1]["state"]), (&json!("leave"), &json!("all")));
}

#[test]
fn leaving_says_who_has_not_confirmed() {
    let mut room = Stage::of_three();
    let dot = Dot {
        origin: ana().id,
        seq: 2,
    };
    room.take(inside(Inside::Sent { dot, reference: None }));
    room.take(inside(Inside::Roster(vec![state(bob(), 2), state(cyd(), 1)])));
    let leave = room.take(Input::TextLine("/leave".into()));
    assert_eq!(leave, [Output::Leave { reason: String::new() }]);
    assert_eq!(
        room.text(Input::StillLeaving),
        "*** 1 message not confirmed by cyd. Waiting 5 s; /leave again to go now."
    );
    let refused = room.text(Input::TextLine("one more thing".into()));
    assert_eq!(refused, "*** you are leaving; nothing more can be sent");
    assert_eq!(room.take(Input::TextLine("/leave".into())), [Output::LeaveNow]);
}
