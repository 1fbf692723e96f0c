//! Situations that broke one protocol or another, each a script; only `check` knows how to run one.

use crate::script::{Act, Limits, MS, Plan, Replies, Room, SECOND, Weather, What};
use crate::sim::{Counts, World};

/// Runs the plan under the judge, and then asks whether what it is about did happen.
fn check(plan: &Plan, happened: fn(&Counts) -> bool) {
    match World::run(plan, std::env::var("MULTICAST_TRACE").is_ok()) {
        Ok(world) => assert!(happened(&world.counts), "it did not come to that:\n{}", world.counts),
        Err(failure) => panic!("{} ms: {}\n{plan:?}", failure.at / 1000, failure.violation),
    }
}

const A: usize = 0;
const B: usize = 1;
const C: usize = 2;
const D: usize = 3;

fn say(seat: usize) -> Act {
    Act::Say {
        seat,
        count: 1,
        bytes: 8,
    }
}

fn start(seat: usize, seeds: &[usize]) -> Act {
    Act::Start {
        seat,
        seeds: seeds.to_vec(),
    }
}

fn slow(from: usize, to: usize, delay: u64) -> Act {
    Act::Pace { from, to, delay }
}

#[test]
fn triangle_relay() {
    let plan = Plan::established(3)
        .at(SECOND, slow(A, C, 3 * SECOND))
        .at(SECOND, Act::Answer { seat: B, from: A })
        .at(SECOND, Act::Answer { seat: C, from: B })
        .at(SECOND, say(A))
        .at(6 * SECOND, Act::Mark);
    check(&plan, |counts| counts.held > 0 && counts.sends == 3);
}

#[test]
fn long_relay_through_everyone() {
    let far = |plan: Plan, to| plan.at(SECOND, slow(A, to, 2 * SECOND));
    let plan = (2..8).fold(Plan::established(8), far);
    let answer = |plan: Plan, seat| plan.at(SECOND, Act::Answer { seat, from: seat - 1 });
    let plan = (1..8).fold(plan, answer).at(SECOND, say(A)).at(6 * SECOND, Act::Mark);
    check(&plan, |counts| counts.held > 0 && counts.sends == 8);
}

/// The joiner's sponsor holds the answer, because the question is late there; the joiner hears the answer first too.
#[test]
fn a_joiners_cut_races_an_in_flight_cause() {
    let mut plan = Plan::established(3)
        .at(SECOND, slow(A, C, 4 * SECOND))
        .at(SECOND, slow(A, D, 4 * SECOND))
        .at(SECOND, Act::Answer { seat: B, from: A })
        .at(SECOND, say(A))
        .at(SECOND + 100 * MS, start(D, &[C]))
        .at(6 * SECOND, say(D));
    plan.seats = 4;
    check(&plan, |counts| {
        counts.held > 0 && counts.joins == 1 && counts.founders == 0
    });
}

/// Three processes that cannot reach each other for a while each found the group; then the groups merge.
#[test]
fn simultaneous_founders_merge() {
    let plan = (0..3).fold(apart(), |plan, seat| plan.at(MS, start(seat, &[A, B, C])));
    let plan = (0..3).fold(plan, |plan, seat| plan.at(SECOND, say(seat)));
    check(&plan, |counts| counts.founders == 3);
}

/// Nine at once, each knowing all others: whoever founds, in the end they are one group.
#[test]
fn nine_start_at_once() {
    let everyone: Vec<usize> = (0..9).collect();
    let mut plan = Plan::established(0);
    plan.seats = 9;
    let plan = everyone
        .iter()
        .fold(plan, |plan, &seat| plan.at(MS, start(seat, &everyone)));
    let plan = everyone.iter().fold(plan, |plan, &seat| plan.at(SECOND, say(seat)));
    check(&plan, |counts| counts.joins == 9);
}

fn apart() -> Plan {
    let mut plan = Plan::established(0);
    plan.seats = 3;
    let paths = [(A, B), (B, A), (A, C), (C, A), (B, C), (C, B)];
    paths
        .iter()
        .fold(plan, |plan, &(from, to)| plan.at(0, slow(from, to, SECOND)))
}

/// Nothing follows that would show the hole: only the exchange of digests can.
#[test]
fn the_loss_of_a_last_message_is_found() {
    let lose = |what| Act::Lose {
        from: A,
        to: C,
        what,
        count: 3,
    };
    let plan = Plan::established(3)
        .at(SECOND, lose(What::Push))
        .at(SECOND, say(A))
        .at(8 * SECOND, Act::Mark);
    check(&plan, |counts| counts.lost > 0);
}

/// The origin cannot reach C at all; B has the message and repairs.
#[test]
fn any_holder_repairs() {
    let plan = Plan::established(3)
        .at(SECOND, Act::Cut { from: A, to: C })
        .at(SECOND, Act::Cut { from: C, to: A })
        .at(SECOND, say(A))
        .at(2 * SECOND, Act::Answer { seat: C, from: A })
        .at(9 * SECOND, Act::Mark);
    check(&plan, |counts| counts.cut > 0 && counts.pulled > 0);
}

/// C has joined through A, whose view then has it; A and B do not hear C for a while.
/// (A:{A,B}, B:{A,B}, C:{A,B,C}.)
#[test]
fn overlapping_views_merge() {
    let mut plan = Plan::established(2);
    plan.seats = 3;
    let plan = plan
        .at(SECOND, start(C, &[A]))
        .at(SECOND + 18 * MS, Act::Cut { from: C, to: A })
        .at(SECOND + 18 * MS, Act::Cut { from: C, to: B })
        .at(2 * SECOND, say(A))
        .at(2 * SECOND, say(B))
        .at(4 * SECOND, Act::Mend { from: C, to: A })
        .at(6 * SECOND, Act::Mend { from: C, to: B })
        .at(6 * SECOND, say(C));
    check(&plan, |counts| counts.cut > 0 && counts.joins == 1);
}

/// A's question reaches B alone, whose answer reaches C; then both die. What C and D hold can never be delivered.
#[test]
fn a_message_without_its_cause_whose_origin_dies() {
    let lose = |from, to, what| Act::Lose {
        from,
        to,
        what,
        count: 100,
    };
    let crash = |seat| Act::Crash { seat, half_open: false };
    let mut plan = Plan::established(4).at(100 * MS, say(A)).at(100 * MS, say(B));
    for to in [C, D] {
        plan = plan
            .at(SECOND, lose(A, to, What::Push))
            .at(SECOND, lose(B, to, What::Pulled))
            .at(SECOND, lose(A, to, What::Pulled));
    }
    let plan = plan
        .at(SECOND, Act::Answer { seat: B, from: A })
        .at(SECOND, say(A))
        .at(SECOND + 100 * MS, crash(A))
        .at(SECOND + 100 * MS, crash(B))
        .at(6 * SECOND, say(C));
    check(&plan, |counts| counts.purged_orphans == 2 && counts.crashes == 2);
}

/// Cut off for longer than a grace: both sides close each other, go on, and take it back when they meet.
#[test]
fn closed_but_alive_goes_on_sending_and_merges() {
    let mut plan = Plan::established(4);
    plan.limits = Limits::Tight(Room {
        retention: 1 << 20,
        factor: 100,
        held: 4_096,
        batch: 64,
        in_flight: 2,
        window: 4_096,
        silent_after: SECOND,
        grace: SECOND,
        gone_after: 2 * SECOND,
        bound_patience: SECOND,
        retire_after: 600 * SECOND,
    });
    let parts = vec![0, 0, 1, 1];
    let plan = (0..4).fold(plan, |plan, seat| plan.at(100 * MS, say(seat)));
    let plan = plan.at(SECOND, Act::Split { parts, breaks: true });
    let plan = (0..60).fold(plan, |plan, nth| {
        plan.at(SECOND + nth * 200 * MS, say(nth as usize % 4))
    });
    let plan = plan.at(14 * SECOND, Act::Heal).at(15 * SECOND, say(A));
    check(&plan, |counts| {
        counts.closed_alive >= 8 && counts.reopened >= 8 && counts.gaps == 0
    });
}

/// Two pairs talk past each other for 5 s.
#[test]
fn a_partition_heals() {
    let paths = [(A, C), (A, D), (B, C), (B, D)];
    let both = |plan: Plan, at, act: fn(usize, usize) -> Act| {
        paths.iter().fold(plan, |plan, &(from, to)| {
            plan.at(at, act(from, to)).at(at, act(to, from))
        })
    };
    let plan = both(Plan::established(4), SECOND, |from, to| Act::Cut { from, to });
    let plan = (0..40).fold(plan, |plan, nth| {
        plan.at(SECOND + nth * 100 * MS, say(nth as usize % 4))
    });
    let plan = both(plan, 6 * SECOND, |from, to| Act::Mend { from, to });
    check(&plan, |counts| counts.cut > 0 && counts.sends == 40);
}

/// The last two leave at the same time; each must still get an end.
#[test]
fn everyone_leaves_at_once() {
    let leave = |plan: Plan, seat| plan.at(2 * SECOND, Act::Leave { seat, exits: true });
    let plan = (0..4).fold(Plan::established(4).at(SECOND, say(A)), leave);
    check(&plan, |counts| counts.leaves == 4);
}

/// A leave is a message like others: it arrives although the network is foul, and after what it depends on.
#[test]
fn a_leave_is_announced_in_foul_weather() {
    let mut plan = Plan::established(5)
        .at(
            SECOND,
            Act::Say {
                seat: A,
                count: 20,
                bytes: 8,
            },
        )
        .at(SECOND + 30 * MS, Act::Leave { seat: A, exits: true })
        .at(SECOND + 40 * MS, say(B))
        .at(8 * SECOND, Act::Mark);
    plan.weather = Weather {
        loss_percent: 30,
        twice_percent: 10,
        distance: 20 * MS,
        jitter: 200 * MS,
    };
    plan.replies = Replies { percent: 20, most: 20 };
    check(&plan, |counts| counts.leaves == 1 && counts.lost > 0);
}
