//! Where the current snapshot is found: one pointer, one swap, live on every worker. Whoever asked is told of the change
//! after the swap.

use super::Snapshot;
use crate::plugins::events::Events;
use arc_swap::{ArcSwap, Guard};
use model::Change;
use std::sync::Arc;
use tokio::sync::watch;

/// The snapshot that requests are served from.
pub struct Live {
    current: ArcSwap<Snapshot>,
    version: watch::Sender<(u64, u64)>,
    events: Events,
}

impl Live {
    /// Serves `snapshot` from the start.
    #[must_use]
    pub fn new(snapshot: Snapshot) -> Self {
        let (version, _) = watch::channel((snapshot.epoch, snapshot.version));
        let events = Events::new(snapshot.registry().clone());
        Self { current: ArcSwap::from_pointee(snapshot), version, events }
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
        self.swap(snapshot, None);
    }

    /// The same for a snapshot that differs from the current one by these changes and nothing else.
    pub fn publish_step(&self, snapshot: Arc<Snapshot>, changes: &[Change]) {
        self.swap(snapshot, Some(changes));
    }

    fn swap(&self, snapshot: Arc<Snapshot>, changes: Option<&[Change]>) {
        let before = self.current.swap(snapshot.clone());
        self.version.send_replace((snapshot.epoch, snapshot.version));
        self.events.swapped(&before, &snapshot, changes);
    }

    /// Tells `(epoch, version)` after every swap.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<(u64, u64)> {
        self.version.subscribe()
    }
}
