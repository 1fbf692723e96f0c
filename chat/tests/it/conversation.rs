//! People who talk: causality, equal stamps, one goodbye for all.

use std::collections::BTreeSet;

use serde_json::json;

use crate::harness::{Chat, Dice, Log, Place, Registry, judge};

const NAMES: [&str; 3] = ["ana", "bob", "cyd"];

fn three(place: &Place, registry: &Registry) -> Vec<Chat> {
    let chats: Vec<_> = NAMES
        .iter()
        .map(|name| place.chat(&format!("-n {name} -r {}", registry.addr)))
        .collect();
    let ids: Vec<_> = chats.iter().map(Chat::joined).collect();
    chats.iter().for_each(|chat| chat.meets(&ids));
    chats
}

/// All leave, one after the other; what is left behind is judged.
fn end(chats: Vec<Chat>) -> Vec<Log> {
    let logs = chats.into_iter().map(|chat| {
        let (lines, exit) = chat.leave();
        assert_eq!((exit.code, exit.stderr.as_str()), (Some(0), ""));
        Log { lines, ended: true }
    });
    let logs: Vec<_> = logs.collect();
    judge(&logs);
    logs
}

#[test]
fn three_hundred_messages_from_random_members() {
    let (place, registry, mut dice) = (Place::new(), Registry::start(), Dice::new());
    let mut chats = three(&place, &registry);
    let texts: Vec<_> = (0..300).map(|k| format!("message {k}")).collect();
    for text in &texts {
        chats[dice.below(3)].say(text);
    }
    for chat in &chats {
        texts.iter().for_each(|text| drop(chat.wait_text(text)));
    }
    let logs = end(chats);
    for log in &logs {
        let told = log.lines.iter().filter(|line| line["type"] == "message");
        let told: Vec<_> = told.map(|line| line["text"].as_str().unwrap().to_owned()).collect();
        assert_eq!(told.len(), texts.len());
        assert_eq!(
            told.into_iter().collect::<BTreeSet<_>>(),
            texts.iter().cloned().collect()
        );
    }
}

#[test]
fn sixty_answers_are_never_shown_before_their_questions() {
    let (place, registry, mut dice) = (Place::new(), Registry::start(), Dice::new());
    let mut chats = three(&place, &registry);
    for k in 0..60 {
        let asks = dice.below(3);
        let answers = (asks + 1 + dice.below(2)) % 3;
        chats[asks].say(&format!("question {k}"));
        let question = chats[answers].wait_text(&format!("question {k}"));
        let reply = json!({"do": "send", "text": format!("answer {k}"), "reply_to": question["id"], "ref": k});
        chats[answers].ask(reply);
        if dice.below(2) == 0 {
            chats[dice.below(3)].say(&format!("aside {k}"));
        }
    }
    for chat in &chats {
        (0..60).for_each(|k| drop(chat.wait_text(&format!("answer {k}"))));
    }
    for log in end(chats) {
        let at = |text: String| log.lines.iter().position(|line| line["text"] == text);
        for k in 0..60 {
            assert!(at(format!("question {k}")) < at(format!("answer {k}")), "{k}");
            let answer = &log.lines[at(format!("answer {k}")).unwrap()];
            assert_eq!(
                answer["reply_to"],
                log.lines[at(format!("question {k}")).unwrap()]["id"]
            );
        }
    }
}

#[test]
fn every_message_is_acknowledged_by_everyone() {
    let (place, registry) = (Place::new(), Registry::start());
    let mut chats = three(&place, &registry);
    for k in 0..20 {
        chats[k % 3].ask(json!({"do": "send", "text": "x", "ref": format!("r{k}")}));
    }
    for k in 0..20 {
        let is_ack = |state: &str| {
            let state = json!(state);
            move |line: &serde_json::Value| {
                line["type"] == "ack" && line["ref"] == format!("r{k}") && line["state"] == state
            }
        };
        let queued = chats[k % 3].wait_for("ack", is_ack("queued"));
        assert_eq!(queued["pending"].as_array().unwrap().len(), 2);
        let all = chats[k % 3].wait_for("ack of all", is_ack("all"));
        assert_eq!(all["acked"].as_array().unwrap().len(), 2);
    }
    end(chats);
}

#[test]
fn a_leave_has_the_same_logical_time_on_every_screen() {
    let (place, registry) = (Place::new(), Registry::start());
    let start = |name: &str| Chat::start(place.command(&format!("-n {name} -r {} --stay", registry.addr)));
    let mut chats: Vec<_> = NAMES.iter().map(|name| start(name)).collect();
    for chat in &chats {
        for name in NAMES {
            chat.wait_line(&format!("{name} in the room"), |line| {
                line.contains(&format!("Participant {name} ")).then_some(())
            });
        }
    }
    for name in NAMES {
        let told = format!("Participant {name} joined #lobby at logical time ");
        let times = chats
            .iter()
            .flat_map(Chat::lines)
            .filter_map(|line| Some(line.split_once(&told)?.1.to_owned()));
        let times: Vec<_> = times.collect();
        assert!(
            times.len() == 3 && times.iter().all(|time| *time == times[0]),
            "{name}: {times:?}"
        );
    }
    chats[0].write(b"see you soon\n/me waves\n/leave\n");
    let mut times = BTreeSet::new();
    for chat in &chats {
        times.insert(chat.wait_line("the leave", |line| {
            let told = line.split_once(" *** Participant ana left #lobby at logical time ")?;
            Some(told.1.to_owned())
        }));
    }
    assert_eq!(times.len(), 1, "{times:?}");
    assert!(times.first().unwrap().ends_with('.'));
    let exit = chats[0].wait();
    assert_eq!((exit.code, exit.stderr.as_str()), (Some(0), ""));
    let stamped: BTreeSet<_> = chats
        .iter()
        .map(|chat| {
            chat.wait_line("the message", |line| {
                Some(line.split_once(" #lobby <ana> ")?.1.to_owned())
            })
        })
        .collect();
    assert_eq!(stamped.len(), 1, "{stamped:?}");
    for chat in &chats {
        chat.wait_line("the action", |line| {
            line.contains(" #lobby * ana waves  [").then_some(())
        });
    }
}

#[test]
fn a_newcomer_is_told_who_is_there_and_hears_nothing_from_before() {
    let (place, registry) = (Place::new(), Registry::start());
    let mut chats = three(&place, &registry);
    chats[0].say("before");
    chats[2].wait_text("before");
    let dan = place.chat(&format!("-n dan -r {}", registry.addr));
    let id = dan.joined();
    chats.iter().for_each(|chat| chat.meets(std::slice::from_ref(&id)));
    let joins = |chat: &Chat| -> BTreeSet<_> {
        let joins = chat.json().into_iter().filter(|line| line["type"] == "join");
        joins
            .map(|line| (line["id"].to_string(), line["lamport"].as_u64()))
            .collect()
    };
    assert_eq!(dan.json().iter().filter(|line| line["replay"] == true).count(), 3);
    assert_eq!(joins(&dan), joins(&chats[0]));
    chats.push(dan);
    chats[1].say("after");
    chats.iter().for_each(|chat| drop(chat.wait_text("after")));
    let logs = end(chats);
    assert!(!logs[3].lines.iter().any(|line| line["text"] == "before"));
}

#[test]
fn a_slow_reader_loses_nothing() {
    const COUNT: usize = 3000;
    let (place, registry) = (Place::new(), Registry::start());
    let mut ana = place.chat(&format!("-n ana -r {}", registry.addr));
    let mut slow = Chat::start_unread(place.command(&format!("--json --input json -n bob -r {}", registry.addr)));
    let id = ana.joined();
    ana.wait_for("bob", |line| line["type"] == "join" && line["from"]["nick"] == "bob");
    for k in 0..COUNT {
        ana.say(&format!("message {k}"));
    }
    ana.wait_text(&format!("message {}", COUNT - 1));
    slow.read_stdout();
    slow.meets(&[id]);
    slow.wait_text(&format!("message {}", COUNT - 1));
    let logs = end(vec![slow, ana]);
    let told = logs[0].lines.iter().filter(|line| line["type"] == "message");
    assert_eq!(told.count(), COUNT);
}
