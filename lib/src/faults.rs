//! Faults on purpose: what arrives from some members is late, lost, or does not come at all.
//!
//! For tests and demonstrations of what causal order does. A fault works inside, after a frame's sender has proved who it
//! is, and before the engine hears it; so it takes away and delays, as a bad network does, and lets nothing in.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::engine::Frame;
use crate::id::MemberId;

/// Most members that a fault is set for: several times a group.
pub const MAX_FAULTED: usize = 1_024;
/// Longest delay that can be set: below the time after which a connection that does not answer is cut, so that a delay
/// is a delay.
pub const MAX_DELAY: Duration = Duration::from_secs(4);

/// The faults of one node, in all its groups: given to [`Options::with_faults`](crate::Options::with_faults), kept, and
/// changed at any time. Clones are the same faults. At first there are none.
#[derive(Clone, Default, Debug)]
pub struct Faults(Arc<Mutex<BTreeMap<MemberId, Fault>>>);

/// What is done to what a member says.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
struct Fault {
    /// Milliseconds, at least and at most.
    delay_ms: Option<(u64, u64)>,
    /// Of a hundred frames.
    lost: u8,
    /// Nothing comes from it, and nothing goes to it.
    cut: bool,
}

/// Why a fault was not set. Nothing changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FaultError {
    /// The delay is too long, or ends before it begins.
    #[error("a delay is a range up to {MAX_DELAY:?}")]
    Delay,
    /// Not a part of a hundred.
    #[error("what is lost is 0 to 100 of a hundred")]
    Percent,
    /// A fault is set for so many members already.
    #[error("faults are set for {MAX_FAULTED} members already; heal first")]
    TooMany,
}

/// What becomes of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    /// It is heard.
    Heard,
    /// It is lost.
    Lost,
    /// It is heard later by so much.
    Late(Duration),
}

impl Faults {
    /// What that member said is late by a time drawn anew for each frame: frames from it, and those in which others bring
    /// its messages. From and to nothing: no more delay.
    ///
    /// # Errors
    /// [`FaultError`]: nothing changed.
    pub fn delay(&self, member: MemberId, by: RangeInclusive<Duration>) -> Result<(), FaultError> {
        if by.end() > &MAX_DELAY || by.is_empty() {
            return Err(FaultError::Delay);
        }
        let ms = (by.start().as_millis() as u64, by.end().as_millis() as u64);
        self.set(member, |fault| fault.delay_ms = Some(ms).filter(|ms| ms.1 > 0))
    }

    /// So many of a hundred frames of that kind are lost; 0: none.
    ///
    /// # Errors
    /// [`FaultError`]: nothing changed.
    pub fn lose(&self, member: MemberId, percent: u8) -> Result<(), FaultError> {
        if percent > 100 {
            return Err(FaultError::Percent);
        }
        self.set(member, |fault| fault.lost = percent)
    }

    /// Exactly these members are cut off from this node from now on: nothing comes from them, and nothing goes to them.
    /// What others bring of their messages is heard.
    ///
    /// # Errors
    /// [`FaultError`]: nothing changed.
    pub fn cut(&self, members: impl IntoIterator<Item = MemberId>) -> Result<(), FaultError> {
        let mut faults = self.faults().clone();
        faults.values_mut().for_each(|fault| fault.cut = false);
        for member in members {
            faults.entry(member).or_default().cut = true;
        }
        faults.retain(|_, fault| *fault != Fault::default());
        if faults.len() > MAX_FAULTED {
            return Err(FaultError::TooMany);
        }
        *self.faults() = faults;
        Ok(())
    }

    /// No faults any more. What is late already still comes late.
    pub fn heal(&self) {
        self.faults().clear();
    }

    /// What becomes of a frame; `drawn` is random.
    pub(crate) fn fate(&self, from: MemberId, frame: &Frame, drawn: u64) -> Fate {
        let faults = self.faults();
        if faults.is_empty() {
            return Fate::Heard;
        }
        if faults.get(&from).is_some_and(|fault| fault.cut) {
            return Fate::Lost;
        }
        let fates = speakers(from, frame)
            .filter_map(|member| faults.get(&member))
            .map(|fault| fault.fate(drawn));
        // Whatever is worst for one of them.
        fates.max_by_key(|fate| fate.badness()).unwrap_or(Fate::Heard)
    }

    /// Whether nothing goes to that member.
    pub(crate) fn is_cut(&self, member: MemberId) -> bool {
        self.faults().get(&member).is_some_and(|fault| fault.cut)
    }

    fn set(&self, member: MemberId, change: impl FnOnce(&mut Fault)) -> Result<(), FaultError> {
        let mut faults = self.faults();
        if faults.len() >= MAX_FAULTED && !faults.contains_key(&member) {
            return Err(FaultError::TooMany);
        }
        let fault = faults.entry(member).or_default();
        change(fault);
        if *fault == Fault::default() {
            faults.remove(&member);
        }
        Ok(())
    }

    fn faults(&self) -> MutexGuard<'_, BTreeMap<MemberId, Fault>> {
        self.0.lock().expect("never held over a panic")
    }
}

impl Fault {
    fn fate(&self, drawn: u64) -> Fate {
        if drawn % 100 < u64::from(self.lost) {
            return Fate::Lost;
        }
        match self.delay_ms {
            Some((from, to)) => Fate::Late(Duration::from_millis(from + (drawn >> 32) % (to - from + 1))),
            None => Fate::Heard,
        }
    }
}

impl Fate {
    fn badness(self) -> Duration {
        match self {
            Self::Heard => Duration::ZERO,
            Self::Late(by) => by,
            Self::Lost => Duration::MAX,
        }
    }
}

/// Whose words a frame brings: its sender's, and in an answer to a pull those of others.
fn speakers(from: MemberId, frame: &Frame) -> impl Iterator<Item = MemberId> + '_ {
    let runs = match frame {
        Frame::Pulled(pulled) => pulled.runs.as_slice(),
        _ => &[],
    };
    std::iter::once(from).chain(runs.iter().map(|run| run.origin()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn member(n: u128) -> MemberId {
        MemberId::from(n)
    }

    fn beat() -> Frame {
        Frame::Greeted {
            attempt: 1,
            too_low: false,
        }
    }

    #[test]
    fn each_fault_is_only_what_was_asked_for() {
        let faults = Faults::default();
        let fate = |of: u128, drawn: u64| faults.fate(member(of), &beat(), drawn);
        assert_eq!(fate(1, 0), Fate::Heard);
        faults.delay(member(1), MS * 10..=MS * 20).unwrap();
        faults.lose(member(2), 30).unwrap();
        faults.cut([member(3)]).unwrap();
        for drawn in 0..1_000u64 {
            let Fate::Late(by) = fate(1, drawn << 32 | drawn) else {
                panic!("in time")
            };
            assert!((MS * 10..=MS * 20).contains(&by));
            assert_eq!(fate(2, drawn) == Fate::Lost, drawn % 100 < 30);
            assert_eq!((fate(3, drawn), fate(4, drawn)), (Fate::Lost, Fate::Heard));
        }
        assert!(faults.is_cut(member(3)) && !faults.is_cut(member(1)));
        faults.cut([member(4)]).unwrap();
        assert!(faults.is_cut(member(4)) && !faults.is_cut(member(3)));
        faults.delay(member(1), Duration::ZERO..=Duration::ZERO).unwrap();
        assert_eq!(fate(1, 7), Fate::Heard);
        faults.heal();
        assert_eq!((fate(2, 0), fate(4, 0)), (Fate::Heard, Fate::Heard));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let faults = Faults::default();
        let delay = |by| faults.delay(member(1), by);
        assert_eq!(delay(MS..=MAX_DELAY + MS), Err(FaultError::Delay));
        let backwards = RangeInclusive::new(MS * 2, MS);
        assert_eq!(delay(backwards), Err(FaultError::Delay));
        assert_eq!(faults.lose(member(1), 101), Err(FaultError::Percent));
        let many = (0..=MAX_FAULTED as u128).map(member);
        assert_eq!(faults.cut(many), Err(FaultError::TooMany));
        assert!(faults.faults().is_empty(), "nothing changed");
        for n in 0..MAX_FAULTED as u128 {
            faults.lose(member(n), 1).unwrap();
        }
        assert_eq!(faults.lose(member(5_000), 1), Err(FaultError::TooMany));
    }
}
