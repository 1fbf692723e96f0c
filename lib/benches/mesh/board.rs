//! What is sent and what has come: the same for every contestant.
//!
//! A payload is `sender(2) counter(6) sent_at(8) filler`. Every receiver looks at the length and the first bytes of
//! every message, and holds the counter against the one before: what is lost, repeated or reordered shows at once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

/// Bytes of a payload that are not filler.
pub(crate) const HEAD: usize = 16;
/// Bits of the first 8 bytes that count; the others name the sender.
const COUNTER_BITS: u32 = 48;
/// A paced sender sends what is due this often: the runtime's timer is not finer.
const TICK: Duration = Duration::from_millis(1);
/// One in so many messages of a paced sender carries a time, so that looking at the clock does not become the load.
const TIMED_ONE_IN: u64 = 16;
/// For one message to arrive everywhere while nothing else is sent.
const PATIENCE: Duration = Duration::from_secs(20);

/// The scores of one mesh.
pub(crate) struct Board {
    pub(crate) payload: usize,
    epoch: Instant,
    seats: Vec<Seat>,
    fault: Mutex<Option<String>>,
    notes: Mutex<BTreeMap<String, u64>>,
    /// Timed messages that came, and at how many to ring.
    timed: AtomicU64,
    ring_at: AtomicU64,
    bell: Notify,
}

/// One member's, on cache lines of its own.
#[repr(align(128))]
#[derive(Default)]
struct Seat {
    received: AtomicU64,
    sent: AtomicU64,
    latencies: Mutex<Vec<Duration>>,
}

impl Board {
    pub(crate) fn new(members: usize, payload: usize) -> Arc<Self> {
        assert!(payload >= HEAD);
        Arc::new(Self {
            payload,
            epoch: Instant::now(),
            seats: (0..members).map(|_| Seat::default()).collect(),
            fault: Mutex::default(),
            notes: Mutex::default(),
            timed: AtomicU64::new(0),
            ring_at: AtomicU64::new(u64::MAX),
            bell: Notify::new(),
        })
    }

    pub(crate) fn members(&self) -> usize {
        self.seats.len()
    }

    /// Deliveries so far: messages that arrived at members that are not their senders.
    pub(crate) fn delivered(&self) -> u64 {
        let received = |seat: &Seat| seat.received.load(Ordering::Relaxed);
        self.seats.iter().map(received).sum()
    }

    /// All deliveries that are owed for what was sent so far.
    fn owed(&self) -> u64 {
        let sent = self.seats.iter().map(|seat| seat.sent.load(Ordering::Relaxed));
        sent.sum::<u64>() * (self.members() as u64 - 1)
    }

    /// In words.
    pub(crate) fn progress(&self) -> String {
        format!("{} of {} deliveries", self.delivered(), self.owed())
    }

    /// Returns when everything that was sent has arrived everywhere, or when something arrived that must not.
    pub(crate) async fn all_arrived(&self) -> Result<(), String> {
        loop {
            if let Some(fault) = self.fault.lock().expect("no panics here").clone() {
                return Err(fault);
            }
            if self.delivered() == self.owed() {
                return Ok(());
            }
            tokio::time::sleep(TICK / 2).await;
        }
    }

    /// Notes what must not happen; the first fault stays.
    pub(crate) fn fault(&self, what: String) {
        self.fault.lock().expect("no panics here").get_or_insert(what);
    }

    /// Notes what may happen, and should be known.
    pub(crate) fn note(&self, what: String) {
        *self.notes.lock().expect("no panics here").entry(what).or_default() += 1;
    }

    /// What was noted, and how often.
    pub(crate) fn notes(&self) -> Vec<String> {
        let notes = self.notes.lock().expect("no panics here");
        notes
            .iter()
            .map(|(note, times)| format!("{note} ({times} times)"))
            .collect()
    }

    /// Forgets latencies that were measured, and returns them.
    pub(crate) fn take_latencies(&self) -> Vec<Duration> {
        let take = |seat: &Seat| std::mem::take(&mut *seat.latencies.lock().expect("no panics here"));
        self.seats.iter().flat_map(take).collect()
    }

    /// Arms the bell: it rings when that many more timed messages have come.
    pub(crate) fn arm(&self, more: u64) {
        let at = self.timed.load(Ordering::Relaxed) + more;
        self.ring_at.store(at, Ordering::Release);
    }

    pub(crate) async fn bell(&self) -> Result<(), String> {
        let rang = tokio::time::timeout(PATIENCE, self.bell.notified()).await;
        rang.map_err(|_| "lost: a message did not arrive everywhere".to_owned())
    }

    fn now(&self) -> u64 {
        self.epoch.elapsed().as_nanos() as u64
    }
}

/// Looks at every message that one receiver gets.
pub(crate) struct Ledger {
    board: Arc<Board>,
    me: usize,
    /// The next counter, by sender.
    next: Vec<u64>,
    fresh: u64,
}

impl Ledger {
    pub(crate) fn new(board: &Arc<Board>, me: usize) -> Self {
        Self {
            next: vec![0; board.members()],
            board: board.clone(),
            me,
            fresh: 0,
        }
    }

    /// The next message of its sender, by the counter in it.
    pub(crate) fn take(&mut self, payload: &[u8]) {
        self.look(payload, None);
    }

    /// The sender's `nth` message, from 0: for senders that may have to say a message again later.
    pub(crate) fn take_nth(&mut self, payload: &[u8], nth: u64) {
        self.look(payload, Some(nth));
    }

    fn look(&mut self, payload: &[u8], nth: Option<u64>) {
        let word = |at: usize| Some(u64::from_le_bytes(payload.get(at..at + 8)?.try_into().ok()?));
        let (Some(head), Some(sent_at)) = (word(0), word(8)) else {
            return self.board.fault("a message that is too short".into());
        };
        let sender = (head >> COUNTER_BITS) as usize;
        let counter = nth.unwrap_or(head & ((1 << COUNTER_BITS) - 1));
        let next = &mut self.next[sender];
        if counter != *next || payload.len() != self.board.payload {
            let (me, length) = (self.me, payload.len());
            let what = format!("member {me} got {length} bytes, {counter} of {sender}, where {next} was to come");
            return self.board.fault(what);
        }
        *next += 1;
        self.fresh += 1;
        if sent_at > 0 {
            self.time(sent_at);
        }
    }

    #[cold]
    fn time(&mut self, sent_at: u64) {
        let latency = Duration::from_nanos(self.board.now().saturating_sub(sent_at));
        let mut latencies = self.board.seats[self.me].latencies.lock().expect("no panics here");
        latencies.push(latency);
        drop(latencies);
        if self.board.timed.fetch_add(1, Ordering::AcqRel) + 1 == self.board.ring_at.load(Ordering::Acquire) {
            self.board.bell.notify_one();
        }
    }

    /// Makes what was taken count; to be called when nothing more is at hand.
    pub(crate) fn flush(&mut self) {
        let fresh = std::mem::take(&mut self.fresh);
        self.board.seats[self.me].received.fetch_add(fresh, Ordering::Relaxed);
    }
}

/// When a sender sends.
pub(crate) enum Pace {
    /// As fast as it is taken.
    Full { until: Instant },
    /// So many messages a tick.
    Steady {
        until: Instant,
        per_tick: f64,
        due: f64,
        ticks: Interval,
    },
    /// One message a call.
    Called(mpsc::Receiver<()>),
}

impl Pace {
    pub(crate) fn steady(until: Instant, per_second: f64) -> Self {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        Self::Steady {
            until,
            per_tick: per_second * TICK.as_secs_f64(),
            due: 0.0,
            ticks,
        }
    }
}

/// What one member has to say in one round.
pub(crate) struct Source {
    board: Arc<Board>,
    me: usize,
    pace: Pace,
    now: u64,
}

impl Source {
    pub(crate) fn new(board: &Arc<Board>, me: usize, pace: Pace) -> Self {
        Self {
            board: board.clone(),
            me,
            pace,
            now: 0,
        }
    }

    /// Whether there is always more to send at once.
    pub(crate) fn is_full_speed(&self) -> bool {
        matches!(self.pace, Pace::Full { .. })
    }

    /// How many messages to send now, at most `most`. 0: the round is over.
    pub(crate) async fn due(&mut self, most: usize) -> usize {
        let count = match &mut self.pace {
            Pace::Full { until } if Instant::now() < *until => most,
            Pace::Full { .. } => 0,
            Pace::Steady {
                until,
                per_tick,
                due,
                ticks,
            } => loop {
                if *due >= 1.0 {
                    let count = (*due as usize).min(most);
                    *due -= count as f64;
                    break count;
                }
                ticks.tick().await;
                if Instant::now() >= *until {
                    break 0;
                }
                *due += *per_tick;
            },
            Pace::Called(calls) => calls.recv().await.map_or(0, |()| 1),
        };
        self.now = if self.is_full_speed() { 0 } else { self.board.now() };
        count
    }

    /// Writes the next message.
    pub(crate) fn write(&mut self, out: &mut BytesMut) {
        let counter = self.board.seats[self.me].sent.fetch_add(1, Ordering::Relaxed);
        let timed = matches!(self.pace, Pace::Called(_)) || counter.is_multiple_of(TIMED_ONE_IN);
        out.put_u64_le((self.me as u64) << COUNTER_BITS | counter);
        out.put_u64_le(if timed { self.now } else { 0 });
        out.put_bytes(0xa5, self.board.payload - HEAD);
    }

    /// So many next messages, each a slice of one buffer: a message costs no allocation of its own.
    pub(crate) fn payloads(&mut self, count: usize) -> impl Iterator<Item = Bytes> + use<> {
        let size = self.board.payload;
        let mut buffer = BytesMut::with_capacity(count * size);
        (0..count).for_each(|_| self.write(&mut buffer));
        let mut buffer = buffer.freeze();
        (0..count).map(move |_| buffer.split_to(size))
    }
}
