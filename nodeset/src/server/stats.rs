//! What a running server counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::registry::{Event, What};

/// Counters of one server; clones count together.
#[derive(Clone, Debug, Default)]
pub struct Stats(Arc<Cells>);

#[derive(Debug, Default)]
struct Cells {
    live: AtomicU64,
    joins: AtomicU64,
    updates: AtomicU64,
    leaves: AtomicU64,
    expirations: AtomicU64,
    evictions: AtomicU64,
    requests: AtomicU64,
    refused_requests: AtomicU64,
    connections: AtomicU64,
    refused_connections: AtomicU64,
    broken_connections: AtomicU64,
}

/// The counters at one moment. All but `live` only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Live peers, now.
    pub live: u64,
    /// Leases taken.
    pub joins: u64,
    /// Changes of what a live peer says about itself.
    pub updates: u64,
    /// Leases given back.
    pub leaves: u64,
    /// Leases that ran out.
    pub expirations: u64,
    /// Leases taken away.
    pub evictions: u64,
    /// Requests answered.
    pub requests: u64,
    /// Of those, refused.
    pub refused_requests: u64,
    /// Connections admitted.
    pub connections: u64,
    /// Connections refused because too many were open.
    pub refused_connections: u64,
    /// Connections closed because they spoke nonsense or did not keep up.
    pub broken_connections: u64,
}

impl Stats {
    /// The counters now.
    pub fn counts(&self) -> Counts {
        let cells = &self.0;
        Counts {
            live: cells.live.load(Relaxed),
            joins: cells.joins.load(Relaxed),
            updates: cells.updates.load(Relaxed),
            leaves: cells.leaves.load(Relaxed),
            expirations: cells.expirations.load(Relaxed),
            evictions: cells.evictions.load(Relaxed),
            requests: cells.requests.load(Relaxed),
            refused_requests: cells.refused_requests.load(Relaxed),
            connections: cells.connections.load(Relaxed),
            refused_connections: cells.refused_connections.load(Relaxed),
            broken_connections: cells.broken_connections.load(Relaxed),
        }
    }

    pub(super) fn set_live(&self, live: usize) {
        self.0.live.store(live as u64, Relaxed);
    }

    pub(super) fn count_event(&self, event: &Event) {
        self.set_live(event.live);
        let cell = match event.what {
            What::Joined => &self.0.joins,
            What::Updated => &self.0.updates,
            What::Left => &self.0.leaves,
            What::Expired { .. } => &self.0.expirations,
            What::Evicted => &self.0.evictions,
        };
        cell.fetch_add(1, Relaxed);
    }

    pub(super) fn count_request(&self, refused: bool) {
        self.0.requests.fetch_add(1, Relaxed);
        self.0.refused_requests.fetch_add(refused.into(), Relaxed);
    }

    pub(super) fn count_connection(&self) {
        self.0.connections.fetch_add(1, Relaxed);
    }

    pub(super) fn count_refused_connection(&self) {
        self.0.refused_connections.fetch_add(1, Relaxed);
    }

    pub(super) fn count_broken_connection(&self) {
        self.0.broken_connections.fetch_add(1, Relaxed);
    }
}
