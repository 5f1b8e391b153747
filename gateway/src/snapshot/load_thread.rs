//! A [`Loader`] on a thread of its own: for a start, during which nobody is served, so that one core compiles records
//! while another reads them.
//!
//! Records go over as bytes, in pieces of memory that come back to be filled again: the two threads share one heap, and
//! an allocation for each record on one side that ends on the other keeps both waiting for its lock.

use super::{Loader, Rejection, Snapshot};
use model::Head;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// A batch goes over when its bodies have so many bytes,
const BATCH_BYTES: usize = 64 * 1024;
/// and so many may wait.
const BATCHES_WAITING_MAX: usize = 3;

/// Records one after the other.
#[derive(Default)]
struct Batch {
    /// Each with the length of its body.
    heads: Vec<(Head, usize)>,
    bodies: Vec<u8>,
}

impl Batch {
    fn push(&mut self, head: Head, body: &[u8]) {
        self.heads.push((head, body.len()));
        self.bodies.extend_from_slice(body);
    }

    fn load(&self, loader: &mut Loader) -> Result<(), Rejection> {
        let mut rest = self.bodies.as_slice();
        for (head, length) in &self.heads {
            let (body, behind) = rest.split_at_checked(*length).unwrap_or_default();
            rest = behind;
            loader.put_body(head, body)?;
        }
        Ok(())
    }

    fn emptied(mut self) -> Self {
        self.heads.clear();
        self.bodies.clear();
        self
    }
}

/// A loader on another thread.
pub(crate) struct LoadThread {
    batch: Batch,
    batches: SyncSender<Batch>,
    spare: Receiver<Batch>,
    loader: JoinHandle<Result<Loader, Rejection>>,
}

impl LoadThread {
    /// Starts from nothing, or fails where there can be no other thread.
    pub(crate) fn start() -> io::Result<Self> {
        let (batches, waiting) = sync_channel::<Batch>(BATCHES_WAITING_MAX);
        let (done, spare) = sync_channel::<Batch>(BATCHES_WAITING_MAX);
        let mut loader = Loader::new(0, 0);
        let load = move || {
            for batch in waiting {
                batch.load(&mut loader)?;
                // Where nobody wants it back it goes.
                let _ = done.try_send(batch.emptied());
            }
            Ok(loader)
        };
        let loader = std::thread::Builder::new().name("loader".to_owned()).spawn(load)?;
        Ok(Self { batch: Batch::default(), batches, spare, loader })
    }

    /// Passes a record on. That it is refused shows at the end.
    pub(crate) fn put(&mut self, head: Head, body: &[u8]) {
        self.batch.push(head, body);
        if self.batch.bodies.len() >= BATCH_BYTES {
            let next = self.spare.try_recv().unwrap_or_default();
            self.pass_on(next);
        }
    }

    fn pass_on(&mut self, next: Batch) {
        // Nobody takes it when a record was refused: then the end is known.
        let _ = self.batches.send(std::mem::replace(&mut self.batch, next));
    }

    /// The snapshot, when all records were taken and all references resolve.
    ///
    /// # Errors
    /// The first record that was not taken, or the first reference that does not resolve.
    pub(crate) fn finish(mut self) -> Result<Snapshot, Rejection> {
        self.pass_on(Batch::default());
        let Self { batches, loader, .. } = self;
        drop(batches);
        // A panic there is one here, as if there were one thread.
        loader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Id, Kind, kinds::consumers::Consumer};

    fn consumer(id: u128, username: &str) -> (Head, Vec<u8>) {
        let consumer = Consumer { id: Id(id), username: Some(username.to_owned()), ..Default::default() };
        (Head { kind: Kind::Consumer, id: Id(id), version: 1, tag: id as u64 }, consumer.encode().unwrap())
    }

    fn here(records: &[(Head, Vec<u8>)]) -> Result<Snapshot, Rejection> {
        let mut loader = Loader::new(0, 0);
        records.iter().try_for_each(|(head, body)| loader.put_body(head, body)).and_then(|()| loader.finish())
    }

    fn on_a_thread(records: &[(Head, Vec<u8>)]) -> Result<Snapshot, Rejection> {
        let mut loader = LoadThread::start().unwrap();
        records.iter().for_each(|(head, body)| loader.put(*head, body));
        loader.finish()
    }

    #[test]
    fn the_outcome_is_the_same_on_another_thread() {
        // Several batches of them.
        let mut records: Vec<_> = (1..20_000).map(|id| consumer(id, &format!("user-{id}"))).collect();
        assert!(records.iter().map(|(_, body)| body.len()).sum::<usize>() > 8 * BATCH_BYTES);
        let [one, other] = [here(&records).unwrap(), on_a_thread(&records).unwrap()];
        assert_eq!(one.catalog().digest(), other.catalog().digest());
        assert_eq!(other.catalog().len(), 19_999);
        assert!(other.consumer_named("user-19999").is_some());

        // Refused long before the end, so that nobody takes what comes after it.
        records.insert(3, consumer(50_000, "user-1"));
        let [one, other] = [here(&records).err(), on_a_thread(&records).err()];
        assert!(one.is_some());
        assert_eq!(other, one);
    }
}
