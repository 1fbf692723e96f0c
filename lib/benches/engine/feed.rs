//! What others send to member 0, with true clocks, all in order.

use bytes::Bytes;
use multicast::{Entry, Kind, MemberId, Past, Run};

pub(crate) const PAYLOAD: usize = 64;
/// Entries that change from one message of a member to its next.
pub(crate) const CHANGED: usize = 4;

pub(crate) struct Feed {
    /// Who pushes what.
    pub(crate) runs: Vec<(MemberId, Bytes)>,
    pub(crate) messages: usize,
    /// Runs that only prepare what is measured.
    pub(crate) before: usize,
}

/// The `nth` member, from 0, who only listens.
pub(crate) fn member(nth: usize) -> MemberId {
    MemberId::from(nth as u128 + 1)
}

impl Feed {
    /// Members in turn send bursts; each has seen all bursts before.
    pub(crate) fn bursts(members: usize, messages_per_run: usize, messages: usize) -> Self {
        let mut writer = Writer::new(members);
        while writer.feed.messages < messages {
            let from = writer.turn();
            let seen = (1..members).filter(|other| *other != from).collect();
            writer.run(from, seen, messages_per_run);
        }
        writer.feed
    }

    /// Members in turn send one message, each having seen the four before it. Once, before, everyone has seen
    /// everyone, so that clocks are full.
    pub(crate) fn replies(members: usize, messages: usize) -> Self {
        let mut writer = Writer::new(members);
        let others = members - 1;
        for _ in 0..2 * others {
            let from = writer.turn();
            let all = (1..members).filter(|other| *other != from).collect();
            writer.run(from, all, 1);
        }
        writer.feed.before = writer.feed.runs.len();
        for _ in 0..messages {
            let from = writer.turn();
            let seen = (1..=CHANGED.min(others - 1)).map(|back| (from - 1 + others - back) % others + 1);
            let seen = seen.collect();
            writer.run(from, seen, 1);
        }
        writer.feed
    }
}

struct Writer {
    feed: Feed,
    /// Messages of each member so far.
    sent: Vec<u64>,
    lamport: u64,
    last: usize,
}

impl Writer {
    fn new(members: usize) -> Self {
        let feed = Feed {
            runs: Vec::new(),
            messages: 0,
            before: 0,
        };
        Self {
            feed,
            sent: vec![0; members],
            lamport: 0,
            last: 0,
        }
    }

    /// Whose turn it is: everyone but member 0.
    fn turn(&mut self) -> usize {
        self.last = self.last % (self.sent.len() - 1) + 1;
        self.last
    }

    /// A run whose first message has seen all that those members sent.
    fn run(&mut self, from: usize, mut seen: Vec<usize>, messages: usize) {
        seen.retain(|other| self.sent[*other] > 0);
        seen.sort_unstable();
        let list: Vec<_> = seen.iter().map(|other| (member(*other), self.sent[*other])).collect();
        let first = self.sent[from] + 1;
        let past = if first == 1 {
            Past::Full(list)
        } else {
            Past::Changes(list)
        };
        let mut pasts = std::iter::once(past).chain(std::iter::repeat_with(|| Past::Changes(Vec::new())));
        let entries = (0..messages).map(|_| {
            self.lamport += 1;
            Entry {
                lamport: self.lamport,
                sent_at: 1_790_000_000_000_000 + self.lamport,
                kind: Kind::App,
                past: pasts.next().expect("endless"),
                payload: Bytes::from_static(&[0xa5; PAYLOAD]),
            }
        });
        let run = Run::new(member(from), first, entries.collect());
        self.sent[from] += messages as u64;
        self.feed.messages += messages;
        self.feed.runs.push((member(from), run.encode()));
    }
}
