//! How many connections there may be: in all, from one address, and of those who have not said who
//! they are.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::registry::Limits;

/// Connections per admissible peer: its own, and one that broke and is not noticed yet.
pub(crate) const CONNECTIONS_PER_PEER: usize = 2;
/// Connections of others: `list`, `health`, screens, monitoring.
pub(crate) const CONNECTIONS_SPARE: usize = 64;
/// One address gets at most this part of all connections, so that a single host cannot lock out
/// the rest. All peers may well live on one machine: half of all is one connection each.
pub(crate) const SHARE_OF_ONE_ADDRESS: usize = 2;
/// Connections of whom nothing is known yet. Saying who one is takes a few round trips, so an
/// honest start of everybody at once fits; beyond it, who came first of the address that has most
/// has had its time.
pub(crate) const STRANGERS_MAX: usize = 128;

/// Counts who is inside.
#[derive(Debug)]
pub(super) struct Door {
    most: usize,
    most_of_one: usize,
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    known: HashMap<IpAddr, usize>,
    /// In the order in which they came.
    strangers: BTreeMap<u64, (IpAddr, oneshot::Sender<()>)>,
    next: u64,
}

impl Door {
    pub(super) fn new(limits: &Limits) -> Self {
        let most = limits.max_peers * CONNECTIONS_PER_PEER + CONNECTIONS_SPARE;
        Self {
            most,
            most_of_one: most / SHARE_OF_ONE_ADDRESS,
            inside: Mutex::default(),
        }
    }

    /// Most connections of whom it is known who they are.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// Lets a stranger in, until the pass is dropped. The receiver is ready when it must go to
    /// make room for another. Returns whether somebody had to.
    pub(super) fn enter(door: &Arc<Self>, ip: IpAddr) -> (Pass, oneshot::Receiver<()>, bool) {
        let mut inside = door.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let crowded = inside.strangers.len() >= STRANGERS_MAX;
        if crowded && let Some(first) = inside.first_of_most() {
            inside.strangers.remove(&first); // which tells it
        }
        let (stay, go) = oneshot::channel();
        let nth = inside.next;
        inside.next += 1;
        inside.strangers.insert(nth, (ip, stay));
        drop(inside);
        let pass = Pass {
            door: Arc::clone(door),
            ip,
            stranger: Some(nth),
        };
        (pass, go, crowded)
    }
}

impl Inside {
    /// Of the address with most strangers, the one that came first.
    fn first_of_most(&self) -> Option<u64> {
        let mut of_each: HashMap<IpAddr, (usize, u64)> = HashMap::new();
        for (nth, (ip, _)) in &self.strangers {
            of_each.entry(*ip).or_insert((0, *nth)).0 += 1;
        }
        let most = of_each.values().max_by_key(|(count, nth)| (*count, u64::MAX - nth));
        most.map(|(_, nth)| *nth)
    }
}

/// The right to one connection.
#[derive(Debug)]
pub(super) struct Pass {
    door: Arc<Door>,
    ip: IpAddr,
    stranger: Option<u64>,
}

impl Pass {
    /// The stranger is known from now on.
    pub(super) fn introduce(&mut self) -> Result<(), Full> {
        let Some(nth) = self.stranger else { return Ok(()) };
        let mut inside = self.door.inside.lock().unwrap_or_else(PoisonError::into_inner);
        if inside.known.values().sum::<usize>() >= self.door.most {
            return Err(Full::InAll(self.door.most));
        }
        if inside
            .known
            .get(&self.ip)
            .is_some_and(|count| *count >= self.door.most_of_one)
        {
            return Err(Full::OfOne(self.door.most_of_one));
        }
        *inside.known.entry(self.ip).or_default() += 1;
        inside.strangers.remove(&nth);
        self.stranger = None;
        Ok(())
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut inside = self.door.inside.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(nth) = self.stranger {
            inside.strangers.remove(&nth);
        } else if let Some(of_one) = inside.known.get_mut(&self.ip) {
            *of_one -= 1;
            if *of_one == 0 {
                inside.known.remove(&self.ip);
            }
        }
    }
}

/// Why a connection is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Full {
    #[error("{0} connections are open already")]
    InAll(usize),
    #[error("{0} connections from this address are open already")]
    OfOne(usize),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn one_address_cannot_fill_the_house_and_passes_come_back() {
        let limits = Limits {
            max_peers: 1,
            ..Limits::default()
        };
        let door = Arc::new(Door::new(&limits));
        let from = |last: u8, count: usize| {
            let known = (0..count).map(|_| {
                let (mut pass, ..) = Door::enter(&door, ip(last));
                pass.introduce().map(|()| pass)
            });
            known.collect::<Result<Vec<_>, _>>()
        };
        let first = from(1, 33).expect("half the house");
        assert_eq!(from(1, 1).err(), Some(Full::OfOne(33)));
        let _second = from(2, 33).expect("the other half");
        assert_eq!(from(3, 1).err(), Some(Full::InAll(66)));
        drop(first);
        assert!(from(3, 33).is_ok());
    }

    #[test]
    fn strangers_who_wait_make_room_and_the_known_stay() {
        let door = Arc::new(Door::new(&Limits::default()));
        let (mut known, mut known_go, _) = Door::enter(&door, ip(1));
        known.introduce().expect("room");
        let (_other, mut other_go, _) = Door::enter(&door, ip(2));
        let mut crowd = Vec::new();
        for n in 0..10_000 {
            let (pass, go, crowded) = Door::enter(&door, ip(1));
            assert_eq!(crowded, n >= STRANGERS_MAX - 1, "{n}");
            crowd.push((pass, go));
        }
        let mut gone = 0;
        for (_, go) in &mut crowd {
            gone += usize::from(go.try_recv() == Err(oneshot::error::TryRecvError::Closed));
        }
        assert_eq!(gone, 10_001 - STRANGERS_MAX);
        assert!(crowd[9_999].1.try_recv() == Err(oneshot::error::TryRecvError::Empty));
        assert!(
            other_go.try_recv() == Err(oneshot::error::TryRecvError::Empty),
            "of another address"
        );
        assert!(known_go.try_recv().is_err());
        drop(crowd);
        let inside = door.inside.lock().expect("no panic");
        assert_eq!((inside.strangers.len(), inside.known[&ip(1)]), (1, 1));
    }
}
