//! Joining at a causally closed cut: find a member, take its cut and view, keep what is not stable, greet
//! everyone in that view, and only then speak. Nobody there: found the group.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::clock::{Clock, Entries, SharedEntries};
use crate::engine::frame::{Named, Record, Sponsor, Standing};
use crate::engine::io::Output;
use crate::engine::roster::Slot;
use crate::engine::{Engine, Frame, Own, Phase, Pull, Pulled};
use crate::id::{MemberId, Span};
use crate::message::{Kind, Micros};

/// Where a joiner stands.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Joining {
    /// Counts the sponsors that it started with.
    attempt: u32,
    /// When it founds the group if no member answered.
    found_at: Micros,
    entering: Option<Entering>,
}

/// A joiner that has a cut.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Entering {
    sponsor: Slot,
    since: Micros,
    /// Whom it greets, and who answered.
    greeted: BTreeMap<Slot, bool>,
    /// What it still has to fetch from the sponsor: messages below the cut that are not stable.
    fetch: Vec<Span>,
}

impl Engine {
    /// Joining, or about to: nothing is shown to the application yet.
    pub(super) fn is_joining(&self) -> bool {
        matches!(self.phase, Phase::Joining(_))
    }

    /// Joining without a cut: messages mean nothing yet.
    pub(super) fn is_finding(&self) -> bool {
        matches!(&self.phase, Phase::Joining(Joining { entering: None, .. }))
    }

    /// Begins to look for a sponsor, from nothing, whatever an earlier sponsor said.
    pub(super) fn start_finding(&mut self) {
        let attempt = match &self.phase {
            Phase::Joining(joining) => joining.attempt + 1,
            _ => 1,
        };
        let jitter = self.rng.below(self.config.found_after / 2);
        let found_at = self.now + self.config.found_after + jitter;
        self.phase = Phase::Joining(Joining {
            attempt,
            found_at,
            entering: None,
        });
        self.forget_messages();
        super::no_later(&mut self.timers.pulse, found_at);
        for slot in self.roster.slots() {
            self.join_over(slot);
        }
    }

    /// Someone is a member: ask it, and leave it time to answer before founding.
    pub(super) fn found_later(&mut self, slot: Slot) {
        let later = self.now + self.config.found_after;
        let Phase::Joining(joining) = &mut self.phase else {
            return;
        };
        joining.found_at = joining.found_at.max(later);
        self.join_over(slot);
    }

    fn forget_messages(&mut self) {
        let now = self.now;
        self.roster.all_mut().for_each(|(_, known)| known.forget_messages(now));
        self.log.clear();
        self.waiting.clear();
        self.wanting.clear();
        self.own = Own::default();
        self.owed.clear();
        (self.lamport, self.base_lamport) = (0, 0);
        self.cut = Clock::new();
    }

    /// Uses a link for the join, if it can be used.
    pub(super) fn join_over(&mut self, slot: Slot) {
        let Phase::Joining(joining) = &self.phase else { return };
        let (attempt, intro) = (joining.attempt, self.intro.clone());
        match &joining.entering {
            None => self.say(slot, Frame::JoinAsk { attempt, intro }),
            Some(entering) if entering.greeted.get(&slot) == Some(&false) => {
                let cut = self.cut.clone();
                self.say(slot, Frame::Greet { attempt, intro, cut });
            }
            Some(_) => {}
        }
    }

    /// Retries what was not answered, founds the group if nobody is there, goes on if everyone answered.
    pub(super) fn press_join(&mut self) {
        let Phase::Joining(joining) = &self.phase else { return };
        let soon = self.now + self.config.join_patience;
        match &joining.entering {
            None if joining.found_at <= self.now => {
                if self.former.is_some() {
                    self.adopt(&Clock::new(), 0, &[]);
                }
                return self.become_member();
            }
            None => {
                self.timers.pulse = Some(soon.min(joining.found_at));
                for slot in self.roster.slots() {
                    self.join_over(slot);
                }
            }
            Some(entering) => {
                let (sponsor, wants) = (entering.sponsor, entering.fetch.clone());
                let greet: Vec<Slot> = entering.greeted.keys().copied().collect();
                if self.is_away(sponsor) {
                    return self.start_finding();
                }
                self.timers.pulse = Some(soon);
                greet.into_iter().for_each(|slot| self.join_over(slot));
                if !wants.is_empty() {
                    self.say(sponsor, Frame::Pull(Pull { wants }));
                }
            }
        }
        self.enter_if_ready();
    }

    /// A link or a process is lost; a joiner without its sponsor starts over with another one.
    pub(super) fn join_lost(&mut self, slot: Slot) {
        let Phase::Joining(Joining {
            entering: Some(entering),
            ..
        }) = &self.phase
        else {
            return;
        };
        if entering.sponsor == slot {
            self.start_finding();
        } else {
            self.enter_if_ready();
        }
    }

    /// Begins again with another sponsor, if that was this one; it lied.
    pub(super) fn restart_join(&mut self, sponsor: Slot) -> bool {
        let is_sponsor = |entering: &Entering| entering.sponsor == sponsor;
        let lied =
            matches!(&self.phase, Phase::Joining(Joining { entering: Some(entering), .. }) if is_sponsor(entering));
        if lied {
            self.start_finding();
        }
        lied
    }

    fn is_away(&self, slot: Slot) -> bool {
        let peer = &self.roster[slot].peer;
        peer.refused || self.now > peer.heard_at + self.config.silent_after
    }

    /// A member says that there is no room. Others would say the same: they have the same view.
    pub(super) fn on_full(&mut self, attempt: u32, limit: u32) {
        let Phase::Joining(joining) = &self.phase else { return };
        if joining.entering.is_none() && joining.attempt == attempt {
            self.phase = Phase::Over;
            let limit = limit as usize;
            self.out.push(Output::Full { limit });
        }
    }

    pub(super) fn on_sponsor(&mut self, slot: Slot, sponsor: Sponsor) {
        let Phase::Joining(joining) = &self.phase else { return };
        if joining.entering.is_some() || joining.attempt != sponsor.attempt {
            return;
        }
        let Sponsor {
            attempt,
            cut,
            stable,
            lamport,
            names,
            retired,
            view,
        } = sponsor;
        if cut.get(self.me) > 0 || cut.len() + self.roster.len() > self.config.max_origins {
            return self.odd(slot, "sponsors with a cut that cannot be");
        }
        self.adopt(&cut, lamport, &retired);
        for proof in &view.proofs {
            self.on_proof(proof);
        }
        if matches!(self.phase, Phase::Over) {
            return;
        }
        for Named {
            member,
            name,
            joined_at,
        } in names
        {
            if let Some(of) = self.roster.find(member).filter(|_| cut.get(member) > 0) {
                (self.roster[of].name, self.roster[of].joined_at) = (Some(name), Some(joined_at));
            }
        }
        let mut greeted = BTreeMap::new();
        for record in view.records {
            let (member, counts) = (record.member, record.standing.counts());
            self.merge_record(record);
            let of = self.roster.ensure(member, self.now);
            if counts && of != self.my_slot && (self.config.rules.greet_whole_view || of == slot) {
                greeted.insert(of, false);
            }
        }
        let (member, intro) = (self.me, Some(self.intro.clone()));
        self.merge_record(Record::of(member, 0, Standing::Joining, intro));
        self.rehash_view();
        let mut fetch = if self.config.rules.fetch_unstable {
            between(&stable, &cut)
        } else {
            Vec::new()
        };
        self.has_kept().into_iter().for_each(|span| strike(&mut fetch, span));
        let entering = Entering {
            sponsor: slot,
            since: self.now,
            greeted,
            fetch,
        };
        let found_at = joining_found_at(&self.phase);
        self.phase = Phase::Joining(Joining {
            attempt,
            found_at,
            entering: Some(entering),
        });
        self.press_join();
    }

    /// Starts from a cut: everything in it counts as delivered here, nothing of it is shown.
    fn adopt(&mut self, cut: &Clock, lamport: u64, retired: &[(MemberId, u64)]) {
        self.forget_messages();
        let base = self.base_of(cut);
        let (cut, lamport, retired) = self.with_former(cut, lamport, retired);
        (self.lamport, self.base_lamport) = (lamport, lamport);
        self.recall();
        let mut past = Entries::new();
        for (member, seq) in cut.iter() {
            let slot = self.roster.ensure(member, self.now);
            let known = &mut self.roster[slot];
            (known.delivered, known.base) = (seq, base.get(member));
            known.retired = retired.get(&member).copied();
            if known.retired.is_none_or(|n| n < seq) && !known.is_expelled() {
                past.push((member, seq));
            }
        }
        self.own.past = SharedEntries::from_sorted(past);
        self.cut = cut;
    }

    pub(super) fn on_greeted(&mut self, slot: Slot, attempt: u32, too_low: bool) {
        let Phase::Joining(joining) = &mut self.phase else {
            return;
        };
        let (true, Some(entering)) = (joining.attempt == attempt, &mut joining.entering) else {
            return;
        };
        if too_low {
            return self.start_finding();
        }
        if let Some(answered) = entering.greeted.get_mut(&slot) {
            *answered = true;
            self.enter_if_ready();
        }
    }

    /// Strikes from the list what a sponsor's answer brought, or said to be gone.
    pub(super) fn note_fetched(&mut self, slot: Slot, pulled: &Pulled) {
        let Phase::Joining(Joining {
            entering: Some(entering),
            ..
        }) = &mut self.phase
        else {
            return;
        };
        if entering.sponsor != slot || entering.fetch.is_empty() {
            return;
        }
        for run in pulled.runs.iter().filter(|run| !run.is_empty()) {
            strike(
                &mut entering.fetch,
                Span {
                    origin: run.origin(),
                    from: run.first(),
                    to: run.last(),
                },
            );
        }
        pulled
            .gone
            .iter()
            .chain(&pulled.never)
            .for_each(|span| strike(&mut entering.fetch, *span));
        let wants = entering.fetch.clone();
        if wants.is_empty() {
            return super::no_later(&mut self.timers.pulse, self.now);
        }
        self.say(slot, Frame::Pull(Pull { wants }));
    }

    fn enter_if_ready(&mut self) {
        let Phase::Joining(Joining {
            entering: Some(entering),
            ..
        }) = &self.phase
        else {
            return;
        };
        let late = self.now > entering.since + self.config.silent_after;
        let answered = |(slot, answered): (&Slot, &bool)| {
            *answered
                || self.roster[*slot].peer.refused
                || (late && self.is_away(*slot))
                || !self.roster[*slot].counts()
        };
        let sponsor_knows = entering.greeted.get(&entering.sponsor).copied().unwrap_or(true);
        if entering.fetch.is_empty() && sponsor_knows && entering.greeted.iter().all(answered) {
            self.become_member();
        }
    }

    /// Speaks: everything delivered since the cut is shown, then one's own join message.
    fn become_member(&mut self) {
        self.phase = Phase::Member;
        self.former = None;
        self.schedule_exchange();
        self.timers.pulse = Some(self.now + super::PULSE);
        let shown = self.log.pieces().cloned();
        self.out
            .extend(shown.map(|piece| Output::Deliver { piece, held_for: 0 }));
        let name = Bytes::copy_from_slice(self.intro.name.as_bytes());
        self.speak(Kind::Join, name, 0);
        // Nobody has anything of this member yet: its streams begin at once.
        for slot in self.roster.slots() {
            self.start_push(slot, 0);
        }
        self.rehash_view();
        self.beat_everyone(true);
    }
}

fn joining_found_at(phase: &Phase) -> Micros {
    match phase {
        Phase::Joining(joining) => joining.found_at,
        _ => 0,
    }
}

/// What is in `cut` and not in `stable`.
pub(super) fn between(stable: &Clock, cut: &Clock) -> Vec<Span> {
    cut.iter()
        .map(|(origin, to)| Span {
            origin,
            from: stable.get(origin).saturating_add(1),
            to,
        })
        .filter(|span| span.from <= span.to)
        .collect()
}

/// Takes a span out of a list of spans.
pub(super) fn strike(list: &mut Vec<Span>, done: Span) {
    let mut rest = Vec::with_capacity(list.len());
    for span in list.drain(..) {
        if span.origin != done.origin || done.to < span.from || done.from > span.to {
            rest.push(span);
            continue;
        }
        if span.from < done.from {
            rest.push(Span {
                to: done.from - 1,
                ..span
            });
        }
        if span.to > done.to {
            rest.push(Span {
                from: done.to + 1,
                ..span
            });
        }
    }
    *list = rest;
}
