//! Processes that die and go on from their disks, by the hundred: what was accepted is with everyone in the end.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::script::{Disks, Plan, draw_with_disks};
use crate::seeds::attempt;
use crate::sim::{Counts, Failure};

/// How many runs a plain `cargo test` makes; `MULTICAST_LIVES` sets it.
const USUAL_RUNS: u64 = 1_000;
/// A rule that is broken must be noticed within so many.
const WITHIN: u64 = 300;

#[test]
fn what_was_accepted_is_with_everyone_in_the_end() {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse().ok());
    if let Some(seed) = number("MULTICAST_LIFE") {
        let trace = std::env::var("MULTICAST_TRACE").is_ok();
        let plan = draw_with_disks(seed);
        println!("{plan:?}");
        let run = crate::sim::World::run(&plan, trace).map(|world| world.counts);
        return run
            .map(drop)
            .unwrap_or_else(|failure| panic!("{} ms: {}", failure.at / 1000, failure.violation));
    }
    let count = number("MULTICAST_LIVES").unwrap_or(USUAL_RUNS);
    let (total, failures) = run_all(count, |plan| plan);
    println!("{count} runs\n{total}");
    assert_eq!(failures, 0, "runs failed, see above");
    assert!(
        total.restored > count / 2 && total.syncs > count,
        "too few went on from their disks"
    );
}

#[test]
fn who_speaks_before_the_disk_has_it_is_noticed() {
    noticed("S16", |plan| plan.disks = Disks::Hasty);
}

#[test]
fn who_confirms_before_the_disk_has_it_is_noticed() {
    noticed("S16", |plan| plan.disks = Disks::Rash);
}

#[test]
fn who_forgets_what_it_said_is_noticed() {
    noticed("S16", |plan| plan.disks = Disks::Blank);
}

fn noticed(rule: &str, break_it: impl Fn(&mut Plan)) {
    let caught = (0..WITHIN).find_map(|seed| {
        let mut plan = draw_with_disks(seed);
        break_it(&mut plan);
        attempt(&plan).err().map(|failure| (seed, failure))
    });
    let (seed, failure) = caught.expect("nothing was noticed");
    println!("run {seed}: {}", failure.violation);
    assert_eq!(failure.violation.rule, rule);
}

fn run_all(count: u64, change: impl Fn(Plan) -> Plan + Sync) -> (Counts, u64) {
    let (next, failures) = (AtomicU64::new(0), AtomicU64::new(0));
    let work = || {
        let mut sum = Counts::default();
        loop {
            let seed = next.fetch_add(1, Relaxed);
            if seed >= count || failures.load(Relaxed) >= 5 {
                return sum;
            }
            match attempt(&change(draw_with_disks(seed))) {
                Ok(counts) => sum.add(&counts),
                Err(failure) => {
                    report(seed, &failure);
                    failures.fetch_add(1, Relaxed);
                }
            }
        }
    };
    let mut total = Counts::default();
    std::thread::scope(|threads| {
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        let running: Vec<_> = (0..workers).map(|_| threads.spawn(work)).collect();
        for worker in running {
            total.add(&worker.join().expect("a panic in a run is a failure of that run"));
        }
    });
    (total, failures.into_inner())
}

fn report(seed: u64, failure: &Failure) {
    println!("run {seed}, {} ms: {}", failure.at / 1000, failure.violation);
    println!("  MULTICAST_LIFE={seed} MULTICAST_TRACE=1 cargo test -p multicast --test it lives::what -- --nocapture");
}
