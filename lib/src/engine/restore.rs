//! A member that goes on from what it kept: it is a new one, with an id of its own, that has what the old one had.
//!
//! It joins like any other, from a greater cut: what it kept and what its sponsor has, together, which is causally closed
//! because both are. The messages that it kept lie below that cut; it does not show them again, and has them for others.
//! So whatever the old one said reaches them, in its place: the first message of the new one follows from it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::chain::Statement;
use crate::clock::Clock;
#[cfg(doc)]
use crate::engine::Input;
use crate::engine::chain::Seal;
use crate::engine::frame::{Named, Record, Standing, View};
use crate::engine::join::between;
use crate::engine::roster::Slot;
use crate::engine::{Config, Engine};
use crate::id::{Dot, MemberId, Span};
use crate::message::{Intro, Message, Micros};
use crate::sign::Key;

/// What an origin signed about the segment that begins with a message, and by whose key.
pub type Sealing = (Key, Statement);

/// Where a member stands, without its messages: what is to be kept beside those, of the same moment.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Standpoint {
    /// Who it is.
    pub me: MemberId,
    /// What it has delivered, its cut included: with its messages up to here it can begin again.
    pub delivered: Clock,
    /// What it does not keep for others, or not all of it: its cut and what was trimmed; a causally closed set.
    pub base: Clock,
    /// The greatest Lamport time that it knows.
    pub lamport: u64,
    /// Origins that clocks leave out, with their last seq.
    pub retired: Vec<(MemberId, u64)>,
}

/// What a member knows of others: changes seldom, and may be kept a little later than the rest.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Acquaintance {
    /// What people call the origins that it has delivered.
    pub names: Vec<Named>,
    /// Its view.
    pub view: View,
}

/// An earlier life of a member, as it was kept.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Former {
    /// Where it stood.
    pub standpoint: Standpoint,
    /// Whom it knew.
    pub acquaintance: Acquaintance,
    /// The last messages that it delivered, as many as there is room for, in that order; in a signed group with what
    /// proves those with which a segment begins.
    pub messages: Vec<(Message, Option<Sealing>)>,
}

impl Engine {
    /// A member that is about to join, and takes the place of an earlier one: like [`Engine::new`], but it has what that
    /// one had. The earlier one is recorded as left, at its last message.
    ///
    /// Follow with [`Engine::with_signer`] in a signed group.
    pub fn restored(config: Config, me: MemberId, intro: Intro, seed: u64, now: Micros, former: Former) -> Self {
        let mut engine = Self::new(config, me, intro, seed, now);
        engine.stores = true;
        let Standpoint { me: old, delivered, .. } = &former.standpoint;
        engine.succeeds = Some((*old, delivered.get(*old)));
        for record in former.acquaintance.view.records.iter().cloned() {
            engine.merge_record(record);
        }
        engine.merge_record(Record::of(*old, 0, Standing::Member, None));
        engine.former = Some(former.into());
        // What was wanted of those who have ended is wanted when there is something to begin from.
        engine.start_finding();
        engine
    }

    /// The same member with a store: what it says can be proved to others as soon as it is said.
    ///
    /// Whoever runs it keeps what it delivers, in that order, with its [`Engine::standpoint`] of the same moment, and sends
    /// nothing that it says after a message of its own before that message is kept for sure.
    pub fn with_store(mut self) -> Self {
        self.stores = true;
        self
    }

    /// Where it stands, to be kept.
    pub fn standpoint(&self) -> Standpoint {
        Standpoint {
            me: self.me,
            delivered: self.delivered(),
            base: self.base(),
            lamport: self.lamport,
            retired: self.retired(),
        }
    }

    /// Whom it knows, to be kept.
    pub fn acquaintance(&mut self) -> Acquaintance {
        Acquaintance {
            names: self.names(),
            view: self.view(),
        }
    }

    /// What lies below its cut and was not in what it kept: history that it can ask others for ([`Input::Recall`]).
    pub fn before(&self, kept: &Clock) -> Vec<Span> {
        between(kept, &self.cut)
    }

    /// In a signed group: what its origin signed about the segment that begins with this message, as far as it is here.
    pub fn sealing(&self, dot: Dot) -> Option<Sealing> {
        let chain = &self.roster[self.roster.find(dot.origin)?].chain;
        let end = chain.signed_from(dot.seq)?.last();
        Some((chain.key?, chain.statement(dot.seq, end)?))
    }

    /// A cut as this member takes it: with what it kept.
    pub(super) fn with_former(
        &self,
        cut: &Clock,
        lamport: u64,
        retired: &[(MemberId, u64)],
    ) -> (Clock, u64, BTreeMap<MemberId, u64>) {
        let (mut cut, mut lamport, mut omitted) = (cut.clone(), lamport, BTreeMap::new());
        let kept = self.former.as_ref().map(|former| &former.standpoint);
        for &(member, n) in retired.iter().chain(kept.iter().flat_map(|kept| &kept.retired)) {
            let most = omitted.entry(member).or_insert(n);
            *most = n.max(*most);
        }
        if let Some(kept) = kept {
            cut.merge(&kept.delivered);
            lamport = lamport.max(kept.lamport);
        }
        (cut, lamport, omitted)
    }

    /// Has the messages that it kept, for others; names, and proofs of who is expelled.
    pub(super) fn recall(&mut self) {
        let Some(former) = self.former.clone() else { return };
        for proof in &former.acquaintance.view.proofs {
            self.on_proof(proof);
        }
        for Named {
            member,
            name,
            joined_at,
        } in &former.acquaintance.names
        {
            let slot = self.roster.ensure(*member, self.now);
            let known = &mut self.roster[slot];
            (known.name, known.joined_at) = (Some(name.clone()), Some(*joined_at));
        }
        for (message, sealing) in &former.messages {
            let slot = self.roster.ensure(message.dot.origin, self.now);
            self.log.keep(slot, message.clone());
            if let Some((key, statement)) = sealing {
                self.recall_seals(slot, key, statement);
            }
        }
        for (origin, _) in former.standpoint.delivered.iter() {
            let slot = self.roster.ensure(origin, self.now);
            self.ensure_record(slot);
        }
    }

    fn recall_seals(&mut self, slot: Slot, key: &Key, statement: &Statement) {
        let Some(segments) = statement.segments() else { return };
        let chain = &mut self.roster[slot].chain;
        chain.key = Some(*key);
        let last = segments.len() - 1;
        for (nth, segment) in segments.into_iter().enumerate() {
            let signature = (nth == last).then_some(statement.signature);
            if chain.conflict(&segment).is_none() {
                chain.insert(Seal::new(segment, signature));
            }
        }
    }

    /// What it does not keep of a cut: what its sponsor had delivered, what it had let go of before, and what it did not
    /// read back, which is the beginning of what it delivered after that.
    pub(super) fn base_of(&self, sponsored: &Clock) -> Clock {
        let Some(former) = &self.former else {
            return sponsored.clone();
        };
        let mut missing = former.standpoint.delivered.clone();
        for (message, _) in former.messages.iter().rev() {
            let Dot { origin, seq } = message.dot;
            if missing.get(origin) == seq {
                missing.set(origin, seq - 1);
            }
        }
        missing.merge(&former.standpoint.base);
        missing.merge(sponsored);
        missing
    }

    /// Kept messages were let go of: from now on it is as if none below the cut were kept.
    pub(super) fn raise_base(&mut self) {
        for (member, seq) in self.cut.iter() {
            if let Some(slot) = self.roster.find(member) {
                let known = &mut self.roster[slot];
                known.base = known.base.max(seq);
            }
        }
    }

    /// What it has of what a joiner fetches.
    pub(super) fn has_kept(&self) -> Vec<Span> {
        let spans = self.log.kept_spans();
        let span = |(slot, (from, to)): (Slot, (u64, u64))| {
            let origin = self.roster[slot].id;
            Span { origin, from, to }
        };
        spans.into_iter().map(span).collect()
    }

    /// An earlier life of this member says nothing any more, whoever thinks otherwise.
    pub(super) fn succeeded(&self, record: Record) -> Record {
        match self.succeeds {
            Some((old, last)) if record.member == old && record.standing.counts() => {
                let last = last.max(self.roster.delivered_of(old));
                Record {
                    intro: record.intro,
                    ..Record::of(old, record.generation, Standing::Left(last), None)
                }
            }
            _ => record,
        }
    }
}
