//! The table, and the same as JSON.

use std::collections::BTreeMap;

use multicast::engine::Config;
use serde::Serialize;

use crate::contestant::Kind;
use crate::memory::Memory;
use crate::report::Spread;
use crate::road::{BANDWIDTH, ROUND_TRIP, Road};
use crate::round::{CPU, DELIVERIES, Figures, P50, P99, RATE, WIRE};
use crate::scenario::Scenario;

#[derive(Serialize, Default)]
pub(crate) struct Results {
    scenarios: Vec<Table>,
    failed: Vec<Failure>,
    /// What it takes to connect, in microseconds.
    pub(crate) handshake: Option<Spread>,
    pub(crate) memory: Vec<Memory>,
}

/// A scenario in which something was lost, repeated or reordered.
#[derive(Serialize)]
struct Failure {
    name: String,
    error: String,
}

#[derive(Serialize)]
struct Table {
    name: String,
    title: String,
    members: usize,
    payload: usize,
    senders: usize,
    round_s: f64,
    /// Deliveries whose stamps and order were judged, beyond counting all.
    judged: usize,
    /// With a long road between members.
    far: Option<Far>,
    contestants: Vec<Row>,
    /// Throughput with TLS, as a part of that without, round by round.
    secure: Option<Spread>,
}

/// What a long road, and the window, allow.
#[derive(Serialize)]
struct Far {
    round_trip_s: f64,
    bandwidth_bytes_per_s: f64,
    window_bytes: f64,
    /// The window a round trip, or the bandwidth if that is less.
    allowed_bytes_per_s: f64,
    /// Ours, as a part of that.
    used: Spread,
}

#[derive(Serialize)]
struct Row {
    name: &'static str,
    figures: BTreeMap<&'static str, Spread>,
    /// Ours divided by this one's, round by round.
    ours_to_this: BTreeMap<&'static str, Spread>,
}

impl Results {
    /// Adds, and prints, the rounds of one scenario: by round and contestant.
    pub(crate) fn add(&mut self, scenario: &Scenario, rounds: &[Vec<Figures>], judged: usize) {
        let row = |nth: usize| {
            let names = rounds[0][nth].keys().copied();
            let figures = |name| rounds.iter().map(move |round| round[nth][name]);
            let ratios = |name| rounds.iter().map(move |round| round[0][name] / round[nth][name]);
            Row {
                name: scenario.kinds[nth].name(),
                figures: names.clone().map(|name| (name, spread(figures(name)))).collect(),
                ours_to_this: names.map(|name| (name, spread(ratios(name)))).collect(),
            }
        };
        let table = Table {
            name: scenario.name(),
            title: scenario.title(),
            members: scenario.members,
            payload: scenario.payload,
            senders: scenario.senders(),
            round_s: scenario.length.as_secs_f64(),
            judged,
            far: (scenario.road == Road::Long).then(|| Far::of(scenario, rounds)),
            contestants: (0..scenario.kinds.len()).map(row).collect(),
            secure: (scenario.kinds == Kind::SECURITY)
                .then(|| spread(rounds.iter().map(|round| round[1][RATE] / round[0][RATE]))),
        };
        table.print();
        self.scenarios.push(table);
    }

    /// Notes, and prints, that a scenario could not be measured to its end.
    pub(crate) fn fail(&mut self, name: String, error: String) {
        println!("\n{name} FAILED: {error}");
        self.failed.push(Failure { name, error });
    }

    /// An error if anything failed.
    pub(crate) fn outcome(&self) -> Result<(), String> {
        match self.failed.len() {
            0 => Ok(()),
            count => Err(format!("{count} scenarios, see above")),
        }
    }
}

impl Far {
    fn of(scenario: &Scenario, rounds: &[Vec<Figures>]) -> Self {
        let (round_trip_s, bandwidth) = (ROUND_TRIP.as_secs_f64(), BANDWIDTH as f64);
        let window_bytes = Config::default().far_window_bytes as f64;
        let allowed = bandwidth.min(window_bytes / round_trip_s);
        let used = |round: &Vec<Figures>| round[0][RATE] * scenario.payload as f64 / allowed;
        Self {
            round_trip_s,
            bandwidth_bytes_per_s: bandwidth,
            window_bytes,
            allowed_bytes_per_s: allowed,
            used: spread(rounds.iter().map(used)),
        }
    }
}

fn spread(figures: impl Iterator<Item = f64>) -> Spread {
    Spread::of(&figures.collect::<Vec<_>>())
}

impl Table {
    fn print(&self) {
        println!(
            "\n{} ({}; {} deliveries judged by their stamps)",
            self.title, self.name, self.judged
        );
        let latency = if self.contestants[0].figures.contains_key(P50) {
            "     p50 us (ours to this)      p99 us (ours to this)"
        } else {
            ""
        };
        println!(
            "{:<20} {:>30} {:>8}  {:>22} {:>6}  {:>8}{latency}",
            "", "million deliveries/s", "ours is", "CPU s per million", "", "wire B"
        );
        self.contestants.iter().for_each(Row::print);
        if let Some(secure) = &self.secure {
            println!("with mTLS {} of the throughput without", secure.show(1.0, 2));
        }
        if let Some(far) = &self.far {
            println!(
                "ours uses {} of {:.1} MB/s: a window of {:.0} MiB each {:.0} ms, or the road's {:.0} MB/s",
                far.used.show(1.0, 2),
                far.allowed_bytes_per_s / 1e6,
                far.window_bytes / f64::from(1 << 20),
                far.round_trip_s * 1e3,
                far.bandwidth_bytes_per_s / 1e6,
            );
            for row in &self.contestants {
                println!(
                    "{:<20} {:>30} MB/s",
                    row.name,
                    row.figures[RATE].show(1e6 / self.payload as f64, 1)
                );
            }
        }
    }
}

impl Row {
    fn print(&self) {
        let ratio = |name| self.ours_to_this[name].median;
        print!(
            "{:<20} {:>30} {:>8.2}  {:>22} {:>6.2}  {:>8.1}",
            self.name,
            self.figures[RATE].show(1e6, 3),
            ratio(RATE),
            self.figures[CPU].show(1.0, 3),
            ratio(CPU),
            self.figures[WIRE].median,
        );
        if let (Some(p50), Some(p99)) = (self.figures.get(P50), self.figures.get(P99)) {
            print!("  {:>20} {:>5.2}", p50.show(1.0, 0), ratio(P50));
            print!("  {:>20} {:>5.2}", p99.show(1.0, 0), ratio(P99));
        }
        println!("  [{:.0} deliveries a round]", self.figures[DELIVERIES].median);
    }
}
