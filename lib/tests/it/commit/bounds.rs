//! Tables have an end, and what is forgotten is not made up.

use std::collections::BTreeSet;

use bytes::Bytes;
use multicast::commit::{
    Answer, Input, MAX_KNOWN, MAX_OPEN, MAX_OPERATION, MAX_PENDING, Outcome, Output, Party, Record, Request, TxnId,
    Vote,
};
use multicast::{JournalId, MemberId};

const ME: u128 = 1;
const OTHER: u128 = 2;

fn party(records: &[Record]) -> Party {
    Party::new(MemberId::from(ME), JournalId::from(ME), 1, records)
}

fn foreign(n: u32) -> TxnId {
    TxnId {
        journal: JournalId::from(OTHER),
        life: 1,
        n,
    }
}

fn prepare(party: &mut Party, txn: TxnId, operation: Bytes) -> Vec<Output> {
    let participants = vec![MemberId::from(ME)];
    request(
        party,
        Request::Prepare {
            txn,
            participants,
            operation,
        },
    )
}

fn request(party: &mut Party, request: Request) -> Vec<Output> {
    let from = MemberId::from(OTHER);
    party.handle(Input::Request { from, request })
}

fn is_refused(outputs: &[Output]) -> bool {
    matches!(
        outputs,
        [Output::Answer {
            answer: Answer::Vote { vote: Vote::No(_), .. },
            ..
        }]
    )
}

fn outcome(party: &mut Party, txn: TxnId) -> Option<Outcome> {
    match request(party, Request::Inquire { txn }).pop() {
        Some(Output::Answer {
            answer: Answer::Outcome { outcome, .. },
            ..
        }) => outcome,
        other => panic!("not an answer: {other:?}"),
    }
}

#[test]
fn proposals_that_wait_have_a_limit() {
    let mut party = party(&[]);
    let others = BTreeSet::from([MemberId::from(OTHER)]);
    let mut propose = || party.propose(Bytes::new(), others.clone());
    (0..MAX_OPEN).for_each(|_| assert!(propose().is_some()));
    assert_eq!(propose(), None);
}

#[test]
fn what_is_undecided_has_a_limit_and_so_has_an_operation() {
    let mut party = party(&[]);
    assert!(is_refused(&prepare(
        &mut party,
        foreign(1),
        vec![0; MAX_OPERATION + 1].into()
    )));
    for n in 1..=MAX_PENDING as u32 {
        let outputs = prepare(&mut party, foreign(n), Bytes::new());
        assert!(matches!(outputs.as_slice(), [Output::Consider { .. }]));
        // Half of them are considered, half are in doubt.
        if n % 2 == 0 {
            let (txn, vote) = (foreign(n), Vote::Yes);
            drop(party.handle(Input::Vote { txn, vote }));
        }
    }
    let more = foreign(MAX_PENDING as u32 + 1);
    assert!(is_refused(&prepare(&mut party, more, Bytes::new())));
    let (txn, outcome, operation) = (foreign(2), Outcome::Committed, Bytes::new());
    drop(request(
        &mut party,
        Request::Decision {
            txn,
            outcome,
            operation,
        },
    ));
    assert!(!is_refused(&prepare(&mut party, more, Bytes::new())));
}

#[test]
fn a_coordinator_presumes_nothing_of_what_it_has_forgotten() {
    let mut party = party(&[]);
    let mut journal = Vec::new();
    let mut txns = Vec::new();
    let silent = BTreeSet::from([MemberId::from(OTHER)]);
    for n in 0..MAX_KNOWN + 2 {
        // One in the middle is aborted.
        let participants = if n == 1 { silent.clone() } else { BTreeSet::new() };
        let (txn, mut outputs) = party.propose(Bytes::new(), participants).expect("there is room");
        outputs.extend(party.handle(Input::Deadline { txn }));
        txns.push(txn);
        journal.extend(outputs.into_iter().filter_map(|output| match output {
            Output::Write(record) => Some(record),
            _ => None,
        }));
    }
    let known = |party: &mut Party, n: usize| outcome(party, txns[n]);
    let compacted = Party::new(MemberId::from(ME), JournalId::from(ME), 2, &party.records());
    let replayed = Party::new(MemberId::from(ME), JournalId::from(ME), 2, &journal);
    assert_eq!(compacted, replayed);
    for mut party in [party, compacted] {
        assert_eq!(known(&mut party, 0), None, "it was committed, and is forgotten");
        assert_eq!(known(&mut party, 2), Some(Outcome::Committed));
        let last = txns[MAX_KNOWN + 1];
        assert_eq!(outcome(&mut party, last), Some(Outcome::Committed));
        let never = TxnId { n: last.n + 1, ..last };
        let expected = (party.records().len() > 1).then_some(Outcome::Aborted);
        // In a later life that number was never used, or aborted.
        assert!([None, expected].contains(&outcome(&mut party, never)));
    }
}

#[test]
fn what_is_over_gets_no_second_yes() {
    let mut party = party(&[]);
    for n in 1..=MAX_KNOWN as u32 + 1 {
        let (txn, vote) = (foreign(n), Vote::No("taken".into()));
        drop(prepare(&mut party, txn, Bytes::new()));
        drop(party.handle(Input::Vote { txn, vote }));
    }
    assert_eq!(outcome(&mut party, foreign(1)), None, "forgotten");
    assert!(is_refused(&prepare(&mut party, foreign(1), Bytes::new())));
    assert!(is_refused(&prepare(&mut party, foreign(2), Bytes::new())));
}

#[test]
fn who_was_not_asked_does_not_vote_and_overhears() {
    let mut party = party(&[]);
    let (txn, operation) = (foreign(1), Bytes::from_static(b"ops"));
    let participants = vec![MemberId::from(3)];
    let prepare = Request::Prepare {
        txn,
        participants,
        operation: operation.clone(),
    };
    assert_eq!(request(&mut party, prepare), []);
    let decision = |outcome| Request::Decision {
        txn,
        outcome,
        operation: operation.clone(),
    };
    assert_eq!(request(&mut party, decision(Outcome::Aborted)), []);
    let from = MemberId::from(OTHER);
    let overheard = Output::Overheard {
        from,
        txn,
        operation: operation.clone(),
    };
    assert_eq!(request(&mut party, decision(Outcome::Committed)), [overheard]);
}
