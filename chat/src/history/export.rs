//! An export that is read back: each line has its message as bytes, beside what people and programs read of it.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use bytes::Bytes;
use multicast::store::{Change, Store, StoreError, Stored};
use multicast::{Clock, Dot, GroupId, Kind};
use serde::{Deserialize, Serialize};

use super::store;
use crate::app::clean;
use crate::exit::Exit;
use crate::settings::Settings;

/// Messages that are restored in one transaction.
const AT_ONCE: usize = 500;
/// Longest line of an export: a message of 64 KiB, twice, in JSON and in hex, and the clocks of 4,096 members.
pub const LINE_MAX: u64 = 2 << 20;
/// The form of the bytes. Another number is another form.
const FORM: u8 = 1;

/// A message with all that a store keeps of it, but its place, which is this member's own.
#[derive(Serialize, Deserialize)]
pub(super) struct Record {
    form: u8,
    group: GroupId,
    dot: Dot,
    lamport: u64,
    sent_at: u64,
    kind: Kind,
    clock: Clock,
    payload: Bytes,
    own: bool,
    proof: Bytes,
}

/// The part of a line that is read back.
#[derive(Deserialize)]
struct Line {
    stored: Option<String>,
}

impl Record {
    pub(super) fn of(group: GroupId, stored: &Stored) -> Self {
        Self {
            form: FORM,
            group,
            dot: stored.dot,
            lamport: stored.lamport,
            sent_at: stored.sent_at,
            kind: stored.kind,
            clock: stored.clock.clone(),
            payload: stored.payload.clone(),
            own: stored.own,
            proof: stored.proof.clone(),
        }
    }

    /// As hex, with a sum in front: a line that was changed is refused.
    pub(super) fn encode(&self) -> String {
        let bytes = postcard::to_extend(self, Vec::new()).expect("a vector takes any number of bytes");
        let sum = sum(&bytes).to_be_bytes();
        sum.iter().chain(&bytes).map(|byte| format!("{byte:02x}")).collect()
    }

    fn decode(text: &str) -> Option<Change> {
        let digits = text.as_bytes().chunks(2);
        let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
        let bytes: Vec<u8> = digits.map(byte).collect::<Option<_>>()?;
        let (expected, bytes) = bytes.split_first_chunk()?;
        if sum(bytes).to_be_bytes() != *expected {
            return None;
        }
        let record: Self = postcard::from_bytes(bytes)
            .ok()
            .filter(|record: &Self| record.form == FORM)?;
        Some(Change::Append {
            group: record.group,
            message: Stored {
                place: 0,
                dot: record.dot,
                lamport: record.lamport,
                sent_at: record.sent_at,
                kind: record.kind,
                clock: record.clock,
                payload: record.payload,
                own: record.own,
                proof: record.proof,
            },
        })
    }
}

/// Puts the messages of an export into the profile's store. What is there stays as it is.
pub(super) fn restore(settings: &Settings, file: &Path) -> Exit {
    let name = clean::line(&file.display().to_string());
    let lines = match File::open(file) {
        Ok(file) => BufReader::new(file),
        Err(error) => return Exit::Usage(format!("cannot read {name}: {error}")),
    };
    let mut store = match store::to_write(settings) {
        Ok(Some(store)) => store,
        Ok(None) => return Exit::Usage("there is no store to restore to: leave --ephemeral out".to_owned()),
        Err(exit) => return exit,
    };
    match read_back(&mut *store, lines) {
        Ok((added, known)) => {
            eprintln!("chat: restored {added} messages from {name}; {known} were there already");
            Exit::Clean
        }
        Err(Refusal::Store(error)) => store::exit(&error),
        Err(Refusal::Line(nth, why)) => Exit::Usage(format!(
            "line {nth} of {name} {why}; what stands before it was restored. `chat export -f jsonl` writes such files"
        )),
    }
}

enum Refusal {
    Store(StoreError),
    Line(u64, String),
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// How many messages were added, and how many were there.
fn read_back(store: &mut dyn Store, mut lines: impl BufRead) -> Result<(u64, u64), Refusal> {
    let before = messages(store)?;
    let (mut changes, mut read, mut nth) = (Vec::new(), 0, 0);
    loop {
        nth += 1;
        let mut line = String::new();
        let length = lines.by_ref().take(LINE_MAX).read_line(&mut line);
        let length = length.map_err(|error| Refusal::Line(nth, format!("cannot be read: {error}")))?;
        let end = length == 0;
        if !end {
            let parsed: Line =
                serde_json::from_str(&line).map_err(|_| Refusal::Line(nth, "is not a line of JSON".to_owned()))?;
            if let Some(stored) = parsed.stored {
                let change = Record::decode(&stored);
                changes.push(change.ok_or_else(|| Refusal::Line(nth, "is not what was exported".to_owned()))?);
                read += 1;
            }
        }
        if end || changes.len() >= AT_ONCE {
            store.apply(&changes)?;
            changes.clear();
        }
        if end {
            let added = messages(store)? - before;
            return Ok((added, read - added));
        }
    }
}

fn messages(store: &mut dyn Store) -> Result<u64, StoreError> {
    let mut all = 0;
    for group in store.groups()? {
        all += store.size(group)?.messages;
    }
    Ok(all)
}

/// FNV-1a, 64 bits (Fowler, Noll and Vo 1991): it tells accidents, not forgeries.
fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use multicast::MemberId;
    use multicast::store::MemoryStore;

    use super::*;

    fn stored(seq: u64) -> Stored {
        let dot = Dot {
            origin: MemberId::from(7),
            seq,
        };
        Stored {
            place: seq,
            dot,
            lamport: seq,
            sent_at: 1000,
            kind: Kind::App,
            clock: Clock::from_iter([(dot.origin, seq)]),
            payload: Bytes::from_static(b"\x01\x00\x02hi"),
            own: true,
            proof: Bytes::from_static(b"proof"),
        }
    }

    #[test]
    fn an_export_is_read_back_and_damage_refused() {
        let group = GroupId::named("lobby");
        let line = |seq| {
            format!(
                "{{\"type\":\"message\",\"stored\":\"{}\"}}\n",
                Record::of(group, &stored(seq)).encode()
            )
        };
        let mut store = MemoryStore::new().open().expect("it is free");
        let file = format!("{{\"type\":\"hello\"}}\n{}{}{}", line(1), line(2), line(1));
        let done = read_back(&mut store, file.as_bytes());
        assert!(matches!(done, Ok((2, 1))));
        let dot = stored(2).dot;
        let told = Stored { place: 0, ..stored(2) };
        assert_eq!(store.get(group, dot), Ok(Some(told)));
        let damaged = line(3).replace("6869", "6868");
        let refused = read_back(&mut store, damaged.as_bytes());
        assert!(matches!(refused, Err(Refusal::Line(1, _))));
    }
}
