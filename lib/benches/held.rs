//! What it costs to hold messages and to release them: `cargo bench -p multicast --bench held`.
//!
//! A chain of messages by two members, each the answer to the one before, arrives last one first: everything is
//! held until the first comes, and then everything is delivered. Time a message must not grow with the chain, nor
//! with a backlog of held messages that have nothing to do with it.

#[path = "report/mod.rs"]
mod report;

use std::time::{Duration, Instant};

use bytes::Bytes;
use multicast::engine::{Config, Engine, Frame, Input, Output, Pulled};
use multicast::{Entry, Kind, MemberId, Past, Run};
use serde::Serialize;

use report::{Flags, Spread};

/// Chains, and the backlog of held messages beside them: each grows while the other one stays.
const SHAPES: [(u64, u64); 6] = [
    (1_000, 0),
    (10_000, 0),
    (100_000, 0),
    (10_000, 1_000),
    (10_000, 10_000),
    (10_000, 100_000),
];
/// Short chains are repeated, so that every figure is of as many messages.
const MESSAGES: u64 = 100_000;

#[derive(Serialize)]
struct Shape {
    chain: u64,
    backlog: u64,
    ns_per_message: Spread,
}

fn main() {
    let flags = Flags::read();
    let messages = match (flags.is_smoke(), flags.quick) {
        (true, _) => 1_000,
        (_, true) => 10_000,
        _ => MESSAGES,
    };
    println!(
        "held and released, ns a message: median and spread of {} rounds",
        flags.rounds
    );
    println!("  chain   backlog");
    let mut results = Vec::new();
    for (chain, backlog) in SHAPES {
        if chain > messages && flags.is_smoke() || !flags.wants("held") {
            continue;
        }
        let repeats = (messages / chain).max(1);
        let rounds: Vec<f64> = (0..flags.rounds).map(|_| round(chain, backlog, repeats)).collect();
        let ns_per_message = Spread::of(&rounds);
        println!("{chain:>7} {backlog:>9}   {}", ns_per_message.show(1.0, 0));
        results.push(Shape {
            chain,
            backlog,
            ns_per_message,
        });
    }
    flags.write("held", &results);
}

/// Nanoseconds a message, over so many repeats with a fresh engine each.
fn round(length: u64, backlog: u64, repeats: u64) -> f64 {
    let mut spent = Duration::ZERO;
    for _ in 0..repeats {
        let mut engine = engine();
        hold_unrelated(&mut engine, backlog);
        let frames: Vec<Input> = (1..=length).rev().map(link_of_chain).collect();
        let started = Instant::now();
        let mut delivered = 0;
        for frame in frames {
            let outputs = engine.handle(frame, 0);
            let pieces = outputs.iter().filter_map(|output| match output {
                Output::Deliver { piece, .. } => Some(piece.len()),
                _ => None,
            });
            delivered += pieces.sum::<usize>();
        }
        spent += started.elapsed();
        assert_eq!(delivered as u64, length, "the whole chain is delivered");
        assert_eq!(engine.held().count() as u64, backlog, "and nothing else");
    }
    spent.as_nanos() as f64 / (length * repeats) as f64
}

fn engine() -> Engine {
    let config = Config {
        held_per_origin: usize::MAX,
        held_bytes_per_origin: usize::MAX,
        held_bytes: usize::MAX,
        retention: usize::MAX,
        retention_factor: 1,
        digest_every: usize::MAX,
        ..Config::default()
    };
    let members: Vec<MemberId> = (0..5).map(member).collect();
    Engine::established(config, members[0], &members, 1, 0)
}

fn member(nth: u128) -> MemberId {
    MemberId::from(nth + 1)
}

/// The `nth` message of the chain, from 1: members 1 and 2 take turns, each answering the other's last.
fn link_of_chain(nth: u64) -> Input {
    let (origin, other) = if nth % 2 == 1 { (1, 2) } else { (2, 1) };
    relayed(origin, nth.div_ceil(2), nth, (other, nth / 2))
}

/// Messages of member 3 that all wait for one of member 4 that never comes.
fn hold_unrelated(engine: &mut Engine, count: u64) {
    for seq in 1..=count {
        engine.handle(relayed(3, seq, seq, (4, 1)), 0);
    }
}

/// A message with one entry in its past, as the answer to a pull, for that may bring anybody's.
fn relayed(origin: u128, seq: u64, lamport: u64, cause: (u128, u64)) -> Input {
    let past = match cause {
        (_, 0) => Vec::new(),
        (cause, seq) => vec![(member(cause), seq)],
    };
    let entry = Entry {
        lamport,
        sent_at: 0,
        kind: Kind::App,
        past: Past::Full(past),
        payload: Bytes::from_static(b"sixteen bytes..."),
    };
    let run = Run::new(member(origin), seq, vec![entry]);
    let pulled = Pulled {
        runs: vec![run],
        gone: Vec::new(),
        never: Vec::new(),
        base: None,
    };
    Input::Frame {
        from: member(1),
        frame: Frame::Pulled(pulled),
    }
}
