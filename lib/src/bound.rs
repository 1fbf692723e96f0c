//! How much memory the bytes of one frame may become. A few bytes of a list can stand for a hundred in memory.
//!
//! A frame of 1 MiB makes its decoder allocate at most 4 MiB: what is copied out of it, the lists and runs below, and
//! the clocks of one run at a time, when that is cut into pieces.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};

use crate::run::{Malformed, Run};

/// Most bytes that one list takes: as many records as a group may have had origins in all its life (4,096), and of all
/// that is shorter more.
pub(crate) const LIST_BYTES: usize = 512 << 10;
/// Most bytes that the heads and clocks of all runs of a frame take. The longest answer to a pull takes 1.3 MiB; a run
/// alone, of as many messages and clock entries as it may have, a little more.
pub(crate) const RUN_BYTES: usize = 3 << 19;
/// Most bytes that all of that takes in one frame.
#[cfg(feature = "net")]
pub(crate) const FRAME_BYTES: usize = 2 << 20;
/// Elements for which a list first has room.
const FIRST: usize = 4;

thread_local! {
    /// What lists and runs may still take, of the frame that this thread decodes.
    static LEFT: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// Decodes one frame, all lists and runs of which may take `FRAME_BYTES`, however they lie in each other.
#[cfg(feature = "net")]
pub(crate) fn frame<T>(decode: impl FnOnce() -> T) -> T {
    let before = LEFT.replace(FRAME_BYTES);
    let decoded = decode();
    LEFT.set(before);
    decoded
}

fn take(bytes: usize) -> Result<(), Malformed> {
    let left = LEFT.get().checked_sub(bytes);
    LEFT.set(left.ok_or(Malformed("it would take too much memory"))?);
    Ok(())
}

/// What is left of what the runs of one list may take.
pub(crate) struct Budget(usize);

impl Budget {
    pub(crate) fn of_runs() -> Self {
        Self(RUN_BYTES)
    }

    pub(crate) fn take(&mut self, bytes: usize) -> Result<(), Malformed> {
        self.0 = self
            .0
            .checked_sub(bytes)
            .ok_or(Malformed("it would take too much memory"))?;
        take(bytes)
    }
}

/// A list that takes at most `LIST_BYTES`. What its elements have elsewhere are the frame's own bytes, once more.
pub(crate) fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    from.deserialize_seq(List(PhantomData))
}

/// The same for a list that is shared, which is one more copy while it is made.
pub(crate) fn shared<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Arc<[T]>, D::Error> {
    let list: Vec<T> = list(from)?;
    take(list.len() * size_of::<T>()).map_err(D::Error::custom)?;
    Ok(list.into())
}

struct List<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for List<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Vec<T>, A::Error> {
        let most = LIST_BYTES / size_of::<T>();
        let mut list = Vec::new();
        while let Some(element) = from.next_element()? {
            if list.len() == most {
                return Err(A::Error::custom("a list over the limit"));
            }
            if list.len() == list.capacity() {
                // Doubled, as usual, but not beyond the limit.
                let more = list.len().max(FIRST).min(most - list.len());
                take(more * size_of::<T>()).map_err(A::Error::custom)?;
                list.reserve_exact(more);
            }
            list.push(element);
        }
        Ok(list)
    }
}

/// Runs that take at most `RUN_BYTES` together.
pub(crate) fn runs<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Run>, D::Error> {
    struct Runs;

    impl<'de> Visitor<'de> for Runs {
        type Value = Vec<Run>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of runs")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Vec<Run>, A::Error> {
            let (mut runs, mut budget) = (Vec::new(), Budget::of_runs());
            while let Some(run) = from.next_element_seed(Within(&mut budget))? {
                runs.push(run);
            }
            Ok(runs)
        }
    }

    from.deserialize_seq(Runs)
}

struct Within<'a>(&'a mut Budget);

impl<'de> DeserializeSeed<'de> for Within<'_> {
    type Value = Run;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Run, D::Error> {
        let bytes = Bytes::deserialize(from)?;
        // Its place in the list, which may have grown for it.
        self.0.take(2 * size_of::<Run>()).map_err(D::Error::custom)?;
        Run::decode_within(&bytes, self.0).map_err(D::Error::custom)
    }
}
