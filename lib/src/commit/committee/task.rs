//! The one task that owns a party: events, asks and answers go in, what comes out is done.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::talk::{self, Talk};
use super::{Affair, Ask, DOUBT, Proposal, ProposeError, Verdict};
use crate::commit::keeper::Keeper;
use crate::commit::{Answer, Input, JournalError, Outcome, Output, Party, Request, TxnId, Vote};
use crate::event::Event;
use crate::group::{self, Events, Sender};
use crate::id::MemberId;
use crate::message::Member;

/// A proposal of this member's.
struct Open {
    participants: Vec<Member>,
    votes: BTreeMap<MemberId, Vote>,
    began: Instant,
    /// Once it is decided.
    outcome: Option<(Outcome, Duration)>,
    reply: oneshot::Sender<Result<Verdict, ProposeError>>,
}

/// Something that this member is in doubt about.
struct Doubt {
    /// Who proposed it, in this life.
    from: Option<MemberId>,
    ask_at: Instant,
    told: bool,
}

pub(super) struct Task {
    party: Party,
    keeper: Keeper,
    sender: Sender,
    events: Events,
    asks: mpsc::WeakSender<Ask>,
    asked: mpsc::Receiver<Ask>,
    tell: mpsc::Sender<Affair>,
    talks: JoinSet<Talk>,
    open: BTreeMap<TxnId, Open>,
    /// Proposals of others that wait for this member's vote.
    requests: BTreeMap<TxnId, group::Request>,
    doubts: BTreeMap<TxnId, Doubt>,
    /// Under way.
    inquiries: usize,
}

impl Task {
    pub(super) fn new(
        (party, keeper): (Party, Keeper),
        (sender, events): (Sender, Events),
        (asks, asked): (mpsc::WeakSender<Ask>, mpsc::Receiver<Ask>),
        tell: mpsc::Sender<Affair>,
    ) -> Self {
        Self {
            party,
            keeper,
            sender,
            events,
            asks,
            asked,
            tell,
            talks: JoinSet::new(),
            open: BTreeMap::new(),
            requests: BTreeMap::new(),
            doubts: BTreeMap::new(),
            inquiries: 0,
        }
    }

    pub(super) async fn run(mut self) {
        if let Err(error) = self.work().await {
            let _ = self.tell.send(Affair::Broken(error)).await;
        }
    }

    /// Until the group has ended, or nobody wants anything any more.
    async fn work(&mut self) -> Result<(), JournalError> {
        self.resume().await;
        loop {
            let remind_at = self.doubts.values().map(|doubt| doubt.ask_at).min();
            tokio::select! {
                event = self.events.next() => match event {
                    Some(event) => {
                        let place = self.events.place();
                        self.on_event(event).await?;
                        // What it was about is in the journal.
                        self.sender.acknowledge(place);
                    }
                    None => return Ok(()),
                },
                Some(talk) = self.talks.join_next() => {
                    if let Ok(talk) = talk {
                        self.on_talk(talk).await?;
                    }
                }
                ask = self.asked.recv() => match ask {
                    Some(ask) => self.on_ask(ask).await?,
                    None => return self.last_words().await,
                },
                () = at(remind_at), if self.inquiries == 0 => self.remind().await?,
            }
        }
    }

    /// Whatever is decided is told.
    async fn last_words(&mut self) -> Result<(), JournalError> {
        while self.open.values().any(|open| open.outcome.is_some())
            && let Some(talk) = self.talks.join_next().await
        {
            if let Ok(talk) = talk {
                self.on_talk(talk).await?;
            }
        }
        Ok(())
    }

    /// What former lives have left.
    async fn resume(&mut self) {
        let commits = self.party.commits();
        let commits: Vec<_> = commits.map(|(txn, operation)| (txn, operation.clone())).collect();
        for (txn, operation) in commits {
            let outcome = Outcome::Committed;
            self.tell(Affair::Decided {
                txn,
                outcome,
                operation,
            })
            .await;
        }
        let doubts = self.party.doubts();
        let doubts: Vec<_> = doubts.map(|(txn, operation)| (txn, operation.clone())).collect();
        for (txn, operation) in doubts {
            let doubt = Doubt {
                from: None,
                ask_at: Instant::now(),
                told: true,
            };
            self.doubts.insert(txn, doubt);
            self.tell(Affair::InDoubt { txn, operation }).await;
        }
    }

    async fn on_ask(&mut self, ask: Ask) -> Result<(), JournalError> {
        match ask {
            Ask::Propose { operation, reply } => self.propose(operation, reply).await,
            Ask::Vote { txn, vote } => {
                let from = self.requests.get(&txn).map(|request| request.from.id);
                if vote == Vote::Yes && from.is_some() {
                    let doubt = Doubt {
                        from,
                        ask_at: Instant::now() + DOUBT,
                        told: false,
                    };
                    self.doubts.insert(txn, doubt);
                }
                self.handle(Input::Vote { txn, vote }, None).await
            }
        }
    }

    async fn propose(
        &mut self,
        operation: Bytes,
        reply: oneshot::Sender<Result<Verdict, ProposeError>>,
    ) -> Result<(), JournalError> {
        if self.keeper.is_ephemeral() {
            let _ = reply.send(Err(ProposeError::Ephemeral));
            return Ok(());
        }
        let (me, members) = (self.sender.me().id, self.sender.members());
        let here = self.sender.roster().await.into_iter().filter(|state| !state.silent);
        let here = here.map(|state| state.member).filter(|member| member.id != me);
        let participants: Vec<Member> = here.filter(|member| members.contains(member)).collect();
        let ids = participants.iter().map(|member| member.id).collect();
        let Some((txn, outputs)) = self.party.propose(operation.clone(), ids) else {
            let _ = reply.send(Err(ProposeError::TooMany));
            return Ok(());
        };
        let open = Open {
            participants: participants.clone(),
            votes: BTreeMap::new(),
            began: Instant::now(),
            outcome: None,
            reply,
        };
        self.open.insert(txn, open);
        self.tell(Affair::Preparing {
            txn,
            operation,
            participants,
        })
        .await;
        self.obey(outputs, None).await
    }

    async fn on_event(&mut self, event: Event) -> Result<(), JournalError> {
        let event = match event {
            Event::Called(request) => match talk::read(&request) {
                Some(asked) => {
                    let from = request.from.id;
                    let input = Input::Request { from, request: asked };
                    return self.handle(input, Some(request)).await;
                }
                None => Event::Called(request),
            },
            Event::Replayed(_) => return Ok(()),
            other => other,
        };
        match &event {
            Event::Left { member, .. } | Event::Silent(member) | Event::Closed { origin: member, .. } => {
                self.on_gone(member.id).await?;
            }
            Event::Joined { .. } | Event::Resumed(_) | Event::Reopened { .. } => {
                // Perhaps it is somebody who knows.
                let now = Instant::now();
                let told = self.doubts.values_mut().filter(|doubt| doubt.told);
                told.for_each(|doubt| doubt.ask_at = now);
            }
            _ => {}
        }
        self.tell(Affair::Group(event)).await;
        Ok(())
    }

    /// Its vote will not come, and whoever waits for its word asks the others.
    async fn on_gone(&mut self, member: MemberId) -> Result<(), JournalError> {
        let waits = |open: &Open| {
            let asked = open.participants.iter().any(|asked| asked.id == member);
            open.outcome.is_none() && asked && !open.votes.contains_key(&member)
        };
        let lost: Vec<_> = self
            .open
            .iter()
            .filter(|entry| waits(entry.1))
            .map(|entry| *entry.0)
            .collect();
        for txn in lost {
            self.handle(Input::Deadline { txn }, None).await?;
        }
        let now = Instant::now();
        let doubts = self.doubts.values_mut().filter(|doubt| doubt.from == Some(member));
        doubts.for_each(|doubt| doubt.ask_at = now);
        Ok(())
    }

    async fn remind(&mut self) -> Result<(), JournalError> {
        let now = Instant::now();
        for doubt in self.doubts.values_mut() {
            doubt.ask_at = now + DOUBT;
        }
        self.handle(Input::Remind, None).await
    }

    async fn on_talk(&mut self, talk: Talk) -> Result<(), JournalError> {
        match talk {
            Talk::Voted { txn, answers } => {
                for (member, answer) in answers {
                    let from = member.id;
                    self.handle(Input::Answer { from, answer }, None).await?;
                }
                self.handle(Input::Deadline { txn }, None).await
            }
            Talk::Told { txn } => {
                self.finish(txn);
                Ok(())
            }
            Talk::Known { txn, answers } => {
                self.inquiries -= 1;
                for (member, answer) in answers {
                    let from = member.id;
                    self.handle(Input::Answer { from, answer }, None).await?;
                }
                self.doubt(txn).await;
                Ok(())
            }
        }
    }

    /// Everybody was asked, and nobody knows: that is told, once.
    async fn doubt(&mut self, txn: TxnId) {
        let operation = self.party.doubts().find(|doubt| doubt.0 == txn);
        let operation = operation.map(|(_, operation)| operation.clone());
        if let (Some(doubt), Some(operation)) = (self.doubts.get_mut(&txn), operation)
            && !std::mem::replace(&mut doubt.told, true)
        {
            self.tell(Affair::InDoubt { txn, operation }).await;
        }
    }

    async fn handle(&mut self, input: Input, request: Option<group::Request>) -> Result<(), JournalError> {
        let outputs = self.party.handle(input);
        self.obey(outputs, request).await
    }

    /// One after the other: nothing is said before what stands before it is on disk.
    async fn obey(&mut self, outputs: Vec<Output>, request: Option<group::Request>) -> Result<(), JournalError> {
        for output in outputs {
            match output {
                Output::Write(record) => self.keeper.append(record, &self.party).await?,
                Output::Ask(asked) => {
                    self.inquiries += usize::from(matches!(asked, Request::Inquire { .. }));
                    self.talks.spawn(talk::ask(self.sender.clone(), asked));
                }
                Output::Answer { answer, .. } => self.answer(answer, request.as_ref()).await,
                Output::Consider { txn, operation, .. } => {
                    let Some(request) = request.clone() else { continue };
                    let proposal = Proposal {
                        txn,
                        from: request.from.clone(),
                        operation,
                        asks: self.asks.clone(),
                    };
                    self.requests.insert(txn, request);
                    self.tell(Affair::Proposed(proposal)).await;
                }
                Output::Voted { txn, from, vote } => self.on_voted(txn, from, vote).await,
                Output::Decided {
                    txn,
                    outcome,
                    operation,
                } => self.on_decided(txn, outcome, operation).await,
                Output::Overheard { txn, operation, .. } => {
                    let Some(from) = request.as_ref().map(|request| request.from.clone()) else {
                        continue;
                    };
                    self.tell(Affair::Overheard { from, txn, operation }).await;
                }
            }
        }
        Ok(())
    }

    async fn answer(&mut self, answer: Answer, request: Option<&group::Request>) {
        let kept;
        let request = match &answer {
            Answer::Vote { txn, .. } => {
                kept = self.requests.remove(txn);
                kept.as_ref().or(request)
            }
            Answer::Outcome { .. } => request,
        };
        if let Some(request) = request {
            // It is short enough, and whoever has left needs none.
            let _ = request.reply(&answer).await;
        }
    }

    async fn on_voted(&mut self, txn: TxnId, from: MemberId, vote: Vote) {
        let Some(open) = self.open.get_mut(&txn) else { return };
        open.votes.insert(from, vote.clone());
        if let Some(from) = open.participants.iter().find(|asked| asked.id == from).cloned() {
            self.tell(Affair::Voted { txn, from, vote }).await;
        }
    }

    async fn on_decided(&mut self, txn: TxnId, outcome: Outcome, operation: Bytes) {
        self.doubts.remove(&txn);
        self.requests.remove(&txn);
        if let Some(open) = self.open.get_mut(&txn) {
            open.outcome = Some((outcome, open.began.elapsed()));
        }
        self.tell(Affair::Decided {
            txn,
            outcome,
            operation,
        })
        .await;
    }

    /// The decision is told.
    fn finish(&mut self, txn: TxnId) {
        let Some(mut open) = self.open.remove(&txn) else { return };
        let Some((outcome, took)) = open.outcome else { return };
        let votes = open.participants.into_iter().map(|member| {
            let vote = open.votes.remove(&member.id);
            (member, vote)
        });
        let verdict = Verdict {
            txn,
            outcome,
            votes: votes.collect(),
            took,
        };
        // Who does not wait for it any more has the agenda.
        let _ = open.reply.send(Ok(verdict));
    }

    async fn tell(&mut self, affair: Affair) {
        // Nobody has to listen.
        let _ = self.tell.send(affair).await;
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
