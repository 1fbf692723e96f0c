//! With one rule of the engine switched off the judge must find a violation: so it is known to judge.

use multicast::engine::Rules;

use crate::script::draw;
use crate::seeds::attempt;

/// Each must be caught within so many seeds, in the plans that `seeds` runs with all rules on.
const WITHIN: u64 = 1_000;

/// A rule, and how to switch it off.
type Mutant = (&'static str, fn(&mut Rules));

const MUTANTS: &[Mutant] = &[
    ("check_dependencies", |rules| rules.check_dependencies = false),
    ("decode_only_next", |rules| rules.decode_only_next = false),
    ("greet_whole_view", |rules| rules.greet_whole_view = false),
    ("digest_after_view", |rules| rules.digest_after_view = false),
    ("fetch_unstable", |rules| rules.fetch_unstable = false),
    ("purge_orphans", |rules| rules.purge_orphans = false),
    ("retain_for_silent", |rules| rules.retain_for_silent = false),
    ("tombstones", |rules| rules.tombstones = false),
    ("agree_before_closing", |rules| rules.agree_before_closing = false),
    ("generations", |rules| rules.generations = false),
    ("closed_is_upper_bound", |rules| rules.closed_is_upper_bound = false),
    ("digests_name_retired", |rules| rules.digests_name_retired = false),
    ("gap_brings_lamport", |rules| rules.gap_brings_lamport = false),
    ("ask_next_first", |rules| rules.ask_next_first = false),
];

/// Switches off the rule with that name.
pub(crate) fn without(name: &str, rules: &mut Rules) {
    let mutant = MUTANTS.iter().find(|mutant| mutant.0 == name);
    (mutant.unwrap_or_else(|| panic!("no rule is called {name:?}")).1)(rules);
}

#[test]
fn mutants_are_caught() {
    let mut missed = Vec::new();
    for (name, switch) in MUTANTS {
        let caught = (0..WITHIN).find_map(|seed| {
            let mut plan = draw(seed);
            switch(&mut plan.rules);
            attempt(&plan).err().map(|failure| (seed, failure))
        });
        match caught {
            Some((seed, failure)) => {
                println!("without {name}: seed {seed}: {}", failure.violation);
                let rule = failure.violation.rule;
                assert_ne!(rule, "panic", "the judge is to notice, not an assertion of the engine");
            }
            None => missed.push(*name),
        }
    }
    assert!(
        missed.is_empty(),
        "{WITHIN} seeds, and nothing was noticed without {missed:?}"
    );
}
