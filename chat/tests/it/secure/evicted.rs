//! Whoever is thrown out is gone for everybody, is told, and stays out.

use super::refused;
use crate::harness::{Chat, Place, Registry};

struct Party {
    registry: Registry,
    ana: Chat,
    cyd: Chat,
    guest: Place,
    bob: Chat,
    invite: nodeset::Invite,
    _home: Place,
}

/// Two of one home, and a guest from another.
fn party() -> Party {
    let home = Place::alone();
    let registry = Registry::of(&home);
    let start = |name| home.chat(&format!("-n {name} -r {}", registry.addr));
    let (ana, cyd) = (start("ana"), start("cyd"));
    let guest = Place::alone();
    let invite = registry.operator().invite(2);
    let bob = guest.chat(&format!("-n bob --invite {invite}"));
    let ids = [ana.joined(), cyd.joined(), bob.joined()];
    [&ana, &cyd, &bob].iter().for_each(|chat| chat.meets(&ids));
    Party {
        registry,
        ana,
        cyd,
        guest,
        bob,
        invite,
        _home: home,
    }
}

/// It ends and says why; the others go on without it, and it cannot come back.
fn is_out(mut party: Party) {
    let bob = party.bob.joined();
    let exit = party.bob.wait();
    assert_eq!(exit.code, Some(4), "{}", exit.stderr);
    // Once, and nowhere else.
    let said = exit.stderr.lines().map(str::to_owned).chain(party.bob.lines());
    let said: Vec<_> = said
        .filter(|line| line.contains("evicted") && !line.contains(r#""type":"bye""#))
        .collect();
    assert_eq!(
        said,
        ["chat: this chat was evicted: whoever runs the registry let it in no more"]
    );
    let last = party.bob.json().pop().expect("a last line");
    assert_eq!((&last["type"], &last["reason"]), (&"bye".into(), &"evicted".into()));
    for chat in [&party.ana, &party.cyd] {
        chat.wait_for("its end", |line| {
            (line["type"] == "closed" && line["origin"] == *bob)
                || (line["type"] == "leave" && line["from"]["id"] == *bob)
        });
    }
    party.ana.say("just us");
    party.cyd.wait_text("just us");
    for args in ["-n bob", "-n bob who", "-n bob send hello"] {
        let words = refused(&party.guest.run(args, ""));
        let known = words.contains("was evicted") || words.contains("does not know this profile");
        assert!(known, "{args}: {words}");
    }
}

#[test]
fn a_guest_that_is_evicted_by_name() {
    let party = party();
    party.registry.operator().evict("bob");
    is_out(party);
}

#[test]
fn a_guest_whose_invite_is_revoked() {
    let party = party();
    assert_eq!(party.registry.operator().revoke(party.invite.id()), 1);
    let other = Place::alone();
    let words = refused(&other.run(&format!("-n dan --invite {}", party.invite), ""));
    assert!(words.contains("the invite was revoked"), "{words}");
    is_out(party);
}
