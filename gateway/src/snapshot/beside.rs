//! The catalog of a snapshot to be, filled on a thread of its own while the caller compiles the same records: half of
//! the work of a start, during which nobody is served.

use model::catalog::{Conflict, Loader};
use model::{Catalog, Record};
use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

/// So many records go over at a time, and so many times that many may wait.
const BATCH: usize = 64;
const BATCHES_WAITING_MAX: usize = 4;

/// A loader on another thread.
pub(super) struct Beside {
    batch: Vec<Record>,
    batches: SyncSender<Vec<Record>>,
    filler: JoinHandle<Result<Loader<()>, Conflict>>,
}

impl Beside {
    pub(super) fn start(empty: &Catalog<()>) -> io::Result<Self> {
        let (batches, waiting) = sync_channel::<Vec<Record>>(BATCHES_WAITING_MAX);
        let mut loader = empty.loader();
        let fill = move || {
            let records = waiting.into_iter().flatten();
            { records }.try_for_each(|record| loader.put(&record)).map(|()| loader)
        };
        let filler = std::thread::Builder::new().name("catalog".to_owned()).spawn(fill)?;
        Ok(Self { batch: Vec::with_capacity(BATCH), batches, filler })
    }

    /// Passes a record on. That it is refused shows at the end.
    pub(super) fn put(&mut self, record: &Record) {
        self.batch.push(record.clone());
        if self.batch.len() == BATCH {
            self.pass_on(Vec::with_capacity(BATCH));
        }
    }

    fn pass_on(&mut self, next: Vec<Record>) {
        // Nobody takes it when a record was refused: then the end is known.
        let _ = self.batches.send(std::mem::replace(&mut self.batch, next));
    }

    /// The loader with all records in it.
    pub(super) fn finish(mut self) -> Result<Loader<()>, Conflict> {
        self.pass_on(Vec::new());
        let Self { batches, filler, .. } = self;
        drop(batches);
        // A panic there is one here, as if there were one thread.
        filler.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}
