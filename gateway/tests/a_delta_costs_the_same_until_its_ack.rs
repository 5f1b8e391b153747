//! What a one-field change costs a data plane from the bytes that arrive until those of its ack: decoded, resolved against the
//! body on disk, compiled, committed, swapped, acknowledged as durable. What is allocated for it does not grow with the
//! configuration, at 100, 3,000 and 30,000 entities. `-- --nocapture` prints the figures.
//!
//! The whole process is counted, for the store has a thread of its own. So there is one test here; what the compiler alone
//! looks at and allocates is in `a_delta_costs_what_it_touches.rs`.

use gateway::snapshot::{Live, Loader};
use gateway::state;
use gateway::sync::apply::Applier;
use gateway::sync::patches;
use model::declarative::{self, Format};
use model::schema::CheckCx;
use model::{Id, Kind, Record};
use serde_json::{Value, json};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{Deadlines, Options, Pace, Store, Thread};
use tests::generate::{Config, Shape};
use tests::wait;
use tokio::runtime::Runtime;
use wire::compat::InUse;
use wire::delta::{Builder, Form};
use wire::full::Cursor;
use wire::message::Have;
use wire::patch::IdPrefix;
use wire::{Encoded, Hello, KindVersion, PluginVersion, cp, dp};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const SIZES: [usize; 3] = [100, 3_000, 30_000];
/// Changes of each field; the median counts. Now and then a table grows.
const CHANGES: usize = 20;
/// For so long nothing is allocated once the store is done with what was loaded, part of which it does on a thread of its own.
const QUIET: Duration = Duration::from_millis(500);
const EPOCH: u64 = 1;
/// Most bytes that one change may allocate in all, freed again or not.
const ALLOCATED_MAX: usize = 64 * 1024;
/// How many times as much a change may allocate at 30,000 entities as at 100: paths are a node or two longer.
const GROWTH_MAX: f64 = 1.5;

/// What was allocated: how often, and how many bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Cost {
    bytes: usize,
    count: usize,
}

/// A control plane that has one step to send.
struct OneStep {
    in_use: InUse,
    step: Arc<Encoded>,
}

impl cp::Source for OneStep {
    fn epoch(&self) -> u64 {
        EPOCH
    }
    fn head(&self) -> u64 {
        self.step.to()
    }
    fn floor(&self) -> u64 {
        self.step.from()
    }
    fn root(&self) -> u64 {
        self.step.root()
    }
    fn in_use(&self) -> &InUse {
        &self.in_use
    }
    fn delta(&self, from: u64, _: Form) -> Option<Arc<Encoded>> {
        (from == self.step.from()).then(|| self.step.clone())
    }
    fn record(&self, _: u8, _: Id) -> Option<Record> {
        None
    }
    fn full(&self) -> Box<dyn Cursor> {
        unreachable!("the node has everything")
    }
}

/// A data plane with its store, and the session of a control plane with it, without sockets.
struct DataPlane {
    config: Config,
    records: Vec<Record>,
    applier: Applier,
    node: dp::Session,
    control: cp::Session,
    runtime: Runtime,
    _dir: tempfile::TempDir,
}

impl DataPlane {
    fn with(entities: usize) -> Self {
        let config = Config { shape: Shape::of(entities), seed: 1, origin: ([127, 0, 0, 1], 9000).into() };
        let cx = CheckCx { now_ms: 1_700_000_000_000, new_id: &Id::random, certificates: None, keeps_updated_at: true };
        let text = config.declarative().to_string();
        let declared = declarative::read(&text, Some(Format::Json), &cx).expect("the generator writes what is right");
        let records = declared.to_records(1);
        assert_eq!(records.len(), entities);

        let dir = tempfile::tempdir().expect("a temporary directory");
        // Nothing is looked through meanwhile.
        let pace = Pace { pause: Duration::from_secs(24 * 3600), ..Pace::default() };
        let (mut store, _) = Store::open(dir.path(), Options { pace, ..Options::default() }, &mut |_, _| {}).unwrap();
        let mut replacement = store.replace().unwrap();
        let mut loader = Loader::new(EPOCH, 1);
        for record in &records {
            replacement.put(state::key(record.kind, record.id), &state::value(record)).unwrap();
            loader.put(record).expect("it compiles");
        }
        let snapshot = loader.finish().expect("references resolve");
        replacement.finish(&state::Meta::of(&snapshot, state::Source::ControlPlane).to_bytes()).unwrap();
        let store = Thread::start(store, Deadlines::default()).unwrap();
        let root = snapshot.catalog().digest();
        let applier = Applier::new(Arc::new(Live::new(snapshot)), Some(store), (EPOCH, 1));
        let (control, node) = connected(root, entities as u64);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Self { config, records, applier, node, control, runtime, _dir: dir }
    }

    /// Sends a change of one field of the first entity of a kind, and takes it until it is acknowledged.
    fn change(&mut self, kind: Kind, field: &str, value: &Value) -> Cost {
        let now = self.applier.snapshot();
        let id = self.config.id(kind.def().name, 0);
        let record =
            self.records.iter_mut().find(|record| (record.kind, record.id) == (kind, id)).expect("it is there");
        let mut object = (kind.def().to_json)(&record.body).expect("it was written by this build");
        assert_ne!(object.insert(field.to_owned(), value.clone()).as_ref(), Some(value), "{field} changes");
        let body: Arc<[u8]> = (kind.def().to_body)(&object).expect("canonical").into();
        let tag = Record::tag_of(kind, id, &body);
        let next = Record { kind, id, version: now.version + 1, tag, body };
        let root = now.catalog().digest().wrapping_sub(record.tag).wrapping_add(tag);
        let mut step = Builder::new(now.version, now.version + 1, root);
        step.patch(&next, IdPrefix::of(id, 6), &record.body);
        *record = next;
        let step = Arc::new(step.finish().expect("within the limits"));
        assert_eq!(step.patches(), 1);
        let source = OneStep { in_use: InUse::default(), step };
        let sent = self.control.head_changed(&source);
        let sent: Vec<_> =
            sent.iter().filter_map(|it| if let cp::Action::Send(bytes) = it { Some(bytes) } else { None }).collect();
        let [sent] = sent[..] else { panic!("{sent:?}") };

        let region = Region::new(ALLOCATOR);
        let acks = self.runtime.block_on(take(&mut self.node, &mut self.applier, sent));
        let stats = region.change();
        for ack in acks {
            drop(self.control.received(&ack, 0, &source));
        }
        assert_eq!(self.control.report().durable, now.version + 1, "{field}: it is acknowledged as durable");
        assert_eq!(self.applier.durable(EPOCH), now.version + 1);
        Cost { bytes: stats.bytes_allocated, count: stats.allocations + stats.reallocations }
    }

    /// The median cost of a change of a field that takes one of two values in turn.
    fn median(&mut self, kind: Kind, field: &str, values: [Value; 2]) -> Cost {
        let mut costs: Vec<Cost> =
            values.iter().cycle().take(CHANGES).map(|value| self.change(kind, field, value)).collect();
        costs.sort_unstable();
        costs[CHANGES / 2]
    }
}

/// Waits until nothing happens any more but what is measured.
fn quiet() {
    let mut seen = (ALLOCATOR.stats(), Instant::now());
    wait::until("the store to be done", || {
        let now = ALLOCATOR.stats();
        if now != seen.0 {
            seen = (now, Instant::now());
        }
        (seen.1.elapsed() > QUIET).then_some(())
    });
}

/// What the link does with a delta.
async fn take(node: &mut dp::Session, applier: &mut Applier, bytes: &[u8]) -> Vec<bytes::Bytes> {
    let mut queue = std::collections::VecDeque::from(node.received(bytes, 0));
    let mut answers = Vec::new();
    while let Some(action) = queue.pop_front() {
        match action {
            dp::Action::Send(bytes) => answers.push(bytes),
            dp::Action::Stage(delta) => {
                let changes = patches::changes(applier, delta.ops).await.expect("the body is there");
                applier.delta(EPOCH, delta.to, delta.root, changes).await.expect("it compiles");
                queue.extend(node.durable(applier.durable(EPOCH), 0));
                queue.extend(node.applied(delta.to, 0));
            }
            other => panic!("{other:?}"),
        }
    }
    answers
}

/// Both ends of a session, after a greeting of a node that has everything.
fn connected(root: u64, count: u64) -> (cp::Session, dp::Session) {
    let mut identity = dp::Identity::new(Id(5), "edge-1".into(), env!("CARGO_PKG_VERSION").into());
    let kind = |def: &&model::kind::KindDef| KindVersion { kind: def.kind.code(), body: def.body_version };
    identity.kinds = model::kind::ALL.iter().map(kind).collect();
    let plugin = |def: &&model::plugins::PluginDef| PluginVersion {
        name: def.name.to_owned(),
        version: Some(def.version.to_owned()),
    };
    identity.plugins = model::plugins::all().iter().map(plugin).collect();
    identity.features = Hello::PATCHES;
    let mut node = dp::Session::new(identity).expect("within the limits");
    let config = cp::Config::new(Id(2), env!("CARGO_PKG_VERSION").into());
    let mut control = cp::Session::new(Arc::new(config), 0);
    let step = Arc::new(Builder::new(1, 1, root).finish().expect("nothing"));
    let source = OneStep { in_use: InUse::default(), step };
    for action in node.connected(Have { epoch: EPOCH, applied: 1, durable: 1, root, count }, 0, 0) {
        let dp::Action::Send(bytes) = action else { panic!("{action:?}") };
        drop(control.received(&bytes, 0, &source));
    }
    for action in control.admit(&source) {
        let cp::Action::Send(bytes) = action else { continue };
        for action in node.received(&bytes, 0) {
            if let dp::Action::Send(bytes) = action {
                drop(control.received(&bytes, 0, &source));
            }
        }
    }
    assert_eq!(control.report().applied, 1);
    (control, node)
}

#[test]
fn a_delta_allocates_the_same_at_30_000_entities_as_at_100() {
    let changes = [
        (Kind::Route, "strip_path", [json!(false), json!(true)]),
        (Kind::Service, "read_timeout", [json!(12_345), json!(30_000)]),
        (Kind::Consumer, "custom_id", [json!("another"), json!("one more")]),
        (Kind::KeyauthCredential, "key", [json!("another"), json!("one more")]),
        (Kind::Target, "weight", [json!(7), json!(100)]),
    ];
    let measured: Vec<Vec<Cost>> = SIZES
        .iter()
        .map(|&entities| {
            let mut node = DataPlane::with(entities);
            // The first commits after a load may begin a checkpoint of it.
            let (kind, field, values) = &changes[0];
            node.median(*kind, field, values.clone());
            quiet();
            let of_each = changes.iter().map(|(kind, field, values)| {
                let cost = node.median(*kind, field, values.clone());
                println!(
                    "{entities:>6} entities, {field:<14} {:>7} bytes in {:>4} allocations",
                    cost.bytes, cost.count
                );
                assert!(cost.bytes > 0, "something was counted");
                assert!(cost.bytes <= ALLOCATED_MAX, "a change of {field} allocates {} bytes", cost.bytes);
                cost
            });
            of_each.collect()
        })
        .collect();
    let [few, _, many] = &measured[..] else { panic!("{SIZES:?}") };
    for ((few, many), (_, field, _)) in few.iter().zip(many).zip(&changes) {
        for (what, few, many) in [("bytes", few.bytes, many.bytes), ("allocations", few.count, many.count)] {
            let growth = many as f64 / few as f64;
            assert!(growth <= GROWTH_MAX, "{field}: {many} {what} at 30,000 entities, {few} at 100: {growth:.2} times");
        }
    }
}
