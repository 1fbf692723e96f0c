//! Plans in which what is stable is forgotten at once: whoever believes too early that something is stable loses it
//! for someone, and nobody may lose anything here.

use multicast::Micros;

use super::draw::{draw_leaves, draw_talk, plan};
use super::{Act, Limits, MS, Plan, SECOND, Seat, Step, Weather, What};
use crate::sim::Rng;

/// A joiner goes on without those whom it did not hear for longer than a member may be silent. Who then loses its sponsor
/// too is known to nobody, and the budget is all that protects it: so cuts end in half that time.
const LONGEST_CUT: Micros = 3 * SECOND;

/// A group that is there already; the others join it while it talks.
pub(super) fn draw(seed: u64) -> Plan {
    let mut rng = Rng::of(seed, &[0x91a8]);
    let hard = rng.percent(60);
    let seats = rng.between(if hard { 4 } else { 3 }, 9) as usize;
    let established = rng.between(if hard { 3 } else { 2 }, seats as u64 - 1) as usize;
    let span = rng.between(SECOND, 6 * SECOND);
    let mut steps = Vec::new();
    for seat in established..seats {
        let at = rng.below(span);
        let sponsor = rng.below(established as u64) as Seat;
        let lonely = hard && sponsor > 0;
        let seeds = if lonely { vec![sponsor] } else { vec![0, sponsor] };
        let act = Act::Start { seat, seeds };
        steps.push(Step { at, act });
        if lonely {
            overlapping_views(&mut rng, (seat, sponsor, established), at, &mut steps);
        }
    }
    draw_talk(&mut rng, seats, span, &mut steps);
    if !hard {
        draw_leaves(&mut rng, seats, span, &mut steps);
    }
    let limits = Limits::Forgetful {
        silent_after: 2 * LONGEST_CUT,
        gone_after: if hard { 200 * MS } else { 2 * SECOND },
    };
    let mut plan = plan(&mut rng, seed, (seats, established), limits, span, steps);
    if hard {
        // Weather in which a greeting that is tried for as long as that arrives.
        plan.weather.loss_percent = plan.weather.loss_percent.min(10);
        plan.weather.jitter = plan.weather.jitter.min(50 * MS);
    }
    plan
}

/// The joiner knows its sponsor alone and hears nobody else, nobody else is told of it, and then the sponsor dies:
/// the group must still keep what the joiner lacks.
fn overlapping_views(rng: &mut Rng, seats: (Seat, Seat, usize), at: Micros, steps: &mut Vec<Step>) {
    let (joiner, sponsor, established) = seats;
    let until = at + rng.between(200 * MS, LONGEST_CUT);
    let apart = rng.percent(80);
    for other in (0..established).filter(|other| *other != sponsor) {
        if apart {
            for (from, to) in [(joiner, other), (other, joiner)] {
                let (cut, mend) = (Act::Cut { from, to }, Act::Mend { from, to });
                steps.extend([Step { at, act: cut }, Step { at: until, act: mend }]);
            }
        }
        let count = rng.below(6) as u32;
        if count > 0 {
            let (from, to, what) = (sponsor, other, What::View);
            let act = Act::Lose { from, to, what, count };
            steps.push(Step { at, act });
        }
    }
    // They go on talking while it waits.
    for _ in 0..rng.between(0, 30) {
        let (count, bytes) = (1, rng.pick(&[8, 100]));
        let seat = rng.below(established as u64) as Seat;
        let act = Act::Say { seat, count, bytes };
        let at = at + rng.below(until - at);
        steps.push(Step { at, act });
    }
    if rng.percent(80) {
        let half_open = rng.percent(20);
        let act = Act::Crash {
            seat: sponsor,
            half_open,
        };
        let at = at + rng.below(until - at);
        steps.push(Step { at, act });
    }
}

/// Two join at once through two members, hear nothing of each other, and both sponsors die. What one of them lacks then
/// is with the other one, who must not have let go of it on the word of a sponsor that knew more joiners than it told.
pub(super) fn draw_strangers(seed: u64) -> Plan {
    const JOINER: Seat = 2;
    const STRANGER: Seat = 3;
    let mut rng = Rng::of(seed, &[0x91a9]);
    let start = rng.between(100 * MS, 500 * MS);
    let (deaths, span) = (start + 2 * LONGEST_CUT, start + 3 * LONGEST_CUT);
    let mut steps = Vec::new();
    for (seat, sponsor) in [(JOINER, 0), (STRANGER, 1)] {
        let at = start + rng.below(5 * MS);
        let seeds = vec![sponsor];
        let act = Act::Start { seat, seeds };
        steps.push(Step { at, act });
    }
    for (from, to) in [(JOINER, STRANGER), (STRANGER, JOINER)] {
        steps.push(Step {
            at: 0,
            act: Act::Cut { from, to },
        });
    }
    let to = STRANGER;
    for from in [0, 1] {
        // Only who has spoken is believed.
        let (seat, count, bytes) = (from, 1, 8);
        let act = Act::Say { seat, count, bytes };
        steps.push(Step { at: 10 * MS, act });
        let until = start + rng.between(SECOND, LONGEST_CUT - SECOND / 2);
        // Nor does it get the joiner's first message by repair, only what it needs to join itself.
        for (what, since) in [(What::View, start), (What::Pulled, start + 250 * MS)] {
            for (at, count) in [(since, u32::MAX), (until, 0)] {
                let act = Act::Lose { from, to, what, count };
                steps.push(Step { at, act });
            }
        }
        let half_open = false;
        let act = Act::Crash { seat: from, half_open };
        let at = deaths + rng.below(200 * MS);
        steps.push(Step { at, act });
    }
    for _ in 0..rng.between(10, 60) {
        // The sponsors are quiet: what they say would name the joiner.
        let (seat, count, bytes) = (STRANGER, 1, 100);
        let act = Act::Say { seat, count, bytes };
        let at = start + SECOND + rng.below(LONGEST_CUT / 2);
        steps.push(Step { at, act });
    }
    let act = Act::Stop {
        seat: JOINER,
        pause: 2 * LONGEST_CUT,
    };
    let at = start + rng.between(700 * MS, 1_200 * MS);
    steps.push(Step { at, act });
    let limits = Limits::Forgetful {
        silent_after: 2 * LONGEST_CUT,
        gone_after: 200 * MS,
    };
    steps.sort_by_key(|step| step.at);
    let mut plan = Plan::established(2);
    let weather = Weather {
        distance: 20 * MS,
        ..Weather::FAIR
    };
    (plan.seed, plan.seats, plan.steps, plan.limits) = (seed, 4, steps, limits);
    (plan.calm_at, plan.weather) = (span, weather);
    plan
}
