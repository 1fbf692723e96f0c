//! Requests and answers drawn from small domains, said, damaged and read.
//!
//! `NODESET_CASES` says how many, `NODESET_CASE` which one alone.

use super::laws;
use super::{ANSWER_MAX_BYTES, Answered, Asked, REQUEST_MAX_BYTES};
use draw::Draw;

#[path = "../../../testing/draw.rs"]
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

/// One case; how many of the damaged frames could be read.
fn case(seed: u64) -> usize {
    let mut draw = Draw::new(seed, |draw| vec![0xab; draw.length()]);
    let (asked, answered) = (draw.value::<Asked>(), draw.value::<Answered>());
    let asks = laws::said(&asked, REQUEST_MAX_BYTES);
    let answers = laws::said(&answered, ANSWER_MAX_BYTES);
    assert_eq!(laws::only(&asks, REQUEST_MAX_BYTES), Some(asked));
    assert_eq!(laws::only(&answers, ANSWER_MAX_BYTES), Some(answered));
    let mut read = 0;
    for (bytes, other) in [(&asks, &answers), (&answers, &asks)] {
        let cut = draw.below(bytes.len());
        assert_eq!((laws::requests(&bytes[..cut]), laws::answers(&bytes[..cut])), (0, 0));
        for _ in 0..DAMAGES {
            let mut damaged = bytes[4..].to_vec();
            draw.damage(&mut damaged, &other[4..]);
            // Behind a length that is true, or not.
            let lie = [0, 1, u32::MAX, 1 << 20][draw.below(4)];
            let length = (damaged.len() as u32).wrapping_add(if draw.one_in(8) { lie } else { 0 });
            let damaged = [&length.to_be_bytes()[..], &damaged, &bytes[..]].concat();
            read += usize::from(laws::requests(&damaged) > 0) + usize::from(laws::answers(&damaged) > 0);
        }
    }
    read
}

#[test]
fn what_is_said_is_read_and_what_is_damaged_is_read_alike_or_refused() {
    if let Some(seed) = setting("NODESET_CASE") {
        println!("case {seed}: {} damaged frames were read", case(seed));
        return;
    }
    let cases = setting("NODESET_CASES").unwrap_or(CASES);
    let mut read = 0;
    for seed in 0..cases {
        match std::panic::catch_unwind(|| case(seed)) {
            Ok(more) => read += more,
            Err(_) => panic!("case {seed} broke a law; NODESET_CASE={seed} repeats it alone"),
        }
    }
    let damaged = cases * 2 * DAMAGES as u64;
    println!("cases 0 to {cases}: of {damaged} damaged frames {read} could be read, all alike when said again");
    assert!(
        cases < 100 || (read > 0 && (read as u64) < 2 * damaged),
        "damage matters, and not always"
    );
}
