use std::time::Duration;

/// A number that nobody can guess; of lesser quality where the system has no randomness to give,
/// which no supported system does after start-up.
pub(crate) fn random_u64() -> u64 {
    getrandom::u64().unwrap_or_else(|_| {
        use std::hash::{BuildHasher, RandomState};
        RandomState::new().hash_one(std::time::Instant::now())
    })
}

/// A duration between `low` and `high`, so that many peers that started together do not stay in
/// step for ever.
pub(crate) fn jitter(low: Duration, high: Duration) -> Duration {
    let part = (random_u64() >> 40) as f64 / (1_u64 << 24) as f64; // [0, 1)
    low + high.saturating_sub(low).mul_f64(part)
}
