//! When things happened, by the clock that all processes of a machine share.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::Log;

/// Whether stops and partitions last as long as the promises say, not only as long as a test may.
pub fn is_long() -> bool {
    std::env::var("CHAT_TEST_LONG").is_ok_and(|long| long == "1")
}

pub fn now() -> Timestamp {
    Timestamp::now()
}

/// When a process learned what it printed in this line.
pub fn at(line: &Value) -> Timestamp {
    let at = line["at"].as_str().expect("a time");
    at.parse().expect("a time")
}

/// Seconds from `start` to the latest of these lines; 0 if all are older.
pub fn latest(logs: &[Log], start: Timestamp, counts: impl Fn(&Value) -> bool) -> f64 {
    let lines = logs.iter().flat_map(|log| &log.lines).filter(|line| counts(line));
    lines.map(|line| seconds(start, at(line))).fold(0.0, f64::max)
}

pub fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    let span = to.duration_since(from);
    let length = Duration::try_from(span.abs()).expect("not negative").as_secs_f64();
    if span.is_negative() { -length } else { length }
}
