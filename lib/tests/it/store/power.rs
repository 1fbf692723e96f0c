//! The store in a file when the power is lost, at any write or sync: what was confirmed is there.

use multicast::GroupId;
use multicast::store::{Change, MemoryStore, Page, Saved, SqliteStore, Store, StoreError, Stored};

use super::disk::{Disk, NAME};
use super::random::Draw;
use super::sqlite::text;
use crate::sim::Rng;

/// Batches between two losses of power, at most.
const BATCHES: u64 = 25;
/// Losses of power in one case.
const LIVES: u64 = 3;
/// Writes and syncs of a life that is cut, at most: more than most lives need, so that some end well.
const CHANGES: u64 = 400;

/// What a store has.
type Content = Vec<(GroupId, Option<Saved>, Vec<Stored>)>;

#[derive(Default)]
struct Counts {
    cuts: u64,
    confirmed: u64,
    unconfirmed_kept: u64,
}

/// One test, because one disk is registered.
#[test]
fn what_was_confirmed_survives_a_loss_of_power() {
    let disk = Disk::register();
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    if let Some(seed) = number("MULTICAST_SEED") {
        return case(&disk, seed, "FULL", &mut Counts::default()).expect("nothing is lost");
    }
    let (cases, mut counts) = (number("MULTICAST_CASES").unwrap_or(1000), Counts::default());
    for seed in 0..cases {
        if let Err(lost) = case(&disk, seed, "FULL", &mut counts) {
            panic!(
                "{lost}\n  again: MULTICAST_SEED={seed} cargo test -p multicast --features powercut --test it power"
            );
        }
    }
    println!(
        "{cases} cases: the power was lost {} times, {} batches were confirmed and are there, of those under way {} are",
        counts.cuts, counts.confirmed, counts.unconfirmed_kept
    );
    assert!(
        counts.confirmed > counts.cuts && counts.unconfirmed_kept > 0,
        "it was cut while it worked"
    );
    // Without waiting for the disk it is noticed at once: this test can fail.
    let caught = (0..100).filter(|seed| case(&disk, *seed, "OFF", &mut Counts::default()).is_err());
    let caught = caught.count();
    println!("synchronous=OFF: caught in {caught} of 100 cases");
    assert!(caught > 10);
}

fn case(disk: &Disk, seed: u64, synchronous: &str, counts: &mut Counts) -> Result<(), String> {
    disk.clear();
    let (mut rng, mut draw) = (Rng::of(seed, &[1]), Draw::new(seed));
    let mut confirmed: Vec<Change> = Vec::new();
    // The store is there before: that it comes to be is a matter of the file's name.
    disk.power(u64::MAX);
    drop(open(synchronous).map_err(|error| error.to_string())?);
    for life in 0..LIVES {
        let before = confirmed.len();
        let (mut under_way, mut drawn) = (Vec::new(), draw.clone());
        disk.power(rng.between(1, CHANGES));
        if let Ok(mut store) = open(synchronous) {
            for _ in 0..rng.between(1, BATCHES) {
                drawn = draw.clone();
                let batch = draw.batch();
                if store.apply(&batch).is_err() {
                    under_way = batch;
                    break;
                }
                confirmed.extend(batch);
                counts.confirmed += 1;
            }
            disk.power(0);
        }
        disk.cut(&mut rng);
        counts.cuts += 1;
        disk.power(u64::MAX);
        let at = format!(
            "seed {seed}, life {life}, {before} and {} changes confirmed",
            confirmed.len() - before
        );
        let mut store = open(synchronous).map_err(|error| format!("{at}: {error}"))?;
        let found = content(&mut store, &draw).map_err(|error| format!("{at}: {error}"))?;
        drop(store);
        if found == expected(&confirmed, &draw) {
            // What was not done is to be done again: there are no holes.
            if !under_way.is_empty() {
                draw = drawn;
            }
            continue;
        }
        confirmed.extend(under_way);
        counts.unconfirmed_kept += 1;
        if found != expected(&confirmed, &draw) {
            return Err(format!("{at}: what was confirmed is not what is there"));
        }
    }
    Ok(())
}

fn open(synchronous: &str) -> Result<SqliteStore, StoreError> {
    SqliteStore::open_simulated("history.db", NAME, synchronous, text())
}

fn expected(changes: &[Change], draw: &Draw) -> Content {
    let mut memory = MemoryStore::new().open().expect("it is free");
    memory.apply(changes).expect("written");
    content(&mut memory, draw).expect("readable")
}

fn content(store: &mut dyn Store, draw: &Draw) -> Result<Content, StoreError> {
    let of = |group| {
        let found = store.search(group, "lunch", None, usize::MAX)?;
        let mut all = store.read(group, Page::After(None), usize::MAX)?;
        all.extend(found);
        Ok((group, store.load(group, u64::MAX)?, all))
    };
    draw.groups().map(of).collect()
}
