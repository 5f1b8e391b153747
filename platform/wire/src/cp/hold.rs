//! A node that holds a configuration back because too much of what it has would go: when it is to be tried again.

use super::Source;
use crate::message::{Nack, NackCode};
use crate::shrink::Shrink;

/// What a node holds back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// The epoch of what it was offered.
    pub epoch: u64,
    /// The version that it was offered.
    pub version: u64,
    /// How much would go.
    pub shrink: Shrink,
}

/// Waits for a confirmation, or for a head that takes less away.
pub(super) struct Hold {
    pub(super) held: Held,
    /// The head that was looked at last.
    seen: u64,
    /// Entities that were put since the offer: no more of those that were missing can have come back.
    put: u64,
}

impl Hold {
    /// What a NACK says, if it is one of that sort.
    pub(super) fn of(nack: &Nack, epoch: u64) -> Option<Self> {
        if nack.code != NackCode::Shrink {
            return None;
        }
        let held = Held { epoch, version: nack.version, shrink: nack.shrink? };
        Some(Self { held, seen: nack.version, put: 0 })
    }

    /// Whether another try at this head could only end as the last one did. Looks at what has changed since it was asked
    /// last and at nothing else.
    pub(super) fn lasts(&mut self, source: &dyn Source) -> bool {
        let Shrink { gone, allowed, .. } = self.held.shrink;
        let missing = gone.saturating_sub(allowed);
        if source.head() > self.seen {
            self.put = self.put.saturating_add(source.puts_since(self.seen, missing));
            self.seen = source.head();
        }
        self.put < missing
    }
}
