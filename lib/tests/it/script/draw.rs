//! Plans drawn from a seed.

use multicast::Micros;
use multicast::engine::Rules;

use super::{Act, Disks, Limits, MS, Plan, Replies, SECOND, Seat, Step, Weather};
use crate::sim::Rng;

/// The plan of a seed. Of eight, three have every fault there is, two have members that forget what is stable, two are
/// of the usual kind, and in one members die and nothing else goes wrong.
pub(crate) fn draw(seed: u64) -> Plan {
    let plan = draw_unsigned(seed);
    // A quarter of the plans of each kind.
    let signed = seed / 8 % 4 == 3;
    let plan = Plan { signed, ..plan };
    // A third of those with every fault there is.
    match (seed % 8, seed / 8 % 3) {
        (1 | 2 | 5, 1) => super::swarm::with_disks(plan),
        _ => plan,
    }
}

fn draw_unsigned(seed: u64) -> Plan {
    match seed % 8 {
        1 | 2 | 5 => super::swarm::draw(seed),
        6 => super::swarm::draw_orderly(seed),
        7 if seed.is_multiple_of(3) => super::forgetful::draw_strangers(seed),
        3 | 7 => super::forgetful::draw(seed),
        _ => draw_usual(seed),
    }
}

/// 3 to 9 members that join, talk and partly leave, in foul weather.
fn draw_usual(seed: u64) -> Plan {
    let mut rng = Rng::of(seed, &[0x91a7]);
    let seats = rng.between(3, 9) as usize;
    let span = rng.between(SECOND, 6 * SECOND);
    let mut steps = Vec::new();
    draw_starts(&mut rng, seats, span, &mut steps);
    draw_talk(&mut rng, seats, span, &mut steps);
    draw_leaves(&mut rng, seats, span, &mut steps);
    let limits = rng.pick(&[Limits::Usual, Limits::Usual, Limits::Small]);
    plan(&mut rng, seed, (seats, 0), limits, span, steps)
}

pub(super) fn plan(
    rng: &mut Rng,
    seed: u64,
    (seats, established): (usize, usize),
    limits: Limits,
    span: Micros,
    mut steps: Vec<Step>,
) -> Plan {
    if rng.percent(30) {
        draw_faults(rng, seats, span, &mut steps);
    }
    steps.sort_by_key(|step| step.at);
    Plan {
        seed,
        seats,
        established,
        weather: draw_weather(rng),
        limits,
        replies: Replies {
            percent: rng.pick(&[0, 10, 40]),
            most: 20,
        },
        steps,
        calm_at: span + 300 * MS,
        rules: Rules::default(),
        signed: false,
        disks: Disks::None,
    }
}

pub(super) fn draw_weather(rng: &mut Rng) -> Weather {
    let fair = rng.percent(15);
    Weather {
        loss_percent: if fair { 0 } else { rng.between(0, 30) },
        twice_percent: if fair { 0 } else { rng.between(0, 10) },
        distance: rng.pick(&[2 * MS, 20 * MS, 100 * MS]),
        jitter: rng.pick(&[0, 2 * MS, 2 * MS, 50 * MS, 50 * MS, 500 * MS, 500 * MS, 5 * SECOND]),
    }
}

/// Together, one after the other, or some in the middle of the talk; knowing everybody or only the first seat.
fn draw_starts(rng: &mut Rng, seats: usize, span: Micros, steps: &mut Vec<Step>) {
    let style = rng.below(3);
    let acquaintance = rng.below(3);
    for seat in 0..seats {
        let at = match style {
            0 => rng.below(5 * MS),
            1 => rng.below(50 * MS) + seat as u64 * rng.below(500 * MS),
            _ if seat < seats / 2 => rng.below(5 * MS),
            _ => rng.below(span),
        };
        let seeds = match acquaintance {
            0 => (0..seats).filter(|other| *other != seat).collect(),
            // The first seat never leaves, so that nobody knows only those who are gone.
            1 => vec![0],
            _ => vec![0, rng.below(seats as u64) as Seat],
        };
        let seeds = seeds.into_iter().filter(|other| *other != seat).collect();
        steps.push(Step {
            at,
            act: Act::Start { seat, seeds },
        });
    }
}

/// Some windows of talk with silence between them; single messages and bursts.
pub(super) fn draw_talk(rng: &mut Rng, seats: usize, span: Micros, steps: &mut Vec<Step>) {
    let windows = rng.between(1, 4);
    let mut left = rng.between(3, 40);
    for _ in 0..windows {
        let begin = rng.below(span);
        let length = rng.between(MS, (span - begin).min(SECOND));
        for _ in 0..left.div_ceil(windows) {
            let burst = rng.percent(10);
            let count = if burst { rng.between(2, 12) } else { 1 };
            let act = Act::Say {
                seat: rng.below(seats as u64) as Seat,
                count: count as u32,
                bytes: rng.pick(&[8, 8, 20, 100]),
            };
            steps.push(Step {
                at: begin + rng.below(length),
                act,
            });
        }
        left = left.saturating_sub(1).max(1);
    }
}

/// Up to a third leave, never the first seat.
pub(super) fn draw_leaves(rng: &mut Rng, seats: usize, span: Micros, steps: &mut Vec<Step>) {
    for seat in 1..seats {
        if rng.percent(20) {
            let act = Act::Leave {
                seat,
                exits: rng.percent(70),
            };
            steps.push(Step {
                at: rng.between(span / 3, span),
                act,
            });
        }
    }
}

/// One-way cuts, partitions and connections that are reset, all over before anybody is thought dead.
fn draw_faults(rng: &mut Rng, seats: usize, span: Micros, steps: &mut Vec<Step>) {
    for _ in 0..rng.between(1, 4) {
        let at = rng.below(span);
        let until = (at + rng.between(50 * MS, 3 * SECOND)).min(span);
        let (from, to) = (rng.below(seats as u64) as Seat, rng.below(seats as u64) as Seat);
        let mut cut = |from, to| {
            let (cut, mend) = (Act::Cut { from, to }, Act::Mend { from, to });
            steps.extend([Step { at, act: cut }, Step { at: until, act: mend }]);
        };
        match rng.below(3) {
            0 => cut(from, to),
            1 => {
                let sides: Vec<bool> = (0..seats).map(|_| rng.percent(50)).collect();
                let pairs = (0..seats).flat_map(|from| (0..seats).map(move |to| (from, to)));
                pairs
                    .filter(|&(from, to)| sides[from] != sides[to])
                    .for_each(|(from, to)| cut(from, to));
            }
            _ => {
                let storm = rng.between(1, 20);
                for _ in 0..storm {
                    let (from, to) = (rng.below(seats as u64) as Seat, rng.below(seats as u64) as Seat);
                    let at = rng.between(at, until);
                    let act = Act::Reset { from, to };
                    steps.push(Step { at, act });
                }
            }
        }
    }
}
