//! Today's data plane without a process around it: it hears what a control plane said in a session that was recorded, and
//! does with it what a data plane does, so that the content which it ends with can be compared with the release's own.

use crate::node;
use model::{Catalog, Change, Id, Kind, Record};
use serde_json::{Map, Value};
use std::collections::{HashSet, VecDeque};
use wire::delta::{NoChange, Op};
use wire::dp::{Action, Closed, Rejection, Session};
use wire::full::Unpack;
use wire::message::{Have, Pong, Welcome};
use wire::patch::IdPrefix;
use wire::reconcile::{Encoder, Step, digest};
use wire::shrink::Shrink;
use wire::{Hello, NackCode};

/// What a data plane says to a step instead of taking it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Objection {
    /// The base of its patches is missing; this entity is wanted whole.
    GivenBack(Kind, Id),
    /// It cannot be served.
    Refused,
    /// It would take too much away.
    Held,
}

/// The data plane.
pub struct Listener {
    session: Session,
    catalog: Catalog,
    epoch: u64,
    arriving: Vec<Record>,
    blob: Vec<u8>,
    /// What it says to the next steps; it takes all others.
    pub objections: VecDeque<Objection>,
    /// The versions that it took, in order.
    pub versions: Vec<u64>,
    /// How many patches were in them.
    pub patches: usize,
    /// How it was welcomed, each time.
    pub welcomes: Vec<Welcome>,
    /// What it was told in answer to a PING.
    pub pongs: Vec<Pong>,
    /// How the last session ended.
    pub closed: Option<Closed>,
}

impl Default for Listener {
    fn default() -> Self {
        Self::new()
    }
}

impl Listener {
    /// One that has nothing, and knows and can what this build does.
    #[must_use]
    pub fn new() -> Self {
        Self {
            session: session(Have::default()),
            catalog: Catalog::keeping_bodies(),
            epoch: 0,
            arriving: Vec::new(),
            blob: Vec::new(),
            objections: VecDeque::new(),
            versions: Vec::new(),
            patches: 0,
            welcomes: Vec::new(),
            pongs: Vec::new(),
            closed: None,
        }
    }

    /// Begins another session with what the last one led to.
    pub fn comes_back(&mut self) {
        let (root, count) = (self.catalog.digest(), self.catalog.len() as u64);
        let version = self.versions.last().copied().unwrap_or_default();
        self.session = session(Have { epoch: self.epoch, applied: version, durable: version, root, count });
        self.closed = None;
    }

    /// Hears a session byte by byte, so that every answer goes out when it went out then.
    ///
    /// # Panics
    /// When anything in it cannot be taken as it was meant.
    pub fn hears(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let mut actions = self.session.received(&[*byte], 0);
            while !actions.is_empty() {
                actions = actions.into_iter().flat_map(|action| self.acts(action)).collect();
            }
        }
    }

    fn acts(&mut self, action: Action) -> Vec<Action> {
        match action {
            Action::Welcomed(welcome) => {
                self.epoch = if self.epoch == 0 { welcome.epoch } else { self.epoch };
                self.welcomes.push(welcome);
                Vec::new()
            }
            Action::Head(pong) => {
                self.pongs.push(pong);
                Vec::new()
            }
            Action::FullBegin { .. } => {
                (self.arriving, self.blob) = (Vec::new(), Vec::new());
                self.session.full_open(0, 0)
            }
            Action::FullChunk { entities, bytes } => {
                self.arriving.extend(entities.into_iter().map(|entity| entity.into_record().expect("a known kind")));
                self.session.full_processed(bytes, 0)
            }
            Action::FullBytes { bytes, .. } => {
                self.blob.extend_from_slice(&bytes);
                self.session.full_processed(bytes.len() as u64, 0)
            }
            Action::FullComplete { epoch, begin } => {
                if begin.is_blob() {
                    let mut entities = Unpack::new(begin, self.blob.as_slice()).expect("a blob");
                    while let Some(entity) = entities.next().expect("an entity") {
                        self.arriving.push(entity.into_record().expect("a known kind"));
                    }
                }
                let mut loader = self.catalog.loader();
                self.arriving.iter().for_each(|record| loader.put(record).expect("a record"));
                self.live(loader.finish().expect("references resolve"), epoch, begin.version, begin.root)
            }
            Action::Stage(delta) => self.objects().unwrap_or_else(|| {
                self.patches += delta.patches();
                let changes: Vec<Change> = delta.ops.into_iter().map(|op| self.change(op)).collect();
                let catalog = self.catalog.apply(&changes).expect("it applies");
                self.live(catalog, self.epoch, delta.to, delta.root)
            }),
            Action::Symbols { seed, from, until } => {
                let mut encoder = Encoder::new(seed, from, until);
                self.entities().for_each(|(kind, id, tag)| encoder.add(kind.code(), id, tag));
                self.session.symbols(seed, from, &encoder.finish(), 0)
            }
            Action::Parity(get) => {
                let told = get.names.iter().map(|(kind, prefix)| get.of(&self.only(*kind, prefix)?.body));
                self.session.parity(get.answer(told.collect()), 0)
            }
            Action::Reconciled { epoch, step } => self.objects().unwrap_or_else(|| {
                let catalog = self.catalog.apply(&self.differing(&step)).expect("it applies");
                self.live(catalog, epoch, step.version, step.root)
            }),
            Action::Close(closed) => {
                self.closed = Some(closed);
                Vec::new()
            }
            Action::Send(_) => Vec::new(),
        }
    }

    fn objects(&mut self) -> Option<Vec<Action>> {
        Some(match self.objections.pop_front()? {
            Objection::GivenBack(kind, id) => self.session.base_missing(&[(kind.code(), id)], 0),
            Objection::Refused => {
                let (path, message) = (String::new(), String::new());
                self.session.rejected(Rejection { code: NackCode::Invalid, entity: None, path, message }, 0)
            }
            Objection::Held => {
                let of = self.catalog.len() as u64;
                self.session.held(Shrink { gone: of, of, allowed: of / 2 }, 0)
            }
        })
    }

    fn change(&self, op: Op) -> Change {
        match op.into_change() {
            Ok(change) => change,
            Err(NoChange::UnknownKind(unknown)) => panic!("{unknown}"),
            Err(NoChange::Patch(patch)) => {
                let base = self.only(patch.kind, &patch.prefix).expect("an entity with that prefix, and its body");
                Change::Put(patch.apply(base.id, &base.body).expect("it fits").into_record().expect("a known kind"))
            }
        }
    }

    fn only(&self, kind: u8, prefix: &IdPrefix) -> Option<Record> {
        let (kind, (low, high)) = (Kind::from_code(kind)?, prefix.range());
        self.catalog.record(kind, self.catalog.only_within(kind, low, high)?)
    }

    fn differing(&self, step: &Step) -> Vec<Change> {
        assert_eq!(step.base, self.catalog.digest(), "it starts from what is here");
        let gone: HashSet<u64> = step.gone.iter().copied().collect();
        let put = |kind: Kind, id| step.puts.iter().any(|entity| (entity.kind, entity.id) == (kind.code(), id));
        let gone = self.entities().filter(|(kind, id, tag)| gone.contains(&digest(step.seed, kind.code(), *id, *tag)));
        let gone = gone.filter(|(kind, id, _)| !put(*kind, *id)).map(|(kind, id, _)| Change::Delete { kind, id });
        let puts = step.puts.iter().map(|entity| entity.clone().into_record().expect("a known kind"));
        let mended = step.mends.iter().map(|mend| {
            let base = self.only(mend.kind, &mend.prefix).expect("an entity with that prefix, and its body");
            mend.apply(base.id, &base.body).expect("it fits").into_record().expect("a known kind")
        });
        gone.chain(puts.chain(mended).map(Change::Put)).collect()
    }

    fn entities(&self) -> impl Iterator<Item = (Kind, Id, u64)> + '_ {
        let kinds = model::kind::ALL.iter().map(|def| def.kind);
        kinds.flat_map(|kind| self.catalog.iter(kind, None).map(move |(id, entry)| (kind, id, entry.tag)))
    }

    fn live(&mut self, catalog: Catalog, epoch: u64, version: u64, root: u64) -> Vec<Action> {
        assert_eq!(catalog.digest(), root, "version {version}");
        (self.catalog, self.epoch) = (catalog, epoch);
        self.versions.push(version);
        let mut actions = self.session.durable(version, 0);
        actions.extend(self.session.applied(version, 0));
        actions
    }

    /// The entities, by kind, as today's bodies show them.
    ///
    /// # Panics
    /// When one has no readable body.
    #[must_use]
    pub fn shows(&self) -> Map<String, Value> {
        let list = |def: &&model::kind::KindDef| {
            let ids = self.catalog.iter(def.kind, None).map(|(id, _)| id);
            let records = ids.map(|id| self.catalog.record(def.kind, id).expect("it is there"));
            let shown = records.map(|record| Value::Object((def.to_json)(&record.body).expect("a body")));
            (def.name.to_owned(), Value::Array(shown.collect()))
        };
        model::kind::ALL.iter().map(list).collect()
    }
}

fn session(have: Have) -> Session {
    let features = Hello::PATCHES | Hello::RECONCILE | Hello::CONFIRM | Hello::MOVED | Hello::FOLLOWER | Hello::PARITY;
    let identity = node::identity(Id(1), "today", features);
    let mut session = Session::new(identity).expect("within limits");
    let _hello = session.connected(have, 0, 0);
    session
}
