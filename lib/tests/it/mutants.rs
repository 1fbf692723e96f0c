//! With one rule of the engine switched off the judge must find a violation: so it is known to judge.

use multicast::engine::Rules;

use crate::script::{Plan, draw};
use crate::seeds::attempt;

/// A rule that is switched off.
struct Mutant {
    name: &'static str,
    switch: fn(&mut Rules),
    /// It must be caught within so many seeds.
    within: u64,
    /// The plans in which it is looked for.
    plan: fn(u64) -> Plan,
}

const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "check_dependencies",
        switch: |rules| rules.check_dependencies = false,
        within: 100,
        plan: draw,
    },
    Mutant {
        name: "decode_only_next",
        switch: |rules| rules.decode_only_next = false,
        within: 1_000,
        plan: draw,
    },
];

#[test]
fn mutants_are_caught() {
    for mutant in MUTANTS {
        let caught = (0..mutant.within).find_map(|seed| {
            let mut plan = (mutant.plan)(seed);
            (mutant.switch)(&mut plan.rules);
            attempt(&plan).err().map(|failure| (seed, failure))
        });
        let Some((seed, failure)) = caught else {
            panic!(
                "{} seeds without {}, and nothing was noticed",
                mutant.within, mutant.name
            );
        };
        println!("without {}: seed {seed}: {}", mutant.name, failure.violation);
        assert_ne!(
            failure.violation.rule, "panic",
            "the judge is to notice, not an assertion of the engine"
        );
    }
}
