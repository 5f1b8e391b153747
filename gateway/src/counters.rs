//! What all workers count together, for the Status API and Prometheus.

use std::sync::atomic::{AtomicU64, Ordering};

/// Totals since the start, and what is open now.
#[derive(Debug, Default)]
pub struct Counters {
    accepted: AtomicU64,
    active: AtomicU64,
    requests: AtomicU64,
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// Client connections accepted.
    pub accepted: u64,
    /// Client connections open now.
    pub active: u64,
    /// Requests answered.
    pub requests: u64,
}

impl Counters {
    /// A client connected.
    pub fn connected(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        self.active.fetch_add(1, Ordering::Relaxed);
    }

    /// A client's connection ended.
    pub fn disconnected(&self) {
        self.active.fetch_sub(1, Ordering::Relaxed);
    }

    /// A request was answered.
    pub fn answered(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// All of it.
    #[must_use]
    pub fn read(&self) -> Count {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Count { accepted: load(&self.accepted), active: load(&self.active), requests: load(&self.requests) }
    }
}
