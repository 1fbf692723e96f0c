//! Structured cases for the decoder of runs, from domains so small that everything collides: what is encoded is decoded as
//! it was, and what bent bytes decode to, if to anything, is encoded in one way only.
//!
//! ```text
//! MULTICAST_CASES=1000000 cargo test --release -p multicast --test it codec -- --nocapture
//! ```

use bytes::Bytes;
use multicast::{Entry, Key, Kind, Mark, MemberId, Past, Run, Sealed, Seals};

use crate::sim::Rng;

/// How many cases a plain `cargo test` tries.
const USUAL: u64 = 30_000;

fn hash(rng: &mut Rng) -> [u8; 32] {
    [rng.below(3) as u8; 32]
}

fn clock(rng: &mut Rng, zero: bool) -> Vec<(MemberId, u64)> {
    let ids = (1..4).filter(|_| rng.percent(40)).collect::<Vec<u128>>();
    let least = u64::from(!zero);
    ids.into_iter()
        .map(|id| (MemberId::from(id), rng.between(least, 3)))
        .collect()
}

/// A run that may travel; sealed or not.
fn run(rng: &mut Rng) -> Run {
    let (count, full) = (rng.between(1, 6), rng.percent(60));
    let mut lamport = rng.between(1, 3);
    let mut at = 0;
    let mut lengths = Vec::new();
    while at < count {
        let length = rng.between(1, (count - at).min(3));
        lengths.push(length);
        at += length;
    }
    let starts: Vec<u64> = lengths
        .iter()
        .scan(0, |at, length| Some(std::mem::replace(at, *at + length)))
        .collect();
    let entries = (0..count).map(|nth| {
        lamport += if nth > 0 { rng.between(1, 2) } else { 0 };
        let alone = starts.contains(&nth) && (starts.contains(&(nth + 1)) || nth + 1 == count);
        Entry {
            lamport,
            sent_at: rng.below(3),
            kind: if alone {
                rng.pick(&[Kind::App, Kind::Join, Kind::Call])
            } else {
                Kind::App
            },
            past: match nth {
                0 if full => Past::Full(clock(rng, false)),
                nth if nth == 0 || starts.contains(&nth) => Past::Changes(clock(rng, true)),
                _ => Past::Changes(Vec::new()),
            },
            payload: Bytes::from(vec![rng.below(2) as u8; rng.pick(&[0, 1, 2, 130])]),
        }
    });
    let entries = entries.collect();
    let run = Run::new(MemberId::from(9), rng.between(1, 3), entries);
    if rng.percent(30) {
        return run;
    }
    let sealed = |count: u32, digest, signed: bool, rng: &mut Rng| Sealed {
        count,
        digest,
        signature: signed.then(|| Mark([rng.below(3) as u8; 64])),
    };
    let mut segments: Vec<Sealed> = lengths
        .iter()
        .map(|length| {
            let signed = rng.percent(30);
            sealed(*length as u32, None, signed, rng)
        })
        .collect();
    for _ in 0..rng.pick(&[0, 0, 1, 3]) {
        let (count, digest) = (rng.between(1, 4) as u32, hash(rng));
        segments.push(sealed(count, Some(digest), false, rng));
    }
    segments.last_mut().expect("one at least").signature = Some(Mark([1; 64]));
    let key = Key {
        public: hash(rng),
        join: rng.below(200),
    };
    let prev = hash(rng);
    run.with_seals(Seals { key, prev, segments })
}

fn bend(bytes: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..rng.between(1, 3) {
        let at = rng.below(bytes.len() as u64) as usize;
        match rng.below(6) {
            0 => bytes[at] = rng.pick(&[0, 1, 2, 0x10, 0x20, 0x40, 0x7f, 0x80, 0xff]),
            1 => bytes[at] ^= 1 << rng.below(8),
            2 => bytes.insert(at, rng.pick(&[0, 1, 0x80])),
            3 => drop(bytes.remove(at)),
            // A number that is longer than it must be.
            4 => {
                bytes[at] |= 0x80;
                bytes.insert(at + 1, 0);
            }
            _ => bytes.truncate(at.max(1)),
        }
        if bytes.is_empty() {
            bytes.push(3);
        }
    }
    bytes
}

#[test]
fn what_is_encoded_is_decoded_and_in_one_way_only() {
    let cases = std::env::var("MULTICAST_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok())
        .unwrap_or(USUAL);
    let (mut taken, mut sealed) = (0u64, 0u64);
    for seed in 0..cases {
        let mut rng = Rng::of(seed, &[0xc0dec]);
        let run = run(&mut rng);
        let bytes = run.encode();
        let decoded = Run::decode(&bytes).unwrap_or_else(|odd| panic!("case {seed}: {odd}: {run:?}"));
        assert_eq!(decoded, run, "case {seed}");
        assert_eq!(decoded.encode(), bytes, "case {seed}");
        let bent = Bytes::from(bend(&bytes, &mut rng));
        let Ok(other) = Run::decode(&bent) else { continue };
        taken += 1;
        sealed += u64::from(other.seals().is_some());
        let again = other.encode();
        assert_eq!(Run::decode(&again).as_ref(), Ok(&other), "case {seed}");
        // Behind the first entry, whose differences are from nothing, equal messages are equal bytes.
        if again.len() == bent.len() && other.len() == 1 {
            continue;
        }
        let tail = other
            .entries()
            .skip(1)
            .map(|entry| entry.payload.len() + 4)
            .sum::<usize>();
        assert_eq!(again[again.len() - tail..], bent[bent.len() - tail..], "case {seed}");
    }
    println!("{cases} cases, {taken} of them taken although bent, {sealed} of these sealed");
    assert!(taken > 0 && sealed > 0);
}
