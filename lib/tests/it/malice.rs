//! A member that lies about numbers: it costs bounded memory, and stops nobody.

use std::sync::Arc;

use bytes::Bytes;
use multicast::engine::{Beat, Config, Engine, Frame, Input, Notice, Output, Stage};
use multicast::{Clock, Entry, Kind, MemberId, Past, Run};

const MS: u64 = 1000;

fn member(n: u128) -> MemberId {
    MemberId::from(n)
}

/// Member 1 with links to the honest 2 and the liar 3.
fn honest() -> Engine {
    let members = [member(1), member(2), member(3)];
    let mut engine = Engine::established(Config::default(), member(1), &members, 7, 0);
    for peer in [2, 3] {
        engine.handle(Input::LinkUp { peer: member(peer) }, 0);
    }
    engine
}

fn entry(lamport: u64, past: &[(u128, u64)]) -> Entry {
    let past = past.iter().map(|&(n, seq)| (member(n), seq)).collect();
    let payload = Bytes::from_static(b"x");
    Entry {
        lamport,
        sent_at: 0,
        kind: Kind::App,
        past: Past::Full(past),
        payload,
    }
}

fn push(origin: u128, first: u64, entry: Entry) -> Frame {
    Frame::Push(Run::new(member(origin), first, vec![entry]))
}

fn says(engine: &mut Engine, from: u128, frame: Frame, now: u64) -> Vec<Output> {
    let outputs = engine.handle(
        Input::Frame {
            from: member(from),
            frame,
        },
        now,
    );
    engine.check().expect("invariants hold");
    outputs
}

fn delivered(outputs: &[Output]) -> usize {
    let messages = |output: &Output| match output {
        Output::Deliver { piece, .. } => piece.len(),
        _ => 0,
    };
    outputs.iter().map(messages).sum()
}

/// Whatever the liar said: the honest ones go on, at once and for a minute.
fn goes_on(mut engine: Engine, first: u64) {
    for round in 0..60 {
        let now = (first + round) * 1000 * MS;
        let seq = round + 1;
        let past: &[(u128, u64)] = &[];
        let outputs = says(&mut engine, 2, push(2, seq, entry(seq, past)), now);
        assert_eq!(delivered(&outputs), 1, "round {round}");
        let input = Input::Send {
            ticket: round,
            kind: Kind::App,
            payload: Bytes::from_static(b"y"),
            sent_at: 0,
        };
        let outputs = engine.handle(input, now);
        assert!(
            outputs.iter().any(|output| matches!(output, Output::Sent { .. })),
            "round {round}"
        );
        engine.handle(Input::Tick, now + 500 * MS);
        engine.check().expect("invariants hold");
    }
    assert!(engine.held_size().1 < 64 << 20);
    assert!(!engine.is_over());
}

#[test]
fn a_dot_at_the_end_of_the_numbers() {
    let mut engine = honest();
    let last = (1 << 53) - 5000;
    assert_eq!(delivered(&says(&mut engine, 3, push(3, last, entry(5, &[])), MS)), 0);
    goes_on(engine, 1);
    let bytes = Run::new(member(3), u64::MAX, vec![entry(5, &[])]).encode();
    assert!(Run::decode(&bytes).is_err());
}

#[test]
fn a_cause_that_nobody_has() {
    let mut engine = honest();
    assert_eq!(
        delivered(&says(&mut engine, 3, push(3, 1, entry(5, &[(2, 1_000_000)])), MS)),
        0
    );
    goes_on(engine, 1);
}

#[test]
fn a_cause_of_this_member_that_it_never_sent() {
    let mut engine = honest();
    let outputs = says(&mut engine, 3, push(3, 1, entry(5, &[(1, 77)])), MS);
    assert!(
        outputs
            .iter()
            .any(|output| matches!(output, Output::Notice(Notice::Odd { .. })))
    );
    assert_eq!(engine.held_size().0, 0);
    goes_on(engine, 1);
}

#[test]
fn members_that_nobody_knows() {
    let mut engine = honest();
    for seq in 2..40 {
        let made_up: Vec<(u128, u64)> = (0..100).map(|n| (1000 + u128::from(seq) * 100 + n, 1)).collect();
        says(&mut engine, 3, push(3, seq, entry(5, &made_up)), MS);
    }
    goes_on(engine, 1);
}

#[test]
fn ten_thousand_entries() {
    let many: Vec<(u128, u64)> = (0..10_000).map(|n| (1000 + n, 1)).collect();
    let bytes = Run::new(member(3), 1, vec![entry(5, &many)]).encode();
    assert!(Run::decode(&bytes).is_err());
    // Even past the decoder, the engine refuses more origins than a group may have.
    let mut engine = honest();
    says(&mut engine, 3, push(3, 2, entry(5, &many)), MS);
    assert!(engine.records().len() <= Config::default().max_origins);
    goes_on(engine, 1);
}

#[test]
fn a_lamport_time_far_ahead() {
    let mut engine = honest();
    let outputs = says(&mut engine, 3, push(3, 1, entry(1 << 40, &[])), MS);
    assert_eq!(delivered(&outputs), 0);
    assert!(engine.lamport() < 100);
    goes_on(engine, 1);
}

#[test]
fn a_digest_of_everything() {
    let mut engine = honest();
    let digest: Clock = (0..4000).map(|n| (member(5000 + n), (1 << 53) - 1)).collect();
    let beat = Beat {
        stage: Stage::Member,
        digest,
        heads: Arc::default(),
        view: 1,
        hears: Arc::default(),
        gone: Arc::default(),
        wants_answer: true,
    };
    says(&mut engine, 3, Frame::Beat(beat), MS);
    goes_on(engine, 1);
}

#[test]
fn an_acknowledgement_of_what_was_never_sent() {
    let mut engine = honest();
    let ack = multicast::engine::PushAck {
        received: 99,
        delivered: 99,
        restart: false,
    };
    let outputs = says(&mut engine, 3, Frame::PushAck(ack), MS);
    assert!(
        outputs
            .iter()
            .any(|output| matches!(output, Output::Notice(Notice::Odd { .. })))
    );
    goes_on(engine, 1);
}
