//! The changelog on this machine's disk: one thread that owns the store and commits in groups.
//!
//! All transactions that wait when the thread comes round become one durable write; under load a hundred writers share
//! one `fdatasync`, alone a writer waits for nobody. The mailbox is bounded: writers beyond it wait their turn.

use super::draft::{Draft, TOMBSTONES_MAX};
use super::record::{self, Loaded, Meta, Unreadable};
use super::{Changelog, CommitError, Committed, NodeRow, Pending, Transaction, View};
use arc_swap::ArcSwap;
use model::catalog::{Conflict, Loader};
use model::{Catalog, Id};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use store::{Key, Store};
use tokio::sync::{mpsc, oneshot, watch};

/// How many transactions may wait for the committer before further writers have to wait for a place.
const MAILBOX_MAX: usize = 1024;
/// The most transactions that one durable write takes.
const BATCH_MAX: usize = 256;
/// How many bytes of bodies a batch may have before it takes no further transaction, so that small writes together
/// stay below what the store commits in its journal.
const BATCH_BYTES_MAX: usize = store::COMMIT_BYTES_MAX as usize / 2;
/// What the store adds to a value, at most: its key and the frame around it.
const RECORD_OVERHEAD_BYTES: usize = 64;

/// The changelog kept in a [`Store`] on this machine.
pub struct Local {
    mailbox: Option<mpsc::Sender<Job>>,
    published: Arc<Published>,
    thread: Option<JoinHandle<()>>,
}

/// Why the changelog could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store could not be opened.
    #[error(transparent)]
    Store(#[from] store::OpenError),
    /// A record is not one that this version of the program can read.
    #[error("the store holds a record that this version cannot read: {0}")]
    Unreadable(#[from] Unreadable),
    /// The records contradict each other.
    #[error("the store's content contradicts itself: {0}")]
    Inconsistent(Conflict),
    /// There are records, but not the numbers that belong to them.
    #[error("the store has records but no epoch and version")]
    NoMeta,
    /// The new database could not be written.
    #[error("the new store could not be written: {0}")]
    Create(#[source] store::CommitError),
    /// The committer's thread could not be started.
    #[error("cannot start the committer: {0}")]
    Thread(#[from] std::io::Error),
}

/// What the committer needs of a store.
pub(super) trait Durable: Send {
    /// Makes the changes durable, all or none, before it returns.
    fn commit(&mut self, meta: &[u8], changes: Vec<store::Change>) -> Result<(), String>;

    /// Makes these records, and nothing else, the content, durably, before it returns. For what is too large to be
    /// committed.
    fn replace(&mut self, meta: &[u8], records: &mut dyn Iterator<Item = store::Change>) -> Result<(), String>;
}

/// The store behind a wall: a panic in it fails the commit at hand and every later one, and ends nothing else.
pub(super) struct Guarded(pub(super) Option<Store>);

impl Guarded {
    pub(super) fn with(
        &mut self,
        write: impl FnOnce(&mut Store) -> Result<(), store::CommitError>,
    ) -> Result<(), String> {
        // A store that panicked may be in any state; it is not used again until the next start has checked it.
        let mut store = self.0.take().ok_or_else(|| "the store has failed; restart the control plane".to_owned())?;
        let result = catch_unwind(AssertUnwindSafe(|| write(&mut store)));
        let result = result.map_err(|_| "the store has failed".to_owned())?;
        self.0 = Some(store);
        result.map_err(|error| error.to_string())
    }
}

impl Durable for Guarded {
    fn commit(&mut self, meta: &[u8], changes: Vec<store::Change>) -> Result<(), String> {
        self.with(|store| store.commit(meta, changes))
    }

    fn replace(&mut self, meta: &[u8], records: &mut dyn Iterator<Item = store::Change>) -> Result<(), String> {
        self.with(|store| {
            let mut replacement = store.replace()?;
            for store::Change { key, value } in records {
                if let Some(value) = value {
                    replacement.put(key, &value)?;
                }
            }
            replacement.finish(meta)
        })
    }
}

/// What readers see; written by the committer alone.
struct Published {
    view: ArcSwap<View>,
    version: watch::Sender<u64>,
    /// Why the last write to the store failed, if it did.
    failure: Mutex<Option<String>>,
}

/// What the committer is asked to do, and whom to tell.
enum Job {
    Transaction(Transaction, oneshot::Sender<Result<Committed, CommitError>>),
    Note(Id, Option<Vec<u8>>, oneshot::Sender<Result<(), CommitError>>),
}

impl Job {
    /// How much it adds to a batch.
    fn bytes(&self) -> usize {
        match self {
            Self::Transaction(transaction, _) => transaction.body_bytes(),
            Self::Note(_, row, _) => row.as_ref().map_or(0, Vec::len),
        }
    }
}

impl Local {
    /// Opens the changelog in `dir`, creating it with a random epoch where there is none. Also returns what was kept
    /// of nodes.
    ///
    /// # Errors
    /// When the store cannot be opened, or does not hold what this version can read.
    pub fn open(dir: &Path, options: store::Options) -> Result<(Self, Vec<NodeRow>), OpenError> {
        let mut loading = Loading::new();
        let (mut store, meta) = Store::open(dir, options, &mut |key, value| loading.take(key, value))?;
        let (view, nodes) = match meta {
            Some(meta) => loading.finish(&meta)?,
            None if loading.is_empty() => (create(&mut store)?, Vec::new()),
            None => return Err(OpenError::NoMeta),
        };
        Ok((Self::start(view, nodes.clone(), Box::new(Guarded(Some(store))), TOMBSTONES_MAX)?, nodes))
    }

    /// Starts the committer over a loaded view and what is known of nodes.
    pub(super) fn start(
        view: View,
        nodes: Vec<NodeRow>,
        store: Box<dyn Durable>,
        tombstones_max: usize,
    ) -> Result<Self, OpenError> {
        let (mailbox, jobs) = mpsc::channel(MAILBOX_MAX);
        let version = watch::Sender::new(view.version);
        let published = Published { view: ArcSwap::from_pointee(view), version, failure: Mutex::new(None) };
        let published = Arc::new(published);
        let nodes = nodes.into_iter().collect();
        let mut committer = Committer { store, nodes, published: published.clone(), tombstones_max };
        let thread = std::thread::Builder::new().name("changelog".into()).spawn(move || committer.run(jobs))?;
        Ok(Self { mailbox: Some(mailbox), published, thread: Some(thread) })
    }

    async fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<Result<T, CommitError>>) -> Job) -> Result<T, CommitError> {
        let (reply, answer) = oneshot::channel();
        let mailbox = self.mailbox.as_ref().ok_or(CommitError::Closed)?;
        mailbox.send(job(reply)).await.map_err(|_| CommitError::Closed)?;
        answer.await.unwrap_or(Err(CommitError::Closed))
    }
}

impl Changelog for Local {
    fn commit(&self, transaction: Transaction) -> Pending<'_, Result<Committed, CommitError>> {
        Box::pin(self.ask(|reply| Job::Transaction(transaction, reply)))
    }

    fn view(&self) -> Arc<View> {
        self.published.view.load_full()
    }

    fn watch(&self) -> watch::Receiver<u64> {
        self.published.version.subscribe()
    }

    fn note(&self, node: Id, row: Option<Vec<u8>>) -> Pending<'_, Result<(), CommitError>> {
        Box::pin(self.ask(move |reply| Job::Note(node, row, reply)))
    }

    fn failure(&self) -> Option<String> {
        self.published.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Waits for the committer to finish what it has been given.
impl Drop for Local {
    fn drop(&mut self) {
        self.mailbox = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the committer ended with a panic");
        }
    }
}

struct Committer {
    store: Box<dyn Durable>,
    /// What is kept of nodes, for the case that the whole content has to be written.
    nodes: BTreeMap<Id, Vec<u8>>,
    published: Arc<Published>,
    tombstones_max: usize,
}

impl Committer {
    fn run(&mut self, mut jobs: mpsc::Receiver<Job>) {
        while let Some(first) = jobs.blocking_recv() {
            let mut bytes = first.bytes();
            let mut batch = vec![first];
            while batch.len() < BATCH_MAX && bytes < BATCH_BYTES_MAX {
                let Ok(job) = jobs.try_recv() else { break };
                bytes += job.bytes();
                batch.push(job);
            }
            self.commit(batch);
        }
    }

    /// Judges every job in order, makes those that hold durable at once, publishes, and answers all.
    fn commit(&mut self, batch: Vec<Job>) {
        let before = self.published.view.load_full();
        let mut draft = Draft::new(View::clone(&before), self.tombstones_max);
        let mut verdicts = Vec::with_capacity(batch.len());
        for job in batch {
            let tentative = !draft.is_empty();
            verdicts.push(match job {
                Job::Transaction(transaction, reply) => {
                    let verdict = draft.apply(transaction);
                    // A verdict on top of what is not yet durable falls with it.
                    let tentative = tentative || !draft.is_empty();
                    Verdict { reply: Reply::Transaction(verdict, reply), tentative }
                }
                Job::Note(node, row, reply) => {
                    draft.note(node, row.clone());
                    match row {
                        Some(row) => self.nodes.insert(node, row),
                        None => self.nodes.remove(&node),
                    };
                    Verdict { reply: Reply::Note(reply), tentative: true }
                }
            });
        }
        let outcome = self.write_and_publish(draft, &before);
        if let Err(error) = &outcome {
            tracing::error!(%error, "a commit failed; nothing of it was applied");
        }
        *self.published.failure.lock().unwrap_or_else(PoisonError::into_inner) = outcome.clone().err();
        for verdict in verdicts {
            verdict.tell(&outcome);
        }
    }

    fn write_and_publish(&mut self, draft: Draft, before: &View) -> Result<(), String> {
        if draft.is_empty() {
            return Ok(());
        }
        let (view, meta, changes) = draft.finish();
        if weight(&changes) <= store::COMMIT_BYTES_MAX as usize {
            self.store.commit(&meta, changes)?;
        } else {
            // More than the journal takes at once, such as the first load of a large configuration.
            let nodes = self.nodes.iter().map(|(id, row)| record::node(*id, Some(row.clone())));
            self.store.replace(&meta, &mut view.to_store().chain(nodes))?;
        }
        if view.version != before.version {
            let version = view.version;
            self.published.view.store(Arc::new(view));
            self.published.version.send_replace(version);
        }
        Ok(())
    }
}

/// What a list of changes counts against the store's bound of a commit, at most.
fn weight(changes: &[store::Change]) -> usize {
    changes.iter().map(|change| change.value.as_ref().map_or(0, |value| value.len()) + RECORD_OVERHEAD_BYTES).sum()
}

/// What a job will be told once the batch is durable.
struct Verdict {
    reply: Reply,
    /// Whether it rests on something that this batch has to make durable first.
    tentative: bool,
}

enum Reply {
    Transaction(Result<Committed, CommitError>, oneshot::Sender<Result<Committed, CommitError>>),
    Note(oneshot::Sender<Result<(), CommitError>>),
}

impl Verdict {
    /// Answers. Whoever no longer waits for the answer has lost nothing.
    fn tell(self, outcome: &Result<(), String>) {
        let failed = outcome.as_ref().err().filter(|_| self.tentative);
        let failed = failed.map(|error| CommitError::Store(error.clone()));
        match self.reply {
            Reply::Transaction(verdict, reply) => drop(reply.send(failed.map_or(verdict, Err))),
            Reply::Note(reply) => drop(reply.send(failed.map_or(Ok(()), Err))),
        }
    }
}

/// A new database: its epoch is durable before it is used.
fn create(store: &mut Store) -> Result<View, OpenError> {
    // Folding a random id gives all the bits an epoch has; zero is kept for "none".
    let random = Id::random().0;
    let epoch = ((random >> 64) as u64 ^ random as u64).max(1);
    let view = View::empty(epoch);
    let meta = Meta { epoch, version: 0, floor: 0 }.encode();
    store.commit(&meta, Vec::new()).map_err(OpenError::Create)?;
    Ok(view)
}

/// Records of the store on their way into a view, in any order.
pub(super) struct Loading {
    view: View,
    entities: Loader,
    nodes: Vec<NodeRow>,
    failure: Option<OpenError>,
    taken: usize,
}

impl Loading {
    pub(super) fn new() -> Self {
        Self {
            view: View::empty(0),
            entities: Catalog::keeping_bodies().loader(),
            nodes: Vec::new(),
            failure: None,
            taken: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.taken == 0
    }

    /// Takes a record; the first failure is reported at the end.
    pub(super) fn take(&mut self, key: Key, value: &[u8]) {
        self.taken += 1;
        if let Err(failure) = self.try_take(key, value) {
            self.failure.get_or_insert(failure);
        }
    }

    /// The view that the records make up, at the version that the meta record says.
    pub(super) fn finish(self, meta: &[u8]) -> Result<(View, Vec<NodeRow>), OpenError> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        let Meta { epoch, version, floor } = Meta::decode(meta)?;
        let catalog = self.entities.finish().map_err(|conflicts| match conflicts.into_iter().next() {
            Some(conflict) => OpenError::Inconsistent(conflict),
            None => OpenError::NoMeta,
        })?;
        Ok((View { epoch, version, floor, catalog, ..self.view }, self.nodes))
    }

    fn try_take(&mut self, key: Key, value: &[u8]) -> Result<(), OpenError> {
        match record::load(key, value)? {
            Loaded::Entity(record) => {
                self.view.mark_changed(record.version, None, record.kind, record.id);
                self.entities.put(&record).map_err(OpenError::Inconsistent)
            }
            Loaded::Deletion { kind, id, version } => {
                self.view.bury(version, kind, id);
                Ok(())
            }
            Loaded::Node { id, row } => {
                self.nodes.push((id, row));
                Ok(())
            }
        }
    }
}
