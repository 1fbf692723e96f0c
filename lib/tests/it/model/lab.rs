//! The engines under examination, each kept once, with every step that was ever tried on it.
//!
//! An engine is a pure function of its state and its input, so a step needs to be run only once: the same state
//! and the same input give the same state and the same outputs again. What the checker handles are references.
//! Their ids are hashes of the contents; two contents with one hash would stop the run.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};
use std::sync::{Arc, RwLock};

use bytes::Bytes;
use multicast::engine::{Config, Engine, Frame, Input, Notice, Output};
use multicast::{Kind, MemberId, Message, Micros};

/// In the explored part of a run clocks stay below this, and so far only what is missing is ever asked for.
const SOON: Micros = 1_000;

/// A member by number.
pub(crate) type Seat = usize;

/// An engine at rest, with what the oracle wants to know of it.
pub(crate) struct Rest {
    pub(crate) id: u64,
    pub(crate) engine: Engine,
    /// Everything that it delivered, in order: the ghost history.
    pub(crate) log: Vec<Heard>,
    /// S13: what is wrong with the engine itself.
    pub(crate) flaw: Option<String>,
}

/// A delivered message: its origin, its seq, and a hash of everything in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Heard {
    pub(crate) origin: Seat,
    pub(crate) seq: u64,
    pub(crate) content: u64,
}

/// A frame on its way.
pub(crate) struct Flight {
    pub(crate) id: u64,
    pub(crate) from: Seat,
    pub(crate) to: Seat,
    pub(crate) frame: Frame,
}

/// What happens to one engine.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Stimulus {
    /// The application sends its next message.
    Send,
    /// The frame with this id arrives.
    Frame(u64),
    /// The link to this member is gone.
    LinkDown(Seat),
    /// Just enough time passes for what is missing to be asked for.
    Impatience,
}

/// What came of it.
pub(crate) struct Step {
    pub(crate) rest: Arc<Rest>,
    pub(crate) flights: Vec<Arc<Flight>>,
    /// An output that no correct group of correct members produces.
    pub(crate) complaint: Option<String>,
}

/// All engines, frames and steps so far.
pub(crate) struct Lab {
    ids: Vec<MemberId>,
    rests: Shelf<u64, Rest>,
    flights: Shelf<u64, Flight>,
    steps: Shelf<(u64, Stimulus), Step>,
}

impl Lab {
    pub(crate) fn new(members: usize) -> Self {
        Self {
            ids: (1..=members as u128).map(|n| MemberId::from(n << 96)).collect(),
            rests: Shelf::default(),
            flights: Shelf::default(),
            steps: Shelf::default(),
        }
    }

    /// Engines at time 0 that are linked to each other and have said all that they have to say at first.
    pub(crate) fn greeted(&self, config: &Config) -> Vec<Arc<Rest>> {
        let new = |(seat, &id): (usize, &MemberId)| Engine::established(config.clone(), id, &self.ids, seat as u64, 0);
        let mut engines: Vec<Engine> = self.ids.iter().enumerate().map(new).collect();
        let mut wire = Wire::default();
        for seat in 0..engines.len() {
            for peer in (0..engines.len()).filter(|peer| *peer != seat) {
                let peer = self.ids[peer];
                wire.feed(self, &mut engines, seat, Input::LinkUp { peer }, 0);
            }
        }
        wire.run_dry(self, &mut engines, 0);
        engines.into_iter().map(|engine| self.keep(engine)).collect()
    }

    /// Runs a step, or remembers how it went.
    pub(crate) fn step(&self, rest: &Arc<Rest>, stimulus: Stimulus) -> Arc<Step> {
        self.steps.get_or(&(rest.id, stimulus), || self.try_out(rest, stimulus))
    }

    fn try_out(&self, rest: &Rest, stimulus: Stimulus) -> Step {
        let (seat, mut now) = (self.seat(rest.engine.me()), 0);
        let input = match stimulus {
            Stimulus::Send => self.next_message(&rest.engine),
            Stimulus::Frame(id) => {
                let flight = self.flights.get(&id).expect("it was sent");
                let (from, frame) = (self.ids[flight.from], flight.frame.clone());
                Input::Frame { from, frame }
            }
            Stimulus::LinkDown(peer) => Input::LinkDown { peer: self.ids[peer] },
            Stimulus::Impatience => {
                now = rest.engine.deadline().unwrap_or(0);
                Input::Tick
            }
        };
        let mut engine = rest.engine.clone();
        let outputs = engine.handle(input, now);
        let told: Vec<Heard> = outputs.iter().flat_map(|output| self.told(output)).collect();
        let sent = self.sent(&engine, &outputs);
        let flights = sent.map(|(to, frame)| self.fly(seat, to, frame)).collect();
        let rest_now = self.keep(engine);
        let mut complaint = outputs.iter().find_map(complaint);
        if rest_now.log != [&rest.log[..], &told[..]].concat() {
            complaint = Some("the log is not what was delivered".into());
        }
        Step {
            rest: rest_now,
            flights,
            complaint,
        }
    }

    /// Whether a member misses something that it would ask for if it had a little more time.
    pub(crate) fn is_impatient(&self, rest: &Rest) -> bool {
        rest.engine.deadline().is_some_and(|at| at < SOON)
    }

    fn next_message(&self, engine: &Engine) -> Input {
        let seq = engine.delivered().get(engine.me()) + 1;
        let payload = Bytes::from(vec![self.seat(engine.me()) as u8, seq as u8]);
        Input::Send {
            ticket: seq,
            kind: Kind::App,
            payload,
            sent_at: 0,
        }
    }

    /// The frames among the outputs of an engine, pushes made from what it has now.
    pub(crate) fn sent<'a>(
        &'a self,
        engine: &'a Engine,
        outputs: &'a [Output],
    ) -> impl Iterator<Item = (Seat, Frame)> + 'a {
        outputs.iter().filter_map(|output| match output {
            Output::Send { to, frame } => Some((self.seat(*to), frame.clone())),
            Output::Push { to, batch } => Some((self.seat(*to), Frame::Push(engine.own_run(*batch)))),
            _ => None,
        })
    }

    fn told(&self, output: &Output) -> Vec<Heard> {
        match output {
            Output::Deliver { piece, .. } => piece.messages().map(|message| self.heard(&message)).collect(),
            _ => Vec::new(),
        }
    }

    fn heard(&self, message: &Message) -> Heard {
        Heard {
            origin: self.seat(message.dot.origin),
            seq: message.dot.seq,
            content: hash(message),
        }
    }

    pub(crate) fn seat(&self, id: MemberId) -> Seat {
        self.ids.iter().position(|known| *known == id).expect("a member")
    }

    pub(crate) fn id(&self, seat: Seat) -> MemberId {
        self.ids[seat]
    }

    fn fly(&self, from: Seat, to: Seat, frame: Frame) -> Arc<Flight> {
        let id = hash(&(from, to, &frame));
        let flight = self.flights.get_or(&id, || Flight {
            id,
            from,
            to,
            frame: frame.clone(),
        });
        assert!(flight.frame == frame, "two frames with one hash");
        flight
    }

    fn keep(&self, engine: Engine) -> Arc<Rest> {
        let id = hash(&engine);
        if let Some(rest) = self.rests.get(&id) {
            assert!(rest.engine == engine, "two engines with one hash");
            return rest;
        }
        self.rests.get_or(&id, || Rest {
            id,
            log: engine.log().map(|message| self.heard(&message)).collect(),
            flaw: flaw(&engine),
            engine,
        })
    }

    /// What an engine has delivered.
    pub(crate) fn log(&self, id: u64) -> Vec<Heard> {
        self.rests.get(&id).expect("it was kept").log.clone()
    }

    /// How many different engines there were.
    pub(crate) fn size(&self) -> usize {
        self.rests.len()
    }
}

/// Frames in order of sending: what a fair and faultless network does.
#[derive(Default)]
pub(crate) struct Wire(std::collections::VecDeque<(Seat, Seat, Frame)>);

impl Wire {
    /// Gives an engine an input; what it says goes onto the wire. Returns the notices.
    pub(crate) fn feed(
        &mut self,
        lab: &Lab,
        engines: &mut [Engine],
        seat: Seat,
        input: Input,
        now: Micros,
    ) -> Vec<Notice> {
        let outputs = engines[seat].handle(input, now);
        let frames = lab.sent(&engines[seat], &outputs);
        self.0.extend(frames.map(|(to, frame)| (seat, to, frame)));
        let notice = |output| match output {
            Output::Notice(notice) => Some(notice),
            _ => None,
        };
        outputs.into_iter().filter_map(notice).collect()
    }

    /// Delivers until nobody says anything any more. Returns the notices, and whose they are.
    pub(crate) fn run_dry(&mut self, lab: &Lab, engines: &mut [Engine], now: Micros) -> Vec<(Seat, Notice)> {
        let mut notices = Vec::new();
        for _ in 0..10_000 {
            let Some((from, to, frame)) = self.0.pop_front() else {
                return notices;
            };
            let from = lab.id(from);
            let said = self.feed(lab, engines, to, Input::Frame { from, frame }, now);
            notices.extend(said.into_iter().map(|notice| (to, notice)));
        }
        panic!("engines go on talking although no time passes");
    }

    /// Forgets what is on its way to a member.
    pub(crate) fn forget(&mut self, to: Seat) {
        self.0.retain(|frame| frame.1 != to);
    }
}

/// S13 by the engine's own check, and once more from outside: whatever is held misses something.
fn flaw(engine: &Engine) -> Option<String> {
    if let Err(what) = engine.check() {
        return Some(what);
    }
    let delivered = engine.delivered();
    engine
        .held()
        .find(|held| delivered.covers(held.needs) || delivered.covers(held.dot))
        .map(|held| format!("{} is held for {}", held.dot, held.needs))
}

fn complaint(output: &Output) -> Option<String> {
    match output {
        Output::Notice(
            notice @ (Notice::Odd { .. } | Notice::Gap(_) | Notice::Closed { .. } | Notice::Reopened(_)),
        ) => Some(format!("{notice:?}")),
        Output::Broken(what) => Some(what.clone()),
        Output::Refused { why, .. } => Some(format!("a send is refused: {why:?}")),
        _ => None,
    }
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// A table that checkers share; what is in it stays.
struct Shelf<K, V>(RwLock<HashMap<K, Arc<V>, BuildHasherDefault<Mix>>>);

impl<K: Hash + Eq + Copy, V> Shelf<K, V> {
    fn get(&self, key: &K) -> Option<Arc<V>> {
        self.0.read().expect("no panic").get(key).cloned()
    }

    fn get_or(&self, key: &K, make: impl FnOnce() -> V) -> Arc<V> {
        if let Some(value) = self.get(key) {
            return value;
        }
        let value = Arc::new(make());
        let mut table = self.0.write().expect("no panic");
        table.entry(*key).or_insert(value).clone()
    }

    fn len(&self) -> usize {
        self.0.read().expect("no panic").len()
    }
}

impl<K, V> Default for Shelf<K, V> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

/// A quick hash for keys that are mostly hashes already.
#[derive(Default)]
pub(crate) struct Mix(u64);

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(23) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }

    fn write_isize(&mut self, value: isize) {
        self.write_u64(value as u64);
    }

    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 29)
    }
}
