//! One round of one contestant, and what it gives.

use std::collections::BTreeMap;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::board::{Pace, Source};
use crate::contestant::Contestant;

/// Figures of one round, by name.
pub(crate) type Figures = BTreeMap<&'static str, f64>;

pub(crate) const DELIVERIES: &str = "deliveries";
pub(crate) const RATE: &str = "deliveries_per_s";
pub(crate) const CPU: &str = "cpu_s_per_million";
pub(crate) const WIRE: &str = "wire_bytes_per_delivery";
pub(crate) const P50: &str = "latency_p50_us";
pub(crate) const P99: &str = "latency_p99_us";

/// Something that is not everywhere so long after the sending ended counts as lost.
const PATIENCE: Duration = Duration::from_secs(20);

/// Who sends, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Load {
    /// As fast as it is taken; the first so many members.
    Full { senders: usize },
    /// All members, so many deliveries a second in all.
    Steady { deliveries_per_s: f64 },
    /// One message at a time, members in turn; the next when the last has arrived everywhere.
    OneAtATime,
}

/// One round of that length; returns when everything that was sent has arrived everywhere.
pub(crate) async fn round(contestant: &Contestant, load: Load, length: Duration) -> Result<Figures, String> {
    let board = &contestant.board;
    board.take_latencies();
    let before = (board.delivered(), contestant.written(), cpu_s(), Instant::now());
    let until = before.3 + length;
    let mut tasks = JoinSet::new();
    match load {
        Load::Full { senders } => {
            for me in 0..senders {
                contestant.say(me, Source::new(board, me, Pace::Full { until }), &mut tasks);
            }
        }
        Load::Steady { deliveries_per_s } => {
            let members = board.members();
            let messages_per_s = deliveries_per_s / (members * (members - 1)) as f64;
            for me in 0..members {
                contestant.say(
                    me,
                    Source::new(board, me, Pace::steady(until, messages_per_s)),
                    &mut tasks,
                );
            }
        }
        Load::OneAtATime => one_at_a_time(contestant, until, &mut tasks).await?,
    }
    let arrived = timeout(PATIENCE + length, async {
        while let Some(ended) = tasks.join_next().await {
            ended.map_err(|panic| panic.to_string())?;
        }
        board.all_arrived().await
    });
    arrived
        .await
        .unwrap_or_else(|_| Err(format!("{} after {PATIENCE:?}", board.progress())))?;
    let deliveries = (board.delivered() - before.0) as f64;
    let mut figures = Figures::from([
        (DELIVERIES, deliveries),
        (RATE, deliveries / before.3.elapsed().as_secs_f64()),
        (CPU, (cpu_s() - before.2) / deliveries * 1e6),
        (WIRE, (contestant.written() - before.1) as f64 / deliveries),
    ]);
    let mut latencies = board.take_latencies();
    if !latencies.is_empty() {
        latencies.sort_unstable();
        let at = |part: f64| latencies[(latencies.len() as f64 * part) as usize].as_secs_f64() * 1e6;
        figures.extend([(P50, at(0.5)), (P99, at(0.99))]);
    }
    Ok(figures)
}

async fn one_at_a_time(contestant: &Contestant, until: Instant, tasks: &mut JoinSet<()>) -> Result<(), String> {
    let board = &contestant.board;
    let mut callers = Vec::new();
    for me in 0..board.members() {
        let (caller, calls) = mpsc::channel(1);
        contestant.say(me, Source::new(board, me, Pace::Called(calls)), tasks);
        callers.push(caller);
    }
    for caller in callers.iter().cycle() {
        if Instant::now() >= until {
            break;
        }
        board.arm(callers.len() as u64 - 1);
        caller.send(()).await.map_err(|_| "a sender ended".to_owned())?;
        board.bell().await?;
    }
    Ok(())
}

/// Processor time of this process, user and system.
fn cpu_s() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}
