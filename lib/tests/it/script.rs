//! What a run is made of: plain data, so that a failing one can be printed, pasted and shrunk.

mod draw;

use multicast::Micros;
use multicast::engine::{Config, Rules};

pub(crate) use draw::draw;

pub(crate) const MS: Micros = 1_000;
pub(crate) const SECOND: Micros = 1_000 * MS;

/// One place where a process may run: a machine and port. Whoever is restarted there is a new member.
pub(crate) type Seat = usize;

/// A whole run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Plan {
    /// Decides everything that the rest leaves open: ids, the fate of each frame, who replies.
    pub(crate) seed: u64,
    pub(crate) seats: usize,
    /// So many seats, from the first, are members of one group from the beginning, without having joined.
    pub(crate) established: usize,
    pub(crate) weather: Weather,
    pub(crate) limits: Limits,
    pub(crate) replies: Replies,
    /// In order of time.
    pub(crate) steps: Vec<Step>,
    /// From here on the network is fair, and everything must settle.
    pub(crate) calm_at: Micros,
    pub(crate) rules: Rules,
}

/// What happens, and when.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Step {
    pub(crate) at: Micros,
    pub(crate) act: Act,
}

/// Everything that a script can do to the world. Faults are acts like others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Act {
    /// A process starts and joins; it knows the addresses of these seats, running or not.
    Start { seat: Seat, seeds: Vec<Seat> },
    /// The member there says so many messages of so many bytes at once. Waits until there is a member.
    Say { seat: Seat, count: u32, bytes: usize },
    /// It says one as soon as it delivers the next message from there.
    Answer { seat: Seat, from: Seat },
    /// It leaves. With `exits` its process ends afterwards, else it stays and no longer listens.
    Leave { seat: Seat, exits: bool },
    /// Frames from there to there take this long from now on.
    Pace { from: Seat, to: Seat, delay: Micros },
    /// Nothing gets from there to there any more.
    Cut { from: Seat, to: Seat },
    /// It does again.
    Mend { from: Seat, to: Seat },
    /// The connection from there to there is reset, and dialled again.
    Reset { from: Seat, to: Seat },
    /// The next so many frames of this sort from there to there are lost.
    Lose {
        from: Seat,
        to: Seat,
        what: What,
        count: u32,
    },
    /// Notes what was counted so far.
    Mark,
}

/// Sorts of frames, for aimed losses and for counting.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum What {
    Push,
    Ack,
    Beat,
    View,
    Pull,
    Pulled,
    Ask,
    Sponsor,
    Greet,
    Greeted,
}

/// What the network does to every frame until it is calm.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Weather {
    pub(crate) loss_percent: u64,
    pub(crate) twice_percent: u64,
    /// The fixed delay from one seat to another is drawn up to this.
    pub(crate) distance: Micros,
    /// Every frame is late by up to this, each for itself, so that frames overtake each other.
    pub(crate) jitter: Micros,
}

/// How much room the engines have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Limits {
    /// The defaults.
    Usual,
    /// One or two of everything that a message passes through.
    Small,
    /// Stable messages leave the log at once, and nobody founds a group but the first members: whoever believes
    /// too early that something is stable loses it for someone.
    Forgetful,
}

/// Who hears a message answers it now and then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Replies {
    pub(crate) percent: u64,
    /// At most so many in a run.
    pub(crate) most: u32,
}

impl Weather {
    /// Nothing is lost, and everything comes in order, a little late.
    pub(crate) const FAIR: Self = Self {
        loss_percent: 0,
        twice_percent: 0,
        distance: 5 * MS,
        jitter: 0,
    };
}

impl Plan {
    /// A quiet world with so many established members, to write scenarios from.
    pub(crate) fn established(members: usize) -> Self {
        Self {
            seed: 1,
            seats: members,
            established: members,
            weather: Weather::FAIR,
            limits: Limits::Usual,
            replies: Replies { percent: 0, most: 0 },
            steps: Vec::new(),
            calm_at: 0,
            rules: Rules::default(),
        }
    }

    /// The same with another step. Steps stand in order of time.
    pub(crate) fn at(mut self, at: Micros, act: Act) -> Self {
        self.steps.push(Step { at, act });
        self.calm_at = self.calm_at.max(at);
        self
    }

    /// How many processes start in it.
    pub(crate) fn starts(&self) -> usize {
        let started = |step: &&Step| matches!(step.act, Act::Start { .. });
        self.established + self.steps.iter().filter(started).count()
    }

    /// The limits and times that its engines run with.
    pub(crate) fn config(&self) -> Config {
        let usual = Config {
            rules: self.rules,
            ..Config::default()
        };
        match self.limits {
            Limits::Usual => usual,
            Limits::Small => Config {
                batch_messages: 2,
                batches_in_flight: 1,
                batch_bytes: 128,
                pull_bytes: 128,
                window_messages: 8,
                digest_every: 1024,
                ..usual
            },
            Limits::Forgetful => Config {
                retention: 1024,
                retention_factor: 100_000,
                digest_every: 512,
                found_after: 3600 * SECOND,
                ..usual
            },
        }
    }
}
