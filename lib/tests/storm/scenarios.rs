//! What may happen to a network, and what people then see.

use std::time::Duration;

use multicast::{Dot, Event, MemberId};

use super::seeds;
use super::stage::{Life, Stage};

const NAMES: [&str; 4] = ["ana", "bob", "cyd", "dan"];

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_partition_is_repaired() {
    seeds("partition and repair", |seed| {
        let mut stage = Stage::new(seed, &NAMES);
        stage.talk(&NAMES, secs(2));
        between(|one, other| stage.sim.partition(one, other));
        stage.talk(&NAMES, secs(15));
        let apart = [stage.delivered("ana"), stage.delivered("cyd")];
        assert!(!stage.is_settled(&["ana", "cyd"]), "they were apart");
        between(|one, other| stage.sim.repair(one, other));
        let repaired = stage.sim.elapsed();
        stage.until("both sides have everything", |stage| stage.is_settled(&NAMES));
        let took = stage.sim.elapsed() - repaired;
        assert!(took < secs(12), "a repaired partition took {took:?} to heal");
        stage.talk(&NAMES, secs(2));
        stage.until("and go on", |stage| stage.is_settled(&NAMES));
        stage.judge();
        let ana = |id: MemberId| stage.with("ana", |life| count(life, |event| is_about(event, id)));
        let dan = stage.with("dan", |life| life.me);
        assert!(ana(dan) > 0, "ana was told that dan is away, and that it is back");
        println!("  seed {seed}: apart with {apart:?}, healed after {took:?}");
    });
}

#[test]
fn what_is_held_is_released() {
    seeds("hold and release", |seed| {
        let mut stage = Stage::new(seed, &NAMES);
        stage.talk(&NAMES, secs(2));
        for other in &NAMES[1..] {
            stage.sim.hold("ana", *other);
        }
        stage.talk(&NAMES, secs(8));
        let [ana, bob] = ["ana", "bob"].map(|name| stage.with(name, |life| life.me));
        let was_told = |stage: &Stage, name: &str, back: bool, who: MemberId| {
            stage.with(name, |life| {
                count(life, |event| match event {
                    Event::Silent(member) => !back && member.id == who,
                    Event::Resumed(member) => back && member.id == who,
                    _ => false,
                }) > 0
            })
        };
        assert!(
            was_told(&stage, "bob", false, ana) && was_told(&stage, "ana", false, bob),
            "silence is told"
        );
        for other in &NAMES[1..] {
            stage.sim.release("ana", *other);
        }
        stage.until("everyone has everything", |stage| stage.is_settled(&NAMES));
        stage.until("the end of the silence is told", |stage| {
            was_told(stage, "bob", true, ana) && was_told(stage, "ana", true, bob)
        });
        stage.talk(&NAMES, secs(2));
        stage.until("and go on", |stage| stage.is_settled(&NAMES));
        stage.judge();
        for name in NAMES {
            stage.with(name, |life| {
                assert!(closings(life, ana).is_empty(), "{name} does not close who is silent")
            });
        }
    });
}

#[test]
fn a_crash_in_mid_burst_ends_alike_everywhere() {
    seeds("crash", |seed| {
        let mut stage = Stage::new(seed, &NAMES);
        stage.talk(&NAMES, secs(2));
        for _ in 0..50 {
            stage.say("ana");
        }
        // Somewhere within the burst.
        for _ in 0..1 + seed % 25 {
            stage.step();
        }
        stage.crash("ana");
        let survivors = &NAMES[1..];
        stage.talk(survivors, secs(5));
        let ana = stage.with("ana", |life| life.me);
        stage.until("everyone has closed ana", |stage| {
            survivors
                .iter()
                .all(|name| stage.with(name, |life| !closings(life, ana).is_empty()))
        });
        stage.until("the survivors have the same", |stage| stage.is_settled(survivors));
        stage.judge();
        let ends = survivors
            .iter()
            .map(|name| stage.with(name, |life| closings(life, ana)));
        let ends: Vec<_> = ends.collect();
        assert!(ends.iter().all(|end| *end == ends[0]), "one end for all, not {ends:?}");
        println!("  seed {seed}: ana ended at {:?}", ends[0]);
    });
}

#[test]
fn a_restart_is_a_new_member() {
    seeds("bounce", |seed| {
        let mut stage = Stage::new(seed, &NAMES);
        stage.talk(&NAMES, secs(2));
        let old = stage.with("ana", |life| life.me);
        stage.crash("ana");
        let survivors = &NAMES[1..];
        // From at once to after it was missed.
        stage.talk(survivors, Duration::from_millis(100 + 900 * (seed % 10)));
        stage.sim.bounce("ana");
        stage.until("ana is back", |stage| stage.with("ana", |life| life.me != old));
        let new = stage.with("ana", |life| life.me);
        stage.talk(&NAMES, secs(5));
        stage.until("everyone has closed the old one", |stage| {
            survivors
                .iter()
                .all(|name| stage.with(name, |life| !closings(life, old).is_empty()))
        });
        stage.until("the survivors have the same", |stage| stage.is_settled(survivors));
        stage.until("so has ana, since it came back", |stage| {
            // Of everybody, for what is concurrent with the last message of all may come after it. All have talked since.
            let living = NAMES.map(|name| stage.with(name, |life| life.me));
            let last = living.map(|of| stage.with("bob", |life| last_of(life, of)));
            let has = |life: &Life| living.map(|of| last_of(life, of)) == last;
            last.iter().all(Option::is_some) && stage.with("ana", |life| life.held == 0 && has(life))
        });
        stage.judge();
        stage.with("bob", |life| {
            assert!(closings(life, new).is_empty(), "the new one is nobody's dead");
            let joined = |event: &Event| matches!(event, Event::Joined { member, .. } if member.id == new);
            assert_eq!(count(life, joined), 1, "it joined once");
        });
    });
}

#[test]
fn a_connection_that_lost_something_is_given_up() {
    seeds("stall", |seed| {
        let mut stage = Stage::new(seed, &NAMES[..2]);
        stage.talk(&NAMES[..2], secs(1));
        // Too short for anybody to be missed: what is lost is lost on a connection that seems to stand.
        stage.sim.partition("ana", "bob");
        for name in ["ana", "bob", "ana"] {
            stage.say(name);
        }
        stage.talk(&["ana"], Duration::from_millis(200));
        stage.sim.repair("ana", "bob");
        let repaired = stage.sim.elapsed();
        stage.until("the rest comes over a new connection", |stage| {
            stage.is_settled(&NAMES[..2])
        });
        let took = stage.sim.elapsed() - repaired;
        assert!(took < secs(8), "the stall timer is 5 s, and it took {took:?}");
        stage.talk(&NAMES[..2], secs(1));
        stage.until("and go on", |stage| stage.is_settled(&NAMES[..2]));
        stage.judge();
        println!("  seed {seed}: {took:?}");
    });
}

#[test]
fn what_is_carried_out_twice_is_delivered_once() {
    seeds("late answers", |seed| {
        let mut stage = Stage::new(seed, &NAMES[..3]);
        stage.talk(&NAMES[..3], secs(1));
        // Every call arrives, and its answer when nobody waits for it any more.
        for (one, other) in [("ana", "bob"), ("ana", "cyd"), ("bob", "cyd")] {
            stage.sim.set_link_latency(one, other, secs(3));
        }
        stage.talk(&NAMES[..3], secs(20));
        for (one, other) in [("ana", "bob"), ("ana", "cyd"), ("bob", "cyd")] {
            stage.sim.set_link_latency(one, other, Duration::from_millis(5));
        }
        stage.until("everyone has everything", |stage| stage.is_settled(&NAMES[..3]));
        stage.judge();
    });
}

/// Both sides of a partition in two halves.
fn between(mut each: impl FnMut(&'static str, &'static str)) {
    for one in &NAMES[..2] {
        for other in &NAMES[2..] {
            each(one, other);
        }
    }
}

fn count(life: &Life, is_it: impl Fn(&Event) -> bool) -> usize {
    life.news.iter().filter(|event| is_it(event)).count()
}

/// The last message of somebody that this one has delivered.
fn last_of(life: &Life, who: MemberId) -> Option<Dot> {
    let dots = life.log.iter().map(|delivery| delivery.dot);
    dots.filter(|dot| dot.origin == who).last()
}

fn is_about(event: &Event, who: MemberId) -> bool {
    match event {
        Event::Silent(member) | Event::Resumed(member) => member.id == who,
        Event::Closed { origin, .. } | Event::Reopened { origin } => origin.id == who,
        _ => false,
    }
}

/// Where somebody's messages ended, each time that this one closed it.
fn closings(life: &Life, who: MemberId) -> Vec<u64> {
    let end = |event: &Event| match event {
        Event::Closed { origin, last_seq, .. } if origin.id == who => Some(*last_seq),
        _ => None,
    };
    life.news.iter().filter_map(end).collect()
}
