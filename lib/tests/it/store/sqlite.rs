//! The store in a file.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use multicast::GroupId;
use multicast::store::{Page, SqliteStore, Store, StoreError, Words};

use super::{append, check_store, note, random, said};
use crate::sim::Rng;

/// A directory for one test, removed at its end.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let nth = NEXT.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("multicast-store-{}-{nth}", std::process::id()));
        fs::create_dir_all(&directory).expect("a directory");
        Self(directory)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn text() -> Words {
    Arc::new(|payload| std::str::from_utf8(payload).ok().map(str::to_owned))
}

#[test]
fn a_store_in_a_file() {
    let scratch = Scratch::new();
    let path = scratch.path("history.db");
    check_store(|| Ok(Box::new(SqliteStore::open(&path, text())?)));
}

#[test]
fn a_store_in_a_file_answers_as_one_in_memory() {
    let scratch = Scratch::new();
    let mut store = SqliteStore::open(scratch.path("history.db"), text()).expect("created");
    for seed in 0..10 {
        random::agrees_with_memory(&mut store, seed, 60);
    }
}

#[test]
fn one_writes_and_others_read() {
    let scratch = Scratch::new();
    let path = scratch.path("history.db");
    let group = GroupId::named("lobby");
    assert!(
        matches!(SqliteStore::open_to_read(&path, text()), Err(StoreError::Io { .. })),
        "none there"
    );
    let mut store = SqliteStore::open(&path, text()).expect("created");
    let refused = SqliteStore::open(&path, text()).expect_err("in use");
    assert!(matches!(refused, StoreError::Locked { .. }), "{refused}");
    let mut reader = SqliteStore::open_to_read(&path, text()).expect("readable meanwhile");
    store.apply(&[append(group, said(1, 1, 1))]).expect("written");
    assert_eq!(reader.read(group, Page::After(None), 9), Ok(vec![said(1, 1, 1)]));
    assert!(matches!(
        reader.apply(&[append(group, said(2, 1, 2))]),
        Err(StoreError::Io { .. })
    ));
    drop(store);
    assert_eq!(reader.read(group, Page::After(None), 9), Ok(vec![said(1, 1, 1)]));
    let mut store = SqliteStore::open(&path, text()).expect("free again");
    store.apply(&[append(group, said(2, 1, 2))]).expect("written");
    assert_eq!(reader.size(group).expect("readable").messages, 2);
}

#[test]
#[cfg(unix)]
fn files_belong_to_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = Scratch::new();
    let mut store = SqliteStore::open(scratch.path("history.db"), text()).expect("created");
    store
        .apply(&[note(GroupId::named("lobby"), "at", b"one")])
        .expect("written");
    let files: Vec<_> = fs::read_dir(&scratch.0)
        .expect("a directory")
        .map(|entry| entry.expect("an entry"))
        .collect();
    assert_eq!(files.len(), 4, "database, journal, its shared memory, lock: {files:?}");
    for file in files {
        let mode = file.metadata().expect("it is there").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{file:?}");
    }
}

/// A store of a thousand messages, closed.
fn written(scratch: &Scratch) -> PathBuf {
    let path = scratch.path("history.db");
    let group = GroupId::named("lobby");
    let mut store = SqliteStore::open(&path, text()).expect("created");
    let messages: Vec<_> = (1..=1000).map(|n| append(group, said(n, n % 3, n))).collect();
    store.apply(&messages).expect("written");
    store.apply(&[note(group, "roster", &[7; 3000])]).expect("written");
    path
}

#[test]
fn what_is_no_store_is_refused_and_left_as_it_is() {
    let scratch = Scratch::new();
    let path = written(&scratch);
    let whole = fs::read(&path).expect("readable");
    let refusal = |content: &[u8]| {
        fs::write(&path, content).expect("writable");
        let error = SqliteStore::open(&path, text()).expect_err("no store");
        assert_eq!(fs::read(&path).expect("readable"), content, "{error}");
        error
    };
    assert!(matches!(refusal(b""), StoreError::Damaged { .. }), "emptied");
    assert!(
        matches!(refusal(&[b'x'; 9000]), StoreError::Damaged { .. }),
        "something else"
    );
    let mut other = whole.clone();
    other[60..64].copy_from_slice(&7u32.to_be_bytes());
    assert!(matches!(refusal(&other), StoreError::OtherVersion { found, .. } if found == "7"));
    other[68..72].copy_from_slice(b"else");
    assert!(matches!(refusal(&other), StoreError::OtherVersion { .. }));
    fs::remove_file(&path).expect("removed");
    fs::write(scratch.path("history.db-wal"), b"what was said last").expect("writable");
    let error = SqliteStore::open(&path, text()).expect_err("only the journal is there");
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("restore it from an export"), "{error}");
    fs::remove_file(scratch.path("history.db-wal")).expect("removed");
    fs::write(&path, whole).expect("writable");
    SqliteStore::open(&path, text()).expect("as it was");
}

#[test]
fn damage_is_told_and_never_read() {
    let scratch = Scratch::new();
    let path = written(&scratch);
    let whole = fs::read(&path).expect("readable");
    let group = GroupId::named("lobby");
    let ask = |damaged: &[u8]| {
        fs::write(&path, damaged).expect("writable");
        let mut store = SqliteStore::open_to_read(&path, text())?;
        let saved = store.load(group, u64::MAX)?.unwrap_or_default();
        Ok::<_, StoreError>((saved.messages, saved.notes))
    };
    let good = ask(&whole).expect("nothing is damaged yet");
    let (mut told, mut unharmed) = (0, 0);
    for seed in 0..300 {
        let mut rng = Rng::new(seed);
        let mut damaged = whole.clone();
        let at = rng.below(damaged.len() as u64) as usize;
        match rng.below(3) {
            0 => damaged[at] ^= 1 << rng.below(8),
            1 => damaged[at & !511..][..512].fill(rng.next() as u8),
            _ => damaged.truncate(at),
        }
        match ask(&damaged) {
            Ok(found) => {
                assert!(found == good, "seed {seed}: damage at {at} went unnoticed");
                unharmed += 1;
            }
            Err(StoreError::Damaged { .. } | StoreError::OtherVersion { .. }) => told += 1,
            Err(other) => panic!("seed {seed}: {other}"),
        }
    }
    println!("damage to a file: told {told} times, {unharmed} times in what is not read at a start");
}
