//! A group that decides together: [`Party`] driven by a group's calls, with a journal.

mod talk;
mod task;

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use tokio::sync::{mpsc, oneshot};

use super::keeper::{Keeper, Opened};
use super::{Journal, JournalError, MAX_OPEN, MAX_OPERATION, Outcome, TxnId, Vote};
use crate::event::Event;
use crate::group::{Group, Sender};
use crate::message::Member;
use task::Task;

/// How long the votes on a proposal are waited for: a second reading of a person's patience. Shorter than `DOUBT`, so that
/// who has not voted yet is not asked about it in vain.
pub const VOTES: Duration = Duration::from_secs(3);
/// How long after its yes a participant waits before it asks how it ended; and, while nobody knows, asks again.
pub const DOUBT: Duration = Duration::from_secs(5);
/// Things told that the application has not read.
const AFFAIRS: usize = 64;
/// Proposals and votes of the application that wait for the committee.
const ASKS: usize = 16;

/// A handle on a committee; clones are handles on the same one. When the last is gone the committee ends, and the member
/// leaves its group.
#[derive(Clone, Debug)]
pub struct Committee {
    asks: mpsc::Sender<Ask>,
    sender: Sender,
}

/// What happens in a committee, as a stream. It is to be read: a committee whose agenda is full stands still. Read it in
/// another task than the one that waits for [`Committee::propose`].
#[derive(Debug)]
pub struct Agenda {
    affairs: mpsc::Receiver<Affair>,
}

/// One thing that happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Affair {
    /// Somebody proposes something: to be voted on. Dropped, it gets no vote, and is aborted when the others have waited.
    Proposed(Proposal),
    /// A proposal of this member's is on its way.
    Preparing {
        /// Which.
        txn: TxnId,
        /// What is to be done.
        operation: Bytes,
        /// Who is to vote: everybody who is a member and not silent.
        participants: Vec<Member>,
    },
    /// Somebody voted on a proposal of this member's.
    Voted {
        /// Which.
        txn: TxnId,
        /// Who.
        from: Member,
        /// The vote.
        vote: Vote,
    },
    /// It ended, for this member, which proposed it or has a part in it. What was committed is to be done now. After a
    /// restart commits of former lives come first, once more: doing them twice must not matter.
    Decided {
        /// Which.
        txn: TxnId,
        /// How.
        outcome: Outcome,
        /// What it was about.
        operation: Bytes,
    },
    /// This member said yes, and does not know how it ended. It asks whoever is there; `Decided` will follow when
    /// somebody knows.
    InDoubt {
        /// Which.
        txn: TxnId,
        /// What it was about.
        operation: Bytes,
    },
    /// Somebody says that something was committed in which this member had no part: it was not there, or cut off.
    Overheard {
        /// Who says so.
        from: Member,
        /// Which.
        txn: TxnId,
        /// What it was about.
        operation: Bytes,
    },
    /// Anything else that the group told.
    Group(Event),
    /// The journal cannot be written. The committee has ended, as if the process had; nothing follows.
    Broken(JournalError),
}

/// Something to be voted on.
#[derive(Debug)]
pub struct Proposal {
    /// Which.
    pub txn: TxnId,
    /// Who proposes it.
    pub from: Member,
    /// What is to be done.
    pub operation: Bytes,
    asks: mpsc::WeakSender<Ask>,
}

impl Proposal {
    /// Votes. A yes binds: this member has to be able to do it whenever it is told to, also after a restart, until it
    /// is told how it ended.
    pub async fn vote(self, vote: Vote) {
        let txn = self.txn;
        if let Some(asks) = self.asks.upgrade() {
            // A committee that has ended votes on nothing.
            let _ = asks.send(Ask::Vote { txn, vote }).await;
        }
    }
}

/// How a proposal ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// Which.
    pub txn: TxnId,
    /// How.
    pub outcome: Outcome,
    /// Who was asked, and what came; none: it did not vote in time, or left.
    pub votes: Vec<(Member, Option<Vote>)>,
    /// From the proposal to its end.
    pub took: Duration,
}

/// Why nothing was proposed. Nothing changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProposeError {
    /// What this member decides would not outlive it.
    #[error("who keeps no journal cannot propose anything: its word would end with it")]
    Ephemeral,
    /// As many proposals of this member wait for votes as may.
    #[error("{MAX_OPEN} proposals wait for votes already")]
    TooMany,
    /// The operation is too long.
    #[error("an operation has at most {MAX_OPERATION} bytes, this one has {0}")]
    TooLong(usize),
    /// The committee has ended, before this was proposed or while it was: then it may be aborted or committed.
    #[error("the committee has ended")]
    Ended,
}

#[derive(Debug)]
enum Ask {
    Propose {
        operation: Bytes,
        reply: oneshot::Sender<Result<Verdict, ProposeError>>,
    },
    Vote {
        txn: TxnId,
        vote: Vote,
    },
}

impl Committee {
    /// Makes a committee of a group, whose events come through the agenda from now on. Every member of the group should
    /// do so: whoever does not has no vote, so nothing is committed while it is there.
    ///
    /// `journal`: what this member goes on from. None: it is *ephemeral*. It votes, but cannot propose; as it never
    /// comes back, its yes needs no record.
    ///
    /// # Errors
    /// [`JournalError`]: the group was left.
    pub async fn new(group: Group, journal: Option<Box<dyn Journal>>) -> Result<(Self, Agenda), JournalError> {
        let (sender, events) = group.split();
        let me = sender.me().id;
        let Opened { party, keeper } = Keeper::open(me, journal).await?;
        let (asks, asked) = mpsc::channel(ASKS);
        let (tell, affairs) = mpsc::channel(AFFAIRS);
        let asks_of_votes = asks.downgrade();
        let task = Task::new((party, keeper), (sender.clone(), events), (asks_of_votes, asked), tell);
        tokio::spawn(task.run());
        Ok((Self { asks, sender }, Agenda { affairs }))
    }

    /// The member that this committee acts for.
    pub fn sender(&self) -> &Sender {
        &self.sender
    }

    /// Proposes that something be done by all members that are there, this one included; returns when it is decided and
    /// told. The application does it, here as elsewhere, when the agenda says `Decided`.
    ///
    /// Takes [`VOTES`] at most, and what disk and group need. Dropping the future does not take the proposal back.
    ///
    /// # Errors
    /// [`ProposeError`].
    pub async fn propose(&self, operation: impl Into<Bytes>) -> Result<Verdict, ProposeError> {
        let operation = operation.into();
        if operation.len() > MAX_OPERATION {
            return Err(ProposeError::TooLong(operation.len()));
        }
        let (reply, verdict) = oneshot::channel();
        let ask = Ask::Propose { operation, reply };
        self.asks.send(ask).await.map_err(|_| ProposeError::Ended)?;
        verdict.await.map_err(|_| ProposeError::Ended)?
    }
}

impl Stream for Agenda {
    type Item = Affair;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Affair>> {
        self.affairs.poll_recv(cx)
    }
}
