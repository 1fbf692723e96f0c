//! What the liar makes of what an honest engine would say.

use std::collections::BTreeMap;

use bytes::Bytes;
use multicast::engine::{Engine, Frame, Pulled, Record, Standing, View};
use multicast::{Dot, Entry, GroupId, Head, Kind, Mark, MemberId, Past, Proof, Run, Seals, Signer, seal_run};

use crate::sim::Rng;

/// In what it lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Lie {
    /// Answers to pulls are altered, cut, and put under other names.
    Bend,
    /// They are empty.
    Withhold,
    /// It speaks under others' dots, unasked.
    Impersonate,
    /// Others get another history than some.
    Equivocate,
    /// Some get it with bad signatures.
    Scrawl,
    /// Some get it with bad signatures, and nobody else gets it; then it dies.
    Die,
    /// Two processes run on its key.
    Twins,
    /// It accuses others.
    Accuse,
}

impl Lie {
    pub(crate) const ALL: [Self; 8] = [
        Self::Bend,
        Self::Withhold,
        Self::Impersonate,
        Self::Equivocate,
        Self::Scrawl,
        Self::Die,
        Self::Twins,
        Self::Accuse,
    ];

    /// It shows in two signed histories.
    pub(crate) fn is_provable(self) -> bool {
        matches!(self, Self::Equivocate | Self::Twins)
    }
}

/// The liar's own memory.
pub(crate) struct Liar {
    pub(crate) lie: Lie,
    pub(crate) id: MemberId,
    pub(crate) signer: Signer,
    /// Who is told the other history.
    pub(crate) others: Vec<MemberId>,
    /// The heads of the other history.
    heads: BTreeMap<u64, Head>,
    /// From which seq on it differs.
    pub(crate) turns_at: u64,
    /// How often it lied.
    pub(crate) bent: u64,
}

impl Liar {
    pub(crate) fn new(lie: Lie, id: MemberId, group: GroupId, others: Vec<MemberId>, turns_at: u64) -> Self {
        Self {
            lie,
            id,
            signer: Signer::toy(id, group),
            others,
            heads: BTreeMap::from([(0, [0; 32])]),
            turns_at,
            bent: 0,
        }
    }

    /// Whether it pushes anything to that member.
    pub(crate) fn speaks_to(&self, to: MemberId) -> bool {
        self.lie != Lie::Die || self.others.contains(&to)
    }

    /// A run of its own that is about to be pushed to that member.
    pub(crate) fn pushes(&mut self, to: MemberId, run: Run) -> Run {
        let run_for_others = self.others.contains(&to);
        match self.lie {
            Lie::Equivocate if run_for_others => self.other_history(run),
            Lie::Scrawl | Lie::Die if run_for_others && run.last() >= self.turns_at => {
                self.bent += 1;
                let mut seals = run.seals().expect("signed").clone();
                seals
                    .segments
                    .iter_mut()
                    .flat_map(|sealed| &mut sealed.signature)
                    .for_each(|mark| mark.0[3] ^= 1);
                run.with_seals(seals)
            }
            _ => run,
        }
    }

    fn other_history(&mut self, run: Run) -> Run {
        let first = run.first();
        let Some(&prev) = self.heads.get(&(first - 1)) else {
            return run;
        };
        let (origin, turns_at) = (run.origin(), self.turns_at);
        let entries = run.entries().enumerate().map(|(nth, entry)| match first + nth as u64 {
            seq if seq >= turns_at && entry.kind == Kind::App => Entry {
                payload: other(&entry.payload),
                ..entry
            },
            _ => entry,
        });
        let run = Run::new(origin, first, entries.collect());
        self.bent += u64::from(run.last() >= turns_at);
        let (run, heads) = seal_run(run, &self.signer, prev).expect("can travel");
        for (nth, head) in heads.into_iter().enumerate() {
            self.heads.insert(first + nth as u64, head);
        }
        run
    }

    /// An answer of its own.
    pub(crate) fn answers(&mut self, mut pulled: Pulled, rng: &mut Rng) -> Pulled {
        match self.lie {
            Lie::Withhold | Lie::Die => {
                self.bent += 1;
                pulled = Pulled {
                    runs: Vec::new(),
                    gone: Vec::new(),
                    never: Vec::new(),
                    base: None,
                };
            }
            Lie::Bend => {
                self.bent += pulled.runs.len() as u64;
                let id = self.id;
                pulled.runs = pulled.runs.into_iter().map(|run| bend(id, run, rng)).collect();
            }
            _ => {}
        }
        pulled
    }

    /// What it says unasked, to whom.
    pub(crate) fn unasked(&mut self, engine: &Engine, honest: &[MemberId], rng: &mut Rng) -> Option<(MemberId, Frame)> {
        let (victim, to) = (pick(honest, rng), pick(honest, rng));
        let next = engine.delivered().get(victim) + 1 + rng.below(2);
        let lamport = engine.lamport() + 1;
        let past = engine.delivered().iter().filter(|entry| entry.0 != victim).collect();
        let entry = Entry {
            lamport,
            sent_at: 0,
            kind: Kind::App,
            past: Past::Full(past),
            payload: Bytes::from_static(b"never said"),
        };
        match self.lie {
            Lie::Impersonate => {
                self.bent += 1;
                let run = Run::new(victim, next, vec![entry]);
                let (run, _) = seal_run(run, &self.signer, [7; 32])?;
                let mut seals = run.seals()?.clone();
                if rng.percent(60) {
                    seals.key = Signer::toy(victim, self.signer.group()).key();
                }
                let run = if rng.percent(20) {
                    unsealed(run)
                } else {
                    run.with_seals(seals)
                };
                let frame = match rng.percent(50) {
                    true => Frame::Push(run),
                    false => Frame::Pulled(Pulled {
                        runs: vec![run],
                        gone: Vec::new(),
                        never: Vec::new(),
                        base: None,
                    }),
                };
                Some((to, frame))
            }
            Lie::Accuse => {
                self.bent += 1;
                let statements: Vec<_> = (0..2).map(|nth| self.made_up(victim, nth)).collect::<Option<_>>()?;
                let [one, other] = statements.try_into().ok()?;
                let key = Signer::toy(victim, self.signer.group()).key();
                let proof = Proof {
                    group: self.signer.group(),
                    member: victim,
                    key,
                    one,
                    other,
                };
                Some((
                    to,
                    match rng.below(3) {
                        0 => Frame::Proof(Box::new(proof)),
                        1 => Frame::Shown {
                            member: victim,
                            key,
                            statement: Box::new(proof.one),
                        },
                        _ => Frame::View(View {
                            records: vec![Record {
                                member: victim,
                                generation: u32::MAX,
                                standing: Standing::Expelled,
                                goodbye: false,
                                intro: None,
                            }],
                            proofs: vec![proof],
                        }),
                    },
                ))
            }
            _ => None,
        }
    }

    /// A statement about a victim's first message, signed with the liar's own key.
    fn made_up(&self, victim: MemberId, nth: u8) -> Option<multicast::Statement> {
        let digest = [nth; 32];
        let step = multicast::Step { count: 1, digest };
        let run = Run::new(
            victim,
            1,
            vec![Entry {
                lamport: 1,
                sent_at: 0,
                kind: Kind::App,
                past: Past::Full(Vec::new()),
                payload: Bytes::from_static(b"x"),
            }],
        );
        let (run, _) = seal_run(run, &self.signer, [0; 32])?;
        Some(multicast::Statement {
            first: 1,
            prev: [0; 32],
            steps: vec![step],
            signature: run.seals()?.segments[0].signature?,
        })
    }
}

fn unsealed(run: Run) -> Run {
    Run::new(run.origin(), run.first(), run.entries().collect())
}

fn pick(among: &[MemberId], rng: &mut Rng) -> MemberId {
    among[rng.below(among.len() as u64) as usize]
}

/// What the liar says to the others instead.
pub(crate) fn other(payload: &[u8]) -> Bytes {
    [b"other:", payload].concat().into()
}

fn bend(liar: MemberId, run: Run, rng: &mut Rng) -> Run {
    let seals: Option<Seals> = run.seals().cloned();
    let (mut origin, mut first) = (run.origin(), run.first());
    let mut entries: Vec<Entry> = run.entries().collect();
    let nth = rng.below(entries.len() as u64) as usize;
    let Some(mut seals) = seals else { return run };
    match rng.below(10) {
        0 => entries[nth].payload = other(&entries[nth].payload),
        1 => {
            entries.swap(0, nth);
            let past = std::mem::replace(&mut entries[0].past, Past::Changes(Vec::new()));
            let past = std::mem::replace(&mut entries[nth].past, past);
            entries[0].past = past;
        }
        2 => entries.truncate(nth.max(1)),
        3 => return unsealed(run),
        4 => seals.prev[0] ^= 1,
        5 => origin = liar,
        6 => first += 1,
        7 => {
            let last = seals.segments.last_mut().and_then(|sealed| sealed.signature.as_mut());
            last.into_iter().for_each(|mark: &mut Mark| mark.0[9] ^= 4);
        }
        8 => entries[nth].sent_at ^= 1,
        _ => {
            if let Past::Full(list) | Past::Changes(list) = &mut entries[0].past
                && !list.is_empty()
            {
                list.remove(0);
            }
        }
    }
    let bent = Run::new(origin, first, entries).with_seals(seals);
    // What could not travel does not arrive.
    Run::decode(&bent.encode()).unwrap_or_else(|_| unsealed(run))
}

/// A dot that nobody would guess from a member's own numbers, for messages.
pub(crate) fn label(dot: Dot) -> String {
    format!("{}:{}", dot.origin.short(), dot.seq)
}
