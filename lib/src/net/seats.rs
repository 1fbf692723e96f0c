//! Who may be connected: so many in all, of one address, of one node; and of those that have not said who they are
//! fewer, of whom the oldest give way.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::id::NodeId;
use crate::net::{MAX_CONNECTIONS, MAX_PER_ADDRESS, MAX_PER_NODE, MAX_STRANGERS, MAX_STRANGERS_PER_ADDRESS};

/// All inbound connections of a node.
#[derive(Clone, Default)]
pub(crate) struct Seats(Arc<Mutex<Taken>>);

#[derive(Default)]
struct Taken {
    /// By the order in which they came; each can be told to go.
    strangers: BTreeMap<u64, (IpAddr, oneshot::Sender<()>)>,
    arrivals: u64,
    guests: usize,
    addresses: BTreeMap<IpAddr, usize>,
    nodes: BTreeMap<NodeId, usize>,
}

/// A connection that has not said who it is. Dropped, it is none any more.
pub(crate) struct Stranger {
    seats: Seats,
    nth: u64,
    from: IpAddr,
}

/// One that has.
pub(crate) struct Guest {
    seats: Seats,
    from: IpAddr,
    node: NodeId,
}

impl Seats {
    /// One more connection. Also returns what ends when it has to go, and whether another has to.
    ///
    /// The oldest gives way, of that address if it has many: whoever wants in has said who it is within milliseconds,
    /// and who opens connections to say nothing should keep nobody out.
    pub(crate) fn stranger(&self, from: IpAddr) -> (Stranger, oneshot::Receiver<()>, bool) {
        let mut taken = self.lock();
        let (go, must_go) = oneshot::channel();
        let of_address = |entry: &(&u64, &(IpAddr, oneshot::Sender<()>))| entry.1.0 == from;
        let oldest = if taken.strangers.iter().filter(of_address).count() >= MAX_STRANGERS_PER_ADDRESS {
            taken.strangers.iter().find(of_address).map(|entry| *entry.0)
        } else if taken.strangers.len() >= MAX_STRANGERS {
            taken.strangers.keys().next().copied()
        } else {
            None
        };
        let gone = oldest.and_then(|oldest| taken.strangers.remove(&oldest));
        let gave_way = gone.is_some();
        if let Some((_, go)) = gone {
            // One that has just ended needs no telling.
            let _ = go.send(());
        }
        let nth = taken.arrivals;
        taken.arrivals += 1;
        taken.strangers.insert(nth, (from, go));
        drop(taken);
        let seats = self.clone();
        (Stranger { seats, nth, from }, must_go, gave_way)
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stranger {
    /// It is this node. Or why there is no place for it.
    pub(crate) fn introduced(self, node: NodeId) -> Result<Guest, &'static str> {
        let (seats, from) = (self.seats.clone(), self.from);
        drop(self);
        let mut taken = seats.lock();
        let of = |count: Option<&usize>| count.copied().unwrap_or(0);
        if taken.guests >= MAX_CONNECTIONS {
            return Err("there are as many connections as there may be");
        }
        if of(taken.addresses.get(&from)) >= MAX_PER_ADDRESS {
            return Err("its address has as many connections as one may have");
        }
        if of(taken.nodes.get(&node)) >= MAX_PER_NODE {
            return Err("it has as many connections as a node may have");
        }
        taken.guests += 1;
        *taken.addresses.entry(from).or_default() += 1;
        *taken.nodes.entry(node).or_default() += 1;
        drop(taken);
        Ok(Guest { seats, from, node })
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.seats.lock().strangers.remove(&self.nth);
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut taken = self.seats.lock();
        taken.guests -= 1;
        leave(&mut taken.addresses, &self.from);
        leave(&mut taken.nodes, &self.node);
    }
}

fn leave<K: Ord>(counts: &mut BTreeMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: usize) -> IpAddr {
        IpAddr::from([10, 0, (n >> 8) as u8, n as u8])
    }

    fn node(n: usize) -> NodeId {
        NodeId::from(n as u128)
    }

    #[test]
    fn strangers_of_one_address_only_crowd_out_each_other() {
        let seats = Seats::default();
        let (_patient, mut patient_goes, _) = seats.stranger(address(1));
        let mut crowd: Vec<_> = (0..MAX_STRANGERS_PER_ADDRESS)
            .map(|_| seats.stranger(address(2)))
            .collect();
        assert!(crowd.iter().all(|(_, _, gave_way)| !gave_way));
        let (_newest, mut newest_goes, gave_way) = seats.stranger(address(2));
        assert!(
            gave_way && crowd[0].1.try_recv().is_ok(),
            "the oldest of that address gave way"
        );
        assert!(crowd[1].1.try_recv().is_err() && newest_goes.try_recv().is_err());
        assert!(patient_goes.try_recv().is_err());
    }

    #[test]
    fn of_all_strangers_the_oldest_gives_way() {
        let seats = Seats::default();
        let mut all: Vec<_> = (0..MAX_STRANGERS).map(|nth| seats.stranger(address(nth))).collect();
        assert!(all.iter_mut().all(|(_, goes, _)| goes.try_recv().is_err()));
        assert!(seats.stranger(address(MAX_STRANGERS)).2 && all[0].1.try_recv().is_ok());
        drop(all);
        assert!(!seats.stranger(address(0)).2, "places are given back");
        assert!(seats.lock().strangers.is_empty());
    }

    #[test]
    fn guests_are_counted_in_all_by_address_and_by_node() {
        let seats = Seats::default();
        let sit = |from: usize, who: usize| seats.stranger(address(from)).0.introduced(node(who));
        let of_node: Vec<_> = (0..MAX_PER_NODE).map(|nth| sit(nth, 0).expect("a place")).collect();
        assert!(sit(MAX_PER_NODE, 0).is_err());
        drop(of_node);
        let of_address: Vec<_> = (0..MAX_PER_ADDRESS).map(|nth| sit(0, nth).expect("a place")).collect();
        assert!(sit(0, MAX_PER_ADDRESS).is_err());
        let rest = MAX_PER_ADDRESS..MAX_CONNECTIONS;
        let others: Vec<_> = rest.map(|nth| sit(nth, nth).expect("a place")).collect();
        assert!(sit(MAX_CONNECTIONS, MAX_CONNECTIONS).is_err());
        drop((of_address, others));
        let taken = seats.lock();
        assert!(taken.guests == 0 && taken.addresses.is_empty() && taken.nodes.is_empty());
    }
}
