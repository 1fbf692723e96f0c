//! The words in which the judge is told what happened, and gives its verdict.

use std::fmt;

use bytes::Bytes;

/// A member: the number of its process start in this run. Nothing else is ever given that number.
pub(crate) type Who = usize;

/// A message's id as the judge writes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Dot {
    pub(crate) origin: Who,
    pub(crate) seq: u32,
}

impl fmt::Display for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "m{}:{}", self.origin, self.seq)
    }
}

/// What a message is for, as far as the judge cares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sort {
    App,
    Join,
    Leave,
    /// From here on clocks leave this origin out while its entry is at most so much.
    Retire(Who, u32),
    Control,
}

/// A delivery, as its member tells it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heard<'a> {
    pub(crate) dot: Dot,
    pub(crate) sort: Sort,
    pub(crate) lamport: u64,
    pub(crate) bytes: &'a Bytes,
    /// The full vector clock that the stamp claims, one counter a member.
    pub(crate) clock: &'a [u32],
}

/// A broken promise.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Violation {
    /// The row of the table that is broken (`S4`, `P3`, …).
    pub(crate) rule: &'static str,
    pub(crate) who: Who,
    pub(crate) what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} broken at m{}: {}", self.rule, self.who, self.what)
    }
}

pub(crate) type Verdict = Result<(), Violation>;
