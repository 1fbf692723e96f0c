//! Between what an engine says and the rows and notes that a store keeps.

use bytes::Bytes;

use crate::engine::{Acquaintance, Former, Sealing, Standpoint};
use crate::id::{GroupId, MemberId, Span};
use crate::message::Message;
use crate::store::{Change, Saved, StoreError, Stored};

/// Where the member stood: written with every batch.
const STANDPOINT: &str = "standpoint";
/// Whom it knew: written when that changed.
const ACQUAINTANCE: &str = "acquaintance";
/// What lies before its beginning and is not kept: written when that changed.
const HISTORY: &str = "history";

/// A delivered message as a row.
pub(crate) fn row(message: Message, place: u64, own: bool, sealing: Option<Sealing>) -> Stored {
    let proof = sealing.and_then(|sealing| postcard::to_stdvec(&sealing).ok());
    Stored {
        place,
        dot: message.dot,
        lamport: message.lamport,
        sent_at: message.sent_at,
        kind: message.kind,
        clock: message.clock(),
        // A slice of a whole batch would keep that.
        payload: message.payload,
        own,
        proof: proof.map_or(Bytes::new(), Bytes::from),
    }
}

/// A row as the message that it was.
pub(crate) fn message(stored: Stored) -> Message {
    let past = stored
        .clock
        .iter()
        .filter(|entry| entry.0 != stored.dot.origin)
        .collect();
    Message {
        dot: stored.dot,
        lamport: stored.lamport,
        sent_at: stored.sent_at,
        kind: stored.kind,
        past: crate::clock::SharedEntries::from_sorted(past),
        payload: stored.payload,
    }
}

pub(crate) fn standpoint(group: GroupId, standpoint: &Standpoint) -> Change {
    note(group, STANDPOINT, postcard::to_stdvec(standpoint))
}

pub(crate) fn acquaintance(group: GroupId, acquaintance: &Acquaintance) -> Change {
    note(group, ACQUAINTANCE, postcard::to_stdvec(acquaintance))
}

pub(crate) fn history(group: GroupId, spans: &[Span]) -> Change {
    note(group, HISTORY, postcard::to_stdvec(spans))
}

/// What lies before the beginnings of earlier lives and is not kept.
pub(crate) fn lacking(saved: &Saved) -> Vec<Span> {
    let spans = saved.notes.get(HISTORY);
    spans
        .and_then(|spans| postcard::from_bytes(spans).ok())
        .unwrap_or_default()
}

fn note(group: GroupId, key: &'static str, value: postcard::Result<Vec<u8>>) -> Change {
    let value = Bytes::from(value.expect("numbers, ids and texts can be written"));
    Change::Note { group, key, value }
}

/// An earlier life, from what was kept of it; none, if no member was there.
///
/// # Errors
/// [`StoreError::Damaged`]: what is there is not what was written.
pub(crate) fn former(saved: &Saved) -> Result<Option<Former>, StoreError> {
    let (Some(standpoint), Some(acquaintance)) = (saved.notes.get(STANDPOINT), saved.notes.get(ACQUAINTANCE)) else {
        return Ok(None);
    };
    let damaged = |what: &str| StoreError::Damaged {
        place: "the store".into(),
        what: what.into(),
    };
    let standpoint = postcard::from_bytes(standpoint).map_err(|_| damaged("where the member stood"))?;
    let acquaintance = postcard::from_bytes(acquaintance).map_err(|_| damaged("whom the member knew"))?;
    let mut messages = Vec::with_capacity(saved.messages.len());
    for stored in &saved.messages {
        let sealing = match stored.proof.is_empty() {
            true => None,
            false => Some(postcard::from_bytes(&stored.proof).map_err(|_| damaged("a signature"))?),
        };
        messages.push((message(stored.clone()), sealing));
    }
    Ok(Some(Former {
        standpoint,
        acquaintance,
        messages,
    }))
}

/// What people call the members of an earlier life.
pub(crate) fn names(former: &Former) -> std::collections::BTreeMap<MemberId, String> {
    let view = former.acquaintance.view.records.iter();
    let intros = view.filter_map(|record| Some((record.member, record.intro.as_ref()?.name.clone())));
    let joins = former
        .acquaintance
        .names
        .iter()
        .map(|named| (named.member, named.name.clone()));
    intros.chain(joins).collect()
}
