//! Crowds of connections that say nothing, say it slowly, break off, or never read: the chats talk on as before.
//!
//! `CHAT_TEST_LONG=1` makes it 10,000 connections. How long messages took before, meanwhile and after is printed
//! (`--nocapture`), not judged: the machine may have other things to do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::harness::{Chat, Log, Place, Registry, Watch, is_long, judge, seconds, watch_until};

const NAMES: [&str; 3] = ["ana", "bob", "cyd"];
/// Connections in all, and so that a test does not take long.
const CROWD: (usize, usize) = (10_000, 1_000);
/// Messages in the time before, and after.
const CALM: usize = 300;
/// How much a chat may grow meanwhile.
const GROWTH_MAX: u64 = 64 << 20;
/// What a peer that never reads writes, until it is closed.
const NEVER_READS: usize = 64 << 10;
/// Between two bytes of one that writes one at a time.
const DRIP: Duration = Duration::from_millis(100);
/// Connections that are open at a time.
const AT_A_TIME: usize = 2_400;
/// After so long each goes by itself. What came when the backlog of a listener was full looks open from here, and the system
/// has forgotten it over there: nobody would ever close it.
const HELD: Duration = Duration::from_secs(10);
/// Descriptors come back when a chat has seen the end of the last connections: within this.
const GIVEN_BACK: Duration = Duration::from_secs(60);

#[test]
fn crowds_at_the_ports_disturb_nobody() {
    let crowd = if is_long() { CROWD.0 } else { CROWD.1 };
    let home = Place::alone();
    let registry = Registry::of(&home);
    let start = |name: &&str| home.chat(&format!("-n {name} -r {}", registry.addr));
    let mut chats: Vec<_> = NAMES.iter().map(start).collect();
    let ids: Vec<_> = chats.iter().map(Chat::joined).collect();
    chats.iter().for_each(|chat| chat.meets(&ids));
    let addrs: Vec<SocketAddr> = chats.iter().map(|chat| super::addr(chat).parse().unwrap()).collect();

    let mut talk = Talk::new(&chats);
    let before = talk.on(&mut chats, |said| said < CALM);
    let (memory, descriptors) = (most(&chats, Chat::memory), sum(&chats));
    let mut grown = memory;
    let flood = std::thread::spawn(move || come(&addrs, crowd));
    let during = talk.on(&mut chats, |said| said < CALM || !flood.is_finished());
    grown = grown.max(most(&chats, Chat::memory));
    let (closed, went) = flood.join().expect("no panic");
    let after = talk.on(&mut chats, |said| said < CALM);
    grown = grown.max(most(&chats, Chat::memory));
    let deadline = Instant::now() + GIVEN_BACK;
    while sum(&chats) > descriptors {
        assert!(
            Instant::now() < deadline,
            "{} descriptors before, {} now",
            descriptors,
            sum(&chats)
        );
        talk.on(&mut chats, |said| said < 1);
    }
    let lines: Vec<_> = chats.iter().map(|chat| chat.stderr().lines().count()).collect();
    let [old, new] = [&before, &during].map(|times| percentile(times, 99));
    println!(
        "{crowd} connections, of which {closed} were closed and {went} went, while {} messages were said; delivered after, in ms, half and 99 of 100: {} before, \
         {} during, {} after, ratio {:.2}; memory {} MiB before, {} at most; {descriptors} descriptors before and after; lines of \
         log {lines:?}",
        during.len() / 2,
        shown(&before),
        shown(&during),
        shown(&after),
        new / old,
        memory >> 20,
        grown >> 20,
    );
    assert!(grown - memory < GROWTH_MAX, "grew from {memory} to {grown} bytes");
    let logs = chats.into_iter().map(|chat| {
        let (lines, exit) = chat.leave_unchecked();
        assert_eq!(exit.code, Some(0), "{}", exit.stderr);
        Log { lines, ended: true }
    });
    judge(&logs.collect::<Vec<_>>());
}

/// One says something, and the next when both others have it.
struct Talk {
    watches: Vec<Watch>,
    said: usize,
}

impl Talk {
    fn new(chats: &[Chat]) -> Self {
        let watches = chats.iter().map(Watch::new).collect();
        Self { watches, said: 0 }
    }

    /// For as long as that is so. Returns how many seconds each message took to each of the two others.
    fn on(&mut self, chats: &mut [Chat], goes_on: impl Fn(usize) -> bool) -> Vec<f64> {
        let (first, mut times) = (self.said, Vec::new());
        while goes_on(self.said - first) {
            let (speaker, text) = (self.said % chats.len(), format!("message {}", self.said));
            let said = Timestamp::now();
            chats[speaker].say(&text);
            self.said += 1;
            watch_until("delivery", &mut self.watches, |watches| {
                watches.iter().all(|watch| watch.texts.contains(&text))
            });
            let others = self.watches.iter().enumerate().filter(|(nth, _)| *nth != speaker);
            times.extend(others.map(|(_, watch)| seconds(said, watch.last_at.parse().expect("a time"))));
        }
        times
    }
}

fn percentile(times: &[f64], percent: usize) -> f64 {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    times[times.len() * percent / 100]
}

fn shown(times: &[f64]) -> String {
    let [half, most] = [50, 99].map(|percent| percentile(times, percent) * 1e3);
    format!("{half:.1} {most:.1}")
}

fn most(chats: &[Chat], of: impl Fn(&Chat) -> u64) -> u64 {
    chats.iter().map(of).max().expect("several")
}

fn sum(chats: &[Chat]) -> usize {
    chats.iter().map(Chat::descriptors).sum()
}

/// Opens them all, and returns when the last is over: how many the other side closed, and how many went by themselves.
fn come(addrs: &[SocketAddr], crowd: usize) -> (usize, usize) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let hello: Arc<[u8]> = client_hello().into();
    runtime.block_on(async {
        let (mut guests, places) = (JoinSet::new(), Arc::new(Semaphore::new(AT_A_TIME)));
        for nth in 0..crowd {
            let place = places.clone().acquire_owned().await.expect("open");
            let guest = one(addrs[nth % addrs.len()], nth / addrs.len() % 4, hello.clone());
            guests.spawn(async move {
                let opened = timeout(HELD, guest).await;
                drop(place);
                opened
            });
        }
        let came = guests.join_all().await;
        let closed = came.iter().filter(|came| **came == Ok(true)).count();
        (closed, came.iter().filter(|came| came.is_err()).count())
    })
}

/// One connection, until it is closed. Whether it was opened.
async fn one(addr: SocketAddr, kind: usize, hello: Arc<[u8]>) -> bool {
    let Ok(mut stream) = TcpStream::connect(addr).await else {
        return false;
    };
    match kind {
        // Silent.
        0 => {}
        1 => return drip(stream, &hello).await,
        // Half of a handshake, and that was all from this side.
        2 => {
            let half = stream.write_all(&hello[..hello.len() / 2]).await;
            let _ = half.and(stream.shutdown().await);
        }
        // It never reads, and writes whatever it can.
        _ => {
            let much = vec![0; NEVER_READS];
            while stream.write_all(&much).await.is_ok() {}
            return true;
        }
    }
    let _ = stream.read_to_end(&mut Vec::new()).await;
    true
}

/// A byte at a time.
async fn drip(stream: TcpStream, hello: &[u8]) -> bool {
    let (mut from, mut to) = stream.into_split();
    let mut heard = Vec::new();
    let writing = async {
        let mut pace = tokio::time::interval(DRIP);
        for byte in hello {
            pace.tick().await;
            if to.write_all(&[*byte]).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(writing, async { drop(from.read_to_end(&mut heard).await) });
    true
}

/// What a client says first.
fn client_hello() -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("TLS 1.3")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from("0123456789abcdef.nodeset").expect("a name");
    let mut client = rustls::ClientConnection::new(config.into(), name).expect("a client");
    let mut hello = Vec::new();
    client.write_tls(&mut hello).expect("memory has room");
    hello
}
