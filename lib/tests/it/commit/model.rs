//! The model, its properties, its scopes and the mutants.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use multicast::commit::{Answer, Input, Outcome, Output, Party, Record, Request, Rules, TxnId, Vote};
use multicast::{JournalId, MemberId};
use stateright::{Checker, Model, Property};

/// What is to be explored.
#[derive(Clone, Debug)]
struct Scope {
    /// What each but the first says.
    votes: Vec<bool>,
    faults: Faults,
    rules: Rules,
}

/// How much may go wrong.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
struct Faults {
    losses: u8,
    repeats: u8,
    crashes: u8,
    /// How often somebody asks before it would have to.
    reminders: u8,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum Body {
    Request(Request),
    Answer(Answer),
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
struct Letter {
    from: MemberId,
    to: MemberId,
    body: Body,
}

/// One member over its lives.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Seat {
    nth: usize,
    life: u32,
    party: Option<Party>,
    /// What is on its disk.
    journal: Vec<Record>,
    /// What its application is to vote on.
    considers: BTreeSet<TxnId>,
    /// What its application was told, in all lives.
    told: BTreeSet<(TxnId, Outcome)>,
    /// The same, in this life.
    told_now: BTreeSet<TxnId>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct World {
    seats: Vec<Seat>,
    /// On their way, sorted, so that equal states are equal.
    letters: BTreeMap<Letter, u8>,
    left: Faults,
}

/// A step; with a number the member ends after so many of the outputs.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Step {
    Arrive(Letter, Option<usize>),
    Repeat(Letter),
    Lose(Letter),
    Vote(usize, TxnId, Option<usize>),
    Deadline(Option<usize>),
    Remind(usize),
    Crash(usize),
    Return(usize),
}

impl Seat {
    fn id_of(nth: usize, life: u32) -> MemberId {
        MemberId::from((nth as u128 + 1) * 100 + u128::from(life))
    }

    fn id(&self) -> MemberId {
        Self::id_of(self.nth, self.life)
    }

    fn journal_id(&self) -> JournalId {
        JournalId::from(self.nth as u128 + 1)
    }

    fn start(&mut self, rules: Rules) {
        self.life += 1;
        let opened = Record::Opened {
            journal: self.journal_id(),
            life: self.life,
        };
        let party = Party::with_rules(self.id(), (self.journal_id(), self.life), &self.journal, rules);
        self.journal.push(opened);
        // Its application hears of commits of former lives once more.
        let commits: Vec<_> = party.commits().map(|commit| commit.0).collect();
        self.told.extend(commits.iter().map(|txn| (*txn, Outcome::Committed)));
        self.told_now.extend(commits);
        self.party = Some(party);
    }
}

impl World {
    fn crash(&mut self, seat: usize) {
        let id = self.seats[seat].id();
        let dead = &mut self.seats[seat];
        dead.party = None;
        dead.considers.clear();
        dead.told_now.clear();
        // What is for the dead reaches nobody: its next life has another id.
        self.letters.retain(|letter, _| letter.to != id);
    }

    fn post(&mut self, letter: Letter) {
        *self.letters.entry(letter).or_default() += 1;
    }

    fn take(&mut self, letter: &Letter) {
        let count = self.letters.get_mut(letter).expect("it is under way");
        *count -= 1;
        if *count == 0 {
            self.letters.remove(letter);
        }
    }

    /// Does what comes out, all of it or a prefix.
    fn obey(&mut self, seat: usize, outputs: Vec<Output>, end_after: Option<usize>) {
        let count = end_after.unwrap_or(outputs.len());
        for output in outputs.into_iter().take(count) {
            self.obey_one(seat, output);
        }
        if end_after.is_some() {
            self.crash(seat);
        }
    }

    fn obey_one(&mut self, seat: usize, output: Output) {
        let from = self.seats[seat].id();
        match output {
            Output::Write(record) => self.seats[seat].journal.push(record),
            Output::Ask(request) => {
                let others: Vec<_> = self
                    .seats
                    .iter()
                    .filter(|other| other.party.is_some())
                    .map(Seat::id)
                    .collect();
                for to in others.into_iter().filter(|to| *to != from) {
                    let body = Body::Request(request.clone());
                    self.post(Letter { from, to, body });
                }
            }
            Output::Answer { to, answer } => {
                if self.seats.iter().any(|other| other.party.is_some() && other.id() == to) {
                    let body = Body::Answer(answer);
                    self.post(Letter { from, to, body });
                }
            }
            Output::Consider { txn, .. } => drop(self.seats[seat].considers.insert(txn)),
            Output::Decided { txn, outcome, .. } => {
                self.seats[seat].told.insert((txn, outcome));
                self.seats[seat].told_now.insert(txn);
            }
            Output::Voted { .. } | Output::Overheard { .. } => {}
        }
    }

    fn agrees(&self) -> bool {
        let told: BTreeSet<_> = self.seats.iter().flat_map(|seat| seat.told.iter()).collect();
        let txns: BTreeSet<_> = told.iter().map(|(txn, _)| *txn).collect();
        txns.len() == told.len()
    }

    /// What somebody does, everybody who was to do it does.
    fn is_done_by_all(&self) -> bool {
        let committed = (Scope::first(), Outcome::Committed);
        let done = self.seats.iter().filter(|seat| seat.told.contains(&committed)).count();
        done == 0 || done == self.seats.len()
    }

    fn undecided(&self) -> BTreeSet<TxnId> {
        let living = self.seats.iter().filter_map(|seat| seat.party.as_ref());
        living.flat_map(|party| party.doubts().map(|doubt| doubt.0)).collect()
    }

    /// Whether somebody who lives can say how it ended.
    fn is_known(&self, txn: TxnId) -> bool {
        self.seats.iter().any(|seat| {
            let heard = |record: &Record| matches!(record, Record::Heard { txn: heard, .. } if *heard == txn);
            let knows = txn.journal == seat.journal_id() || seat.told_now.contains(&txn);
            seat.party.is_some() && (knows || seat.journal.iter().any(heard))
        })
    }
}

impl Scope {
    fn input(&self, world: &mut World, seat: usize, input: Input, end_after: Option<usize>) {
        let party = world.seats[seat].party.as_mut().expect("it lives");
        let outputs = party.handle(input);
        world.obey(seat, outputs, end_after);
    }

    fn outputs(&self, world: &World, seat: usize, input: Input) -> usize {
        let mut party = world.seats[seat].party.clone().expect("it lives");
        party.handle(input).len()
    }

    fn vote(&self, seat: usize, txn: TxnId) -> Input {
        let vote = match self.votes[seat - 1] {
            true => Vote::Yes,
            false => Vote::No("taken".into()),
        };
        Input::Vote { txn, vote }
    }

    fn seat_of(world: &World, id: MemberId) -> Option<usize> {
        world
            .seats
            .iter()
            .position(|seat| seat.party.is_some() && seat.id() == id)
    }

    fn arrive(letter: &Letter) -> Input {
        let from = letter.from;
        match letter.body.clone() {
            Body::Request(request) => Input::Request { from, request },
            Body::Answer(answer) => Input::Answer { from, answer },
        }
    }

    fn first() -> TxnId {
        TxnId {
            journal: JournalId::from(1),
            life: 1,
            n: 1,
        }
    }

    /// Lets everything arrive and everybody ask, without faults; everybody comes back, or nobody.
    fn settle(&self, world: &World, all_return: bool) -> World {
        let mut world = world.clone();
        for seat in 0..world.seats.len() {
            if all_return && world.seats[seat].party.is_none() {
                world.seats[seat].start(self.rules);
            }
        }
        // Once for what is under way, once for what is asked then, and once more.
        for _ in 0..3 {
            self.deliver_all(&mut world);
            for seat in 0..world.seats.len() {
                if world.seats[seat].party.is_some() {
                    self.input(&mut world, seat, Input::Deadline { txn: Self::first() }, None);
                    self.deliver_all(&mut world);
                }
            }
            for seat in 0..world.seats.len() {
                if world.seats[seat].party.is_some() {
                    self.input(&mut world, seat, Input::Remind, None);
                }
            }
        }
        self.deliver_all(&mut world);
        world
    }

    fn deliver_all(&self, world: &mut World) {
        loop {
            while let Some(letter) = world.letters.keys().next().cloned() {
                world.take(&letter);
                if let Some(seat) = Self::seat_of(world, letter.to) {
                    self.input(world, seat, Self::arrive(&letter), None);
                }
            }
            let open = (0..world.seats.len()).find_map(|seat| {
                let txn = *world.seats[seat].considers.first()?;
                Some((seat, txn))
            });
            let Some((seat, txn)) = open else { return };
            world.seats[seat].considers.remove(&txn);
            self.input(world, seat, self.vote(seat, txn), None);
        }
    }

    fn resolves(&self, world: &World) -> bool {
        let whole = self.settle(world, true);
        let lonely = self.settle(world, false);
        let undecided = lonely.undecided();
        whole.agrees()
            && lonely.agrees()
            && whole.undecided().is_empty()
            && whole.is_done_by_all()
            && undecided.iter().all(|txn| !lonely.is_known(*txn))
    }

    /// All prefixes, and no end at all.
    fn ends(&self, world: &World, seat: usize, input: Input) -> Vec<Option<usize>> {
        let mut ends = vec![None];
        if world.left.crashes > 0 {
            ends.extend((1..=self.outputs(world, seat, input)).map(Some));
        }
        ends
    }
}

impl Model for Scope {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        let seat = |nth| {
            let mut seat = Seat {
                nth,
                life: 0,
                party: None,
                journal: Vec::new(),
                considers: BTreeSet::new(),
                told: BTreeSet::new(),
                told_now: BTreeSet::new(),
            };
            seat.start(self.rules);
            seat
        };
        let mut world = World {
            seats: (0..=self.votes.len()).map(seat).collect(),
            letters: BTreeMap::new(),
            left: self.faults,
        };
        let others = world.seats[1..].iter().map(Seat::id).collect();
        let party = world.seats[0].party.as_mut().expect("it lives");
        let (txn, outputs) = party
            .propose(Bytes::from_static(b"ops"), others)
            .expect("there is room");
        assert_eq!(txn, Self::first());
        world.obey(0, outputs, None);
        vec![world]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        for letter in world.letters.keys() {
            if let Some(seat) = Self::seat_of(world, letter.to) {
                let ends = self.ends(world, seat, Self::arrive(letter));
                steps.extend(ends.into_iter().map(|end| Step::Arrive(letter.clone(), end)));
            }
            if world.left.losses > 0 {
                steps.push(Step::Lose(letter.clone()));
            }
            if world.left.repeats > 0 {
                steps.push(Step::Repeat(letter.clone()));
            }
        }
        for (nth, seat) in world.seats.iter().enumerate() {
            if seat.party.is_none() {
                steps.push(Step::Return(nth));
                continue;
            }
            for txn in &seat.considers {
                let ends = self.ends(world, nth, self.vote(nth, *txn));
                steps.extend(ends.into_iter().map(|end| Step::Vote(nth, *txn, end)));
            }
            if world.left.crashes > 0 {
                steps.push(Step::Crash(nth));
            }
            if world.left.reminders > 0 && self.outputs(world, nth, Input::Remind) > 0 {
                steps.push(Step::Remind(nth));
            }
        }
        let deadline = Input::Deadline { txn: Self::first() };
        if world.seats[0].party.is_some() && self.outputs(world, 0, deadline.clone()) > 0 {
            let ends = self.ends(world, 0, deadline);
            steps.extend(ends.into_iter().map(Step::Deadline));
        }
    }

    fn next_state(&self, before: &World, step: Step) -> Option<World> {
        let mut world = before.clone();
        let ends = |end: &Option<usize>| u8::from(end.is_some());
        match step {
            Step::Arrive(letter, end) => {
                world.left.crashes -= ends(&end);
                world.take(&letter);
                let seat = Self::seat_of(&world, letter.to)?;
                self.input(&mut world, seat, Self::arrive(&letter), end);
            }
            Step::Repeat(letter) => {
                world.left.repeats -= 1;
                world.post(letter);
            }
            Step::Lose(letter) => {
                world.left.losses -= 1;
                world.take(&letter);
            }
            Step::Vote(seat, txn, end) => {
                world.left.crashes -= ends(&end);
                world.seats[seat].considers.remove(&txn);
                self.input(&mut world, seat, self.vote(seat, txn), end);
            }
            Step::Deadline(end) => {
                world.left.crashes -= ends(&end);
                self.input(&mut world, 0, Input::Deadline { txn: Self::first() }, end);
            }
            Step::Remind(seat) => {
                world.left.reminders -= 1;
                self.input(&mut world, seat, Input::Remind, None);
            }
            Step::Crash(seat) => {
                world.left.crashes -= 1;
                world.crash(seat);
            }
            Step::Return(seat) => world.seats[seat].start(self.rules),
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("agreement", |_, world: &World| world.agrees()),
            Property::always("resolves", |scope: &Self, world: &World| scope.resolves(world)),
        ]
    }
}

/// States, and what does not hold.
fn explore(votes: &[bool], faults: Faults, rules: Rules) -> (usize, Option<(&'static str, String)>) {
    let scope = Scope {
        votes: votes.to_vec(),
        faults,
        rules,
    };
    let checker = scope.checker().threads(2).spawn_dfs().join();
    let violation = checker.discoveries().into_iter().next();
    let words = violation.map(|(name, path)| (name, format!("{:#?}", path.into_actions())));
    (checker.unique_state_count(), words)
}

const CRASHES: Faults = Faults {
    losses: 0,
    repeats: 0,
    crashes: 2,
    reminders: 0,
};
const LOSSES: Faults = Faults {
    losses: 1,
    repeats: 1,
    crashes: 1,
    reminders: 1,
};

#[test]
fn nobody_commits_what_another_aborts() {
    let mut scopes: Vec<(&[bool], Faults)> = vec![
        (&[true, true], CRASHES),
        (&[true, false], CRASHES),
        (&[true, true], LOSSES),
        (&[true, false], LOSSES),
        (&[true, true, true], Faults { crashes: 1, ..CRASHES }),
    ];
    if std::env::var("MULTICAST_MODEL").is_ok_and(|value| value == "full") {
        let more = Faults { crashes: 2, ..LOSSES };
        scopes.extend([
            (&[true, true][..], Faults { crashes: 3, ..CRASHES }),
            (&[true, true], more),
            (&[true, false], more),
            (&[true, true, true], CRASHES),
            (&[true, true, false], CRASHES),
            (&[true, true, true], Faults { repeats: 0, ..LOSSES }),
        ]);
    }
    for (votes, faults) in scopes {
        let (states, violation) = explore(votes, faults, Rules::default());
        println!("{votes:?} {faults:?}: {states} states");
        if let Some((name, path)) = violation {
            panic!("{votes:?} {faults:?}: \"{name}\" fails\n{path}");
        }
    }
}

#[test]
fn mutants_are_found() {
    let rules = Rules::default();
    let mutants = [
        (
            "write_decision_first",
            Rules {
                write_decision_first: false,
                ..rules
            },
        ),
        (
            "write_yes_first",
            Rules {
                write_yes_first: false,
                ..rules
            },
        ),
        (
            "presume_abort",
            Rules {
                presume_abort: false,
                ..rules
            },
        ),
        (
            "refuse_for_good",
            Rules {
                refuse_for_good: false,
                ..rules
            },
        ),
        (
            "count_every_vote",
            Rules {
                count_every_vote: false,
                ..rules
            },
        ),
    ];
    for (name, rules) in mutants {
        let one = [(&[true, true], CRASHES), (&[true, true], LOSSES)];
        let found = one
            .iter()
            .find_map(|(votes, faults)| explore(&votes[..], *faults, rules).1);
        let Some((property, path)) = found else {
            panic!("nothing is noticed without {name}");
        };
        println!(
            "without {name}: \"{property}\" fails after {} lines",
            path.lines().count()
        );
    }
}
