//! The configuration at one version, with its recent past: what a reader of the changelog holds.

use super::index::VersionIndex;
use super::record;
use super::{Audience, Role};
use model::kind::KINDS;
use model::trie::Trie;
use model::{Catalog, Change, Id, Kind, Record};

/// The configuration at one version and what led to it. Immutable, and cheap to clone.
#[derive(Clone, Debug)]
pub struct View {
    /// The incarnation of the database, random at creation: versions of different epochs mean nothing to each other.
    /// 0 on a follower that has not heard from a writer yet; there is nothing to be read then.
    pub epoch: u64,
    /// Orders the epochs of a cluster: of two the one with the higher term counts. See [`wire::succession`].
    pub term: u32,
    /// Whether this control plane takes changes.
    pub role: Role,
    /// The newest commit; 0 before the first.
    pub version: u64,
    /// The oldest version for which [`View::since`] has an answer.
    pub floor: u64,
    /// All entities, with their bodies.
    pub catalog: Catalog,
    pub(super) changed: VersionIndex,
    pub(super) buried: VersionIndex,
    pub(super) tombstones: [Trie<u64>; KINDS],
}

/// An entity that a commit created, changed or deleted, as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touched {
    /// Its kind.
    pub kind: Kind,
    /// Its id.
    pub id: Id,
    /// The last commit that changed it.
    pub version: u64,
    /// Whether that commit deleted it.
    pub deleted: bool,
}

/// The deletions since that version are no longer all known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("changes since version {asked} are no longer known; the oldest answer is since {floor}")]
pub struct BeyondHorizon {
    /// The version asked about.
    pub asked: u64,
    /// [`View::floor`].
    pub floor: u64,
}

impl View {
    /// The empty configuration of a new epoch.
    #[must_use]
    pub fn empty(epoch: u64) -> Self {
        Self {
            epoch,
            term: 0,
            role: Role::Writer,
            version: 0,
            floor: 0,
            catalog: Catalog::keeping_bodies(),
            changed: VersionIndex::default(),
            buried: VersionIndex::default(),
            tombstones: std::array::from_fn(|_| Trie::new()),
        }
    }

    /// Everything that differs between the configuration at `version` and this one: each entity once, in its latest
    /// state, however often it changed. First what exists, then what was deleted; within each the oldest change first.
    /// Costs what it yields.
    ///
    /// # Errors
    /// When `version` is below [`View::floor`]: the reader needs the whole configuration.
    pub fn since(&self, version: u64) -> Result<impl Iterator<Item = Touched> + '_, BeyondHorizon> {
        if version < self.floor {
            return Err(BeyondHorizon { asked: version, floor: self.floor });
        }
        let touched = |deleted| move |(version, kind, id)| Touched { kind, id, version, deleted };
        Ok(self.changed.after(version).map(touched(false)).chain(self.buried.after(version).map(touched(true))))
    }

    /// As [`View::since`], with the records.
    ///
    /// # Errors
    /// As [`View::since`].
    pub fn changes_since(&self, version: u64) -> Result<impl Iterator<Item = Change> + '_, BeyondHorizon> {
        Ok(self.since(version)?.filter_map(|touched| self.change(touched)))
    }

    /// An entity that was touched, as a change.
    #[must_use]
    pub fn change(&self, touched: Touched) -> Option<Change> {
        let Touched { kind, id, deleted, .. } = touched;
        if deleted { Some(Change::Delete { kind, id }) } else { self.catalog.record(kind, id).map(Change::Put) }
    }

    /// The root digest of what a class of nodes sees: the sum of the tags of its entities.
    #[must_use]
    pub fn root(&self, audience: Audience) -> u64 {
        // There is one class, and it sees everything.
        debug_assert_eq!(audience, Audience::ALL);
        self.catalog.digest()
    }

    /// All records, parents before children.
    pub fn records(&self) -> impl Iterator<Item = Record> + '_ {
        let kinds = model::kind::ALL.iter().map(|def| def.kind);
        kinds.flat_map(move |kind| {
            self.catalog.iter(kind, None).filter_map(move |(id, _)| self.catalog.record(kind, id))
        })
    }

    /// How many deletions are remembered.
    #[must_use]
    pub fn tombstones(&self) -> usize {
        self.buried.len()
    }

    /// The commit that deleted an entity, while that is remembered and it has not come back.
    #[must_use]
    pub fn deleted_at(&self, kind: Kind, id: Id) -> Option<u64> {
        self.tombstones[kind.index()].get(id.0).copied()
    }

    /// Everything that the store has to hold for this view.
    pub(super) fn to_store(&self) -> impl Iterator<Item = store::Change> + '_ {
        let deletions = self.buried.iter().map(|(version, kind, id)| record::put_deletion(kind, id, version));
        self.records().map(|entity| record::put_entity(&entity)).chain(deletions)
    }

    /// Notes that an entity exists since `version`; returns whether it was remembered as deleted.
    pub(super) fn mark_changed(&mut self, version: u64, before: Option<u64>, kind: Kind, id: Id) -> bool {
        if let Some(before) = before {
            self.changed.remove(before, kind, id);
        }
        self.changed.insert(version, kind, id);
        let buried = self.tombstones[kind.index()].remove(id.0);
        if let Some(buried) = buried {
            self.buried.remove(buried, kind, id);
        }
        buried.is_some()
    }

    /// Notes that an entity that existed since `before` is gone since `version`.
    pub(super) fn mark_deleted(&mut self, version: u64, before: u64, kind: Kind, id: Id) {
        self.changed.remove(before, kind, id);
        self.bury(version, kind, id);
    }

    /// Notes a deletion that happened at `version`.
    pub(super) fn bury(&mut self, version: u64, kind: Kind, id: Id) {
        if let Some(earlier) = self.tombstones[kind.index()].insert(id.0, version) {
            self.buried.remove(earlier, kind, id);
        }
        self.buried.insert(version, kind, id);
    }

    /// Forgets all deletions, so that nothing older than this version is told exactly.
    pub(super) fn raise_floor(&mut self) {
        self.buried = VersionIndex::default();
        self.tombstones = std::array::from_fn(|_| Trie::new());
        self.floor = self.version;
    }

    /// Forgets the oldest deletions until at most `keep` are left, and says which they were.
    pub(super) fn forget_deletions(&mut self, keep: usize) -> Vec<(Kind, Id)> {
        let excess = self.buried.len().saturating_sub(keep);
        let oldest: Vec<_> = self.buried.iter().take(excess).collect();
        for &(version, kind, id) in &oldest {
            self.buried.remove(version, kind, id);
            self.tombstones[kind.index()].remove(id.0);
            // A reader at that version has heard of the deletion; one before it can no longer be told.
            self.floor = self.floor.max(version);
        }
        oldest.into_iter().map(|(_, kind, id)| (kind, id)).collect()
    }
}
