//! Judging delivery logs: the simulator's oracle in the form in which applications can have it.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crate::event::Delivery;
use crate::id::{Dot, MemberId};

/// Checks that the delivery logs of all members of a group, taken when it was quiet, keep its promises.
///
/// ```no_run
/// # fn judge(ana: Vec<multicast::Delivery>, bob: Vec<multicast::Delivery>) -> Result<(), multicast::Violation> {
/// multicast::check([ana, bob])
/// # }
/// ```
///
/// A log is what one member's `Event::Delivered` gave it, in that order. Checked are P1 (causal order), P2 (no
/// duplicates, nothing changed on the way), P4 (agreement) and P6 (every log begins at a causally closed cut).
///
/// # What it sees, and what it does not
///
/// * It believes the stamps. A stamp that leaves out a cause hides the cause from it; only where a log's owner is
///   known are that owner's own stamps compared with what its log says it had.
/// * Joins, leaves and control messages are not in the logs: their order is not checked, and gaps in `seq` mean
///   nothing. A message is known if it is in any of the logs; one that nobody delivered is not missed.
/// * A log's cut is inferred, for the log does not tell it: a message that the log lacks is taken to be below the
///   cut unless something that the log has is in the message's past (then it was sent after the cut), or the
///   owner's own messages show that the owner had begun without it.
/// * Whose log it is is inferred too, for owners who sent something: all of an owner's messages are in its log,
///   and each came after everything that stands before it there. This is why *all* logs must be given. Where more
///   than one log fits, no owner is inferred, and a lost message that is concurrent with all that the log has
///   passes for one below the cut. [`check_logs`] takes the owners from the caller.
/// * Members that left, or died, must not be among the logs: what was sent without them would be missed. Give
///   them to [`check_logs`] as [`Log::ended`]. Messages named in an `Event::Gap` count as missing.
///
/// # Errors
/// The first [`Violation`] found.
pub fn check<L>(logs: L) -> Result<(), Violation>
where
    L: IntoIterator,
    L::Item: AsRef<[Delivery]>,
{
    let logs: Vec<L::Item> = logs.into_iter().collect();
    let logs: Vec<Log<'_>> = logs.iter().map(|log| Log::new(log.as_ref())).collect();
    check_logs(&logs)
}

/// The same as [`check`] for logs of which more is known: whose they are, and whether their members stayed.
///
/// # Errors
/// The first [`Violation`] found.
pub fn check_logs(logs: &[Log<'_>]) -> Result<(), Violation> {
    let known = Known::of(logs)?;
    let owners = known.owners(logs);
    for (at, (log, owner)) in logs.iter().zip(owners).enumerate() {
        let judged = Judged::new(at, log, owner, &known);
        let owed = judged.owed()?;
        judged.causal(owed)?;
        judged.own_stamps()?;
    }
    Ok(())
}

/// One member's delivery log, for [`check_logs`].
#[derive(Clone, Copy, Debug)]
pub struct Log<'a> {
    deliveries: &'a [Delivery],
    owner: Option<MemberId>,
    ended: bool,
}

impl<'a> Log<'a> {
    /// The log of somebody who was there when the logs were taken.
    pub fn new(deliveries: &'a [Delivery]) -> Self {
        Self {
            deliveries,
            owner: None,
            ended: false,
        }
    }

    /// It is this member's log.
    pub fn of(self, owner: MemberId) -> Self {
        Self {
            owner: Some(owner),
            ..self
        }
    }

    /// Its member left or died before the others' logs ended: it is owed no message more than it has. What it
    /// has is judged like everyone's.
    pub fn ended(self) -> Self {
        Self { ended: true, ..self }
    }
}

/// A promise that delivery logs break. `log` is the log's place among those given, from 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// P1: a message was delivered before one of its causes, or without it.
    #[error("log {log} has {dot} before its cause {cause}")]
    Causal {
        /// Which log.
        log: usize,
        /// The message.
        dot: Dot,
        /// Something that its sender had delivered when it wrote.
        cause: Dot,
    },
    /// P2: a message was delivered twice.
    #[error("log {log} has {dot} twice")]
    Duplicate {
        /// Which log.
        log: usize,
        /// The message.
        dot: Dot,
    },
    /// P2: one message has two contents, or two stamps.
    #[error("{dot} is not the same in logs {log} and {other}")]
    Changed {
        /// One log.
        log: usize,
        /// The other one.
        other: usize,
        /// The message.
        dot: Dot,
    },
    /// P2, P3: the log of a message's own sender does not have it.
    #[error("log {log} is of the sender of {dot}, and does not have it; log {other} does")]
    Unsent {
        /// The sender's log.
        log: usize,
        /// A log that has it.
        other: usize,
        /// The message.
        dot: Dot,
    },
    /// P4: a message that another member delivered is missing, and it was sent after this member began.
    #[error("log {log} lacks {dot}, which log {other} has")]
    Lost {
        /// Which log.
        log: usize,
        /// A log that has it.
        other: usize,
        /// The missing message.
        dot: Dot,
    },
    /// P6: a log begins after a message, and yet delivers something that the message depends on: what it started
    /// from was not causally closed, or it missed something behind its start.
    #[error("log {log} begins behind {dot}, and delivers its cause {cause}")]
    OpenCut {
        /// Which log.
        log: usize,
        /// The message that it lacks.
        dot: Dot,
        /// Something in that message's past that it delivered.
        cause: Dot,
    },
    /// A member's stamp does not name something that stands before it in the member's own log.
    #[error("the stamp of {dot} leaves out {cause}, which its sender had delivered, says log {log}")]
    Stamp {
        /// The sender's log.
        log: usize,
        /// The message.
        dot: Dot,
        /// What its sender had delivered.
        cause: Dot,
    },
}

/// Every message that is in any log, with a log that has it.
struct Known<'a> {
    messages: BTreeMap<Dot, (usize, &'a Delivery)>,
}

impl<'a> Known<'a> {
    /// Gathers them; P2 on the way.
    fn of(logs: &[Log<'a>]) -> Result<Self, Violation> {
        let mut messages: BTreeMap<Dot, (usize, &Delivery)> = BTreeMap::new();
        for (log, of) in logs.iter().enumerate() {
            let mut seen = BTreeSet::new();
            for delivery in of.deliveries {
                let dot = delivery.dot;
                if !seen.insert(dot) {
                    return Err(Violation::Duplicate { log, dot });
                }
                let &mut (other, first) = messages.entry(dot).or_insert((log, delivery));
                if !same(first, delivery) {
                    return Err(Violation::Changed { log, other, dot });
                }
            }
        }
        Ok(Self { messages })
    }

    /// Whose log each is, as far as it is said or can be told.
    fn owners(&self, logs: &[Log<'_>]) -> Vec<Option<MemberId>> {
        let named: BTreeSet<MemberId> = logs.iter().filter_map(|log| log.owner).collect();
        let mut sent: BTreeMap<MemberId, usize> = BTreeMap::new();
        for dot in self.messages.keys().filter(|dot| !named.contains(&dot.origin)) {
            *sent.entry(dot.origin).or_default() += 1;
        }
        let could_own = |log: &Log<'_>| match log.owner {
            Some(_) => Vec::new(),
            None => {
                let own = own_counts(log);
                let whole = |entry: &(&MemberId, &usize)| own.get(entry.0) == Some(&Some(*entry.1));
                sent.iter().filter(whole).map(|entry| *entry.0).collect::<Vec<_>>()
            }
        };
        let candidates: Vec<Vec<MemberId>> = logs.iter().map(could_own).collect();
        let mut fitting: BTreeMap<MemberId, usize> = BTreeMap::new();
        candidates
            .iter()
            .flatten()
            .for_each(|id| *fitting.entry(*id).or_default() += 1);
        let inferred = |candidates: &Vec<MemberId>| match candidates[..] {
            [only] if fitting[&only] == 1 => Some(only),
            _ => None,
        };
        logs.iter()
            .zip(&candidates)
            .map(|(log, could)| log.owner.or_else(|| inferred(could)))
            .collect()
    }
}

/// How many messages of each origin the log has; `None` where one of them did not know what stands before it, so
/// that the log cannot be its sender's.
fn own_counts(log: &Log<'_>) -> BTreeMap<MemberId, Option<usize>> {
    let mut counts: BTreeMap<MemberId, Option<usize>> = BTreeMap::new();
    let mut had = Last::new();
    for delivery in log.deliveries {
        let origin = delivery.dot.origin;
        let knew = !had.values().any(|before| written_without(delivery, before));
        let count = counts.entry(origin).or_insert(Some(0));
        *count = count.filter(|_| knew).map(|count| count + 1);
        had.insert(origin, delivery);
    }
    counts
}

/// The last message of each origin in a part of a log.
type Last<'a> = BTreeMap<MemberId, &'a Delivery>;

/// Whether `before` is certainly not in the past of `message`. That the stamp does not cover it is not enough: a
/// stamp does not name a member at all that was retired meanwhile. Lamport time then decides where it can.
fn written_without(message: &Delivery, before: &Delivery) -> bool {
    let named = message.clock.get(before.dot.origin) > 0;
    message.dot != before.dot && !message.clock.covers(before.dot) && (named || before.lamport >= message.lamport)
}

fn same(one: &Delivery, other: &Delivery) -> bool {
    one.payload == other.payload && one.lamport == other.lamport && one.clock == other.clock
}

/// One log under judgement.
struct Judged<'a, 'b> {
    at: usize,
    log: &'b Log<'a>,
    owner: Option<MemberId>,
    known: &'b Known<'a>,
    has: BTreeSet<Dot>,
    /// The lowest seq that it has of each origin.
    first: BTreeMap<MemberId, u64>,
    /// The owner's first own message.
    own: Option<&'a Delivery>,
}

/// The seqs of each origin that the log must have, ascending.
type Owed = BTreeMap<MemberId, Vec<u64>>;

impl<'a, 'b> Judged<'a, 'b> {
    fn new(at: usize, log: &'b Log<'a>, owner: Option<MemberId>, known: &'b Known<'a>) -> Self {
        let mut first: BTreeMap<MemberId, u64> = BTreeMap::new();
        for dot in log.deliveries.iter().map(|delivery| delivery.dot) {
            let seq = first.entry(dot.origin).or_insert(dot.seq);
            *seq = dot.seq.min(*seq);
        }
        Self {
            at,
            log,
            owner,
            known,
            has: log.deliveries.iter().map(|delivery| delivery.dot).collect(),
            first,
            own: log
                .deliveries
                .iter()
                .find(|delivery| Some(delivery.dot.origin) == owner),
        }
    }

    /// P4 and P6: what the log lacks is below its cut, or its member had gone. Returns what is not below the cut.
    fn owed(&self) -> Result<Owed, Violation> {
        let mut owed = Owed::new();
        for (&dot, &(other, message)) in &self.known.messages {
            if !self.has.contains(&dot) {
                if Some(dot.origin) == self.owner {
                    return Err(Violation::Unsent {
                        log: self.at,
                        other,
                        dot,
                    });
                }
                let cause = self.cause_after_the_cut(message);
                if cause.is_none() && !self.began_without(message) {
                    continue;
                }
                let begins_behind = self.first.get(&dot.origin).is_some_and(|&first| first > dot.seq);
                match cause {
                    Some(cause) if begins_behind => {
                        return Err(Violation::OpenCut {
                            log: self.at,
                            dot,
                            cause,
                        });
                    }
                    _ if !self.log.ended => {
                        return Err(Violation::Lost {
                            log: self.at,
                            other,
                            dot,
                        });
                    }
                    _ => {}
                }
            }
            owed.entry(dot.origin).or_default().push(dot.seq);
        }
        Ok(owed)
    }

    /// Something in the message's past that the log delivered: then the message was sent after the cut.
    fn cause_after_the_cut(&self, message: &Delivery) -> Option<Dot> {
        let dot = |(&origin, &seq): (&MemberId, &u64)| Dot { origin, seq };
        self.first.iter().map(dot).find(|dot| message.clock.covers(*dot))
    }

    /// The owner had begun when the message was sent, or began without it.
    fn began_without(&self, message: &Delivery) -> bool {
        let knows_owner = self.owner.is_some_and(|owner| message.clock.get(owner) > 0);
        knows_owner || self.own.is_some_and(|own| written_without(own, message))
    }

    /// P1: each message comes after all of its causes that are not below the cut.
    fn causal(&self, owed: Owed) -> Result<(), Violation> {
        let mut done: BTreeMap<MemberId, usize> = BTreeMap::new();
        for delivery in self.log.deliveries {
            let dot = delivery.dot;
            let causes = delivery.clock.iter().map(|(origin, seq)| match origin == dot.origin {
                true => (origin, dot.seq - 1),
                false => (origin, seq),
            });
            for (origin, upto) in causes {
                let (Some(owed), done) = (owed.get(&origin), done.get(&origin).copied().unwrap_or(0)) else {
                    continue;
                };
                if let Some(&seq) = owed.get(done).filter(|seq| **seq <= upto) {
                    let cause = Dot { origin, seq };
                    return Err(Violation::Causal {
                        log: self.at,
                        dot,
                        cause,
                    });
                }
            }
            *done.entry(dot.origin).or_default() += 1;
        }
        Ok(())
    }

    /// The owner's stamps name everything that stands before them.
    fn own_stamps(&self) -> Result<(), Violation> {
        let Some(owner) = self.owner else { return Ok(()) };
        let mut had = Last::new();
        for delivery in self.log.deliveries {
            let dot = delivery.dot;
            if dot.origin == owner
                && let Some(before) = had.values().find(|before| written_without(delivery, before))
            {
                let cause = before.dot;
                return Err(Violation::Stamp {
                    log: self.at,
                    dot,
                    cause,
                });
            }
            had.insert(dot.origin, delivery);
        }
        Ok(())
    }
}
