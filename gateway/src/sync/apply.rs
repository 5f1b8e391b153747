//! Compile → commit → swap → ack: what happens to a complete delta or a full sync, in this order and no other.
//!
//! What is durable compiles, and what compiles serves. A disk that is full, failing or read-only changes only the word
//! *durable*: the change is compiled and served, and what could not be written waits in a bounded backlog for the next
//! commit. Neighbours: `link` brings complete deltas, `snapshot` compiles them, the store's thread keeps them.

use super::reconcile::Changes;
use super::status::Reporter;
use crate::opening::Place;
use crate::snapshot::{Live, Loader, Rejection, Snapshot};
use crate::state::{self, Meta, Opened, Source};
use model::{Change, Id, Kind, Record};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{CommitError, Deadlines, Key, Thread, ThreadReplacement};
use wire::shrink::{Limit, Shrink};

/// The most bytes that wait for a disk that takes nothing; beyond, the store is filled anew by a full sync.
pub const BACKLOG_BYTES_MAX: usize = 2 * 1024 * 1024;
/// The pause before a store in trouble is tried again.
pub const RETRY_FIRST: Duration = Duration::from_secs(5);
/// What that pause grows to where every try costs the making of a new generation, or the opening of the store.
pub const RETRY_LONGEST: Duration = Duration::from_secs(600);
/// How often it is asked whether the store has found its content ruined.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);
/// Records of a full sync that go to the store's thread in one message.
const BATCH_RECORDS: usize = 64;

/// Applies what a control plane sends. One per data plane.
pub struct Applier {
    live: Arc<Live>,
    store: Option<Thread>,
    /// Where the store is to be opened if it is not.
    place: Option<Place>,
    /// Epoch and version of what was served first.
    begun: (u64, u64),
    /// Epoch and version that a restart would come back with.
    durable: (u64, u64),
    limit: Limit,
    /// The latest term that a control plane told of; what is applied is kept as of it.
    term: u32,
    backlog: Backlog,
    trouble: Option<Trouble>,
    /// When the store is next asked whether it can still read what it has.
    look_at: Instant,
    /// What the store had when this program started could not be kept.
    lost: bool,
}

/// The store does not take what is served.
struct Trouble {
    /// What it said.
    why: String,
    /// When it is tried again, and how long after that if it fails once more.
    retry_at: Instant,
    pause: Duration,
    /// It takes new content again, while only a whole one makes it right: a full sync is wanted.
    healed: bool,
}

/// Changes that are served and not yet stored, the latest of each key.
#[derive(Default)]
struct Backlog {
    changes: HashMap<Key, Option<Arc<[u8]>>>,
    bytes: usize,
    /// Too much has been missed: only a whole new content makes the store right again.
    overflowed: bool,
}

/// A full sync under way; what is served meanwhile does not change.
pub struct Full {
    loader: Loader,
    epoch: u64,
    term: u32,
    version: u64,
    confirmed: u64,
    stage: Option<ThreadReplacement>,
    batch: Vec<(Key, Arc<[u8]>)>,
    trouble: Option<CommitError>,
}

/// Why a delta or a full sync is not served.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Something in it does not compile.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// It compiles, but is not what the control plane says it is.
    #[error("the digest of the result is {found:016x}, the control plane's is {expected:016x}")]
    Root {
        /// What came out here.
        found: u64,
        /// What the control plane has.
        expected: u64,
    },
    /// It would take more away than goes without a confirmation.
    #[error("{0}")]
    Shrink(Shrink),
}

impl Applier {
    /// Starts from what is served now. `durable` is the version that the store came back with; no store means that
    /// nothing is ever durable.
    #[must_use]
    pub fn new(live: Arc<Live>, store: Option<Thread>, durable: (u64, u64)) -> Self {
        let (limit, backlog, look_at) = (Limit::default(), Backlog::default(), Instant::now() + LOOK_INTERVAL);
        let begun = served(&live);
        let (place, trouble) = (None, None);
        Self { live, store, place, begun, durable, limit, term: 0, backlog, trouble, look_at, lost: false }
    }

    /// With a place where a store that could not be opened, or was given up, is opened again.
    #[must_use]
    pub fn with_place(self, place: Place) -> Self {
        Self { place: Some(place), ..self }
    }

    /// With another limit to what a full sync may take away.
    #[must_use]
    pub fn with_limit(self, limit: Limit) -> Self {
        Self { limit, ..self }
    }

    /// Starts with a store that takes nothing, or with none, for this reason.
    #[must_use]
    pub fn in_trouble_from_the_start(mut self, why: Option<String>) -> Self {
        if let Some(why) = why {
            self.backlog.overflowed = self.durable != self.begun;
            self.in_trouble(why);
        }
        self
    }

    /// Starts with a store that may have lost what was durable.
    #[must_use]
    pub fn after_a_loss(mut self, lost: bool) -> Self {
        self.lost = lost;
        self
    }

    /// Whether versions that were durable may be gone from the store since this program started.
    #[must_use]
    pub fn has_lost(&self) -> bool {
        let report = self.store.as_ref().and_then(|store| store.reports().last());
        self.lost || report.is_some_and(|report| report.lost)
    }

    /// What is served now.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.live.snapshot()
    }

    /// The version that a restart would come back with, if it is of this epoch; 0 otherwise.
    #[must_use]
    pub fn durable(&self, epoch: u64) -> u64 {
        if self.durable.0 == epoch { self.durable.1 } else { 0 }
    }

    /// What keeps the served version from being durable, in words; none when nothing does.
    #[must_use]
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_ref().map(|trouble| trouble.why.as_str())
    }

    /// Tells the Status API what is durable, and what keeps the rest from it.
    pub fn tell(&self, reporter: &Reporter) {
        let (last_good, trouble) = (self.durable, self.trouble().map(str::to_owned));
        let durable = self.durable(served(&self.live).0);
        reporter.update(|link| (link.last_good, link.durable, link.store_trouble) = (last_good, durable, trouble));
    }

    /// When to call [`Applier::retry`]; never where there is no store and no place for one.
    #[must_use]
    pub fn retry_at(&self) -> Option<Instant> {
        if self.store.is_none() && self.place.is_none() {
            return None;
        }
        match &self.trouble {
            Some(trouble) => (!trouble.healed).then_some(trouble.retry_at),
            None => self.store.is_some().then_some(self.look_at),
        }
    }

    /// Whether a full sync is wanted: too much was missed, and the store takes content again.
    #[must_use]
    pub fn needs_full(&self) -> bool {
        self.trouble.as_ref().is_some_and(|trouble| trouble.healed)
    }

    /// Whether bodies are kept at all.
    #[must_use]
    pub fn has_store(&self) -> bool {
        self.store.is_some()
    }

    /// An entity with its body, as it is served; none if its body is not to be had.
    pub async fn record(&self, kind: Kind, id: Id) -> Option<Record> {
        let key = state::key(kind, id);
        let value = match self.backlog.changes.get(&key) {
            Some(value) => value.clone()?,
            None => self.store.as_ref()?.get(key).await.ok()??,
        };
        let record = state::record(key, &value)?;
        // What is stored may be older than what is served.
        let snapshot = self.live.snapshot();
        let served = snapshot.catalog().get(kind, id)?;
        ((served.version, served.tag) == (record.version, record.tag)).then_some(record)
    }

    /// The control plane is of this term.
    pub fn of_term(&mut self, term: u32) {
        self.term = term;
    }

    /// Applies a complete delta.
    ///
    /// # Errors
    /// What forbids it; the old version serves on and stays durable.
    pub async fn delta(&mut self, epoch: u64, version: u64, root: u64, changes: Vec<Change>) -> Result<(), Refused> {
        let mut next = self.live.snapshot().apply(epoch, version, &changes)?;
        // A store of an earlier build does not know of terms.
        next.term = next.term.max(self.term);
        check_root(&next, root)?;
        self.keep(&next, &changes).await;
        self.live.publish_step(Arc::new(next), &changes);
        Ok(())
    }

    /// Applies what a reconcile found, which may lead into another epoch (with its term), and of which so many entities may
    /// go as somebody has confirmed.
    ///
    /// # Errors
    /// What forbids it; the old version serves on and stays durable.
    pub async fn reconcile(
        &mut self,
        (epoch, term): (u64, u32),
        version: u64,
        root: u64,
        Changes { changes, gone }: Changes,
        confirmed: u64,
    ) -> Result<(), Refused> {
        let now = self.live.snapshot();
        let mut next = now.apply(epoch, version, &changes)?;
        next.term = term;
        check_root(&next, root)?;
        let had = protected(&now);
        self.limit.judge(had, gone.min(had), confirmed).map_err(Refused::Shrink)?;
        self.keep(&next, &changes).await;
        self.live.publish_step(Arc::new(next), &changes);
        Ok(())
    }

    /// Tries again to make durable what is served. Where the backlog holds all that was missed, that is a commit; where it
    /// overflowed, it is a look whether a new generation could be begun at all, so that no full sync is asked for in vain.
    pub async fn retry(&mut self) {
        if self.trouble.is_none() {
            return self.look();
        }
        if let Err(why) = self.reopen().await {
            return self.in_trouble(why);
        }
        let snapshot = self.live.snapshot();
        if self.durable == (snapshot.epoch, snapshot.version) {
            return self.retry_writing().await;
        }
        if !self.backlog.overflowed {
            return self.keep(&snapshot, &[]).await;
        }
        let Some(store) = &self.store else { return };
        match store.replace().await {
            Ok(stage) => {
                // Nothing is in it yet; dropping it leaves the old content.
                drop(stage);
                tracing::info!("the store takes content again; a full sync makes it right");
                let why = "it takes content again; a full sync, or a restart, makes it right";
                self.trouble.iter_mut().for_each(|trouble| (trouble.healed, trouble.why) = (true, why.to_owned()));
            }
            Err(error) => self.in_trouble(error.to_string()),
        }
    }

    /// Opens the store if it could not be opened before, or was given up. What it holds is served if that is what the start
    /// would have served and nothing came since; else it is behind, and what was missed is not known any more.
    async fn reopen(&mut self) -> Result<(), String> {
        let Some(place) = &self.place else { return Ok(()) };
        if self.store.as_ref().is_some_and(|store| store.abandoned().is_none()) {
            return Ok(());
        }
        // Whoever gave it up has the lock until it ends.
        self.store = None;
        let place = place.clone();
        let tried = tokio::task::spawn_blocking(move || place.open()).await;
        let tried = tried.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        self.lost |= tried.damage.is_some();
        let Some(Opened { store, content, .. }) = tried.opened else { return Err(tried.trouble.unwrap_or_default()) };
        let store = Thread::start(store, Deadlines::default()).map_err(|error| error.to_string())?;
        tracing::info!("the store is open");
        self.store = Some(store);
        let now = self.live.snapshot();
        let held = content.as_ref().map_or((0, 0), |(_, meta)| (meta.epoch, meta.version));
        let is_served = content.as_ref().is_none_or(|(_, meta)| meta.root == now.catalog().digest());
        self.durable = held;
        if let Some((kept, meta)) = content
            && self.begun == served(&self.live)
            && (serves_nothing(&now) || meta.source == Source::ControlPlane)
        {
            self.begun = held;
            self.live.publish(Arc::new(kept));
        } else if !is_served && held == (now.epoch, now.version) {
            self.durable = (0, 0);
        }
        self.backlog = Backlog { overflowed: self.durable != served(&self.live), ..Backlog::default() };
        Ok(())
    }

    /// While all is well: a store that has found both copies of its content damaged has nothing that a restart could come
    /// back with, and only a full sync makes that right. What is served is in memory and serves on.
    fn look(&mut self) {
        self.look_at = Instant::now() + LOOK_INTERVAL;
        if let Some(why) = self.store.as_ref().and_then(|store| store.reports().ruined()) {
            self.durable = (0, 0);
            self.backlog = Backlog { overflowed: true, ..Backlog::default() };
            self.in_trouble(why);
        }
    }

    /// Nothing waits to be written: all there is to find out is whether something could be.
    async fn retry_writing(&mut self) {
        let Some(store) = &self.store else { return };
        match store.retry_writing().await {
            Ok(()) => {
                tracing::info!("the store takes changes again");
                self.trouble = None;
            }
            Err(error) => self.in_trouble(error.to_string()),
        }
    }

    /// Notes what the store said, and when to try again.
    fn in_trouble(&mut self, why: String) {
        let pause = match &self.trouble {
            Some(before) if self.backlog.overflowed || self.store.is_none() => (before.pause * 2).min(RETRY_LONGEST),
            _ => RETRY_FIRST,
        };
        self.trouble = Some(Trouble { why, retry_at: Instant::now() + pause, pause, healed: false });
    }

    /// Whether a full sync of so many entities may begin, of which so many may go as somebody has confirmed.
    ///
    /// # Errors
    /// Its count alone proves that it would take too much away.
    pub fn admits(&self, count: u64, confirmed: u64) -> Result<(), Shrink> {
        self.limit.by_count(protected(&self.live.snapshot()), count, confirmed)
    }

    /// Starts a full sync to `version`.
    pub async fn full(&mut self, epoch: u64, version: u64) -> Full {
        let (stage, trouble) = match &self.store {
            None => (None, None),
            Some(store) => match store.replace().await {
                Ok(stage) => (Some(stage), None),
                Err(error) => (None, Some(error)),
            },
        };
        Full {
            loader: Loader::after(&self.live.snapshot(), epoch, version),
            epoch,
            term: self.term,
            version,
            confirmed: 0,
            stage,
            batch: Vec::new(),
            trouble,
        }
    }

    /// Puts a complete full sync in the place of what is served.
    ///
    /// # Errors
    /// What forbids it; the old version serves on and stays durable.
    pub async fn finish(&mut self, mut full: Full, root: u64) -> Result<(), Refused> {
        full.flush().await;
        let mut next = full.loader.finish()?;
        next.term = full.term;
        check_root(&next, root)?;
        let now = self.live.snapshot();
        let gone = if protected(&now) > 0 { now.catalog().missing_in(next.catalog()) as u64 } else { 0 };
        self.limit.judge(protected(&now), gone, full.confirmed).map_err(Refused::Shrink)?;
        let meta = Meta::of(&next, Source::ControlPlane).to_bytes();
        let kept = match (full.stage, full.trouble) {
            (Some(stage), None) => stage.finish(meta).await,
            (_, Some(error)) => Err(error),
            (None, None) => Ok(()),
        };
        match kept {
            Ok(()) => {
                self.backlog = Backlog::default();
                if self.store.is_some() {
                    self.durable = (full.epoch, full.version);
                    self.trouble = None;
                }
            }
            Err(error) => {
                tracing::error!(%error, "a full sync is served but not durable");
                self.backlog = Backlog { overflowed: true, ..Backlog::default() };
                self.in_trouble(error.to_string());
            }
        }
        self.live.publish(Arc::new(next));
        Ok(())
    }

    /// Commits these changes and whatever could not be committed before.
    async fn keep(&mut self, next: &Snapshot, changes: &[Change]) {
        let Some(store) = &self.store else { return };
        self.backlog.extend(changes);
        if self.backlog.overflowed {
            return;
        }
        let meta = Meta::of(next, Source::ControlPlane).to_bytes();
        match store.commit(meta, self.backlog.to_changes()).await {
            Ok(()) => {
                if self.trouble.take().is_some() {
                    tracing::info!(version = next.version, "the store takes changes again");
                }
                self.backlog = Backlog::default();
                self.durable = (next.epoch, next.version);
            }
            Err(error) => {
                if self.trouble.is_none() {
                    tracing::error!(%error, version = next.version, "a change is served but not durable");
                }
                self.backlog.overflowed |= matches!(error, CommitError::Corrupt(_) | CommitError::CommitTooLarge(_));
                self.in_trouble(error.to_string());
            }
        }
    }
}

impl Full {
    /// Of what is served now, so many entities may go with it, as somebody has confirmed.
    #[must_use]
    pub fn confirmed(self, confirmed: u64) -> Self {
        Self { confirmed, ..self }
    }

    /// Takes one record: compiles it and keeps it.
    ///
    /// # Errors
    /// What is wrong with it; the full sync is then over.
    pub async fn put(&mut self, record: &Record) -> Result<(), Refused> {
        self.compile(record)?;
        self.keep(record).await;
        Ok(())
    }

    /// Compiles a record into what will be served.
    ///
    /// # Errors
    /// As [`Full::put`].
    pub fn compile(&mut self, record: &Record) -> Result<(), Refused> {
        Ok(self.loader.put(record)?)
    }

    /// Gives a record to the store's other generation.
    pub async fn keep(&mut self, record: &Record) {
        if self.stage.is_some() {
            self.batch.push((state::key(record.kind, record.id), state::value(record)));
            if self.batch.len() >= BATCH_RECORDS {
                self.flush().await;
            }
        }
    }

    /// The version that it leads to.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    async fn flush(&mut self) {
        let Some(stage) = &mut self.stage else { return };
        let batch = std::mem::take(&mut self.batch);
        if let Err(error) = stage.put(batch).await {
            // Served all the same, from memory: see `finish`.
            self.stage = None;
            self.trouble = Some(error);
        }
    }
}

impl Backlog {
    fn extend(&mut self, changes: &[Change]) {
        for store::Change { key, value } in changes.iter().map(state::change) {
            self.bytes += size_of::<Key>() + value.as_ref().map_or(0, |value| value.len());
            if let Some(Some(old)) = self.changes.insert(key, value) {
                self.bytes -= old.len();
            }
        }
        if self.bytes > BACKLOG_BYTES_MAX {
            *self = Self { overflowed: true, ..Self::default() };
        }
    }

    fn to_changes(&self) -> Vec<store::Change> {
        self.changes.iter().map(|(key, value)| store::Change { key: *key, value: value.clone() }).collect()
    }
}

/// Epoch and version of what is served.
fn served(live: &Live) -> (u64, u64) {
    let snapshot = live.snapshot();
    (snapshot.epoch, snapshot.version)
}

fn serves_nothing(now: &Snapshot) -> bool {
    now.version == 0 && now.catalog().is_empty()
}

/// How many entities a full sync must not take away by mistake: those that a control plane sent.
fn protected(now: &Snapshot) -> u64 {
    if now.epoch == 0 { 0 } else { now.catalog().len() as u64 }
}

fn check_root(next: &Snapshot, expected: u64) -> Result<(), Refused> {
    let found = next.catalog().digest();
    if found == expected { Ok(()) } else { Err(Refused::Root { found, expected }) }
}

impl Refused {
    /// The entity to blame, if it is one.
    #[must_use]
    pub fn entity(&self) -> Option<(u8, Id)> {
        match self {
            Self::Rejected(rejection) => Some((rejection.kind.code(), rejection.id)),
            Self::Root { .. } | Self::Shrink(_) => None,
        }
    }
}
