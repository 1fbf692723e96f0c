//! The view: a record for every member ever named, merged by maximum, equal everywhere in the end.

use crate::clock::Clock;
use crate::engine::frame::{Record, Standing, View};
use crate::engine::roster::{Registration, Slot};
use crate::engine::{Engine, Phase};

impl Engine {
    /// Takes what someone knows about a member; of two records the greater (generation, standing) holds.
    pub(super) fn merge_record(&mut self, record: Record) {
        let Record {
            member,
            mut generation,
            mut standing,
            goodbye,
            intro,
        } = self.succeeded(record);
        let slot = self.roster.ensure(member, self.now);
        if standing == Standing::Expelled || self.roster[slot].is_expelled() {
            // It is believed with the proof, and was noted with that.
            return;
        }
        let stays = matches!(self.phase, Phase::Member | Phase::Joining(_));
        if slot == self.my_slot && stays && !standing.counts() {
            // Whoever closed this member was wrong: it is alive, and says so above their record.
            let mine = self.roster[slot].record.as_ref().map_or(0, |mine| mine.generation);
            if generation < mine {
                return;
            }
            let again = if self.is_joining() {
                Standing::Joining
            } else {
                Standing::Member
            };
            (generation, standing) = (generation.saturating_add(1), again);
        }
        if slot == self.my_slot && matches!(self.phase, Phase::Leaving) && standing.counts() {
            // Whoever reopened this member did not know that it is leaving.
            let mine = self.roster[slot].record.as_ref().map_or(0, |mine| mine.generation);
            if generation <= mine {
                return;
            }
            let last = self.roster[slot].delivered;
            (generation, standing) = (generation.saturating_add(1), Standing::Left(last));
        }
        let (now, generations) = (self.now, self.config.rules.generations);
        let known = &mut self.roster[slot];
        match &mut known.record {
            None => {
                known.peer.heard_at = known.peer.heard_at.max(now);
                known.record = Some(Registration {
                    generation,
                    standing,
                    goodbye,
                    intro,
                });
            }
            Some(old) => {
                let news = match generations {
                    true => (generation, standing) > (old.generation, old.standing),
                    false => standing > old.standing,
                };
                let intro_is_new = old.intro.is_none() && intro.is_some();
                let goodbye_is_new = goodbye && !std::mem::replace(&mut old.goodbye, true);
                if !news && !intro_is_new && !goodbye_is_new {
                    return;
                }
                if news {
                    if old.standing == Standing::Joining {
                        // What it said while it joined may be of an earlier attempt, with a higher cut.
                        (known.peer.acked, known.peer.digest) = (0, Clock::new());
                    }
                    (old.generation, old.standing) = (generation, standing);
                }
                if intro_is_new {
                    old.intro = intro;
                }
                if !news {
                    return self.changed_view();
                }
            }
        }
        self.note_end(slot);
        self.changed_view();
    }

    /// Every origin that is named in a delivered or held clock has a record: it counts until it is known better. One
    /// that was never heard is silent from now on, so that nobody waits for a name that may be made up.
    pub(super) fn ensure_record(&mut self, slot: Slot) {
        if self.roster[slot].record.is_none() {
            let now = self.now;
            let peer = &mut self.roster[slot].peer;
            if !peer.linked && !peer.heard && slot != self.my_slot {
                (peer.silent, peer.unheard_since) = (true, now);
            }
            let member = self.roster[slot].id;
            self.merge_record(Record::of(member, 0, Standing::Member, None));
        }
    }

    pub(super) fn note_joined(&mut self, slot: Slot) {
        let member = self.roster[slot].id;
        let intro = (slot == self.my_slot).then(|| self.intro.clone());
        let generation = match &self.roster[slot].record {
            // A member that was thought closed while it joined goes on in the generation that it raised.
            Some(record) if record.standing == Standing::Joining => record.generation,
            _ => 0,
        };
        self.merge_record(Record::of(member, generation, Standing::Member, intro));
    }

    pub(super) fn note_left(&mut self, slot: Slot, last: u64) {
        let member = self.roster[slot].id;
        let generation = self.roster[slot].record.as_ref().map_or(0, |record| record.generation);
        if slot == self.my_slot {
            self.phase = Phase::Leaving;
        }
        self.merge_record(Record::of(member, generation, Standing::Left(last), None));
    }

    pub(super) fn changed_view(&mut self) {
        self.view_changed = true;
        self.view_hash = 0;
        self.stable.stale = true;
    }

    /// All records of the view.
    pub fn records(&self) -> Vec<Record> {
        let record = |slot: Slot| {
            let known = &self.roster[slot];
            let Registration {
                generation,
                standing,
                goodbye,
                intro,
            } = known.record.clone()?;
            Some(Record {
                member: known.id,
                generation,
                standing,
                goodbye,
                intro,
            })
        };
        self.roster.by_id().filter_map(|(_, slot)| record(slot)).collect()
    }

    /// The view as it is told: all records, and as many proofs as fit.
    pub(super) fn view(&mut self) -> View {
        View {
            records: self.records(),
            proofs: self.proofs(),
        }
    }

    /// Brings the hash up to date; 0 stands for "changed since".
    pub(super) fn rehash_view(&mut self) {
        if self.view_hash == 0 {
            self.view_hash = hash_of(&self.records());
        }
    }
}

/// A hash of what is merged: whoever has the same has the same view. Never 0.
pub(super) fn hash_of(records: &[Record]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    for record in records {
        let (rank, n) = match record.standing {
            Standing::Joining => (0u8, 0),
            Standing::Member => (1, 0),
            Standing::Left(n) => (2, n),
            Standing::Closed(n) => (3, n),
            Standing::Expelled => (4, 0),
        };
        hasher.update(&record.member.0);
        hasher.update(&record.generation.to_be_bytes());
        hasher.update(&[rank, u8::from(record.intro.is_some()), u8::from(record.goodbye)]);
        hasher.update(&n.to_be_bytes());
    }
    let bytes = hasher.finalize();
    u64::from_be_bytes(bytes.as_bytes()[..8].try_into().expect("8 bytes")).max(1)
}
