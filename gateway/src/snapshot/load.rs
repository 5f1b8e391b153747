//! Builds a snapshot from a whole set of records: the store at start, a full sync, a declarative file.

use super::{Rejection, Snapshot};
use model::catalog;
use model::{Head, Record};

/// Takes records in any order; references are judged when all are there.
pub struct Loader {
    catalog: catalog::Loader<()>,
    next: Snapshot,
}

impl Loader {
    /// Starts from nothing.
    #[must_use]
    pub fn new(epoch: u64, version: u64) -> Self {
        Self::after(&Snapshot::empty(), epoch, version)
    }

    /// Starts from nothing, for the place of a snapshot: what outlives snapshots is that one's.
    #[must_use]
    pub fn after(before: &Snapshot, epoch: u64, version: u64) -> Self {
        let mut next = Snapshot::with(before.registry().clone());
        (next.epoch, next.version) = (epoch, version);
        Self { catalog: next.catalog.loader(), next }
    }

    /// Compiles one record into the snapshot to be.
    ///
    /// # Errors
    /// What is wrong with it; the loader is then of no more use.
    pub fn put(&mut self, record: &Record) -> Result<(), Rejection> {
        self.put_body(&record.head(), &record.body)
    }

    /// As [`Loader::put`], for a record in two pieces. Its body is read once, for catalog and snapshot alike.
    ///
    /// # Errors
    /// What is wrong with it; the loader is then of no more use.
    pub fn put_body(&mut self, head: &Head, body: &[u8]) -> Result<(), Rejection> {
        let Self { catalog, next } = self;
        let mut index = |facts| catalog.put_facts(head, facts).map_err(Rejection::from);
        next.put(head.kind, head.id, body, Some(&mut index))
    }

    /// The snapshot, when all references resolve.
    ///
    /// # Errors
    /// The first reference that does not.
    pub fn finish(self) -> Result<Snapshot, Rejection> {
        let catalog = self.catalog.finish().map_err(Rejection::from)?;
        Ok(Snapshot { catalog, ..self.next })
    }
}
