//! Runs that broke the engine once. What was wrong is told beside each; the plan is drawn again from the seed.

use crate::script::{Plan, draw, draw_swarm};
use crate::seeds::attempt;

fn check(seeds: &[u64], draw: fn(u64) -> Plan) {
    for &seed in seeds {
        if let Err(failure) = attempt(&draw(seed)) {
            panic!("seed {seed}, {} ms: {}", failure.at / 1000, failure.violation);
        }
    }
}

#[test]
fn whoever_speaks_is_not_silent_because_its_record_comes_later() {
    check(&[2_265, 6_454], draw_swarm);
}

#[test]
fn a_repeated_beginning_of_a_stream_does_not_lead_to_another_one() {
    check(&[6_574, 6_966], draw_swarm);
}

#[test]
fn a_joiner_that_starts_over_keeps_who_has_ended() {
    check(&[7_033, 7_105], draw_swarm);
}

#[test]
fn an_end_that_a_gap_skipped_past_is_raised() {
    check(&[18_858], draw_swarm);
}

#[test]
fn what_a_joiner_said_of_its_first_cut_is_no_evidence() {
    check(&[32_430, 39_738], draw_swarm);
}

#[test]
fn one_that_is_leaving_and_a_joiner_do_not_wait_for_each_other() {
    check(&[37_609], draw_swarm);
}

#[test]
fn what_one_that_is_leaving_has_delivered_is_not_given_up() {
    check(&[55_510, 56_065], draw_swarm);
}

#[test]
fn for_a_gap_everyone_is_asked_at_once() {
    check(&[19_034, 85_261], draw_swarm);
}

#[test]
fn who_is_gone_confirms_no_gap() {
    check(&[84_697], draw_swarm);
}

#[test]
fn a_joiner_keeps_to_the_budget() {
    check(&[194_245, 284_045], draw_swarm);
}

#[test]
fn a_join_that_is_skipped_makes_nothing_true_that_was_said_before() {
    check(&[5_917], draw_swarm);
}

#[test]
fn what_waits_for_someone_who_is_there_is_not_said_to_be_gone() {
    check(&[329_950], draw);
}

#[test]
fn who_left_may_have_been_heard_by_none_but_others_who_left() {
    check(&[154_184], draw);
}
