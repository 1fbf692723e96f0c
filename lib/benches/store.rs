//! What stores cost: `cargo bench -p multicast --features sqlite,postgres --bench store`.
//!
//! 100,000 messages of 8 members are appended, 64 in a transaction that is on the disk before the next begins, and then
//! searched; and a history of 1,000,000 messages is opened up to its first lines.

#[allow(dead_code, reason = "shared by all benchmarks; rounds make no sense here")]
#[path = "report/mod.rs"]
mod report;
#[cfg(all(unix, feature = "postgres"))]
#[allow(dead_code, reason = "shared with tests, which end it in other ways")]
#[path = "../../testing/postgres.rs"]
mod server;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use multicast::store::{Change, Page, SqliteStore, Store, Stored, Words};
use multicast::{Clock, Dot, GroupId, Kind, MemberId};
use serde::Serialize;

use report::Flags;

const MEMBERS: u64 = 8;
const BATCH: u64 = 64;
/// Words that are drawn from; a message has eight.
const WORDS: u64 = 5_000;
const SEARCHES: u64 = 500;
/// Of a search and of a page: what fits on a screen.
const SCREEN: usize = 20;

#[derive(Serialize)]
struct Figures {
    store: &'static str,
    messages: u64,
    appended_per_second: f64,
    bytes_per_message: f64,
    search_ms: f64,
    read_per_second: f64,
}

fn main() {
    let flags = Flags::read();
    let messages = match (flags.is_smoke(), flags.quick) {
        (true, _) => 500,
        (_, true) => 20_000,
        _ => 100_000,
    };
    let scratch = Scratch::new();
    let mut all = Vec::new();
    if flags.wants("sqlite") {
        let path = scratch.0.join("history.db");
        let mut store = SqliteStore::open(&path, words()).expect("created");
        let figures = measure("sqlite", &mut store, messages, || size(&path));
        all.push(figures);
    }
    #[cfg(all(unix, feature = "postgres"))]
    if flags.wants("postgres")
        && let Some(server) = server::Server::start("bench")
    {
        let mut store = multicast::store::PostgresStore::open(&server.address("public"), words()).expect("created");
        let size = || {
            let sql = "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c WHERE c.relkind = 'r' AND c.relname LIKE 'multicast%'";
            server.sql(sql).parse().expect("a number")
        };
        all.push(measure("postgres", &mut store, messages, size));
    }
    if flags.wants("large") {
        large(&scratch.0.join("large.db"), messages * 10);
    }
    flags.write("store", &all);
}

fn measure(name: &'static str, store: &mut dyn Store, messages: u64, size: impl Fn() -> u64) -> Figures {
    let group = GroupId::named("lobby");
    let started = Instant::now();
    fill(store, group, messages);
    let appended_per_second = messages as f64 / started.elapsed().as_secs_f64();
    let bytes_per_message = size() as f64 / messages as f64;
    let started = Instant::now();
    let mut found = 0;
    for nth in 0..SEARCHES {
        let wanted = format!("{} {}", word(mix(nth)), word(mix(nth + 7)));
        let one = word(mix(nth));
        for words in [&wanted, &one] {
            found += store.search(group, words, None, SCREEN).expect("searched").len();
        }
    }
    let search_ms = started.elapsed().as_secs_f64() * 1000.0 / (2 * SEARCHES) as f64;
    let started = Instant::now();
    let (mut page, mut read) = (Page::After(None), 0);
    loop {
        let messages = store.read(group, page, 500).expect("readable");
        let Some(last) = messages.last() else { break };
        page = Page::After(Some(last.canonical()));
        read += messages.len() as u64;
    }
    assert_eq!(read, messages, "all of them");
    let read_per_second = read as f64 / started.elapsed().as_secs_f64();
    println!(
        "{name:>8}: {messages} messages: {appended_per_second:.0} appended/s ({BATCH} a transaction), {bytes_per_message:.0} \
         bytes a message, {search_ms:.2} ms a search ({found} found), {read_per_second:.0} read/s"
    );
    Figures {
        store: name,
        messages,
        appended_per_second,
        bytes_per_message,
        search_ms,
        read_per_second,
    }
}

/// How long it takes to see something of a long history.
fn large(path: &Path, messages: u64) {
    let group = GroupId::named("lobby");
    let mut store = SqliteStore::open(path, words()).expect("created");
    fill(&mut store, group, messages);
    drop(store);
    let started = Instant::now();
    let mut store = SqliteStore::open_to_read(path, words()).expect("there");
    let first = store.read(group, Page::After(None), 500).expect("readable");
    let to_first = started.elapsed();
    let last = store.read(group, Page::Before(None), SCREEN).expect("readable");
    let to_last = started.elapsed();
    let found = store.search(group, &word(1), None, SCREEN).expect("searched");
    println!(
        "{messages} messages: opened and the first {} read in {to_first:.1?}, the last {} after {to_last:.1?}, {} found after {:.1?}",
        first.len(),
        last.len(),
        found.len(),
        started.elapsed()
    );
}

fn fill(store: &mut dyn Store, group: GroupId, messages: u64) {
    for from in (1..=messages).step_by(BATCH as usize) {
        let to = messages.min(from + BATCH - 1);
        let changes: Vec<Change> = (from..=to)
            .map(|place| Change::Append {
                group,
                message: message(place),
            })
            .collect();
        store.apply(&changes).expect("written");
    }
}

/// Members speak in turns.
fn message(place: u64) -> Stored {
    let member = |nth| MemberId::from(u128::from(mix(nth % MEMBERS)) << 64);
    let seq = |nth: u64| (place + MEMBERS - 1 - (nth % MEMBERS)) / MEMBERS;
    let (origin, own) = (member(place), place.is_multiple_of(MEMBERS));
    let clock = (0..MEMBERS).map(|nth| (member(nth), seq(nth) + 1));
    let text: Vec<String> = (0..8).map(|nth| word(mix(place * 8 + nth))).collect();
    Stored {
        place,
        dot: Dot { origin, seq: place },
        lamport: place,
        sent_at: 1_700_000_000_000_000 + place * 1_000_000,
        kind: Kind::App,
        clock: clock.collect::<Clock>(),
        payload: Bytes::from(text.join(" ")),
        own,
        proof: Bytes::new(),
    }
}

fn word(number: u64) -> String {
    format!("w{:x}", number % WORDS)
}

/// One number out of another (splitmix64).
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) ^ (value >> 31)
}

fn words() -> Words {
    Arc::new(|payload| std::str::from_utf8(payload).ok().map(str::to_owned))
}

/// The database with its journal.
fn size(path: &Path) -> u64 {
    let mut journal = path.as_os_str().to_owned();
    journal.push("-wal");
    let of = |path: &Path| path.metadata().map_or(0, |metadata| metadata.len());
    of(path) + of(Path::new(&journal))
}

/// A directory that is removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let directory = std::env::temp_dir().join(format!("multicast-bench-store-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory");
        Self(directory)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
