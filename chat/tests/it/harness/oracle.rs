//! The judge. It knows the JSON lines of all processes and what each was told to say, nothing else.
//!
//! Causality is rebuilt from the logs: what a process had printed before it printed a message of its own is that
//! message's past. Clocks and Lamport times are never used to decide; they are checked against the result.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// All that one process printed, until it ended or until now.
pub struct Log {
    pub lines: Vec<Value>,
    /// Whether it ended by itself, so that the last line is `bye`.
    pub ended: bool,
}

/// Origin and number.
type Dot = (String, u64);

/// What one process saw: its own identity, the cut at its own join, and the dots after it, in order.
struct Sight<'a> {
    me: String,
    cut: BTreeMap<String, u64>,
    seen: Vec<(Dot, &'a Value)>,
}

/// Panics at the first thing that must not be.
pub fn judge(logs: &[Log]) {
    judge_survivors(logs, &[]);
}

/// The same where some were killed: what they printed is held against everything but agreement, since their last
/// messages may have died with them.
pub fn judge_survivors(logs: &[Log], killed: &[Log]) {
    let everyone = || logs.iter().chain(killed);
    everyone().for_each(check_stream);
    let sights: Vec<_> = everyone().map(|log| sight(&log.lines)).collect();
    sights.iter().for_each(check_each_once_and_in_order);
    check_same_everywhere(&sights);
    let pasts = pasts(&sights);
    for sight in &sights {
        check_causal(sight, &pasts);
    }
    check_agreement(&sights[..logs.len()]);
}

/// `n` counts without gaps; `hello` is first, `bye` is last.
fn check_stream(log: &Log) {
    for (line, n) in log.lines.iter().zip(1..) {
        assert_eq!(line["n"], n, "gap in {line}");
        assert!(!line.to_string().contains("?#"), "somebody has no name in {line}");
    }
    assert_eq!(log.lines[0]["type"], "hello");
    if log.ended {
        assert_eq!(log.lines.last().expect("not empty")["type"], "bye");
    }
}

fn sight(lines: &[Value]) -> Sight<'_> {
    let own = lines
        .iter()
        .position(|line| line["type"] == "join" && line["self"] == true);
    let own = own.expect("the own join is printed");
    let me = lines[own]["from"]["id"].as_str().expect("an id").to_owned();
    let mut cut = clock(&lines[own]);
    cut.remove(&me);
    let seen = lines[own..].iter().flat_map(|line| {
        let kind = line["type"].as_str().unwrap_or("");
        let dots = match kind {
            "join" | "message" | "leave" | "control" => vec![dot(line["id"].as_str().expect("an id"))],
            // What is told as lost stands where it would have been printed, so that it must be exactly what is lacking.
            "gap" => gap(line),
            _ => Vec::new(),
        };
        assert!(
            dots.is_empty() || line["replay"] != true,
            "replayed after the own join: {line}"
        );
        dots.into_iter().map(move |dot| (dot, line))
    });
    Sight {
        me,
        cut,
        seen: seen.collect(),
    }
}

fn gap(line: &Value) -> Vec<Dot> {
    let spans = line["dots"].as_array().expect("spans").iter();
    let dots = spans.flat_map(|span| {
        let origin = span["origin"].as_str().expect("an id");
        let (from, to) = (
            span["from"].as_u64().expect("a number"),
            span["to"].as_u64().expect("a number"),
        );
        (from..=to).map(move |seq| (origin.to_owned(), seq))
    });
    dots.collect()
}

fn is_gap(line: &Value) -> bool {
    line["type"] == "gap"
}

/// P2 and S3: each dot once, and each origin's in order from the cut on.
fn check_each_once_and_in_order(sight: &Sight<'_>) {
    let mut next = sight.cut.clone();
    for ((origin, seq), line) in &sight.seen {
        let last = next.entry(origin.clone()).or_insert(0);
        assert_eq!(*seq, *last + 1, "{} printed {line}", sight.me);
        *last = *seq;
    }
}

/// P2, S10: one id is one message, with one stamp, on every screen.
fn check_same_everywhere(sights: &[Sight<'_>]) {
    let mut known: BTreeMap<&Dot, &Value> = BTreeMap::new();
    let printed = sights.iter().flat_map(|sight| &sight.seen);
    for (dot, line) in printed.filter(|(_, line)| !is_gap(line)) {
        let first = known.entry(dot).or_insert(line);
        for key in [
            "type", "text", "kind", "reply_to", "reason", "lamport", "clock", "from", "room",
        ] {
            assert_eq!(first[key], line[key], "{key} differs in {first} and {line}");
        }
    }
}

/// What each process had printed before each message of its own.
fn pasts(sights: &[Sight<'_>]) -> BTreeMap<Dot, BTreeMap<String, u64>> {
    let mut pasts = BTreeMap::new();
    for sight in sights {
        let mut past = sight.cut.clone();
        for (dot, line) in &sight.seen {
            past.insert(dot.0.clone(), dot.1);
            if dot.0 == sight.me {
                assert!(!is_gap(line), "{} lost its own: {line}", sight.me);
                assert_eq!(clock(line), past, "the clock is not what was delivered before: {line}");
                pasts.insert(dot.clone(), past.clone());
            }
        }
    }
    pasts
}

/// P1 and P12: whatever was printed before a message was sent, is printed before it here, and has a lower time.
fn check_causal(sight: &Sight<'_>, pasts: &BTreeMap<Dot, BTreeMap<String, u64>>) {
    let mut here = sight.cut.clone();
    let mut times: BTreeMap<Dot, u64> = BTreeMap::new();
    for (dot, line) in &sight.seen {
        here.insert(dot.0.clone(), dot.1);
        if is_gap(line) {
            continue;
        }
        let time = line["lamport"].as_u64().expect("a number");
        if let Some(past) = pasts.get(dot) {
            for (origin, seq) in past {
                let have = here.get(origin).copied().unwrap_or(0);
                assert!(have >= *seq, "{} printed {line} before {origin}:{seq}", sight.me);
                if (origin, seq) != (&dot.0, &dot.1)
                    && let Some(before) = times.get(&(origin.clone(), *seq))
                {
                    assert!(*before < time, "{origin}:{seq} is not before {line}");
                }
            }
        }
        times.insert(dot.clone(), time);
    }
}

/// P4, for processes that were together to the end: what one printed after the other's cut, the other printed or told
/// as lost, unless that one left before.
fn check_agreement(sights: &[Sight<'_>]) {
    for one in sights {
        for other in sights.iter().filter(|other| !has_left(other)) {
            let there: BTreeSet<&Dot> = other.seen.iter().map(|(dot, _)| dot).collect();
            for (dot, line) in &one.seen {
                let in_cut = other.cut.get(&dot.0).is_some_and(|seq| *seq >= dot.1);
                assert!(in_cut || there.contains(dot), "{} lacks {line}", other.me);
            }
        }
    }
}

fn has_left(sight: &Sight<'_>) -> bool {
    sight
        .seen
        .iter()
        .any(|(dot, line)| dot.0 == sight.me && line["type"] == "leave")
}

fn clock(line: &Value) -> BTreeMap<String, u64> {
    let entries = line["clock"].as_object().expect("a clock").iter();
    entries
        .map(|(id, seq)| (id.clone(), seq.as_u64().expect("a number")))
        .collect()
}

fn dot(id: &str) -> Dot {
    let (origin, seq) = id.rsplit_once(':').expect("member:number");
    (origin.to_owned(), seq.parse().expect("a number"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn log(me: &str, cut: Value, dots: &[(&str, Value, u64)]) -> Log {
        let mut lines = vec![json!({"type": "hello", "n": 1})];
        let mut own = cut;
        own[me] = json!(1);
        lines.push(
            json!({"type": "join", "self": true, "from": {"id": me}, "id": format!("{me}:1"),
            "lamport": 9, "clock": own}),
        );
        for (id, clock, lamport) in dots {
            lines.push(json!({"type": "message", "id": id, "clock": clock, "lamport": lamport}));
        }
        for (nth, line) in lines.iter_mut().enumerate() {
            line["n"] = json!(nth + 1);
        }
        Log { lines, ended: false }
    }

    fn question_and_answer(swapped: bool) -> [Log; 3] {
        let (ana, bob, cyd) = ("ana#00000001", "bob#00000002", "cyd#00000003");
        let all = json!({ana: 1, bob: 1, cyd: 1});
        let question = json!({ana: 2, bob: 1, cyd: 1});
        let answer = json!({ana: 2, bob: 2, cyd: 1});
        let (q, a) = (("ana#00000001:2", question, 10), ("bob#00000002:2", answer, 11));
        let at_cyd = if swapped {
            [a.clone(), q.clone()]
        } else {
            [q.clone(), a.clone()]
        };
        [
            log(ana, all.clone(), &[q.clone(), a.clone()]),
            log(bob, all.clone(), &[q, a]),
            log(cyd, all, &at_cyd),
        ]
    }

    #[test]
    fn the_judge_passes_what_is_right() {
        judge(&question_and_answer(false));
    }

    #[test]
    #[should_panic(expected = "before ana#00000001:2")]
    fn the_judge_finds_an_answer_before_its_question() {
        judge(&question_and_answer(true));
    }

    #[test]
    #[should_panic(expected = "lacks")]
    fn the_judge_finds_what_is_missing() {
        let mut logs = question_and_answer(false);
        logs[2].lines.pop();
        judge(&logs);
    }

    #[test]
    fn the_judge_takes_an_exact_gap_for_a_message() {
        let mut logs = question_and_answer(false);
        logs[2].lines[2] = json!({"type": "gap", "n": 3, "dots": [{"origin": "ana#00000001", "from": 2, "to": 2}]});
        judge(&logs);
    }

    #[test]
    #[should_panic(expected = "printed")]
    fn the_judge_finds_a_gap_that_names_too_much() {
        let mut logs = question_and_answer(false);
        logs[2].lines[2] = json!({"type": "gap", "n": 3, "dots": [{"origin": "ana#00000001", "from": 1, "to": 2}]});
        judge(&logs);
    }

    #[test]
    fn the_judge_asks_nobody_for_what_died_with_its_sender() {
        let mut logs = question_and_answer(false);
        for log in &mut logs[1..] {
            log.lines.truncate(2);
        }
        logs[0].lines.truncate(3);
        let [killed, bob, cyd] = logs;
        judge_survivors(&[bob, cyd], &[killed]);
    }

    #[test]
    #[should_panic(expected = "printed")]
    fn the_judge_finds_a_duplicate() {
        let mut logs = question_and_answer(false);
        let mut again = logs[2].lines[3].clone();
        again["n"] = json!(5);
        logs[2].lines.push(again);
        judge(&logs);
    }
}
