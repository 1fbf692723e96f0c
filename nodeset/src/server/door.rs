//! How many connections there may be, in all and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::registry::Limits;

/// Connections per admissible peer: its own, and one that broke and is not noticed yet.
const CONNECTIONS_PER_PEER: usize = 2;
/// Connections of others: `list`, `health`, screens, monitoring.
const CONNECTIONS_SPARE: usize = 64;
/// One address gets at most this part of all connections, so that a single host cannot lock out
/// the rest. All peers may well live on one machine: half of all is one connection each.
const SHARE_OF_ONE_ADDRESS: usize = 2;

/// Counts who is inside.
#[derive(Debug)]
pub(super) struct Door {
    most: usize,
    most_of_one: usize,
    inside: Mutex<HashMap<IpAddr, usize>>,
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

    /// Lets one connection in, until the pass is dropped.
    pub(super) fn enter(door: &Arc<Self>, ip: IpAddr) -> Result<Pass, Full> {
        let mut inside = door.inside.lock().unwrap_or_else(PoisonError::into_inner);
        if inside.values().sum::<usize>() >= door.most {
            return Err(Full::InAll(door.most));
        }
        let of_one = inside.entry(ip).or_default();
        if *of_one >= door.most_of_one {
            return Err(Full::OfOne(door.most_of_one));
        }
        *of_one += 1;
        Ok(Pass {
            door: Arc::clone(door),
            ip,
        })
    }
}

/// The right to one connection.
#[derive(Debug)]
pub(super) struct Pass {
    door: Arc<Door>,
    ip: IpAddr,
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut inside = self.door.inside.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_one) = inside.get_mut(&self.ip) {
            *of_one -= 1;
            if *of_one == 0 {
                inside.remove(&self.ip);
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

    #[test]
    fn one_address_cannot_fill_the_house_and_passes_come_back() {
        let limits = Limits {
            max_peers: 1,
            ..Limits::default()
        };
        let door = Arc::new(Door::new(&limits));
        let from = |last: u8, count: usize| {
            let ip = IpAddr::from([10, 0, 0, last]);
            (0..count)
                .map(|_| Door::enter(&door, ip))
                .collect::<Result<Vec<_>, _>>()
        };
        let first = from(1, 33).expect("half the house");
        assert_eq!(from(1, 1).err(), Some(Full::OfOne(33)));
        let _second = from(2, 33).expect("the other half");
        assert_eq!(from(3, 1).err(), Some(Full::InAll(66)));
        drop(first);
        assert!(from(3, 33).is_ok());
    }
}
