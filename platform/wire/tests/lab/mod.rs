//! A control plane's history in a vector of states, and a generator of random numbers that a seed repeats.

#![allow(dead_code)]

use model::{Id, Kind, Record};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use wire::compat::InUse;
use wire::cp::Source;
use wire::delta::{Builder, Encoded, Entity, Form};
use wire::full::Wanted;
use wire::limits::BLOB_WINDOW_LOG_MAX;
use wire::message::{CODEC_DICTIONARY, CODEC_RAW, Have, Hello, KindVersion, Message, Parity, ParityGet};
use wire::pack::{DICTIONARY, MAGIC, Pack};
use wire::patch::IdPrefix;
use wire::reconcile::{Content, Sketch, Sketching, Step, digest};
use wire::{Blob, Cursor, Offer, cp};

pub(crate) const EPOCH: u64 = 77;

/// SplitMix64.
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// The seeds of a simulation: that of `SEED` to replay it, else `EDGE_SIM_HISTORIES` of them, or `histories`, from
/// `EDGE_SIM_SEED` on, or 0.
pub(crate) fn seeds(histories: u64) -> Range<u64> {
    let number = |name: &str| {
        let value = std::env::var(name).ok()?;
        Some(value.parse::<u64>().unwrap_or_else(|_| panic!("{name} is no number: {value}")))
    };
    match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => {
            let first = number("EDGE_SIM_SEED").unwrap_or_default();
            first..first + number("EDGE_SIM_HISTORIES").unwrap_or(histories)
        }
    }
}

pub(crate) type Key = (Kind, Id);
/// Everything at one version: version, tag and body of each entity.
pub(crate) type State = BTreeMap<Key, Record>;

pub(crate) fn root_of(state: &State) -> u64 {
    state.values().fold(0, |sum, record| sum.wrapping_add(record.tag))
}

/// A record with its tag as the model computes it.
pub(crate) fn record(kind: Kind, id: Id, version: u64, body: &[u8]) -> Record {
    Record { kind, id, version, tag: Record::tag_of(kind, id, body), body: body.into() }
}

/// A control plane's database: all states it ever had in this epoch.
#[derive(Clone)]
pub(crate) struct Db {
    pub(crate) epoch: u64,
    pub(crate) floor: u64,
    /// The state at each version.
    pub(crate) states: Vec<Arc<State>>,
    /// Which keys each version changed.
    pub(crate) touched: Vec<Vec<Key>>,
    pub(crate) in_use: InUse,
    /// Blobs that were made, by version: as a control plane's, they are not made for each head.
    pub(crate) blobs: RefCell<BTreeMap<u64, Blob>>,
    /// The last sketch that was made.
    pub(crate) sketch: RefCell<Option<Arc<Sketch>>>,
}

impl Db {
    pub(crate) fn new(epoch: u64) -> Self {
        Self {
            epoch,
            floor: 0,
            states: vec![Arc::default()],
            touched: vec![Vec::new()],
            in_use: InUse::default(),
            blobs: RefCell::default(),
            sketch: RefCell::default(),
        }
    }

    pub(crate) fn at(&self, version: u64) -> Option<&Arc<State>> {
        self.states.get(usize::try_from(version).ok()?)
    }

    /// What tells an entity from all others of its kind that there are at a version.
    fn prefix(&self, version: u64, kind: Kind, id: Id) -> IdPrefix {
        let others = |prefix: &IdPrefix| {
            self.states[version as usize].keys().any(|(k, i)| *k == kind && *i != id && prefix.is_of(*i))
        };
        (1..=16).map(|length| IdPrefix::of(id, length)).find(|prefix| !others(prefix)).unwrap()
    }

    /// Deletions below the floor are forgotten, which is why no step from below it is exact.
    fn is_tombstone_kept(&self, key: Key) -> bool {
        self.touched.iter().rposition(|keys| keys.contains(&key)).is_some_and(|version| version as u64 > self.floor)
    }

    pub(crate) fn state(&self) -> &Arc<State> {
        self.states.last().unwrap()
    }

    /// Commits puts (with a body) and deletions (without) as one version.
    pub(crate) fn commit(&mut self, changes: &[(Key, Option<Vec<u8>>)]) {
        let version = self.states.len() as u64;
        let mut state = State::clone(self.state());
        for ((kind, id), body) in changes {
            match body {
                Some(body) => drop(state.insert((*kind, *id), record(*kind, *id, version, body))),
                None => drop(state.remove(&(*kind, *id))),
            }
        }
        self.states.push(Arc::new(state));
        self.touched.push(changes.iter().map(|(key, _)| *key).collect());
    }
}

impl Source for Db {
    fn epoch(&self) -> u64 {
        self.epoch
    }
    fn head(&self) -> u64 {
        self.states.len() as u64 - 1
    }
    fn floor(&self) -> u64 {
        self.floor
    }
    fn root(&self) -> u64 {
        root_of(self.state())
    }
    fn in_use(&self) -> &InUse {
        &self.in_use
    }
    fn delta(&self, from: u64, form: Form) -> Option<Arc<Encoded>> {
        let mut builder = Builder::new(from, self.head(), self.root());
        let later = self.touched.iter().skip(from as usize + 1).flatten();
        for (kind, id) in later.copied().collect::<BTreeSet<_>>() {
            match self.state().get(&(kind, id)) {
                Some(record) => match self.at(from).and_then(|then| then.get(&(kind, id))).filter(|_| form.patches) {
                    Some(base) => drop(builder.patch(record, self.prefix(from, kind, id), &base.body)),
                    None => drop(builder.put(record)),
                },
                None if form.unknown.contains(kind) => {}
                None if self.is_tombstone_kept((kind, id)) => drop(builder.delete(kind, id)),
                None => {}
            }
        }
        if form.packed { builder.finish_packed(&Zstd) } else { builder.finish() }.map(Arc::new)
    }
    fn packer(&self) -> &dyn Pack {
        &Zstd
    }
    fn puts_since(&self, version: u64, most: u64) -> u64 {
        (self.state().values().filter(|record| record.version > version).count() as u64).min(most)
    }
    fn sketch(&self, oldest: u64) -> Sketching {
        let mut sketch = self.sketch.borrow_mut();
        let usable = |sketch: &&Arc<Sketch>| (oldest.max(self.floor)..=self.head()).contains(&sketch.version());
        if let Some(sketch) = sketch.as_ref().filter(usable) {
            return Sketching::Ready(Arc::clone(sketch));
        }
        let entities = self.state().values().map(|record| (record.kind.code(), record.id, record.tag));
        let content = Arc::new(At(Arc::clone(self.state())));
        let made = Arc::new(Sketch::new(self.epoch ^ self.head(), self.head(), self.root(), entities, content));
        *sketch = Some(Arc::clone(&made));
        Sketching::Ready(made)
    }
    fn record(&self, kind: u8, id: Id) -> Option<Record> {
        self.state().get(&(Kind::from_code(kind)?, id)).cloned()
    }
    fn full(&self) -> Box<dyn Cursor> {
        let state = Arc::clone(self.state());
        Box::new(Whole { version: self.head(), root: self.root(), state, after: None })
    }
    fn blob(&self, wanted: Wanted) -> Offer {
        let mut blobs = self.blobs.borrow_mut();
        let usable = |version: &u64| (wanted.oldest.max(self.floor)..=self.head()).contains(version);
        let held = blobs.iter().find(|(version, blob)| usable(version) && Some(blob.begin().transfer) == wanted.held);
        // Not too old: two versions back.
        let recent = blobs.iter().rfind(|(version, _)| usable(version) && **version + 2 >= self.head());
        if let Some((_, blob)) = held.or(recent) {
            return Offer::Blob(blob.clone());
        }
        let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
        encoder.window_log(BLOB_WINDOW_LOG_MAX).unwrap();
        let written = wire::full::blob::write(&mut *self.full(), &mut encoder).unwrap();
        let blob = Blob::new(written, encoder.finish().unwrap().into()).unwrap();
        blobs.insert(self.head(), blob.clone());
        Offer::Blob(blob)
    }
}

/// Packs with the dictionary.
pub(crate) struct Zstd;

impl Pack for Zstd {
    fn pack(&self, plain: &[u8]) -> Option<(u8, Vec<u8>)> {
        let mut compressor = zstd::bulk::Compressor::with_dictionary(1, DICTIONARY).ok()?;
        compressor.include_dictid(false).ok()?;
        Some((CODEC_DICTIONARY, compressor.compress(plain).ok()?.split_off(MAGIC.len())))
    }
}

/// A state that a sketch is of.
struct At(Arc<State>);

impl Content for At {
    fn record(&self, kind: u8, id: Id) -> Option<Record> {
        self.0.get(&(Kind::from_code(kind)?, id)).cloned()
    }
    fn prefix(&self, kind: u8, id: Id) -> IdPrefix {
        let tells = |prefix: &IdPrefix| only(&self.0, Kind::from_code(kind)?, prefix);
        (1..=16).map(|length| IdPrefix::of(id, length)).find(|prefix| tells(prefix).is_some()).unwrap()
    }
    fn pack(&self, plain: &[u8]) -> Option<Vec<u8>> {
        zstd::bulk::compress(plain, 3).ok()
    }
}

struct Whole {
    version: u64,
    root: u64,
    state: Arc<State>,
    after: Option<Key>,
}

impl Cursor for Whole {
    fn version(&self) -> u64 {
        self.version
    }
    fn root(&self) -> u64 {
        self.root
    }
    fn count(&self) -> u64 {
        self.state.len() as u64
    }
    fn next(&mut self) -> Option<Record> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = self.after.map_or(Unbounded, Excluded);
        let (key, record) = self.state.range((from, Unbounded)).next()?;
        self.after = Some(*key);
        Some(record.clone())
    }
}

/// What a node with this content answers.
pub(crate) fn parity(state: &State, get: &ParityGet) -> Parity {
    let told = |(kind, prefix): &(u8, IdPrefix)| get.of(&only(state, Kind::from_code(*kind)?, prefix)?.body);
    get.answer(get.names.iter().map(told).collect())
}

/// The only entity whose id begins so.
pub(crate) fn only<'a>(state: &'a State, kind: Kind, prefix: &IdPrefix) -> Option<&'a Record> {
    let (low, high) = prefix.range();
    let mut found = state.range((kind, low)..=(kind, high)).map(|(_, record)| record);
    found.next().filter(|_| found.next().is_none())
}

/// What a step of a reconcile makes of this content; none where a body is not there that it mends.
pub(crate) fn reconciled(state: &State, step: &Step) -> Option<State> {
    let is_gone = |it: &Record| step.gone.contains(&digest(step.seed, it.kind.code(), it.id, it.tag));
    let mut next = state.clone();
    next.retain(|_, record| !is_gone(record));
    let mended = step.mends.iter().map(|mend| {
        let base = only(state, Kind::from_code(mend.kind)?, &mend.prefix)?;
        mend.apply(base.id, &base.body).ok()
    });
    let mended = mended.collect::<Option<Vec<Entity>>>()?;
    for entity in step.puts.iter().cloned().chain(mended) {
        let record = entity.into_record().expect("kinds of the lab are known");
        next.insert((record.kind, record.id), record);
    }
    Some(next)
}

/// A small database: version 1 is empty, version 2 has two services and a route.
pub(crate) fn source() -> Db {
    let mut db = Db::new(EPOCH);
    db.commit(&[]);
    db.commit(&[
        ((Kind::Service, Id(1)), Some(b"first".to_vec())),
        ((Kind::Service, Id(2)), Some(b"second".to_vec())),
        ((Kind::Route, Id(3)), Some(b"route".to_vec())),
    ]);
    db
}

/// HELLO of a node at version 1 of [`source`].
pub(crate) fn hello_bytes() -> Vec<u8> {
    let hello = Hello {
        proto_min: 1,
        proto_max: 1,
        node: Id(1),
        hostname: "edge".into(),
        software: "0.1.0".into(),
        kinds: vec![KindVersion { kind: 1, body: 1 }],
        plugins: Vec::new(),
        labels: vec![("a".into(), "b".into())],
        have: Have { epoch: EPOCH, applied: 1, durable: 1, root: 0, count: 0 },
        incremental: true,
        codecs: vec![CODEC_RAW],
        heartbeat_s: 300,
        status: 0,
        partial: None,
        features: 0,
        term: 0,
    };
    Message::Hello(hello).encode().to_vec()
}

/// What a control plane with [`source`] sends to that node.
pub(crate) fn tail_stream() -> Vec<u8> {
    let source = source();
    let config = cp::Config::new(Id(2), "0.1.0".into());
    let mut session = cp::Session::new(Arc::new(config), 0);
    session.received(&hello_bytes(), 0, &source);
    let sent = session.admit(&source).into_iter().filter_map(|action| match action {
        cp::Action::Send(bytes) => Some(bytes.to_vec()),
        _ => None,
    });
    sent.flatten().collect()
}
