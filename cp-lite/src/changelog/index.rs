//! Entities in the order of their last change: a persistent map *version → entities*, so that "what changed since v"
//! is a range scan.

use model::trie::Trie;
use model::{Id, Kind};

/// How many entities of one version may share a hash before one of them is refused a place; at 64 bits two already
/// never happen in practice.
const PROBES_MAX: u64 = 8;

/// Entities by the version they carry. Cloning is cheap.
#[derive(Clone, Debug, Default)]
pub(super) struct VersionIndex {
    by_version: Trie<(Kind, [u8; 16])>,
}

impl VersionIndex {
    /// Adds an entity at a version.
    pub(super) fn insert(&mut self, version: u64, kind: Kind, id: Id) {
        let free = probes(version, kind, id).find(|slot| !self.by_version.contains(*slot));
        if let Some(slot) = free {
            self.by_version.insert(slot, (kind, id.to_bytes()));
        }
    }

    /// Takes an entity away from the version it was added at.
    pub(super) fn remove(&mut self, version: u64, kind: Kind, id: Id) {
        let held = probes(version, kind, id).find(|slot| self.by_version.get(*slot) == Some(&(kind, id.to_bytes())));
        if let Some(slot) = held {
            self.by_version.remove(slot);
        }
    }

    /// The entities of later versions than this, oldest version first.
    pub(super) fn after(&self, version: u64) -> impl Iterator<Item = (u64, Kind, Id)> + '_ {
        let last = u128::from(version) << 64 | u128::from(u64::MAX);
        self.by_version.iter_after(Some(last)).map(entry)
    }

    /// All entities, oldest version first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, Kind, Id)> + '_ {
        self.by_version.iter().map(entry)
    }

    /// How many entities there are.
    pub(super) fn len(&self) -> usize {
        self.by_version.len()
    }
}

/// An entry as the trie gives it, as it is spoken of: the upper half of the key is the version.
fn entry((key, (kind, id)): (u128, &(Kind, [u8; 16]))) -> (u64, Kind, Id) {
    ((key >> 64) as u64, *kind, Id::from_bytes(*id))
}

/// Where an entity of a version may be: the version in the upper half of the key, a hash of the entity in the lower.
fn probes(version: u64, kind: Kind, id: Id) -> impl Iterator<Item = u128> {
    let hash = model::Record::tag_of(kind, id, &[]);
    (0..PROBES_MAX).map(move |probe| u128::from(version) << 64 | u128::from(hash.wrapping_add(probe)))
}
