//! The whole stack, tarpc included, on the simulated network of `turmoil`.
//!
//! ```text
//! cargo test -p multicast --features turmoil --test storm
//! MULTICAST_STORMS=100 cargo test -p multicast --features turmoil --test storm -- --nocapture
//! MULTICAST_STORM=17 cargo test -p multicast --features turmoil --test storm held -- --nocapture
//! ```
//!
//! What is special about that network, and therefore tested:
//!
//! * It retransmits nothing. A connection that lost a segment in a partition is dead although the link is repaired,
//!   until the stall timer (5 s) gives it up and dials again.
//! * A partition refuses connections at once, as the address of a dead process does: members that are partitioned
//!   for longer than 2 s are closed, and reopened later. In a hold they are silent.
//! * A crashed host's connections end at once, and to dial it brings no answer at all.
//! * tarpc looks at the real clock for its deadlines, which hardly moves here: a call whose answer was given up may
//!   still be carried out, and the same messages come again over the next connection.
//!
//! Checked by what applications see: delivered events, with `multicast::check_logs` as the judge and with sets
//! compared directly, and the events about members.

mod scenarios;
mod stage;

/// Runs a scenario for the usual seeds, or for the one that the environment names.
fn seeds(name: &str, scenario: fn(u64)) {
    let number = |variable: &str| -> Option<u64> {
        let value = std::env::var(variable).ok()?;
        Some(
            value
                .parse()
                .unwrap_or_else(|_| panic!("{variable} is a number, not {value:?}")),
        )
    };
    let seeds = match number("MULTICAST_STORM") {
        Some(seed) => seed..seed + 1,
        None => 0..number("MULTICAST_STORMS").unwrap_or(USUAL_SEEDS),
    };
    let started = std::time::Instant::now();
    let count = seeds.end - seeds.start;
    for seed in seeds {
        let ends = OnPanic(format!("{name} failed with MULTICAST_STORM={seed}"));
        scenario(seed);
        std::mem::forget(ends);
    }
    println!("{name}: {count} seeds in {:.1} s", started.elapsed().as_secs_f64());
}

/// How many seeds a plain run tries of each scenario.
const USUAL_SEEDS: u64 = 5;

/// Says something when it is dropped, which only a panic does.
struct OnPanic(String);

impl Drop for OnPanic {
    fn drop(&mut self) {
        eprintln!("{}", self.0);
    }
}
