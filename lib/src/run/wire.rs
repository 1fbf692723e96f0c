//! The bytes of runs.

use bytes::{BufMut, Bytes, BytesMut};

use crate::clock::{Entries, MAX_NUMBER};
use crate::id::{Dot, MemberId};
use crate::message::{Kind, Message};
use crate::run::{Entry, Head, MAX_CLOCK, MAX_PAYLOAD, MAX_RUN, MAX_RUN_CLOCKS, Malformed, Past, Run};

const VERSION: u8 = 1;
const FULL: u8 = 0x10;
const CHANGED: u8 = 0x20;
const KIND_MASK: u8 = 0x0f;

impl Run {
    /// Parses one run; payloads are slices of `bytes`, not copies.
    ///
    /// # Errors
    /// [`Malformed`] when anything is odd: counts and lengths over the limits of this module, entries out of
    /// order, a seq past the end of the numbers, bytes left over.
    pub fn decode(bytes: &Bytes) -> Result<Self, Malformed> {
        let mut rest = Reader { bytes, at: 0 };
        if rest.u8()? != VERSION {
            return Err(Malformed("unknown version"));
        }
        let origin = rest.member()?;
        let first = rest.varint()?;
        let count = rest.count(MAX_RUN, "too many messages")?;
        if first == 0 || first > MAX_NUMBER - MAX_RUN as u64 {
            return Err(Malformed("seq out of range"));
        }
        // Every entry takes at least 4 bytes: a claimed count cannot reserve more than the bytes can hold.
        let mut heads = Vec::with_capacity(count.min(rest.left() / 4));
        let (mut pasts, mut budget) = (Vec::new(), MAX_RUN_CLOCKS);
        let (mut lamport, mut sent_at) = (0u64, 0u64);
        for nth in 0..count {
            let (head, past) = rest.entry(origin, (&mut lamport, &mut sent_at), &mut budget)?;
            if nth > 0 && matches!(past, Some(Past::Full(_))) {
                return Err(Malformed("a full clock inside a run"));
            }
            heads.push(head);
            pasts.extend(past.map(|past| (nth as u32, past)));
        }
        if rest.left() > 0 {
            return Err(Malformed("bytes left over"));
        }
        let bytes = bytes.clone();
        Ok(Self {
            origin,
            first,
            heads,
            pasts,
            bytes,
        })
    }

    /// The run as bytes that [`Run::decode`] reads.
    pub fn encode(&self) -> Bytes {
        let bound = |entry: &Entry| encoded_bound(entry.payload.len(), entry.past.entries().len());
        let capacity = 40 + self.entries().map(|entry| bound(&entry)).sum::<usize>();
        let first = Dot {
            origin: self.origin,
            seq: self.first,
        };
        let mut writer = RunWriter::new(first, self.len(), capacity);
        for entry in self.entries() {
            let flag = match &entry.past {
                Past::Full(_) => FULL,
                Past::Changes(list) if list.is_empty() => 0,
                Past::Changes(_) => CHANGED,
            };
            writer.put(
                entry.kind,
                flag,
                entry.lamport,
                entry.sent_at,
                entry.past.entries(),
                &entry.payload,
            );
        }
        writer.finish()
    }
}

/// Writes a run message by message.
pub(crate) struct RunWriter {
    out: BytesMut,
    lamport: u64,
    sent_at: u64,
}

impl RunWriter {
    pub(crate) fn new(first: Dot, count: usize, capacity: usize) -> Self {
        let mut out = BytesMut::with_capacity(capacity);
        out.put_u8(VERSION);
        out.put_slice(&first.origin.0);
        put_varint(&mut out, first.seq);
        put_varint(&mut out, count as u64);
        Self {
            out,
            lamport: 0,
            sent_at: 0,
        }
    }

    /// Adds a message with its whole clock.
    pub(crate) fn full(&mut self, message: &Message) {
        self.entry(message, FULL, &message.past);
    }

    /// Adds a message with only what changed since its origin's previous one.
    pub(crate) fn changes(&mut self, message: &Message, changes: &[(MemberId, u64)]) {
        let flag = if changes.is_empty() { 0 } else { CHANGED };
        self.entry(message, flag, changes);
    }

    fn entry(&mut self, message: &Message, flag: u8, clock: &[(MemberId, u64)]) {
        self.put(
            message.kind,
            flag,
            message.lamport,
            message.sent_at,
            clock,
            &message.payload,
        );
    }

    fn put(&mut self, kind: Kind, flag: u8, lamport: u64, sent_at: u64, clock: &[(MemberId, u64)], payload: &[u8]) {
        let out = &mut self.out;
        out.put_u8(kind_code(kind) | flag);
        put_varint(out, lamport.wrapping_sub(self.lamport));
        put_varint(out, zigzag(sent_at.wrapping_sub(self.sent_at) as i64));
        (self.lamport, self.sent_at) = (lamport, sent_at);
        if flag != 0 {
            put_varint(out, clock.len() as u64);
            for (member, seq) in clock {
                out.put_slice(&member.0);
                put_varint(out, *seq);
            }
        }
        put_varint(out, payload.len() as u64);
        out.put_slice(payload);
    }

    pub(crate) fn finish(self) -> Bytes {
        self.out.freeze()
    }
}

/// Most bytes that a message adds to a run, clock entries counted.
pub(crate) fn encoded_bound(payload: usize, clock_entries: usize) -> usize {
    1 + 10 + 10 + 3 + clock_entries * 26 + 3 + payload
}

struct Reader<'a> {
    bytes: &'a Bytes,
    at: usize,
}

impl Reader<'_> {
    fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        let byte = *self.bytes.get(self.at).ok_or(Malformed("too short"))?;
        self.at += 1;
        Ok(byte)
    }

    fn member(&mut self) -> Result<MemberId, Malformed> {
        let end = self.at + 16;
        let slice = self.bytes.get(self.at..end).ok_or(Malformed("too short"))?;
        self.at = end;
        Ok(MemberId(slice.try_into().expect("16 bytes")))
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(Malformed("number too long"));
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed("number too long"))
    }

    fn count(&mut self, most: usize, what: &'static str) -> Result<usize, Malformed> {
        let count = self.varint()?;
        if count > most as u64 {
            return Err(Malformed(what));
        }
        Ok(count as usize)
    }

    /// One message, and its clock if that travels; the times are those of the message before it, and then its own.
    fn entry(
        &mut self,
        origin: MemberId,
        (lamport, sent_at): (&mut u64, &mut u64),
        budget: &mut usize,
    ) -> Result<(Head, Option<Past>), Malformed> {
        let head = self.u8()?;
        let kind = kind_of(head & KIND_MASK)?;
        let step = self.varint()?;
        if step == 0 {
            return Err(Malformed("Lamport time stands still"));
        }
        *lamport = lamport
            .checked_add(step)
            .filter(|time| *time <= MAX_NUMBER)
            .ok_or(Malformed("Lamport time out of range"))?;
        *sent_at = sent_at.wrapping_add(unzigzag(self.varint()?) as u64);
        let past = match head & !KIND_MASK {
            0 => None,
            FULL => Some(Past::Full(self.clock(origin, false, budget)?)),
            CHANGED => Some(Past::Changes(self.clock(origin, true, budget)?)),
            _ => return Err(Malformed("unknown flag")),
        };
        let length = self.count(MAX_PAYLOAD, "payload over the limit")?;
        if length > self.left() {
            return Err(Malformed("too short"));
        }
        let head = Head {
            lamport: *lamport,
            sent_at: *sent_at,
            at: self.at as u32,
            length: length as u32,
            kind,
        };
        self.at += length;
        Ok((head, past))
    }

    fn clock(&mut self, origin: MemberId, zero: bool, budget: &mut usize) -> Result<Entries, Malformed> {
        let count = self.count(MAX_CLOCK, "clock over the limit")?;
        if count > self.left() / 17 {
            return Err(Malformed("too short"));
        }
        *budget = budget.checked_sub(count).ok_or(Malformed("clocks over the limit"))?;
        let mut entries = Entries::with_capacity(count);
        for _ in 0..count {
            let member = self.member()?;
            let seq = self.varint()?;
            if entries.last().is_some_and(|last| last.0 >= member) {
                return Err(Malformed("clock entries out of order"));
            }
            if member == origin || (seq == 0 && !zero) || seq > MAX_NUMBER {
                return Err(Malformed("clock entry that cannot be"));
            }
            entries.push((member, seq));
        }
        Ok(entries)
    }
}

fn kind_code(kind: Kind) -> u8 {
    match kind {
        Kind::App => 0,
        Kind::Join => 1,
        Kind::Leave => 2,
        Kind::Retire => 3,
        Kind::Call => 4,
    }
}

fn kind_of(code: u8) -> Result<Kind, Malformed> {
    Ok(match code {
        0 => Kind::App,
        1 => Kind::Join,
        2 => Kind::Leave,
        3 => Kind::Retire,
        4 => Kind::Call,
        _ => return Err(Malformed("unknown kind")),
    })
}

fn put_varint(out: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}
