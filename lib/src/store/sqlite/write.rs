//! Changes, within a transaction.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension, Statement, Transaction, params};

use super::Trouble;
use crate::id::{GroupId, MemberId};
use crate::store::columns::{self, Numbers};
use crate::store::{Change, Stored, Words};

/// Messages that are let go between two looks at what is next: few enough to be held in memory.
const PRUNED_AT_ONCE: i64 = 1_000;

/// One transaction that changes something.
pub(super) struct Write<'t> {
    transaction: &'t Transaction<'t>,
    numbers: &'t mut Numbers,
    words: &'t Words,
    insert: Statement<'t>,
    put: Statement<'t>,
    index: Statement<'t>,
    /// What is known of groups, to be written at the end.
    groups: BTreeMap<GroupId, Totals>,
}

/// The row of a group.
#[derive(Clone, Copy)]
struct Totals {
    id: i64,
    notes: i64,
    messages: i64,
    /// Of the messages, those that have a place.
    placed: i64,
    bytes: i64,
    last_place: i64,
    acknowledged: i64,
}

impl<'t> Write<'t> {
    pub(super) fn new(
        transaction: &'t Transaction<'t>,
        numbers: &'t mut Numbers,
        words: &'t Words,
    ) -> Result<Self, Trouble> {
        Ok(Self {
            insert: transaction.prepare(
                "INSERT INTO messages
                    (grp, place, origin, seq, lamport, sent_at, kind, own, clock, payload, proof, cost, sum)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
                 ON CONFLICT (grp, origin, seq) DO NOTHING",
            )?,
            put: transaction
                .prepare("UPDATE messages SET place = ?4 WHERE grp = ?1 AND origin = ?2 AND seq = ?3 AND place = 0")?,
            index: transaction.prepare("INSERT INTO words (rowid, text) VALUES (?1, ?2)")?,
            transaction,
            numbers,
            words,
            groups: BTreeMap::new(),
        })
    }

    pub(super) fn change(&mut self, change: &Change) -> Result<(), Trouble> {
        match change {
            Change::Append { group, message } => self.append(*group, message),
            Change::Note { group, key, value } => self.note(*group, key, value),
            &Change::Acknowledge { group, place } => {
                let totals = self.group(group)?;
                totals.acknowledged = totals.acknowledged.max(place as i64);
                Ok(())
            }
            &Change::Prune {
                group,
                below,
                keep_bytes,
                sent_before,
            } => self.prune(group, below, keep_bytes, sent_before),
        }
    }

    /// Writes what is known of the groups.
    pub(super) fn end(self) -> Result<(), Trouble> {
        let mut update = self.transaction.prepare(
            "UPDATE groups SET notes = ?2, messages = ?3, placed = ?4, bytes = ?5, last_place = ?6, acknowledged = ?7
             WHERE id = ?1",
        )?;
        for totals in self.groups.into_values() {
            update.execute(params![
                totals.id,
                totals.notes,
                totals.messages,
                totals.placed,
                totals.bytes,
                totals.last_place,
                totals.acknowledged
            ])?;
        }
        Ok(())
    }

    fn append(&mut self, group: GroupId, message: &Stored) -> Result<(), Trouble> {
        let mut totals = *self.group(group)?;
        let clock = columns::clock_bytes(&message.clock, |member| {
            number_of(self.transaction, self.numbers, member)
        })?;
        let (origin, seq, place) = (&message.dot.origin.0[..], message.dot.seq as i64, message.place as i64);
        let added = self.insert.execute(params![
            totals.id,
            place,
            origin,
            seq,
            message.lamport as i64,
            message.sent_at as i64,
            columns::kind_number(message.kind),
            message.own,
            clock,
            &message.payload[..],
            &message.proof[..],
            message.cost() as i64,
            columns::sum(group, message),
        ])?;
        let mut placed = added == 1;
        if placed {
            totals.messages += 1;
            totals.bytes += message.cost() as i64;
            let mut words = columns::words_of_message(message, self.words);
            if !words.is_empty() {
                words.push(word_of_group(totals.id));
                let id = self.transaction.last_insert_rowid();
                self.index.execute(params![id, words.join(" ")])?;
            }
        } else if place > 0 {
            placed = self.put.execute(params![totals.id, origin, seq, place])? == 1;
        }
        if placed && place > 0 {
            totals.placed += 1;
            totals.last_place = totals.last_place.max(place);
        }
        self.groups.insert(group, totals);
        Ok(())
    }

    fn note(&mut self, group: GroupId, key: &str, value: &[u8]) -> Result<(), Trouble> {
        let mut totals = *self.group(group)?;
        let gone = "DELETE FROM notes WHERE grp = ?1 AND key = ?2";
        totals.notes -= self.transaction.execute(gone, params![totals.id, key])? as i64;
        if !value.is_empty() {
            self.transaction.execute(
                "INSERT INTO notes (grp, key, value, sum) VALUES (?1, ?2, ?3, ?4)",
                params![totals.id, key, value, columns::note_sum(group, key, value)],
            )?;
            totals.notes += 1;
        }
        self.groups.insert(group, totals);
        Ok(())
    }

    fn prune(&mut self, group: GroupId, below: u64, keep_bytes: u64, sent_before: u64) -> Result<(), Trouble> {
        let mut totals = *self.group(group)?;
        let below = i64::try_from(below).unwrap_or(i64::MAX);
        let oldest = [
            "SELECT id, cost, sent_at FROM messages WHERE grp = ?1 AND place = 0 AND ?2 > 0
             ORDER BY lamport, origin, seq LIMIT ?3",
            "SELECT id, cost, sent_at FROM messages WHERE grp = ?1 AND place > 0 AND place < ?2
             ORDER BY place LIMIT ?3",
        ];
        for (sql, placed) in oldest.into_iter().zip([0, 1]) {
            let mut select = self.transaction.prepare(sql)?;
            loop {
                let rows = select.query_map(params![totals.id, below, PRUNED_AT_ONCE], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })?;
                let rows: Vec<(i64, i64, i64)> = rows.collect::<Result<_, _>>()?;
                for &(id, cost, sent_at) in &rows {
                    if totals.bytes as u64 <= keep_bytes && sent_at as u64 >= sent_before {
                        self.groups.insert(group, totals);
                        return Ok(());
                    }
                    self.remove(id)?;
                    totals.messages -= 1;
                    totals.placed -= placed;
                    totals.bytes -= cost;
                }
                if rows.is_empty() {
                    break;
                }
            }
        }
        self.groups.insert(group, totals);
        Ok(())
    }

    fn remove(&self, id: i64) -> Result<(), Trouble> {
        self.transaction.execute("DELETE FROM messages WHERE id = ?1", [id])?;
        self.transaction.execute("DELETE FROM words WHERE rowid = ?1", [id])?;
        Ok(())
    }

    fn group(&mut self, group: GroupId) -> Result<&mut Totals, Trouble> {
        if !self.groups.contains_key(&group) {
            let totals = totals(self.transaction, group)?;
            self.groups.insert(group, totals);
        }
        Ok(self.groups.get_mut(&group).expect("just put in"))
    }
}

/// In no text: it begins with what is neither letter nor digit.
pub(super) fn word_of_group(id: i64) -> String {
    format!("\u{a7}{id}")
}

fn totals(transaction: &Transaction<'_>, group: GroupId) -> Result<Totals, Trouble> {
    transaction.execute(
        "INSERT INTO groups (name, notes, messages, placed, bytes, last_place, acknowledged)
         VALUES (?1, 0, 0, 0, 0, 0, 0) ON CONFLICT (name) DO NOTHING",
        [&group.0[..]],
    )?;
    let found = transaction.query_row(
        "SELECT id, notes, messages, placed, bytes, last_place, acknowledged FROM groups WHERE name = ?1",
        [&group.0[..]],
        |row| {
            Ok(Totals {
                id: row.get(0)?,
                notes: row.get(1)?,
                messages: row.get(2)?,
                placed: row.get(3)?,
                bytes: row.get(4)?,
                last_place: row.get(5)?,
                acknowledged: row.get(6)?,
            })
        },
    )?;
    Ok(found)
}

fn number_of(transaction: &Transaction<'_>, numbers: &mut Numbers, member: MemberId) -> Result<i64, Trouble> {
    if let Some(number) = numbers.number(member) {
        return Ok(number);
    }
    let select = "SELECT id FROM members WHERE member = ?1";
    let found = transaction
        .query_row(select, [&member.0[..]], |row| row.get(0))
        .optional()?;
    let number = match found {
        Some(number) => number,
        None => {
            transaction.execute("INSERT INTO members (member) VALUES (?1)", [&member.0[..]])?;
            transaction.last_insert_rowid()
        }
    };
    numbers.learn(member, number);
    Ok(number)
}
