//! Committees over real sockets.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures::StreamExt;
use multicast::commit::{
    Affair, Agenda, Committee, Journal, MemoryJournal, Outcome, Proposal, ProposeError, TxnId, Vote,
};
use multicast::{Member, Node};
use tokio::sync::mpsc;

use crate::wire::{joined, node, nodes, soon};

async fn sit(group: multicast::Group, journal: Option<&MemoryJournal>) -> (Committee, Agenda) {
    let journal = journal.map(|journal| Box::new(journal.clone()) as Box<dyn Journal>);
    Committee::new(group, journal).await.expect("memory can be written")
}

/// The next affair that is not the group's own.
async fn next(what: &str, agenda: &mut Agenda) -> Affair {
    loop {
        match soon(what, agenda.next()).await {
            Some(Affair::Group(_)) => {}
            Some(affair) => return affair,
            None => panic!("the agenda ended: {what}"),
        }
    }
}

async fn proposal(agenda: &mut Agenda) -> Proposal {
    match next("a proposal", agenda).await {
        Affair::Proposed(proposal) => proposal,
        other => panic!("not a proposal: {other:?}"),
    }
}

async fn decided(agenda: &mut Agenda) -> (TxnId, Outcome) {
    match next("a decision", agenda).await {
        Affair::Decided { txn, outcome, .. } => (txn, outcome),
        other => panic!("not a decision: {other:?}"),
    }
}

/// Votes on everything, and tells what was decided.
fn voter(mut agenda: Agenda, vote: Vote) -> mpsc::Receiver<(Outcome, Bytes)> {
    let (tell, told) = mpsc::channel(16);
    tokio::spawn(async move {
        while let Some(affair) = agenda.next().await {
            match affair {
                Affair::Proposed(proposal) => proposal.vote(vote.clone()).await,
                Affair::Decided { outcome, operation, .. } => {
                    let _ = tell.send((outcome, operation)).await;
                }
                _ => {}
            }
        }
    });
    told
}

fn votes(votes: &[(Member, Option<Vote>)]) -> BTreeSet<(String, Option<Vote>)> {
    votes
        .iter()
        .map(|(member, vote)| (member.name.to_string(), vote.clone()))
        .collect()
}

#[tokio::test]
async fn all_do_it_or_nobody() {
    let nodes = nodes(3).await;
    let mut groups = joined(&nodes, "council").await;
    let (_last, last) = sit(groups.pop().expect("three"), None).await;
    let journal = MemoryJournal::new();
    let (ana, agenda) = sit(groups.remove(0), Some(&journal)).await;
    let (_bob, second) = sit(groups.remove(0), Some(&MemoryJournal::new())).await;
    let mut heard = [
        voter(agenda, Vote::Yes),
        voter(second, Vote::Yes),
        voter(last, Vote::Yes),
    ];
    let verdict = soon("a verdict", ana.propose("create ops")).await.expect("proposed");
    assert_eq!(verdict.outcome, Outcome::Committed);
    let yes = ["n1", "n2"].map(|name| (name.to_owned(), Some(Vote::Yes)));
    assert_eq!(votes(&verdict.votes), yes.into());
    for heard in &mut heard {
        let expected = (Outcome::Committed, Bytes::from("create ops"));
        assert_eq!(soon("the decision", heard.recv()).await, Some(expected));
    }
}

#[tokio::test]
async fn one_no_is_enough_and_the_ephemeral_do_not_propose() {
    let nodes = nodes(3).await;
    let mut groups = joined(&nodes, "council").await;
    let (cyd, last) = sit(groups.pop().expect("three"), None).await;
    let (ana, agenda) = sit(groups.remove(0), Some(&MemoryJournal::new())).await;
    let (_bob, second) = sit(groups.remove(0), Some(&MemoryJournal::new())).await;
    let no = Vote::No("name taken".into());
    let mut heard = [
        voter(agenda, Vote::Yes),
        voter(second, no.clone()),
        voter(last, Vote::Yes),
    ];
    let verdict = soon("a verdict", ana.propose("create ops")).await.expect("proposed");
    assert_eq!(verdict.outcome, Outcome::Aborted);
    assert!(votes(&verdict.votes).contains(&("n1".to_owned(), Some(no))));
    for nth in [0, 2] {
        let (outcome, _) = soon("the decision", heard[nth].recv()).await.expect("told");
        assert_eq!(outcome, Outcome::Aborted);
    }
    assert_eq!(cyd.propose("anything").await, Err(ProposeError::Ephemeral));
    let long = vec![0; multicast::commit::MAX_OPERATION + 1];
    assert!(matches!(ana.propose(long).await, Err(ProposeError::TooLong(_))));
}

#[tokio::test]
async fn who_is_alone_decides_alone() {
    let nodes = nodes(1).await;
    let (ana, agenda) = sit(joined(&nodes, "council").await.remove(0), Some(&MemoryJournal::new())).await;
    let _heard = voter(agenda, Vote::Yes);
    let verdict = soon("a verdict", ana.propose("create ops")).await.expect("proposed");
    assert_eq!((verdict.outcome, verdict.votes), (Outcome::Committed, Vec::new()));
}

/// Says goodbye without a word to anybody.
async fn vanish(node: Node, parts: (Committee, Agenda)) {
    drop(parts);
    soon("its end", node.shutdown()).await;
}

#[tokio::test]
async fn doubt_ends_when_the_coordinator_is_back_with_its_journal() {
    let mut nodes = nodes(3).await;
    let mut groups = joined(&nodes, "council").await;
    let (_cyd, mut lasts) = sit(groups.pop().expect("three"), None).await;
    let journal = MemoryJournal::new();
    let ana = sit(groups.remove(0), Some(&journal)).await;
    let (_bob, mut bobs) = sit(groups.remove(0), Some(&MemoryJournal::new())).await;
    let asking = tokio::spawn({
        let ana = ana.0.clone();
        async move { ana.propose("create ops").await }
    });
    let txn = {
        let proposal = proposal(&mut bobs).await;
        let txn = proposal.txn;
        proposal.vote(Vote::Yes).await;
        txn
    };
    // The other one has not voted when the coordinator ends.
    let unanswered = proposal(&mut lasts).await;
    asking.abort();
    let _ = asking.await;
    vanish(nodes.remove(0), ana).await;
    // Nobody has said no, so nobody who is left knows: but who was not in time can say no now.
    drop(unanswered);
    let back = node("ana").await;
    back.meet(nodes[0].addr());
    let group = soon("join", back.join("council")).await.expect("joins");
    let (_ana, _agenda) = sit(group, Some(&journal)).await;
    loop {
        match next("the end of the doubt", &mut bobs).await {
            Affair::InDoubt { txn: about, .. } => assert_eq!(about, txn),
            Affair::Decided {
                txn: about, outcome, ..
            } => {
                assert_eq!((about, outcome), (txn, Outcome::Aborted));
                break;
            }
            other => panic!("unexpected: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_yes_outlives_its_process_and_learns_the_end() {
    let mut nodes = nodes(2).await;
    let mut groups = joined(&nodes, "council").await;
    let journal = MemoryJournal::new();
    let mut bob = sit(groups.pop().expect("two"), Some(&journal)).await;
    let (ana, mut agenda) = sit(groups.remove(0), Some(&MemoryJournal::new())).await;
    let asking = tokio::spawn({
        let ana = ana.clone();
        async move { ana.propose("create ops").await }
    });
    proposal(&mut bob.1).await.vote(Vote::Yes).await;
    let committed = asking.await.expect("no panic").expect("proposed");
    assert_eq!(committed.outcome, Outcome::Committed);
    // It ends before it has heard of it, or after; then its journal is set back to its yes.
    vanish(nodes.remove(1), bob).await;
    let mut kept = journal.clone();
    let records = kept.load().expect("memory");
    let heard = |record: &multicast::commit::Record| matches!(record, multicast::commit::Record::Heard { .. });
    let yes: Vec<_> = records.into_iter().filter(|record| !heard(record)).collect();
    kept.replace(&yes).expect("memory");
    let back = node("bob").await;
    back.meet(nodes[0].addr());
    let group = soon("join", back.join("council")).await.expect("joins");
    let (_bob, mut agenda_of_bob) = sit(group, Some(&journal)).await;
    let drain = tokio::spawn(async move { while agenda.next().await.is_some() {} });
    assert!(matches!(
        next("doubt", &mut agenda_of_bob).await,
        Affair::InDoubt { txn, .. } if txn == committed.txn
    ));
    assert_eq!(decided(&mut agenda_of_bob).await, (committed.txn, Outcome::Committed));
    drain.abort();
}
