//! One order for all: engines with sequencers on virtual time, and a judge that looks at nothing but what is shown.

mod judge;
mod words;
mod world;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use multicast::ordered::{OrderConfig, OrderRules};

use world::{Counts, World};

/// About 10 s, unoptimised, on two cores.
const USUAL_SEEDS: u64 = 400;

fn rules() -> OrderRules {
    OrderConfig::default().rules
}

/// Runs seeds on all processors; what was counted, and the first failures.
fn run(count: u64, rules: OrderRules) -> (Counts, Vec<String>) {
    let next = AtomicU64::new(0);
    let work = || {
        let (mut sum, mut failed) = (Counts::default(), Vec::new());
        loop {
            let seed = next.fetch_add(1, Relaxed);
            if seed >= count || failed.len() > 3 {
                return (sum, failed);
            }
            match World::new(seed, rules).run() {
                Ok(counts) => sum.add(&counts),
                Err(why) => failed.push(format!("seed {seed}: {why}")),
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut all = (Counts::default(), Vec::new());
        for worker in workers {
            let (counts, failed) = worker.join().expect("a failure is told, not panicked");
            all.0.add(&counts);
            all.1.extend(failed);
        }
        all
    })
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn seeds() {
    if let Some(seed) = number("MULTICAST_SEED") {
        let counts = World::new(seed, rules()).traced().run();
        return println!("{:?}", counts.unwrap_or_else(|why| panic!("seed {seed}: {why}")));
    }
    let count = number("MULTICAST_SEEDS").unwrap_or(USUAL_SEEDS);
    let started = Instant::now();
    let (counts, failed) = run(count, rules());
    println!("{count} seeds in {:.1} s: {counts:?}", started.elapsed().as_secs_f64());
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    if count >= USUAL_SEEDS {
        let seen = [
            counts.crashes,
            counts.partitions,
            counts.waits,
            counts.handed,
            counts.left,
            counts.came,
        ];
        assert!(seen.iter().all(|seen| *seen > 50), "too little happened: {counts:?}");
        // Who founded a group of its own in a partition comes too late for the places of what was said before.
        assert!(
            counts.unplaced * 50 < counts.shown,
            "too many without a place: {counts:?}"
        );
    }
}

fn is_caught(rules: OrderRules) {
    let (_, failed) = run(400, rules);
    assert!(!failed.is_empty(), "nobody noticed");
}

#[test]
fn an_order_shown_without_a_majority_is_caught() {
    is_caught(OrderRules {
        wait_for_majority: false,
        ..rules()
    });
}

#[test]
fn an_authority_that_ignores_causality_is_caught() {
    is_caught(OrderRules {
        order_causally: false,
        check_records: false,
        ..rules()
    });
}

#[test]
fn an_order_that_changes_with_an_election_is_caught() {
    is_caught(OrderRules {
        compare_logs: false,
        ..rules()
    });
}
