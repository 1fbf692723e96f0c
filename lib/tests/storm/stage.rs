//! People on simulated hosts: each runs a node, joins the lobby, says what it is told to, and notes what it sees.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use futures::StreamExt;
use multicast::{Delivery, Dot, Event, Log, MemberId, Node, Options, check_logs};
use tokio::sync::mpsc;
use turmoil::{Builder, Sim};

/// Where every node listens on its host.
const PORT: u16 = 7000;
/// Lines of the script that may wait for one process: more than any script says in one step of the network.
const WORDS: usize = 1024;
/// How long a silent member counts. Short, so that a crash is over soon; a hold is shorter than it.
const GRACE: Duration = Duration::from_secs(10);
/// Longest wait for anything, in virtual time: several times what the timers of the library add up to.
const PATIENCE: Duration = Duration::from_secs(60);

/// What one person saw, in each of its lives.
#[derive(Default)]
pub(crate) struct Person {
    pub(crate) lives: Vec<Life>,
}

/// One process.
pub(crate) struct Life {
    pub(crate) me: MemberId,
    pub(crate) log: Vec<Delivery>,
    /// Everything but messages.
    pub(crate) news: Vec<Event>,
    /// Members known now, this one included.
    pub(crate) members: usize,
    /// Messages held now.
    pub(crate) held: usize,
    words: mpsc::Sender<String>,
    /// It crashed.
    pub(crate) ended: bool,
}

/// The network, and the people on it.
pub(crate) struct Stage {
    pub(crate) sim: Sim<'static>,
    names: Vec<&'static str>,
    people: Vec<Rc<RefCell<Person>>>,
    rng: u64,
    said: u64,
}

impl Stage {
    /// Everyone has joined and knows everyone.
    pub(crate) fn new(seed: u64, names: &[&'static str]) -> Self {
        let mut builder = Builder::new();
        builder
            .rng_seed(seed)
            .enable_random_order()
            .simulation_duration(Duration::from_secs(600))
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(Duration::from_millis(40))
            .tcp_capacity(4096);
        let mut stage = Self {
            sim: builder.build(),
            names: names.to_vec(),
            people: names.iter().map(|_| Rc::default()).collect(),
            rng: seed,
            said: 0,
        };
        for (nth, &name) in names.iter().enumerate() {
            let (person, names) = (stage.people[nth].clone(), names.to_vec());
            let node_seed = seed << 16 | (nth as u64) << 8;
            stage
                .sim
                .host(name, move || live(node_seed, name, names.clone(), person.clone()));
        }
        let all = names.len();
        stage.until("everyone has joined", |stage| {
            let lives = stage.people.iter().map(|person| person.borrow());
            lives
                .map(|person| person.lives.last().map_or(0, |life| life.members))
                .all(|members| members == all)
        });
        stage
    }

    /// One step of virtual time.
    pub(crate) fn step(&mut self) {
        self.sim.step().expect("no host gives up");
    }

    /// Lets time pass, in which those who live talk now and then.
    pub(crate) fn talk(&mut self, speakers: &[&str], time: Duration) {
        let end = self.sim.elapsed() + time;
        while self.sim.elapsed() < end {
            let speaker = speakers[self.random(speakers.len() as u64) as usize];
            if self.random(40) == 0 {
                self.say(speaker);
            }
            self.step();
        }
    }

    /// Steps until something is so.
    pub(crate) fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let end = self.sim.elapsed() + PATIENCE;
        while !is_so(self) {
            assert!(self.sim.elapsed() < end, "gave up waiting: {what}");
            self.step();
        }
    }

    /// Somebody says something that nobody said before.
    pub(crate) fn say(&mut self, name: &str) {
        self.said += 1;
        let words = format!("{name} {}", self.said);
        self.with(name, |life| {
            // Whoever crashed hears no cue.
            let full = matches!(life.words.try_send(words), Err(mpsc::error::TrySendError::Full(_)));
            assert!(!full, "the script says more than {WORDS} at a time");
        });
    }

    /// The latest life of somebody.
    pub(crate) fn with<T>(&self, name: &str, look: impl FnOnce(&Life) -> T) -> T {
        let nth = self.names.iter().position(|known| *known == name).expect("a name");
        look(self.people[nth].borrow().lives.last().expect("it was born"))
    }

    pub(crate) fn crash(&mut self, name: &'static str) {
        self.sim.crash(name);
        let nth = self.names.iter().position(|known| *known == name).expect("a name");
        self.people[nth]
            .borrow_mut()
            .lives
            .last_mut()
            .expect("it was born")
            .ended = true;
    }

    /// Everyone who lives and has been there from the start has the same messages, and nothing is held.
    pub(crate) fn is_settled(&self, names: &[&str]) -> bool {
        let set = |life: &Life| -> BTreeSet<Dot> { life.log.iter().map(|delivery| delivery.dot).collect() };
        let first = self.with(names[0], set);
        names
            .iter()
            .all(|name| self.with(name, |life| set(life) == first && life.held == 0))
    }

    /// Promises P1, P2, P4 and P6 over all logs of all lives.
    pub(crate) fn judge(&self) {
        let people: Vec<_> = self.people.iter().map(|person| person.borrow()).collect();
        let lives: Vec<&Life> = people.iter().flat_map(|person| &person.lives).collect();
        let known = |delivery: &&Delivery| {
            let living = lives.iter().filter(|life| !life.ended).flat_map(|life| &life.log);
            // What died with its sender is nobody's; but then nobody may have seen anything that came of it.
            living.clone().any(|other| other.dot == delivery.dot)
                || living.clone().any(|other| other.clock().covers(delivery.dot))
        };
        let logs: Vec<Vec<Delivery>> = lives
            .iter()
            .map(|life| match life.ended {
                true => life.log.iter().filter(known).cloned().collect(),
                false => life.log.clone(),
            })
            .collect();
        let logs = lives.iter().zip(&logs).map(|(life, log)| match life.ended {
            false => Log::new(log).of(life.me),
            true => Log::new(log).of(life.me).ended(),
        });
        let logs: Vec<Log<'_>> = logs.collect();
        check_logs(&logs).expect("the promises hold");
    }

    /// How many messages somebody has delivered.
    pub(crate) fn delivered(&self, name: &str) -> usize {
        self.with(name, |life| life.log.len())
    }

    fn random(&mut self, below: u64) -> u64 {
        // SplitMix64 (Steele, Lea and Flood 2014).
        self.rng = self.rng.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.rng;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }
}

/// One life of one person.
async fn live(seed: u64, name: &str, names: Vec<&'static str>, person: Rc<RefCell<Person>>) -> turmoil::Result {
    let life = person.borrow().lives.len();
    let options = Options::new(name)
        .with_listen((std::net::Ipv4Addr::UNSPECIFIED, PORT).into())
        .with_advertise((turmoil::lookup(name), PORT).into())
        .with_grace(GRACE)
        .with_seed(seed | life as u64);
    let node = Node::bind(options).await?;
    for other in names.iter().filter(|other| **other != name) {
        node.meet((turmoil::lookup(*other), PORT).into());
    }
    let (tell, mut heard) = node.join("lobby").await?.split();
    let (words, mut to_say) = mpsc::channel::<String>(WORDS);
    person.borrow_mut().lives.push(Life {
        me: tell.me().id,
        log: Vec::new(),
        news: Vec::new(),
        members: 0,
        held: 0,
        words,
        ended: false,
    });
    let mut look = tokio::time::interval(Duration::from_millis(100));
    loop {
        let event = tokio::select! {
            event = heard.next() => event.ok_or("the group ended by itself")?,
            Some(words) = to_say.recv() => {
                // In a task of its own: whoever waits for the window must go on reading.
                let tell = tell.clone();
                tokio::spawn(async move { tell.send(words).await.map(drop) });
                continue;
            }
            _ = look.tick() => {
                let held = tell.gauges().await.held;
                let mut person = person.borrow_mut();
                let life = &mut person.lives[life];
                (life.held, life.members) = (held, tell.members().len());
                continue;
            }
        };
        let mut person = person.borrow_mut();
        let life = &mut person.lives[life];
        match event {
            Event::Delivered(delivery) => life.log.push(delivery),
            Event::Broken { reason } => return Err(reason.into()),
            other => life.news.push(other),
        }
    }
}
