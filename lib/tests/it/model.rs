//! Model checking of the real engine with `stateright`: every order of events within a scope, to exhaustion.
//!
//! ```text
//! cargo test -p multicast --test it model                                              the smaller scopes
//! MULTICAST_MODEL=full cargo test --release -p multicast --test it model:: -- --nocapture   all of them
//! ```
//!
//! # What is explored
//!
//! States are real engines (`multicast::engine::Engine`), made with `Engine::established`, linked and greeted, and
//! the frames on their way. Any member may send its next message at any time; any frame may arrive at any time,
//! so all reorderings are tried; a frame may get lost or arrive twice, a member may crash, within the scope's
//! `Faults`. Time stands still meanwhile, so no timer of an engine goes off, but for the early pull of some scopes.
//!
//! In every state: P1 and P2, judged by who had delivered what when it sent, never by stamps (`oracle`); S13, by
//! `Engine::check` and from outside; no engine calls another one odd, closes, reopens or gives up anything; and
//! "heals" (`heal`): a fair schedule without faults, with time running, leads to where all survivors have delivered
//! the same, hold nothing, and have closed the dead at the same seq.
//!
//! # What is left out, and why nothing is missed
//!
//! In all scopes:
//!
//! * *Acknowledgements* (`PushAck` without `restart`) arrive with the push that they answer, or get lost there.
//!   What they change, `Peer::acked` and `Pusher::flight`, no other step reads: the window and the number of batches
//!   in flight are out of reach, and stalled pushes need time. That one changes nothing else, and a second one
//!   nothing at all, is asserted whenever one arrives.
//! * *A lost frame* is lost when it is said: nobody can tell it from one that is lost later.
//! * *Who may suffer a fault* is settled at the start, one run for each: it is the same set of runs.
//! * *The dead*: what is for them vanishes. Frames of the one who will crash may get lost without limit, which covers
//!   every moment of the crash within a send, and more.
//!
//! In the scopes of three members with two messages each (`watched`) moreover, because the rest is too much:
//!
//! * Steps of different members commute, since a step touches one engine and adds frames. So it is enough to look at
//!   runs in which a member's arrivals come right before its next send, or, after its last one, at the end
//!   (persistent sets, Godefroid 1996), for every number of messages that each member sends.
//! * *Restarts* arrive at once, or get lost. Whoever is asked to begin its stream again has said everything in these
//!   scopes, so the answer is the same at any time, and whether it is on its way sooner makes no difference.
//!   To the dead a restart still goes: they may have answered it when they lived.
//! * *A crash* follows the last send at once. What the dead one receives after it reaches nobody.
//! * Every order of arrivals is tried at one member, the watched one, each member in turn. At the others those
//!   between two sends come in one order, for any selection of them: nothing that a member says, but the order of
//!   its log, depends on that order. So the local history of every member is tried in full, and "heals" from all
//!   endings of one member with one each of the others'.
//!
//! That these leave no history out is not only argued: `reductions_lose_no_history` compares with everything in every
//! order where that is small enough.
//!
//! # What is not explored
//!
//! Joins, leaves, partitions longer than a lost frame, budgets, retiring: the simulator's. More than one crash.

mod fate;
mod group;
mod heal;
mod lab;
mod oracle;
mod words;

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Instant;

use multicast::engine::{Config, Rules};
use stateright::{Checker, Model};

use fate::{Faults, Scope};
use group::{Group, History};

/// Checkers at a time: each has its own engines, and needs up to 5 GB in the largest scopes.
const CHECKERS: usize = 2;

/// What a checker found.
struct Report {
    states: usize,
    transitions: usize,
    engines: usize,
    endings: usize,
    histories: BTreeSet<History>,
    /// A property that does not hold, with the way to where it does not.
    violation: Option<(&'static str, String)>,
}

const ONE_DROP: Faults = Faults {
    drops: 1,
    twice: 0,
    crash: false,
    pulls: 0,
};
const ONE_DROP_ONE_TWICE: Faults = Faults { twice: 1, ..ONE_DROP };
const ONE_OF_EACH: Faults = Faults {
    crash: true,
    ..ONE_DROP_ONE_TWICE
};
const ONE_DROP_ONE_PULL: Faults = Faults { pulls: 1, ..ONE_DROP };
const ONE_CRASH: Faults = Faults {
    drops: 0,
    crash: true,
    ..ONE_DROP
};

#[test]
fn scopes() {
    let mut scopes = vec![
        (
            "2 x 2, one drop, one duplicate, one crash",
            everything(&[2, 2], ONE_OF_EACH),
        ),
        (
            "3 x 1, one drop, one duplicate",
            everything(&[1, 1, 1], ONE_DROP_ONE_TWICE),
        ),
        (
            "3 x 1, one drop, one early pull",
            everything(&[1, 1, 1], ONE_DROP_ONE_PULL),
        ),
        ("3 x 1, one crash", everything(&[1, 1, 1], ONE_CRASH)),
        ("3 members, 2 + 1 + 1, one drop", everything(&[2, 1, 1], ONE_DROP)),
    ];
    if std::env::var("MULTICAST_MODEL").is_ok_and(|value| value == "full") {
        scopes.insert(0, ("3 x 2, one crash", watching(&[2, 2, 2], ONE_CRASH)));
        scopes.insert(0, ("3 x 2, one drop", watching(&[2, 2, 2], ONE_DROP)));
    }
    let started = Instant::now();
    let jobs: Vec<(&str, Scope)> = scopes
        .into_iter()
        .flat_map(|(name, scopes)| scopes.into_iter().map(move |scope| (name, scope)))
        .collect();
    let jobs = Mutex::new(jobs.into_iter());
    let next = || jobs.lock().expect("no panic").next();
    std::thread::scope(|threads| {
        for _ in 0..CHECKERS {
            threads.spawn(|| {
                while let Some((name, scope)) = next() {
                    holds(name, &scope);
                }
            });
        }
    });
    println!("all in {:.0} s", started.elapsed().as_secs_f64());
}

#[test]
fn reductions_lose_no_history() {
    for (messages, faults) in [
        (vec![2, 2], ONE_DROP),
        (vec![2, 2], ONE_CRASH),
        (vec![1, 1, 1], ONE_DROP),
        (vec![1, 1, 1], ONE_CRASH),
        (vec![2, 1, 1], Faults { drops: 0, ..ONE_DROP }),
        (vec![2, 1, 1], ONE_DROP),
    ] {
        let all = explore(&everything(&messages, faults)[0], config());
        let reduced: Vec<Report> = watching(&messages, faults)
            .iter()
            .map(|scope| explore(scope, config()))
            .collect();
        let histories: BTreeSet<_> = reduced.iter().flat_map(|report| report.histories.clone()).collect();
        let states: usize = reduced.iter().map(|report| report.states).sum();
        println!(
            "{messages:?} {faults:?}: {} histories, {} states, reduced {states}",
            histories.len(),
            all.states
        );
        assert!(all.histories == histories, "{messages:?} {faults:?} lose histories");
    }
}

#[test]
fn a_mutant_is_found() {
    let rules = Rules::default();
    let without_check = Rules {
        check_dependencies: false,
        ..rules
    };
    let without_order = Rules {
        decode_only_next: false,
        ..rules
    };
    let no_drop = Faults { drops: 0, ..ONE_DROP };
    let one_pull = Faults { pulls: 1, ..no_drop };
    for (mutant, rules, messages, faults, broken) in [
        ("check_dependencies", without_check, [1, 1, 0], no_drop, "P1"),
        ("decode_only_next", without_order, [3, 1, 0], one_pull, "P2"),
    ] {
        let config = Config { rules, ..config() };
        let report = explore(&everything(&messages, faults)[0], config);
        let Some((property, path)) = report.violation else {
            panic!("nothing is noticed without {mutant}, in {} states", report.states);
        };
        println!(
            "without {mutant}, {} states: \"{property}\" fails\n{path}",
            report.states
        );
        assert!(property.starts_with(broken), "{property}");
    }
}

fn everything(messages: &[u64], faults: Faults) -> Vec<Scope> {
    vec![Scope {
        messages: messages.to_vec(),
        faults,
        watched: None,
    }]
}

fn watching(messages: &[u64], faults: Faults) -> Vec<Scope> {
    let watched = |seat| Scope {
        messages: messages.to_vec(),
        faults,
        watched: Some(seat),
    };
    (0..messages.len()).map(watched).collect()
}

/// Limits that are out of reach, and times that are short, so that healing takes few steps.
fn config() -> Config {
    const MS: u64 = 1_000;
    Config {
        // Without jitter: else equal states would differ by when they were to ask.
        pull_after: 1,
        // Nothing of what was pulled before is remembered: it would tell states apart that are alike.
        pull_rate: usize::MAX,
        pull_backoff: 20 * MS,
        exchange: 50 * MS,
        heartbeat: 200 * MS,
        gone_after: 100 * MS,
        push_patience: 300 * MS,
        ack_delay: 10 * MS,
        bound_patience: 1_000 * MS,
        batches_in_flight: 16,
        beside_after: 0,
        ..Config::default()
    }
}

fn holds(name: &str, scope: &Scope) {
    let started = Instant::now();
    let report = explore(scope, config());
    let watched = scope.watched.map_or(String::new(), |seat| format!(", m{seat} watched"));
    println!(
        "{name}{watched}: {} unique states, {} transitions, {} engines, {} endings, {:.1} s",
        report.states,
        report.transitions,
        report.engines,
        report.endings,
        started.elapsed().as_secs_f64()
    );
    if let Some((property, path)) = report.violation {
        panic!("{name}: \"{property}\" fails\n{path}");
    }
}

fn explore(scope: &Scope, config: Config) -> Report {
    let checker = Group::new(scope.clone(), config).checker().spawn_dfs().join();
    let model = checker.model();
    let violation = checker.discoveries().into_iter().next().map(|(name, path)| {
        let mut words = String::new();
        for (world, event) in path.into_vec() {
            words += &format!("    {world:?}\n");
            words += &match event {
                Some(event) => format!("  {}\n", model.words(&world, &event)),
                None => format!("  {}\n", model.trouble(&world)),
            };
        }
        (name, words)
    });
    Report {
        states: checker.unique_state_count(),
        transitions: checker.state_count(),
        engines: model.lab.size(),
        endings: model.endings(),
        histories: model.histories(),
        violation,
    }
}
