//! What a run is made of: plain data, so that a failing one can be printed, pasted and shrunk.

mod draw;
mod forgetful;
mod paste;
mod swarm;

use multicast::Micros;
use multicast::engine::{Config, Rules};

pub(crate) use draw::draw;
pub(crate) use paste::paste;
pub(crate) use swarm::{draw as draw_swarm, draw_with_disks};

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
    /// Members sign what they say, with toy keys.
    pub(crate) signed: bool,
    pub(crate) disks: Disks,
}

/// What processes keep.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Disks {
    /// Nothing: a restart is a new member with nothing.
    None,
    /// A restart goes on from what was on the disk.
    Kept,
    /// The same, but nobody waits for the disk before speaking: what the judge has to notice.
    Hasty,
    /// The same, but the application is told at once that its messages are sent.
    Rash,
    /// The same, but no message is read back.
    Blank,
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
    /// A process starts and joins; it knows the addresses of these seats, running or not. Whoever sat there
    /// before is gone: a restart is a new member.
    Start { seat: Seat, seeds: Vec<Seat> },
    /// The member there says so many messages of so many bytes at once. Waits until there is a member.
    Say { seat: Seat, count: u32, bytes: usize },
    /// It says one as soon as it delivers the next message from there.
    Answer { seat: Seat, from: Seat },
    /// It leaves. With `exits` its process ends afterwards, else it stays and no longer listens.
    Leave { seat: Seat, exits: bool },
    /// The process there is gone, for good. Its connections close, or, `half_open`, only seem to live.
    Crash { seat: Seat, half_open: bool },
    /// It is gone in the middle of its next send, when so many of the outputs of that step are carried out.
    CrashInSend {
        seat: Seat,
        outputs: usize,
        half_open: bool,
    },
    /// The seats fall apart: nothing passes between those with different numbers. With `breaks` the connections
    /// between them are found dead.
    Split { parts: Vec<u8>, breaks: bool },
    /// All cuts are mended.
    Heal,
    /// The process there stands still for so long; what comes meanwhile waits for it.
    Stop { seat: Seat, pause: Micros },
    /// Its clock jumps by so much.
    Jump { seat: Seat, by: i64 },
    /// Frames from there to there take this long from now on.
    Pace { from: Seat, to: Seat, delay: Micros },
    /// Nothing gets from there to there any more.
    Cut { from: Seat, to: Seat },
    /// It does again.
    Mend { from: Seat, to: Seat },
    /// The connection from there to there is reset, and dialled again.
    Reset { from: Seat, to: Seat },
    /// The next so many frames of this sort from there to there are lost, whatever was said of them before.
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
    Forgetful { silent_after: Micros, gone_after: Micros },
    /// Drawn: all limits and times small, so that closing, reopening, retiring and gaps happen within seconds.
    Tight(Room),
}

/// The drawn limits and times of a run, those that matter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Room {
    pub(crate) retention: usize,
    pub(crate) factor: usize,
    /// Messages held for one origin.
    pub(crate) held: usize,
    pub(crate) batch: usize,
    pub(crate) in_flight: usize,
    pub(crate) window: u64,
    pub(crate) silent_after: Micros,
    pub(crate) grace: Micros,
    pub(crate) gone_after: Micros,
    pub(crate) bound_patience: Micros,
    pub(crate) retire_after: Micros,
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
            signed: false,
            disks: Disks::None,
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
            Limits::Forgetful {
                silent_after,
                gone_after,
            } => Config {
                silent_after,
                heartbeat: silent_after / 3,
                gone_after,
                retention: 400,
                retention_factor: 100_000,
                digest_every: 512,
                found_after: 3600 * SECOND,
                ..usual
            },
            Limits::Tight(room) => Config {
                retention: room.retention,
                retention_factor: room.factor,
                held_per_origin: room.held,
                batch_messages: room.batch,
                batches_in_flight: room.in_flight,
                window_messages: room.window,
                pull_bytes: 1024,
                digest_every: 1024,
                silent_after: room.silent_after,
                heartbeat: room.silent_after / 3,
                exchange: room.silent_after / 4,
                grace: room.grace,
                gone_after: room.gone_after,
                bound_patience: room.bound_patience,
                retire_after: room.retire_after,
                ..usual
            },
        }
    }

    /// When everything must have settled: what takes long is to find out that those are gone whose address nobody
    /// knows.
    pub(crate) fn settled_by(&self, usually: Micros) -> Micros {
        let config = self.config();
        self.calm_at + usually + config.grace + 4 * config.silent_after + 2 * config.bound_patience
    }

    /// Whether members die, or are thought dead, in it.
    pub(crate) fn is_hard(&self) -> bool {
        let dies = |step: &Step| matches!(step.act, Act::Crash { .. } | Act::CrashInSend { .. });
        self.may_lose() || self.steps.iter().any(dies)
    }

    /// Whether budgets are so small that a gap is no surprise.
    pub(crate) fn may_lose(&self) -> bool {
        matches!(self.limits, Limits::Tight(_))
    }

    /// Whether there is room for everything that is said in it: then nothing need ever be lost of one who is there.
    pub(crate) fn is_roomy(&self) -> bool {
        self.config().retention >= 1 << 20
    }

    /// Whether nothing goes wrong in it but deaths that everybody sees: then an end is final.
    pub(crate) fn is_orderly(&self) -> bool {
        let is_orderly = |step: &Step| match step.act {
            Act::Start { .. } | Act::Say { .. } | Act::Leave { .. } | Act::Lose { .. } => true,
            Act::Crash { half_open, .. } | Act::CrashInSend { half_open, .. } => !half_open,
            _ => false,
        };
        let Weather {
            loss_percent,
            twice_percent,
            jitter,
            ..
        } = self.weather;
        self.established == self.seats
            && loss_percent + twice_percent + jitter == 0
            && self.steps.iter().all(is_orderly)
    }
}
