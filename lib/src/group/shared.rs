//! What a group's task shows to handles without being asked: snapshots, replaced as a whole.

use std::collections::BTreeMap;
use std::sync::Mutex;

use tokio::sync::watch;

use crate::clock::Clock;
use crate::engine::{MemberView, Standing};
use crate::id::{GroupId, MemberId};
use crate::message::{Member, Name};

/// Snapshots of a group. Locks are held for a copy, never over an await.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) id: GroupId,
    pub(crate) me: Member,
    /// Of a payload, in bytes.
    pub(crate) payload_limit: usize,
    names: Mutex<BTreeMap<MemberId, Name>>,
    rows: Mutex<Vec<Row>>,
    stable: Mutex<Clock>,
    /// Counts changes of `rows`.
    pub(crate) changes: watch::Sender<u64>,
    /// How many members have joined, this one included.
    pub(crate) joined: watch::Sender<usize>,
    pub(crate) clock: watch::Sender<Clock>,
}

/// A member that counts.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) member: Member,
    /// It speaks; else it was granted a cut and has not spoken yet.
    pub(crate) joined: bool,
    /// How many of this member's messages it has delivered.
    pub(crate) acked: u64,
    /// Neither silent nor refusing connections.
    pub(crate) there: bool,
}

impl Shared {
    pub(crate) fn new(id: GroupId, me: Member, payload_limit: usize) -> Self {
        Self {
            id,
            me,
            payload_limit,
            names: Mutex::default(),
            rows: Mutex::default(),
            stable: Mutex::default(),
            changes: watch::Sender::new(0),
            joined: watch::Sender::new(0),
            clock: watch::Sender::new(Clock::new()),
        }
    }

    pub(crate) fn rows(&self) -> Vec<Row> {
        self.rows.lock().expect("never held over a panic").clone()
    }

    pub(crate) fn members(&self) -> Vec<Member> {
        let rows = self.rows.lock().expect("never held over a panic");
        rows.iter()
            .filter(|row| row.joined)
            .map(|row| row.member.clone())
            .collect()
    }

    pub(crate) fn name_of(&self, id: MemberId) -> Option<Name> {
        self.names
            .lock()
            .expect("never held over a panic")
            .get(&id)
            .filter(|name| !name.is_empty())
            .cloned()
    }

    pub(crate) fn stable(&self) -> Clock {
        self.stable.lock().expect("never held over a panic").clone()
    }

    pub(crate) fn set_stable(&self, clock: Clock) {
        *self.stable.lock().expect("never held over a panic") = clock;
    }

    /// Members changed, or whether they are there.
    pub(crate) fn set_members(&self, members: &[MemberView]) {
        let counted = members.iter().filter(|view| view.record.standing.counts());
        let mut names = self.names.lock().expect("never held over a panic");
        for view in members {
            if names.get(&view.record.member).is_none_or(|name| **name != *view.name) {
                names.insert(view.record.member, Name::from(&*view.name));
            }
        }
        let rows: Vec<Row> = counted
            .map(|view| Row {
                member: Member {
                    id: view.record.member,
                    name: names[&view.record.member].clone(),
                },
                joined: view.record.standing == Standing::Member,
                acked: view.acked,
                there: !view.silent && !view.refused,
            })
            .collect();
        drop(names);
        let joined = rows.iter().filter(|row| row.joined).count();
        *self.rows.lock().expect("never held over a panic") = rows;
        self.joined
            .send_if_modified(|before| std::mem::replace(before, joined) != joined);
        self.changed();
    }

    pub(crate) fn set_acked(&self, by: MemberId, seq: u64) {
        let mut rows = self.rows.lock().expect("never held over a panic");
        if let Some(row) = rows.iter_mut().find(|row| row.member.id == by) {
            row.acked = row.acked.max(seq);
        }
    }

    pub(crate) fn changed(&self) {
        change(&self.changes, |count| *count += 1);
    }

    /// Messages were delivered: of each origin the last seq.
    pub(crate) fn advance(&self, delivered: &mut Vec<(MemberId, u64)>) {
        change(&self.clock, |clock| {
            delivered.drain(..).for_each(|(origin, seq)| clock.set(origin, seq));
        });
    }

    /// More than that happened.
    pub(crate) fn set_clock(&self, delivered: Clock) {
        change(&self.clock, |clock| *clock = delivered);
    }
}

/// Nobody is woken where nobody waits: who comes later looks at the value first.
fn change<T>(watched: &watch::Sender<T>, change: impl FnOnce(&mut T)) {
    watched.send_if_modified(|value| {
        change(value);
        watched.receiver_count() > 0
    });
}
