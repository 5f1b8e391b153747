//! What a batch of commits has to write: which records, not what is in them. The values are taken from the view once it
//! is finished, so that an entity that changed twice is written once, and a large transaction is never in memory a second
//! time.

use super::{View, record};
use model::{Id, Kind};
use std::collections::{BTreeMap, BTreeSet};

/// What the store adds to a value, at most: its key and the frame around it.
const RECORD_OVERHEAD_BYTES: usize = 64;

/// Records that are to be as the view has them.
#[derive(Debug, Default)]
pub(super) struct Writes {
    entities: BTreeSet<(Kind, Id)>,
    deletions: BTreeSet<(Kind, Id)>,
    nodes: BTreeMap<Id, Option<Vec<u8>>>,
}

impl Writes {
    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.entities.is_empty() && self.deletions.is_empty() && self.nodes.is_empty()
    }

    /// An entity was created, changed or deleted.
    pub(super) fn entity(&mut self, kind: Kind, id: Id) {
        self.entities.insert((kind, id));
    }

    /// A deletion was remembered or forgotten.
    pub(super) fn deletion(&mut self, kind: Kind, id: Id) {
        self.deletions.insert((kind, id));
    }

    /// Something is known of a node, or nothing any more.
    pub(super) fn node(&mut self, id: Id, row: Option<Vec<u8>>) {
        self.nodes.insert(id, row);
    }

    /// The records as a commit of the store; none if they are more than `bytes_max` together.
    pub(super) fn within(&self, bytes_max: usize, view: &View) -> Option<Vec<store::Change>> {
        let mut bytes = 0;
        let weighed = self.of(view).map(|change| {
            bytes += change.value.as_ref().map_or(0, |value| value.len()) + RECORD_OVERHEAD_BYTES;
            (bytes <= bytes_max).then_some(change)
        });
        weighed.collect()
    }

    fn of<'a>(&'a self, view: &'a View) -> impl Iterator<Item = store::Change> + 'a {
        let entities = self.entities.iter().map(|&(kind, id)| match view.catalog.record(kind, id) {
            Some(entity) => record::put_entity(&entity),
            None => record::drop_entity(kind, id),
        });
        let deletions = self.deletions.iter().map(|&(kind, id)| match view.deleted_at(kind, id) {
            Some(version) => record::put_deletion(kind, id, version),
            None => record::drop_deletion(kind, id),
        });
        let nodes = self.nodes.iter().map(|(id, row)| record::node(*id, row.clone()));
        entities.chain(deletions).chain(nodes)
    }
}
