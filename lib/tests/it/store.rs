//! What every store does, whatever it keeps things in.

#[cfg(feature = "powercut")]
mod disk;
#[cfg(all(unix, feature = "postgres"))]
mod postgres;
#[cfg(feature = "powercut")]
mod power;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod random;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::sync::Arc;

use bytes::Bytes;
use multicast::store::{Canonical, Change, MemoryStore, Page, Saved, Store, StoreError, Stored};
use multicast::{Clock, Dot, GroupId, Kind, MemberId};

const EVERYTHING: u64 = u64::MAX;

/// Runs the tests of a store on one that is empty. `open` opens it anew; the last one was dropped before.
pub(crate) fn check_store(mut open: impl FnMut() -> Result<Box<dyn Store>, StoreError>) {
    let group = GroupId::named("lobby");
    let mut store = open().expect("it is free");
    assert_eq!(store.load(group, EVERYTHING), Ok(None));
    assert_eq!(store.groups(), Ok(Vec::new()));
    let mut changes: Vec<Change> = (1..=9).map(|n| append(group, said(n, n % 3, n))).collect();
    changes.push(note(group, "at", b"nine"));
    changes.push(note(group, "view", b"all"));
    changes.push(note(GroupId::named("other"), "at", b"other"));
    store.apply(&changes).expect("all of it");
    store.apply(&[note(group, "view", b"")]).expect("taken away");
    let acknowledge = |place| Change::Acknowledge { group, place };
    store.apply(&[acknowledge(4), acknowledge(2)]).expect("the greater one");
    drop(store);

    let mut store = open().expect("it is free again");
    let saved = store.load(group, EVERYTHING).expect("readable").expect("something");
    assert_eq!(places(&saved.messages), (1..=9).collect::<Vec<_>>());
    assert_eq!(saved.messages[4], said(5, 2, 5));
    assert_eq!((saved.last_place, saved.acknowledged), (9, 4));
    assert_eq!(
        saved.notes.into_iter().collect::<Vec<_>>(),
        [("at".to_owned(), Bytes::from_static(b"nine"))]
    );
    let two = said(8, 2, 8).cost() + said(9, 0, 9).cost();
    let part = store.load(group, two).expect("readable").expect("something");
    assert_eq!(places(&part.messages), [8, 9]);
    let one = store.load(group, 0).expect("readable").expect("something");
    assert_eq!(places(&one.messages), [9], "the last one always");
    assert_eq!(store.groups().expect("readable").len(), 2);
    pages(&mut *store, group);
    told_as_history(&mut *store, group);
    words(&mut *store);
    pruned(&mut *store, group);
}

fn pages(store: &mut dyn Store, group: GroupId) {
    let mut read = |page, limit| dots(&store.read(group, page, limit).expect("readable"));
    assert_eq!(read(Page::Delivered { after: 0 }, 2), [(1, 1), (2, 2)]);
    assert_eq!(read(Page::Delivered { after: 7 }, 9), [(2, 8), (0, 9)]);
    assert_eq!(read(Page::After(None), 2), [(1, 1), (2, 2)]);
    let fifth = Some(said(5, 2, 5).canonical());
    assert_eq!(read(Page::After(fifth), 1), [(0, 6)]);
    assert_eq!(read(Page::Before(fifth), 2), [(0, 3), (1, 4)]);
    assert_eq!(read(Page::Before(None), 2), [(2, 8), (0, 9)]);
}

fn told_as_history(store: &mut dyn Store, group: GroupId) {
    // Earlier than all, and later given a place.
    let told = Stored {
        place: 0,
        lamport: 1,
        ..said(1, 0, 77)
    };
    store.apply(&[append(group, told.clone())]).expect("added");
    let delivered = Page::Delivered { after: 0 };
    assert_eq!(store.read(group, delivered, 99).expect("readable").len(), 9);
    assert_eq!(store.read(group, Page::Before(None), 99).expect("readable")[0], told);
    assert_eq!(
        store
            .load(group, EVERYTHING)
            .expect("readable")
            .expect("some")
            .messages
            .len(),
        9
    );
    let placed = Stored {
        place: 10,
        payload: Bytes::from_static(b"not this"),
        ..told.clone()
    };
    store.apply(&[append(group, placed)]).expect("given a place");
    let last = store.read(group, Page::Delivered { after: 9 }, 9).expect("readable");
    assert_eq!(last, [Stored { place: 10, ..told }]);
    // What has a place keeps it.
    store
        .apply(&[append(
            group,
            Stored {
                place: 11,
                ..said(9, 0, 9)
            },
        )])
        .expect("nothing to do");
    assert_eq!(
        store
            .load(group, EVERYTHING)
            .expect("readable")
            .expect("some")
            .last_place,
        10
    );
}

fn words(store: &mut dyn Store) {
    let group = GroupId::named("words");
    let texts = [
        "Lunch at one?",
        "no lunch, thanks",
        "100% \"quoted\" OR not",
        "",
        "zwölf Äpfel",
    ];
    let message = |(n, text): (u64, &&'static str)| {
        append(
            group,
            Stored {
                payload: Bytes::from_static(text.as_bytes()),
                ..said(n, 1, n)
            },
        )
    };
    store
        .apply(&(1..).zip(&texts).map(message).collect::<Vec<_>>())
        .expect("added");
    let join = Stored {
        kind: Kind::Join,
        payload: Bytes::from_static(b"lunch"),
        ..said(9, 2, 1)
    };
    store.apply(&[append(group, join)]).expect("added");
    let mut found = |words: &str, before, limit| -> Vec<u64> {
        let found = store.search(group, words, before, limit).expect("searched");
        found.iter().map(|stored| stored.dot.seq).collect()
    };
    assert_eq!(found("LUNCH", None, 9), [1, 2]);
    assert_eq!(found("lunch", None, 1), [2], "the last ones");
    let second = Some(Canonical {
        lamport: 2,
        origin: member(1),
    });
    assert_eq!(found("lunch", second, 9), [1]);
    assert_eq!(found("one lunch", None, 9), [1]);
    assert_eq!(found("\"quoted\"", None, 9), [3]);
    assert_eq!(found("quoted OR thanks", None, 9), [0; 0], "no operators");
    assert_eq!(found("zwölf äpfel", None, 9), [5]);
    assert_eq!(found("", None, 9), [0; 0]);
    assert_eq!(found("* -", None, 9), [0; 0]);
}

fn pruned(store: &mut dyn Store, group: GroupId) {
    let prune = |below, keep_bytes, sent_before| Change::Prune {
        group,
        below,
        keep_bytes,
        sent_before,
    };
    let before = store.size(group).expect("readable");
    assert_eq!((before.messages, before.earliest), (10, Some(1000)));
    store.apply(&[prune(3, EVERYTHING, 6000)]).expect("the two that may go");
    assert_eq!(
        dots(&store.read(group, Page::Delivered { after: 0 }, 1).expect("readable")),
        [(0, 3)]
    );
    let three = (8..=10).map(|_| said(8, 2, 8).cost()).sum();
    store.apply(&[prune(EVERYTHING, three, 0)]).expect("by size");
    let left = store.size(group).expect("readable");
    assert!(left.bytes <= three && left.messages >= 2, "{left:?}");
    store.apply(&[prune(EVERYTHING, 0, 0)]).expect("all");
    assert_eq!(store.size(group).expect("readable").messages, 0);
    let saved = store.load(group, EVERYTHING).expect("readable").expect("its notes");
    assert_eq!((saved.last_place, saved.messages), (10, Vec::new()), "places go on");
}

#[test]
fn a_store_in_memory() {
    let memory = MemoryStore::new();
    check_store(|| Ok(Box::new(memory.open()?)));
}

#[test]
fn a_store_in_memory_is_open_once() {
    let memory = MemoryStore::with_words(Arc::new(|_| None));
    let open = memory.open().expect("it is free");
    let refused = memory.clone().open().map(drop).expect_err("in use");
    assert!(matches!(refused, StoreError::Locked { .. }));
    drop(open);
    let mut open = memory.open().expect("free again");
    assert_eq!(open.load(GroupId::named("lobby"), 0), Ok(None::<Saved>));
}

fn member(n: u64) -> MemberId {
    MemberId::from(u128::from(n))
}

fn said(place: u64, origin: u64, seq: u64) -> Stored {
    let dot = Dot {
        origin: member(origin),
        seq,
    };
    Stored {
        place,
        dot,
        lamport: place,
        sent_at: place * 1000,
        kind: Kind::App,
        clock: Clock::from_iter([(dot.origin, seq), (member(99), place)]),
        payload: Bytes::from(format!("number {place}")),
        own: origin == 1,
        proof: Bytes::from_static(if origin == 2 { b"proof" } else { b"" }),
    }
}

fn append(group: GroupId, message: Stored) -> Change {
    Change::Append { group, message }
}

fn note(group: GroupId, key: &'static str, value: &'static [u8]) -> Change {
    Change::Note {
        group,
        key,
        value: Bytes::from_static(value),
    }
}

fn places(messages: &[Stored]) -> Vec<u64> {
    messages.iter().map(|stored| stored.place).collect()
}

fn dots(messages: &[Stored]) -> Vec<(u64, u64)> {
    let number = |member: MemberId| u128::from_be_bytes(member.0) as u64;
    messages
        .iter()
        .map(|stored| (number(stored.dot.origin), stored.dot.seq))
        .collect()
}
