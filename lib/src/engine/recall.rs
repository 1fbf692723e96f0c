//! History from before one's own beginning: asked of others, a bounded answer at a time, and never delivered.
//!
//! The pulls of repair do: an answer has whole messages, in a signed group with what proves them. What lies below the cut
//! is told to the caller, which keeps it beside what was delivered; sorted by (Lamport time, member id) both are one history.

use std::collections::BTreeSet;

use crate::engine::join::strike;
use crate::engine::repair::SPANS;
use crate::engine::roster::{Known, Slot};
use crate::engine::{Engine, Frame, Output, Phase, Pull};
use crate::id::{Dot, Span};
use crate::message::Micros;
use crate::piece::Piece;

/// A peer that does not answer within this time is passed over for the next one.
const PATIENCE: Micros = 2_000_000;

/// What is asked for, and of whom.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Recall {
    wants: Vec<Span>,
    asked: Option<(Slot, Micros)>,
    /// Who has nothing of what is left, or did not answer.
    done: BTreeSet<Slot>,
}

impl Engine {
    /// Asks others for these messages, one member after the other. What is not below this member's cut is left out.
    pub(super) fn on_recall(&mut self, wants: Vec<Span>) {
        let below = |span: Span| {
            let to = span.to.min(self.cut.get(span.origin));
            (span.from > 0 && span.from <= to).then_some(Span { to, ..span })
        };
        let wants = wants.into_iter().filter_map(below).collect();
        self.recall = Some(Recall {
            wants,
            asked: None,
            done: BTreeSet::new(),
        });
        self.press_recall();
    }

    /// Asks the next one, unless somebody is about to answer. Ends it where nobody is left to be asked.
    pub(super) fn press_recall(&mut self) {
        if !matches!(self.phase, Phase::Member) {
            return;
        }
        let (now, linked) = (self.now, |slot: Slot| self.roster[slot].peer.linked);
        let Some(recall) = &mut self.recall else { return };
        if let Some((slot, since)) = recall.asked {
            if now < since + PATIENCE && linked(slot) {
                return;
            }
            recall.done.insert(slot);
            recall.asked = None;
        }
        let may_have = |(slot, known): &(Slot, &Known)| {
            *slot != self.my_slot && known.speaks() && known.peer.linked && !recall.done.contains(slot)
        };
        let next = self.roster.all().find(may_have).map(|(slot, _)| slot);
        let next = next.filter(|_| !recall.wants.is_empty());
        let Some(slot) = next else {
            let missing = self.recall.take().map(|recall| recall.wants);
            return self.out.push(Output::RecallOver {
                missing: missing.unwrap_or_default(),
            });
        };
        recall.asked = Some((slot, now));
        let wants = recall.wants.iter().take(SPANS).copied().collect();
        self.say(slot, Frame::Pull(Pull { wants }));
    }

    /// An answer came, and was taken in: what it had is not asked for any more, and who had nothing of it is not asked again.
    pub(super) fn note_recalled(&mut self, from: Slot, got: &[Span], lacks: &[Span]) {
        let Some(recall) = &mut self.recall else { return };
        let about = |span: &Span| recall.wants.iter().any(|want| overlap(want, span));
        let (brings, lacks) = (got.iter().any(about), lacks.iter().any(about));
        got.iter().for_each(|span| strike(&mut recall.wants, *span));
        // An answer to another question says nothing about this one.
        if recall.asked.is_some_and(|asked| asked.0 == from) && (brings || lacks) {
            recall.asked = None;
            if !brings {
                recall.done.insert(from);
            }
        }
        self.press_recall();
    }

    /// Whether somebody wants it told: it lies below the cut of a member that asks for history.
    pub(super) fn is_recalled(&self, slot: Slot, piece: &Piece) -> bool {
        let origin = self.roster[slot].id;
        let (from, to) = (piece.first(), piece.last());
        let span = Span { origin, from, to };
        matches!(self.phase, Phase::Member)
            && self
                .recall
                .as_ref()
                .is_some_and(|recall| recall.wants.iter().any(|want| overlap(want, &span)))
    }

    /// Tells a piece of history. What is known of its place in a chain is told with it, and not kept.
    pub(super) fn tell_recalled(&mut self, slot: Slot, piece: &Piece) {
        let origin = self.roster[slot].id;
        let sealed = piece.messages().map(|message| {
            let seq = message.dot.seq;
            let sealing = self.sealing(Dot { origin, seq });
            (message, sealing)
        });
        let messages = sealed.collect();
        self.out.push(Output::Recalled { messages });
        let kept = (piece.first()..=piece.last()).any(|seq| self.log.kept.contains_key(&(slot, seq)));
        if !kept {
            self.roster[slot].chain.remove(piece.first());
        }
    }
}

fn overlap(one: &Span, other: &Span) -> bool {
    one.origin == other.origin && one.from <= other.to && other.from <= one.to
}
