//! Plans with every fault there is. Which of them a run has is drawn too: a run with a few of them finds what a
//! run with all of them drowns.

use multicast::Micros;
use multicast::engine::Rules;

use super::draw::draw_weather;
use super::{Act, Disks, Limits, MS, Plan, Replies, Room, SECOND, Seat, Step, Weather, What};
use crate::sim::Rng;

/// 2 to 6 seats, some of them with members from the beginning; whoever dies may be followed by another one.
pub(crate) fn draw(seed: u64) -> Plan {
    let mut rng = Rng::of(seed, &[0x5a7]);
    let seats = rng.between(2, 6) as usize;
    let established = rng.pick(&[0, seats.min(2), seats - 1, seats]);
    let span = rng.between(3 * SECOND, 20 * SECOND);
    let mut weather = draw_weather(&mut rng);
    weather.jitter = weather.jitter.min(rng.pick(&[50 * MS, 500 * MS]));
    let mut plan = Plan {
        seed,
        seats,
        established,
        weather,
        limits: Limits::Tight(room(&mut rng)),
        replies: Replies {
            percent: rng.pick(&[0, 10, 40]),
            most: 30,
        },
        steps: Vec::new(),
        calm_at: span + 300 * MS,
        rules: Rules::default(),
        signed: false,
        disks: Disks::None,
    };
    let mut swarm = Swarm { rng, seats, span };
    let steps = &mut plan.steps;
    swarm.starts(established, steps);
    swarm.talk(steps);
    let faults: [fn(&mut Swarm, &mut Vec<Step>); 8] = [
        Swarm::crashes,
        Swarm::crashes,
        Swarm::splits,
        Swarm::cuts,
        Swarm::resets,
        Swarm::stops,
        Swarm::jumps,
        Swarm::leaves,
    ];
    for fault in faults {
        if swarm.rng.percent(40) {
            fault(&mut swarm, steps);
        }
    }
    plan.steps.sort_by_key(|step| step.at);
    plan
}

/// The same with room for everything, so that nothing of what was accepted need be lost; some are signed.
pub(crate) fn draw_with_disks(seed: u64) -> Plan {
    let mut plan = with_disks(draw(seed));
    if let Limits::Tight(room) = &mut plan.limits {
        (room.retention, room.factor) = (1 << 22, 1);
    }
    plan.signed = seed % 3 == 1;
    plan
}

/// The same, where processes have disks, and more of them begin again: some, or all at once.
pub(crate) fn with_disks(mut plan: Plan) -> Plan {
    let rng = Rng::of(plan.seed, &[0x5a9]);
    let (seats, span) = (plan.seats, plan.calm_at - 300 * MS);
    let mut swarm = Swarm { rng, seats, span };
    swarm.restarts(&mut plan.steps);
    plan.steps.sort_by_key(|step| step.at);
    plan.disks = Disks::Kept;
    plan
}

/// Everyone is there from the beginning, the network is fair, and some die, perhaps in the middle of a send.
pub(super) fn draw_orderly(seed: u64) -> Plan {
    let mut rng = Rng::of(seed, &[0x5a8]);
    let seats = rng.between(3, 7) as usize;
    let span = rng.between(2 * SECOND, 8 * SECOND);
    let mut weather = Weather::FAIR;
    weather.distance = rng.pick(&[2 * MS, 20 * MS, 60 * MS]);
    let room = Room {
        retention: 1 << 20,
        factor: 1_000,
        held: 4_096,
        silent_after: rng.pick(&[1_500 * MS, 3 * SECOND]),
        grace: rng.pick(&[4 * SECOND, 60 * SECOND]),
        gone_after: rng.pick(&[300 * MS, 500 * MS, 2 * SECOND]),
        ..room(&mut rng)
    };
    let percent = rng.pick(&[0, 10, 40]);
    let mut swarm = Swarm { rng, seats, span };
    let mut steps = Vec::new();
    swarm.talk(&mut steps);
    for _ in 0..swarm.rng.between(1, 2) {
        swarm.death(&mut steps);
    }
    steps.sort_by_key(|step| step.at);
    Plan {
        seed,
        seats,
        established: seats,
        weather,
        limits: Limits::Tight(room),
        replies: Replies { percent, most: 30 },
        steps,
        calm_at: span + 300 * MS,
        rules: Rules::default(),
        signed: false,
        disks: Disks::None,
    }
}

fn room(rng: &mut Rng) -> Room {
    let silent_after = rng.pick(&[600 * MS, 1_500 * MS, 3 * SECOND]);
    Room {
        retention: rng.pick(&[400, 1_024, 4_096, 1 << 20]),
        factor: rng.pick(&[2, 8, 1_000, 100_000]),
        held: rng.pick(&[1, 3, 16, 4_096]),
        batch: rng.pick(&[1, 2, 64]),
        in_flight: rng.pick(&[1, 2]),
        window: rng.pick(&[1, 4, 64, 4_096]),
        silent_after,
        grace: rng.pick(&[300 * MS, SECOND, 4 * SECOND, 60 * SECOND]),
        gone_after: rng.pick(&[100 * MS, 500 * MS, 2 * SECOND]),
        bound_patience: rng.pick(&[500 * MS, 2 * SECOND]),
        retire_after: rng.pick(&[300 * MS, SECOND, 600 * SECOND]),
    }
}

struct Swarm {
    rng: Rng,
    seats: usize,
    span: Micros,
}

impl Swarm {
    fn any_seat(&mut self) -> Seat {
        self.rng.below(self.seats as u64) as Seat
    }

    fn moment(&mut self) -> Micros {
        self.rng.below(self.span)
    }

    /// Everybody but itself, or one or two others.
    fn seeds(&mut self, seat: Seat) -> Vec<Seat> {
        let others: Vec<Seat> = (0..self.seats).filter(|other| *other != seat).collect();
        match self.rng.below(3) {
            0 => others,
            _ => vec![self.rng.pick(&others), self.rng.pick(&others)],
        }
    }

    fn starts(&mut self, established: usize, steps: &mut Vec<Step>) {
        for seat in established..self.seats {
            let at = if self.rng.percent(50) {
                self.moment()
            } else {
                self.rng.below(50 * MS)
            };
            let seeds = self.seeds(seat);
            let act = Act::Start { seat, seeds };
            steps.push(Step { at, act });
        }
    }

    /// Over the whole run, so that something is said after every change; bursts, too.
    fn talk(&mut self, steps: &mut Vec<Step>) {
        for _ in 0..self.rng.between(5, 60) {
            let burst = self.rng.percent(15);
            let count = if burst { self.rng.between(2, 12) as u32 } else { 1 };
            let bytes = self.rng.pick(&[8, 8, 20, 100]);
            let (seat, at) = (self.any_seat(), self.moment());
            let act = Act::Say { seat, count, bytes };
            steps.push(Step { at, act });
        }
    }

    /// One that everybody sees. Its last words reach some only, who do not get to pass them on at once.
    fn death(&mut self, steps: &mut Vec<Step>) {
        let (seat, at, half_open) = (self.any_seat(), self.moment(), false);
        let (count, bytes) = (self.rng.between(1, 4) as u32, 8);
        let outputs = self.rng.below(8) as usize;
        let crash = Act::CrashInSend {
            seat,
            outputs,
            half_open,
        };
        steps.push(Step { at, act: crash });
        let act = Act::Say { seat, count, bytes };
        steps.push(Step { at: at + 1, act });
        for other in (0..self.seats).filter(|other| *other != seat) {
            for (from, to, what) in [(seat, other, What::Push), (other, self.any_seat(), What::Pull)] {
                let count = self.rng.below(6) as u32;
                if count > 0 && from != to {
                    let act = Act::Lose { from, to, what, count };
                    steps.push(Step { at, act });
                }
            }
        }
    }

    /// In silence or in the middle of a send; some are followed by a new process, soon or late.
    fn crashes(&mut self, steps: &mut Vec<Step>) {
        for _ in 0..self.rng.between(1, 3) {
            let (seat, at) = (self.any_seat(), self.moment());
            let half_open = self.rng.percent(30);
            let act = if self.rng.percent(50) {
                let count = self.rng.between(1, 4) as u32;
                let act = Act::Say { seat, count, bytes: 8 };
                steps.push(Step { at: at + 1, act });
                let outputs = self.rng.below(8) as usize;
                Act::CrashInSend {
                    seat,
                    outputs,
                    half_open,
                }
            } else {
                Act::Crash { seat, half_open }
            };
            steps.push(Step { at, act });
            if self.rng.percent(60) {
                let pause = self.rng.pick(&[10 * MS, 300 * MS, 4 * SECOND]);
                let seeds = self.seeds(seat);
                let act = Act::Start { seat, seeds };
                let at = (at + 1 + pause).min(self.span);
                steps.push(Step { at, act });
            }
        }
    }

    /// Processes die, right after they said something perhaps, and begin again in their seats.
    fn restarts(&mut self, steps: &mut Vec<Step>) {
        for _ in 0..self.rng.between(1, 4) {
            let at = self.moment();
            let all = self.rng.percent(20);
            let only = self.any_seat();
            for seat in (0..self.seats).filter(|seat| all || *seat == only) {
                if self.rng.percent(70) {
                    let count = self.rng.between(1, 4) as u32;
                    let act = Act::Say { seat, count, bytes: 8 };
                    steps.push(Step { at, act });
                }
                let at = at + self.rng.pick(&[1, 5 * MS, 100 * MS]);
                let half_open = self.rng.percent(30);
                let act = Act::Crash { seat, half_open };
                steps.push(Step { at, act });
                let at = (at + self.rng.pick(&[10 * MS, 300 * MS, 4 * SECOND])).min(self.span);
                let seeds = self.seeds(seat);
                let act = Act::Start { seat, seeds };
                steps.push(Step { at, act });
            }
        }
    }

    /// Two or three parts, short or for longer than a grace, once or again and again.
    fn splits(&mut self, steps: &mut Vec<Step>) {
        let (many, breaks) = (self.rng.between(2, 3), self.rng.percent(50));
        let parts: Vec<u8> = (0..self.seats).map(|_| self.rng.below(many) as u8).collect();
        let length = self.rng.pick(&[200 * MS, 2 * SECOND, 6 * SECOND, 12 * SECOND]);
        let times = if length < SECOND { 6 } else { self.rng.between(1, 2) };
        let mut at = self.moment();
        for _ in 0..times {
            let parts = parts.clone();
            steps.push(Step {
                at,
                act: Act::Split { parts, breaks },
            });
            let act = Act::Heal;
            steps.push(Step { at: at + length, act });
            at += length + self.rng.below(length);
        }
        steps.retain(|step| step.at <= self.span);
    }

    /// Single directions, and so views that are not transitive.
    fn cuts(&mut self, steps: &mut Vec<Step>) {
        for _ in 0..self.rng.between(1, 6) {
            let (from, to, at) = (self.any_seat(), self.any_seat(), self.moment());
            let until = (at + self.rng.between(50 * MS, 8 * SECOND)).min(self.span);
            let (cut, mend) = (Act::Cut { from, to }, Act::Mend { from, to });
            steps.extend([Step { at, act: cut }, Step { at: until, act: mend }]);
            if self.rng.percent(50) {
                let (from, to) = (to, from);
                let (cut, mend) = (Act::Cut { from, to }, Act::Mend { from, to });
                steps.extend([Step { at, act: cut }, Step { at: until, act: mend }]);
            }
        }
    }

    fn resets(&mut self, steps: &mut Vec<Step>) {
        for _ in 0..self.rng.between(1, 20) {
            let (from, to, at) = (self.any_seat(), self.any_seat(), self.moment());
            let act = Act::Reset { from, to };
            steps.push(Step { at, act });
        }
    }

    fn stops(&mut self, steps: &mut Vec<Step>) {
        for _ in 0..self.rng.between(1, 3) {
            let (seat, at) = (self.any_seat(), self.moment());
            let pause = self.rng.pick(&[300 * MS, 2 * SECOND, 8 * SECOND]);
            let act = Act::Stop { seat, pause };
            steps.push(Step { at, act });
        }
    }

    fn jumps(&mut self, steps: &mut Vec<Step>) {
        for _ in 0..self.rng.between(1, 3) {
            let (seat, at) = (self.any_seat(), self.moment());
            let by = self.rng.pick(&[-1_500, -200, 500, 3_000, 30_000]) * MS as i64;
            let act = Act::Jump { seat, by };
            steps.push(Step { at, act });
        }
    }

    fn leaves(&mut self, steps: &mut Vec<Step>) {
        for _ in 0..self.rng.between(1, 2) {
            let (seat, at) = (self.any_seat(), self.moment());
            let act = Act::Leave { seat, exits: true };
            steps.push(Step { at, act });
        }
    }
}
