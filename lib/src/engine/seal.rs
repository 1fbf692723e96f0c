//! Signed streams: one's own messages are sealed, and what comes is taken with its seals (PROTOCOL.md, section 17).

use crate::chain::{Head, Mark, Segment, TRAIL, digest_of};
use crate::clock::SharedEntries;
use crate::engine::chain::{Checked, Seal};
use crate::engine::proof::Clash;
use crate::engine::roster::{Slot, Stream};
use crate::engine::{Engine, Phase};
use crate::id::{GroupId, MemberId};
use crate::piece::{self, Needs, Piece};
use crate::run::{Run, Sealed, Seals};
use crate::sign::{Key, Scheme, Signer, verify};

/// Messages of one origin with their place in its chain.
pub(super) struct Taken {
    pub(super) slot: Slot,
    key: Key,
    pieces: Vec<(Piece, Needs)>,
    /// One for each piece, and what leads from the last to a signed head.
    seals: Vec<Seal>,
}

/// Why a push is not taken.
pub(super) enum Refused {
    /// It does not go on where the stream stands: it is to begin again.
    Hole,
    /// It says what no correct member says, or, with nothing to tell of it, comes from one that did.
    Odd(Option<&'static str>),
}

/// What is said of a member whose own link brings what the member's key did not sign as it should.
const UNSIGNED: &str = "pushes unsigned messages in a signed group";
const OTHERS_KEY: &str = "pushes messages that are signed with another's key";
const BADLY_SIGNED: &str = "signs its messages wrongly: from now on they are taken from others";

/// Whether a `Notice::Odd` says that a member forged.
#[cfg(feature = "net")]
pub(crate) fn is_forgery(what: &str) -> bool {
    [UNSIGNED, OTHERS_KEY, BADLY_SIGNED].contains(&what)
}

impl Engine {
    /// The same member in a signed group: it signs what it says, and takes nothing unsigned that is relayed.
    ///
    /// To be called at once after it was made, with the signer of this member.
    ///
    /// # Panics
    /// If the signer is another member's.
    pub fn with_signer(mut self, signer: Signer) -> Self {
        assert_eq!(signer.member(), self.me, "the signer is another member's");
        self.roster[self.my_slot].chain.key = Some(signer.key());
        self.signer = Some(signer);
        self
    }

    pub(super) fn is_signed(&self) -> bool {
        self.signer.is_some()
    }

    /// How signatures of this group are checked, and which group it is.
    pub(super) fn scheme(&self) -> (Scheme, GroupId) {
        let signer = self.signer.as_ref();
        signer.map_or((Scheme::Ed25519, GroupId([0; 16])), |signer| {
            (signer.scheme(), signer.group())
        })
    }

    /// Adds what was composed to one's own chain.
    pub(super) fn seal_own(&mut self, piece: &Piece, rest: Option<Head>) {
        let Some(signer) = &self.signer else { return };
        let (first, count) = (piece.first(), piece.len() as u64);
        let digest = digest_of(signer.group(), &piece.at(first), count, rest);
        let chain = &mut self.roster[self.my_slot].chain;
        let Some(prev) = chain.head_at(first - 1) else {
            return self.broken(format!("the head of this member's own chain before {first} is lost"));
        };
        let segment = Segment {
            first,
            count,
            prev,
            digest,
        };
        chain.insert(Seal::new(segment, None));
        if chain.unsigned_before(first) + 1 >= TRAIL {
            self.sign_own(first);
        }
    }

    /// Signs the segment that has this seq of one's own, unless that was done.
    pub(super) fn sign_own(&mut self, seq: u64) {
        let Some(signer) = &self.signer else { return };
        let seal = self.roster[self.my_slot].chain.covering_mut(seq);
        if let Some(seal) = seal.filter(|seal| seal.signature.is_none()) {
            seal.signature = Some(Mark(signer.sign(seal.last(), &seal.head)));
            seal.checked = Checked::Good;
        }
    }

    /// The seals of those of one's own messages, which are whole segments.
    pub(super) fn own_seals(&self, first: u64, last: u64) -> Option<Seals> {
        let key = self.signer.as_ref()?.key();
        let chain = &self.roster[self.my_slot].chain;
        let prev = chain.covering(first)?.segment.prev;
        let sealed = |seal: &Seal| Sealed {
            count: seal.segment.count as u32,
            digest: None,
            signature: seal.signature,
        };
        let segments = chain.overlapping(first, last).map(sealed).collect();
        Some(Seals { key, prev, segments })
    }

    /// The last seq up to that one at which a segment of one's own ends.
    pub(super) fn own_boundary(&self, seq: u64) -> u64 {
        let within = self.roster[self.my_slot]
            .chain
            .covering(seq)
            .filter(|seal| seal.last() > seq);
        within.map_or(seq, |seal| seal.first() - 1)
    }

    /// The next messages of a sealed stream, with their places in the chain noted.
    pub(super) fn decode_sealed(&mut self, slot: Slot, run: Run) -> Result<Vec<(Piece, Needs)>, Refused> {
        let known = &self.roster[slot];
        if known.distrusted {
            return Err(Refused::Odd(None));
        }
        let Some(seals) = run.seals() else {
            return Err(Refused::Odd(Some(UNSIGNED)));
        };
        let (key, scheme) = (seals.key, self.scheme());
        if key.member_by(scheme.0, scheme.1) != known.id {
            return Err(Refused::Odd(Some(OTHERS_KEY)));
        }
        let stands = known.stream.as_ref().map_or(0, |stream| stream.last);
        let skipped = (stands + 1).saturating_sub(run.first()) as usize;
        // What is repeated is compared too, if its clocks are known: two processes with one key begin alike.
        let (nth, past) = match &known.stream {
            _ if run.starts_with_full_clock() => (0, SharedEntries::default()),
            Some(_) if skipped >= run.len() => return Ok(Vec::new()),
            Some(stream) if stands + 1 >= run.first() => (skipped, stream.past.clone()),
            _ => return Err(Refused::Hole),
        };
        let prev = match nth {
            0 => Some(seals.prev),
            _ => known.chain.head_at(stands),
        };
        let Some(prev) = prev else { return Err(Refused::Hole) };
        let (pieces, seals, past) = self
            .links_of(run, nth, past, prev)
            .map_err(|what| Refused::Odd(Some(what)))?;
        let taken = Taken {
            slot,
            key,
            pieces,
            seals,
        };
        match self.weigh(slot, &key, &taken.seals) {
            Clash::None => {}
            Clash::Expelled => return Err(Refused::Odd(None)),
            Clash::Refused => {
                self.distrust(slot);
                return Err(Refused::Odd(None));
            }
        }
        if let Some((last, _)) = taken.pieces.last()
            && last.last() > stands
        {
            let last = last.last();
            self.roster[slot].stream = Some(Stream { last, past });
        }
        Ok(self
            .note_seals(taken)
            .into_iter()
            .filter(|piece| piece.0.last() > stands)
            .collect())
    }

    /// Notes the places of messages in their origin's chain.
    fn note_seals(&mut self, taken: Taken) -> Vec<(Piece, Needs)> {
        let chain = &mut self.roster[taken.slot].chain;
        chain.key = Some(taken.key);
        taken.seals.into_iter().for_each(|seal| chain.insert(seal));
        taken.pieces
    }

    /// A run that came as bytes, from its nth message on, in pieces that are segments, with the seals of these and of what
    /// leads on to a signed head; and the clock of the last message.
    #[allow(clippy::type_complexity, reason = "three lists that belong together for a moment")]
    fn links_of(
        &self,
        run: Run,
        nth: usize,
        past: SharedEntries,
        mut prev: Head,
    ) -> Result<(Vec<(Piece, Needs)>, Vec<Seal>, SharedEntries), &'static str> {
        let run = run.travelled().ok_or("says what cannot travel")?;
        let Some(seals) = run.seals().cloned() else {
            return Err("relays unsigned messages in a signed group");
        };
        let ends: Vec<usize> = seals.ends().collect();
        let skip = ends.partition_point(|end| *end <= nth);
        if nth > 0 && ends.get(skip.wrapping_sub(1)) != Some(&nth) {
            return Err("cuts its messages otherwise than before");
        }
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let rests: Vec<_> = starts
            .zip(&ends)
            .skip(skip)
            .map(|(from, to)| run.rest(from, *to))
            .collect();
        let (group, mut first) = (self.scheme().1, run.first() + nth as u64);
        let (pieces, past) = piece::cut(run, nth, past);
        let mut out = Vec::with_capacity(seals.segments.len() - skip);
        for (at, sealed) in seals.segments[skip..].iter().enumerate() {
            let count = u64::from(sealed.count);
            let digest = match (sealed.digest, pieces.get(at)) {
                (Some(digest), _) => digest,
                (None, Some((piece, _))) if piece.len() as u64 == count && piece.first() == first => {
                    digest_of(group, &piece.at(first), count, rests[at])
                }
                // It was too much at a time: the rest is asked for again.
                (None, None) => break,
                (None, Some(_)) => return Err("cuts its messages otherwise than it says"),
            };
            let segment = Segment {
                first,
                count,
                prev,
                digest,
            };
            let seal = Seal::new(segment, sealed.signature);
            (first, prev) = (first + count, seal.head);
            out.push(seal);
        }
        Ok((pieces, out, past))
    }

    /// Messages that somebody relays, if their origin signed them.
    pub(super) fn prove(&mut self, run: Run) -> Result<Option<Taken>, &'static str> {
        let origin = run.origin();
        if !self.admits(origin) {
            return Err("names more origins than a group may have");
        }
        let slot = self.roster.ensure(origin, self.now);
        if self.roster[slot].is_expelled() || run.is_empty() {
            return Ok(None);
        }
        if !run.starts_with_full_clock() {
            return Err("answers with a run that has no full clock");
        }
        let Some(Seals { key, prev, segments }) = run.seals().cloned() else {
            return Err("relays unsigned messages in a signed group");
        };
        let (pieces, mut seals, _) = self.links_of(run, 0, SharedEntries::default(), prev)?;
        let (scheme, group) = self.scheme();
        let strict = self.config.rules.verify_relayed;
        let signed = seals.last_mut().is_some_and(|end| {
            let by = (group, origin, &key);
            let good = end
                .signature
                .is_some_and(|mark| verify(scheme, by, end.last(), &end.head, &mark.0));
            end.checked = if good { Checked::Good } else { Checked::NotYet };
            good || !strict
        });
        if !signed || pieces.is_empty() || seals.len() < segments.len() {
            return Err("relays what its origin did not sign");
        }
        Ok(Some(Taken {
            slot,
            key,
            pieces,
            seals,
        }))
    }

    /// Takes messages that were proved: delivers, holds or keeps them.
    pub(super) fn accept_proved(&mut self, via: Slot, taken: Taken) {
        let slot = taken.slot;
        match self.weigh(slot, &taken.key, &taken.seals) {
            Clash::None => {}
            Clash::Expelled => return,
            Clash::Refused => return self.odd(via, "relays another history than is known here"),
        }
        let cut = self.cut.get(self.roster[slot].id);
        for (piece, needs) in self.note_seals(taken) {
            if piece.first() > cut {
                self.accept(slot, piece, needs, via);
            } else {
                self.keep_below(cut, slot, piece, via);
            }
            if matches!(self.phase, Phase::Over) {
                return;
            }
        }
        self.bound_chain(slot);
    }

    /// Lets go of what is known of segments that are not here: all but so many as lead to a signed head.
    pub(super) fn bound_chain(&mut self, slot: Slot) {
        let known = &mut self.roster[slot];
        let end = known.delivered.max(known.held.last().unwrap_or(0));
        known.chain.bound(end, TRAIL);
    }

    /// Its own signature is bad: what it pushes is refused from now on, and what it says is taken from others, with a good
    /// one.
    pub(super) fn distrust(&mut self, slot: Slot) {
        if slot != self.my_slot && !std::mem::replace(&mut self.roster[slot].distrusted, true) {
            self.roster[slot].stream = None;
            self.odd(slot, BADLY_SIGNED);
        }
    }

    /// Where the statement ends that covers the segment which begins there and is found good; none, if there is none.
    pub(super) fn proved_end(&mut self, slot: Slot, first: u64) -> Option<u64> {
        if slot == self.my_slot {
            self.sign_own(first);
        }
        loop {
            let end = self.roster[slot].chain.signed_from(first)?;
            let last = end.last();
            if end.checked == Checked::Good || self.is_good(slot, last) {
                return Some(last);
            }
        }
    }

    /// Verifies the signature of the segment with that seq, and notes what was found.
    fn is_good(&mut self, slot: Slot, seq: u64) -> bool {
        let ((scheme, group), member) = (self.scheme(), self.roster[slot].id);
        let chain = &mut self.roster[slot].chain;
        let (Some(key), Some(seal)) = (chain.key, chain.covering_mut(seq)) else {
            return false;
        };
        let by: (GroupId, MemberId, &Key) = (group, member, &key);
        let good = seal
            .signature
            .is_some_and(|mark| verify(scheme, by, seal.last(), &seal.head, &mark.0));
        seal.checked = if good { Checked::Good } else { Checked::Bad };
        if !good {
            self.distrust(slot);
        }
        good
    }

    /// Verifies the newest signature of each origin: what was taken on its link's word is to be provable.
    pub(super) fn audit(&mut self) {
        if !self.is_signed() {
            return;
        }
        for slot in self.roster.slots() {
            let known = &self.roster[slot];
            let newest = known.chain.newest_signed(known.delivered);
            if let Some(last) = newest.filter(|seal| seal.checked == Checked::NotYet).map(Seal::last) {
                self.is_good(slot, last);
            }
        }
    }
}
