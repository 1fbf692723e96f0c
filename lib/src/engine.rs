//! The engine of one member of one group: pure, single-threaded, no clock of its own.
//!
//! One input, take all outputs, next. Time comes in with every input; [`Engine::deadline`] says when the engine
//! wants an [`Input::Tick`] at the latest.

mod config;
mod frame;
mod io;

use bytes::Bytes;

pub use config::{Config, Rules};
pub use frame::{Beat, Frame, Pull, Pulled, PushAck, Record, Sponsor, Standing, View};
pub use io::{Batch, Input, Missing, Notice, Output, Refusal, Whereabouts};

use crate::clock::Clock;
use crate::id::{Dot, MemberId};
use crate::message::{Intro, Message, Micros};
use crate::run::Run;

/// One member's part in one group.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Engine {}

impl Engine {
    /// A member that is about to join: it looks for others over its links, and founds the group if there are none.
    pub fn new(_config: Config, _me: MemberId, _intro: Intro, _seed: u64, _now: Micros) -> Self {
        todo!()
    }

    /// A member of a group whose members are all known and present: everyone starts at the empty cut, with links
    /// to nobody, and without join messages. For benchmarks and model checking.
    pub fn established(_config: Config, _me: MemberId, _members: &[MemberId], _seed: u64, _now: Micros) -> Self {
        todo!()
    }

    /// Takes one input; returns everything that follows from it, in order.
    pub fn handle(&mut self, _input: Input, _now: Micros) -> Vec<Output> {
        todo!()
    }

    /// When it wants a `Tick`, at the latest. A tick before that does nothing.
    pub fn deadline(&self) -> Option<Micros> {
        todo!()
    }

    /// The messages of a batch that an `Output::Push` named, as a run. Only until the next `handle`.
    pub fn own_run(&self, _batch: Batch) -> Run {
        todo!()
    }

    /// The same as bytes, which [`Run::decode`] reads.
    pub fn encode_own(&self, _batch: Batch) -> Bytes {
        todo!()
    }

    /// This member.
    pub fn me(&self) -> MemberId {
        todo!()
    }

    /// Whether its join message was delivered here (and it did not leave).
    pub fn is_member(&self) -> bool {
        todo!()
    }

    /// What it has delivered, its cut included.
    pub fn delivered(&self) -> Clock {
        todo!()
    }

    /// Where it joined.
    pub fn cut(&self) -> Clock {
        todo!()
    }

    /// What it no longer keeps for others, at the most: its cut and what was trimmed since.
    pub fn base(&self) -> Clock {
        todo!()
    }

    /// What every member that counts has delivered, as far as known here.
    pub fn stable(&self) -> Clock {
        todo!()
    }

    /// The greatest Lamport time known.
    pub fn lamport(&self) -> u64 {
        todo!()
    }

    /// All records of the view.
    pub fn view(&self) -> View {
        todo!()
    }

    /// The delivered messages that are still kept, in delivery order.
    pub fn log(&self) -> impl Iterator<Item = &Message> {
        std::iter::empty()
    }

    /// Messages that are held: their ids and the first missing cause of each.
    pub fn held(&self) -> Vec<(Dot, Dot)> {
        todo!()
    }

    /// What is known about a message.
    pub fn whereabouts(&self, _dot: Dot) -> Whereabouts {
        todo!()
    }

    /// Checks everything that must hold after each step (S13, S14): the first violation in words.
    pub fn check(&self) -> Result<(), String> {
        todo!()
    }
}
