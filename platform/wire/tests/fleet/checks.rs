//! What must hold at every step.

use super::client::{Client, Held, Who};
use super::plane::View;
use super::world::{World, same};
use wire::succession::replaces;

impl World {
    /// What was acknowledged as durable would be there after a crash.
    pub(crate) fn check_promise(&self, c: usize, (epoch, version): (u64, u64)) {
        let client = &self.clients[c];
        let stored = match client.who {
            Who::Plane(p) => (self.planes[p].stored.epoch, self.planes[p].stored.version),
            Who::Node(_) => (client.stored.epoch, client.stored.version),
        };
        assert!(
            stored.0 != epoch || stored.1 >= version,
            "{:?} acknowledged as durable {version} of {epoch} and has {stored:?}",
            client.who
        );
    }

    /// Nobody goes back.
    pub(crate) fn check_way(&self, (term, epoch, version): (u32, u64, u64), next: &Held) {
        assert!(next.epoch != epoch || next.version >= version, "{version} of {epoch} goes back to {}", next.version);
        assert!(
            !replaces((term, epoch), (next.term, next.epoch)),
            "from term {term}, epoch {epoch} back to term {}, epoch {}",
            next.term,
            next.epoch
        );
    }

    /// The content of a node is one that was committed.
    pub(crate) fn check_node(&self, c: usize) {
        let Client { who, live, .. } = &self.clients[c];
        let committed = self.history.get(&(live.epoch, live.version));
        let committed = committed.unwrap_or_else(|| panic!("{who:?} serves what nobody committed: {}", live.version));
        assert!(same(&live.state, committed), "{who:?} has a mixture at {}:{}", live.epoch, live.version);
    }

    /// So is that of a control plane, and none of its entities is younger than itself.
    pub(crate) fn check_plane(&self, p: usize) {
        let View { epoch, version, ref state, .. } = self.planes[p].view;
        let committed = self.history.get(&(epoch, version));
        let committed = committed.unwrap_or_else(|| panic!("cp {p} shows what nobody committed: {version}"));
        assert!(same(state, committed), "control plane {p} has a mixture at {epoch}:{version}");
        assert!(state.values().all(|record| record.version <= version), "control plane {p} has what is to come");
    }
}
