//! Seeds by the thousand, and one seed to look at.
//!
//! ```text
//! cargo test -p multicast --test it seeds                                  the usual number
//! MULTICAST_SEEDS=10000 cargo test --release -p multicast --test it seeds -- --nocapture
//! MULTICAST_SEED=17 MULTICAST_TRACE=1 cargo test -p multicast --test it seeds -- --nocapture
//! MULTICAST_SEED=17 MULTICAST_SHRINK=1 cargo test -p multicast --test it seeds -- --nocapture    prints a small plan
//! MULTICAST_WITHOUT=tombstones ...                                         the same with one rule switched off
//! MULTICAST_SIGNED=1 ...                                                   with or, 0, without keys, whatever was drawn
//! ```

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use crate::judge::Violation;
use crate::script::{Plan, draw};
use crate::sim::{Counts, Failure, World};

/// How many seeds a plain `cargo test` runs.
const USUAL_SEEDS: u64 = 2_000;

#[test]
fn seeds() {
    if let Some(seed) = number("MULTICAST_SEED") {
        return look_at(seed);
    }
    let count = number("MULTICAST_SEEDS").unwrap_or(USUAL_SEEDS);
    let first = number("MULTICAST_FIRST").unwrap_or(0);
    let most = number("MULTICAST_FAILURES").unwrap_or(10);
    let started = Instant::now();
    let (total, failed) = run_all(first..first + count, most);
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{count} seeds in {seconds:.1} s, {:.0} seeds a second",
        count as f64 / seconds
    );
    println!(
        "{total}mean time from calm to settled: {} ms",
        total.settling_us / 1000 / count.max(1)
    );
    assert_eq!(failed, 0, "seeds failed, see above");
    if count >= USUAL_SEEDS {
        nothing_is_missing(&total);
    }
}

/// Runs seeds on all processors; the sums, and how many failed. Stops early when too many do.
fn run_all(seeds: Range<u64>, most: u64) -> (Counts, u64) {
    let (next, failed) = (AtomicU64::new(seeds.start), AtomicU64::new(0));
    let work = || {
        let mut sum = Counts::default();
        loop {
            let seed = next.fetch_add(1, Relaxed);
            if seed >= seeds.end || failed.load(Relaxed) >= most {
                return sum;
            }
            match attempt(&drawn(seed)) {
                Ok(counts) => sum.add(&counts),
                Err(failure) => {
                    report(seed, &failure);
                    failed.fetch_add(1, Relaxed);
                }
            }
        }
    };
    let mut total = Counts::default();
    std::thread::scope(|threads| {
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        let running: Vec<_> = (0..workers).map(|_| threads.spawn(work)).collect();
        for worker in running {
            total.add(&worker.join().expect("a panic in a run is a failure of that seed"));
        }
    });
    (total, failed.into_inner())
}

#[test]
fn a_seed_always_runs_the_same() {
    for seed in 0..20 {
        let plan = draw(seed);
        let (once, again) = (attempt(&plan).ok(), attempt(&plan).ok());
        assert_eq!(once, again, "seed {seed} ran differently the second time");
    }
}

/// Runs a plan; a panic is a failure like any other.
pub(crate) fn attempt(plan: &Plan) -> Result<Counts, Box<Failure>> {
    catch_unwind(AssertUnwindSafe(|| crate::sim::run(plan))).unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().cloned();
        let what = words.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        let violation = Violation {
            rule: "panic",
            who: 0,
            what: what.unwrap_or_default(),
        };
        Err(Box::new(Failure { at: 0, violation }))
    })
}

/// A fault or a repair that never happens tests nothing: each of these must have been counted.
fn nothing_is_missing(total: &Counts) {
    for (name, number) in total.rows() {
        // Engines speak over links only: a frame beside one would be counted, and there is none.
        assert_eq!(number > 0, name != "unlinked", "{number} {name} in all these seeds");
    }
}

fn look_at(seed: u64) {
    let trace = std::env::var("MULTICAST_TRACE").is_ok_and(|value| value != "0");
    let plan = drawn(seed);
    if std::env::var("MULTICAST_SHRINK").is_ok() {
        return crate::shrink::print(&plan);
    }
    println!("{plan:?}");
    match World::run(&plan, trace) {
        Ok(world) => println!("seed {seed} settled at {} ms\n{}", world.now / 1000, world.counts),
        Err(failure) => {
            report(seed, &failure);
            panic!("seed {seed} failed");
        }
    }
}

/// The plan of a seed, without the rule that `MULTICAST_WITHOUT` names.
fn drawn(seed: u64) -> Plan {
    let mut plan = draw(seed);
    if let Ok(name) = std::env::var("MULTICAST_WITHOUT") {
        crate::mutants::without(&name, &mut plan.rules);
    }
    if let Some(signed) = number("MULTICAST_SIGNED") {
        plan.signed = signed > 0;
    }
    plan
}

fn report(seed: u64, failure: &Failure) {
    let Failure { at, violation } = failure;
    println!("seed {seed}, {} ms: {violation}", at / 1000);
    println!("  MULTICAST_SEED={seed} MULTICAST_TRACE=1 cargo test -p multicast --test it seeds::seeds -- --nocapture");
}

fn number(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name} is a number, not {value:?}")),
    )
}
