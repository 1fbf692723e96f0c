//! Two-phase commit: something is done by all who take part, or by nobody.
//!
//! Presumed abort (Mohan, Lindsay, Obermarck 1986). Whoever proposes coordinates: it asks everyone to *prepare*, each
//! votes, and if all said yes the coordinator commits; a no, or a vote that does not come in time, aborts. A yes is in the
//! voter's journal before it is said, and a commit in the coordinator's before it is told. Nothing is written of an abort:
//! a coordinator that has no record of one of its transactions answers that it was aborted.
//!
//! A participant that has said yes is *in doubt* until it hears the outcome. It must not take its yes back, also after a
//! restart. It asks everybody, and whoever knows answers: the coordinator when it is back, with its journal, or any other
//! participant that was told (cooperative termination). While nobody who knows can be reached it stays in doubt; two-phase
//! commit can do no better, and says so.
//!
//! [`Party`] is the protocol, pure: it can be explored by a model checker (`tests/it/commit`).
//!
//! `Committee` is a group that uses it:
//!
//! ```
//! # #[cfg(feature = "net")]
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use futures::StreamExt;
//! use multicast::commit::{Affair, Committee, MemoryJournal, Outcome, Vote};
//! use multicast::{Node, Options};
//!
//! let (ana, bob) = (Node::bind(Options::new("ana")).await?, Node::bind(Options::new("bob")).await?);
//! bob.meet(ana.addr());
//! let (first, second) = (ana.join("council").await?, bob.join("council").await?);
//! first.wait_for(2).await;
//! let (ana, mut hers) = Committee::new(first, Some(Box::new(MemoryJournal::new()))).await?; // `FileJournal` outlives it
//! let (_bob, mut his) = Committee::new(second, None).await?;                                // votes, and proposes nothing
//! tokio::spawn(async move { while hers.next().await.is_some() {} });                        // an agenda is to be read
//! tokio::spawn(async move {
//!     while let Some(affair) = his.next().await {
//!         match affair {
//!             Affair::Proposed(proposal) if proposal.operation == "lunch at one" => proposal.vote(Vote::Yes).await,
//!             Affair::Proposed(proposal) => proposal.vote(Vote::No("not hungry".into())).await,
//!             _ => {}
//!         }
//!     }
//! });
//! assert_eq!(ana.propose("lunch at one").await?.outcome, Outcome::Committed);
//! let verdict = ana.propose("lunch at five").await?;
//! assert_eq!(verdict.outcome, Outcome::Aborted);
//! assert_eq!(verdict.votes[0].1, Some(Vote::No("not hungry".into())));
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "net"))]
//! # fn main() {}
//! ```

#[cfg(feature = "net")]
mod committee;
mod coordinator;
#[cfg(feature = "net")]
mod journal;
#[cfg(feature = "net")]
mod keeper;
mod participant;
mod party;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::id::{JournalId, MemberId, digest128};

#[cfg(feature = "net")]
pub use committee::{Affair, Agenda, Committee, DOUBT, Proposal, ProposeError, VOTES, Verdict};
#[cfg(feature = "net")]
pub use journal::{FileJournal, Journal, JournalError, MemoryJournal};
pub use party::Party;

/// Longest operation, in bytes: tables and journals hold a few thousand of them.
pub const MAX_OPERATION: usize = 4096;
/// Proposals of one member that wait for votes: people make one at a time.
pub const MAX_OPEN: usize = 16;
/// Proposals of others that this member votes on or is in doubt about; more get a no. Each may block something.
pub const MAX_PENDING: usize = 64;
/// Outcomes that a member remembers for those who ask, of its own proposals and of others': beyond, the oldest are
/// forgotten, and whoever is still in doubt about them is told that nobody knows.
pub const MAX_KNOWN: usize = 1024;
/// Characters of a refusal that are kept: it stands in one line.
pub const MAX_REASON: usize = 200;
/// Coordinators of which the newest forgotten transaction is remembered: 24 bytes each.
pub const MAX_WATERMARKS: usize = 4096;

/// A transaction: the `n`-th of the process that opened this journal for the `life`-th time.
///
/// The order of two transactions of one journal is the order in which they were begun.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct TxnId {
    /// The coordinator's journal.
    pub journal: JournalId,
    /// How often it had been opened.
    pub life: u32,
    /// Its number in that life, from 1.
    pub n: u32,
}

impl TxnId {
    /// Four hex digits, for people: `4f1c`. Two transactions may have the same.
    pub fn short(&self) -> String {
        let place = [self.life.to_be_bytes(), self.n.to_be_bytes()].concat();
        let digest = digest128(&[b"multicast transaction", &self.journal.0, &place]);
        format!("{:02x}{:02x}", digest[0], digest[1])
    }
}

/// How a transaction ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Outcome {
    /// Everybody does it.
    Committed,
    /// Nobody does.
    Aborted,
}

/// What a participant says to a proposal.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Vote {
    /// It can, and will if it is told to.
    Yes,
    /// It cannot, and why.
    No(String),
}

/// What members ask each other. Each goes to every other member of the group.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Request {
    /// Those who are named are to vote.
    Prepare {
        /// Which.
        txn: TxnId,
        /// Who votes.
        participants: Vec<MemberId>,
        /// What is to be done, in the application's own words.
        operation: Bytes,
    },
    /// How it ended. Nothing is answered.
    Decision {
        /// Which.
        txn: TxnId,
        /// How.
        outcome: Outcome,
        /// What it was about, for those who did not take part.
        operation: Bytes,
    },
    /// Somebody is in doubt.
    Inquire {
        /// About which.
        txn: TxnId,
    },
}

/// What they answer.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Answer {
    /// To `Prepare`.
    Vote {
        /// Which.
        txn: TxnId,
        /// The vote.
        vote: Vote,
    },
    /// To `Inquire`; none: not known here.
    Outcome {
        /// Which.
        txn: TxnId,
        /// How it ended.
        outcome: Option<Outcome>,
    },
}

/// What a journal keeps.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Record {
    /// A process goes on with this journal: the first record of each.
    Opened {
        /// Whose journal it is.
        journal: JournalId,
        /// For which time, from 1.
        life: u32,
    },
    /// A proposal of this journal's was committed.
    Commit {
        /// Which.
        txn: TxnId,
        /// What it was about.
        operation: Bytes,
    },
    /// Of proposals of this journal up to this one, those of which no record is left are forgotten: they may have been
    /// committed.
    Forgotten {
        /// The last one.
        up_to: TxnId,
    },
    /// This member said yes to a proposal of another.
    Yes {
        /// Which.
        txn: TxnId,
        /// What it is about.
        operation: Bytes,
    },
    /// It heard how that one ended.
    Heard {
        /// Which.
        txn: TxnId,
        /// How.
        outcome: Outcome,
        /// What it was about.
        operation: Bytes,
    },
}

/// What goes into a [`Party`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Input {
    /// The application's vote on what it was to `Consider`.
    Vote {
        /// Which.
        txn: TxnId,
        /// The vote.
        vote: Vote,
    },
    /// Another member asks.
    Request {
        /// Who.
        from: MemberId,
        /// What.
        request: Request,
    },
    /// Another member answers.
    Answer {
        /// Who.
        from: MemberId,
        /// What.
        answer: Answer,
    },
    /// The votes on this proposal of ours that are still missing will not be waited for.
    Deadline {
        /// Which.
        txn: TxnId,
    },
    /// Time to ask about everything that is in doubt: somebody has come, or some time has passed.
    Remind,
}

/// What comes out of it. To be done one after the other: what stands behind a `Write` only when that is on disk. If it
/// cannot be written the party is to be dropped, as if the process had ended there.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Output {
    /// Into the journal.
    Write(Record),
    /// To every other member.
    Ask(Request),
    /// To that member, which asked.
    Answer {
        /// Whom.
        to: MemberId,
        /// What.
        answer: Answer,
    },
    /// The application is to vote, with `Input::Vote`.
    Consider {
        /// On which.
        txn: TxnId,
        /// Who proposes it.
        from: MemberId,
        /// What is to be done.
        operation: Bytes,
    },
    /// Somebody voted on a proposal of ours.
    Voted {
        /// Which.
        txn: TxnId,
        /// Who.
        from: MemberId,
        /// The vote.
        vote: Vote,
    },
    /// It ended so, for this member, which coordinates or takes part: what is committed is to be done now.
    Decided {
        /// Which.
        txn: TxnId,
        /// How.
        outcome: Outcome,
        /// What it was about.
        operation: Bytes,
    },
    /// A member says that something was committed in which this one had no part.
    Overheard {
        /// Who.
        from: MemberId,
        /// Which.
        txn: TxnId,
        /// What it was about.
        operation: Bytes,
    },
}

/// Rules that the judge's own tests switch off, to see that it notices.
#[doc(hidden)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Rules {
    pub write_decision_first: bool,
    pub write_yes_first: bool,
    pub presume_abort: bool,
    pub refuse_for_good: bool,
    pub count_every_vote: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            write_decision_first: true,
            write_yes_first: true,
            presume_abort: true,
            refuse_for_good: true,
            count_every_vote: true,
        }
    }
}
