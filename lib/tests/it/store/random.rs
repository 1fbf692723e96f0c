//! A store beside the one in memory: the same changes, drawn at random, and the same answers.

use bytes::Bytes;
use multicast::store::{Change, MemoryStore, Page, Store, Stored};
use multicast::{Clock, Dot, GroupId, Kind};

use super::member;
use crate::sim::Rng;

const WORDS: [&str; 6] = ["lunch", "at", "one", "Äpfel", "no", "x1"];
const KEYS: [&str; 3] = ["roster", "own", "clocks"];
const KINDS: [Kind; 5] = [Kind::App, Kind::Join, Kind::Leave, Kind::Retire, Kind::Call];

/// What was done so far, so that places have no holes and a dot has one content.
#[derive(Clone)]
pub(crate) struct Draw {
    rng: Rng,
    groups: Vec<(GroupId, u64)>,
}

/// Makes `rounds` batches of changes to both; compares everything that can be asked.
pub(crate) fn agrees_with_memory(store: &mut dyn Store, seed: u64, rounds: u64) {
    let mut memory = MemoryStore::new().open().expect("it is free");
    let mut draw = Draw::new(seed);
    for round in 0..rounds {
        let changes = draw.batch();
        store.apply(&changes).expect("written");
        memory.apply(&changes).expect("written");
        for group in Vec::from_iter(draw.groups()) {
            let at = format!("seed {seed}, round {round}, {changes:?}");
            let budget = draw.rng.below(2000);
            assert_eq!(store.load(group, budget), memory.load(group, budget), "{at}");
            assert_eq!(store.size(group), memory.size(group), "{at}");
            let limit = draw.rng.below(9) as usize;
            let canonical = draw.rng.percent(70).then(|| draw.message(0).canonical());
            let after = draw.rng.below(30);
            for page in [
                Page::Delivered { after },
                Page::After(canonical),
                Page::Before(canonical),
            ] {
                assert_eq!(
                    store.read(group, page, limit),
                    memory.read(group, page, limit),
                    "{page:?}, {at}"
                );
            }
            let dot = draw.message(0).dot;
            assert_eq!(store.get(group, dot), memory.get(group, dot), "{dot}, {at}");
            let words = draw.text();
            let found = store.search(group, &words, canonical, limit);
            assert_eq!(found, memory.search(group, &words, canonical, limit), "{words}, {at}");
        }
    }
}

impl Draw {
    pub(crate) fn new(seed: u64) -> Self {
        let groups = ["lobby", "ops"].map(|name| (GroupId::named(&format!("{name} of {seed}")), 0));
        Self {
            rng: Rng::new(seed),
            groups: groups.to_vec(),
        }
    }

    pub(crate) fn groups(&self) -> impl Iterator<Item = GroupId> + use<> {
        self.groups.clone().into_iter().map(|(group, _)| group)
    }

    pub(crate) fn batch(&mut self) -> Vec<Change> {
        (0..self.rng.between(1, 8)).map(|_| self.change()).collect()
    }

    fn change(&mut self) -> Change {
        let nth = self.rng.below(2) as usize;
        let group = self.groups[nth].0;
        match self.rng.below(20) {
            0 | 1 => Change::Acknowledge {
                group,
                place: self.rng.below(30),
            },
            2 | 3 => Change::Note {
                group,
                key: self.rng.pick(&KEYS),
                value: Bytes::from(self.text()),
            },
            4 => Change::Prune {
                group,
                below: self.rng.below(40),
                keep_bytes: self.rng.below(4000),
                sent_before: self.rng.below(40),
            },
            5..9 => Change::Append {
                group,
                message: self.message(0),
            },
            _ => {
                self.groups[nth].1 += 1;
                // Of a member of its own for each place: nothing is delivered twice.
                let message = self.message(self.groups[nth].1);
                Change::Append { group, message }
            }
        }
    }

    /// Everything about it follows from its dot, and so does the dot of one that is delivered from its place; some of
    /// them are told as history before.
    fn message(&mut self, place: u64) -> Stored {
        let n = if place > 0 { place } else { self.rng.below(60) + 1 };
        let mut of = Rng::new(n);
        let dot = Dot {
            origin: member(of.below(5)),
            seq: n,
        };
        let mut text = Self {
            rng: of.clone(),
            groups: Vec::new(),
        };
        Stored {
            place,
            dot,
            lamport: n / 2 + of.below(3),
            sent_at: of.below(60),
            kind: if of.percent(70) { Kind::App } else { of.pick(&KINDS) },
            clock: Clock::from_iter([(dot.origin, n), (member(of.below(1 << 40)), of.below(1 << 50) + 1)]),
            payload: Bytes::from(text.text().repeat(of.below(30) as usize)),
            own: of.percent(30),
            proof: Bytes::from(vec![7; of.below(3) as usize]),
        }
    }

    fn text(&mut self) -> String {
        let words: Vec<&str> = (0..self.rng.below(4)).map(|_| self.rng.pick(&WORDS)).collect();
        words.join(", ")
    }
}
