//! A member that lies, in a signed group: nothing reaches anybody that the holder of the origin's key did not say (X1),
//! nobody loses anything by it, and who tells two stories is found out by all.
//!
//! ```text
//! MULTICAST_LIES=10000 cargo test --release -p multicast --test it lies -- --nocapture
//! MULTICAST_LIE=17 ...                                                       one seed
//! ```

mod liar;
mod world;

use multicast::engine::Rules;

pub(crate) use liar::Lie;
use world::World;

/// How many seeds a plain `cargo test` runs.
const USUAL: u64 = 600;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// The lie of a seed: all in turn.
fn lie_of(seed: u64) -> Lie {
    Lie::ALL[(seed % Lie::ALL.len() as u64) as usize]
}

fn attempt(seed: u64, rules: Rules) -> Result<world::Told, String> {
    World::new(seed, lie_of(seed), rules).play()
}

#[test]
fn lies() {
    let (first, count) = match number("MULTICAST_LIE") {
        Some(seed) => (seed, 1),
        None => (0, number("MULTICAST_LIES").unwrap_or(USUAL)),
    };
    let (mut failed, mut total) = (0, world::Told::default());
    for seed in first..first + count {
        match attempt(seed, Rules::default()) {
            Ok(told) => total.add(&told),
            Err(what) => {
                println!("MULTICAST_LIE={seed}, {:?}: {what}", lie_of(seed));
                failed += 1;
            }
        }
        assert!(failed < 10, "seeds failed, see above");
    }
    println!("{total:?}");
    assert_eq!(failed, 0, "seeds failed, see above");
    if count >= USUAL {
        assert!(total.proofs > 0 && total.odd > 0 && total.bent > 0 && total.gaps > 0 && total.deliveries > 0);
    }
}

/// A check, and how to switch it off.
type Mutant = (&'static str, fn(&mut Rules));

/// With one check switched off somebody is deceived, or stays deceived.
#[test]
fn each_check_is_needed() {
    let mutants: &[Mutant] = &[
        ("verify_relayed", |rules| rules.verify_relayed = false),
        ("compare_chains", |rules| rules.compare_chains = false),
        ("compare_digests", |rules| rules.compare_digests = false),
        ("verify_proofs", |rules| rules.verify_proofs = false),
        ("void_expelled", |rules| rules.void_expelled = false),
    ];
    for (name, switch) in mutants {
        let mut rules = Rules::default();
        switch(&mut rules);
        let caught = (0..USUAL).find_map(|seed| Some((seed, attempt(seed, rules).err()?)));
        let (seed, what) = caught.unwrap_or_else(|| panic!("nothing was noticed without {name}"));
        println!("without {name}: seed {seed}, {:?}: {what}", lie_of(seed));
    }
}
