//! The changelog on this machine's disk: one thread that owns the store and commits in groups.
//!
//! All transactions that wait when the thread comes round become one durable write; under load a hundred writers share
//! one `fdatasync`, alone a writer waits for nobody. The mailbox is bounded: writers beyond it wait their turn.

use super::draft::{Draft, TOMBSTONES_MAX};
use super::follow::{FollowError, Step};
use super::record::{self, Loaded, Meta, Unreadable};
use super::role::{self, Role, Standing, Surprise};
use super::{Changelog, CommitError, Committed, NodeRow, Pending, Transaction, View};
use arc_swap::ArcSwap;
use model::catalog::{Conflict, Loader};
use model::{Catalog, Id};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;
use store::{Key, Store};
use tokio::sync::{mpsc, oneshot, watch};
use wire::succession;

/// How many transactions may wait for the committer before further writers have to wait for a place.
const MAILBOX_MAX: usize = 1024;
/// The most transactions that one durable write takes.
const BATCH_MAX: usize = 256;
/// How many bytes of bodies a batch may have before it takes no further transaction, so that small writes together
/// stay below what the store commits in its journal.
const BATCH_BYTES_MAX: usize = store::COMMIT_BYTES_MAX as usize / 2;

/// The changelog kept in a [`Store`] on this machine.
pub struct Local {
    mailbox: Option<mpsc::Sender<Job>>,
    published: Arc<Published>,
    thread: Option<JoinHandle<()>>,
    /// The writers that the settings name.
    writers: String,
    /// What the store has to say of its files.
    reports: store::Reports,
}

/// A changelog with what was found at its opening.
pub struct Opened {
    /// The changelog.
    pub changelog: Local,
    /// What was kept of nodes.
    pub nodes: Vec<NodeRow>,
    /// What to tell about its role.
    pub surprise: Option<Surprise>,
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

    /// Does the next piece of looking through what is on disk, and says when the next one is due; none where there is nothing
    /// to look through.
    fn scrub(&mut self, _now: Instant) -> Option<Instant> {
        None
    }

    /// What there is to say of the files.
    fn reports(&self) -> store::Reports {
        store::Reports::default()
    }

    /// The meta of the last commit.
    fn meta(&self) -> Option<Vec<u8>> {
        None
    }
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

    fn scrub(&mut self, now: Instant) -> Option<Instant> {
        let mut due = None;
        let done = self.with(|store| {
            due = Some(store.scrub(now));
            Ok(())
        });
        done.ok().and(due)
    }

    fn reports(&self) -> store::Reports {
        self.0.as_ref().map(Store::reports).unwrap_or_default()
    }

    fn meta(&self) -> Option<Vec<u8>> {
        self.0.as_ref().and_then(Store::meta).map(<[u8]>::to_vec)
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
    Follow(Step, oneshot::Sender<Result<(), FollowError>>),
    /// A new epoch as the writer, of at least this term, over these writers.
    Promote(u32, String, oneshot::Sender<Result<Arc<View>, CommitError>>),
    /// This term and epoch, as the writer.
    Begin(u32, u64, oneshot::Sender<Result<Arc<View>, CommitError>>),
    /// The next piece of looking through the store, and when the one after that is due.
    Scrub(oneshot::Sender<Option<Instant>>),
}

impl Job {
    /// How much it adds to a batch.
    fn bytes(&self) -> usize {
        match self {
            Self::Transaction(transaction, _) => transaction.body_bytes(),
            Self::Note(_, row, _) => row.as_ref().map_or(0, Vec::len),
            Self::Scrub(_) => 0,
            // Each is a batch of its own.
            Self::Follow(..) | Self::Promote(..) | Self::Begin(..) => BATCH_BYTES_MAX,
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
        Self::open_as(dir, options, &[]).map(|opened| (opened.changelog, opened.nodes))
    }

    /// The same, as a follower of whichever of these writers answers; which may not be the role it comes to.
    ///
    /// # Errors
    /// As [`Local::open`].
    pub fn open_as(dir: &Path, options: store::Options, writers: &[String]) -> Result<Opened, OpenError> {
        let writers = writers.join(", ");
        let mut loading = Loading::new();
        let (mut store, meta) = Store::open(dir, options, &mut |key, value| loading.take(key, value))?;
        let (mut view, standing, nodes) = match meta {
            Some(meta) => loading.finish(&meta)?,
            None if loading.is_empty() => (View::empty(0), Standing::default(), Vec::new()),
            None => return Err(OpenError::NoMeta),
        };
        let is_empty = view.version == 0;
        let (role, surprise) = role::at_start(&standing, &writers, is_empty);
        view.role = role;
        if is_empty {
            // Its own epoch would mean something to nobody: a follower has none before the writer's.
            view.epoch = if role == Role::Follower { 0 } else { begin(&mut store, &view)? };
        }
        let over = if role == Role::Writer { standing.over } else { String::new() };
        let start = Start { view, nodes: nodes.clone(), over, writers, tombstones_max: TOMBSTONES_MAX };
        let changelog = Self::start(start, Box::new(Guarded(Some(store))))?;
        Ok(Opened { changelog, nodes, surprise })
    }

    /// Starts the committer over a loaded view and what is known of nodes.
    pub(super) fn start(start: Start, store: Box<dyn Durable>) -> Result<Self, OpenError> {
        let Start { view, nodes, over, writers, tombstones_max } = start;
        let (mailbox, jobs) = mpsc::channel(MAILBOX_MAX);
        let version = watch::Sender::new(view.version);
        let published = Published { view: ArcSwap::from_pointee(view), version, failure: Mutex::new(None) };
        let published = Arc::new(published);
        let reports = store.reports();
        let nodes = nodes.into_iter().collect();
        let mut committer = Committer { store, nodes, over, published: published.clone(), tombstones_max };
        let thread = std::thread::Builder::new().name("changelog".into()).spawn(move || committer.run(jobs))?;
        Ok(Self { mailbox: Some(mailbox), published, thread: Some(thread), writers, reports })
    }

    /// Makes this the writer of the epoch that takes the place of another database's, of which term and epoch are told
    /// here, and of no promotion that came after it: for what is restored from a backup of that one. Returns the view that
    /// was made durable.
    ///
    /// # Errors
    /// The store could not write it; nothing has changed.
    pub async fn succeed(&self, origin: (u32, u64)) -> Result<Arc<View>, CommitError> {
        let (term, epoch) = succession::restored(origin, new_epoch());
        self.ask(move |reply| Job::Begin(term, epoch, reply)).await
    }

    async fn ask<T, E: Broken>(&self, job: impl FnOnce(oneshot::Sender<Result<T, E>>) -> Job) -> Result<T, E> {
        let (reply, answer) = oneshot::channel();
        let mailbox = self.mailbox.as_ref().ok_or_else(E::closed)?;
        mailbox.send(job(reply)).await.map_err(|_| E::closed())?;
        answer.await.unwrap_or_else(|_| Err(E::closed()))
    }
}

/// How whoever asked the committer is told that the fault is not theirs.
trait Broken {
    /// There is no committer any more.
    fn closed() -> Self;
    /// The store could not write.
    fn store(error: &str) -> Self;
}

impl Broken for CommitError {
    fn closed() -> Self {
        Self::Closed
    }

    fn store(error: &str) -> Self {
        Self::Store(error.to_owned())
    }
}

impl Broken for FollowError {
    fn closed() -> Self {
        Self::Closed
    }

    fn store(error: &str) -> Self {
        Self::Store(error.to_owned())
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

    fn follow(&self, step: Step) -> Pending<'_, Result<(), FollowError>> {
        Box::pin(self.ask(|reply| Job::Follow(step, reply)))
    }

    fn promote(&self, term: u32) -> Pending<'_, Result<Arc<View>, CommitError>> {
        let over = role::clipped(&self.writers).to_owned();
        Box::pin(self.ask(move |reply| Job::Promote(term, over, reply)))
    }

    fn failure(&self) -> Option<String> {
        self.published.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn scrub(&self) -> Pending<'_, Option<Instant>> {
        Box::pin(async {
            let (reply, answer) = oneshot::channel();
            self.mailbox.as_ref()?.send(Job::Scrub(reply)).await.ok()?;
            answer.await.ok()?
        })
    }

    fn reports(&self) -> store::Reports {
        self.reports.clone()
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
    /// As [`Standing`] has it.
    over: String,
    published: Arc<Published>,
    tombstones_max: usize,
}

/// What the committer starts from.
pub(super) struct Start {
    pub(super) view: View,
    pub(super) nodes: Vec<NodeRow>,
    pub(super) over: String,
    pub(super) writers: String,
    pub(super) tombstones_max: usize,
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
        let mut draft = Draft::new(View::clone(&before), self.over.clone(), self.tombstones_max);
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
                Job::Follow(step, reply) => {
                    Verdict { reply: Reply::Follow(draft.follow(step), reply), tentative: true }
                }
                Job::Scrub(reply) => {
                    let _ = reply.send(self.scrub());
                    continue;
                }
                Job::Promote(term, over, reply) => {
                    draft.promote(new_epoch(), term, over);
                    Verdict { reply: Reply::Promote(reply), tentative: true }
                }
                Job::Begin(term, epoch, reply) => {
                    draft.begin(epoch, term, String::new());
                    Verdict { reply: Reply::Promote(reply), tentative: true }
                }
            });
        }
        let outcome = self.write_and_publish(draft, &before);
        if let Err(error) = &outcome {
            tracing::error!(%error, "a commit failed; nothing of it was applied");
        }
        *self.published.failure.lock().unwrap_or_else(PoisonError::into_inner) = outcome.clone().err();
        for verdict in verdicts {
            verdict.tell(&outcome, &self.published);
        }
    }

    /// Looks through the store. Where both copies of the content turn out to be damaged, all of it is in memory, and is
    /// written anew.
    fn scrub(&mut self) -> Option<Instant> {
        let due = self.store.scrub(Instant::now());
        if self.store.reports().ruined().is_some() {
            let (view, meta) = (self.published.view.load_full(), self.store.meta().unwrap_or_default());
            let nodes = self.nodes.iter().map(|(id, row)| record::node(*id, Some(row.clone())));
            if let Err(error) = self.store.replace(&meta, &mut view.to_store().chain(nodes)) {
                tracing::error!(%error, "the database is damaged on disk and cannot be written anew now");
            }
        }
        due
    }

    fn write_and_publish(&mut self, draft: Draft, before: &View) -> Result<(), String> {
        if draft.is_empty() {
            return Ok(());
        }
        let (anew, over) = (draft.is_anew(), draft.over().to_owned());
        let (view, meta, writes) = draft.finish();
        let changes = if anew { None } else { writes.within(store::COMMIT_BYTES_MAX as usize, &view) };
        match changes {
            Some(changes) => self.store.commit(&meta, changes)?,
            None => {
                // More than the journal takes at once, such as the first load of a large configuration.
                let nodes = self.nodes.iter().map(|(id, row)| record::node(*id, Some(row.clone())));
                self.store.replace(&meta, &mut view.to_store().chain(nodes))?;
            }
        }
        self.over = over;
        if (view.epoch, view.version, view.role) != (before.epoch, before.version, before.role) || anew {
            let version = view.version;
            self.published.view.store(Arc::new(view));
            self.published.version.send_replace(version);
        }
        Ok(())
    }
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
    Follow(Result<(), FollowError>, oneshot::Sender<Result<(), FollowError>>),
    Promote(oneshot::Sender<Result<Arc<View>, CommitError>>),
}

impl Verdict {
    /// Answers. Whoever no longer waits for the answer has lost nothing.
    fn tell(self, outcome: &Result<(), String>, published: &Published) {
        let failed = outcome.as_ref().err().filter(|_| self.tentative).map(String::as_str);
        match self.reply {
            Reply::Transaction(verdict, reply) => drop(reply.send(failed.map_or(verdict, |e| Err(Broken::store(e))))),
            Reply::Note(reply) => drop(reply.send(failed.map_or(Ok(()), |e| Err(Broken::store(e))))),
            // A step that was refused for itself has nothing to do with the store.
            Reply::Follow(Err(refused), reply) => drop(reply.send(Err(refused))),
            Reply::Follow(Ok(()), reply) => drop(reply.send(failed.map_or(Ok(()), |e| Err(Broken::store(e))))),
            Reply::Promote(reply) => {
                drop(reply.send(failed.map_or_else(|| Ok(published.view.load_full()), |e| Err(Broken::store(e)))));
            }
        }
    }
}

/// A random epoch. Folding a random id gives all the bits that one has; zero is kept for "none".
fn new_epoch() -> u64 {
    let random = Id::random().0;
    ((random >> 64) as u64 ^ random as u64).max(1)
}

/// The epoch of a writer without content: the one it has, or a new one that is durable before it is used.
fn begin(store: &mut Store, view: &View) -> Result<u64, OpenError> {
    if view.epoch != 0 {
        return Ok(view.epoch);
    }
    let epoch = new_epoch();
    let meta = Meta { epoch, version: 0, floor: 0, term: view.term, standing: Standing::default() }.encode();
    store.commit(&meta, Vec::new()).map_err(OpenError::Create)?;
    Ok(epoch)
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
    pub(super) fn finish(self, meta: &[u8]) -> Result<(View, Standing, Vec<NodeRow>), OpenError> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        let Meta { epoch, version, floor, term, standing } = Meta::decode(meta)?;
        let catalog = self.entities.finish().map_err(|conflicts| match conflicts.into_iter().next() {
            Some(conflict) => OpenError::Inconsistent(conflict),
            None => OpenError::NoMeta,
        })?;
        let role = standing.role;
        Ok((View { epoch, term, role, version, floor, catalog, ..self.view }, standing, self.nodes))
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
