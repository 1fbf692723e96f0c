//! Questions to an engine: nothing here changes it.

use crate::clock::Clock;
use crate::engine::frame::{Record, Standing};
use crate::engine::io::{Missing, Whereabouts};
use crate::engine::roster::Slot;
use crate::engine::{Engine, Phase};
use crate::id::{Dot, MemberId, Span};
use crate::message::{Message, Micros};

/// A member as the engine knows it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct MemberView {
    /// Its record in the view.
    pub record: Record,
    /// The name in its introduction or its join message; empty if neither is known.
    pub name: String,
    /// Lamport time of its join message, if that was delivered here or told with the cut.
    pub joined_at: Option<u64>,
    /// Frames can be sent to it now.
    pub linked: bool,
    /// No sign of it for a while.
    pub silent: bool,
    /// Its address refused a connection since the last sign of it.
    pub refused: bool,
    /// It is too slow to hold others back.
    pub lagging: bool,
    /// How many of this member's own messages it has delivered, at least; 0 while it joins.
    pub acked: u64,
    /// What it has delivered, at least; nothing while it joins.
    pub digest: Clock,
}

/// A held message.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct HeldView {
    /// Its id.
    pub dot: Dot,
    /// The first missing cause.
    pub needs: Dot,
    /// Since when.
    pub since: Micros,
}

impl Engine {
    /// This member.
    pub fn me(&self) -> MemberId {
        self.me
    }

    /// Whether its join message was delivered here (and it did not leave).
    pub fn is_member(&self) -> bool {
        matches!(self.phase, Phase::Member)
    }

    /// Whether it left, or broke: it takes no input any more.
    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    /// What it has delivered, its cut included.
    pub fn delivered(&self) -> Clock {
        self.roster.clock(|known| known.delivered)
    }

    /// Where it joined.
    pub fn cut(&self) -> Clock {
        self.cut.clone()
    }

    /// What it no longer keeps for others, at the most: its cut and what was trimmed since.
    pub fn base(&self) -> Clock {
        self.roster.clock(|known| known.base)
    }

    /// The greatest Lamport time known.
    pub fn lamport(&self) -> u64 {
        self.lamport
    }

    /// The delivered messages that are still kept, in delivery order.
    pub fn log(&self) -> impl Iterator<Item = Message> {
        self.log.iter()
    }

    /// Messages in the log, and their bytes with everything around them.
    pub fn log_size(&self) -> (usize, usize) {
        (self.log.len(), self.log.bytes())
    }

    /// Messages held, and their bytes with everything around them.
    pub fn held_size(&self) -> (usize, usize) {
        (self.waiting.len(), self.waiting.bytes)
    }

    /// Whether a send would be refused because the window is full, as of the last look.
    pub fn window_is_shut(&self) -> bool {
        self.window_full_since.is_some()
    }

    /// Messages that are held, each origin's in order.
    pub fn held(&self) -> impl Iterator<Item = HeldView> + '_ {
        self.roster.all().flat_map(move |(_, known)| {
            known.held.values().flat_map(move |held| {
                let (origin, first) = (known.id, held.piece.first());
                (first..=held.piece.last()).map(move |seq| {
                    let needs = match held.waits_for.filter(|_| seq == first) {
                        Some((on, seq)) => Dot {
                            origin: self.roster[on].id,
                            seq,
                        },
                        None => Dot { origin, seq: seq - 1 },
                    };
                    HeldView {
                        dot: Dot { origin, seq },
                        needs,
                        since: held.since,
                    }
                })
            })
        })
    }

    /// Everyone with a record in the view, ascending by id.
    pub fn members(&self) -> Vec<MemberView> {
        self.roster.by_id().filter_map(|(_, slot)| self.member(slot)).collect()
    }

    fn member(&self, slot: Slot) -> Option<MemberView> {
        let known = &self.roster[slot];
        let registration = known.record.as_ref()?;
        let mine = slot == self.my_slot;
        let name = match (&registration.intro, &known.name) {
            (Some(intro), _) => intro.name.clone(),
            (None, name) => name.clone().unwrap_or_default(),
        };
        Some(MemberView {
            record: Record {
                member: known.id,
                generation: registration.generation,
                standing: registration.standing,
                goodbye: registration.goodbye,
                intro: registration.intro.clone(),
            },
            name,
            joined_at: known.joined_at,
            linked: known.peer.linked || mine,
            silent: known.peer.silent,
            refused: known.peer.refused,
            lagging: known.peer.lagging,
            acked: match registration.standing {
                _ if mine => known.delivered,
                Standing::Joining => 0,
                _ => known.peer.acked,
            },
            digest: match known.speaks() {
                _ if mine => self.delivered(),
                true => known.peer.digest.clone(),
                false => Clock::new(),
            },
        })
    }

    /// What is known about a message.
    pub fn whereabouts(&self, dot: Dot) -> Whereabouts {
        let Some(slot) = self.roster.find(dot.origin) else {
            return Whereabouts::Unknown;
        };
        let known = &self.roster[slot];
        if let Some(position) = known.position(dot.seq) {
            return Whereabouts::Delivered(self.log.at(position).at(dot.seq));
        }
        if dot.seq <= known.delivered {
            return Whereabouts::Past;
        }
        if let Some(held) = known.held.get(dot.seq) {
            let clock = held.piece.at(dot.seq).clock();
            let missing = self.missing_causes(&clock, dot);
            return Whereabouts::Held { clock, missing };
        }
        let wanted = known.want.as_ref().is_some_and(|want| want.upto >= dot.seq);
        if wanted {
            Whereabouts::Awaited
        } else {
            Whereabouts::Unknown
        }
    }

    fn missing_causes(&self, clock: &Clock, dot: Dot) -> Vec<Missing> {
        let missing = clock.iter().filter_map(|(origin, seq)| {
            let slot = self.roster.find(origin)?;
            let known = &self.roster[slot];
            let to = if origin == dot.origin { dot.seq - 1 } else { seq };
            (known.delivered < to).then(|| {
                let span = Span {
                    origin,
                    from: known.delivered + 1,
                    to,
                };
                let held = known.held.count(span.from, span.to);
                let asked = known.want.as_ref().map_or(Vec::new(), |want| want.asked.clone());
                let has = |id: &MemberId| {
                    self.roster
                        .find(*id)
                        .is_some_and(|slot| self.roster[slot].peer.digest.get(origin) >= to)
                };
                let holders = self.roster.by_id().map(|(id, _)| id).filter(has).collect();
                Missing {
                    span,
                    held,
                    asked,
                    holders,
                }
            })
        });
        missing.collect()
    }

    /// Checks what must hold after each step (S13, S14 of the specification): the first violation in words.
    pub fn check(&self) -> Result<(), String> {
        let (mut held_messages, mut held_bytes) = (0, 0);
        for (_, known) in self.roster.all() {
            held_messages += known.held.len();
            held_bytes += known.held_bytes;
            if let Some((seq, _)) = known.held.first().filter(|first| first.0 <= known.delivered) {
                return Err(format!("{}:{seq} is held and delivered", known.id.short()));
            }
            if known.held.len() > self.config.held_per_origin {
                return Err(format!(
                    "{} messages of {} are held",
                    known.held.len(),
                    known.id.short()
                ));
            }
            let mut next = known.delivered + 1;
            for held in known.held.values() {
                let seq = held.piece.first();
                let is_next = std::mem::take(&mut next) == seq;
                let waits = held.waits_for.map(|(on, needed)| self.roster[on].delivered < needed);
                if waits != is_next.then_some(true) {
                    return Err(format!(
                        "{}:{seq} is held, and not under what it misses",
                        known.id.short()
                    ));
                }
            }
        }
        if held_messages != self.waiting.len() || held_bytes != self.waiting.bytes {
            return Err("the held index and the held messages differ".into());
        }
        let hard = self.config.retention.saturating_mul(self.config.retention_factor);
        if self.log.bytes() > hard {
            return Err(format!(
                "the log has {} bytes, at most {hard} are allowed",
                self.log.bytes()
            ));
        }
        let mine = &self.roster[self.my_slot];
        if mine.places.len() != self.own.starts.len() || self.own.open.is_some() {
            return Err("own pieces in the log and their sizes differ in number, or something is not said".into());
        }
        if mine
            .record
            .as_ref()
            .is_some_and(|record| record.standing == Standing::Joining)
            && self.is_member()
        {
            return Err("a member that is recorded as joining".into());
        }
        Ok(())
    }
}
