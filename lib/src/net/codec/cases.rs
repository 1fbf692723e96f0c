//! Requests and replies drawn from small domains, said, damaged and read.
//!
//! `MULTICAST_CASES` says how many, `MULTICAST_CASE` which one alone.

use bytes::Bytes;

use super::laws;
use crate::clock::MAX_NUMBER;
use crate::id::MemberId;
use crate::message::Kind;
use crate::net::rpc::{Hello, Path, Presence, Reply, Request};
use crate::run::{Entry, MAX_RUN, Past, Run};
use draw::Draw;

#[path = "../../../../testing/draw.rs"]
mod draw;

/// Cases that a run of all tests has time for.
const CASES: u64 = 4_000;
/// Damages to each thing that was said.
const DAMAGES: usize = 8;

fn setting(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name}={value} is not a number")),
    )
}

fn number(draw: &mut Draw, low: u64, high: u64) -> u64 {
    draw.number().clamp(low, high)
}

fn past(draw: &mut Draw, origin: u8, least: u64) -> Vec<(MemberId, u64)> {
    let mut list = Vec::new();
    for member in (0..4).filter(|&member| member != origin) {
        if draw.one_in(2) {
            list.push((MemberId([member; 16]), number(draw, least, MAX_NUMBER)));
        }
    }
    list
}

/// A run as a member sends it.
fn run(draw: &mut Draw) -> Run {
    let origin = draw.below(4) as u8;
    let first = number(draw, 1, MAX_NUMBER - MAX_RUN as u64);
    let full = draw.one_in(2);
    let mut lamport = number(draw, 1, MAX_NUMBER / 2);
    let mut entries = Vec::new();
    for nth in 0..draw.length() {
        lamport += 1 + draw.below(3) as u64;
        let kinds = [
            Kind::App,
            Kind::App,
            Kind::Join,
            Kind::Leave,
            Kind::Retire,
            Kind::Call,
            Kind::List,
        ];
        let past = match nth == 0 && full {
            true => Past::Full(past(draw, origin, 1)),
            false => Past::Changes(past(draw, origin, 0)),
        };
        entries.push(Entry {
            lamport,
            sent_at: number(draw, 0, u64::MAX),
            kind: kinds[draw.below(kinds.len())],
            past,
            payload: Bytes::from(vec![0xab; draw.length()]),
        });
    }
    Run::new(MemberId([origin; 16]), first, entries)
}

fn request(draw: &mut Draw) -> Request {
    match draw.below(8) {
        0 => Request::Poll,
        1 => Request::Hello(draw.value::<Hello>()),
        2 => Request::Groups(draw.number(), draw.value::<Vec<Presence>>()),
        _ => Request::Frame {
            path: draw.value::<Path>(),
            frame: Box::new(draw.value()),
        },
    }
}

/// One case; how many of the damaged frames could be read.
fn case(seed: u64) -> usize {
    let mut draw = Draw::new(seed, |draw| run(draw).encode().to_vec());
    let (id, asked, replied) = (draw.number(), request(&mut draw), draw.value::<Reply>());
    let request_bytes = laws::bytes_of_call(id, laws::call(&asked));
    let reply_bytes = laws::bytes_of_reply(id, replied.clone());
    assert_eq!(laws::first_request(&request_bytes), Some((id, asked)));
    assert_eq!(laws::first_reply(&reply_bytes), Some((id, replied)));
    let mut read = 0;
    for (bytes, other) in [(&request_bytes, &reply_bytes), (&reply_bytes, &request_bytes)] {
        let cut = draw.below(bytes.len());
        assert_eq!((laws::requests(&bytes[..cut]), laws::replies(&bytes[..cut])), (0, 0));
        for _ in 0..DAMAGES {
            let mut damaged = bytes[4..].to_vec();
            draw.damage(&mut damaged, &other[4..]);
            // Behind a length that is true, or not.
            let lie = [0, 1, u32::MAX, 1 << 20][draw.below(4)];
            let length = (damaged.len() as u32).wrapping_add(if draw.one_in(8) { lie } else { 0 });
            let damaged = [&length.to_be_bytes()[..], &damaged, &bytes[..]].concat();
            read += usize::from(laws::requests(&damaged) > 0) + usize::from(laws::replies(&damaged) > 0);
        }
    }
    read
}

#[test]
fn what_is_said_is_read_and_what_is_damaged_is_read_alike_or_refused() {
    if let Some(seed) = setting("MULTICAST_CASE") {
        println!("case {seed}: {} damaged frames were read", case(seed));
        return;
    }
    let cases = setting("MULTICAST_CASES").unwrap_or(CASES);
    let mut read = 0;
    for seed in 0..cases {
        match std::panic::catch_unwind(|| case(seed)) {
            Ok(more) => read += more,
            Err(_) => panic!("case {seed} broke a law; MULTICAST_CASE={seed} repeats it alone"),
        }
    }
    let damaged = cases * 2 * DAMAGES as u64;
    println!("cases 0 to {cases}: of {damaged} damaged frames {read} could be read, all alike when said again");
    assert!(
        cases < 100 || (read > 0 && (read as u64) < 2 * damaged),
        "damage matters, and not always"
    );
}
