//! What an authority says is accepted as far as it is causal, and as far as its messages are delivered here.

use std::collections::BTreeMap;

use noraft::{LogIndex, Message as RaftMessage, Term};

use super::raft::{at, places, position};
use super::word::{At, Entry, GREATEST, Record, Snapshot, Word};
use super::{OrderOutput, Place, Sequencer};
use crate::id::{Dot, MemberId};

/// What to do with a record.
enum Verdict {
    Accept,
    /// Some of its messages are still to come.
    NotYet(Dot),
    Lie(&'static str),
}

impl Sequencer {
    /// A word of the authority, or of one that was it in an older term.
    pub(super) fn obey(&mut self, from: MemberId, word: Word) {
        match word {
            Word::Append {
                term,
                commit,
                floor,
                prev,
                entries,
            } => self.on_append(from, (term, commit, floor), prev, entries),
            Word::Install { term, snapshot } => self.on_install(from, term, snapshot),
            _ => {}
        }
    }

    fn on_append(
        &mut self,
        from: MemberId,
        (term, commit, floor): (u64, u64, u64),
        mut prev: At,
        mut entries: Vec<Entry>,
    ) {
        if self.raft.role().is_leader() && term == self.term() {
            return self.odd(from, "a second authority in one term");
        }
        if term >= self.term() {
            // A late word may begin before what is kept here.
            let Some(late) = self.without_what_is_not_kept(prev, &mut entries) else {
                return;
            };
            prev = late;
            if let Some(what) = self.undoes_what_is_decided(prev, &entries) {
                return self.distrust(from, term, what);
            }
            self.elect.heard(self.now);
            match self.acceptable(prev, &entries) {
                Err(what) => return self.distrust(from, term, what),
                Ok((count, awaits)) if count < entries.len() => {
                    self.belief.awaits = awaits;
                    self.belief.stash = Some((
                        from,
                        Word::Append {
                            term,
                            commit,
                            floor,
                            prev,
                            entries: entries.clone(),
                        },
                    ));
                    if self.has_all(prev, &entries[..count]) && self.term() == term {
                        // Nothing new: an answer would only bring the same again.
                        self.put_off_election();
                        return;
                    }
                    entries.truncate(count);
                }
                Ok(_) => {}
            }
            self.floor = floor.min(self.last().index);
        }
        let by_index: BTreeMap<u64, Record> = places(prev, &entries)
            .filter_map(|(at, entry)| match entry {
                Entry::Record(record) => Some((at.index, record.clone())),
                _ => None,
            })
            .collect();
        let message = RaftMessage::AppendEntriesCall {
            from: self.numbers.number(from),
            term: Term::new(term),
            commit_index: LogIndex::new(commit.min(GREATEST)),
            entries: self.numbers.entries(prev, &entries),
        };
        if self.raft.handle_message(&message).is_err() {
            return self.distrust(from, term, "its log does not fit what is decided");
        }
        self.keep_records(by_index);
    }

    /// Takes off the entries before the place from which on the log is kept; none if nothing would be left.
    fn without_what_is_not_kept(&self, prev: At, entries: &mut Vec<Entry>) -> Option<At> {
        let known = self.kept_from.at.index.saturating_sub(prev.index) as usize;
        if known == 0 {
            return Some(prev);
        }
        let (at, _) = places(prev, entries).nth(known - 1)?;
        entries.drain(..known);
        Some(at)
    }

    /// Nothing that is decided is undone, whoever says so.
    fn undoes_what_is_decided(&self, prev: At, entries: &[Entry]) -> Option<&'static str> {
        let log = self.raft.log().entries();
        let commit = self.raft.commit_index().get();
        let mine = |at: At| at.index > commit || log.contains(position(at));
        let sound = mine(prev) && places(prev, entries).all(|(at, _)| mine(at));
        (!sound).then_some("it would undo what is decided")
    }

    fn has_all(&self, prev: At, entries: &[Entry]) -> bool {
        let log = self.raft.log().entries();
        log.contains(position(prev)) && places(prev, entries).all(|(at, _)| log.contains(position(at)))
    }

    /// How many of the entries, from the first on, can be accepted now.
    fn acceptable(&self, prev: At, entries: &[Entry]) -> Result<(usize, Option<Dot>), &'static str> {
        let log = self.raft.log().entries();
        if !log.contains(position(prev)) {
            // They cannot be appended; the answer says from where on they could.
            return Ok((entries.len(), None));
        }
        let known = places(prev, entries)
            .take_while(|(at, _)| log.contains(position(*at)))
            .count();
        let mut reach = self.reach_at(prev.index + known as u64);
        for (nth, entry) in entries.iter().enumerate().skip(known) {
            if let Entry::Record(record) = entry {
                match self.judge(record, &mut reach) {
                    Verdict::Accept => {}
                    Verdict::NotYet(dot) => return Ok((nth, Some(dot))),
                    Verdict::Lie(what) => return Err(what),
                }
            }
        }
        Ok((entries.len(), None))
    }

    fn judge(&self, record: &Record, reach: &mut BTreeMap<MemberId, u64>) -> Verdict {
        for span in &record.spans {
            for seq in span.from..=span.to {
                let dot = Dot {
                    origin: span.origin,
                    seq,
                };
                let reached = reach.get(&dot.origin).copied().unwrap_or(0);
                if seq <= reached && self.config.rules.check_records {
                    return Verdict::Lie("it gives a second place to a message");
                }
                match self.pending.get(&dot) {
                    Some(pending) => {
                        let causes = pending.clock.iter().map(|(origin, seq)| Dot { origin, seq });
                        let mut causes = causes
                            .filter(|cause| *cause != dot)
                            .chain(seq.checked_sub(1).map(|seq| Dot { seq, ..dot }));
                        if self.config.rules.check_records && !causes.all(|cause| self.is_before(cause, reach)) {
                            return Verdict::Lie("it puts a message before its cause");
                        }
                    }
                    None if seq <= self.base.get(dot.origin) => {}
                    None => return Verdict::NotYet(dot),
                }
                reach.insert(dot.origin, seq.max(reached));
            }
        }
        Verdict::Accept
    }

    /// Whether that message of `cause.origin`, and all before it, have a place up to there or need none.
    fn is_before(&self, cause: Dot, reach: &BTreeMap<MemberId, u64>) -> bool {
        let reached = reach.get(&cause.origin).copied().unwrap_or(0);
        if cause.seq <= reached {
            return true;
        }
        let from = Dot {
            seq: reached + 1,
            ..cause
        };
        self.pending.range(from..=cause).next().is_none()
    }

    /// Keeps what the commands are that `noraft` has just appended.
    fn keep_records(&mut self, mut said: BTreeMap<u64, Record>) {
        let last = self.last().index;
        if let Some(appended) = self.raft.actions_mut().append_log_entries.take() {
            let from = appended.prev_position().index.get();
            self.records.split_off(&(from + 1));
            let mut new = said.split_off(&(from + 1));
            new.split_off(&(last + 1));
            self.records.extend(new);
        }
        self.records.split_off(&(last + 1));
        self.end = self.reach_at(last);
    }

    fn on_install(&mut self, from: MemberId, term: u64, snapshot: Snapshot) {
        if term < self.term() {
            let last = self.last();
            return self.say(
                from,
                Word::Appended {
                    term: self.term(),
                    last,
                },
            );
        }
        if self.raft.role().is_leader() && term == self.term() {
            return self.odd(from, "a second authority in one term");
        }
        // An empty word first, for the term.
        let message = RaftMessage::AppendEntriesCall {
            from: self.numbers.number(from),
            term: Term::new(term),
            commit_index: LogIndex::ZERO,
            entries: noraft::LogEntries::new(self.raft.log().last_position()),
        };
        if self.raft.handle_message(&message).is_err() {
            return;
        }
        self.elect.heard(self.now);
        if snapshot.at.index <= self.raft.commit_index().get() {
            return;
        }
        let config = self.numbers.config(&snapshot.voters);
        if !self.raft.handle_snapshot_installed(position(snapshot.at), config) {
            return;
        }
        self.records = self.records.split_off(&(snapshot.at.index + 1));
        self.shown.install(&snapshot);
        let lost: Vec<Dot> = self
            .arrivals
            .values()
            .copied()
            .filter(|dot| dot.seq <= self.shown.reach_of(dot.origin))
            .collect();
        lost.into_iter().for_each(|dot| self.let_go(dot));
        self.kept_from = snapshot;
        let last = at(self.raft.log().last_position());
        self.end = self.reach_at(last.index);
        self.say(
            from,
            Word::Appended {
                term: self.term(),
                last,
            },
        );
    }

    /// The record's messages, in order, are shown.
    pub(super) fn show(&mut self, record: &Record, epoch: u64) {
        for span in &record.spans {
            for seq in span.from..=span.to {
                let dot = Dot {
                    origin: span.origin,
                    seq,
                };
                let pos = self.shown.give(dot);
                if let Some(pending) = self.pending.remove(&dot) {
                    self.arrivals.remove(&pending.arrival);
                    let place = Place {
                        by: record.by,
                        epoch,
                        pos,
                    };
                    self.out.push(OrderOutput::Show { dot, place });
                }
            }
        }
    }
}
