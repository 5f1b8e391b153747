//! What sessions send from: the newest view, encoded once.
//!
//! A [`Published`] is one version with everything that sessions of one moment share: the step from each version that a
//! node was found at. It is made when the first session looks after a commit, and lives as long as a session uses it.

use super::blobs::Blobs;
use crate::changelog::{Audience, Changelog, View};
use model::{Change, Id, Kind, Record};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;
use wire::compat::InUse;
use wire::cp::Source;
use wire::delta::Builder;
use wire::full::{Cursor, Wanted};
use wire::{Encoded, Offer, PluginVersion};

/// How many different steps to one version are kept encoded. Connected nodes are at the same version nearly always;
/// each one that comes back from an absence may need a step of its own.
const STEPS_MAX: usize = 256;

/// The newest version for all sessions.
pub struct Sources {
    changelog: Arc<dyn Changelog>,
    newest: Mutex<Newest>,
    blobs: Arc<Blobs>,
}

struct Newest {
    published: Arc<Published>,
    plugins: PluginsInUse,
}

/// Which plugins are configured: kept up to date by what changed, not by looking at all of them.
#[derive(Default)]
struct PluginsInUse {
    at: u64,
    by_id: HashMap<Id, Arc<str>>,
    count: BTreeMap<Arc<str>, usize>,
}

/// One version with what sessions share of it.
pub struct Published {
    view: Arc<View>,
    in_use: InUse,
    steps: Mutex<HashMap<u64, Option<Arc<Encoded>>>>,
    blobs: Arc<Blobs>,
}

impl Sources {
    /// Sends what this changelog has.
    #[must_use]
    pub fn new(changelog: Arc<dyn Changelog>) -> Self {
        let view = changelog.view();
        let mut plugins = PluginsInUse::default();
        plugins.update(&View::empty(0), &view);
        let blobs = Blobs::new();
        let published = Arc::new(Published::new(view, &plugins, blobs.clone()));
        Self { changelog, newest: Mutex::new(Newest { published, plugins }), blobs }
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
            newest.plugins.update(&before, &view);
            newest.published = Arc::new(Published::new(view, &newest.plugins, self.blobs.clone()));
        }
        newest.published.clone()
    }
}

impl PluginsInUse {
    fn update(&mut self, before: &View, view: &View) {
        let continues = before.epoch == view.epoch && before.version == self.at;
        let touched = if continues { view.since(self.at).ok() } else { None };
        match touched {
            Some(touched) => {
                for touched in touched.filter(|touched| touched.kind == Kind::Plugin) {
                    self.set(touched.id, view.catalog.record(Kind::Plugin, touched.id).as_ref());
                }
            }
            None => {
                *self = Self::default();
                for (id, _) in view.catalog.iter(Kind::Plugin, None) {
                    self.set(id, view.catalog.record(Kind::Plugin, id).as_ref());
                }
            }
        }
        self.at = view.version;
    }

    fn set(&mut self, id: Id, record: Option<&Record>) {
        if let Some(name) = self.by_id.remove(&id)
            && let Some(count) = self.count.get_mut(&name)
        {
            *count -= 1;
            if *count == 0 {
                self.count.remove(&name);
            }
        }
        let name = record.and_then(|record| model::kinds::plugins::Plugin::decode(&record.body).ok());
        if let Some(plugin) = name {
            let name: Arc<str> = plugin.name.into();
            *self.count.entry(name.clone()).or_default() += 1;
            self.by_id.insert(id, name);
        }
    }
}

impl Published {
    fn new(view: Arc<View>, plugins: &PluginsInUse, blobs: Arc<Blobs>) -> Self {
        let kinds = model::kind::ALL.iter().map(|def| def.kind).filter(|kind| view.catalog.count(*kind) > 0);
        let version = |name: &Arc<str>| model::plugins::find(name).map(|def| def.version.to_owned());
        let plugin = |name: &Arc<str>| PluginVersion { name: name.to_string(), version: version(name) };
        let in_use =
            InUse { kinds: kinds.map(Kind::code).collect(), plugins: plugins.count.keys().map(plugin).collect() };
        Self { view, in_use, steps: Mutex::default(), blobs }
    }

    /// The view that is sent.
    #[must_use]
    pub fn view(&self) -> &Arc<View> {
        &self.view
    }

    fn encode(&self, from: u64) -> Option<Arc<Encoded>> {
        let mut builder = Builder::new(from, self.view.version, self.view.root(Audience::ALL));
        for change in self.view.changes_since(from).ok()? {
            match change {
                Change::Put(record) => builder.put(&record),
                Change::Delete { kind, id } => builder.delete(kind, id),
            };
        }
        builder.finish().map(Arc::new)
    }
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

    fn delta(&self, from: u64) -> Option<Arc<Encoded>> {
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(step) = steps.get(&from) {
            return step.clone();
        }
        let step = self.encode(from);
        if steps.len() < STEPS_MAX {
            steps.insert(from, step.clone());
        }
        step
    }

    fn record(&self, kind: u8, id: Id) -> Option<Record> {
        self.view.catalog.record(Kind::from_code(kind)?, id)
    }

    fn full(&self) -> Box<dyn Cursor> {
        Box::new(Everything::of(self.view.clone()))
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
