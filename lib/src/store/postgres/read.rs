//! What is asked of the tables.

use bytes::Bytes;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, Transaction};

use super::session::{Names, Session};
use super::trouble::Trouble;
use crate::clock::Clock;
use crate::id::{Dot, GroupId, MemberId};
use crate::store::columns;
use crate::store::{Canonical, Page, Saved, Size, Stored};

const COLUMNS: &str = "place, origin, seq, lamport, sent_at, kind, own, clock, payload, proof, sum";

/// Messages that are fetched at once where it is not known before how many are wanted.
const FETCHED: i64 = 1_000;

/// Before and behind everything: Lamport times are from 1 to 2^53.
const START: Canonical = Canonical {
    lamport: 0,
    origin: MemberId([0; 16]),
};
const END: Canonical = Canonical {
    lamport: i64::MAX as u64,
    origin: MemberId([0xff; 16]),
};

/// Questions about one group.
struct Read<'s> {
    transaction: Transaction<'s>,
    names: Names<'s>,
    group: GroupId,
    id: i64,
}

async fn of(session: &mut Session, group: GroupId) -> Result<Option<Read<'_>>, Trouble> {
    let (transaction, mut names) = session.begin().await?;
    let Some(id) = names.group(&transaction, group).await? else {
        return Ok(None);
    };
    Ok(Some(Read {
        transaction,
        names,
        group,
        id,
    }))
}

pub(super) async fn saved(session: &mut Session, group: GroupId, budget: u64) -> Result<Option<Saved>, Trouble> {
    let Some(mut read) = of(session, group).await? else {
        return Ok(None);
    };
    let select = "SELECT last_place, acknowledged FROM multicast_groups WHERE id = $1";
    let row = read.transaction.query_one(select, &[&read.id]).await?;
    let mut saved = Saved {
        last_place: row.try_get::<_, i64>(0)? as u64,
        acknowledged: row.try_get::<_, i64>(1)? as u64,
        ..Saved::default()
    };
    let select = "SELECT key, value, sum FROM multicast_notes WHERE grp = $1";
    for row in read.transaction.query(select, &[&read.id]).await? {
        let (key, value): (String, Vec<u8>) = (row.try_get(0)?, row.try_get(1)?);
        if columns::note_sum(group, &key, &value) != row.try_get::<_, i64>(2)? {
            return Err(Trouble::damaged(format!("the note {key} is not what was written")));
        }
        saved.notes.insert(key, value.into());
    }
    saved.messages = read.last(budget, saved.last_place).await?;
    saved.messages.reverse();
    Ok(Some(saved).filter(|saved| *saved != Saved::default()))
}

pub(super) async fn page(
    session: &mut Session,
    group: GroupId,
    page: Page,
    limit: usize,
) -> Result<Vec<Stored>, Trouble> {
    let Some(mut read) = of(session, group).await? else {
        return Ok(Vec::new());
    };
    let (id, limit) = (read.id, number(limit as u64));
    match page {
        Page::Delivered { after } => {
            let rest = "place > 0 AND place > $2 ORDER BY place LIMIT $3";
            read.messages(rest, &[&id, &number(after), &limit]).await
        }
        Page::After(after) => {
            let Canonical { lamport, origin } = after.unwrap_or(START);
            let rest = "(lamport, origin) > ($2, $3) ORDER BY lamport, origin, seq LIMIT $4";
            read.messages(rest, &[&id, &number(lamport), &&origin.0[..], &limit])
                .await
        }
        Page::Before(before) => {
            let Canonical { lamport, origin } = before.unwrap_or(END);
            let rest = "(lamport, origin) < ($2, $3) ORDER BY lamport DESC, origin DESC, seq DESC LIMIT $4";
            let mut found = read
                .messages(rest, &[&id, &number(lamport), &&origin.0[..], &limit])
                .await?;
            found.reverse();
            Ok(found)
        }
    }
}

pub(super) async fn search(
    session: &mut Session,
    group: GroupId,
    words: &str,
    before: Option<Canonical>,
    limit: usize,
) -> Result<Vec<Stored>, Trouble> {
    let words = columns::words_of(words);
    let Some(mut read) = of(session, group).await?.filter(|_| !words.is_empty()) else {
        return Ok(Vec::new());
    };
    let Canonical { lamport, origin } = before.unwrap_or(END);
    let rest = "words @> $5 AND (lamport, origin) < ($2, $3) ORDER BY lamport DESC, origin DESC, seq DESC LIMIT $4";
    let (id, limit) = (read.id, number(limit as u64));
    let mut found = read
        .messages(rest, &[&id, &number(lamport), &&origin.0[..], &limit, &words])
        .await?;
    found.reverse();
    Ok(found)
}

pub(super) async fn get(session: &mut Session, group: GroupId, dot: Dot) -> Result<Option<Stored>, Trouble> {
    let Some(mut read) = of(session, group).await? else {
        return Ok(None);
    };
    let params: [&(dyn ToSql + Sync); 3] = [&read.id.clone(), &&dot.origin.0[..], &number(dot.seq)];
    Ok(read.messages("origin = $2 AND seq = $3", &params).await?.pop())
}

pub(super) async fn size(session: &mut Session, group: GroupId) -> Result<Size, Trouble> {
    let Some(read) = of(session, group).await? else {
        return Ok(Size::default());
    };
    let select = "SELECT count(*), COALESCE(sum(cost), 0)::INT8, min(sent_at) FILTER (WHERE sent_at >= 0)
                  FROM multicast_messages WHERE grp = $1";
    let row = read.transaction.query_one(select, &[&read.id]).await?;
    Ok(Size {
        messages: row.try_get::<_, i64>(0)? as u64,
        bytes: row.try_get::<_, i64>(1)? as u64,
        earliest: row.try_get::<_, Option<i64>>(2)?.map(|micros| micros as u64),
    })
}

pub(super) async fn groups(session: &mut Session) -> Result<Vec<GroupId>, Trouble> {
    let (transaction, _) = session.begin().await?;
    let select = "SELECT name FROM multicast_groups g
                  WHERE EXISTS (SELECT 1 FROM multicast_messages WHERE grp = g.id)
                     OR EXISTS (SELECT 1 FROM multicast_notes WHERE grp = g.id)
                  ORDER BY name";
    let rows = transaction.query(select, &[]).await?;
    rows.iter().map(|row| Ok(GroupId(id(row, 0)?))).collect()
}

impl Read<'_> {
    /// The last delivered messages, the last one first.
    async fn last(&mut self, budget: u64, last_place: u64) -> Result<Vec<Stored>, Trouble> {
        let (mut found, mut bytes): (Vec<Stored>, u64) = (Vec::new(), 0);
        let (id, mut next) = (self.id, last_place);
        loop {
            let rest = "place > 0 AND place <= $2 ORDER BY place DESC LIMIT $3";
            let rows = self.messages(rest, &[&id, &number(next), &FETCHED]).await?;
            let done = (rows.len() as i64) < FETCHED;
            for stored in rows {
                bytes += stored.cost();
                if !found.is_empty() && bytes > budget {
                    return Ok(found);
                }
                if stored.place != next {
                    return Err(Trouble::damaged("messages are missing"));
                }
                next = next.saturating_sub(1);
                found.push(stored);
            }
            if done {
                return Ok(found);
            }
        }
    }

    async fn messages(&mut self, rest: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Stored>, Trouble> {
        let select = format!("SELECT {COLUMNS} FROM multicast_messages WHERE grp = $1 AND {rest}");
        let mut found = Vec::new();
        for row in self.transaction.query(&select, params).await? {
            found.push(self.message(&row).await?);
        }
        Ok(found)
    }

    async fn message(&mut self, row: &Row) -> Result<Stored, Trouble> {
        let damaged = || Trouble::damaged("a message is not what was written");
        let pairs = columns::clock_pairs(row.try_get(7)?).ok_or_else(damaged)?;
        let mut clock = Vec::with_capacity(pairs.len());
        for (number, seq) in pairs {
            clock.push((self.names.member(&self.transaction, number).await?, seq));
        }
        let positive = |nth| Ok::<_, Trouble>(row.try_get::<_, i64>(nth)? as u64);
        let stored = Stored {
            place: positive(0)?,
            dot: Dot {
                origin: MemberId(id(row, 1)?),
                seq: positive(2)?,
            },
            lamport: positive(3)?,
            sent_at: positive(4)?,
            kind: columns::kind_of(row.try_get(5)?).ok_or_else(damaged)?,
            own: row.try_get(6)?,
            clock: clock.into_iter().collect::<Clock>(),
            payload: Bytes::from(row.try_get::<_, Vec<u8>>(8)?),
            proof: Bytes::from(row.try_get::<_, Vec<u8>>(9)?),
        };
        if columns::sum(self.group, &stored) != row.try_get::<_, i64>(10)? {
            return Err(damaged());
        }
        Ok(stored)
    }
}

fn id(row: &Row, nth: usize) -> Result<[u8; 16], Trouble> {
    let bytes: &[u8] = row.try_get(nth)?;
    bytes.try_into().map_err(|_| Trouble::damaged("an id has not 16 bytes"))
}

/// A number as the server has them.
fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
