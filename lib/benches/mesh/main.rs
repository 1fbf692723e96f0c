//! `multicast` beside what it stands on, in one run: `cargo bench -p multicast --bench mesh`.
//!
//! All members live in one process and on one runtime of two workers, each with its own listener on loopback and its
//! own connection to every other one. In `far` scenarios each connection goes through a proxy that hands bytes on 50 ms
//! late each way, the floors' too. The floors promise nothing: no causal order, no repair. Rounds of all
//! contestants take turns, because a machine's figures drift; what counts are ratios within a round.
//!
//! A delivery is one message that arrives at one member that is not its sender. Nothing may be lost, repeated or
//! reordered (each sender's messages are counted), and the stamps of a sample are judged by `multicast::check_logs`.

#[path = "../../tests/it/secure/authority.rs"]
mod authority;
mod board;
mod contestant;
mod floor;
mod handshake;
mod memory;
mod ours;
mod over_tarpc;
mod raw;
#[path = "../report/mod.rs"]
mod report;
mod results;
mod road;
mod round;
mod scenario;

use std::time::{Duration, Instant};

use tracing_subscriber::EnvFilter;

use contestant::Contestant;
use report::Flags;
use results::Results;
use round::{Figures, Load, RATE, round};
use scenario::{Scenario, Sending};

/// Workers of the runtime, whatever the machine has: figures of different machines then mean the same.
const WORKERS: usize = 2;
/// Between two rounds a mesh must be quiet for so long, so that its last words are not the next one's load.
const QUIET: Duration = Duration::from_millis(30);
/// Bytes in that time that are quiet: heartbeats of a large group.
const QUIET_BYTES: u64 = 64 << 10;
/// For how long quiet is waited for.
const QUIET_PATIENCE: Duration = Duration::from_secs(5);

fn main() {
    let flags = Flags::read();
    // Spans of every call would double its price. What tarpc says is of connections that are closed in the end.
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,tarpc=off"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .expect("a runtime");
    let outcome = match flags.memory_of {
        Some(members) => runtime.block_on(memory::measure(members)),
        None => runtime.block_on(measure(&flags)),
    };
    // Tasks of meshes that were closed are not waited for.
    runtime.shutdown_background();
    if let Err(error) = outcome {
        eprintln!("FAILED: {error}");
        std::process::exit(1);
    }
}

async fn measure(flags: &Flags) -> Result<(), String> {
    let mut results = Results::default();
    for scenario in scenario::all(flags) {
        let name = scenario.name();
        match run(&scenario, flags.rounds).await {
            Ok((rounds, judged)) => results.add(&scenario, &rounds, judged),
            // Told at the end again, by the exit code; the other scenarios are measured nevertheless.
            Err(error) => results.fail(name, error),
        }
    }
    if flags.wants("handshake") {
        match handshake::measure(flags).await {
            Ok(handshake) => results.handshake = Some(handshake),
            Err(error) => results.fail("handshake".into(), error),
        }
    }
    if flags.wants("memory") {
        let (memory, outcome) = memory::measure_all(flags);
        results.memory = memory;
        if let Err(error) = outcome {
            results.fail("memory".into(), error);
        }
    }
    flags.write("mesh", &results);
    results.outcome()
}

/// By round and contestant, its figures; and how many deliveries were judged by their stamps.
async fn run(scenario: &Scenario, rounds: usize) -> Result<(Vec<Vec<Figures>>, usize), String> {
    let mut contestants = Vec::new();
    for &kind in scenario.kinds {
        let opened = Contestant::open(kind, scenario.members, scenario.payload, scenario.road).await;
        contestants.push(opened.map_err(|error| format!("{}: {error}", kind.name()))?);
    }
    let kinds = scenario.kinds;
    let of = |nth: usize| move |error: String| format!("{}: {error}", kinds[nth].name());
    // The first round warms up, and says how much all of them can take.
    let warm = Load::Full {
        senders: scenario.senders(),
    };
    let (mut slowest, mut judged) = (f64::INFINITY, 0);
    for (nth, contestant) in contestants.iter().enumerate() {
        let figures = round(contestant, warm, scenario.length).await.map_err(of(nth))?;
        slowest = slowest.min(figures[RATE]);
        judged += contestant.check_sample().map_err(of(nth))?.unwrap_or(0);
        settle(contestant).await;
    }
    let load = match scenario.sending {
        Sending::All | Sending::One => warm,
        Sending::HalfLoad => Load::Steady {
            deliveries_per_s: slowest / 2.0,
        },
        Sending::OneAtATime => Load::OneAtATime,
    };
    let mut all = Vec::new();
    for nth in 0..rounds {
        let mut figures = vec![Figures::new(); contestants.len()];
        for turn in 0..contestants.len() {
            // Nobody always comes after the same one.
            let at = (turn + nth) % contestants.len();
            figures[at] = round(&contestants[at], load, scenario.length).await.map_err(of(at))?;
            settle(&contestants[at]).await;
        }
        all.push(figures);
    }
    for (nth, contestant) in contestants.iter().enumerate() {
        contestant.board.notes().iter().for_each(|note| {
            println!("  note: {}: {note}", scenario.kinds[nth].name());
        });
    }
    Ok((all, judged))
}

/// Returns when a mesh that has delivered everything also has nothing more to say.
async fn settle(contestant: &Contestant) {
    let until = Instant::now() + QUIET_PATIENCE;
    loop {
        let before = contestant.written();
        tokio::time::sleep(QUIET).await;
        if contestant.written() - before < QUIET_BYTES {
            return;
        }
        if Instant::now() > until {
            return contestant.board.note("is not quiet long after a round".into());
        }
    }
}
