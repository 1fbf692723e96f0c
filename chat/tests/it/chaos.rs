//! Faults on purpose among several chats: they show what causal order does, and never break it.

use serde_json::{Value, json};

use crate::harness::{Chat, Place, Registry};

fn of_three(place: &Place, registry: &Registry) -> [Chat; 3] {
    let chats = [("ana", ""), ("bob", ""), ("cyd", " --chaos")]
        .map(|(nick, flags)| place.chat(&format!("-n {nick}{flags} -r {}", registry.addr)));
    let ids = chats.each_ref().map(Chat::joined);
    chats.iter().for_each(|chat| chat.meets(&ids));
    chats
}

fn answer(chat: &mut Chat, ask: Value) -> Value {
    chat.ask(ask.clone());
    chat.wait_for(&ask.to_string(), |line| line["ref"] == ask["ref"])
}

#[test]
fn an_answer_to_what_is_late_is_held_and_why_says_what_it_waits_for() {
    let (place, registry) = (Place::new(), Registry::start());
    let [mut ana, mut bob, mut cyd] = of_three(&place, &registry);
    let late = json!({"do": "delay", "peer": "bob", "range": "3s-4s", "ref": "d"});
    assert_eq!(answer(&mut cyd, late)["delay_ms"], json!([3000, 4000]));
    bob.say("lunch?");
    let question = ana.wait_text("lunch?")["id"].clone();
    ana.say("yes");
    let held = cyd.wait_for("the answer is held", |line| line["type"] == "held" && line["held"] == 1);
    assert_eq!(held["needs"], json!([question]));
    let why = answer(&mut cyd, json!({"do": "why", "id": held["id"], "ref": "w"}));
    assert_eq!(why["state"], "held");
    assert_eq!(
        why["missing"][0]["origin"],
        json!(question.as_str().unwrap().rsplit_once(':').unwrap().0)
    );
    let ping = answer(&mut cyd, json!({"do": "ping", "peer": "bob", "ref": "p"}));
    assert!(ping["round_trip_us"].as_u64().unwrap() >= 3_000_000, "{ping}");
    let yes = cyd.wait_text("yes");
    assert!(yes["held_ms"].as_u64().unwrap() > 0);
    let info = answer(&mut cyd, json!({"do": "info", "id": yes["id"], "ref": "i"}));
    assert_eq!(info["held_ms"], yes["held_ms"]);
    let texts: Vec<_> = cyd
        .json()
        .into_iter()
        .filter(|line| line["type"] == "message")
        .collect();
    assert_eq!(
        texts.iter().map(|line| &line["text"]).collect::<Vec<_>>(),
        ["lunch?", "yes"]
    );
}

#[test]
fn whoever_is_cut_off_misses_nothing_when_that_heals() {
    let (place, registry) = (Place::new(), Registry::start());
    let [mut ana, _bob, mut cyd] = of_three(&place, &registry);
    let refused = answer(&mut ana, json!({"do": "heal", "ref": "no"}));
    assert_eq!(
        (&refused["type"], &refused["code"]),
        (&json!("error"), &json!("no_chaos"))
    );
    let cut = answer(&mut cyd, json!({"do": "partition", "groups": [["cyd"]], "ref": "c"}));
    assert_eq!(cut["cut"].as_array().unwrap().len(), 2);
    ana.say("unheard");
    cyd.say("alone");
    let silent = |line: &Value| line["type"] == "peer" && line["state"] == "silent";
    cyd.wait_for("silence", silent);
    ana.wait_for("silence", silent);
    assert!(cyd.json().iter().all(|line| line["text"] != "unheard"));
    assert!(ana.json().iter().all(|line| line["text"] != "alone"));
    assert_eq!(answer(&mut cyd, json!({"do": "heal", "ref": "h"}))["type"], "heal");
    // Neither side had seen what the other one said.
    let (unheard, alone) = (cyd.wait_text("unheard"), ana.wait_text("alone"));
    assert_eq!(unheard["concurrent"], json!([alone["id"]]));
    assert_eq!(alone["concurrent"], json!([unheard["id"]]));
    ana.say("cyd, there you are");
    let seen = cyd.wait_text("cyd, there you are");
    assert_eq!((&seen["concurrent"], &seen["mention"]), (&json!([]), &json!(true)));
}
