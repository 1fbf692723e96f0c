//! Engines with lines between them, on which the first one sends as much as it may.

use std::collections::BTreeMap;

use bytes::Bytes;
use multicast::engine::{Config, Engine, Frame, Input, Notice, Output};
use multicast::{Dot, Kind, MemberId, Micros};

use crate::sim::Queue;

/// Bytes a second.
pub(crate) const MB: u64 = 1_000_000;
const MS: Micros = 1_000;
/// What everything but pushed messages is counted as; and what goes around those.
const SMALL: u64 = 100;
/// The longest payload.
const PAYLOAD: usize = 64 << 10;
/// How often the chatter says a few words.
const CHATTER_PAUSE: Micros = 10 * MS;
/// The first member is the one that streams.
const SENDER: usize = 0;

/// One direction between two members.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    bytes_per_s: u64,
    delay: Micros,
    /// It is busy until then.
    free_at: Micros,
}

impl Line {
    pub(crate) fn new(bytes_per_s: u64, delay: Micros) -> Self {
        Self {
            bytes_per_s,
            delay,
            free_at: 0,
        }
    }

    /// When these bytes are there.
    fn carry(&mut self, bytes: u64, now: Micros) -> Micros {
        self.free_at = self.free_at.max(now) + bytes * 1_000_000 / self.bytes_per_s;
        self.free_at + self.delay
    }
}

struct Coming {
    from: usize,
    to: usize,
    frame: Frame,
}

pub(crate) struct Lines {
    now: Micros,
    engines: Vec<Engine>,
    lines: BTreeMap<(usize, usize), Line>,
    queue: Queue<Coming>,
    payload: Bytes,
    sent_at: BTreeMap<Dot, Micros>,
    /// By member, payload bytes of others that it delivered.
    brought: Vec<u64>,
    /// By origin and member, the longest time from sending to delivery.
    delays: BTreeMap<(usize, usize), Micros>,
    /// Who says a few words now and then.
    pub(crate) chatter: Option<usize>,
    chatter_at: Micros,
    /// How far the sender was ahead of the slowest when it was last told to wait, in payload bytes.
    ahead: u64,
    acked: Vec<u64>,
    /// Pushes to one member that were not acknowledged, at most.
    pub(crate) most_under_way: usize,
    under_way: BTreeMap<usize, Vec<u64>>,
    /// What no link should cause as long as it carries something: members that lag or are silent, gaps, refused words.
    complaints: Vec<String>,
}

impl Lines {
    /// So many members with such a line from each to each.
    pub(crate) fn new(members: usize, line: Line) -> Self {
        let ids: Vec<MemberId> = (1..=members as u128).map(MemberId::from).collect();
        let engine = |me: &MemberId| Engine::established(Config::default(), *me, &ids, 1, 0);
        let pairs = || (0..members).flat_map(|from| (0..members).map(move |to| (from, to)));
        let mut lines = Self {
            now: 0,
            engines: ids.iter().map(engine).collect(),
            lines: pairs().map(|pair| (pair, line)).collect(),
            queue: Queue::new(),
            payload: Bytes::from(vec![7; PAYLOAD]),
            sent_at: BTreeMap::new(),
            brought: vec![0; members],
            delays: BTreeMap::new(),
            chatter: None,
            chatter_at: 0,
            ahead: 0,
            acked: vec![0; members],
            most_under_way: 0,
            under_way: BTreeMap::new(),
            complaints: Vec::new(),
        };
        for (me, other) in pairs().filter(|pair| pair.0 != pair.1) {
            lines.give(me, Input::LinkUp { peer: ids[other] });
        }
        lines
    }

    pub(crate) fn set(&mut self, from: usize, to: usize, line: Line) {
        self.lines.insert((from, to), line);
    }

    /// From now on all lines carry so much.
    pub(crate) fn narrow(&mut self, bytes_per_s: u64) {
        self.lines.values_mut().for_each(|line| line.bytes_per_s = bytes_per_s);
    }

    /// For so long nothing moves on any line.
    pub(crate) fn hold_up(&mut self, pause: Micros) {
        let now = self.now;
        let held_up = |line: &mut Line| line.free_at = line.free_at.max(now) + pause;
        self.lines.values_mut().for_each(held_up);
    }

    pub(crate) fn brought(&self, member: usize) -> u64 {
        self.brought[member]
    }

    pub(crate) fn ahead(&self) -> u64 {
        self.ahead
    }

    pub(crate) fn forget_delays(&mut self) {
        self.delays.clear();
    }

    pub(crate) fn longest_delay(&self, origin: usize, member: usize) -> Micros {
        self.delays[&(origin, member)]
    }

    /// Fails if a member lagged, was silent, had a gap, or could not say its few words.
    pub(crate) fn assert_calm(&self) {
        assert!(self.complaints.is_empty(), "{:#?}", self.complaints);
    }

    /// Lets the first member send whenever it may, until then.
    pub(crate) fn stream_until(&mut self, end: Micros) {
        loop {
            self.stream();
            let deadline = |nth: usize| self.engines[nth].deadline().map(|at| (at, nth));
            let tick = (0..self.engines.len()).filter_map(deadline).min();
            let coming = self.queue.next_at().unwrap_or(Micros::MAX);
            let next = coming.min(tick.map_or(Micros::MAX, |tick| tick.0));
            let chatter = self.chatter.map(|_| self.chatter_at.max(self.now));
            if next.min(chatter.unwrap_or(next)) > end {
                self.now = end;
                return;
            }
            if let (Some(who), Some(at)) = (self.chatter, chatter.filter(|at| *at < next)) {
                self.now = at;
                self.chatter_at = at + CHATTER_PAUSE;
                if !self.say(who, Bytes::from_static(b"by the way")) {
                    self.complaints.push(format!("{at} us: member {who} is told to wait"));
                }
                continue;
            }
            self.now = self.now.max(next);
            match tick {
                Some((at, nth)) if at < coming => self.give(nth, Input::Tick),
                _ => {
                    let (_, Coming { from, to, frame }) = self.queue.pop().expect("something is coming");
                    let from = self.engines[from].me();
                    self.give(to, Input::Frame { from, frame });
                }
            }
        }
    }

    fn stream(&mut self) {
        // Who lags holds nobody back: without that the first would never be told to wait.
        while self.complaints.is_empty() && self.say(SENDER, self.payload.clone()) {}
    }

    /// Whether it could be sent.
    fn say(&mut self, who: usize, payload: Bytes) -> bool {
        let me = self.engines[who].me();
        let before = self.engines[who].delivered().get(me);
        let (ticket, kind, sent_at) = (0, Kind::App, 0);
        self.give(
            who,
            Input::Send {
                ticket,
                kind,
                payload,
                sent_at,
            },
        );
        let last = self.engines[who].delivered().get(me);
        if who == SENDER && last == before {
            let slowest = self.acked[1..].iter().min().expect("not alone");
            self.ahead = (last - slowest) * PAYLOAD as u64;
        }
        last > before
    }

    fn give(&mut self, nth: usize, input: Input) {
        for output in self.engines[nth].handle(input, self.now) {
            match output {
                Output::Send { to, frame } => self.carry(nth, to, frame, SMALL),
                Output::Push { to, batch } => {
                    let bytes = self.engines[nth].encode_own(batch).concat().len() as u64;
                    let frame = Frame::Push(self.engines[nth].own_run(batch));
                    if nth == SENDER {
                        let under_way = self.under_way.entry(seat(to)).or_default();
                        under_way.push(batch.upto);
                        self.most_under_way = self.most_under_way.max(under_way.len());
                    }
                    self.carry(nth, to, frame, bytes + SMALL);
                }
                Output::Deliver { piece, .. } => piece
                    .messages()
                    .for_each(|message| self.delivered(nth, message.dot, message.payload.len())),
                Output::Acked { by, seq } if nth == SENDER => {
                    self.acked[seat(by)] = seq;
                    self.under_way.entry(seat(by)).or_default().retain(|upto| *upto > seq);
                }
                Output::Notice(notice @ (Notice::Lagging { .. } | Notice::Silent(_) | Notice::Gap(_))) => {
                    self.complaints.push(format!("{} us: {notice:?}", self.now));
                }
                _ => {}
            }
        }
    }

    fn delivered(&mut self, nth: usize, dot: Dot, bytes: usize) {
        if dot.origin == self.engines[nth].me() {
            self.sent_at.insert(dot, self.now);
            return;
        }
        self.brought[nth] += bytes as u64;
        let delay = self.now - self.sent_at[&dot];
        let longest = self.delays.entry((seat(dot.origin), nth)).or_default();
        *longest = delay.max(*longest);
    }

    fn carry(&mut self, from: usize, to: MemberId, frame: Frame, bytes: u64) {
        let to = seat(to);
        let line = self.lines.get_mut(&(from, to)).expect("a line from each to each");
        let at = line.carry(bytes, self.now);
        self.queue.push(at, Coming { from, to, frame });
    }
}

fn seat(member: MemberId) -> usize {
    (member.0[15] - 1) as usize
}
