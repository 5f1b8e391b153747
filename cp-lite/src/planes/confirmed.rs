//! What somebody has confirmed of what followers hold back. It outlasts the follower's connection, which may be cut before
//! it has done any good, and ends when the follower has arrived at what it was for. It does not outlast this process.

use super::FOLLOWERS_MAX;
use crate::fleet::HeldBack;
use model::Id;
use std::collections::BTreeMap;

/// The confirmations that have not done their work yet, by follower.
#[derive(Debug, Default)]
pub(super) struct Confirmed(BTreeMap<Id, HeldBack>);

impl Confirmed {
    /// Keeps a confirmation until the follower is there. Those of followers that never come back are bounded: one of them
    /// gives way.
    pub(super) fn keep(&mut self, id: Id, held: HeldBack) {
        if self.0.len() >= FOLLOWERS_MAX && !self.0.contains_key(&id) {
            self.0.pop_first();
        }
        self.0.insert(id, held);
    }

    /// How many entities of a follower may go on the way into this epoch.
    pub(super) fn of(&self, id: Id, epoch: u64) -> Option<u64> {
        self.0.get(&id).filter(|confirmed| confirmed.epoch == epoch).map(|confirmed| confirmed.gone)
    }

    /// A follower has made this version of this epoch durable, and holds nothing back.
    pub(super) fn arrived(&mut self, id: Id, epoch: u64, version: u64) {
        if self.0.get(&id).is_some_and(|confirmed| confirmed.epoch == epoch && version >= confirmed.version) {
            self.0.remove(&id);
        }
    }
}
