//! How much memory hostile bytes become. In a binary of its own, for it counts what the whole process allocates.

use bytes::Bytes;
use multicast::engine::{Config, Engine, Frame, Input, Pull, Pulled, Record, Standing, View};
use multicast::{Entry, Kind, MemberId, Past, Run, Span};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const FRAME: usize = 1 << 20;
const MOST: usize = 4 << 20;

fn member(n: usize) -> MemberId {
    MemberId::from(n as u128)
}

/// What a frame of these bytes costs at the worst moment from decoding to the end of what the engine does with it.
fn peak(name: &str, bytes: Vec<u8>) {
    assert!(bytes.len() <= FRAME, "{name}: {} bytes are no frame", bytes.len());
    // It knows all whom a clock may name: what it keeps of each is not the decoder's.
    let members: Vec<MemberId> = (1..=4106).map(member).collect();
    let mut engine = Engine::established(Config::default(), member(1), &members, 7, 0);
    engine.handle(Input::LinkUp { peer: member(2) }, 0);
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let decoded = postcard::from_bytes::<Frame>(&bytes);
    let refused = decoded.is_err();
    if let Ok(frame) = decoded {
        drop(engine.handle(Input::Frame { from: member(2), frame }, 1000));
    }
    let peak = MEMORY.peak_usage() - before;
    println!(
        "{name}: {} bytes became {peak} at most (refused: {refused})",
        bytes.len()
    );
    assert!(peak <= MOST, "{name}: {} bytes became {peak}", bytes.len());
}

fn entry(nth: u64, past: Past) -> Entry {
    Entry {
        lamport: nth + 1,
        sent_at: 0,
        kind: Kind::App,
        past,
        payload: Bytes::new(),
    }
}

/// A full clock of so many entries, and messages each of which changes so many of it.
fn run(messages: usize, clock: usize, changes: usize) -> Run {
    let past = |nth: usize| match nth {
        0 => Past::Full((0..clock).map(|n| (member(10 + n), 1)).collect()),
        _ => Past::Changes((0..changes).map(|n| (member(10 + n), 1 + nth as u64)).collect()),
    };
    let entries = (0..messages).map(|nth| entry(nth as u64, past(nth))).collect();
    Run::new(member(2), 1, entries)
}

fn bytes(frame: &Frame) -> Vec<u8> {
    postcard::to_stdvec(frame).expect("it has a form")
}

/// One test: what another one allocates at the same time would be counted, too.
#[test]
fn a_frame_of_a_mebibyte_becomes_four_at_most() {
    // Many messages, a long clock that each of them changes a little; and all in between.
    for (messages, clock, changes) in [
        (4096, 4000, 1),
        (4096, 0, 0),
        (4096, 4096, 8),
        (100, 4096, 360),
        (9, 4096, 4096),
    ] {
        let push = Frame::Push(run(messages, clock, changes));
        peak(&format!("push {messages}, {clock}, {changes}"), bytes(&push));
    }
    for (runs, messages, clock, changes) in [
        (60, 4096, 0, 0),
        (11, 4096, 4, 1),
        (9, 4000, 1000, 1),
        (14, 100, 4000, 1),
        (30_000, 1, 0, 0),
        (20_000, 1, 1, 0),
    ] {
        let pulled = Frame::Pulled(Pulled {
            runs: vec![run(messages, clock, changes); runs],
            gone: Vec::new(),
            never: Vec::new(),
            base: None,
        });
        peak(
            &format!("pulled {runs} of {messages}, {clock}, {changes}"),
            bytes(&pulled),
        );
    }
    let record = |nth: usize| Record {
        member: member(nth),
        generation: 0,
        standing: Standing::Joining,
        goodbye: false,
        intro: None,
    };
    for records in [4096, 49_000] {
        let view = Frame::View(View {
            records: (0..records).map(record).collect(),
            proofs: Vec::new(),
        });
        peak(&format!("view of {records}"), bytes(&view));
    }
    let spans = |count: usize| {
        (0..count)
            .map(|nth| Span {
                origin: member(nth),
                from: 1,
                to: 1,
            })
            .collect::<Vec<_>>()
    };
    for wants in [16_000, 58_000] {
        peak(
            &format!("pull of {wants}"),
            bytes(&Frame::Pull(Pull { wants: spans(wants) })),
        );
    }
    let pulled = Frame::Pulled(Pulled {
        runs: Vec::new(),
        gone: spans(16_000),
        never: spans(16_000),
        base: None,
    });
    peak("gone and never", bytes(&pulled));
}
