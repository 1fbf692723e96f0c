//! What all benchmarks share: their flags, medians with spread, and where they write JSON.

use std::path::PathBuf;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Parser;
use serde::Serialize;

/// Rounds of a benchmark that is not told otherwise: the fewest of which a median and a spread mean something.
const ROUNDS: usize = 5;

/// Flags of every benchmark.
#[derive(Parser, Clone, Debug)]
#[command(about, long_about = None)]
pub(crate) struct Flags {
    /// A subset that takes less than a minute
    #[arg(long, env = "MULTICAST_BENCH_QUICK")]
    pub(crate) quick: bool,
    /// Only scenarios whose name contains this
    #[arg(long, value_name = "NAME")]
    pub(crate) only: Option<String>,
    /// Rounds of everything
    #[arg(long, value_name = "N", default_value_t = ROUNDS)]
    pub(crate) rounds: usize,
    /// Where to write the results [default: target/bench-NAME.json]
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// What cargo says to a benchmark. Without it (cargo test --benches) a tiny run shows that the program works
    #[arg(long, hide = true)]
    bench: bool,
    /// Measures the memory of that many members in this process, which must be fresh
    #[arg(long, hide = true, value_name = "MEMBERS")]
    pub(crate) memory_of: Option<usize>,
}

impl Flags {
    pub(crate) fn read() -> Self {
        let flags = Self::parse();
        Self {
            rounds: if flags.is_smoke() { 1 } else { flags.rounds.max(1) },
            ..flags
        }
    }

    /// Nothing is measured and nothing is written.
    pub(crate) fn is_smoke(&self) -> bool {
        !self.bench
    }

    pub(crate) fn wants(&self, scenario: &str) -> bool {
        self.only.as_ref().is_none_or(|only| scenario.contains(only.as_str()))
    }

    /// Writes results as JSON, and says where.
    pub(crate) fn write(&self, bench: &str, results: &impl Serialize) {
        if self.is_smoke() {
            return;
        }
        let path = self
            .json
            .clone()
            .unwrap_or_else(|| target().join(format!("bench-{bench}.json")));
        let report = Report {
            bench,
            machine: Machine::read(),
            commit: first_line("git", &["describe", "--always", "--dirty"]),
            unix_time: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |now| now.as_secs()),
            rounds: self.rounds,
            quick: self.quick,
            results,
        };
        let json = serde_json::to_string_pretty(&report).expect("plain data");
        std::fs::write(&path, json + "\n").expect("the results can be written");
        println!("\nwritten: {}", path.display());
    }
}

/// The build directory of this program: benchmarks are run in the package's directory, not in the workspace's.
fn target() -> PathBuf {
    let exe = std::env::current_exe().expect("a program knows where it is");
    // target/release/deps/mesh-0123456789abcdef
    exe.ancestors().nth(3).map_or_else(|| "target".into(), PathBuf::from)
}

#[derive(Serialize)]
struct Report<'a, T> {
    bench: &'a str,
    machine: Machine,
    commit: String,
    unix_time: u64,
    rounds: usize,
    quick: bool,
    results: &'a T,
}

#[derive(Serialize)]
struct Machine {
    cpu: String,
    cpus: usize,
    kernel: String,
    rustc: String,
}

impl Machine {
    fn read() -> Self {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find(|line| line.starts_with("model name"));
        let cpu = model.and_then(|line| line.split_once(": ")).map_or("", |named| named.1);
        Self {
            cpu: cpu.to_owned(),
            cpus: std::thread::available_parallelism().map_or(0, usize::from),
            kernel: first_line("uname", &["-sr"]),
            rustc: first_line("rustc", &["--version"]),
        }
    }
}

/// What a command says first; empty where there is no such command.
fn first_line(command: &str, args: &[&str]) -> String {
    let output = Command::new(command).args(args).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.unwrap_or_default().lines().next().unwrap_or_default().to_owned()
}

/// The middle of several rounds, and how far they lie apart.
#[derive(Clone, Copy, Serialize, Debug)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Of at least one figure.
    pub(crate) fn of(figures: &[f64]) -> Self {
        let mut sorted = figures.to_vec();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len() - 1;
        Self {
            median: (sorted[last / 2] + sorted[last.div_ceil(2)]) / 2.0,
            min: sorted[0],
            max: sorted[last],
        }
    }

    /// `1.5 (1.2..2.0)`, in that many units and with that many digits.
    pub(crate) fn show(&self, unit: f64, digits: usize) -> String {
        let Self { median, min, max } = self;
        let [median, min, max] = [median, min, max].map(|figure| figure / unit);
        format!("{median:.digits$} ({min:.digits$}..{max:.digits$})")
    }
}
