//! The network: what becomes of a frame on its way from seat to seat.

use multicast::Micros;
use multicast::engine::Frame;

use super::rng::Rng;
use crate::script::{MS, Plan, Seat, Weather, What};

/// Delays, losses, repetitions and cuts between seats.
#[derive(Clone, Debug)]
pub(crate) struct Net {
    seed: u64,
    seats: usize,
    weather: Weather,
    paths: Vec<Path>,
    tolls: Vec<Toll>,
}

/// One direction between two seats.
#[derive(Clone, Debug)]
struct Path {
    delay: Micros,
    cut: bool,
    /// Frames sent over it so far.
    sent: u64,
    /// The greatest number that arrived.
    arrived: u64,
}

/// An aimed loss.
#[derive(Clone, Debug)]
struct Toll {
    from: Seat,
    to: Seat,
    what: What,
    left: u32,
}

/// What becomes of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    Lost,
    Cut,
    /// It arrives after this delay, and with `again` another time.
    Arrives {
        number: u64,
        after: Micros,
        again: Option<Micros>,
    },
}

impl Net {
    pub(crate) fn new(plan: &Plan) -> Self {
        let mut rng = Rng::of(plan.seed, &[0x4e7]);
        let path = |_| Path {
            delay: rng.between(MS / 2, plan.weather.distance),
            cut: false,
            sent: 0,
            arrived: 0,
        };
        Self {
            seed: plan.seed,
            seats: plan.seats,
            weather: plan.weather,
            paths: (0..plan.seats * plan.seats).map(path).collect(),
            tolls: Vec::new(),
        }
    }

    /// Decides about one frame. Every path has its own dice: what happens elsewhere does not change its throws.
    pub(crate) fn carry(&mut self, from: Seat, to: Seat, what: What) -> Fate {
        let at = from * self.seats + to;
        self.paths[at].sent += 1;
        let Path { delay, cut, sent, .. } = self.paths[at];
        if cut {
            return Fate::Cut;
        }
        let aimed = |toll: &&mut Toll| (toll.from, toll.to, toll.what) == (from, to, what) && toll.left > 0;
        if let Some(toll) = self.tolls.iter_mut().find(aimed) {
            toll.left -= 1;
            return Fate::Lost;
        }
        let mut dice = Rng::of(self.seed, &[at as u64, sent]);
        if dice.percent(self.weather.loss_percent) {
            return Fate::Lost;
        }
        let again = dice.percent(self.weather.twice_percent);
        let mut late = || delay + dice.below(self.weather.jitter + 1);
        Fate::Arrives {
            number: sent,
            after: late(),
            again: again.then(late),
        }
    }

    /// Notes an arrival; whether it was overtaken on the way.
    pub(crate) fn arrives(&mut self, from: Seat, to: Seat, number: u64) -> bool {
        let path = &mut self.paths[from * self.seats + to];
        let overtaken = number < path.arrived;
        path.arrived = path.arrived.max(number);
        overtaken
    }

    /// How long it takes to dial: there and back. `None` while either direction is cut.
    pub(crate) fn dial(&self, from: Seat, to: Seat) -> Option<Micros> {
        let (there, back) = (self.path(from, to), self.path(to, from));
        (!there.cut && !back.cut).then_some(there.delay + back.delay)
    }

    pub(crate) fn pace(&mut self, from: Seat, to: Seat, delay: Micros) {
        self.path_mut(from, to).delay = delay;
    }

    pub(crate) fn cut(&mut self, from: Seat, to: Seat, cut: bool) {
        self.path_mut(from, to).cut = cut;
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.paths.iter().any(|path| path.cut)
    }

    pub(crate) fn mend_all(&mut self) {
        self.paths.iter_mut().for_each(|path| path.cut = false);
    }

    pub(crate) fn lose(&mut self, from: Seat, to: Seat, what: What, left: u32) {
        self.tolls
            .retain(|toll| (toll.from, toll.to, toll.what) != (from, to, what));
        self.tolls.push(Toll { from, to, what, left });
    }

    /// Faults off: from now on every frame arrives, in order and soon.
    pub(crate) fn calm(&mut self) {
        self.weather = Weather {
            distance: self.weather.distance,
            ..Weather::FAIR
        };
        self.tolls.clear();
        for path in &mut self.paths {
            path.cut = false;
            path.delay = path.delay.min(self.weather.distance);
        }
    }

    fn path(&self, from: Seat, to: Seat) -> &Path {
        &self.paths[from * self.seats + to]
    }

    fn path_mut(&mut self, from: Seat, to: Seat) -> &mut Path {
        &mut self.paths[from * self.seats + to]
    }
}

/// The sort of a frame.
pub(crate) fn what(frame: &Frame) -> What {
    match frame {
        Frame::Push(_) => What::Push,
        Frame::PushAck(_) => What::Ack,
        Frame::Beat(_) => What::Beat,
        Frame::View(_) => What::View,
        Frame::Pull(_) => What::Pull,
        Frame::Pulled(_) => What::Pulled,
        Frame::JoinAsk { .. } => What::Ask,
        Frame::Sponsor(_) => What::Sponsor,
        Frame::Greet { .. } => What::Greet,
        // Of the layer above; no engine says it.
        Frame::Greeted { .. }
        | Frame::Full { .. }
        | Frame::Answer { .. }
        | Frame::Asking { .. }
        | Frame::Order { .. }
        | Frame::Shown { .. }
        | Frame::Proof(_) => What::Greeted,
    }
}
