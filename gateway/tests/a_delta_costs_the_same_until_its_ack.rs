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
use model::{Id, Kind, Record};
use serde_json::Value;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use std::alloc::System;
use std::sync::Arc;
use std::time::Duration;
use store::{Deadlines, Options, Pace, Store, Thread};
use tests::allocated::{self, Cost, Meter, SIZES};
use tests::generate::{Config, Shape, records};
use tokio::runtime::Runtime;
use wire::compat::InUse;
use wire::delta::{Builder, Form};
use wire::full::Cursor;
use wire::message::Have;
use wire::patch::IdPrefix;
use wire::{Encoded, Hello, cp, dp};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;
const METER: Meter = Meter(&INSTRUMENTED_SYSTEM);

const EPOCH: u64 = 1;
/// Most bytes that one change may allocate in all, freed again or not.
const ALLOCATED_MAX: usize = 64 * 1024;
/// How many times as much a change may allocate at 30,000 entities as at 100: paths are a node or two longer.
const GROWTH_MAX: f64 = 1.5;

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
        let records = records(&config.declarative(), 1);
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

        let take = take(&mut self.node, &mut self.applier, sent);
        let (acks, cost) = METER.of(|| self.runtime.block_on(take));
        for ack in acks {
            drop(self.control.received(&ack, 0, &source));
        }
        assert_eq!(self.control.report().durable, now.version + 1, "{field}: it is acknowledged as durable");
        assert_eq!(self.applier.durable(EPOCH), now.version + 1);
        cost
    }
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
    let identity = tests::node::identity(Id(5), "edge-1", Hello::PATCHES);
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
    let costs = SIZES.map(|entities| {
        let mut node = DataPlane::with(entities);
        let mut cost = |(kind, field, values): (Kind, &str, [Value; 2])| {
            allocated::median(&values, |value| node.change(kind, field, value))
        };
        // The first commits after a load may begin a checkpoint of it.
        let [first, ..] = allocated::changes();
        cost(first);
        METER.quiet();
        allocated::changes().map(cost)
    });
    allocated::judge(&costs, ALLOCATED_MAX, GROWTH_MAX);
}
