//! A control plane whose changelog is as that of the product: what it has, which deletions it remembers, and what it can
//! tell whom. A writer commits; a follower takes steps over with the versions that they bring.

use super::Flaw;
use super::client::Held;
use crate::lab::Zstd;
use crate::lab::{Key, Rng, State, record, root_of};
use model::{Change, Id, Kind, Record};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use wire::compat::InUse;
use wire::cp::{self, Source};
use wire::delta::{Builder, Encoded, Form};
use wire::full::Wanted;
use wire::limits::BLOB_WINDOW_LOG_MAX;
use wire::pack::Pack;
use wire::patch::IdPrefix;
use wire::reconcile::{Content, Sketch, Sketching};
use wire::succession::promoted;
use wire::{Blob, Cursor, Offer};

/// How many versions a blob or a sketch may be behind.
const STALE: u64 = 2;

/// The configuration at one version, and its past.
#[derive(Clone)]
pub(crate) struct View {
    /// 0 on a follower that has heard of nothing yet.
    pub(crate) epoch: u64,
    pub(crate) term: u32,
    pub(crate) writes: bool,
    pub(crate) version: u64,
    pub(crate) floor: u64,
    pub(crate) state: Arc<State>,
    /// As of which version each entity that is gone was deleted.
    buried: BTreeMap<Key, u64>,
    in_use: InUse,
    memory: RefCell<Memory>,
}

/// What is not kept across a restart: bodies that were replaced, by the versions at which nodes had them, and what was
/// made for sessions.
#[derive(Clone, Default)]
struct Memory {
    bases: Vec<(Key, u64, u64, Arc<[u8]>)>,
    blob: Option<(u64, Blob)>,
    sketch: Option<Arc<Sketch>>,
}

impl View {
    /// Nothing, at version 0.
    pub(crate) fn empty(epoch: u64, writes: bool) -> Self {
        Self {
            epoch,
            term: 0,
            writes,
            version: 0,
            floor: 0,
            state: Arc::default(),
            buried: BTreeMap::new(),
            in_use: InUse::default(),
            memory: RefCell::default(),
        }
    }

    /// A new database of an epoch with the entities of a backup, as its first commit.
    pub(crate) fn restored(epoch: u64, term: u32, backup: &State) -> Self {
        let again = backup.values().map(|old| ((old.kind, old.id), record(old.kind, old.id, 1, &old.body)));
        let version = u64::from(!backup.is_empty());
        Self { term, version, state: Arc::new(again.collect()), ..Self::empty(epoch, true) }
    }

    /// Everything, as a writer sent it: older deletions are not known.
    pub(crate) fn taken(epoch: u64, term: u32, version: u64, state: Arc<State>) -> Self {
        Self { term, version, floor: version, state, ..Self::empty(epoch, false) }
    }

    /// The next version; none where nothing changes.
    pub(crate) fn commit(&self, changes: &[(Key, Option<Vec<u8>>)], keep: usize) -> Option<Self> {
        let (mut next, version) = (self.clone(), self.version + 1);
        let state = Arc::make_mut(&mut next.state);
        for (key, body) in changes {
            match body {
                Some(body) if self.state.get(key).is_none_or(|old| *old.body != **body) => {
                    state.insert(*key, record(key.0, key.1, version, body));
                    next.buried.remove(key);
                }
                None if state.remove(key).is_some() => drop(next.buried.insert(*key, version)),
                Some(_) | None => {}
            }
        }
        if next.state == self.state {
            return None;
        }
        next.version = version;
        next.forget_deletions(keep);
        next.keep_bases(self);
        Some(next)
    }

    /// Takes over a step of the writer to `to`.
    pub(crate) fn step(&self, to: u64, changes: &[Change], keep: usize, flaw: Flaw) -> Self {
        let mut next = self.clone();
        let state = Arc::make_mut(&mut next.state);
        let at = if flaw == Flaw::BuriesTooLow { self.version } else { to };
        for change in changes {
            match change {
                Change::Put(record) => {
                    state.insert((record.kind, record.id), record.clone());
                    next.buried.remove(&(record.kind, record.id));
                }
                Change::Delete { kind, id } => {
                    state.remove(&(*kind, *id));
                    next.buried.insert((*kind, *id), at);
                }
            }
        }
        next.version = to;
        next.forget_deletions(keep);
        next.keep_bases(self);
        next
    }

    /// The same content in a new epoch, as its writer.
    pub(crate) fn promoted(&self, epoch: u64, term: u32) -> Self {
        let term = promoted(self.term, term);
        let (version, state) = (self.version, Arc::clone(&self.state));
        Self { term, version, floor: version, state, ..Self::empty(epoch, true) }
    }

    /// As it says what it has when it follows.
    pub(crate) fn held(&self) -> Held {
        let Self { epoch, term, version, ref state, .. } = *self;
        Held { epoch, term, version, state: Arc::clone(state) }
    }

    /// As it is after a restart.
    pub(crate) fn reopened(&self) -> Self {
        Self { memory: RefCell::default(), ..self.clone() }
    }

    fn forget_deletions(&mut self, keep: usize) {
        while self.buried.len() > keep {
            let oldest = self.buried.iter().min_by_key(|(_, version)| **version).map(|(key, version)| (*key, *version));
            let Some((key, version)) = oldest else { return };
            self.buried.remove(&key);
            self.floor = self.floor.max(version);
        }
    }

    fn keep_bases(&mut self, before: &Self) {
        let memory = self.memory.get_mut();
        if before.epoch != self.epoch || before.version < self.floor {
            memory.bases.clear();
            return;
        }
        for (key, _) in self.state.iter().filter(|(_, record)| record.version > before.version) {
            if let Some(old) = before.state.get(key) {
                memory.bases.push((*key, old.version, before.version, old.body.clone()));
            }
        }
    }

    fn gone_since(&self, version: u64) -> BTreeSet<Key> {
        self.buried.iter().filter(|(_, at)| **at > version).map(|(key, _)| *key).collect()
    }

    /// What tells an entity from all others that a node may have.
    fn prefix(&self, (kind, id): Key, gone: &BTreeSet<Key>) -> IdPrefix {
        let tells = |prefix: &IdPrefix| {
            let (low, high) = prefix.range();
            let range = (kind, low)..=(kind, high);
            self.state.range(range.clone()).count() == 1 && gone.range(range).next().is_none()
        };
        (1..16).map(|length| IdPrefix::of(id, length)).find(tells).unwrap_or_else(|| IdPrefix::of(id, 16))
    }

    fn is_recent(&self, version: u64, oldest: u64) -> bool {
        (oldest.max(self.floor)..=self.version).contains(&version) && version + STALE >= self.version
    }
}

impl Source for View {
    fn epoch(&self) -> u64 {
        self.epoch
    }
    fn term(&self) -> u32 {
        self.term
    }
    fn head(&self) -> u64 {
        self.version
    }
    fn floor(&self) -> u64 {
        self.floor
    }
    fn root(&self) -> u64 {
        root_of(&self.state)
    }
    fn in_use(&self) -> &InUse {
        &self.in_use
    }
    fn delta(&self, from: u64, form: Form) -> Option<Arc<Encoded>> {
        let mut builder = Builder::new(from, self.version, self.root());
        let gone = self.gone_since(from);
        let memory = self.memory.borrow();
        for (key, record) in self.state.iter().filter(|(_, record)| record.version > from) {
            let is_base = |(of, since, until, _): &&(Key, u64, u64, _)| of == key && (*since..=*until).contains(&from);
            match memory.bases.iter().find(is_base).filter(|_| form.patches) {
                Some((_, _, _, body)) => builder.patch(record, self.prefix(*key, &gone), body),
                None => builder.put(record),
            };
        }
        for (kind, id) in gone.into_iter().filter(|(kind, _)| !form.unknown.contains(*kind)) {
            builder.delete(kind, id);
        }
        if form.packed { builder.finish_packed(&Zstd) } else { builder.finish() }.map(Arc::new)
    }
    fn packer(&self) -> &dyn Pack {
        &Zstd
    }
    fn puts_since(&self, version: u64, most: u64) -> u64 {
        (self.state.values().filter(|record| record.version > version).count() as u64).min(most)
    }
    fn record(&self, kind: u8, id: Id) -> Option<Record> {
        self.state.get(&(Kind::from_code(kind)?, id)).cloned()
    }
    fn sketch(&self, oldest: u64) -> Sketching {
        let mut memory = self.memory.borrow_mut();
        if let Some(sketch) = memory.sketch.as_ref().filter(|sketch| self.is_recent(sketch.version(), oldest)) {
            return Sketching::Ready(Arc::clone(sketch));
        }
        let entities = self.state.values().map(|record| (record.kind.code(), record.id, record.tag));
        let content = Arc::new(At(Arc::clone(&self.state)));
        let made = Sketch::new(self.epoch ^ self.version, self.version, self.root(), entities, content);
        Sketching::Ready(Arc::clone(memory.sketch.insert(Arc::new(made))))
    }
    fn full(&self) -> Box<dyn Cursor> {
        let records = self.state.values().cloned().collect::<Vec<_>>().into_iter();
        Box::new(Whole { version: self.version, root: self.root(), count: self.state.len() as u64, records })
    }
    fn blob(&self, wanted: Wanted) -> Offer {
        let mut memory = self.memory.borrow_mut();
        if let Some((_, blob)) = memory.blob.as_ref().filter(|(version, _)| self.is_recent(*version, wanted.oldest)) {
            return Offer::Blob(blob.clone());
        }
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(BLOB_WINDOW_LOG_MAX).unwrap();
        let written = wire::full::blob::write(&mut *self.full(), &mut encoder).unwrap();
        let blob = Blob::new(written, encoder.finish().unwrap().into()).unwrap();
        memory.blob = Some((self.version, blob.clone()));
        Offer::Blob(blob)
    }
}

/// A state that a sketch is of.
struct At(Arc<State>);

impl Content for At {
    fn record(&self, kind: u8, id: Id) -> Option<Record> {
        self.0.get(&(Kind::from_code(kind)?, id)).cloned()
    }
    fn pack(&self, plain: &[u8]) -> Option<Vec<u8>> {
        zstd::bulk::compress(plain, 1).ok()
    }
}

struct Whole {
    version: u64,
    root: u64,
    count: u64,
    records: std::vec::IntoIter<Record>,
}

impl Cursor for Whole {
    fn version(&self) -> u64 {
        self.version
    }
    fn root(&self) -> u64 {
        self.root
    }
    fn count(&self) -> u64 {
        self.count
    }
    fn next(&mut self) -> Option<Record> {
        self.records.next()
    }
}

/// One control plane.
pub(crate) struct Plane {
    pub(crate) view: View,
    /// What a restart comes back with.
    pub(crate) stored: View,
    /// How many deletions it remembers.
    pub(crate) keep: usize,
    /// Which control planes it follows, where it does.
    pub(crate) writers: Vec<usize>,
    /// Whether one of them has welcomed it.
    pub(crate) attached: bool,
    /// How many questions it has asked its writer.
    pub(crate) asked: u64,
    /// The epochs that its database was in before.
    pub(crate) left: BTreeSet<u64>,
    /// The latest term that anybody told of.
    pub(crate) heard: u32,
    /// The last version of an epoch that somebody was told to be committed.
    pub(crate) answered: (u64, u64),
    /// How far its clock is from that of the world.
    pub(crate) clock: u64,
    pub(crate) config: Arc<cp::Config>,
}

impl Plane {
    pub(crate) fn new(view: View, rng: &mut Rng) -> Self {
        let mut config = cp::Config::new(Id(99), "0.1.0".into());
        config.incremental = !rng.one_in(16);
        Self {
            stored: view.clone(),
            view,
            keep: 1 + rng.below(12) as usize,
            writers: Vec::new(),
            attached: false,
            asked: 0,
            left: BTreeSet::new(),
            heard: 0,
            answered: (0, 0),
            clock: rng.below(1_000_000),
            config: Arc::new(config),
        }
    }
}
