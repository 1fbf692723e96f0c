//! Makes a failing plan small: takes out whatever it fails without, until nothing can go.

use crate::script::{Act, Limits, MS, Plan, Replies, paste};
use crate::seeds::attempt;
use crate::sim::World;

/// The smallest plan found that breaks the same rule.
pub(crate) fn shrink(plan: &Plan) -> Plan {
    let Err(failure) = attempt(plan) else {
        return plan.clone();
    };
    let rule = failure.violation.rule;
    let fails = |plan: &Plan| attempt(plan).is_err_and(|failure| failure.violation.rule == rule);
    let mut plan = plan.clone();
    loop {
        let before = plan.clone();
        fewer_steps(&mut plan, &fails);
        simpler(&mut plan, &fails);
        if plan == before {
            return plan;
        }
    }
}

/// Takes out steps, many at once and then one by one.
fn fewer_steps(plan: &mut Plan, fails: &impl Fn(&Plan) -> bool) {
    let mut chunk = plan.steps.len().div_ceil(2);
    while chunk > 0 {
        let mut at = 0;
        while at < plan.steps.len() {
            let mut less = plan.clone();
            less.steps.drain(at..(at + chunk).min(plan.steps.len()));
            match fails(&less) {
                true => *plan = less,
                false => at += chunk,
            }
        }
        chunk = if chunk == 1 { 0 } else { chunk.div_ceil(2) };
    }
}

/// Better weather, usual limits, single messages.
fn simpler(plan: &mut Plan, fails: &impl Fn(&Plan) -> bool) {
    let changes: &[fn(&mut Plan)] = &[
        |plan| plan.weather.loss_percent = 0,
        |plan| plan.weather.twice_percent = 0,
        |plan| plan.weather.jitter = 0,
        |plan| plan.weather.distance = 2 * MS,
        |plan| plan.replies = Replies { percent: 0, most: 0 },
        |plan| room(plan, |room| (room.retention, room.factor) = (1 << 20, 100_000)),
        |plan| room(plan, |room| room.held = 4_096),
        |plan| room(plan, |room| (room.batch, room.in_flight, room.window) = (64, 2, 4_096)),
        |plan| room(plan, |room| room.retire_after = 600_000_000),
        |plan| {
            for step in &mut plan.steps {
                if let Act::Say { count, bytes, .. } = &mut step.act {
                    (*count, *bytes) = (1, 8);
                }
            }
        },
    ];
    for change in changes {
        let mut other = plan.clone();
        change(&mut other);
        if other != *plan && fails(&other) {
            *plan = other;
        }
    }
}

fn room(plan: &mut Plan, change: impl FnOnce(&mut crate::script::Room)) {
    if let Limits::Tight(room) = &mut plan.limits {
        change(room);
    }
}

/// For a person: the small plan as Rust, and what becomes of it.
pub(crate) fn print(plan: &Plan) {
    let small = shrink(plan);
    println!(
        "{} of {} steps are left:\n{}",
        small.steps.len(),
        plan.steps.len(),
        paste(&small)
    );
    let trace = std::env::var("MULTICAST_TRACE").is_ok();
    if let Err(failure) = World::run(&small, trace) {
        println!("{} ms: {}", failure.at / 1000, failure.violation);
    }
}

#[test]
fn a_failing_plan_becomes_small() {
    let blind = |seed| {
        let mut plan = crate::script::draw(seed);
        plan.rules.check_dependencies = false;
        plan
    };
    let plan = (0..100)
        .map(blind)
        .find(|plan| attempt(plan).is_err())
        .expect("one of them fails");
    let small = shrink(&plan);
    assert!(attempt(&small).is_err() && small.steps.len() <= plan.steps.len() / 2);
}
