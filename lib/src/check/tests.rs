//! Good logs pass; one planted violation of each kind is found, and named.

use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::clock::Clock;
use crate::message::Member;

const A: u128 = 1;
const B: u128 = 2;
const C: u128 = 3;

fn dot(origin: u128, seq: u64) -> Dot {
    Dot {
        origin: MemberId::from(origin),
        seq,
    }
}

/// A message and its past; everyone's seq 1 is a join, which no log has.
fn said(origin: u128, seq: u64, past: &[(u128, u64)]) -> Delivery {
    let own = [(origin, seq)];
    let all = past.iter().chain(&own);
    let clock: Clock = all
        .clone()
        .map(|&(member, seq)| (MemberId::from(member), seq))
        .collect();
    Delivery {
        dot: dot(origin, seq),
        from: Member {
            id: MemberId::from(origin),
            name: "someone".into(),
        },
        payload: Bytes::from(format!("{origin}:{seq}")),
        lamport: all.map(|entry| entry.1).sum(),
        sent_at: 0,
        held_for: Duration::ZERO,
        clock,
    }
}

/// A says something, B answers, C says something of its own.
fn exchange() -> (Delivery, Delivery, Delivery) {
    let joined = [(A, 1), (B, 1), (C, 1)];
    let question = said(A, 2, &joined[1..]);
    let answer = said(B, 2, &[(A, 2), (C, 1)]);
    let aside = said(C, 2, &joined[..2]);
    (question, answer, aside)
}

#[test]
fn good_logs_pass() {
    let (question, answer, aside) = exchange();
    let ana = vec![question.clone(), aside.clone(), answer.clone()];
    let bob = vec![question.clone(), answer.clone(), aside.clone()];
    let cyd = vec![aside.clone(), question.clone(), answer.clone()];
    assert_eq!(check([&ana, &bob, &cyd]), Ok(()));
    assert_eq!(check(vec![ana, bob, cyd]), Ok(()));
    assert_eq!(check(Vec::<Vec<Delivery>>::new()), Ok(()));
    assert_eq!(check([[].as_slice(), &[question]]), Ok(()));
}

#[test]
fn a_joiner_begins_at_its_cut() {
    let (question, answer, aside) = exchange();
    let (d, later) = (4, said(4, 2, &[(A, 2), (B, 2), (C, 2)]));
    let all = vec![question, answer, aside.clone(), later.clone()];
    // It joined with the question and the answer in its cut, and then had the aside.
    assert_eq!(check([&all[..], &[aside, later.clone()]]), Ok(()));
    let of_joiner = [later];
    let logs = [Log::new(&all), Log::new(&of_joiner).of(MemberId::from(d))];
    assert_eq!(check_logs(&logs), Ok(()));
}

#[test]
fn an_answer_before_its_question_is_found() {
    let (question, answer, _) = exchange();
    let (good, bad) = ([question.clone(), answer.clone()], [answer, question]);
    let expected = Violation::Causal {
        log: 1,
        dot: dot(B, 2),
        cause: dot(A, 2),
    };
    assert_eq!(check([good, bad]), Err(expected));
}

#[test]
fn an_answer_without_its_question_is_found_where_the_log_goes_back_further() {
    let (question, answer, _) = exchange();
    let before = said(A, 1, &[]);
    let (good, bad) = (vec![before.clone(), question, answer.clone()], vec![before, answer]);
    let lost = Violation::Lost {
        log: 1,
        other: 0,
        dot: dot(A, 2),
    };
    assert_eq!(check([&good, &bad]), Err(lost));
    // Its member was gone when the question could still have come: the answer alone is wrong.
    let causal = Violation::Causal {
        log: 1,
        dot: dot(B, 2),
        cause: dot(A, 2),
    };
    assert_eq!(check_logs(&[Log::new(&good), Log::new(&bad).ended()]), Err(causal));
}

#[test]
fn a_message_delivered_twice_is_found() {
    let (question, ..) = exchange();
    let duplicate = Violation::Duplicate { log: 0, dot: dot(A, 2) };
    assert_eq!(check([[question.clone(), question]]), Err(duplicate));
}

#[test]
fn a_changed_message_is_found() {
    let (question, ..) = exchange();
    let changed = Violation::Changed {
        log: 1,
        other: 0,
        dot: dot(A, 2),
    };
    let mut forged = question.clone();
    forged.payload = Bytes::from_static(b"forged");
    assert_eq!(check([[question.clone()], [forged]]), Err(changed));
    let mut restamped = question.clone();
    restamped.clock.set(MemberId::from(B), 9);
    assert_eq!(check([[question], [restamped]]), Err(changed));
}

#[test]
fn a_lost_last_message_is_found() {
    let (question, answer, aside) = exchange();
    let lost = |log, dot| Err(Violation::Lost { log, other: 0, dot });
    let full = vec![question.clone(), aside.clone(), answer.clone()];
    let without_answer = vec![aside.clone(), question.clone()];
    assert_eq!(check([&full, &without_answer]), lost(1, dot(B, 2)));
    // Everything is concurrent here: only whose logs they are shows what is lost. B's and C's own logs begin with
    // their own messages, so that this one can only be A's.
    let other = said(B, 2, &[(A, 1), (C, 1)]);
    let bob = vec![other.clone(), question.clone(), aside.clone()];
    let cyd = vec![aside.clone(), question.clone(), other];
    assert_eq!(check([&bob, &cyd, &vec![question.clone(), aside]]), lost(2, dot(B, 2)));
    // It is no loss if its member had gone.
    let logs = [Log::new(&full), Log::new(&without_answer).ended()];
    assert_eq!(check_logs(&logs), Ok(()));
}

#[test]
fn an_open_cut_is_found() {
    let (question, answer, _) = exchange();
    let next = said(B, 3, &[(A, 2), (C, 1)]);
    let full = vec![question.clone(), answer, next.clone()];
    let open = Violation::OpenCut {
        log: 1,
        dot: dot(B, 2),
        cause: dot(A, 2),
    };
    assert_eq!(check([full, vec![question, next]]), Err(open));
}

#[test]
fn an_invented_message_is_found() {
    let (question, _, aside) = exchange();
    let (ana, cyd) = (vec![aside.clone()], vec![aside, question]);
    let unsent = Violation::Unsent {
        log: 0,
        other: 1,
        dot: dot(A, 2),
    };
    let logs = [Log::new(&ana).of(MemberId::from(A)), Log::new(&cyd)];
    assert_eq!(check_logs(&logs), Err(unsent));
}

#[test]
fn a_stamp_that_leaves_something_out_is_found() {
    let (question, _, aside) = exchange();
    let cyd = vec![question.clone(), aside];
    let stamp = Violation::Stamp {
        log: 0,
        dot: dot(C, 2),
        cause: dot(A, 2),
    };
    assert_eq!(check_logs(&[Log::new(&cyd).of(MemberId::from(C))]), Err(stamp));
}

/// Members that say and hear at random, some of them joining late: no good run is accused.
#[test]
fn random_good_runs_pass() {
    for seed in 0..500 {
        let run = Run::random(seed, false);
        assert_eq!(check(&run.logs), Ok(()), "seed {seed}");
        assert_eq!(check_logs(&run.owned()), Ok(()), "seed {seed} with owners");
    }
}

/// The same with one log cut short by one message: whoever founded the group is owed it.
#[test]
fn random_runs_with_a_lost_message_are_caught_with_owners() {
    for seed in 0..200 {
        let mut run = Run::random(seed, true);
        let Some(lost) = run.logs[0]
            .iter()
            .rposition(|delivery| delivery.dot.origin != MemberId::from(1))
        else {
            continue;
        };
        run.logs[0].remove(lost);
        assert!(
            check_logs(&run.owned()).is_err(),
            "seed {seed}: lost {lost} of {:?}",
            run.logs[0].len()
        );
    }
}

/// A made-up group on counters of its own.
struct Run {
    logs: Vec<Vec<Delivery>>,
}

impl Run {
    fn random(seed: u64, all_from_the_start: bool) -> Self {
        let mut state = seed;
        let mut below = |bound: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % bound
        };
        let members = 2 + below(4);
        let mut sent: Vec<Vec<Delivery>> = vec![Vec::new(); members];
        let mut has: Vec<Option<Vec<u64>>> = vec![Some(vec![0; members]); members];
        if !all_from_the_start {
            has[1..].iter_mut().for_each(|has| *has = None);
        }
        let mut logs = vec![Vec::new(); members];
        // At last everyone hears everything.
        let quiet = 60;
        for turn in 0..quiet + 400 {
            let who = if turn < quiet { below(members) } else { turn % members };
            let Some(mine) = has[who].clone() else {
                let sponsor = below(members);
                has[who] = has[sponsor]
                    .clone()
                    .or_else(|| (turn >= quiet).then(|| has[0].clone()).flatten());
                continue;
            };
            // Seq 1 is a join here too, so that a joiner is known from its first message on.
            let delivery = if turn < quiet && below(3) == 0 {
                let past: Vec<(u128, u64)> = (0..members).map(|origin| (origin as u128 + 1, mine[origin])).collect();
                let past: Vec<_> = past.into_iter().filter(|entry| entry.1 > 0).collect();
                let said = said(who as u128 + 1, mine[who] + 1, &past);
                sent[who].push(said.clone());
                said
            } else {
                let deliverable = |origin: usize| {
                    let next = sent[origin].get(mine[origin] as usize)?;
                    let past = |other: usize| next.clock.get(MemberId::from(other as u128 + 1));
                    let ready = |other: usize| past(other) <= mine[other] + u64::from(other == origin);
                    (0..members).all(ready).then(|| next.clone())
                };
                let start = below(members);
                let Some(next) = (0..members).find_map(|nth| deliverable((start + nth) % members)) else {
                    continue;
                };
                next
            };
            let origin = sent
                .iter()
                .position(|of| of.first().is_some_and(|first| first.dot.origin == delivery.dot.origin));
            let origin = origin.expect("somebody sent it");
            has[who].as_mut().expect("it has begun")[origin] += 1;
            logs[who].push(delivery);
        }
        Self { logs }
    }

    fn owned(&self) -> Vec<Log<'_>> {
        let of = |(nth, log)| Log::new(log).of(MemberId::from(nth as u128 + 1));
        self.logs.iter().map(|log| &log[..]).enumerate().map(of).collect()
    }
}
