//! What nodes hold back because it would take too much away from them, and what somebody has confirmed of it.
//!
//! A confirmation names what it is for: the epoch and version that the node was offered, and by them the number of
//! entities that would go. It is kept with the node's row until the node is there, over connections and restarts, and
//! is worth nothing for anything worse.

use super::{Fleet, Node};
use model::Id;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use wire::cp::Held;

/// A configuration that a node holds back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldBack {
    /// The epoch of what the node was offered.
    pub epoch: u64,
    /// The version that it was offered.
    pub version: u64,
    /// How many of its entities would go, at least.
    pub gone: u64,
    /// How many entities it has.
    pub of: u64,
}

impl From<Held> for HeldBack {
    fn from(held: Held) -> Self {
        let Held { epoch, version, shrink } = held;
        Self { epoch, version, gone: shrink.gone, of: shrink.of }
    }
}

/// Why nothing was confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unconfirmed {
    /// No node has that id.
    #[error("no such node")]
    UnknownNode,
    /// The node holds nothing back.
    #[error("the node holds nothing back")]
    NothingHeld,
    /// The node holds back something else by now.
    #[error(
        "the node now holds back version {} of epoch {:016x}, which would take {} of its {} entities away",
        .0.version, .0.epoch, .0.gone, .0.of
    )]
    Other(HeldBack),
}

impl Fleet {
    /// Confirms that a node may take what it holds back, if that is still this version of this epoch.
    ///
    /// # Errors
    /// See [`Unconfirmed`]; nothing has changed.
    pub fn confirm(&self, id: Id, epoch: u64, version: u64) -> Result<HeldBack, Unconfirmed> {
        let mut nodes = self.lock();
        let node = nodes.by_id.get_mut(&id).ok_or(Unconfirmed::UnknownNode)?;
        let held = node.held.ok_or(Unconfirmed::NothingHeld)?;
        if (held.epoch, held.version) != (epoch, version) {
            return Err(Unconfirmed::Other(held));
        }
        node.confirmed = Some(held);
        drop(nodes);
        self.confirmations.send_modify(|count| *count += 1);
        Ok(held)
    }

    /// How many entities of a node may go on the way into this epoch, as somebody has confirmed.
    #[must_use]
    pub fn confirmed(&self, id: Id, epoch: u64) -> Option<u64> {
        let confirmed = self.lock().by_id.get(&id)?.confirmed;
        confirmed.filter(|confirmed| confirmed.epoch == epoch).map(|confirmed| confirmed.gone)
    }

    /// Changes whenever something is confirmed.
    #[must_use]
    pub fn confirmations(&self) -> watch::Receiver<u64> {
        self.confirmations.subscribe()
    }
}

impl Node {
    /// What the node holds back now. A confirmation ends where the node has arrived at what it was for.
    pub fn holds(&mut self, held: Option<Held>) {
        self.held = held.map(HeldBack::from);
        let arrived = |confirmed: &HeldBack| self.epoch == confirmed.epoch && self.applied >= confirmed.version;
        if self.held.is_none() && self.confirmed.as_ref().is_some_and(arrived) {
            self.confirmed = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Introduction, PURGE_DELAY_DEFAULT_S};
    use super::*;
    use wire::shrink::Shrink;

    const SHRINK: Shrink = Shrink { gone: 90, of: 100, allowed: 50 };

    #[test]
    fn a_confirmation_is_for_what_was_shown_and_lasts_until_the_node_is_there() {
        let fleet = Fleet::new(PURGE_DELAY_DEFAULT_S);
        assert_eq!(fleet.confirm(Id(1), 7, 3), Err(Unconfirmed::UnknownNode));
        let session = fleet.connect(Id(1), Introduction::default(), 100).unwrap();
        assert_eq!(fleet.confirm(Id(1), 7, 3), Err(Unconfirmed::NothingHeld));
        let held = Held { epoch: 7, version: 3, shrink: SHRINK };
        fleet.update(Id(1), session, 101, |node| node.holds(Some(held)));
        assert_eq!(fleet.get(Id(1)).unwrap().updated_at, 101);
        assert_eq!(fleet.confirm(Id(1), 7, 2), Err(Unconfirmed::Other(held.into())), "what was shown before that");
        assert_eq!(fleet.confirm(Id(1), 6, 3), Err(Unconfirmed::Other(held.into())));
        assert_eq!(fleet.confirmed(Id(1), 7), None);
        let heard = fleet.confirmations();
        assert_eq!(fleet.confirm(Id(1), 7, 3), Ok(held.into()));
        assert!(heard.has_changed().unwrap());
        assert_eq!((fleet.confirmed(Id(1), 7), fleet.confirmed(Id(1), 8)), (Some(90), None));

        // Kept while the node is away, and over a restart of the control plane.
        let row = fleet.disconnect(Id(1), session).unwrap().encode();
        let fleet = Fleet::new(PURGE_DELAY_DEFAULT_S);
        fleet.restore([(Id(1), row)]);
        let session = fleet.connect(Id(1), Introduction::default(), 200).unwrap();
        fleet.update(Id(1), session, 201, |node| node.holds(None));
        assert_eq!(fleet.confirmed(Id(1), 7), Some(90));
        fleet.update(Id(1), session, 202, |node| {
            (node.epoch, node.applied) = (7, 4);
            node.holds(None);
        });
        assert_eq!((fleet.confirmed(Id(1), 7), fleet.get(Id(1)).unwrap().held), (None, None));
    }
}
