//! A judge must be known to judge: hand-made histories, good ones and one for each way to go wrong.

use super::*;

/// One thing that a made-up member does. Stamps are right unless the deed says otherwise.
#[derive(Clone, Debug)]
enum Deed {
    /// The member begins with this cut.
    Opens(Who, [u32; 3]),
    /// A sponsor hands a cut to a joiner.
    Grants(Who, Who, [u32; 3]),
    /// Sends its next message, and delivers it.
    Says(Who),
    /// The same, with a Lamport time of the tester's choice.
    SaysAt(Who, u64),
    /// The same, with a clock of the tester's choice.
    SaysWith(Who, [u32; 3]),
    /// Sends its leave.
    Leaves(Who),
    /// Delivers a message of another.
    Hears(Who, Who, u32),
    /// The same, with other bytes.
    HearsForged(Who, Who, u32),
    /// The same, with a clock that has one entry more.
    HearsMore(Who, Who, u32),
    /// The same, a Lamport tick later.
    HearsLater(Who, Who, u32),
    /// Is told that its send is done.
    Claims(Who, u32),
    /// Rests, and says that it has this.
    Rests(Who, [u32; 3]),
    /// Holds the first for want of the second.
    Holds(Who, (Who, u32), (Who, u32)),
    /// Believes that another has the message.
    Acked(Who, Who, (Who, u32)),
    /// These stayed to the end.
    Stayed(&'static [Who]),
    /// Everything is sorted.
    Sorted,
}
use Deed::*;

struct Stage {
    judge: Judge,
    lamport: [u64; 3],
}

fn dot((origin, seq): (Who, u32)) -> Dot {
    Dot { origin, seq }
}

fn text(dot: Dot) -> Bytes {
    Bytes::from(dot.to_string())
}

impl Stage {
    fn play(&mut self, deed: &Deed) -> Verdict {
        match *deed {
            Opens(who, cut) => self.judge.opens(who, &cut),
            Grants(sponsor, joiner, cut) => self.judge.grants(sponsor, joiner, &cut),
            Says(who) => self.says(who, Sort::App, None, None),
            SaysAt(who, lamport) => self.says(who, Sort::App, Some(lamport), None),
            SaysWith(who, clock) => self.says(who, Sort::App, None, Some(clock)),
            Leaves(who) => self.says(who, Sort::Leave, None, None),
            Hears(who, origin, seq) => self.hears(who, dot((origin, seq)), |_| {}),
            HearsForged(who, origin, seq) => self.hears(who, dot((origin, seq)), |was| was.0 = "forged".into()),
            HearsMore(who, origin, seq) => self.hears(who, dot((origin, seq)), |was| was.2[2] += 1),
            HearsLater(who, origin, seq) => self.hears(who, dot((origin, seq)), |was| was.1 += 1),
            Claims(who, seq) => self.judge.claims(who, dot((who, seq)), &text(dot((who, seq)))),
            Rests(who, delivered) => self.judge.rests(who, &delivered),
            Holds(who, held, needs) => self.judge.holds(who, dot(held), dot(needs)),
            Acked(at, of, of_dot) => self.judge.believed("P4", at, of, dot(of_dot)),
            Stayed(who) => self.judge.agreed(who),
            Sorted => self.judge.canonical(&[0, 1, 2]),
        }
    }

    fn says(&mut self, who: Who, sort: Sort, lamport: Option<u64>, clock: Option<[u32; 3]>) -> Verdict {
        let dot = Dot {
            origin: who,
            seq: self.judge.sent(who) + 1,
        };
        let mut right = self.judge.minds[who].has.clone();
        right[who] = dot.seq;
        self.lamport[who] = lamport.unwrap_or(self.lamport[who].max(self.judge.minds[who].lamport) + 1);
        let bytes = text(dot);
        let clock = clock.map_or(right, Vec::from);
        let heard = Heard {
            dot,
            sort,
            lamport: self.lamport[who],
            bytes: &bytes,
            clock: &clock,
        };
        self.judge.delivers(who, &heard)
    }

    fn hears(&mut self, who: Who, dot: Dot, tamper: impl FnOnce(&mut (Bytes, u64, Vec<u32>))) -> Verdict {
        let known = (dot.seq as usize) <= self.judge.sent[dot.origin].len();
        let mut parts = match known {
            true => {
                let sent = &self.judge.sent[dot.origin][dot.seq as usize - 1];
                (sent.bytes.clone(), sent.lamport, self.judge.past(dot).to_vec())
            }
            false => (text(dot), 99, vec![0; 3]),
        };
        tamper(&mut parts);
        let heard = Heard {
            dot,
            sort: Sort::App,
            lamport: parts.1,
            bytes: &parts.0,
            clock: &parts.2,
        };
        self.judge.delivers(who, &heard)
    }
}

/// Plays the deeds after three members opened at the empty cut. Only the last deed may break a rule.
fn check(expected: Option<&str>, deeds: &[Deed]) {
    let opening = (0..3).map(|who| Opens(who, [0; 3])).collect::<Vec<_>>();
    check_bare(expected, &[&opening, deeds].concat());
}

fn check_bare(expected: Option<&str>, deeds: &[Deed]) {
    let mut stage = Stage {
        judge: Judge::new(3),
        lamport: [0; 3],
    };
    let (last, before) = deeds.split_last().expect("a history");
    for deed in before {
        assert_eq!(stage.play(deed), Ok(()), "at {deed:?} of {deeds:?}");
    }
    let verdict = stage.play(last);
    assert_eq!(
        verdict.as_ref().err().map(|no| no.rule),
        expected,
        "{verdict:?} in {deeds:?}"
    );
}

#[test]
fn good_histories_pass() {
    check(
        None,
        &[
            Says(0),
            Hears(1, 0, 1),
            Says(1),
            Hears(2, 0, 1),
            Hears(2, 1, 1),
            Hears(0, 1, 1),
            Stayed(&[0, 1, 2]),
        ],
    );
    check(None, &[Says(0), Claims(0, 1), Rests(0, [1, 0, 0]), Says(1), Sorted]);
    check(None, &[Says(0), Hears(1, 0, 1), Says(1), Holds(2, (1, 1), (0, 1))]);
    check(None, &[Says(0), Hears(1, 0, 1), Acked(0, 1, (0, 1))]);
    // Who left is owed only that all who stayed have equally much of it.
    check(None, &[Says(0), Leaves(0), Stayed(&[1, 2])]);
    let joiner = [
        Opens(0, [0; 3]),
        Says(0),
        Grants(0, 2, [1, 0, 0]),
        Opens(2, [1, 0, 0]),
        Says(2),
        Claims(2, 1),
        Rests(2, [1, 0, 1]),
    ];
    check_bare(None, &joiner);
}

#[test]
fn inventions_and_changes_are_caught() {
    check(Some("S1"), &[Hears(1, 0, 1)]);
    check(Some("S1"), &[Says(0), Rests(0, [1, 0, 0])]);
    check(Some("S10"), &[Says(0), HearsForged(1, 0, 1)]);
    check(Some("S1"), &[Holds(1, (0, 1), (2, 1))]);
}

#[test]
fn repetitions_and_holes_are_caught() {
    check(Some("S2"), &[Says(0), Hears(1, 0, 1), Hears(1, 0, 1)]);
    check(Some("S3"), &[Says(0), Says(0), Hears(1, 0, 2)]);
    let below = [
        Opens(0, [0; 3]),
        Says(0),
        Grants(0, 2, [1, 0, 0]),
        Opens(2, [1, 0, 0]),
        Hears(2, 0, 1),
    ];
    check_bare(Some("S2"), &below);
    check(Some("S5"), &[Leaves(0), Says(0)]);
}

#[test]
fn an_answer_before_its_question_is_caught() {
    check(Some("S4"), &[Says(0), Hears(1, 0, 1), Says(1), Hears(2, 1, 1)]);
}

#[test]
fn cuts_that_are_not_closed_are_caught() {
    let answered = [Opens(0, [0; 3]), Opens(1, [0; 3]), Says(0), Hears(1, 0, 1), Says(1)];
    check_bare(Some("S6"), &[&answered[..], &[Grants(1, 2, [0, 1, 0])]].concat());
    check_bare(Some("S6"), &[&answered[..], &[Grants(0, 2, [1, 1, 0])]].concat());
    check_bare(Some("S6"), &[&answered[..], &[Opens(2, [1, 0, 0])]].concat());
    check_bare(Some("S6"), &[Grants(0, 2, [1, 0, 0])]);
    check_bare(Some("S6"), &[Opens(0, [0; 3]), Says(0), Hears(1, 0, 1)]);
}

#[test]
fn missing_messages_are_caught() {
    check(Some("S7"), &[Says(0), Hears(1, 0, 1), Stayed(&[0, 1, 2])]);
    check(Some("S7"), &[Says(0), Hears(1, 0, 1), Stayed(&[1, 2])]);
    check(Some("P4"), &[Says(0), Acked(0, 1, (0, 1))]);
}

#[test]
fn idle_holding_is_caught() {
    check(Some("S13"), &[Says(0), Holds(1, (0, 1), (0, 1))]);
    check(Some("S13"), &[Says(0), Hears(1, 0, 1), Holds(1, (0, 1), (2, 1))]);
    check(
        Some("S13"),
        &[Says(0), Hears(1, 0, 1), Says(1), Holds(2, (1, 1), (2, 1))],
    );
    check(Some("S13"), &[Says(0), Claims(0, 1), Rests(0, [2, 0, 0])]);
}

#[test]
fn sends_without_self_delivery_are_caught() {
    check(Some("P3"), &[Claims(0, 1)]);
    check(Some("P3"), &[Says(0), Claims(0, 1), Claims(0, 1)]);
}

#[test]
fn wrong_stamps_are_caught() {
    check(Some("clock"), &[Says(0), HearsMore(1, 0, 1)]);
    check(Some("clock"), &[Says(0), Hears(1, 0, 1), SaysWith(1, [0, 1, 0])]);
    check(Some("P12"), &[Says(0), HearsLater(1, 0, 1)]);
    check(Some("P12"), &[SaysAt(0, 5), Hears(1, 0, 1), SaysAt(1, 5)]);
}
