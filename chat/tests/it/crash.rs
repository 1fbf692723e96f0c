//! Deaths in mid-burst: `kill -9`, no goodbye. Those who live have the same, know where the dead ended, and wait for
//! nothing.

use std::collections::{BTreeMap, BTreeSet};

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{
    Chat, Dice, Log, Place, Registry, Watch, at, held, judge_survivors, latest, now, rounds, seconds, watch_until,
};

const NAMES: [&str; 6] = ["ana", "bob", "cyd", "dan", "eve", "fay"];
/// What those say who live.
const BURST: u64 = 200;
/// What those would say who are killed: so much that nobody is killed after the end.
const CUT_BURST: u64 = 5000;
/// Later than this nobody would believe in it. What is aimed at is 5 s.
const LATEST_S: f64 = 30.0;

/// Seconds after the kill.
#[derive(Debug)]
struct Times {
    /// Until the last message of a killed member was printed by the last of those who live.
    same_of_killed: f64,
    /// Until the last message of anybody was; those who live went on for a while.
    same: f64,
    closed: f64,
}

#[test]
fn one_killed_in_mid_burst() {
    repeat(1);
}

#[test]
fn two_killed_in_mid_burst() {
    repeat(2);
}

fn repeat(killed: usize) {
    let mut dice = Dice::new();
    let times: Vec<_> = (0..rounds()).map(|_| round(killed, &mut dice)).collect();
    let longest = |time: fn(&Times) -> f64| times.iter().map(time).fold(0.0, f64::max);
    println!(
        "{killed} of {} killed, {} rounds, longest from kill to: same set of the killed {:.2} s, same set {:.2} s, closed \
         everywhere {:.2} s",
        NAMES.len(),
        times.len(),
        longest(|times| times.same_of_killed),
        longest(|times| times.same),
        longest(|times| times.closed),
    );
    assert!(longest(|times| times.same.max(times.closed)) < LATEST_S, "{times:?}");
}

fn round(killed: usize, dice: &mut Dice) -> Times {
    let (place, registry) = (Place::new(), Registry::start());
    let start = |name: &&str| place.chat(&format!("-n {name} -r {}", registry.addr));
    let mut living: Vec<_> = NAMES.iter().map(start).collect();
    let ids: Vec<_> = living.iter().map(Chat::joined).collect();
    living.iter().for_each(|chat| chat.meets(&ids));
    let mut dying = living.split_off(NAMES.len() - killed);
    let (living_ids, dying_ids) = ids.split_at(living.len());

    // The dying begin first and are heard before they die, somewhere in the first tenth of what they have to say.
    let cut_loads: Vec<_> = dying.iter_mut().map(|chat| chat.flood("cut", "", CUT_BURST)).collect();
    let loads: Vec<_> = living.iter_mut().map(|chat| chat.flood("said", "", BURST)).collect();
    let mut watches: Vec<_> = living.iter().map(Watch::new).collect();
    let heard = 2 + dice.below(CUT_BURST as usize / 10) as u64;
    watch_until("burst", &mut watches[..1], |watches| {
        dying_ids.iter().all(|id| watches[0].has.get(id) >= Some(&heard))
    });
    let killed_at = now();
    dying.iter().for_each(|chat| chat.signal(Signal::KILL));

    let all = 1 + BURST;
    watch_until("end of it", &mut watches, |watches| {
        let first = &watches[0];
        let ended = |watch: &Watch| dying_ids.iter().all(|id| watch.closed.contains_key(id));
        let whole = |watch: &Watch| living_ids.iter().all(|id| watch.has.get(id) >= Some(&all));
        watches
            .iter()
            .all(|watch| ended(watch) && whole(watch) && watch.has == first.has && watch.closed == first.closed)
    });
    for (chat, load) in living.iter_mut().zip(loads) {
        assert_eq!(chat.calm(load), BURST);
    }
    for (chat, load) in dying.iter_mut().zip(cut_loads) {
        chat.calm(load);
    }
    let waiting: Vec<_> = living.iter_mut().map(held).collect();
    assert_eq!(waiting, vec![0; living.len()], "messages are held for ever");
    let dead: Vec<_> = dying.into_iter().map(Chat::into_killed_log).collect();
    let logs: Vec<_> = living.into_iter().map(goodbye).collect();
    judge_survivors(&logs, &dead);
    check_ends(&logs, dying_ids);
    times(&logs, dying_ids, killed_at)
}

fn goodbye(chat: Chat) -> Log {
    let (lines, exit) = chat.leave();
    // Its log may say that connections broke, and they did.
    assert_eq!(exit.code, Some(0), "{}", exit.stderr);
    Log { lines, ended: true }
}

/// The last `closed` of each killed member names the same number everywhere: that of its last message, in mid-burst.
fn check_ends(logs: &[Log], killed: &[String]) {
    for id in killed {
        let ends: BTreeSet<_> = logs
            .iter()
            .map(|log| (last_seq(log, id), last_of(log)[id.as_str()]))
            .collect();
        assert_eq!(ends.len(), 1, "{id} ended and was last heard at {ends:?}");
        let (end, heard) = ends.first().expect("one");
        assert_eq!(end, heard, "{id}");
        assert!(*end < 1 + CUT_BURST, "{id} was killed after its burst");
    }
}

fn last_seq(log: &Log, id: &str) -> u64 {
    let mut closed = log
        .lines
        .iter()
        .rev()
        .filter(|line| line["type"] == "closed" && line["origin"] == id);
    closed.next().expect("it was closed")["last_seq"]
        .as_u64()
        .expect("a number")
}

/// The last number of each origin that was printed.
fn last_of(log: &Log) -> BTreeMap<&str, u64> {
    let ids = log
        .lines
        .iter()
        .filter_map(|line| line["id"].as_str().filter(|_| line["clock"].is_object()));
    ids.map(|id| id.rsplit_once(':').expect("member:number"))
        .map(|(origin, seq)| (origin, seq.parse().expect("a number")))
        .collect()
}

fn times(logs: &[Log], killed: &[String], killed_at: jiff::Timestamp) -> Times {
    let is_killed = |id: &Value| killed.iter().any(|killed| id == killed.as_str());
    let said = |line: &Value| line["type"] == "message";
    let times = Times {
        same_of_killed: latest(logs, killed_at, |line| said(line) && is_killed(&line["from"]["id"])),
        same: latest(logs, killed_at, said),
        closed: latest(logs, killed_at, |line| {
            line["type"] == "closed" && is_killed(&line["origin"])
        }),
    };
    let lines = logs.iter().flat_map(|log| &log.lines);
    let early = lines.filter(|line| line["type"] == "closed" && is_killed(&line["origin"]));
    let early = early.map(|line| seconds(killed_at, at(line))).fold(f64::MAX, f64::min);
    assert!(early > 0.0, "closed before it was killed");
    times
}
