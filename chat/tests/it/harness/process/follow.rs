//! Reading along while processes run: long logs are read once, not once per question.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Chat, PATIENCE, Printed};
use crate::harness::Log;

/// How long one process is listened to before the next gets its turn: there is no wait for several at once.
const TURN: Duration = Duration::from_millis(10);

/// What one process has said so far about the group.
pub struct Watch {
    printed: Arc<Printed>,
    read: usize,
    /// The last number of each origin that was printed, or told as lost.
    pub has: BTreeMap<String, u64>,
    /// Who is closed now, at which number.
    pub closed: BTreeMap<String, u64>,
    /// Who was closed and came back.
    pub reopened: BTreeSet<String>,
    pub texts: BTreeSet<String>,
    /// When the last message was delivered there, in its own words.
    pub last_at: String,
}

impl Watch {
    pub fn new(chat: &Chat) -> Self {
        Self {
            printed: chat.printed.clone(),
            read: 0,
            has: BTreeMap::new(),
            closed: BTreeMap::new(),
            reopened: BTreeSet::new(),
            texts: BTreeSet::new(),
            last_at: String::new(),
        }
    }

    /// Takes in what is there; waits a little if it is nothing.
    pub fn read_on(&mut self) {
        let mut state = self.printed.state.lock().unwrap();
        if state.0.len() == self.read && !state.1 {
            state = self.printed.changed.wait_timeout(state, TURN).unwrap().0;
        }
        let news = state.0[self.read..].iter();
        // Under load most lines are these, and nobody asks for them here.
        let news: Vec<_> = news
            .filter(|line| !line.starts_with(r#"{"type":"ack""#))
            .cloned()
            .collect();
        self.read = state.0.len();
        drop(state);
        for line in news {
            let line = serde_json::from_str(&line).unwrap_or_else(|trouble| panic!("{trouble} in {line}"));
            self.take(&line);
        }
    }

    fn take(&mut self, line: &Value) {
        let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
        match text("type").as_str() {
            "join" | "message" | "leave" | "control" => {
                let (origin, seq) = text("id")
                    .rsplit_once(':')
                    .map(|(o, s)| (o.to_owned(), s.to_owned()))
                    .unwrap();
                self.has.insert(origin, seq.parse().expect("a number"));
                if line["type"] == "message" {
                    self.texts.insert(text("text"));
                    self.last_at = text("at");
                }
            }
            "gap" => {
                for span in line["dots"].as_array().expect("spans") {
                    let origin = span["origin"].as_str().expect("an id").to_owned();
                    self.has.insert(origin, span["to"].as_u64().expect("a number"));
                }
            }
            "closed" => {
                self.closed
                    .insert(text("origin"), line["last_seq"].as_u64().expect("a number"));
            }
            "peer" if line["state"] == "up" && self.closed.remove(&text("peer")).is_some() => {
                self.reopened.insert(text("peer"));
            }
            _ => {}
        }
    }
}

/// Reads along with all until it fits. Panics, saying where they stand, if that does not happen.
pub fn watch_until(what: &str, watches: &mut [Watch], fits: impl Fn(&[Watch]) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !fits(watches) {
        let stand = || {
            watches
                .iter()
                .map(|watch| format!("has {:?}, closed {:?}\n", watch.has, watch.closed))
        };
        assert!(Instant::now() < deadline, "no {what}:\n{}", stand().collect::<String>());
        watches.iter_mut().for_each(Watch::read_on);
    }
}

/// How many messages wait for a cause, by the answer to `/held`.
pub fn held(chat: &mut Chat) -> u64 {
    chat.ask(json!({"do": "held", "ref": "held"}));
    let answer = chat.wait_line("answer to /held", |line| {
        let is_it = line.contains(r#""type":"held""#) && line.contains(r#""ref":"held""#);
        is_it.then(|| super::parsed(line))
    });
    answer["held"].as_u64().expect("a number")
}

impl Chat {
    /// What a killed process printed. Its last line may be half of one.
    pub fn into_killed_log(mut self) -> Log {
        self.wait();
        let mut lines = self.lines();
        if lines
            .last()
            .is_some_and(|last| serde_json::from_str::<Value>(last).is_err())
        {
            lines.pop();
        }
        Log {
            lines: lines.iter().map(|line| super::parsed(line)).collect(),
            ended: false,
        }
    }
}
