//! What is kept: histories that outlive `kill -9`, are the same for everybody, are exported and restored.

use std::collections::{BTreeMap, BTreeSet};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Chat, Dice, Place, Registry, rounds};

const NAMES: [&str; 5] = ["ana", "bob", "cyd", "dan", "eve"];
/// The first so many of them are killed.
const MORTAL: usize = 3;
/// What a chat says in a round, at most.
const BURST: u64 = 40;

/// The history of a profile as lines of text, messages only; also while its chat runs.
fn messages(place: &Place, name: &str) -> Vec<String> {
    let run = place.run(&format!("history -n {name} --stamp vector"), "");
    assert_eq!(run.exit.code, Some(0), "{}", run.exit.stderr);
    let said = run.stdout.lines().filter(|line| line.contains("> "));
    said.map(str::to_owned).collect()
}

/// Texts that this chat was told are at least `queued`.
fn confirmed(lines: &[Value], texts: &BTreeMap<String, String>) -> BTreeSet<String> {
    let acks = lines.iter().filter(|line| line["type"] == "ack");
    let kept = acks.filter(|line| line["state"] != "failed");
    kept.filter_map(|line| texts.get(line["ref"].as_str()?))
        .cloned()
        .collect()
}

fn say(chat: &mut Chat, text: &str) {
    chat.ask(json!({"do": "send", "text": text, "ref": text}));
}

#[test]
fn a_history_is_read_while_the_chat_runs_and_after() {
    let (place, registry) = (Place::new(), Registry::start());
    let mut ana = place.chat(&format!("-n ana -r {}", registry.addr));
    ana.joined();
    let none = place.run("history -n nobody", "");
    assert_eq!((none.exit.code, none.stdout.as_str()), (Some(0), ""));
    for text in ["lunch at one?", "no answer", "Lunch then"] {
        say(&mut ana, text);
    }
    ana.wait_text("Lunch then");
    let found = |args: &str| {
        let run = place.run(&format!("history -n ana --json {args}"), "");
        assert_eq!(run.exit.code, Some(0), "{}", run.exit.stderr);
        let lines = run
            .stdout
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let texts = lines
            .filter(|line| line["type"] == "message")
            .map(|line| line["text"].as_str().unwrap().to_owned());
        texts.collect::<Vec<_>>()
    };
    let all = ["lunch at one?", "no answer", "Lunch then"];
    assert_eq!(found(""), all);
    assert_eq!(found("-g lunch"), ["lunch at one?", "Lunch then"]);
    assert_eq!(found("--limit 1"), ["Lunch then"]);
    assert_eq!(found("--from ana --since 1h"), all);
    assert!(found("--from bob").is_empty());
    assert_eq!(ana.leave().1.code, Some(0));
    assert_eq!(found("--order delivery"), all);
    assert!(found("--room ops").is_empty());
    let wrong = place.run("history -n ana --since tomorrow-ish", "");
    assert_eq!(wrong.exit.code, Some(2));
}

#[test]
fn a_store_that_cannot_be_used_is_said_with_a_cure() {
    let (place, registry) = (Place::new(), Registry::start());
    let start = |args: &str| place.chat(&format!("{args} -r {}", registry.addr));
    let mut ana = start("-n ana");
    ana.joined();
    say(&mut ana, "keep this");
    ana.wait_text("keep this");
    let path = place.home().join(".local/share/nodeset/ana/history.db");
    let second = place.run(&format!("-n bob --store {} -r {}", path.display(), registry.addr), "");
    assert_eq!(second.exit.code, Some(7), "{}", second.exit.stderr);
    assert!(second.exit.stderr.contains("in use"), "{}", second.exit.stderr);
    assert_eq!(ana.leave().1.code, Some(0));
    let export = place.run("export -n ana -f jsonl", "");
    let file = place.home().join("ana.jsonl");
    std::fs::write(&file, &export.stdout).expect("writable");
    let before = messages(&place, "ana");

    std::fs::write(&path, b"").expect("writable");
    for args in ["history -n ana".to_owned(), format!("-n ana -r {}", registry.addr)] {
        let run = place.run(&args, "");
        assert_eq!(run.exit.code, Some(7), "{args}: {}", run.exit.stderr);
        assert!(run.exit.stderr.contains("move it away"), "{}", run.exit.stderr);
    }
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{end}", path.display()));
    }
    let restored = place.run(&format!("history -n ana --restore {}", file.display()), "");
    assert_eq!(restored.exit.code, Some(0), "{}", restored.exit.stderr);
    assert!(restored.exit.stderr.contains("restored"), "{}", restored.exit.stderr);
    assert_eq!(messages(&place, "ana"), before);
}

#[test]
fn who_keeps_nothing_has_no_history() {
    let (place, registry) = (Place::new(), Registry::start());
    let mut ana = place.chat(&format!("-n ana --ephemeral -r {}", registry.addr));
    ana.joined();
    say(&mut ana, "for now");
    ana.wait_text("for now");
    assert_eq!(ana.leave().1.code, Some(0));
    assert!(messages(&place, "ana").is_empty());
}

/// Whoever said it died before anyone else could have it.
#[test]
fn what_only_the_dead_had_reaches_the_others_in_its_place() {
    let (place, registry) = (Place::new(), Registry::start());
    let start = |name: &str| place.chat(&format!("-n {name} -r {}", registry.addr));
    let mut ana = start("ana");
    ana.joined();
    say(&mut ana, "first");
    ana.wait_text("first");
    ana.signal(Signal::KILL);
    ana.wait();
    let bob = start("bob");
    bob.joined();
    let mut again = start("ana");
    let id = again.joined();
    bob.meets(&[id]);
    say(&mut again, "second");
    bob.wait_text("second");
    // What others say is saved a little after it is shown; all of it when the chat has ended.
    [bob, again]
        .into_iter()
        .for_each(|chat| assert_eq!(chat.leave().1.code, Some(0)));
    let texts = messages(&place, "bob");
    assert!(texts.iter().any(|line| line.contains("> first")), "{texts:#?}");
    assert_eq!(texts, messages(&place, "ana"));
}

/// `kill -9` at any instant, one after the other. Those who are never killed have everything, and the same; the others
/// lack what was said while they were away, and nothing else.
#[test]
fn what_was_confirmed_survives_kill_9() {
    let (place, registry) = (Place::new(), Registry::start());
    let mut dice = Dice::new();
    let start = |name: &str| place.chat(&format!("-n {name} -r {}", registry.addr));
    let mut chats: Vec<Chat> = NAMES.iter().map(|name| start(name)).collect();
    let ids: Vec<_> = chats.iter().map(Chat::joined).collect();
    chats.iter().for_each(|chat| chat.meets(&ids));
    let (mut said, mut kept) = (BTreeMap::new(), BTreeSet::new());
    let mut own = vec![BTreeSet::new(); NAMES.len()];
    let rounds = rounds();
    for round in 0..rounds {
        let victim = dice.below(MORTAL);
        let last = dice.below(BURST as usize) as u64;
        for (chat, name) in chats.iter_mut().zip(NAMES) {
            for nth in 0..BURST {
                let text = format!("{name} {round} {nth}");
                said.insert(text.clone(), text.clone());
                say(chat, &text);
            }
        }
        // Somewhere in its burst, as far as others have heard of it or as it has shown by itself.
        let heard = dice.below(NAMES.len());
        chats[heard].wait_text(&format!("{} {round} {last}", NAMES[victim]));
        chats[victim].signal(Signal::KILL);
        chats[victim].wait();
        own[victim].extend(confirmed(&chats[victim].json(), &said));
        chats[victim] = start(NAMES[victim]);
        let id = chats[victim].joined();
        chats.iter().for_each(|chat| chat.meets(std::slice::from_ref(&id)));
    }
    for (chat, name) in chats.iter_mut().zip(NAMES) {
        let end = format!("the end of {name}");
        said.insert(end.clone(), end.clone());
        say(chat, &end);
    }
    for (chat, own) in chats.iter().zip(&mut own) {
        NAMES
            .iter()
            .for_each(|name| drop(chat.wait_text(&format!("the end of {name}"))));
        own.extend(confirmed(&chat.json(), &said));
        kept.extend(own.iter().cloned());
    }
    chats
        .into_iter()
        .for_each(|chat| assert_eq!(chat.leave().1.code, Some(0)));
    let histories: Vec<_> = NAMES.iter().map(|name| messages(&place, name)).collect();
    let whole = histories.last().expect("one of each");
    for (nth, (history, name)) in histories.iter().zip(NAMES).enumerate() {
        let texts: BTreeSet<&str> = history.iter().filter_map(|line| text_of(line)).collect();
        assert_eq!(texts.len(), history.len(), "{name} has a message twice");
        let expected = if nth < MORTAL { &own[nth] } else { &kept };
        let lost: Vec<_> = expected.iter().filter(|text| !texts.contains(text.as_str())).collect();
        assert!(lost.is_empty(), "{name} lacks {lost:?}");
        let mut rest = whole.iter();
        let in_place = |line: &String| rest.any(|other| other == line);
        assert!(
            history.iter().all(in_place),
            "{name} has another order than {}",
            NAMES[4]
        );
        assert!(nth < MORTAL || history == whole, "{name} and {} differ", NAMES[4]);
    }
    println!("{rounds} rounds of kill -9: {} messages confirmed and kept", kept.len());
}

/// `10:02:11 #lobby <ana> text  [ana:2]`
fn text_of(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("> ")?;
    Some(rest.rsplit_once("  [")?.0)
}
