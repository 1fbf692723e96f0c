//! What is to be explored, and how faults are shared out.

use super::lab::Seat;

/// Most members of a scope.
const MEMBERS: usize = 3;

/// What is to be explored.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    /// The most messages that each member sends.
    pub(crate) messages: Vec<u64>,
    pub(crate) faults: Faults,
    /// Leave out what only differs in the order of things that do not touch each other, and try every order of
    /// arrivals at this member alone; see `super`. `None`: everything in every order.
    pub(crate) watched: Option<Seat>,
}

/// How much may go wrong.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Faults {
    /// Frames that get lost.
    pub(crate) drops: u8,
    /// Frames that arrive twice.
    pub(crate) twice: u8,
    /// Somebody crashes.
    pub(crate) crash: bool,
    /// Times that a member asks for what it misses although that may still be on its way.
    pub(crate) pulls: u8,
}

impl Scope {
    /// Every way to share out messages and faults among the members.
    pub(crate) fn fates(&self) -> Vec<Fate> {
        let Scope {
            messages,
            faults,
            watched,
        } = self;
        let members = messages.len();
        let mut shares = vec![messages.clone()];
        if watched.is_some() {
            for seat in 0..members {
                let fewer = |share: &Vec<u64>| -> Vec<Vec<u64>> {
                    let with = |count| {
                        let mut share = share.clone();
                        share[seat] = count;
                        share
                    };
                    (0..=messages[seat]).map(with).collect()
                };
                shares = shares.iter().flat_map(fewer).collect();
            }
        }
        let doomed: Vec<Option<Seat>> = if faults.crash {
            (0..members).map(Some).filter(|seat| seat != watched).collect()
        } else {
            vec![None]
        };
        let mut fates = Vec::new();
        for share in shares {
            let mut messages = [0; MEMBERS];
            messages[..members].copy_from_slice(&share);
            for &doomed in &doomed {
                for faults in victims(*faults, members) {
                    fates.push(Fate {
                        messages,
                        faults,
                        doomed,
                    });
                }
            }
        }
        fates
    }
}

/// What is in store for whom.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Fate {
    /// How many messages each member sends.
    pub(crate) messages: [u64; MEMBERS],
    /// What each member may yet lose of what it says, and get twice.
    pub(crate) faults: [Faults; MEMBERS],
    /// Who will crash. Of what it says anything may get lost.
    pub(crate) doomed: Option<Seat>,
}

/// Every way to share out faults among members.
fn victims(faults: Faults, members: usize) -> Vec<[Faults; MEMBERS]> {
    let mut shares = vec![[Faults::default(); MEMBERS]];
    type Add = fn(&mut Faults);
    let kinds: [(u8, Add); 3] = [
        (faults.drops, |faults| faults.drops += 1),
        (faults.twice, |faults| faults.twice += 1),
        (faults.pulls, |faults| faults.pulls += 1),
    ];
    for (count, add) in kinds {
        for _ in 0..count {
            let given = |share: [Faults; MEMBERS]| {
                (0..members).map(move |seat| {
                    let mut share = share;
                    add(&mut share[seat]);
                    share
                })
            };
            shares = shares.into_iter().flat_map(given).collect();
        }
    }
    shares
}
