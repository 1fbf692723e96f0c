//! Off loopback, and without a home.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::harness::{Chat, Place, Registry, Run, free_addr};

#[test]
fn any_address_can_be_listened_on_and_another_advertised() {
    let home = Place::alone();
    let registry = Registry::of(&home);
    let port = free_addr().rsplit_once(':').unwrap().1.to_owned();
    let ana = home.chat(&format!(
        "-n ana -r {} -l 0.0.0.0:{port} --advertise 127.0.0.1:{port}",
        registry.addr
    ));
    let hello = ana.wait_for("hello", |line| line["type"] == "hello");
    assert_eq!(hello["addr"], format!("127.0.0.1:{port}"));
    let mut bob = home.chat(&format!("-n bob -r {}", registry.addr));
    let ids = [ana.joined(), bob.joined()];
    ana.meets(&ids);
    bob.meets(&ids);
    bob.say("through the advertised address");
    ana.wait_text("through the advertised address");
    assert_eq!(ana.stderr(), "");
}

#[test]
fn an_address_that_nobody_can_dial_is_not_registered() {
    let home = Place::alone();
    let registry = Registry::of(&home);
    let run = home.run(&format!("-n ana -r {} -l 0.0.0.0:0", registry.addr), "");
    assert_eq!(run.exit.code, Some(2), "{run:?}");
    assert!(
        run.exit.stderr.contains("see --listen and --advertise"),
        "{}",
        run.exit.stderr
    );
}

#[test]
fn whoever_dials_need_not_be_dialled() {
    let home = Place::alone();
    let bob = home.chat("-n bob");
    let mut ana = home.chat(&format!("-n ana -l 0.0.0.0:0 -p {}", super::addr(&bob)));
    let ids = [ana.joined(), bob.joined()];
    ana.meets(&ids);
    bob.meets(&ids);
    ana.say("from any address");
    bob.wait_text("from any address");
}

/// The same without any of the directories that a home gives.
fn homeless(place: &Place, args: &str) -> Command {
    let mut command = place.command(args);
    command.env_remove("HOME").env_remove("XDG_STATE_HOME");
    command
}

#[test]
fn without_a_home_it_is_said_what_is_missing() {
    let place = Place::alone();
    let registry = Registry::of(&place);
    let other = place.chat(&format!("-n bob -r {}", registry.addr));
    let peer = super::addr(&other);
    other.joined();
    for args in [
        "-n ana",
        "-n ana --json",
        "-n ana --ephemeral",
        &format!("-n ana -p {peer}"),
    ] {
        let run = Run::of(homeless(&place, args));
        assert_eq!(run.exit.code, Some(7), "{args}: {run:?}");
        assert!(run.exit.stderr.contains("$HOME is not set"), "{args}: {run:?}");
        assert!(
            run.exit.stderr.contains("set it, or use --registry and --invite"),
            "{args}: {run:?}"
        );
    }
    let stranger = Run::of(homeless(&place, &format!("-n ana -r {}", registry.addr)));
    assert!(
        super::refused(&stranger).contains("is not of this user"),
        "{stranger:?}"
    );
    for args in ["-n ana who", "-n ana send hello"] {
        let run = Run::of(homeless(&place, args));
        assert_eq!(run.exit.code, Some(3), "{args}: {run:?}");
    }
}

#[test]
fn without_a_home_an_invite_is_enough() {
    let host = Place::alone();
    let registry = Registry::of(&host);
    let ana = host.chat(&format!("-n ana -r {}", registry.addr));
    ana.joined();
    let place = Place::alone();
    let invite = registry.operator().invite(1);
    let bob = Chat::start(homeless(
        &place,
        &format!("--json --input json -n bob --invite {invite}"),
    ));
    ana.meets(&[bob.joined()]);
}

#[test]
fn a_home_that_cannot_be_written_is_said() {
    let place = Place::alone();
    let home = place.home().join("taken");
    fs::write(&home, "a file where the home should be").unwrap();
    for args in ["-n ana", "-n ana --ephemeral"] {
        let mut command = place.command(args);
        command.env("HOME", &home).env("XDG_STATE_HOME", home.join("state"));
        let run = Run::of(command);
        assert_eq!(run.exit.code, Some(7), "{args}: {run:?}");
        assert!(run.exit.stderr.contains(home.to_str().unwrap()), "{args}: {run:?}");
        assert!(!run.exit.stderr.contains("panicked"), "{args}: {run:?}");
    }
}

#[test]
fn a_home_that_others_may_write_is_not_trusted() {
    let place = Place::alone();
    let keys = place.home().join(".local/share/nodeset/ana/keys");
    fs::create_dir_all(&keys).unwrap();
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o777)).unwrap();
    let run = place.run("-n ana", "");
    assert_eq!(run.exit.code, Some(7), "{run:?}");
    assert!(
        run.exit.stderr.contains("add --ephemeral to go without them"),
        "{run:?}"
    );
    let chat = place.chat("-n ana --ephemeral");
    chat.joined();
}
