//! Equivocation: an origin that signed two histories is found, proved to everyone, and expelled.

use std::sync::Arc;

use crate::chain::{Proof, Statement, Step, TRAIL};
use crate::engine::chain::Seal;
use crate::engine::frame::{Frame, Standing};
use crate::engine::io::{Notice, Output};
use crate::engine::roster::{Registration, Slot};
use crate::engine::{Engine, Phase};
use crate::id::MemberId;
use crate::sign::Key;

/// Most statements that one heartbeat is answered with: one is enough for a proof.
const SHOWN: usize = 4;
/// Most signatures of one list that are tried to make a proof.
const TRIES: usize = 4;
/// Most bytes of proofs in one view: a few dozen of the longest. Records of as many members as a group may have had, and
/// these, fit into a frame.
const PROOFS_BYTES: usize = 128 << 10;
/// Bytes of a head in a digest: two histories that agree in so many are not to be found.
const TAG: usize = 16;

/// What comes of a comparison with what is known of a chain.
pub(super) enum Clash {
    /// Nothing speaks against it.
    None,
    /// It contradicts what is proved.
    Refused,
    /// Its origin signed both.
    Expelled,
}

impl Engine {
    /// Compares a part of a chain with what is known of it. Where both contradict each other and are signed, that is the
    /// proof; where only the new part is, the old was never provable, and gives way.
    pub(super) fn weigh(&mut self, slot: Slot, key: &Key, seals: &[Seal]) -> Clash {
        if !self.config.rules.compare_chains {
            return Clash::None;
        }
        let ((scheme, group), member) = (self.scheme(), self.roster[slot].id);
        let by = (group, member, key);
        for nth in 0..seals.len() {
            while let Some(old) = self.roster[slot].chain.conflict(&seals[nth].segment).map(Seal::first) {
                let Some(one) = statements(&seals[nth..]).find(|statement| statement.is_signed(scheme, by)) else {
                    return Clash::Refused;
                };
                let end = self.proved_end(slot, old);
                let other = end.and_then(|end| self.roster[slot].chain.statement(old, end));
                let Some(other) = other else {
                    self.roster[slot].chain.remove(old);
                    continue;
                };
                let key = *key;
                let proof = Proof {
                    group,
                    member,
                    key,
                    one: other,
                    other: one,
                };
                self.expel(slot, proof);
                return Clash::Expelled;
            }
        }
        Clash::None
    }

    /// The heads at a clock's entries, as they travel beside it: zeros where none is known. Nothing, if nothing is signed.
    pub(super) fn tags_of(&self, digest: &crate::clock::Clock) -> Vec<[u8; TAG]> {
        if !self.is_signed() {
            return Vec::new();
        }
        let tag = |(member, seq)| {
            let slot = self.roster.find(member)?;
            let head = self.roster[slot].chain.head_at(seq)?;
            Some(head[..TAG].try_into().expect("16 of 32 bytes"))
        };
        digest.iter().map(|entry| tag(entry).unwrap_or_default()).collect()
    }

    /// Shows whoever says another head than is known here what was signed of that here.
    pub(super) fn compare_heads(&mut self, from: Slot, digest: &crate::clock::Clock, tags: &[[u8; TAG]]) {
        if !self.is_signed() || !self.config.rules.compare_digests {
            return;
        }
        let differs = |((member, seq), tag): ((MemberId, u64), &[u8; TAG])| {
            let slot = self
                .roster
                .find(member)
                .filter(|slot| !self.roster[*slot].is_expelled())?;
            let seal = self.roster[slot].chain.covering(seq)?;
            let same = seal.last() == seq && seal.head.starts_with(tag);
            (*tag != [0; TAG] && !same).then_some((slot, seal.first()))
        };
        let differing = digest.iter().zip(tags).filter_map(differs).take(SHOWN);
        for (slot, first) in differing.collect::<Vec<_>>() {
            let member = self.roster[slot].id;
            let end = self.proved_end(slot, first);
            let chain = &self.roster[slot].chain;
            let statement = end.and_then(|end| chain.statement(first, end));
            if let (Some(statement), Some(key)) = (statement, chain.key) {
                let statement = Box::new(statement);
                self.say(from, Frame::Shown { member, key, statement });
            }
        }
    }

    /// Somebody has heard an origin say this. Only what contradicts what is known here is worth a look.
    pub(super) fn on_shown(&mut self, member: MemberId, key: Key, statement: &Statement) {
        let (scheme, group) = self.scheme();
        let Some(slot) = self
            .roster
            .find(member)
            .filter(|slot| !self.roster[*slot].is_expelled())
        else {
            return;
        };
        let Some(segments) = statement.segments().filter(|_| self.is_signed()) else {
            return;
        };
        if key.member_by(scheme, group) != member {
            return;
        }
        let mut seals: Vec<Seal> = segments.into_iter().map(|segment| Seal::new(segment, None)).collect();
        if let Some(last) = seals.last_mut() {
            last.signature = Some(statement.signature);
        }
        self.weigh(slot, &key, &seals);
    }

    /// Somebody found two histories of one origin.
    pub(super) fn on_proof(&mut self, proof: &Proof) {
        let (scheme, group) = self.scheme();
        if !self.is_signed() || !self.admits(proof.member) {
            return;
        }
        let slot = self.roster.ensure(proof.member, self.now);
        let news = !self.roster[slot].is_expelled() && proof.group == group;
        if news && (proof.verify_by(scheme).is_ok() || !self.config.rules.verify_proofs) {
            self.expel(slot, proof.clone());
        }
    }

    /// One that is expelled still speaks: perhaps it was not told why nobody answers. Every time, for two processes may
    /// speak, and each is to hear it.
    pub(super) fn dismiss(&mut self, slot: Slot) {
        if let Some(proof) = self.roster[slot].proof.clone() {
            self.say(slot, Frame::Proof(Box::new((*proof).clone())));
        }
    }

    /// Proofs that travel with a view: as many as fit, from anywhere on. Whoever has others after that has another view,
    /// and is sent this one again.
    pub(super) fn proofs(&mut self) -> Vec<Proof> {
        let proofs = self
            .roster
            .by_id()
            .filter_map(|(_, slot)| self.roster[slot].proof.clone());
        let proofs: Vec<Arc<Proof>> = proofs.collect();
        let bytes = proofs.iter().map(|proof| proof.encoded_bound()).sum::<usize>();
        let from = match bytes > PROOFS_BYTES {
            true => self.rng.below(proofs.len() as u64) as usize,
            false => 0,
        };
        let mut room = PROOFS_BYTES;
        let fits = |proof: &&Arc<Proof>| {
            let left = room.checked_sub(proof.encoded_bound());
            room = left.unwrap_or(0);
            left.is_some()
        };
        let (before, after) = proofs.split_at(from);
        let some = after.iter().chain(before).take_while(fits);
        some.map(|proof| Proof::clone(proof)).collect()
    }

    /// The origin signed two histories: nothing of it is taken any more, and everyone is told.
    fn expel(&mut self, slot: Slot, proof: Proof) {
        self.roster[slot].proof = Some(Arc::new(proof.clone()));
        self.roster[slot].void = self.config.rules.void_expelled;
        let discarded = self.discard_held(slot);
        let known = &mut self.roster[slot];
        (known.want, known.stream) = (None, None);
        let intro = known.record.take().and_then(|record| record.intro);
        known.record = Some(Registration {
            generation: u32::MAX,
            standing: Standing::Expelled,
            // There is nobody to come back.
            goodbye: true,
            intro,
        });
        (known.peer.push, known.peer.unmerged) = (None, None);
        if !known.dirty && slot != self.my_slot {
            // It leaves the clock of one's next message.
            known.dirty = true;
            self.own.dirty.push(slot);
        }
        self.wanting.remove(&slot);
        let (member, delivered) = (known.id, known.delivered);
        let told = Box::new(proof);
        for to in self.roster.slots() {
            self.say(to, Frame::Proof(told.clone()));
        }
        self.out.push(Output::Notice(Notice::Equivocation {
            member,
            delivered,
            discarded,
            proof: told,
        }));
        self.changed_view();
        if slot == self.my_slot {
            // Another process speaks with this member's key: nobody listens to either any more.
            self.phase = Phase::Over;
            return self.out.push(Output::Left);
        }
        self.wake(slot);
    }
}

/// What was signed about the first of these segments, which lie in a row: one statement for each signature that is near.
fn statements(seals: &[Seal]) -> impl Iterator<Item = Statement> + '_ {
    let signed = seals.iter().enumerate().take(1 + TRAIL);
    let signed = signed
        .filter_map(|(nth, seal)| Some((nth, seal.signature?)))
        .take(TRIES);
    signed.map(|(nth, signature)| Statement {
        first: seals[0].segment.first,
        prev: seals[0].segment.prev,
        steps: seals[..=nth]
            .iter()
            .map(|seal| Step {
                count: seal.segment.count,
                digest: seal.segment.digest,
            })
            .collect(),
        signature,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::chain::{Mark, START};
    use crate::engine::Input;
    use crate::id::GroupId;
    use crate::sign::Signer;

    fn group() -> GroupId {
        GroupId::named("lobby")
    }

    /// Of two histories that differ from the beginning, as long as a proof may be.
    fn proof(member: MemberId) -> Proof {
        let signer = Signer::toy(member, group());
        let statement = |digest: u8| {
            let step = Step {
                count: 1,
                digest: [digest; 32],
            };
            let mut statement = Statement {
                first: 1,
                prev: START,
                steps: vec![step; 1 + TRAIL],
                signature: Mark([0; 64]),
            };
            let end = statement.segments().and_then(|segments| segments.last().copied());
            let end = end.expect("numbers that can be");
            statement.signature = Mark(signer.sign(end.last(), &end.head()));
            statement
        };
        Proof {
            group: group(),
            member,
            key: signer.key(),
            one: statement(1),
            other: statement(2),
        }
    }

    /// However many are expelled, a view fits into a frame, and everyone learns of all in the end.
    #[test]
    fn proofs_share_what_room_a_view_has() {
        let (me, other) = (MemberId::from(1), MemberId::from(2));
        let engine = Engine::established(Default::default(), me, &[me, other], 1, 0);
        let mut engine = engine.with_signer(Signer::toy(me, group()));
        let expelled: BTreeSet<MemberId> = (0..300).map(|n| MemberId::from(1000 + n)).collect();
        for member in &expelled {
            let frame = Frame::Proof(Box::new(proof(*member)));
            engine.handle(Input::Frame { from: other, frame }, 0);
        }
        let mut told = BTreeSet::new();
        for _ in 0..300 {
            let proofs = engine.view().proofs;
            let bytes: usize = proofs.iter().map(Proof::encoded_bound).sum();
            assert!(!proofs.is_empty() && bytes <= PROOFS_BYTES, "{bytes} bytes");
            told.extend(proofs.iter().map(|proof| proof.member));
        }
        assert_eq!(told, expelled);
    }
}
