//! What signing costs: one member sends in bursts, another delivers; everything that the engines and the codec do for a
//! message, on one core, with real keys.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use multicast::engine::{Config, Engine, Frame, Input, Output};
use multicast::{GroupId, Kind, MemberId, Run, Signer};

/// Messages of a burst, and bytes of each.
const CASES: [(usize, usize); 4] = [(1, 64), (128, 64), (512, 64), (64, 1024)];
/// Messages of a round.
const MESSAGES: usize = 100_000;

/// Prints nanoseconds a message, unsigned and signed; of all work so small a part is done.
pub(crate) fn print(part: usize) {
    println!("\nsent by one, delivered by another: ns a message");
    println!("   a burst   payload  unsigned    signed     ratio");
    for (burst, payload) in CASES {
        let messages = if burst == 1 { MESSAGES / 5 } else { MESSAGES } / part;
        let best = |signed| {
            (0..3)
                .map(|_| round(burst, payload, messages, signed))
                .fold(f64::MAX, f64::min)
        };
        let (unsigned, signed) = (best(false), best(true));
        println!(
            "{burst:>10}{payload:>10}{unsigned:>10.0}{signed:>10.0}{:>10.2}",
            unsigned / signed
        );
    }
}

fn round(burst: usize, payload: usize, messages: usize, signed: bool) -> f64 {
    let group = GroupId::named("bench");
    let signers: Vec<Signer> = (1..3).map(|secret| Signer::ed25519(&[secret; 32], group, 0)).collect();
    let ids: Vec<MemberId> = signers.iter().map(Signer::member).collect();
    let mut engines: Vec<Engine> = signers
        .into_iter()
        .map(|signer| {
            let engine = Engine::established(Config::default(), signer.member(), &ids, 1, 0);
            if signed { engine.with_signer(signer) } else { engine }
        })
        .collect();
    let (mut now, mut delivered) = (0, 0);
    let mut queue: VecDeque<(usize, Input)> = VecDeque::new();
    for (me, peer) in [(0, 1), (1, 0)] {
        queue.push_back((me, Input::LinkUp { peer: ids[peer] }));
    }
    let bytes = Bytes::from(vec![7; payload]);
    let started = Instant::now();
    while delivered < messages {
        now += 1_000;
        let send = |ticket| Input::Send {
            ticket,
            kind: Kind::App,
            payload: bytes.clone(),
            sent_at: now,
        };
        let mut outputs = Vec::new();
        engines[0].handle_all((0..burst as u64).map(send), now, &mut outputs);
        take(&engines, &ids, 0, outputs, &mut queue, &mut delivered);
        while let Some((to, input)) = queue.pop_front() {
            let outputs = engines[to].handle(input, now);
            take(&engines, &ids, to, outputs, &mut queue, &mut delivered);
        }
    }
    started.elapsed().as_nanos() as f64 / delivered as f64
}

fn take(
    engines: &[Engine],
    ids: &[MemberId],
    me: usize,
    outputs: Vec<Output>,
    queue: &mut VecDeque<(usize, Input)>,
    delivered: &mut usize,
) {
    let from = ids[me];
    for output in outputs {
        let frame = match output {
            Output::Push { batch, .. } => {
                let bytes = engines[me].encode_own(batch).concat().into();
                Frame::Push(Run::decode(&bytes).expect("well formed"))
            }
            Output::Send { frame, .. } => frame,
            Output::Deliver { piece, .. } => {
                *delivered += if me == 1 { piece.len() } else { 0 };
                continue;
            }
            _ => continue,
        };
        queue.push_back((1 - me, Input::Frame { from, frame }));
    }
}
