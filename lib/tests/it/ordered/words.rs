//! Single situations: minorities, rooms of two, and members that lie.

use multicast::ordered::{OrderInput, OrderOutput};

use super::rules;
use super::world::World;

const SECOND: u64 = 1_000_000;

fn room(of: usize) -> World {
    let mut world = World::new(7, rules());
    let mut fill = || {
        world.found()?;
        for _ in 1..of {
            world.come()?;
        }
        world.pass(10 * SECOND)
    };
    fill().expect("nothing happens to them");
    assert!(
        world
            .processes
            .iter()
            .all(|process| process.sequencer.voters().len() == of),
        "{}",
        world.state()
    );
    world
}

#[test]
fn a_minority_waits_and_says_so() {
    let mut world = room(5);
    world.part(&[0, 1]).expect("one order");
    world.pass(3 * SECOND).expect("one order");
    let before = world.processes[0].sequencer.position();
    for who in 0..5 {
        world.send(who).expect("one order");
    }
    world.pass(10 * SECOND).expect("one order");
    assert_eq!(
        world.processes[0].sequencer.position(),
        before,
        "the old authority is with the minority"
    );
    assert!(world.processes[0].waiting && world.processes[1].waiting && !world.processes[2].waiting);
    assert!(
        world.processes[2].sequencer.position() >= before + 3,
        "the majority goes on"
    );
    world.heal().expect("one order");
    world.pass(20 * SECOND).expect("one order");
    assert!(world.is_settled(), "{}", world.state());
    assert!(!world.processes[0].waiting);
}

#[test]
fn a_room_of_two_stops_when_one_is_away_and_goes_on_when_it_left() {
    let mut world = room(2);
    world.part(&[1]).expect("one order");
    world.send(0).expect("one order");
    world.pass(10 * SECOND).expect("one order");
    assert!(
        world.processes[0].waiting && world.processes[0].sequencer.waiting() > 0,
        "{}",
        world.state()
    );
    world.heal().expect("one order");
    world.pass(10 * SECOND).expect("one order");
    assert!(
        !world.processes[0].waiting && world.processes[0].sequencer.waiting() == 0,
        "{}",
        world.state()
    );
    world.leave(0).expect("one order");
    world.pass(10 * SECOND).expect("one order");
    world.send(1).expect("one order");
    world.pass(SECOND).expect("one order");
    assert!(
        world.is_settled() && world.processes[1].sequencer.is_authority(),
        "{}",
        world.state()
    );
}

#[test]
fn nonsense_and_lies_stop_nobody() {
    let mut world = room(3);
    world.has_liars = true;
    let (creator, liar) = (world.processes[0].engine.me(), world.processes[2].engine.me());
    let before = world.processes[0].sequencer.authority();
    let (_, term) = before.expect("the creator");
    for bytes in multicast::ordered::lies(creator, liar, term) {
        for who in 0..2 {
            let said = OrderInput::Said {
                from: liar,
                bytes: bytes.clone(),
            };
            let now = world.now;
            let outputs = world.processes[who].sequencer.handle(said, now);
            assert!(!outputs.iter().any(|output| matches!(output, OrderOutput::Show { .. })));
        }
    }
    for who in 0..3 {
        world.send(who).expect("one order");
    }
    world.pass(10 * SECOND).expect("one order");
    assert!(world.is_settled(), "{}", world.state());
    assert_eq!(
        world.processes[1].sequencer.authority(),
        before,
        "nobody is elected for that"
    );
    world.crash(0).expect("one order");
    world.pass(10 * SECOND).expect("one order");
    let after = world.processes[1].sequencer.authority().expect("one of the others");
    assert!(
        after.0 != creator && after.1 > term,
        "elections work as before: {}",
        world.state()
    );
}
