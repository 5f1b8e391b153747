//! Builds a snapshot from a whole set of records: the store at start, a full sync, a declarative file.

use super::beside::Beside;
use super::{Rejection, Snapshot};
use model::Record;
use model::catalog;

/// Takes records in any order; references are judged when all are there.
pub struct Loader {
    catalog: Filling,
    next: Snapshot,
}

/// Where the catalog is filled.
enum Filling {
    Here(Box<catalog::Loader<()>>),
    Beside(Beside),
}

impl Loader {
    /// Starts from nothing.
    #[must_use]
    pub fn new(epoch: u64, version: u64) -> Self {
        Self::after(&Snapshot::empty(), epoch, version)
    }

    /// The same with a second thread for half of the work: for a start, which everybody waits for.
    #[must_use]
    pub fn hurried(epoch: u64, version: u64) -> Self {
        let mut loader = Self::new(epoch, version);
        if let Ok(beside) = Beside::start(&loader.next.catalog) {
            loader.catalog = Filling::Beside(beside);
        }
        loader
    }

    /// Starts from nothing, for the place of a snapshot: what outlives snapshots is that one's.
    #[must_use]
    pub fn after(before: &Snapshot, epoch: u64, version: u64) -> Self {
        let mut next = Snapshot::with(before.registry().clone());
        (next.epoch, next.version) = (epoch, version);
        Self { catalog: Filling::Here(Box::new(next.catalog.loader())), next }
    }

    /// Compiles one record into the snapshot to be.
    ///
    /// # Errors
    /// What is wrong with it; the loader is then of no more use. A hurried loader may say so at the end only.
    pub fn put(&mut self, record: &Record) -> Result<(), Rejection> {
        match &mut self.catalog {
            Filling::Here(catalog) => catalog.put(record).map_err(Rejection::from)?,
            Filling::Beside(catalog) => catalog.put(record),
        }
        self.next.put(record)
    }

    /// The snapshot, when all references resolve.
    ///
    /// # Errors
    /// The first reference that does not.
    pub fn finish(self) -> Result<Snapshot, Rejection> {
        let catalog = match self.catalog {
            Filling::Here(catalog) => *catalog,
            Filling::Beside(catalog) => catalog.finish().map_err(Rejection::from)?,
        };
        let catalog = catalog.finish().map_err(Rejection::from)?;
        Ok(Snapshot { catalog, ..self.next })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Id, Kind, kinds};
    use std::sync::Arc;

    fn record(kind: Kind, id: u128, body: Vec<u8>) -> Record {
        let body: Arc<[u8]> = body.into();
        Record { kind, id: Id(id), version: 1, tag: Record::tag_of(kind, Id(id), &body), body }
    }

    fn consumer(id: u128, username: &str) -> Record {
        let username = Some(username.to_owned());
        let consumer = kinds::consumers::Consumer { id: Id(id), username, ..Default::default() };
        record(Kind::Consumer, id, consumer.encode().unwrap())
    }

    fn loaded(mut loader: Loader, records: &[Record]) -> Result<Snapshot, Rejection> {
        records.iter().try_for_each(|record| loader.put(record)).and_then(|()| loader.finish())
    }

    #[test]
    fn in_a_hurry_the_outcome_is_the_same() {
        let mut good: Vec<Record> = (1..1_000).map(|id| consumer(id, &format!("user-{id}"))).collect();
        let [patient, hurried] = [Loader::new(7, 9), Loader::hurried(7, 9)].map(|loader| loaded(loader, &good));
        let (patient, hurried) = (patient.unwrap(), hurried.unwrap());
        assert_eq!(hurried.catalog().digest(), patient.catalog().digest());
        assert_eq!((hurried.catalog().len(), hurried.epoch, hurried.version), (999, 7, 9));
        assert!(hurried.consumer_named("user-999").is_some());

        // Refused long before the end, so that nobody takes what comes after it.
        good.insert(3, consumer(5_000, "user-1"));
        let [patient, hurried] = [Loader::new(7, 9), Loader::hurried(7, 9)].map(|loader| loaded(loader, &good).err());
        assert!(patient.is_some());
        assert_eq!(hurried, patient);
    }
}
