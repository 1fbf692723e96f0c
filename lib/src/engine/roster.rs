//! Everything known about each member of the group, in a table with small integers as keys.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::allowance::Allowance;
use crate::chain::Proof;
use crate::clock::{Clock, SharedEntries};
use crate::engine::chain::Chain;
use crate::engine::frame::Standing;
use crate::engine::held::Row;
use crate::engine::pace::Pusher;
use crate::id::MemberId;
use crate::message::{Intro, Micros};

/// A member's place in the table: stable for the life of the engine.
pub(super) type Slot = u32;

/// All members ever named, most of them with a record in the view.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Roster {
    slots: Vec<Known>,
    by_id: BTreeMap<MemberId, Slot>,
}

/// One member, as known here.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Known {
    pub(super) id: MemberId,
    /// Its record in the view.
    pub(super) record: Option<Registration>,
    /// The name in its join message, for those whose introduction never came by.
    pub(super) name: Option<String>,
    /// Lamport time of its join message, if that was delivered here.
    pub(super) joined_at: Option<u64>,
    /// How many of its messages are delivered here.
    pub(super) delivered: u64,
    /// How many of them are below the cut, trimmed from the log, or in a base that a gap skipped to (of those some may
    /// still be kept): a causally closed set.
    pub(super) base: u64,
    /// Lamport time of the last delivered one; 0 if that is below the cut.
    pub(super) lamport: u64,
    /// Where its messages are in the log, up to `delivered`: the first seq of each piece, and the piece's position.
    pub(super) places: VecDeque<(u64, u64)>,
    /// Where its push stream stands, to decode change lists.
    pub(super) stream: Option<Stream>,
    /// Its messages that wait, by seq.
    pub(super) held: Row,
    pub(super) held_bytes: usize,
    /// What is missing of it.
    pub(super) want: Option<Want>,
    /// It is in the list of entries changed since one's own last message.
    pub(super) dirty: bool,
    /// It is in the list of members that are owed an acknowledgement.
    pub(super) owed: bool,
    pub(super) peer: Peer,
    /// What is being done about its end.
    pub(super) end: End,
    /// Clocks leave it out while its entry is at most this.
    pub(super) retired: Option<u64>,
    /// In a signed group: what is known of its chain.
    pub(super) chain: Chain,
    /// It signed badly: its stream is not taken any more.
    pub(super) distrusted: bool,
    /// That it signed two histories.
    pub(super) proof: Option<Arc<Proof>>,
    /// What depends on it need not wait: it is expelled.
    pub(super) void: bool,
}

/// What is known about the end of a member.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct End {
    /// Its record says that it left or is closed, since then.
    pub(super) ended_at: Option<Micros>,
    /// It is closed, delivered to its last message, and the application knows; since then.
    pub(super) settled_at: Option<Micros>,
    /// At which last seq that was.
    pub(super) settled_last: u64,
}

/// The part of a view record that changes.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Registration {
    pub(super) generation: u32,
    pub(super) standing: Standing,
    /// Its leave message was sent: it will not come back.
    pub(super) goodbye: bool,
    pub(super) intro: Option<Intro>,
}

/// The last message decoded from a push stream.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Stream {
    pub(super) last: u64,
    pub(super) past: SharedEntries,
}

/// Messages of one origin that are known to exist and not here.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Want {
    /// Up to and including this seq.
    pub(super) upto: u64,
    /// When to ask, or to ask again.
    pub(super) next: Micros,
    /// How often it was asked for since the last progress.
    pub(super) tries: u32,
    /// Who sent the message that depends on it.
    pub(super) via: MemberId,
    /// `delivered` when `next` was set: progress since then defers a try.
    pub(super) mark: u64,
    /// Who was asked since the last progress, in order.
    pub(super) asked: Vec<MemberId>,
    /// The first missing seq, which `lacking` is about.
    pub(super) first: u64,
    /// Members that do not have it, said since the need arose; with a base if they once had it.
    pub(super) lacking: BTreeMap<Slot, Option<(Clock, u64)>>,
}

/// What is known of a member as a partner in talk.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Peer {
    pub(super) linked: bool,
    /// Its address refused a connection since the last sign of it.
    pub(super) refused: bool,
    /// The last sign of it; before any, when it was first named here.
    pub(super) heard_at: Micros,
    /// It gave a sign itself, and is not only named by others.
    pub(super) heard: bool,
    pub(super) silent: bool,
    pub(super) lagging: bool,
    /// When something was last said to it.
    pub(super) told_at: Micros,
    /// What it has delivered, at least.
    pub(super) digest: Clock,
    /// How long it takes to answer a batch, smoothed: the network both ways, and what waits before it. 0: not known.
    pub(super) turn: Micros,
    /// How many of one's own messages it has delivered, at least.
    pub(super) acked: u64,
    /// When that last grew.
    pub(super) acked_at: Micros,
    /// A digest whose view is not merged yet, with that view's hash.
    pub(super) unmerged: Option<(u64, Clock)>,
    /// Hash of the last view merged from it.
    pub(super) merged_view: u64,
    /// Hash of the view last sent to it, and when.
    pub(super) view_sent: Option<(u64, Micros)>,
    pub(super) push: Option<Pusher>,
    /// Its last heartbeat that counts, and what that said of others.
    pub(super) beat_at: Micros,
    pub(super) hears: Arc<[MemberId]>,
    pub(super) sees_gone: Arc<[MemberId]>,
    /// Since when it is silent and nobody who counts hears it.
    pub(super) unheard_since: Micros,
    /// Since when its address refuses connections.
    pub(super) refused_at: Micros,
    /// Everyone was told that it seems gone.
    pub(super) gone_told: bool,
    /// The attempt of the last greeting.
    pub(super) attempt: u32,
    /// How much its pulls may still bring it.
    pub(super) pulls: Allowance,
}

impl Roster {
    pub(super) fn find(&self, id: MemberId) -> Option<Slot> {
        self.by_id.get(&id).copied()
    }

    /// Finds or adds. Whoever adds on a peer's word checks the limit on origins first.
    pub(super) fn ensure(&mut self, id: MemberId, now: Micros) -> Slot {
        if let Some(slot) = self.find(id) {
            return slot;
        }
        let slot = self.slots.len() as Slot;
        self.slots.push(Known::new(id, now));
        self.by_id.insert(id, slot);
        slot
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// All slots, ascending by member id.
    pub(super) fn by_id(&self) -> impl Iterator<Item = (MemberId, Slot)> + '_ {
        self.by_id.iter().map(|(&id, &slot)| (id, slot))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (Slot, &Known)> {
        self.slots.iter().enumerate().map(|(slot, known)| (slot as Slot, known))
    }

    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = (Slot, &mut Known)> {
        self.slots
            .iter_mut()
            .enumerate()
            .map(|(slot, known)| (slot as Slot, known))
    }

    pub(super) fn slots(&self) -> std::ops::Range<Slot> {
        0..self.slots.len() as Slot
    }

    pub(super) fn delivered_of(&self, id: MemberId) -> u64 {
        self.find(id).map_or(0, |slot| self[slot].delivered)
    }

    /// A clock with one value of every member.
    pub(super) fn clock(&self, value: impl Fn(&Known) -> u64) -> Clock {
        let entries = self.by_id.iter().map(|(&id, &slot)| (id, value(&self[slot])));
        Clock::from_sorted(entries.filter(|entry| entry.1 > 0).collect())
    }
}

impl std::ops::Index<Slot> for Roster {
    type Output = Known;

    fn index(&self, slot: Slot) -> &Known {
        &self.slots[slot as usize]
    }
}

impl std::ops::IndexMut<Slot> for Roster {
    fn index_mut(&mut self, slot: Slot) -> &mut Known {
        &mut self.slots[slot as usize]
    }
}

impl Known {
    fn new(id: MemberId, now: Micros) -> Self {
        Self {
            id,
            record: None,
            name: None,
            joined_at: None,
            delivered: 0,
            base: 0,
            lamport: 0,
            places: VecDeque::new(),
            stream: None,
            held: Row::default(),
            held_bytes: 0,
            want: None,
            dirty: false,
            owed: false,
            peer: Peer {
                heard_at: now,
                ..Peer::default()
            },
            end: End::default(),
            retired: None,
            chain: Chain::default(),
            distrusted: false,
            proof: None,
            void: false,
        }
    }

    /// Back to "nothing received", for a joiner that starts over. What is known of the link stays, and who has ended:
    /// there is patience anew for what it is said to have left.
    pub(super) fn forget_messages(&mut self, now: Micros) {
        let fresh = Self::new(self.id, 0);
        let end = End {
            ended_at: self.end.ended_at.map(|_| now),
            ..End::default()
        };
        let record = self.record.take();
        let name = self.name.take();
        let peer = Peer {
            linked: self.peer.linked,
            refused: self.peer.refused,
            heard_at: self.peer.heard_at,
            heard: self.peer.heard,
            refused_at: self.peer.refused_at,
            told_at: self.peer.told_at,
            attempt: self.peer.attempt,
            ..Peer::default()
        };
        let chain = Chain::of(self.chain.key);
        *self = Self {
            chain,
            distrusted: self.distrusted,
            proof: self.proof.take(),
            void: self.void,
            record,
            name,
            peer,
            end,
            ..fresh
        };
    }

    pub(super) fn counts(&self) -> bool {
        self.record.as_ref().is_some_and(|record| record.standing.counts())
    }

    /// It signed two histories: what it says, and what others say that depends on it, means nothing.
    pub(super) fn is_expelled(&self) -> bool {
        self.proof.is_some()
    }

    /// Where it stands, if it has a record.
    pub(super) fn standing(&self) -> Option<Standing> {
        self.record.as_ref().map(|record| record.standing)
    }

    /// The last seq that it is said to have, if it left or is closed.
    pub(super) fn bound(&self) -> Option<u64> {
        match self.standing()? {
            Standing::Left(n) | Standing::Closed(n) => Some(n),
            Standing::Joining | Standing::Member | Standing::Expelled => None,
        }
    }

    /// Its join message is delivered here. Before that what it said of itself may be taken back, for a joiner
    /// may have to start over from a lower cut.
    pub(super) fn speaks(&self) -> bool {
        self.delivered > 0
    }

    /// There is hope of an answer from it now.
    pub(super) fn is_there(&self) -> bool {
        self.counts() && !self.peer.silent && !self.peer.refused
    }

    /// The seq of its oldest message in the log; `delivered + 1` if there is none.
    pub(super) fn logged_from(&self) -> u64 {
        self.places.front().map_or(self.delivered + 1, |place| place.0)
    }

    /// The first of its pieces in the log, from `first` to `last`, was trimmed up to `upto`. Whether its place is gone.
    pub(super) fn trimmed(&mut self, first: u64, upto: u64, last: u64) -> bool {
        // What a gap skipped over is not indexed any more.
        let Some(place) = self.places.front_mut().filter(|place| place.0 == first) else {
            return false;
        };
        place.0 = upto + 1;
        if upto == last {
            self.places.pop_front();
        }
        self.base = self.base.max(upto);
        upto == last
    }

    /// The log position of the piece that has one of its messages.
    pub(super) fn position(&self, seq: u64) -> Option<u64> {
        if seq > self.delivered {
            return None;
        }
        let after = self.places.partition_point(|place| place.0 <= seq);
        Some(self.places.get(after.checked_sub(1)?)?.1)
    }
}

/// Slots with something to do, in order; the set is small beside the roster.
pub(super) type Slots = BTreeSet<Slot>;
