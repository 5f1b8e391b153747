//! Where the current snapshot is found: one pointer, one swap, live on every worker.

use super::Snapshot;
use arc_swap::{ArcSwap, Guard};
use std::sync::Arc;
use tokio::sync::watch;

/// The snapshot that requests are served from.
pub struct Live {
    current: ArcSwap<Snapshot>,
    version: watch::Sender<(u64, u64)>,
}

impl Live {
    /// Serves `snapshot` from the start.
    #[must_use]
    pub fn new(snapshot: Snapshot) -> Self {
        let (version, _) = watch::channel((snapshot.epoch, snapshot.version));
        Self { current: ArcSwap::from_pointee(snapshot), version }
    }

    /// The snapshot for one request. Cheap; does not block a swap.
    #[must_use]
    pub fn load(&self) -> Guard<Arc<Snapshot>> {
        self.current.load()
    }

    /// The current snapshot, to keep.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Makes `snapshot` the one that every request from now on is served from.
    pub fn publish(&self, snapshot: Arc<Snapshot>) {
        let at = (snapshot.epoch, snapshot.version);
        self.current.store(snapshot);
        self.version.send_replace(at);
    }

    /// Tells `(epoch, version)` after every swap.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<(u64, u64)> {
        self.version.subscribe()
    }
}
