//! Idle upstream connections of one worker, by where they lead. No locks: a pool belongs to its thread.

use super::upstream::Connection;
use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::Instant;

/// The most idle connections of a worker over all upstreams.
const IDLE_MAX: usize = 8_192;
/// How often idle connections are looked through for those that have expired or were closed.
pub(super) const SWEEP_EVERY: Duration = Duration::from_secs(2);

/// Where a connection leads: requests with the same key may share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) address: SocketAddr,
    /// A hash over everything that made the TLS session what it is (server name, verification, our certificate);
    /// 0 in the clear.
    pub(super) tls: u64,
}

/// Bounds of a pool; see the settings of the same names.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) size: usize,
    pub(super) requests_max: u32,
    pub(super) idle_timeout: Duration,
}

/// The pool.
pub(super) struct Pool {
    bounds: Bounds,
    idle: RefCell<Idle>,
}

#[derive(Default)]
struct Idle {
    /// Youngest last.
    by_key: HashMap<Key, Vec<(Connection, Instant)>>,
    count: usize,
}

impl Pool {
    /// An empty pool.
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { bounds, idle: RefCell::default() }
    }

    /// The connection that was used last, if there is one that lives.
    pub(super) fn take(&self, key: &Key, now: Instant) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        loop {
            let (mut connection, since) = idle.by_key.get_mut(key)?.pop()?;
            idle.count = idle.count.saturating_sub(1);
            if !self.expired(since, now) && connection.is_alive() {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection for the next request, if it is fit for one and there is room.
    pub(super) fn put(&self, key: Key, mut connection: Connection) {
        let worn = self.bounds.requests_max != 0 && connection.requests() >= self.bounds.requests_max;
        if worn || !connection.is_alive() {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        if idle.count >= IDLE_MAX {
            return;
        }
        let list = idle.by_key.entry(key).or_default();
        if list.len() >= self.bounds.size {
            return;
        }
        list.push((connection, Instant::now()));
        idle.count += 1;
    }

    /// Drops what has expired or was closed by the other side.
    pub(super) fn sweep(&self) {
        let mut idle = self.idle.borrow_mut();
        let now = Instant::now();
        let Idle { by_key, count } = &mut *idle;
        by_key.retain(|_, list| {
            let before = list.len();
            list.retain_mut(|(connection, since)| !self.expired(*since, now) && connection.is_alive());
            *count = count.saturating_sub(before - list.len());
            !list.is_empty()
        });
    }

    fn expired(&self, since: Instant, now: Instant) -> bool {
        let timeout = self.bounds.idle_timeout;
        !timeout.is_zero() && now.saturating_duration_since(since) >= timeout
    }
}
