//! Several users of one machine: each has a home, and whoever runs the registry lets others in, once.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use super::refused;
use crate::harness::{Chat, Log, Operator, Place, Run, judge};

/// A chat that needs no flags, and serves the registry for its user.
fn first(place: &Place) -> Chat {
    let chat = place.chat("-n ana");
    chat.joined();
    chat
}

fn operator(place: &Place) -> Operator {
    Operator::new(&place.default_registry, &place.publications())
}

/// Everything below a directory that is no directory itself.
fn files(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] })
        .collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn another_user_of_the_machine_is_a_stranger() {
    let place = Place::alone();
    let mut ana = first(&place);
    ana.say("for friends");
    ana.wait_text("for friends");
    let stranger = place.beside();
    for args in [
        "-n bob",
        "-n bob --json",
        "who",
        "who --json",
        "send hello",
        "tail --count 1",
    ] {
        let run = stranger.run(args, "hello\n");
        let words = refused(&run);
        assert!(words.contains("is not of this user"), "{args}: {words}");
        assert!(
            words.contains("ask for an invite (`nodesetd invite`) and use --invite"),
            "{args}: {words}"
        );
        for of_the_first in ["ana", "for friends"] {
            assert!(!run.stdout.contains(of_the_first), "{args}: {}", run.stdout);
        }
    }
    let (lines, exit) = ana.leave();
    assert_eq!(exit.code, Some(0), "{}", exit.stderr);
    let others = lines
        .iter()
        .filter(|line| line["type"] == "join" && line["self"] != true);
    assert_eq!(others.count(), 0);
}

#[test]
fn an_invite_is_for_one_home_and_needed_once() {
    let place = Place::alone();
    let mut ana = first(&place);
    let invite = operator(&place).invite(1);

    let second = place.beside();
    let mut bob = second.chat(&format!("-n bob --invite {invite}"));
    ana.meets(&[bob.joined()]);
    bob.say("hello, ana");
    ana.wait_text("hello, ana");
    ana.say("hello, bob");
    bob.wait_text("hello, bob");

    let third = place.beside();
    let words = refused(&third.run(&format!("-n cyd --invite {invite}"), ""));
    assert!(
        words.contains("the invite is used up (1 of 1): ask for another"),
        "{words}"
    );

    let (lines, exit) = bob.leave();
    assert_eq!(exit.code, Some(0), "{}", exit.stderr);
    let mut logs = vec![Log { lines, ended: true }];
    // Nothing is named this time: not the invite, and not the registry either.
    let mut bob = second.chat("-n bob");
    ana.meets(&[bob.joined()]);
    bob.say("back again");
    ana.wait_text("back again");
    logs.extend([bob, ana].map(|chat| {
        let (lines, exit) = chat.leave();
        assert_eq!(exit.code, Some(0), "{}", exit.stderr);
        Log { lines, ended: true }
    }));
    judge(&logs);

    let keys = second.home().join(".local/share/nodeset/bob/keys");
    let kept = files(&keys);
    assert!(kept.len() >= 2, "a profile's key and a credential: {kept:?}");
    assert_eq!(mode(&keys), 0o700);
    kept.iter().for_each(|file| assert_eq!(mode(file), 0o600, "{file:?}"));
    let told = invite.to_string();
    let secret = told.as_bytes();
    for file in files(second.home()) {
        let bytes = fs::read(&file).unwrap();
        assert!(!bytes.windows(secret.len()).any(|window| window == secret), "{file:?}");
    }
}

#[test]
fn an_ephemeral_guest_keeps_nothing() {
    let place = Place::alone();
    let ana = first(&place);
    let invite = operator(&place).invite(1);
    let guest = place.beside();
    let bob = guest.chat(&format!("-n bob --ephemeral --invite {invite}"));
    ana.meets(&[bob.joined()]);
    assert_eq!(bob.leave().1.code, Some(0));
    let kept = files(guest.home());
    assert!(kept.is_empty(), "{kept:?}");
    let words = refused(&guest.run("-n bob --ephemeral", ""));
    assert!(words.contains("use --invite"), "{words}");
}

#[test]
fn other_commands_of_an_invited_home_work() {
    let place = Place::alone();
    let mut ana = first(&place);
    let guest = place.beside();
    // The invite may be used by any command.
    let invite = operator(&place).invite(1);
    let who = guest.run(&format!("-n bob --invite {invite} who"), "");
    assert_eq!(who.exit.code, Some(0), "{}", who.exit.stderr);
    assert!(who.stdout.starts_with("ana#"), "{}", who.stdout);
    let who = guest.run("-n bob who", "");
    assert_eq!(who.exit.code, Some(0), "{}", who.exit.stderr);
    assert!(who.stdout.starts_with("ana#"), "{}", who.stdout);

    let sent = guest.run("-n bob send from a script", "");
    assert_eq!(sent.exit.code, Some(0), "{}", sent.exit.stderr);
    assert_eq!(ana.wait_text("from a script")["from"]["nick"], "bob");

    let mut tail = Chat::start(guest.command("-n bob tail --count 1"));
    ana.wait_for("the listener", |line| {
        line["type"] == "control" && line["from"]["nick"] == "bob.listener"
    });
    ana.say("to a script");
    assert_eq!(tail.wait().code, Some(0));
    assert!(tail.lines()[0].contains("<ana> to a script"), "{:?}", tail.lines());
}

#[test]
fn who_tells_profiles_apart() {
    let place = Place::alone();
    let mut ana = first(&place);
    let bob = place.chat("-n bob");
    let nobody = place.chat("-n bob --ephemeral");
    let ids = [bob.joined(), nobody.joined()];
    ana.meets(&ids);
    let profile_of = |chat: &mut Chat, asked: &str, id: &str| {
        chat.ask(json!({"do": "who", "ref": asked}));
        let who = chat.wait_for("answer", |line| line["type"] == "who" && line["ref"] == *asked);
        let members = who["members"].as_array().unwrap().clone();
        let member = members.into_iter().find(|member| member["id"] == *id).unwrap();
        member["profile"].as_str().map(str::to_owned)
    };
    let own = ana.joined();
    let (of_ana, of_bob) = (profile_of(&mut ana, "1", &own), profile_of(&mut ana, "2", &ids[0]));
    assert!(
        of_ana.is_some() && of_bob.is_some() && of_ana != of_bob,
        "{of_ana:?} {of_bob:?}"
    );
    assert_eq!(profile_of(&mut ana, "3", &ids[1]), None);
    // It outlives the process.
    assert_eq!(bob.leave().1.code, Some(0));
    let bob = place.chat("-n bob");
    let id = bob.joined();
    ana.meets(std::slice::from_ref(&id));
    assert_eq!(profile_of(&mut ana, "4", &id), of_bob);
}

/// The account that owns nothing.
const NOBODY: u32 = 65_534;

/// That command as another account's, if this one may start such processes.
fn as_nobody(mut command: Command) -> Command {
    command.uid(NOBODY).gid(NOBODY).current_dir("/");
    command
}

/// The chat of another account, whose home that place is. Where the binary lies that account may not go.
fn nobodys(place: &Place, args: &str) -> Command {
    let binary = place.home().join("binary");
    if !binary.exists() {
        fs::copy(env!("CARGO_BIN_EXE_chat"), &binary).expect("room for a copy");
        std::os::unix::fs::chown(place.home(), Some(NOBODY), Some(NOBODY)).expect("this is root");
    }
    let made = place.command(args);
    let mut command = Command::new(binary);
    command.args(made.get_args());
    for (name, value) in made.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    as_nobody(command)
}

/// Two accounts of the system, not only two homes.
#[test]
fn another_account_needs_an_invite_and_reads_no_secret() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can start a process of another account");
        return;
    }
    let place = Place::alone();
    let mut ana = first(&place);
    let theirs = place.beside();
    let words = refused(&Run::of(nobodys(&theirs, "-n bob")));
    assert!(words.contains("is not of this user"), "{words}");

    // The homes are open to all; what is in them is not.
    fs::set_permissions(place.home(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    let state = place.publications();
    let secrets = [
        place.home().join(".local/share/nodeset/ana/keys"),
        state.with_file_name("authority"),
        state,
    ];
    for dir in secrets {
        let kept = files(&dir);
        assert!(!kept.is_empty(), "{dir:?} has secrets");
        for file in kept {
            let mut cat = Command::new("cat");
            cat.arg(&file);
            let read = as_nobody(cat).output().expect("there is a cat");
            assert!(!read.status.success() && read.stdout.is_empty(), "{file:?} can be read");
        }
    }

    let invite = operator(&place).invite(1);
    let mut bob = Chat::start(nobodys(
        &theirs,
        &format!("--json --input json -n bob --invite {invite}"),
    ));
    ana.meets(&[bob.joined()]);
    bob.say("from another account");
    ana.wait_text("from another account");
    ana.say("welcome");
    bob.wait_text("welcome");
    assert_eq!(bob.leave().1.code, Some(0));

    let other = place.beside();
    let words = refused(&Run::of(nobodys(&other, &format!("-n cyd --invite {invite}"))));
    assert!(words.contains("the invite is used up (1 of 1)"), "{words}");
}
