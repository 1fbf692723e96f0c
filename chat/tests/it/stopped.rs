//! A peer that stands still under load: stopped, not ended, so that every connection stays and takes nothing.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::process::Signal;

use crate::harness::{Chat, Log, Place, Registry, Watch, at, is_long, judge, now, seconds, watch_until};

const NAMES: [&str; 4] = ["ana", "bob", "cyd", "dan"];
/// Who is stopped. It says nothing: the load is that of the others, with and without it.
const STOPPED: usize = 3;
/// Makes a message about as long as a long chat line.
const FILLER: usize = 200;
/// Between two looks at the memory.
const LOOK: Duration = Duration::from_millis(200);
/// How much the others may grow: the retention budget of the library, and as much again for everything else.
const GROWTH_MAX: u64 = (64 + 64) << 20;
/// Less than this would be standing still. What is aimed at is 0.9.
const RATIO_MIN: f64 = 0.5;

#[test]
fn a_stopped_peer_stops_nobody_and_misses_nothing() {
    let length = Duration::from_secs(if is_long() { 20 } else { 8 });
    let (place, registry) = (Place::new(), Registry::start());
    let start = |name: &&str| place.chat(&format!("-n {name} -r {}", registry.addr));
    let mut chats: Vec<_> = NAMES.iter().map(start).collect();
    let ids: Vec<_> = chats.iter().map(Chat::joined).collect();
    chats.iter().for_each(|chat| chat.meets(&ids));

    let filler = format!(" {}", "x".repeat(FILLER));
    let idle = memory(&chats);
    let mut loads = Vec::new();
    for (name, chat) in NAMES.iter().zip(&mut chats[..STOPPED]) {
        loads.push(chat.flood(name, &filler, u64::MAX));
    }
    let began = now();
    let with = memory_for(length, &chats);
    chats[STOPPED].signal(Signal::STOP);
    let stopped = now();
    let without = memory_for(length, &chats);
    chats[STOPPED].signal(Signal::CONT);
    let went_on = now();
    let mut watches: Vec<_> = chats.iter().map(Watch::new).collect();
    let said: Vec<_> = chats
        .iter_mut()
        .zip(loads)
        .map(|(chat, load)| 1 + chat.calm(load))
        .collect();
    watch_until("end of the load", &mut watches, |watches| {
        watches
            .iter()
            .all(|watch| (0..STOPPED).all(|k| watch.has.get(&ids[k]) >= Some(&said[k])))
    });
    let caught_up = now();
    let logs: Vec<_> = chats.into_iter().map(goodbye).collect();
    judge(&logs);

    let rate = |from, to| delivered(&logs[0], from, to) as f64 / seconds(from, to);
    let (before, during) = (rate(began, stopped), rate(stopped, went_on));
    let growth = without.saturating_sub(idle);
    let mib = |bytes: u64| bytes >> 20;
    println!(
        "one of {} stopped for {length:?}: {before:.0} messages/s before, {during:.0} during it, ratio {:.2}; memory {} MiB \
         idle, {} before, {} during it; caught up {:.2} s after it, {} messages told as lost",
        NAMES.len(),
        during / before,
        mib(idle),
        mib(with),
        mib(without),
        seconds(went_on, caught_up),
        lost(&logs[STOPPED]),
    );
    assert!(growth <= GROWTH_MAX, "grew by {} MiB", mib(growth));
    assert!(
        during / before > RATIO_MIN,
        "{before} messages/s before, {during} during it"
    );
    assert_eq!(logs[..STOPPED].iter().map(lost).sum::<u64>(), 0);
}

/// The most that one of those who are not stopped takes.
fn memory(chats: &[Chat]) -> u64 {
    chats[..STOPPED].iter().map(Chat::memory).max().expect("several")
}

/// The same, at its most within this time.
fn memory_for(length: Duration, chats: &[Chat]) -> u64 {
    let deadline = Instant::now() + length;
    let mut most = 0;
    while Instant::now() < deadline {
        most = most.max(memory(chats));
        // The load runs for this time; nothing is waited for.
        std::thread::sleep(LOOK);
    }
    most
}

fn goodbye(chat: Chat) -> Log {
    let (lines, exit) = chat.leave_unchecked();
    assert_eq!(exit.code, Some(0), "{}", exit.stderr);
    Log { lines, ended: true }
}

/// How many messages were delivered here in this time.
fn delivered(log: &Log, from: Timestamp, to: Timestamp) -> usize {
    let messages = log.lines.iter().filter(|line| line["type"] == "message");
    messages.filter(|line| (from..to).contains(&at(line))).count()
}

/// How many messages were told as lost.
fn lost(log: &Log) -> u64 {
    let gaps = log.lines.iter().filter(|line| line["type"] == "gap");
    let spans = gaps.flat_map(|line| line["dots"].as_array().expect("spans"));
    spans
        .map(|span| span["to"].as_u64().unwrap() - span["from"].as_u64().unwrap() + 1)
        .sum()
}
