//! The registry on virtual time, judged by an oracle that shares no code with it: the oracle knows
//! only what was granted when, and what was told to whom.
//!
//! `NODESET_SEED` runs one seed alone, `NODESET_SEEDS` sets how many are run.

mod observer;
mod seen;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use nodeset::protocol::{Answer, Holder, Instance, Refusal};
use nodeset::registry::{Ask, Caller, Event, Input, Limits, Output, Registry, What};
use nodeset::{Peer, PeerId, Registration};

use self::observer::Observer;
use self::seen::Seen;

const SEEDS: u64 = 2_000;
const STEPS: u64 = 400;
/// How late the server's tick may come in these runs, short of a stall.
const SCAN: Duration = Duration::from_millis(200);

#[test]
fn leases_and_watches_keep_their_promises() {
    let number = |name| std::env::var(name).ok().and_then(|n: String| n.parse().ok());
    let seeds = match number("NODESET_SEED") {
        Some(one) => one..one + 1,
        None => 0..number("NODESET_SEEDS").unwrap_or(SEEDS),
    };
    let mut seen = Seen::default();
    for seed in seeds {
        let run = catch_unwind(AssertUnwindSafe(|| World::new(seed).run()));
        match run {
            Ok(of_one) => seen.add(&of_one),
            Err(panic) => {
                eprintln!("run again with NODESET_SEED={seed}");
                resume_unwind(panic);
            }
        }
    }
    println!("{seen:?}");
    if std::env::var_os("NODESET_SEED").is_none() {
        seen.assert_everything_happened();
    }
}

/// What the oracle knows of one peer id: who was granted it last and when.
#[derive(Clone, Copy)]
struct Grant {
    holder: Holder,
    at: Duration,
    turn: u64,
    /// Since then the registry restarted or stood still, which may add up to a full lease.
    reprieved: Option<Duration>,
}

struct World {
    chance: Chance,
    limits: Limits,
    registry: Registry,
    now: Duration,
    callers: u64,
    turn: u64,
    instance: u64,
    grants: BTreeMap<PeerId, Grant>,
    barred: BTreeMap<PeerId, Duration>,
    /// The node set after each revision of this instance, from the changes it announced.
    past: Vec<BTreeMap<PeerId, Peer>>,
    observers: Vec<Observer>,
    asked: BTreeMap<Caller, (PeerId, Holder, u64)>,
    seen: Seen,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut chance = Chance(seed);
        let limits = Limits {
            lease: Duration::from_millis(1_000 + chance.below(9_000)),
            max_peers: 2 + chance.below(5) as usize,
            history: 1 + chance.below(12) as usize,
        };
        let observers = (0..3).map(|_| Observer::default()).collect();
        Self {
            registry: Registry::new(Instance(1), limits, Duration::ZERO),
            chance,
            limits,
            now: Duration::ZERO,
            callers: 0,
            turn: 1,
            instance: 1,
            grants: BTreeMap::new(),
            barred: BTreeMap::new(),
            past: vec![BTreeMap::new()],
            observers,
            asked: BTreeMap::new(),
            seen: Seen::default(),
        }
    }

    fn run(mut self) -> Seen {
        for _ in 0..STEPS {
            match self.chance.below(100) {
                0..40 => self.register(),
                40..45 => self.leave(),
                45..47 => self.evict(),
                47..65 => self.watch(),
                65..70 => self.lose_an_answer(),
                70..97 => self.pass_time(),
                97..98 => self.stall(),
                _ => self.restart(),
            }
            self.check_table();
        }
        self.seen
    }

    fn register(&mut self) {
        let (id, holder) = self.someone();
        let late = self.chance.below(10) == 0; // an old request that arrives late
        let turn = if late { self.turn.saturating_sub(20) } else { self.turn };
        self.turn += 1;
        let nick = format!("p{}", self.chance.below(3));
        let addr = SocketAddr::from(([127, 0, 0, 1], 1 + self.chance.below(2) as u16));
        let peer = Registration::new(id, nick, addr).check().expect("well formed");
        let caller = self.caller();
        self.asked.insert(caller, (id, holder, turn));
        self.step(Input::Ask {
            caller,
            ask: Ask::Register { peer, holder, turn },
        });
    }

    fn leave(&mut self) {
        let (id, holder) = self.someone();
        let turn = self.turn;
        self.turn += 1;
        let caller = self.caller();
        self.step(Input::Ask {
            caller,
            ask: Ask::Leave { id, holder, turn },
        });
    }

    fn evict(&mut self) {
        let (id, _) = self.someone();
        let caller = self.caller();
        self.step(Input::Ask {
            caller,
            ask: Ask::Evict {
                nodes: vec![(id, self.limits.lease)],
            },
        });
    }

    fn watch(&mut self) {
        let index = self.chance.below(self.observers.len() as u64) as usize;
        if self.observers[index].waiting.is_none() {
            let caller = self.caller();
            self.observers[index].waiting = Some(caller);
            let since = self.observers[index].at;
            let wait = Duration::from_millis(self.chance.below(5_000));
            self.step(Input::Ask {
                caller,
                ask: Ask::Watch { since, wait },
            });
        }
    }

    /// A connection breaks: its watch is forgotten, and whatever it would have told is lost.
    fn lose_an_answer(&mut self) {
        let index = self.chance.below(self.observers.len() as u64) as usize;
        if let Some(caller) = self.observers[index].waiting.take() {
            self.seen.lost_answers += 1;
            self.step(Input::Forget { caller });
        }
    }

    /// As the server does: a tick at every deadline, or a little later.
    fn pass_time(&mut self) {
        let end = self.now + Duration::from_millis(self.chance.below(2_500));
        while let Some(due) = self.registry.deadline().filter(|due| *due <= end) {
            let late = Duration::from_millis(self.chance.below(SCAN.as_millis() as u64));
            self.now = self.now.max(due + late);
            self.step(Input::Tick);
        }
        self.now = self.now.max(end);
        if self.chance.below(2) == 0 {
            let before = self.registry.live();
            let early = self.registry.deadline().is_none_or(|due| due > self.now);
            self.step(Input::Tick);
            assert!(!early || before == self.registry.live(), "spurious tick");
        }
    }

    /// The registry's process stands still for longer than any load explains.
    fn stall(&mut self) {
        self.now += self.limits.lease * 3;
        self.seen.stalls += 1;
        self.reprieve();
        let live = self.registry.live();
        self.step(Input::Tick);
        assert_eq!(
            self.registry.live(),
            live,
            "peers were blamed for the registry's absence"
        );
    }

    fn restart(&mut self) {
        self.instance += 1;
        let instance = Instance(self.instance);
        self.observers.iter_mut().for_each(|observer| observer.waiting = None);
        if self.chance.below(2) == 0 {
            self.seen.restarts_empty += 1;
            self.registry = Registry::new(instance, self.limits, self.now);
            self.grants.clear();
            self.barred.clear();
            self.past = vec![BTreeMap::new()];
        } else {
            self.seen.restarts_with_state += 1;
            let kept = self.registry.kept();
            let now = self.now;
            self.barred.retain(|_, until| *until > now);
            let barred: Vec<_> = self.barred.iter().map(|(id, until)| (*id, *until - now)).collect();
            self.registry = Registry::restore(instance, self.limits, kept, &barred, now);
            self.reprieve();
            self.past = vec![self.past.last().expect("never empty").clone()];
        }
    }

    fn reprieve(&mut self) {
        let now = self.now;
        self.grants.values_mut().for_each(|grant| grant.reprieved = Some(now));
    }

    fn step(&mut self, input: Input) {
        for output in self.registry.handle(input, self.now) {
            match output {
                Output::Changed(event) => self.on_event(event),
                Output::Barred { node } => self.on_barred(node),
                Output::Answer { caller, answer } => self.on_answer(caller, answer),
            }
        }
    }

    fn on_event(&mut self, event: Event) {
        let mut set = self.past.last().expect("never empty").clone();
        let id = event.peer.id();
        match event.what {
            What::Joined => assert!(set.insert(id, event.peer).is_none(), "R4: joined twice"),
            What::Updated => {
                self.seen.updated += 1;
                assert!(set.insert(id, event.peer).is_some(), "updated but not live");
            }
            What::Left | What::Evicted | What::Expired { .. } => {
                assert!(set.remove(&id).is_some(), "gone but not live");
                let grant = self.grants.remove(&id);
                match event.what {
                    What::Left => self.seen.left += 1,
                    What::Evicted => self.seen.evicted_live += 1,
                    _ => {
                        self.seen.expired += 1;
                        let grant = grant.expect("expired but never granted");
                        let lived = self.now - grant.at;
                        assert!(lived >= self.limits.lease, "R1: expired after {lived:?}");
                    }
                }
            }
        }
        assert_eq!(event.live, set.len());
        self.past.push(set);
    }

    /// Counts as a change; the node set is as before.
    fn on_barred(&mut self, node: PeerId) {
        let set = self.past.last().expect("never empty").clone();
        assert!(!set.contains_key(&node), "refused but live");
        self.past.push(set);
        self.seen.evicted += 1;
        self.barred.insert(node, self.now + self.limits.lease);
    }

    fn on_answer(&mut self, caller: Caller, answer: Answer) {
        if let Answer::News(news) = answer {
            let waits = |observer: &&mut Observer| observer.waiting == Some(caller);
            let observer = self.observers.iter_mut().find(waits).expect("told to nobody");
            observer.waiting = None;
            observer.hear(news, &self.past, self.instance, self.limits.history, &mut self.seen);
            let late = Duration::from_millis(1); // the registry tells whole milliseconds
            let barred = self.barred.iter().filter(|(_, until)| **until > self.now + late);
            for (node, _) in barred.filter(|_| observer.at.is_some_and(|at| at.revision == self.past.len() as u64 - 1))
            {
                assert!(observer.evicted.contains(node), "R5: an eviction was not told");
            }
        } else if let Some((id, holder, turn)) = self.asked.remove(&caller) {
            self.on_registered(id, holder, turn, answer);
        }
    }

    fn on_registered(&mut self, id: PeerId, holder: Holder, turn: u64, answer: Answer) {
        let (now, lease) = (self.now, self.limits.lease);
        let barred = self.barred.get(&id).is_some_and(|until| *until > now);
        // Live for certain: granted, and the lease is not over whichever way one counts.
        let live = self.grants.get(&id).filter(|grant| now < grant.at + lease).copied();
        match answer {
            Answer::Granted { .. } => {
                self.seen.grants += 1;
                assert!(!barred, "an evicted peer came back too early");
                if let Some(grant) = live {
                    assert!(grant.holder == holder, "R4: two holders of {id}");
                    assert!(grant.turn < turn, "a late request was obeyed");
                }
                self.grants.insert(
                    id,
                    Grant {
                        holder,
                        at: now,
                        turn,
                        reprieved: None,
                    },
                );
            }
            Answer::Refused(Refusal::Held) => {
                self.seen.held += 1;
                let grant = self.grants.get(&id).expect("held by nobody");
                assert!(grant.holder != holder, "refused its own holder");
            }
            Answer::Refused(Refusal::Stale) => self.seen.stale += 1,
            Answer::Refused(Refusal::Full { .. }) => {
                self.seen.full += 1;
                assert!(self.registry.live() >= self.limits.max_peers);
            }
            Answer::Refused(Refusal::Evicted { .. }) => {
                self.seen.barred += 1;
                assert!(barred, "refused without having been evicted");
            }
            other => panic!("an odd answer to a registration: {other:?}"),
        }
    }

    fn check_table(&mut self) {
        assert!(self.registry.live() <= self.limits.max_peers);
        let set = self.past.last().expect("never empty");
        let kept = self.registry.kept();
        assert_eq!(kept.len(), set.len(), "the table is not what was announced");
        for lease in kept {
            let id = lease.peer.id();
            assert_eq!(set.get(&id), Some(&lease.peer));
            let grant = self.grants.get(&id).expect("live but never granted");
            let last = grant.reprieved.map_or(grant.at, |at| at.max(grant.at));
            // Beyond the scan, time may have passed without a tick only within one step.
            let over = last + self.limits.lease + SCAN;
            let ticked = self.registry.deadline().is_none_or(|due| due + SCAN > self.now);
            assert!(self.now <= over || !ticked, "R2: {id} outlived its lease");
        }
    }

    fn someone(&mut self) -> (PeerId, Holder) {
        let id = PeerId::from(1 + u128::from(self.chance.below(8)));
        // Mostly its own holder, sometimes an impostor.
        let holder = Holder([u8::from(self.chance.below(6) == 0); 16]);
        (id, holder)
    }

    fn caller(&mut self) -> Caller {
        self.callers += 1;
        Caller(self.callers)
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, seeded, good enough to draw faults from.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}
