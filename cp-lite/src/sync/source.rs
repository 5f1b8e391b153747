//! What sessions send from: the newest view, encoded once.
//!
//! A [`Published`] is one version with everything that sessions of one moment share: the step from each version that a
//! node was found at. It is made when the first session looks after a commit, and lives as long as a session uses it.

use super::bases::Bases;
use super::blobs::Blobs;
use super::in_use::Users;
use super::packer::Packer;
use crate::changelog::{Audience, Changelog, View};
use model::{Change, Id, Kind, Record};
use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;
use wire::compat::InUse;
use wire::cp::Source;
use wire::delta::{Builder, Form};
use wire::full::{Cursor, Wanted};
use wire::pack::Pack;
use wire::patch::IdPrefix;
use wire::reconcile::Sketching;
use wire::{Encoded, Offer};

/// How many different steps to one version are kept encoded. Connected nodes are at the same version nearly always;
/// each one that comes back from an absence may need a step of its own.
const STEPS_MAX: usize = 256;

/// The fewest bytes of an id that a patch names its entity by. Fewer are hardly ever enough.
const PREFIX_BYTES_MIN: usize = 2;

/// The newest version for all sessions.
pub struct Sources {
    changelog: Arc<dyn Changelog>,
    newest: Mutex<Newest>,
    blobs: Arc<Blobs>,
    bases: Arc<Mutex<Bases>>,
    packer: Arc<Packer>,
}

struct Newest {
    published: Arc<Published>,
    users: Users,
}

/// Encoded steps by where they start and how they may be written; none where a step is over the limits.
type Steps = HashMap<(u64, Form), Option<Arc<Encoded>>>;

/// One version with what sessions share of it.
pub struct Published {
    view: Arc<View>,
    in_use: InUse,
    steps: Mutex<Steps>,
    blobs: Arc<Blobs>,
    bases: Arc<Mutex<Bases>>,
    packer: Arc<Packer>,
}

impl Sources {
    /// Sends what this changelog has. Full syncs rest in files of `dir` while nobody sends them; without it, in memory.
    #[must_use]
    pub fn new(changelog: Arc<dyn Changelog>, dir: Option<PathBuf>) -> Self {
        let view = changelog.view();
        let mut users = Users::default();
        users.update(&View::empty(0), &view);
        let blobs = Blobs::new(dir);
        let bases = Arc::<Mutex<Bases>>::default();
        let packer = Arc::<Packer>::default();
        let published = Arc::new(Published::new(view, &users, blobs.clone(), bases.clone(), packer.clone()));
        Self { changelog, newest: Mutex::new(Newest { published, users }), blobs, bases, packer }
    }

    /// Changes whenever a full sync that sessions may be waiting for has been made.
    #[must_use]
    pub fn blobs(&self) -> watch::Receiver<u64> {
        self.blobs.ready()
    }

    /// The changelog behind it.
    #[must_use]
    pub fn changelog(&self) -> &Arc<dyn Changelog> {
        &self.changelog
    }

    /// The newest durable version.
    #[must_use]
    pub fn newest(&self) -> Arc<Published> {
        let view = self.changelog.view();
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let published = &newest.published.view;
        if (published.epoch, published.version) != (view.epoch, view.version) {
            let before = published.clone();
            newest.users.update(&before, &view);
            self.bases.lock().unwrap_or_else(PoisonError::into_inner).update(&before, &view);
            let Self { blobs, bases, packer, .. } = self;
            newest.published =
                Arc::new(Published::new(view, &newest.users, blobs.clone(), bases.clone(), packer.clone()));
        }
        newest.published.clone()
    }
}

impl Published {
    fn new(view: Arc<View>, users: &Users, blobs: Arc<Blobs>, bases: Arc<Mutex<Bases>>, packer: Arc<Packer>) -> Self {
        let in_use = users.sum(&view);
        Self { view, in_use, steps: Mutex::default(), blobs, bases, packer }
    }

    /// The view that is sent.
    #[must_use]
    pub fn view(&self) -> &Arc<View> {
        &self.view
    }

    pub(super) fn blobs(&self) -> &Arc<Blobs> {
        &self.blobs
    }

    fn encode(&self, from: u64, form: Form) -> Option<Arc<Encoded>> {
        let mut builder = Builder::new(from, self.view.version, self.view.root(Audience::ALL));
        let gone = if form.patches { self.gone_since(from) } else { BTreeSet::new() };
        for change in self.view.changes_since(from).ok()? {
            match change {
                Change::Put(record) => match self.base(&record, from).filter(|_| form.patches) {
                    Some(base) => builder.patch(&record, self.prefix(record.kind, record.id, &gone), &base),
                    None => builder.put(&record),
                },
                Change::Delete { kind, .. } if form.unknown.contains(kind) => continue,
                Change::Delete { kind, id } => builder.delete(kind, id),
            };
        }
        if form.packed { builder.finish_packed(&*self.packer) } else { builder.finish() }.map(Arc::new)
    }

    /// The body that nodes at that version have of an entity that has changed since.
    fn base(&self, record: &Record, from: u64) -> Option<Arc<[u8]>> {
        self.bases.lock().unwrap_or_else(PoisonError::into_inner).find(record.kind, record.id, from)
    }

    fn gone_since(&self, from: u64) -> BTreeSet<(Kind, Id)> {
        let touched = self.view.since(from).into_iter().flatten();
        touched.filter(|touched| touched.deleted).map(|touched| (touched.kind, touched.id)).collect()
    }

    /// What tells an entity from all others that there are, and from those that are gone, which nodes still have.
    fn prefix(&self, kind: Kind, id: Id, gone: &BTreeSet<(Kind, Id)>) -> IdPrefix {
        telling(&self.view, kind, id, |low, high| gone.range((kind, low)..=(kind, high)).next().is_none())
    }
}

/// The shortest beginning of an id that no other one of its kind has, and that `is_free` from the lowest to the highest id
/// that has it.
pub(super) fn telling(view: &View, kind: Kind, id: Id, is_free: impl Fn(Id, Id) -> bool) -> IdPrefix {
    let tells = |prefix: &IdPrefix| {
        let (low, high) = prefix.range();
        view.catalog.only_within(kind, low, high).is_some() && is_free(low, high)
    };
    (PREFIX_BYTES_MIN..16).map(|length| IdPrefix::of(id, length)).find(tells).unwrap_or_else(|| IdPrefix::of(id, 16))
}

impl Source for Published {
    fn epoch(&self) -> u64 {
        self.view.epoch
    }

    fn term(&self) -> u32 {
        self.view.term
    }

    fn head(&self) -> u64 {
        self.view.version
    }

    fn floor(&self) -> u64 {
        self.view.floor
    }

    fn root(&self) -> u64 {
        self.view.root(Audience::ALL)
    }

    fn in_use(&self) -> &InUse {
        &self.in_use
    }

    fn delta(&self, from: u64, form: Form) -> Option<Arc<Encoded>> {
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(step) = steps.get(&(from, form)) {
            return step.clone();
        }
        let step = self.encode(from, form);
        if steps.len() < STEPS_MAX {
            steps.insert((from, form), step.clone());
        }
        step
    }

    fn packer(&self) -> &dyn Pack {
        &*self.packer
    }

    fn puts_since(&self, version: u64, most: u64) -> u64 {
        let Ok(touched) = self.view.since(version) else { return most };
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        touched.take_while(|touched| !touched.deleted).take(most).count() as u64
    }

    fn record(&self, kind: u8, id: Id) -> Option<Record> {
        self.view.catalog.record(Kind::from_code(kind)?, id)
    }

    fn full(&self) -> Box<dyn Cursor> {
        Box::new(Everything::of(self.view.clone()))
    }

    fn sketch(&self, oldest: u64) -> Sketching {
        self.blobs.sketch(&self.view, oldest)
    }

    fn blob(&self, wanted: Wanted) -> Offer {
        self.blobs.offer(&self.view, wanted)
    }
}

/// A walk over a whole view, parents before children; holds the view and a position, nothing else.
pub(super) struct Everything {
    view: Arc<View>,
    kind: usize,
    after: Option<Id>,
}

impl Everything {
    pub(super) fn of(view: Arc<View>) -> Self {
        Self { view, kind: 0, after: None }
    }
}

impl Cursor for Everything {
    fn version(&self) -> u64 {
        self.view.version
    }

    fn root(&self) -> u64 {
        self.view.root(Audience::ALL)
    }

    fn count(&self) -> u64 {
        self.view.catalog.len() as u64
    }

    fn next(&mut self) -> Option<Record> {
        loop {
            let kind = model::kind::ALL.get(self.kind)?.kind;
            let next = self.view.catalog.iter(kind, self.after).next().map(|(id, _)| id);
            match next {
                Some(id) => {
                    self.after = Some(id);
                    return self.view.catalog.record(kind, id);
                }
                None => (self.kind, self.after) = (self.kind + 1, None),
            }
        }
    }
}
