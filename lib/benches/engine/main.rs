//! The engine alone, without a network and on one core: `cargo bench -p multicast --bench engine`.
//!
//! How many messages it delivers when everything comes in order, and what one costs as the group grows. Runs are fed
//! as the wire feeds them, encoded, unless it says otherwise; time is made up, one microsecond a message.

mod feed;
#[path = "../report/mod.rs"]
mod report;
mod signed;

use std::hint::black_box;
use std::time::Instant;

use multicast::engine::{Batch, Engine, Frame, Input, Output};
use multicast::{Kind, MemberId, Message, Run};
use serde::Serialize;

use feed::{Feed, PAYLOAD};
use report::{Flags, Spread};

/// Members of the group whose speed is told.
const MEMBERS: usize = 8;
/// Deliveries of a round, in order.
const IN_ORDER: usize = 500_000;
/// Messages of a run: one at a time, and a burst.
const RUNS: [usize; 3] = [1, 16, 128];
/// Sizes of groups, and how many deliveries make a round: about as much time for each.
const SIZES: [(usize, usize); 6] = [
    (3, 200_000),
    (8, 200_000),
    (64, 100_000),
    (256, 40_000),
    (512, 20_000),
    (1024, 20_000),
];

#[derive(Serialize, Default)]
struct Results {
    in_order: Vec<InOrder>,
    members: Vec<Size>,
}

#[derive(Serialize)]
struct InOrder {
    members: usize,
    payload: usize,
    messages_per_run: usize,
    /// What is fed: bytes, or runs that were decoded before.
    decoded_before: bool,
    deliveries: usize,
    deliveries_per_s: Spread,
}

#[derive(Serialize)]
struct Size {
    members: usize,
    payload: usize,
    changed_entries: usize,
    deliveries: usize,
    /// The clock of every message is read from one end to the other.
    ns_per_delivery: Spread,
    /// Nobody looks at a clock.
    ns_per_delivery_unread: Spread,
    /// Bytes on the wire beside the payload, of a message that goes alone in its stream.
    stamp_bytes: usize,
    /// The same of one that begins a stream, with a full clock.
    full_stamp_bytes: usize,
}

fn main() {
    let flags = Flags::read();
    let mut results = Results::default();
    // A part of the work shows that the program works.
    let part = match (flags.is_smoke(), flags.quick) {
        (true, _) => 100,
        (_, true) => 5,
        _ => 1,
    };
    if flags.wants("in-order") {
        println!("in order, {MEMBERS} members, {PAYLOAD} B: million deliveries/s");
        for (messages, decoded) in RUNS.iter().flat_map(|run| [(*run, false), (*run, true)]) {
            results
                .in_order
                .push(in_order(messages, decoded, IN_ORDER / part, flags.rounds));
        }
    }
    if flags.wants("signed") {
        signed::print(part);
    }
    if flags.wants("members") {
        println!("\nby members, 4 entries changed, one message a run: ns a delivery, bytes of a stamp");
        println!("                  clock read         clock not read      change list   full clock");
        for (members, deliveries) in SIZES {
            results
                .members
                .push(by_members(members, deliveries / part, flags.rounds));
        }
    }
    flags.write("engine", &results);
}

fn in_order(messages_per_run: usize, decoded_before: bool, deliveries: usize, rounds: usize) -> InOrder {
    let round = || {
        let (mut engine, feed) = (engine(MEMBERS), Feed::bursts(MEMBERS, messages_per_run, deliveries));
        let frames: Vec<Input> = match decoded_before {
            true => feed.runs.iter().map(|(from, run)| pushed(*from, run)).collect(),
            false => Vec::new(),
        };
        let started = Instant::now();
        let delivered = match decoded_before {
            true => deliver(&mut engine, frames.into_iter(), touch),
            false => deliver(
                &mut engine,
                feed.runs.iter().map(|(from, run)| pushed(*from, run)),
                touch,
            ),
        };
        assert_eq!(delivered, feed.messages, "everything is delivered");
        delivered as f64 / started.elapsed().as_secs_f64()
    };
    let deliveries_per_s = Spread::of(&(0..rounds).map(|_| round()).collect::<Vec<_>>());
    println!(
        "{messages_per_run:>4} a run, {:<16} {}",
        if decoded_before { "decoded before" } else { "bytes" },
        deliveries_per_s.show(1e6, 2)
    );
    InOrder {
        members: MEMBERS,
        payload: PAYLOAD,
        messages_per_run,
        decoded_before,
        deliveries,
        deliveries_per_s,
    }
}

fn by_members(members: usize, deliveries: usize, rounds: usize) -> Size {
    let changed_entries = feed::CHANGED.min(members - 2);
    let round = |look: fn(&Message)| {
        let (mut engine, feed) = (engine(members), Feed::replies(members, deliveries));
        let (first, timed) = feed.runs.split_at(feed.before);
        deliver(&mut engine, first.iter().map(|(from, run)| pushed(*from, run)), touch);
        let started = Instant::now();
        let delivered = deliver(&mut engine, timed.iter().map(|(from, run)| pushed(*from, run)), look);
        assert_eq!(delivered, timed.len(), "everything is delivered");
        started.elapsed().as_nanos() as f64 / delivered as f64
    };
    let spread = |look| Spread::of(&(0..rounds).map(|_| round(look)).collect::<Vec<_>>());
    let (ns_per_delivery, ns_per_delivery_unread) = (spread(read_clock), spread(touch));
    let (stamp_bytes, full_stamp_bytes) = stamp(members);
    println!(
        "{members:>5}  {:>22}  {:>22} {stamp_bytes:>12} {full_stamp_bytes:>12}",
        ns_per_delivery.show(1.0, 0),
        ns_per_delivery_unread.show(1.0, 0)
    );
    Size {
        members,
        payload: PAYLOAD,
        changed_entries,
        deliveries,
        ns_per_delivery,
        ns_per_delivery_unread,
        stamp_bytes,
        full_stamp_bytes,
    }
}

/// A member of an established group with links to all others, as the wire would give it.
fn engine(members: usize) -> Engine {
    let all: Vec<MemberId> = (0..members).map(feed::member).collect();
    let mut engine = Engine::established(Default::default(), all[0], &all, 1, 0);
    for &peer in &all[1..] {
        engine.handle(Input::LinkUp { peer }, 0);
    }
    engine
}

fn pushed(from: MemberId, run: &bytes::Bytes) -> Input {
    let run = Run::decode(run).expect("well formed");
    Input::Frame {
        from,
        frame: Frame::Push(run),
    }
}

/// Hands all to the engine, and every delivered message to `look`; how many there were.
fn deliver(engine: &mut Engine, inputs: impl Iterator<Item = Input>, look: fn(&Message)) -> usize {
    let mut delivered = 0;
    for input in inputs {
        for output in engine.handle(input, delivered as u64) {
            if let Output::Deliver { piece, .. } = output {
                piece.messages().for_each(|message| look(&message));
                delivered += piece.len();
            }
        }
    }
    delivered
}

fn touch(message: &Message) {
    black_box((message.dot, message.payload[0]));
}

fn read_clock(message: &Message) {
    let clock = message.clock();
    black_box(clock.iter().map(|entry| entry.1).sum::<u64>());
}

/// Bytes beside the payload of a message that follows four others, and of one that begins a stream.
fn stamp(members: usize) -> (usize, usize) {
    let (mut engine, feed) = (engine(members), Feed::replies(members, 8 * members));
    let send = || Input::Send {
        ticket: 0,
        kind: Kind::App,
        payload: bytes::Bytes::from_static(&[0; PAYLOAD]),
        // A day in 2026: wall clocks have many digits.
        sent_at: 1_790_000_000_000_000,
    };
    let (first, rest) = feed.runs.split_at(feed.runs.len() - feed::CHANGED);
    deliver(&mut engine, first.iter().map(|(from, run)| pushed(*from, run)), touch);
    engine.handle(send(), 0);
    deliver(&mut engine, rest.iter().map(|(from, run)| pushed(*from, run)), touch);
    engine.handle(send(), 0);
    let bytes = |fresh| {
        let batch = Batch {
            after: 1,
            upto: 2,
            fresh,
        };
        engine.encode_own(batch).concat().len() - PAYLOAD
    };
    (bytes(false), bytes(true))
}
