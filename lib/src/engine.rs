//! The engine of one member of one group: pure, single-threaded, no clock of its own.
//!
//! One input, take all outputs, next. Time comes in with every input; [`Engine::deadline`] says when the engine
//! wants an [`Input::Tick`] at the latest. The same engine runs in the simulator, in the model checker and on
//! the wire.

mod chain;
mod config;
mod dam;
mod frame;
mod held;
mod io;
mod log;
mod pace;
mod query;
mod roster;

mod beat;
mod closing;
mod gap;
mod hold;
mod join;
mod leave;
mod members;
mod own;
mod proof;
mod ration;
mod recall;
pub(crate) mod receive;
mod relay;
pub(crate) mod repair;
mod restore;
mod retire;
pub(crate) mod seal;
mod send;
mod sponsor;
mod stability;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

pub use config::{Config, Rules};
pub use dam::Dam;
pub use frame::{Beat, Frame, Named, Pull, Pulled, PushAck, Record, Sponsor, Stage, Standing, View};
pub use io::{Batch, Input, Missing, Notice, Output, Refusal, Whereabouts};
pub use query::{HeldView, MemberView};
pub use restore::{Acquaintance, Former, Sealing, Standpoint};

use crate::clock::{Clock, SharedEntries};
use crate::id::{MemberId, NodeId};
use crate::message::{Intro, Micros};
use crate::run::Composer;
use crate::sign::Signer;
use held::Waiting;
use join::Joining;
use log::Log;
use roster::{Roster, Slot, Slots};

/// One member's part in one group.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Engine {
    config: Config,
    /// What one's own messages are signed with; none in a group that is not signed.
    signer: Option<Signer>,
    me: MemberId,
    my_slot: Slot,
    intro: Intro,
    rng: Rng,
    now: Micros,
    phase: Phase,
    lamport: u64,
    cut: Clock,
    /// The greatest Lamport time in what is not kept any more.
    base_lamport: u64,
    roster: Roster,
    log: Log,
    waiting: Waiting,
    wanting: Slots,
    own: Own,
    offers: Offers,
    owed: Vec<Slot>,
    /// Nodes that a registry vouches for; the caller bounds them.
    leases: BTreeSet<NodeId>,
    view_hash: u64,
    view_changed: bool,
    stable: Stable,
    /// Bytes delivered since every peer was last given a digest.
    since_digest: usize,
    /// What this member says is to be provable at once, for it is kept.
    stores: bool,
    /// An earlier life of this member, until it has joined; and its id and last seq.
    former: Option<Arc<Former>>,
    succeeds: Option<(MemberId, u64)>,
    /// History that is asked of others.
    recall: Option<recall::Recall>,
    window_full_since: Option<Micros>,
    timers: Timers,
    out: Vec<Output>,
}

/// Where this member stands itself.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Phase {
    Joining(Joining),
    Member,
    /// Its leave is delivered here and on its way to the others.
    Leaving,
    /// Left, or broken.
    Over,
}

/// One's own messages beyond what the log has of every message.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
struct Own {
    /// The clock of the next message, its own entry left out.
    past: SharedEntries,
    /// Members whose entry changed since one's last message.
    dirty: Vec<Slot>,
    /// For each piece of own messages in the log: encoded bytes of everything before its run.
    starts: VecDeque<u64>,
    /// Encoded bytes of all.
    size: u64,
    /// Lamport and wall time of the last one.
    times: (u64, u64),
    /// Room for the bytes of more of them: empty, so that it changes nothing.
    room: BytesMut,
    /// What is being said in this turn, and not delivered yet; the tickets of those messages.
    open: Option<Composer>,
    /// Up to where everyone has it whom that is to wait for, as seq and bytes; none: nobody is waited for. Looked up once
    /// a turn.
    slowest: Option<(u64, u64)>,
    tickets: Vec<u64>,
}

/// Peers that may have room for a batch now: something changed for them since that was looked at. Empty between turns.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
struct Offers {
    all: bool,
    to: Vec<Slot>,
}

/// What every member that counts has delivered, computed when it is needed.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
struct Stable {
    /// By slot.
    seqs: Vec<u64>,
    /// Something that it follows from changed since.
    stale: bool,
}

/// When to do what; absent: not waiting for that.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
struct Timers {
    /// Silence, heartbeats, stalled pushes, retries of the join.
    pulse: Option<Micros>,
    exchange: Option<Micros>,
    repair: Option<Micros>,
    acks: Option<Micros>,
    pushes: Option<Micros>,
    window: Option<Micros>,
}

/// A pause between two looks at silence, heartbeats and stalled pushes: a small part of the shortest of them.
const PULSE: Micros = 250_000;

impl Engine {
    /// A member that is about to join: it looks for others over its links, and founds the group if there are none.
    ///
    /// `seed` feeds its jitter and its choice of partners; two engines with the same inputs are equal.
    pub fn new(config: Config, me: MemberId, intro: Intro, seed: u64, now: Micros) -> Self {
        let mut engine = Self::blank(config, me, intro, seed, now);
        engine.start_finding();
        engine.timers.pulse = Some(now + engine.config.join_patience.min(PULSE));
        engine
    }

    /// A member of a group whose members are all known: everyone starts at the empty cut, with links to nobody,
    /// and without join messages. The n-th has port 1024 + n of the loopback address. For benchmarks and model checking.
    pub fn established(config: Config, me: MemberId, members: &[MemberId], seed: u64, now: Micros) -> Self {
        let intro = |(nth, member): (usize, &MemberId)| Intro {
            node: crate::id::NodeId(member.0),
            name: member.short(),
            addr: std::net::SocketAddr::from(([127, 0, 0, 1], 1024 + nth as u16)),
        };
        let mine = members.iter().position(|member| *member == me).unwrap_or(members.len());
        let mut engine = Self::blank(config, me, intro((mine, &me)), seed, now);
        for (nth, member) in members.iter().enumerate() {
            let record = Record::of(*member, 0, Standing::Member, Some(intro((nth, member))));
            engine.merge_record(record);
        }
        engine.view_changed = false;
        engine.rehash_view();
        engine.phase = Phase::Member;
        engine.timers.pulse = Some(now + PULSE);
        engine.schedule_exchange();
        engine
    }

    fn blank(config: Config, me: MemberId, intro: Intro, seed: u64, now: Micros) -> Self {
        let mut roster = Roster::default();
        let my_slot = roster.ensure(me, now);
        Self {
            config,
            signer: None,
            me,
            my_slot,
            intro,
            rng: Rng(seed),
            now,
            phase: Phase::Joining(Joining::default()),
            lamport: 0,
            cut: Clock::new(),
            base_lamport: 0,
            roster,
            log: Log::default(),
            waiting: Waiting::default(),
            wanting: Slots::new(),
            own: Own::default(),
            offers: Offers::default(),
            owed: Vec::new(),
            leases: BTreeSet::new(),
            view_hash: 0,
            view_changed: false,
            stable: Stable::default(),
            since_digest: 0,
            stores: false,
            former: None,
            succeeds: None,
            recall: None,
            window_full_since: None,
            timers: Timers::default(),
            out: Vec::new(),
        }
    }

    /// Takes one input; returns everything that follows from it, in order.
    pub fn handle(&mut self, input: Input, now: Micros) -> Vec<Output> {
        let mut out = Vec::new();
        self.handle_all(std::iter::once(input), now, &mut out);
        out
    }

    /// Takes inputs that came together, and adds everything that follows from them to `out`, in order.
    ///
    /// What one input would have set going, a push or a trim, is done once for all of them: with many messages at
    /// a time this is cheaper, and batches are as long as they can be. `out` may keep its capacity between calls.
    pub fn handle_all(&mut self, inputs: impl IntoIterator<Item = Input>, now: Micros, out: &mut Vec<Output>) {
        if matches!(self.phase, Phase::Over) {
            return;
        }
        // A clock that went backwards must not make timers wait for ever.
        self.now = self.now.max(now);
        std::mem::swap(&mut self.out, out);
        for input in inputs {
            if !matches!(input, Input::Send { .. }) {
                self.finish_saying();
            }
            self.rehash_view();
            self.take(input);
            if matches!(self.phase, Phase::Over) {
                break;
            }
        }
        self.finish_saying();
        // One that is over says nothing more.
        if !matches!(self.phase, Phase::Over) {
            self.on_time();
            self.settle();
        }
        std::mem::swap(&mut self.out, out);
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Send {
                ticket,
                kind,
                payload,
                sent_at,
            } => self.on_send(ticket, kind, payload, sent_at),
            Input::Frame { from, frame } => self.on_frame(from, frame),
            Input::LinkUp { peer } => self.on_link_up(peer),
            Input::LinkDown { peer } => self.on_link_down(peer),
            Input::Refused { peer } => self.on_refused(peer),
            Input::Leave { reason, sent_at } => self.on_leave(reason, sent_at),
            Input::Lease { node, live } => self.on_lease(node, live),
            Input::Recall { wants } => self.on_recall(wants),
            Input::CaughtUp => self.restart_streams(),
            Input::Tick => {}
        }
    }

    /// When it wants a `Tick`, at the latest. A tick before that does nothing.
    pub fn deadline(&self) -> Option<Micros> {
        let Timers {
            pulse,
            exchange,
            repair,
            acks,
            pushes,
            window,
        } = self.timers;
        if matches!(self.phase, Phase::Over) {
            return None;
        }
        [pulse, exchange, repair, acks, pushes, window]
            .into_iter()
            .flatten()
            .min()
    }

    fn on_frame(&mut self, from: MemberId, frame: Frame) {
        if from == self.me || !self.admits(from) {
            return;
        }
        let slot = self.roster.ensure(from, self.now);
        if self.roster[slot].is_expelled() {
            return self.dismiss(slot);
        }
        self.heard(slot);
        self.spoke(slot);
        match frame {
            Frame::Push(run) => self.on_push(slot, run),
            Frame::PushAck(ack) => self.on_push_ack(slot, ack),
            Frame::Beat(beat) => self.on_beat(slot, beat),
            Frame::View(view) => self.on_view(slot, view),
            Frame::Pull(pull) => self.on_pull(slot, pull),
            Frame::Pulled(pulled) => self.on_pulled(slot, pulled),
            Frame::JoinAsk { attempt, intro } => self.on_join_ask(slot, attempt, intro),
            Frame::Sponsor(sponsor) => self.on_sponsor(slot, sponsor),
            Frame::Greet { attempt, intro, cut } => self.on_greet(slot, attempt, intro, cut),
            Frame::Full { attempt, limit } => self.on_full(attempt, limit),
            Frame::Greeted { attempt, too_low } => self.on_greeted(slot, attempt, too_low),
            Frame::Shown { member, key, statement } => self.on_shown(member, key, &statement),
            Frame::Proof(proof) => self.on_proof(&proof),
            Frame::Answer { .. } | Frame::Asking { .. } | Frame::Order { .. } => {}
        }
    }

    fn on_time(&mut self) {
        if due(&mut self.timers.pulse, self.now) {
            self.timers.pulse = Some(self.now + PULSE);
            self.watch_silence();
            self.review_ends();
            self.retire_lowest();
            self.resume_stalled_pushes();
            self.send_heartbeats();
            self.press_join();
            self.press_recall();
        }
        if due(&mut self.timers.exchange, self.now) {
            self.exchange_digests();
        }
        if due(&mut self.timers.repair, self.now) {
            self.pull_missing();
        }
        if due(&mut self.timers.acks, self.now) {
            self.acknowledge_late();
        }
        if due(&mut self.timers.pushes, self.now) {
            self.offers.all = true;
        }
        if due(&mut self.timers.window, self.now) {
            self.mark_lagging();
        }
    }

    /// What follows from any input: pushes, digests, a finished leave, a trimmed log, news of the view.
    fn settle(&mut self) {
        self.rehash_view();
        if self.since_digest >= self.config.digest_every {
            self.beat_everyone(false);
        }
        // First trim, then offer: the caller encodes what is offered after this returns.
        self.trim();
        self.offer_pushes();
        self.review_window();
        self.finish_leave();
        if std::mem::take(&mut self.view_changed) {
            self.out.push(Output::ViewChanged);
        }
    }

    /// Whether a member that is not known yet may be added on a peer's word.
    fn admits(&self, id: MemberId) -> bool {
        self.roster.find(id).is_some() || self.roster.len() < self.config.max_origins
    }

    fn say(&mut self, slot: Slot, frame: Frame) {
        let peer = &mut self.roster[slot].peer;
        if peer.linked {
            peer.told_at = self.now;
            let to = self.roster[slot].id;
            self.out.push(Output::Send { to, frame });
        }
    }

    fn odd(&mut self, slot: Slot, what: &'static str) {
        let peer = self.roster[slot].id;
        self.out.push(Output::Notice(Notice::Odd { peer, what }));
    }

    /// An invariant does not hold: stop this group, not the host program.
    fn broken(&mut self, why: String) {
        self.phase = Phase::Over;
        self.out.push(Output::Broken(why));
    }
}

/// Whether a timer is due; then it is taken.
fn due(timer: &mut Option<Micros>, now: Micros) -> bool {
    match *timer {
        Some(at) if at <= now => {
            *timer = None;
            true
        }
        _ => false,
    }
}

/// Sets a timer to the earlier of what it is and `at`.
fn no_later(timer: &mut Option<Micros>, at: Micros) {
    *timer = Some(timer.map_or(at, |set| set.min(at)));
}

/// SplitMix64 (Steele, Lea and Flood 2014): jitter and the choice of partners; nothing secret.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to below `bound`; 0 if `bound` is 0.
    fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.next() % bound }
    }
}

/// The bytes to push for a batch of one's own messages.
impl Engine {
    /// The messages of a batch that an `Output::Push` named, as a run. Only until the next `handle`.
    pub fn own_run(&self, batch: Batch) -> crate::run::Run {
        crate::run::Run::decode(&self.encode_own(batch).concat().into()).expect("own messages are well formed")
    }

    /// The same as bytes, in slices that put together are what [`crate::Run::decode`] reads. Two batches that are equal
    /// have equal bytes.
    pub fn encode_own(&self, batch: Batch) -> Vec<Bytes> {
        self.write_own(batch)
    }
}
