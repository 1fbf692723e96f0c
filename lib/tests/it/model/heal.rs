//! "Heals": from every state a fair schedule without further faults leads to where everyone who lives has
//! delivered the same, and nothing is held.
//!
//! The fair schedule first delivers whatever is under way, at the moment at which the state stands, and then lets
//! time pass. Its first part consists of steps that the checker explores as well; they come from the same table.
//! What the rest depends on is only the engines once the network is empty, so each such ending is tried once,
//! whatever number of states lead to it: no state is left out.

use std::collections::HashMap;
use std::sync::RwLock;

use multicast::engine::{Engine, Input, Notice, Standing};

use super::group::{Event, Group, World};
use super::lab::{Lab, Seat, Wire};

/// Time between two looks at every engine: a tick may be late.
const STRIDE: u64 = 100_000;
/// Within so many strides it has healed: 5 s, many times what the timers of the model's `Config` need.
const STRIDES: u64 = 50;

/// What is known of quiet worlds: engines, the dead member and who misses it, to how it ends.
pub(crate) type Known = RwLock<HashMap<(Vec<u64>, Option<Seat>), Result<(), String>>>;

/// Whether all is well in the end, or what is not.
pub(crate) fn heals(group: &Group, world: &World) -> Result<(), String> {
    let quiet = quieten(group, world.clone())?;
    // The dead have no say in how it ends.
    let living = quiet
        .seats
        .iter()
        .enumerate()
        .filter(|(seat, _)| quiet.dead != Some(*seat));
    let engines = living.map(|(_, rest)| rest.id).collect();
    let key = (engines, quiet.dead);
    if let Some(known) = group.healed.read().expect("no panic").get(&key) {
        return known.clone();
    }
    let outcome = let_time_pass(group, &quiet);
    group.healed.write().expect("no panic").insert(key, outcome.clone());
    outcome
}

/// Delivers what is under way, and what is said about that, until nothing is. Then links to the dead go down.
fn quieten(group: &Group, mut world: World) -> Result<World, String> {
    for _ in 0..1_000 {
        let to_tell = (0..world.seats.len()).find(|seat| world.to_tell & 1 << seat > 0);
        let next = match (world.flights.is_empty(), to_tell) {
            (false, _) => Event::Deliver { nth: 0, lost: 0 },
            (true, Some(seat)) => Event::LinkDown(seat),
            (true, None) => return Ok(world),
        };
        world = group.after(&world, next);
    }
    Err("the group does not become quiet".into())
}

fn let_time_pass(group: &Group, quiet: &World) -> Result<(), String> {
    let mut engines: Vec<Engine> = quiet.seats.iter().map(|rest| rest.engine.clone()).collect();
    let living: Vec<Seat> = (0..engines.len()).filter(|seat| quiet.dead != Some(*seat)).collect();
    let (mut wire, mut ends) = (Wire::default(), vec![Vec::new(); engines.len()]);
    if is_well(&group.lab, &engines, &living, &ends, quiet.dead) {
        return Ok(());
    }
    for stride in 0..STRIDES {
        let now = (stride + 1) * STRIDE;
        for &seat in &living {
            let mut inputs = vec![Input::Tick];
            if let (Some(dead), 0) = (quiet.dead, stride) {
                let peer = group.lab.id(dead);
                inputs.extend([Input::LinkDown { peer }, Input::Refused { peer }]);
            }
            for input in inputs {
                let notices = wire.feed(&group.lab, &mut engines, seat, input, now);
                ends[seat].extend(notices);
            }
            if let Some(dead) = quiet.dead {
                wire.forget(dead);
            }
        }
        let said = wire.run_dry(&group.lab, &mut engines, now);
        said.into_iter().for_each(|(seat, notice)| ends[seat].push(notice));
        if let Some(bad) = living.iter().find_map(|&seat| wrong(&engines[seat], &ends[seat])) {
            return Err(bad);
        }
        if is_well(&group.lab, &engines, &living, &ends, quiet.dead) {
            return Ok(());
        }
    }
    Err(format!("not healed after {} ms", STRIDE * STRIDES / 1000))
}

/// Everyone alive has the same and holds nothing; if somebody died, everyone has closed it where the messages end,
/// and told the application so (a member that never spoke ends without a word).
fn is_well(lab: &Lab, engines: &[Engine], living: &[Seat], ends: &[Vec<Notice>], dead: Option<Seat>) -> bool {
    let first = engines[living[0]].delivered();
    let same = |&seat: &Seat| engines[seat].delivered() == first && engines[seat].held().next().is_none();
    let buried = |&seat: &Seat| {
        let Some(dead) = dead.map(|dead| lab.id(dead)) else {
            return true;
        };
        let last = first.get(dead);
        let told = ends[seat].iter().filter_map(last_seq).eq((last > 0).then_some(last));
        let records = engines[seat].records().into_iter();
        told && records
            .filter(|record| record.member == dead)
            .all(|record| record.standing == Standing::Closed(last))
    };
    living.iter().all(same) && living.iter().all(buried)
}

/// What no member may say or be while it heals.
fn wrong(engine: &Engine, notices: &[Notice]) -> Option<String> {
    if engine.is_over() {
        return Some("an engine stopped".into());
    }
    if let Err(what) = engine.check() {
        return Some(what);
    }
    let bad = |notice: &&Notice| matches!(notice, Notice::Odd { .. } | Notice::Gap(_) | Notice::Reopened(_));
    notices.iter().find(bad).map(|notice| format!("{notice:?}"))
}

fn last_seq(notice: &Notice) -> Option<u64> {
    match notice {
        Notice::Closed { last_seq, .. } => Some(*last_seq),
        _ => None,
    }
}
