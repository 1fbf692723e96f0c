//! Frames on their way through the faults that were asked for.

use std::collections::BTreeMap;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::engine::Frame;
use crate::faults::{Fate, Faults};
use crate::id::MemberId;

/// Frames of a group that are late at once; further ones are lost, and said again by the protocol. A frame has 1 MiB at
/// most, and hardly any has a tenth of that.
pub(crate) const MAX_LATE: usize = 256;

/// A frame, and who waits for what is said to it.
pub(super) type Heard = (MemberId, Frame, Option<oneshot::Sender<Vec<Frame>>>);

/// What the faults have in hand.
pub(super) struct Faulty {
    faults: Faults,
    late: BTreeMap<(Instant, u64), Heard>,
    /// Random numbers drawn so far, and where they began.
    drawn: u64,
    seed: u64,
}

impl Faulty {
    pub(super) fn new(faults: Faults, seed: u64) -> Self {
        Self {
            faults,
            late: BTreeMap::new(),
            drawn: 0,
            seed,
        }
    }

    /// When the next late frame is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.late.keys().next().map(|(at, _)| *at)
    }

    /// Whether nothing goes to that member.
    pub(super) fn is_cut(&self, to: MemberId) -> bool {
        self.faults.is_cut(to)
    }

    /// The frame, if it is to be heard now.
    pub(super) fn pass(&mut self, (from, frame, answer): Heard) -> Option<Heard> {
        let drawn = self.draw();
        match self.faults.fate(from, &frame, drawn) {
            Fate::Heard => Some((from, frame, answer)),
            Fate::Late(by) if self.late.len() < MAX_LATE => {
                self.late
                    .insert((Instant::now() + by, self.drawn), (from, frame, answer));
                None
            }
            Fate::Late(_) | Fate::Lost => {
                // The call succeeds, so that the connection stands; what it brought was not taken, and comes again.
                answer.map(|answer| answer.send(Vec::new()));
                None
            }
        }
    }

    /// A late frame that is to be heard now.
    pub(super) fn due(&mut self) -> Option<Heard> {
        let next = self.late.first_entry()?;
        (next.key().0 <= Instant::now()).then(|| next.remove())
    }

    /// SplitMix64 (Steele, Lea and Flood 2014).
    fn draw(&mut self) -> u64 {
        self.drawn += 1;
        let mut z = self.seed.wrapping_add(self.drawn.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
}
