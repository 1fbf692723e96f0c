//! The bytes of runs.

use bytes::{BufMut, Bytes, BytesMut};

use crate::bound::Budget;
use crate::chain::{Head as ChainHead, Mark, TRAIL};
use crate::clock::{Entries, MAX_NUMBER};
use crate::id::{Dot, MemberId};
use crate::message::{Kind, Message};
use crate::run::{Entry, Head, MAX_CLOCK, MAX_PAYLOAD, MAX_RUN, MAX_RUN_CLOCKS, Malformed, Past, Run, Sealed, Seals};
use crate::sign::Key;

const VERSION: u8 = 3;
const FULL: u8 = 0x10;
const SEALED: u8 = 0x40;
/// Of a segment: it has a signature; its messages are not here.
const SIGNED: u8 = 1;
const IN_TRAIL: u8 = 2;
const CHANGED: u8 = 0x20;
const KIND_MASK: u8 = 0x0f;

impl Run {
    /// Parses one run; payloads are slices of `bytes`, not copies.
    ///
    /// # Errors
    /// [`Malformed`] when anything is odd: counts and lengths over the limits of this module, entries out of
    /// order, a seq past the end of the numbers, bytes left over.
    pub fn decode(bytes: &Bytes) -> Result<Self, Malformed> {
        Self::decode_within(bytes, &mut Budget::of_runs())
    }

    /// The same, as one of several that share a budget of memory.
    pub(crate) fn decode_within(bytes: &Bytes, memory: &mut Budget) -> Result<Self, Malformed> {
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
        let times = (rest.varint()?, rest.varint()?);
        if times.0 > MAX_NUMBER || (times.0 == 0 && count > 0) {
            return Err(Malformed("Lamport time out of range"));
        }
        let (mut pasts, mut budget) = (Vec::new(), MAX_RUN_CLOCKS);
        let flags = rest.u8()?;
        if flags & !(FULL | SEALED) != 0 || (flags != 0 && count == 0) {
            return Err(Malformed("unknown flag"));
        }
        let full = flags & FULL != 0;
        if full {
            pasts.push((0, Past::Full(rest.clock(origin, false, &mut budget)?)));
            memory.take(room_for(&pasts[0]))?;
        }
        let seals = match flags & SEALED {
            0 => None,
            _ => Some(Box::new(rest.seals(count, memory)?)),
        };
        // Every entry takes at least 4 bytes: a claimed count cannot reserve more than the bytes can hold.
        let room = count.min(rest.left() / 4);
        memory.take(room * size_of::<Head>())?;
        let mut heads = Vec::with_capacity(room);
        let mut before = (0, 0);
        for nth in 0..count {
            let (mut head, changes) = rest.entry(origin, before, &mut budget)?;
            if nth == 0 {
                // Its steps are from a message that is not here.
                (head.lamport, head.sent_at) = times;
            } else if head.lamport <= before.0 {
                return Err(Malformed("Lamport time stands still"));
            }
            before = (head.lamport, head.sent_at);
            heads.push(head);
            // And so are its changes; with its whole clock nobody needs them.
            let changes = changes.filter(|_| nth > 0 || !full);
            if let Some(list) = changes {
                pasts.push((nth as u32, Past::Changes(list)));
                memory.take(pasts.last().map_or(0, room_for))?;
            }
        }
        if rest.left() > 0 {
            return Err(Malformed("bytes left over"));
        }
        if let Some(seals) = &seals {
            let alone = |nth: usize| heads[nth].kind != Kind::App;
            let payloads = |range: std::ops::Range<usize>| heads[range].iter().map(|head| head.length as usize).sum();
            let changes = pasts.iter().map(|past| past.0);
            seals.check(count, alone, payloads, changes).map_err(Malformed)?;
        }
        let bytes = bytes.clone();
        Ok(Self {
            origin,
            first,
            heads,
            pasts,
            bytes,
            travels: true,
            seals,
        })
    }

    /// The run as bytes that [`Run::decode`] reads.
    pub fn encode(&self) -> Bytes {
        let bound = |entry: &Entry| encoded_bound(entry.payload.len(), entry.past.entries().len());
        let seals = self
            .seals
            .as_ref()
            .map_or(0, |seals| sealed_bound(seals.segments.len()));
        let entries = self.entries().map(|entry| bound(&entry)).sum::<usize>();
        let mut out = BytesMut::with_capacity(64 + seals + entries);
        let first = Dot {
            origin: self.origin,
            seq: self.first,
        };
        let full = self.pasts.first().and_then(|past| match past {
            (0, Past::Full(list)) => Some(&list[..]),
            _ => None,
        });
        let times = self.heads.first().map_or((0, 0), |head| (head.lamport, head.sent_at));
        put_head(&mut out, first, self.len(), times, full, self.seals());
        let mut before = times;
        for entry in self.entries() {
            let changes: &[_] = match &entry.past {
                Past::Full(_) => &[],
                Past::Changes(list) => list,
            };
            let times = (entry.lamport, entry.sent_at);
            put_entry(&mut out, entry.kind, before, times, changes, &entry.payload);
            before = times;
        }
        out.freeze()
    }

    /// The entries from one to before another, as they travel. Only of a run that a [`Composer`] made.
    pub(crate) fn entry_bytes(&self, from: usize, to: usize) -> Bytes {
        self.bytes.slice(self.entries_end(from)..self.entries_end(to))
    }

    /// Where in the run's bytes the entry with that number would begin, and all before it end.
    pub(crate) fn entries_end(&self, nth: usize) -> usize {
        let Some(last) = nth.checked_sub(1) else { return 0 };
        let Head { at, length, .. } = self.heads[last];
        (at + length) as usize
    }
}

/// Bytes that a clock takes, with its place in a list that may have grown for it.
fn room_for(past: &(u32, Past)) -> usize {
    2 * size_of::<(u32, Past)>() + size_of_val(past.1.entries())
}

/// Makes a run of one's own messages, as bytes that every peer gets, whatever part of them it gets.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Composer {
    first: Dot,
    /// Entries that changed since the message before the first; after that nothing changes but the origin's own.
    changes: Entries,
    heads: Vec<Head>,
    /// Its bytes are the first of those that have room here.
    bytes: BytesMut,
    /// Times of the last message, or of the one before the first.
    times: (u64, u64),
}

impl Composer {
    /// `times`: Lamport and wall time of the message before the first. Writes into `room`, which is empty.
    pub(crate) fn new(first: Dot, changes: Entries, times: (u64, u64), room: BytesMut) -> Self {
        Self {
            first,
            changes,
            heads: Vec::new(),
            bytes: room,
            times,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.heads.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn push(&mut self, kind: Kind, times: (u64, u64), payload: &[u8]) {
        let changes: &[_] = if self.heads.is_empty() { &self.changes } else { &[] };
        put_entry(&mut self.bytes, kind, self.times, times, changes, payload);
        self.times = times;
        self.heads.push(Head {
            lamport: times.0,
            sent_at: times.1,
            at: (self.bytes.len() - payload.len()) as u32,
            length: payload.len() as u32,
            kind,
        });
    }

    /// The run, and the room that is left.
    pub(crate) fn finish(mut self) -> (Run, BytesMut) {
        let run = Run {
            origin: self.first.origin,
            first: self.first.seq,
            heads: self.heads,
            pasts: vec![(0, Past::Changes(self.changes))],
            bytes: self.bytes.split().freeze(),
            travels: true,
            seals: None,
        };
        (run, self.bytes)
    }
}

/// Writes what comes before the entries of a run: what is to be known of the first, beside what it says itself.
pub(crate) fn put_head(
    out: &mut BytesMut,
    first: Dot,
    count: usize,
    (lamport, sent_at): (u64, u64),
    full: Option<&[(MemberId, u64)]>,
    seals: Option<&Seals>,
) {
    out.put_u8(VERSION);
    out.put_slice(&first.origin.0);
    put_varint(out, first.seq);
    put_varint(out, count as u64);
    put_varint(out, lamport);
    put_varint(out, sent_at);
    let sealed = if seals.is_some() { SEALED } else { 0 };
    out.put_u8(if full.is_some() { FULL | sealed } else { sealed });
    full.into_iter().for_each(|list| put_clock(out, list));
    seals.into_iter().for_each(|seals| put_seals(out, seals));
}

fn put_seals(out: &mut BytesMut, seals: &Seals) {
    out.reserve(sealed_bound(seals.segments.len()));
    out.put_slice(&seals.key.public);
    put_varint(out, seals.key.join);
    out.put_slice(&seals.prev);
    put_varint(out, seals.segments.len() as u64);
    for Sealed {
        count,
        digest,
        signature,
    } in &seals.segments
    {
        let signed = if signature.is_some() { SIGNED } else { 0 };
        out.put_u8(if digest.is_some() { signed | IN_TRAIL } else { signed });
        put_varint(out, u64::from(*count));
        digest.iter().for_each(|digest| out.put_slice(digest));
        signature.iter().for_each(|mark| out.put_slice(&mark.0));
    }
}

/// What is hashed of a segment's first message, its payload left out; everything in it stands at its place, whatever
/// came before.
pub(crate) fn put_first(out: &mut Vec<u8>, first: &Message, count: u64) {
    out.put_slice(&first.dot.origin.0);
    let numbers = [
        first.dot.seq,
        count,
        first.lamport,
        first.sent_at,
        first.past.len() as u64,
    ];
    numbers.into_iter().for_each(|number| out.put_u64(number));
    for (member, seq) in first.past.iter() {
        out.put_slice(&member.0);
        out.put_u64(seq);
    }
    out.put_u8(kind_code(first.kind));
    out.put_u64(first.payload.len() as u64);
}

/// Most bytes that seals take.
pub(crate) fn sealed_bound(segments: usize) -> usize {
    32 + 10 + 32 + 3 + segments * (1 + 3 + 32 + 64)
}

fn put_entry(
    out: &mut BytesMut,
    kind: Kind,
    before: (u64, u64),
    (lamport, sent_at): (u64, u64),
    changes: &[(MemberId, u64)],
    payload: &[u8],
) {
    out.reserve(encoded_bound(payload.len(), changes.len()));
    let flag = if changes.is_empty() { 0 } else { CHANGED };
    out.put_u8(kind_code(kind) | flag);
    put_varint(out, lamport.wrapping_sub(before.0));
    put_varint(out, zigzag(sent_at.wrapping_sub(before.1) as i64));
    if !changes.is_empty() {
        put_clock(out, changes);
    }
    put_varint(out, payload.len() as u64);
    out.put_slice(payload);
}

fn put_clock(out: &mut BytesMut, list: &[(MemberId, u64)]) {
    put_varint(out, list.len() as u64);
    for (member, seq) in list {
        out.put_slice(&member.0);
        put_varint(out, *seq);
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
                // What is hashed has one form only.
                return match byte == 0 && shift > 0 {
                    true => Err(Malformed("number longer than it must be")),
                    false => Ok(value),
                };
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

    /// One message, and what changed in its clock; `before`: Lamport and wall time of the message before it.
    fn entry(
        &mut self,
        origin: MemberId,
        before: (u64, u64),
        budget: &mut usize,
    ) -> Result<(Head, Option<Entries>), Malformed> {
        let head = self.u8()?;
        let kind = kind_of(head & KIND_MASK)?;
        let lamport = before.0.checked_add(self.varint()?).filter(|time| *time <= MAX_NUMBER);
        let lamport = lamport.ok_or(Malformed("Lamport time out of range"))?;
        let sent_at = before.1.wrapping_add(unzigzag(self.varint()?) as u64);
        let changes = match head & !KIND_MASK {
            0 => None,
            CHANGED => Some(self.clock(origin, true, budget)?),
            _ => return Err(Malformed("unknown flag")),
        };
        if changes.as_ref().is_some_and(Entries::is_empty) {
            return Err(Malformed("a change of nothing"));
        }
        let length = self.count(MAX_PAYLOAD, "payload over the limit")?;
        if length > self.left() {
            return Err(Malformed("too short"));
        }
        let head = Head {
            lamport,
            sent_at,
            at: self.at as u32,
            length: length as u32,
            kind,
        };
        self.at += length;
        Ok((head, changes))
    }

    fn hash(&mut self) -> Result<ChainHead, Malformed> {
        let end = self.at + 32;
        let slice = self.bytes.get(self.at..end).ok_or(Malformed("too short"))?;
        self.at = end;
        Ok(slice.try_into().expect("32 bytes"))
    }

    fn seals(&mut self, count: usize, memory: &mut Budget) -> Result<Seals, Malformed> {
        let (public, join) = (self.hash()?, self.varint()?);
        let key = Key { public, join };
        let prev = self.hash()?;
        let segments = self.count(count + TRAIL, "too many segments")?;
        if segments > self.left() / 2 {
            return Err(Malformed("too short"));
        }
        memory.take(segments * size_of::<Sealed>())?;
        let segments = (0..segments).map(|_| self.sealed()).collect::<Result<_, _>>()?;
        Ok(Seals { key, prev, segments })
    }

    fn sealed(&mut self) -> Result<Sealed, Malformed> {
        let flags = self.u8()?;
        if flags & !(SIGNED | IN_TRAIL) != 0 {
            return Err(Malformed("unknown flag"));
        }
        let count = self.count(MAX_RUN, "too many messages")? as u32;
        let digest = (flags & IN_TRAIL != 0).then(|| self.hash()).transpose()?;
        let signature = (flags & SIGNED != 0).then(|| self.mark()).transpose()?;
        Ok(Sealed {
            count,
            digest,
            signature,
        })
    }

    fn mark(&mut self) -> Result<Mark, Malformed> {
        let mut mark = [0; 64];
        mark[..32].copy_from_slice(&self.hash()?);
        mark[32..].copy_from_slice(&self.hash()?);
        Ok(Mark(mark))
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
        Kind::List => 5,
    }
}

fn kind_of(code: u8) -> Result<Kind, Malformed> {
    Ok(match code {
        0 => Kind::App,
        1 => Kind::Join,
        2 => Kind::Leave,
        3 => Kind::Retire,
        4 => Kind::Call,
        5 => Kind::List,
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
