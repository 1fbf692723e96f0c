//! The other commands: `send`, `tail`, `who`, and those that only print.

use serde_json::{Value, json};

use crate::harness::{Chat, Place};

#[test]
fn send_ends_when_everyone_has_it() {
    let place = Place::new();
    let ana = place.chat("-n ana");
    ana.joined();
    let run = place.run("send hello there", "");
    assert_eq!(
        (run.exit.code, run.exit.stderr.as_str(), run.stdout.as_str()),
        (Some(0), "", "")
    );
    let said = ana.wait_text("hello there");
    assert_eq!(said["from"]["nick"], "ursula");
    let run = place.run(
        &format!("send --reply-to {} -", said["id"].as_str().unwrap()),
        "two\nlines\n",
    );
    assert_eq!(run.exit.code, Some(0), "{}", run.exit.stderr);
    assert_eq!(ana.wait_text("two\nlines")["reply_to"], said["id"]);
    let run = place.run("send --reply-to nobody:1 hello", "");
    assert_eq!(run.exit.code, Some(2));
    assert_eq!(
        run.exit.stderr,
        "chat: nobody here is called nobody; /who lists the names\n"
    );
}

#[test]
fn send_with_nobody_there_says_so() {
    let place = Place::new();
    let run = place.run("send hello", "");
    assert_eq!(run.exit.code, Some(3));
    let _ana = place.chat("-n ana --room elsewhere");
    _ana.joined();
    let run = place.run("send hello", "");
    assert_eq!(run.exit.code, Some(3));
    assert!(run.exit.stderr.contains("nobody is in #lobby"), "{}", run.exit.stderr);
}

#[test]
fn tail_prints_messages_and_ends_after_some() {
    let place = Place::new();
    let mut ana = place.chat("-n ana");
    ana.joined();
    let mut tail = Chat::start(place.command("tail --count 2"));
    // It is counted, and nobody sees it come.
    ana.wait_for("the listener", |line| {
        line["type"] == "control" && line["from"]["nick"] == "ursula.listener"
    });
    ana.ask(json!({"do": "who", "ref": "w"}));
    let who = ana.wait_for("who is here", |line| line["type"] == "who");
    assert_eq!(
        (who["members"].as_array().unwrap().len(), &who["listeners"]),
        (1, &json!(1))
    );
    let who = place.run("--json -n eve who", "");
    let rows: Vec<Value> = who
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        (rows[1]["members"].as_array().unwrap().len(), &rows[1]["listeners"]),
        (1, &json!(1))
    );
    for text in ["one", "two", "three"] {
        ana.say(text);
    }
    assert_eq!(tail.wait().code, Some(0));
    let lines = tail.lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(
        lines[0].ends_with(" #lobby <ana> one  [ana:2]") && lines[1].contains("<ana> two"),
        "{lines:?}"
    );
    // Nobody sees it go, either; each of its messages has its line.
    let gone = |line: &Value| line["type"] == "control" && line["id"].as_str().unwrap().ends_with(":2");
    ana.wait_for("its end", gone);
    let (lines, _) = ana.leave();
    let others = lines.iter().filter(|line| line["from"]["nick"] == "ursula.listener");
    assert!(others.clone().all(|line| line["type"] == "control"));
    assert_eq!(others.count(), 2);
}

#[test]
fn who_lists_the_members_of_a_room() {
    let place = Place::new();
    let chats = [
        place.chat("-n ana"),
        place.chat("-n bob"),
        place.chat("-n cyd --room other"),
    ];
    let ids = chats.each_ref().map(Chat::joined);
    let run = place.run("who", "");
    assert_eq!(run.exit.code, Some(0), "{}", run.exit.stderr);
    let mut listed: Vec<_> = run
        .stdout
        .lines()
        .filter_map(|line| Some(line.split_once('\t')?.0))
        .collect();
    listed.sort_unstable();
    assert_eq!(listed, [&ids[0], &ids[1]]);
}

#[test]
fn who_asks_a_peer_where_there_is_no_registry() {
    let place = Place::new();
    let ana = place.chat("-n ana");
    let id = ana.joined();
    let hello = ana.wait_for("hello", |line| line["type"] == "hello");
    let addr = hello["addr"].as_str().unwrap();
    let run = place.run(&format!("who -p {addr}"), "");
    assert_eq!(run.exit.code, Some(0), "{}", run.exit.stderr);
    assert_eq!(run.stdout, format!("{id}\t{addr}"));
    let run = place.run(&format!("--json who -p {addr}"), "");
    let lines: Vec<Value> = run
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let types: Vec<_> = lines.iter().map(|line| line["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["hello", "who", "bye"]);
    assert_eq!(
        (&lines[1]["members"][0]["id"], &lines[1]["listeners"]),
        (&json!(id), &json!(0))
    );
    // Nobody saw them come and go.
    let (lines, _) = ana.leave();
    assert_eq!(lines.iter().filter(|line| line["type"] == "join").count(), 1);
    assert_eq!(lines.iter().filter(|line| line["type"] == "leave").count(), 1);
    let alone = place.run("who -p 127.0.0.1:9", "");
    assert_eq!(alone.exit.code, Some(3), "{}", alone.exit.stderr);
}

#[test]
fn settings_come_from_flag_environment_file_and_default() {
    let place = Place::new();
    let directory = place.home().join(".config/nodeset");
    std::fs::create_dir_all(&directory).unwrap();
    let file = "room = \"fromfile\"\nlinger = \"9s\"\nstamp = \"dense\"\n";
    std::fs::write(directory.join("chat.toml"), file).unwrap();
    let mut command = place.command("config --stamp none --json");
    command.env("CHAT_LINGER", "7s").env("CHAT_OUTPUT", "text");
    let mut config = Chat::start(command);
    assert_eq!(config.wait().code, Some(0));
    let lines = config.lines();
    let row = |name: &str| lines.iter().find(|line| line.starts_with(name)).unwrap().clone();
    assert_eq!(row("stamp"), "stamp = \"none\"  (flag)");
    assert_eq!(row("output"), "output = \"json\"  (flag)");
    assert_eq!(row("linger"), "linger = \"7s\"  (environment)");
    assert!(
        row("room").starts_with("room = \"fromfile\"  (file "),
        "{}",
        row("room")
    );
    assert_eq!(row("grace"), "grace = \"60s\"  (default)");
    std::fs::write(directory.join("chat.toml"), "rom = \"x\"\n").unwrap();
    let run = place.run("config", "");
    assert_eq!(run.exit.code, Some(2));
    assert!(run.exit.stderr.contains("unknown field `rom`"), "{}", run.exit.stderr);
}

#[test]
fn usage_errors_have_code_two_and_no_control_characters() {
    let place = Place::new();
    let bad = [
        "-n\u{1b}[31m",
        "-na\nb",
        "--stamp=\u{1b}",
        "--linger=soon",
        "--ui=tui",
        "nonsense",
        "--room=a\u{202e}",
    ];
    for argument in bad {
        let mut command = place.command("");
        command.arg(argument);
        let mut chat = Chat::start(command);
        let exit = chat.wait();
        assert_eq!(exit.code, Some(2), "{argument:?}: {}", exit.stderr);
        assert!(chat.lines().is_empty());
        let steers = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!exit.stderr.contains(steers), "{:?}", exit.stderr);
    }
}

#[test]
fn completions_and_the_manual_are_printed() {
    let place = Place::new();
    for args in [
        "completions bash",
        "completions zsh",
        "completions fish",
        "man",
        "--help",
        "--version",
    ] {
        let run = place.run(args, "");
        assert_eq!((run.exit.code, run.exit.stderr.as_str()), (Some(0), ""), "{args}");
        assert!(run.stdout.contains("chat"), "{args}");
    }
}

#[test]
fn the_doctor_says_what_is_fine_and_what_to_do() {
    let place = Place::new();
    let healthy = place.run("doctor", "");
    assert_eq!(healthy.exit.code, Some(0), "{}", healthy.stdout);
    assert!(
        healthy.stdout.contains("nobody serves one; the next chat does"),
        "{}",
        healthy.stdout
    );
    let ana = place.chat("-n ana");
    ana.joined();
    let running = place.run("-n ana doctor", "");
    assert_eq!(running.exit.code, Some(0), "{}", running.stdout);
    for part in [
        "in use by a running chat",
        "a chat answers on",
        ": 1 peer registered",
        ": can be dialled",
    ] {
        assert!(running.stdout.contains(part), "no {part:?} in {}", running.stdout);
    }
    let addr = ana.wait_for("hello", |line| line["type"] == "hello")["addr"]
        .as_str()
        .unwrap()
        .to_owned();
    let taken = place.run(&format!("-n bob -l {addr} doctor"), "");
    assert_eq!(taken.exit.code, Some(1));
    assert!(taken.stdout.contains("choose another --listen"), "{}", taken.stdout);
    let nobody = place.run("--json -r 127.0.0.1:9 doctor", "");
    assert_eq!(nobody.exit.code, Some(3), "{}", nobody.stdout);
    assert!(
        nobody.exit.stderr.contains("checks found something to do"),
        "{}",
        nobody.exit.stderr
    );
    let said = |line: &str| line.contains("\"type\":\"error\"") && line.contains("Start it with `nodesetd --listen");
    assert!(nobody.stdout.lines().any(said), "{}", nobody.stdout);
}
