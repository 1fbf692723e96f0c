//! Engines on virtual time over a network that loses, repeats and reorders. One seed, one run, always the same.

mod counts;
mod disk;
mod net;
mod queue;
mod rng;
mod witness;
mod world;

pub(crate) use counts::Counts;
pub(crate) use queue::Queue;
pub(crate) use rng::Rng;
pub(crate) use world::{Failure, World};

use crate::script::Plan;

/// Runs a plan to its end and returns what was counted, or where it broke.
pub(crate) fn run(plan: &Plan) -> Result<Counts, Box<Failure>> {
    World::run(plan, false).map(|world| world.counts)
}
