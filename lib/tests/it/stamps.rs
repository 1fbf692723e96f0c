//! How many clock entries a message carries over a push stream: the change against its predecessor, no more.

use crate::script::{Act, MS, Plan, SECOND};
use crate::sim::{Counts, Rng, World};

/// Entries and messages pushed between the first mark and the end, all streams together.
struct Carried {
    entries: u64,
    messages: u64,
}

impl Carried {
    fn per_message(&self) -> f64 {
        self.entries as f64 / self.messages as f64
    }
}

fn carried(plan: &Plan) -> Carried {
    let world = match World::run(plan, false) {
        Ok(world) => world,
        Err(failure) => panic!("{failure:?}"),
    };
    let before = world.marks.first().copied().unwrap_or_default();
    let Counts {
        clock_entries, pushed, ..
    } = world.counts;
    Carried {
        entries: clock_entries - before.clock_entries,
        messages: pushed - before.pushed,
    }
}

/// Everyone has spoken once and was heard before the measurement begins.
fn warmed_up(members: usize) -> Plan {
    let hello = |plan: Plan, seat| {
        plan.at(
            SECOND,
            Act::Say {
                seat,
                count: 1,
                bytes: 8,
            },
        )
    };
    (0..members)
        .fold(Plan::established(members), hello)
        .at(4 * SECOND, Act::Mark)
}

/// Random members speak one after the other, each with everything before in its past.
fn quiet(members: usize) -> Plan {
    let mut rng = Rng::new(members as u64);
    (0..100).fold(warmed_up(members), |plan, nth| {
        let seat = rng.below(members as u64) as usize;
        plan.at(
            4 * SECOND + nth * 50 * MS,
            Act::Say {
                seat,
                count: 1,
                bytes: 8,
            },
        )
    })
}

/// Everyone speaks every few milliseconds, over each other's messages.
fn busy(members: usize) -> Plan {
    let mut rng = Rng::new(members as u64);
    (0..400).fold(warmed_up(members), |plan, nth| {
        let seat = rng.below(members as u64) as usize;
        plan.at(
            4 * SECOND + nth * MS / 2,
            Act::Say {
                seat,
                count: 1,
                bytes: 8,
            },
        )
    })
}

#[test]
fn a_message_carries_only_what_changed() {
    println!("clock entries a message: members, quiet, busy");
    for members in [8, 64] {
        let (quiet, busy) = (carried(&quiet(members)), carried(&busy(members)));
        println!("{members:>8} {:>8.2} {:>8.2}", quiet.per_message(), busy.per_message());
        assert!(
            quiet.per_message() < members as f64,
            "a change list is shorter than a clock"
        );
    }
}

#[test]
fn a_burst_carries_no_entries_after_its_first_message() {
    for members in [8, 64] {
        let burst = Act::Say {
            seat: 0,
            count: 100,
            bytes: 8,
        };
        let carried = carried(&warmed_up(members).at(4 * SECOND, burst));
        let streams = members as u64 - 1;
        assert_eq!(
            carried.messages,
            100 * streams,
            "each message travels once over each stream"
        );
        assert!(
            carried.entries <= streams * streams,
            "{} entries in {members} members",
            carried.entries
        );
    }
}
