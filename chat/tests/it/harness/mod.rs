//! Processes, the lines that they print, and the judge of these lines.

mod nameless;
mod netns;
mod operator;
mod oracle;
mod process;
mod registry;
mod schema;
mod times;

pub use nameless::nameless;
pub use netns::Net;
pub use operator::Operator;
pub use oracle::{Log, judge, judge_survivors};
pub use process::{Chat, Place, Run, Watch, held, watch_until};
pub use registry::{Registry, free_addr};
pub use times::{at, is_long, latest, now, seconds};

/// What is drawn at random in a test: repeatable, and printed when the test fails.
pub struct Dice(u64);

impl Dice {
    pub fn new() -> Self {
        let seed = std::env::var("CHAT_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or(7);
        println!("CHAT_TEST_SEED={seed}");
        Self(seed)
    }

    /// A number below `n` (splitmix64).
    pub fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % n as u64) as usize
    }
}

/// How often tests of simultaneous starts and of crashes repeat.
pub fn rounds() -> usize {
    let rounds = std::env::var("CHAT_TEST_ROUNDS")
        .ok()
        .and_then(|rounds| rounds.parse().ok());
    rounds.unwrap_or(2)
}
