//! What all chats decide together: which room has which name, and that one is closed.
//!
//! A hidden group that every chat is in, whatever rooms it is in, carries the calls. Nobody holds anything of a room
//! because of it: it has its own messages and its own causal order, and carries names of rooms, never what is said there.

mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::time::Duration;

use futures::StreamExt;
use multicast::commit::{
    Affair, Agenda, Committee, FileJournal, Journal, Outcome, Proposal, ProposeError, TxnId, Verdict, Vote,
};
use multicast::{Collect, Event, Member, Node, Replies, Request, Sender};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::drive::{Pending, maybe};
use crate::app::charter::{Charter, Charters, Key, Operation, Page};
use crate::app::line::{Phase, Ref, Txn};
use crate::exit::Exit;
use words::{id, why, word};

/// The name of the group, which nobody can type as a room's: it has spaces.
const GROUP: &str = "council of rooms";
/// The journal's name, in the profile's directory.
const JOURNAL: &str = "council";
/// How long others may take to say what they know. Whoever is there answers at once.
const KNOWN: Duration = Duration::from_millis(500);
/// Pages of what others know that are asked for: more than there can be.
const PAGES: usize = 16;
/// How long the end waits for the others to know of it: then they do not wait for this one's votes.
const GOODBYE: Duration = Duration::from_secs(1);

/// Which page of what you know of created rooms?
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Known {
    page: u32,
}

/// This chat's seat.
pub(super) struct Council {
    pub(super) committee: Committee,
    agenda: Agenda,
    pub(super) charters: Charters,
    /// What others know, while that is awaited.
    learning: Option<Pending<Vec<Page>>>,
    /// What is decided now on this chat's proposal.
    mine: Option<Mine>,
    /// What this chat proposed last.
    last: Option<TxnId>,
    doubts: BTreeSet<TxnId>,
    /// Who proposed what is undecided.
    proposers: BTreeMap<TxnId, String>,
}

struct Mine {
    operation: Operation,
    /// The name of the room, which is not known any more when it is closed.
    room: String,
    reference: Option<Ref>,
    votes: BTreeMap<String, &'static str>,
    asked: u64,
    /// Whether it was told that everybody is asked.
    told: bool,
}

/// Something that happened in it.
pub(super) enum News {
    /// What others know of created rooms.
    Known(Vec<Page>),
    /// An affair; nothing: the council is over.
    Affair(Option<Affair>),
}

/// A proposal of this chat's that has come to its end.
pub(super) type Proposed = Result<Verdict, ProposeError>;

/// What follows from some news.
#[derive(Default)]
pub(super) struct Effects {
    pub(super) told: Vec<Txn>,
    /// Rooms that are closed now.
    pub(super) closed: Vec<Key>,
    pub(super) trouble: Option<String>,
}

/// Takes a seat; none, if the council is full. `directory`: where the journal is; none: this chat proposes nothing.
pub(super) async fn sit(node: &Node, directory: Option<&Path>) -> Result<Option<Council>, Exit> {
    let unusable = |error: multicast::commit::JournalError| Exit::ProfileInUse(error.to_string());
    let journal = directory.map(|directory| FileJournal::open(directory.join(JOURNAL)));
    let journal = journal.transpose().map_err(unusable)?;
    let journal = journal.map(|journal| Box::new(journal) as Box<dyn Journal>);
    let Ok(group) = node.join(GROUP).await else {
        return Ok(None);
    };
    let (committee, agenda) = Committee::new(group, journal).await.map_err(unusable)?;
    let mut council = Council {
        committee,
        agenda,
        charters: Charters::default(),
        learning: None,
        mine: None,
        last: None,
        doubts: BTreeSet::new(),
        proposers: BTreeMap::new(),
    };
    council.learn();
    Ok(Some(council))
}

impl Council {
    /// Asks the others what they know.
    fn learn(&mut self) {
        let sender = self.committee.sender().clone();
        self.learning = Some(Box::pin(learn(sender)));
    }

    /// Whether the others' answers are here.
    pub(super) fn has_learned(&self) -> bool {
        self.learning.is_none()
    }

    /// Waits for them.
    pub(super) async fn learned(&mut self) {
        if let Some(learning) = self.learning.take() {
            learning.await.into_iter().for_each(|page| self.charters.merge(page));
        }
    }

    /// The next thing that happens. Nothing is taken unless it is returned.
    pub(super) async fn next(&mut self) -> News {
        tokio::select! {
            pages = maybe(self.learning.as_mut()) => News::Known(pages),
            affair = self.agenda.next() => News::Affair(affair),
        }
    }

    /// A room that this chat is to create.
    pub(super) async fn charter(&mut self, name: String, topic: String) -> Charter {
        let sender = self.committee.sender();
        let me = sender.me();
        Charter {
            name,
            by: me.id,
            nick: me.name.to_string(),
            lamport: sender.gauges().await.lamport,
            nonce: RandomState::new().hash_one(me.id),
            topic,
        }
    }

    /// Puts it to the vote.
    pub(super) fn propose(&mut self, operation: Operation, reference: Option<Ref>) -> Pending<Proposed> {
        let (committee, bytes) = (self.committee.clone(), operation.encode());
        self.mine = Some(Mine {
            room: self.charters.name(&operation),
            operation,
            reference,
            votes: BTreeMap::new(),
            asked: 0,
            told: false,
        });
        Box::pin(async move { committee.propose(bytes).await })
    }

    /// A proposal of this chat's has ended: what it was, and what to tell: that everybody was asked, if that was not told
    /// yet, and how it ended.
    pub(super) fn on_verdict(&mut self, verdict: Verdict) -> Option<(Operation, Option<Txn>, Txn)> {
        let Mine {
            operation,
            room,
            reference,
            told,
            ..
        } = self.mine.take()?;
        self.last = Some(verdict.txn);
        self.charters.end(verdict.txn);
        let asked = Some(verdict.votes.len() as u64);
        // The agenda may be read later than the verdict.
        let prepare = (!told).then(|| Txn {
            room: room.clone(),
            asked,
            reference: reference.clone(),
            ..self.txn(verdict.txn, &operation, Phase::Prepare, true)
        });
        let mut txn = self.txn(verdict.txn, &operation, Phase::Aborted, true);
        let votes = verdict.votes.iter();
        let vote = |(member, vote): &(Member, Option<Vote>)| Some((id(member), word(vote.as_ref()?)));
        txn.votes = votes.filter_map(vote).collect();
        txn.room = room;
        txn.asked = asked;
        txn.took_ms = Some(verdict.took.as_millis() as u64);
        txn.reference = reference;
        match verdict.outcome {
            Outcome::Committed => {
                txn.phase = Phase::Committed;
                self.charters.apply(&operation);
            }
            Outcome::Aborted => txn.reason = Some(why(&verdict.votes)),
        }
        Some((operation, prepare, txn))
    }

    /// It was not proposed at all.
    pub(super) fn forget(&mut self) -> Option<Ref> {
        self.mine.take()?.reference
    }

    /// `in_use`: whether this chat is in a room of that name which nobody created.
    pub(super) fn on_news(&mut self, news: News, in_use: impl Fn(&str) -> bool) -> Effects {
        let mut effects = Effects::default();
        match news {
            News::Known(pages) => {
                self.learning = None;
                pages.into_iter().for_each(|page| self.charters.merge(page));
            }
            News::Affair(Some(affair)) => self.on_affair(affair, in_use, &mut effects),
            News::Affair(None) => {}
        }
        effects
    }

    fn on_affair(&mut self, affair: Affair, in_use: impl Fn(&str) -> bool, effects: &mut Effects) {
        match affair {
            Affair::Proposed(proposal) => effects.told.extend(self.consider(proposal, in_use)),
            Affair::Preparing { txn, participants, .. } => {
                self.last = Some(txn);
                let Some(mine) = &mut self.mine else { return };
                mine.asked = participants.len() as u64;
                mine.told = true;
                let (operation, asked, reference) = (mine.operation.clone(), mine.asked, mine.reference.clone());
                let line = self.txn(txn, &operation, Phase::Prepare, true);
                effects.told.push(Txn {
                    asked: Some(asked),
                    reference,
                    ..line
                });
                self.charters.begin(txn, operation);
            }
            Affair::Voted { txn, from, vote } => {
                let Some(mine) = &mut self.mine else { return };
                mine.votes.insert(id(&from), word(&vote));
                let (operation, votes, asked) = (mine.operation.clone(), mine.votes.clone(), mine.asked);
                let line = self.txn(txn, &operation, Phase::Prepare, true);
                effects.told.push(Txn {
                    votes,
                    asked: Some(asked),
                    ..line
                });
            }
            Affair::Decided {
                txn,
                outcome,
                operation,
            } => self.on_decided(txn, outcome, &operation, effects),
            Affair::InDoubt { txn, operation } => {
                let Some(operation) = Operation::decode(&operation) else {
                    return;
                };
                self.charters.begin(txn, operation.clone());
                self.doubts.insert(txn);
                effects.told.push(self.txn(txn, &operation, Phase::InDoubt, false));
            }
            Affair::Overheard { from, txn, operation } => {
                let Some(operation) = Operation::decode(&operation) else {
                    return;
                };
                self.proposers.insert(txn, id(&from));
                effects.told.push(self.txn(txn, &operation, Phase::Committed, false));
                self.proposers.remove(&txn);
                self.done(&operation, effects);
            }
            Affair::Group(Event::Called(request)) => self.tell(request),
            // What was decided meanwhile may be among what is lost.
            Affair::Group(Event::Gap { .. }) if self.learning.is_none() => self.learn(),
            Affair::Broken(error) => effects.trouble = Some(error.to_string()),
            _ => {}
        }
    }

    fn consider(&mut self, proposal: Proposal, in_use: impl Fn(&str) -> bool) -> Option<Txn> {
        let me = id(&self.committee.sender().me());
        let (txn, by) = (proposal.txn, id(&proposal.from));
        let operation = Operation::decode(&proposal.operation);
        let verdict = match &operation {
            Some(operation) => self.charters.vote(operation, in_use),
            None => Err("it needs a newer version of chat".to_owned()),
        };
        let vote = match &verdict {
            Ok(()) => Vote::Yes,
            Err(why) => Vote::No(why.clone()),
        };
        let said = word(&vote);
        // In a task: the committee may be waiting for its agenda to be read. There are at most as many as it lets wait.
        tokio::spawn(proposal.vote(vote));
        let operation = operation?;
        self.proposers.insert(txn, by);
        let mut line = self.txn(txn, &operation, Phase::Prepare, false);
        line.votes.insert(me, said);
        match verdict {
            Ok(()) => self.charters.begin(txn, operation),
            Err(_) => drop(self.proposers.remove(&txn)),
        }
        Some(line)
    }

    fn on_decided(&mut self, txn: TxnId, outcome: Outcome, operation: &[u8], effects: &mut Effects) {
        let Some(operation) = Operation::decode(operation) else {
            return;
        };
        let pending = self.charters.end(txn);
        let (own, doubted) = (self.last == Some(txn), self.doubts.remove(&txn));
        let phase = match outcome {
            Outcome::Committed => Phase::Committed,
            Outcome::Aborted => Phase::Aborted,
        };
        // What was decided in a former life is told again, for the charters; people know. What is this chat's own
        // is told with its verdict.
        if pending && !own {
            let mut line = self.txn(txn, &operation, phase, false);
            let aborted = doubted && outcome == Outcome::Aborted;
            line.reason = aborted.then(|| "not everybody said yes in time".to_owned());
            effects.told.push(line);
        }
        self.proposers.remove(&txn);
        if outcome == Outcome::Committed {
            self.done(&operation, effects);
        }
    }

    fn done(&mut self, operation: &Operation, effects: &mut Effects) {
        self.charters.apply(operation);
        if let Operation::Close(key) = operation {
            effects.closed.push(*key);
        }
    }

    /// Somebody asks what is known here.
    fn tell(&self, request: Request) {
        let Ok(Known { page }) = request.read() else { return };
        let page = self.charters.page((page as usize).min(PAGES));
        tokio::spawn(async move {
            // A page fits, and who has left needs none.
            let _ = request.reply(&page).await;
        });
    }

    /// Says goodbye.
    pub(super) async fn leave(self, linger: Duration) {
        let goodbye = self.committee.sender().leave_with("", linger.min(GOODBYE));
        // Its last events are read, so that it can end.
        let mut agenda = self.agenda;
        let events = async { while agenda.next().await.is_some() {} };
        let _ = timeout(GOODBYE * 2, futures::future::join(goodbye, events)).await;
    }
}

/// All pages of everybody who answers.
async fn learn(sender: Sender) -> Vec<Page> {
    let mut pages = Vec::new();
    for page in 0..PAGES as u32 {
        let asked = sender
            .call::<_, (Page, bool)>(&Known { page }, Collect::All, KNOWN)
            .await;
        let Ok(Replies { replies, .. }) = asked else {
            return pages;
        };
        let more = replies.iter().any(|(_, (_, last))| !last);
        pages.extend(replies.into_iter().map(|(_, (page, _))| page));
        if !more {
            break;
        }
    }
    pages
}
