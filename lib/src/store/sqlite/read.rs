//! What is asked of the tables.

use bytes::Bytes;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Params, Row, params};

use super::Trouble;
use super::write::word_of_group;
use crate::clock::Clock;
use crate::id::{Dot, GroupId, MemberId};
use crate::store::columns::{self, Numbers};
use crate::store::{Canonical, Page, Saved, Size, Stored};

/// Questions about one group.
pub(super) struct Read<'c> {
    pub(super) connection: &'c Connection,
    pub(super) numbers: &'c mut Numbers,
    pub(super) group: GroupId,
}

/// A row of messages, with what is not decoded yet.
struct Raw {
    stored: Stored,
    kind: i16,
    clock: Vec<u8>,
    sum: i64,
}

const COLUMNS: &str =
    "m.place, m.origin, m.seq, m.lamport, m.sent_at, m.kind, m.own, m.clock, m.payload, m.proof, m.sum";

impl Read<'_> {
    pub(super) fn saved(&mut self, budget: u64) -> Result<Option<Saved>, Trouble> {
        let select = "SELECT id, last_place, acknowledged, placed, notes FROM groups WHERE name = ?1";
        let found = self.connection.query_row(select, [&self.group.0[..]], |row| {
            let number = |nth| Ok::<_, rusqlite::Error>(row.get::<_, i64>(nth)? as u64);
            Ok((row.get(0)?, number(1)?, number(2)?, number(3)?, number(4)?))
        });
        let Some((id, last_place, acknowledged, placed, notes)) = found.optional()? else {
            return Ok(None);
        };
        let mut saved = Saved {
            last_place,
            acknowledged,
            ..Saved::default()
        };
        self.notes(id, &mut saved)?;
        if saved.notes.len() as u64 != notes {
            return Err(Trouble::damaged("notes are missing"));
        }
        let sql = format!("SELECT {COLUMNS} FROM messages m WHERE grp = ?1 AND place > 0 ORDER BY place DESC");
        let (mut bytes, mut all) = (0, true);
        saved.messages = self.messages(&sql, [id], |stored| {
            all = bytes == 0 || bytes + stored.cost() <= budget;
            bytes += stored.cost();
            all
        })?;
        let expected = (1..=last_place).rev();
        let mut places = saved.messages.iter().map(|stored| stored.place).zip(expected);
        let complete = !all || saved.messages.len() as u64 == placed;
        if !complete || places.any(|(place, expected)| place != expected) {
            return Err(Trouble::damaged("messages are missing"));
        }
        saved.messages.reverse();
        Ok(Some(saved).filter(|saved| *saved != Saved::default()))
    }

    fn notes(&self, id: i64, saved: &mut Saved) -> Result<(), Trouble> {
        let mut select = self
            .connection
            .prepare("SELECT key, value, sum FROM notes WHERE grp = ?1")?;
        let mut rows = select.query([id])?;
        while let Some(row) = rows.next()? {
            let (key, value): (String, Vec<u8>) = (row.get(0)?, row.get(1)?);
            if columns::note_sum(self.group, &key, &value) != row.get::<_, i64>(2)? {
                return Err(Trouble::damaged(format!("the note {key} is not what was written")));
            }
            saved.notes.insert(key, value.into());
        }
        Ok(())
    }

    pub(super) fn page(&mut self, page: Page, limit: usize) -> Result<Vec<Stored>, Trouble> {
        let Some(id) = self.id()? else { return Ok(Vec::new()) };
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        match page {
            Page::Delivered { after } => {
                let sql = format!(
                    "SELECT {COLUMNS} FROM messages m WHERE grp = ?1 AND place > ?2 AND place > 0 ORDER BY place LIMIT ?3"
                );
                self.messages(&sql, params![id, number(after), limit], |_| true)
            }
            Page::After(after) => {
                let after = after.unwrap_or(Canonical {
                    lamport: 0,
                    origin: MemberId([0; 16]),
                });
                let sql = format!(
                    "SELECT {COLUMNS} FROM messages m WHERE grp = ?1 AND (lamport, origin) > (?2, ?3)
                     ORDER BY lamport, origin, seq LIMIT ?4"
                );
                self.messages(
                    &sql,
                    params![id, number(after.lamport), &after.origin.0[..], limit],
                    |_| true,
                )
            }
            Page::Before(before) => {
                let before = before.unwrap_or(END);
                let sql = format!(
                    "SELECT {COLUMNS} FROM messages m WHERE grp = ?1 AND (lamport, origin) < (?2, ?3)
                     ORDER BY lamport DESC, origin DESC, seq DESC LIMIT ?4"
                );
                let params = params![id, number(before.lamport), &before.origin.0[..], limit];
                let mut found = self.messages(&sql, params, |_| true)?;
                found.reverse();
                Ok(found)
            }
        }
    }

    pub(super) fn search(
        &mut self,
        words: &str,
        before: Option<Canonical>,
        limit: usize,
    ) -> Result<Vec<Stored>, Trouble> {
        let words = columns::words_of(words);
        let Some(id) = self.id()?.filter(|_| !words.is_empty()) else {
            return Ok(Vec::new());
        };
        let before = before.unwrap_or(END);
        let all: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
        let all = format!("{} \"{}\"", all.join(" "), word_of_group(id));
        let sql = format!(
            "SELECT {COLUMNS} FROM words JOIN messages m ON m.id = words.rowid
             WHERE words MATCH ?1 AND m.grp = ?2 AND (m.lamport, m.origin) < (?3, ?4)
             ORDER BY m.lamport DESC, m.origin DESC, m.seq DESC LIMIT ?5"
        );
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let params = params![all, id, number(before.lamport), &before.origin.0[..], limit];
        let mut found = self.messages(&sql, params, |_| true)?;
        found.reverse();
        Ok(found)
    }

    pub(super) fn get(&mut self, dot: Dot) -> Result<Option<Stored>, Trouble> {
        let Some(id) = self.id()? else { return Ok(None) };
        let sql = format!("SELECT {COLUMNS} FROM messages m WHERE grp = ?1 AND origin = ?2 AND seq = ?3");
        let mut found = self.messages(&sql, params![id, &dot.origin.0[..], number(dot.seq)], |_| true)?;
        Ok(found.pop())
    }

    pub(super) fn size(&mut self) -> Result<Size, Trouble> {
        let select =
            "SELECT messages, bytes, (SELECT min(sent_at) FROM messages WHERE grp = groups.id AND sent_at >= 0)
                      FROM groups WHERE name = ?1";
        let found = self.connection.query_row(select, [&self.group.0[..]], |row| {
            Ok(Size {
                messages: row.get::<_, i64>(0)? as u64,
                bytes: row.get::<_, i64>(1)? as u64,
                earliest: row.get::<_, Option<i64>>(2)?.map(|micros| micros as u64),
            })
        });
        Ok(found.optional()?.unwrap_or_default())
    }

    fn id(&self) -> Result<Option<i64>, Trouble> {
        let select = "SELECT id FROM groups WHERE name = ?1";
        let found = self.connection.query_row(select, [&self.group.0[..]], |row| row.get(0));
        Ok(found.optional()?)
    }

    /// Rows as they come, while they are wanted.
    fn messages(
        &mut self,
        sql: &str,
        params: impl Params,
        mut wanted: impl FnMut(&Stored) -> bool,
    ) -> Result<Vec<Stored>, Trouble> {
        let connection = self.connection;
        let mut select = connection.prepare(sql)?;
        let mut rows = select.query(params)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let stored = self.message(raw(row)?)?;
            if !wanted(&stored) {
                break;
            }
            found.push(stored);
        }
        Ok(found)
    }

    fn message(&mut self, raw: Raw) -> Result<Stored, Trouble> {
        let mut stored = raw.stored;
        let damaged = || Trouble::damaged("a message is not what was written");
        stored.kind = columns::kind_of(raw.kind).ok_or_else(damaged)?;
        let pairs = columns::clock_pairs(&raw.clock).ok_or_else(damaged)?;
        let entries = pairs.into_iter().map(|(number, seq)| Ok((self.member(number)?, seq)));
        stored.clock = entries.collect::<Result<Clock, Trouble>>()?;
        if columns::sum(self.group, &stored) != raw.sum {
            return Err(damaged());
        }
        Ok(stored)
    }

    fn member(&mut self, number: i64) -> Result<MemberId, Trouble> {
        if let Some(member) = self.numbers.member(number) {
            return Ok(member);
        }
        let select = "SELECT member FROM members WHERE id = ?1";
        let found = self
            .connection
            .query_row(select, [number], |row| row.get(0))
            .optional()?;
        let found = found.ok_or_else(|| Trouble::damaged("a member has no name"))?;
        let member = MemberId(found);
        self.numbers.learn(member, number);
        Ok(member)
    }
}

/// Behind everything: Lamport times end at 2^53.
const END: Canonical = Canonical {
    lamport: i64::MAX as u64,
    origin: MemberId([0xff; 16]),
};

pub(super) fn groups(connection: &Connection) -> Result<Vec<GroupId>, Trouble> {
    let mut select = connection.prepare(
        "SELECT name FROM groups WHERE messages > 0 OR EXISTS (SELECT 1 FROM notes WHERE grp = groups.id) ORDER BY name",
    )?;
    let found = select.query_map([], |row| Ok(GroupId(row.get(0)?)))?;
    Ok(found.collect::<Result<_, _>>()?)
}

fn raw(row: &Row<'_>) -> Result<Raw, rusqlite::Error> {
    let blob = |nth| {
        row.get_ref(nth)?
            .as_blob()
            .map_err(|_| wrong(nth))
            .map(Bytes::copy_from_slice)
    };
    Ok(Raw {
        stored: Stored {
            place: row.get::<_, i64>(0)? as u64,
            dot: Dot {
                origin: MemberId(row.get(1)?),
                seq: row.get::<_, i64>(2)? as u64,
            },
            lamport: row.get::<_, i64>(3)? as u64,
            sent_at: row.get::<_, i64>(4)? as u64,
            kind: crate::message::Kind::App,
            clock: Clock::new(),
            payload: blob(8)?,
            own: row.get(6)?,
            proof: blob(9)?,
        },
        kind: row.get(5)?,
        clock: row.get(7)?,
        sum: row.get(10)?,
    })
}

fn wrong(nth: usize) -> rusqlite::Error {
    rusqlite::Error::InvalidColumnType(nth, String::new(), Type::Blob)
}

/// A number as SQLite has them.
fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
