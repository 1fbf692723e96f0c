//! Changes, within a transaction.

use std::collections::BTreeSet;

use tokio_postgres::Transaction;

use super::session::{Names, Session};
use super::trouble::Trouble;
use crate::id::{Dot, GroupId};
use crate::store::columns;
use crate::store::{Change, Stored, Words};

/// Messages that are let go between two looks at what is next: few enough to be held in memory.
const PRUNED_AT_ONCE: i64 = 1_000;
/// Messages in one statement: enough that its cost is that of its rows.
const APPENDED_AT_ONCE: usize = 1_000;

/// Messages of one group as columns, no dot of them twice: a statement must not meet a row twice.
#[derive(Default)]
struct Batch<'c> {
    dots: BTreeSet<Dot>,
    messages: Vec<&'c Stored>,
    clocks: Vec<Vec<u8>>,
}

pub(super) async fn apply(session: &mut Session, words: &Words, changes: &[Change]) -> Result<(), Trouble> {
    let (transaction, mut names) = session.begin_to_write().await?;
    let (mut batch, mut batch_of) = (Batch::default(), None);
    for change in changes {
        if let Change::Append { group, message } = change {
            let full = batch.messages.len() >= APPENDED_AT_ONCE;
            if batch_of != Some(*group) || full || batch.dots.contains(&message.dot) {
                flush(&transaction, &mut names, words, batch_of, std::mem::take(&mut batch)).await?;
                batch_of = Some(*group);
            }
            batch.push(&transaction, &mut names, message).await?;
            continue;
        }
        flush(
            &transaction,
            &mut names,
            words,
            batch_of.take(),
            std::mem::take(&mut batch),
        )
        .await?;
        other(&transaction, &mut names, change).await?;
    }
    flush(&transaction, &mut names, words, batch_of, batch).await?;
    Ok(transaction.commit().await?)
}

impl<'c> Batch<'c> {
    async fn push(
        &mut self,
        transaction: &Transaction<'_>,
        names: &mut Names<'_>,
        message: &'c Stored,
    ) -> Result<(), Trouble> {
        let mut numbers = Vec::with_capacity(message.clock.len());
        for (member, _) in message.clock.iter() {
            numbers.push(names.number(transaction, member).await?);
        }
        let mut numbers = numbers.into_iter();
        let clock = columns::clock_bytes(&message.clock, |_| numbers.next().ok_or(()));
        self.clocks.push(clock.expect("one for each"));
        self.dots.insert(message.dot);
        self.messages.push(message);
        Ok(())
    }

    fn column<T>(&self, of: impl Fn(&'c Stored) -> T) -> Vec<T> {
        self.messages.iter().copied().map(of).collect()
    }
}

/// Adds them; those that were told as history get their places.
async fn flush(
    transaction: &Transaction<'_>,
    names: &mut Names<'_>,
    words: &Words,
    group: Option<GroupId>,
    batch: Batch<'_>,
) -> Result<(), Trouble> {
    let Some(group) = group.filter(|_| !batch.messages.is_empty()) else {
        return Ok(());
    };
    let id = names.group_or_new(transaction, group).await?;
    let insert = "
        INSERT INTO multicast_messages
            (grp, place, origin, seq, lamport, sent_at, kind, own, clock, payload, proof, cost, sum, words)
        SELECT $1::INT8, place, origin, seq, lamport, sent_at, kind, own, clock, payload, proof, cost, sum,
            string_to_array(words, ' ')
        FROM unnest($2::INT8[], $3::BYTEA[], $4::INT8[], $5::INT8[], $6::INT8[], $7::INT2[], $8::BOOL[], $9::BYTEA[],
            $10::BYTEA[], $11::BYTEA[], $12::INT8[], $13::INT8[], $14::TEXT[])
            AS added (place, origin, seq, lamport, sent_at, kind, own, clock, payload, proof, cost, sum, words)
        ON CONFLICT (grp, origin, seq) DO UPDATE SET place = excluded.place
            WHERE multicast_messages.place = 0 AND excluded.place > 0
        RETURNING place";
    let found = |stored: &Stored| {
        let words = columns::words_of_message(stored, words);
        (!words.is_empty()).then(|| words.join(" "))
    };
    let rows = transaction
        .query(
            insert,
            &[
                &id,
                &batch.column(|stored| stored.place as i64),
                &batch.column(|stored| &stored.dot.origin.0[..]),
                &batch.column(|stored| stored.dot.seq as i64),
                &batch.column(|stored| stored.lamport as i64),
                &batch.column(|stored| stored.sent_at as i64),
                &batch.column(|stored| columns::kind_number(stored.kind)),
                &batch.column(|stored| stored.own),
                &batch.clocks,
                &batch.column(|stored| &stored.payload[..]),
                &batch.column(|stored| &stored.proof[..]),
                &batch.column(|stored| stored.cost() as i64),
                &batch.column(|stored| columns::sum(group, stored)),
                &batch.column(found),
            ],
        )
        .await?;
    let mut last = 0;
    for row in rows {
        last = last.max(row.try_get::<_, i64>(0)?);
    }
    if last > 0 {
        let update = "UPDATE multicast_groups SET last_place = $2 WHERE id = $1 AND last_place < $2";
        transaction.execute(update, &[&id, &last]).await?;
    }
    Ok(())
}

async fn other(transaction: &Transaction<'_>, names: &mut Names<'_>, change: &Change) -> Result<(), Trouble> {
    match change {
        Change::Append { .. } => {}
        Change::Note { group, key, value } => {
            let id = names.group_or_new(transaction, *group).await?;
            note(transaction, id, *group, key, value).await?;
        }
        Change::Acknowledge { group, place } => {
            let id = names.group_or_new(transaction, *group).await?;
            let update = "UPDATE multicast_groups SET acknowledged = $2 WHERE id = $1 AND acknowledged < $2";
            transaction.execute(update, &[&id, &(*place as i64)]).await?;
        }
        &Change::Prune {
            group,
            below,
            keep_bytes,
            sent_before,
        } => {
            let id = names.group_or_new(transaction, group).await?;
            prune(transaction, id, below, keep_bytes, sent_before).await?;
        }
    }
    Ok(())
}

async fn note(transaction: &Transaction<'_>, id: i64, group: GroupId, key: &str, value: &[u8]) -> Result<(), Trouble> {
    if value.is_empty() {
        let delete = "DELETE FROM multicast_notes WHERE grp = $1 AND key = $2";
        transaction.execute(delete, &[&id, &key]).await?;
        return Ok(());
    }
    let insert = "INSERT INTO multicast_notes (grp, key, value, sum) VALUES ($1, $2, $3, $4)
                  ON CONFLICT (grp, key) DO UPDATE SET value = excluded.value, sum = excluded.sum";
    let sum = columns::note_sum(group, key, value);
    transaction.execute(insert, &[&id, &key, &value, &sum]).await?;
    Ok(())
}

async fn prune(
    transaction: &Transaction<'_>,
    id: i64,
    below: u64,
    keep_bytes: u64,
    sent_before: u64,
) -> Result<(), Trouble> {
    let below = i64::try_from(below).unwrap_or(i64::MAX);
    let select = "SELECT COALESCE(sum(cost), 0)::INT8 FROM multicast_messages WHERE grp = $1";
    let mut bytes: i64 = transaction.query_one(select, &[&id]).await?.try_get(0)?;
    let oldest = [
        "SELECT cost, sent_at, lamport, origin, seq FROM multicast_messages
         WHERE grp = $1 AND place = 0 AND $2::INT8 > 0 ORDER BY lamport, origin, seq LIMIT $3",
        "SELECT cost, sent_at, place FROM multicast_messages
         WHERE grp = $1 AND place > 0 AND place < $2 ORDER BY place LIMIT $3",
    ];
    let delete = [
        "DELETE FROM multicast_messages WHERE grp = $1 AND place = 0 AND (lamport, origin, seq) <= ($2, $3, $4)",
        "DELETE FROM multicast_messages WHERE grp = $1 AND place > 0 AND place <= $2",
    ];
    for nth in [0, 1] {
        loop {
            let rows = transaction.query(oldest[nth], &[&id, &below, &PRUNED_AT_ONCE]).await?;
            let mut going = 0;
            for row in &rows {
                let (cost, sent_at): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
                if bytes as u64 <= keep_bytes && sent_at as u64 >= sent_before {
                    break;
                }
                bytes -= cost;
                going += 1;
            }
            // Those that go are the first ones, so the last of them names them all.
            if let Some(last) = rows[..going].last() {
                let number: i64 = last.try_get(2)?;
                if nth == 0 {
                    let (origin, seq): (&[u8], i64) = (last.try_get(3)?, last.try_get(4)?);
                    transaction.execute(delete[nth], &[&id, &number, &origin, &seq]).await?;
                } else {
                    transaction.execute(delete[nth], &[&id, &number]).await?;
                }
            }
            if going < rows.len() {
                return Ok(());
            }
            if rows.is_empty() {
                break;
            }
        }
    }
    Ok(())
}
