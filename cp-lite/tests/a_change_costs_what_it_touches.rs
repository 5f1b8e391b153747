//! A one-field change costs the control plane what it touches and not what exists: what is allocated from a request to the
//! Admin API until its answer, with the commit on disk between, and for the step that a node is sent and acknowledges, at
//! 100, 3,000 and 30,000 entities. `-- --nocapture` prints the figures.
//!
//! The whole process is counted, for a change is judged and written on the committer's thread. So there is one test here.

use cp_lite::admin::{App, Counters, NodeInfo, handle};
use cp_lite::changelog::{Changelog, Local, Transaction};
use cp_lite::fleet::{Fleet, PURGE_DELAY_DEFAULT_S};
use cp_lite::planes::Planes;
use cp_lite::sync::Sources;
use http::{Request, header};
use http_body_util::BodyExt;
use model::declarative::{self, Format};
use model::schema::CheckCx;
use model::{Change, Id, Kind};
use serde_json::{Map, Value, json};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tests::generate::{Config, Shape};
use tests::wait;
use tokio::runtime::Runtime;
use wire::message::Have;
use wire::{Hello, KindVersion, PluginVersion, cp, dp};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const SIZES: [usize; 3] = [100, 3_000, 30_000];
/// Changes of each field; the median counts. Now and then a table grows.
const CHANGES: usize = 20;
/// For so long nothing is allocated once the store is done with what was loaded, part of which it does on a thread of its own.
const QUIET: Duration = Duration::from_millis(500);
/// Most bytes that one change may allocate in all, freed again or not, with its step and the ack.
const ALLOCATED_MAX: usize = 96 * 1024;
/// How many times as much a change may allocate at 30,000 entities as at 100: paths are a node or two longer.
const GROWTH_MAX: f64 = 1.25;

/// What was allocated: how often, and how many bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Cost {
    bytes: usize,
    count: usize,
}

/// A control plane with a database and one node at its head, without sockets.
struct ControlPlane {
    config: Config,
    app: App,
    sources: Sources,
    session: cp::Session,
    node: dp::Session,
    runtime: Runtime,
    _dir: tempfile::TempDir,
}

fn now_ms() -> i64 {
    1_700_000_000_000
}

impl ControlPlane {
    fn with(entities: usize) -> Self {
        let config = Config { shape: Shape::of(entities), seed: 1, origin: ([127, 0, 0, 1], 9000).into() };
        let cx = CheckCx { now_ms: now_ms(), new_id: &Id::random, certificates: None, keeps_updated_at: true };
        let text = config.declarative().to_string();
        let declared = declarative::read(&text, Some(Format::Json), &cx).expect("the generator writes what is right");
        let changes: Vec<Change> = declared.to_records(1).into_iter().map(Change::Put).collect();
        assert_eq!(changes.len(), entities);

        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (changelog, _) = Local::open(dir.path(), store::Options::default()).expect("a new database");
        runtime.block_on(changelog.commit(Transaction { changes, preconditions: Vec::new() })).expect("it is sound");
        let changelog: Arc<dyn Changelog> = Arc::new(changelog);
        let node = NodeInfo { id: Id(1), hostname: "cp".into(), version: "0.0.0", configuration: Map::new() };
        let app = App {
            changelog: changelog.clone(),
            fleet: Arc::new(Fleet::new(PURGE_DELAY_DEFAULT_S)),
            planes: Arc::new(Planes::new(Vec::new())),
            node,
            certificates: None,
            bundles: None,
            now_ms,
            counters: Counters::default(),
        };
        let sources = Sources::new(changelog, None);
        let (session, node) = connected(&sources);
        Self { config, app, sources, session, node, runtime, _dir: dir }
    }

    /// Sets a field by the Admin API, and brings the node up to date. What that cost: the request, and the step.
    fn change(&mut self, kind: Kind, field: &str, value: &Value) -> (Cost, Cost) {
        let path = format!("/{}/{}", kind.def().admin_path, self.config.id(kind.def().name, 0));
        let request = Request::builder().method("PATCH").uri(path).header(header::CONTENT_TYPE, "application/json");
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        let body = json!({ field: value }).to_string().into_bytes().into();
        let before = self.app.changelog.view().version;

        let (status, request) = measured(|| {
            let answer = self.runtime.block_on(handle(&self.app, &parts, body));
            let (head, body) = answer.into_parts();
            self.runtime.block_on(body.collect()).expect("a body");
            head.status
        });
        assert_eq!(status, 200, "{field} of {}", kind.def().name);
        assert_eq!(self.app.changelog.view().version, before + 1, "{field} of {} changes", kind.def().name);

        let (sent, step) = measured(|| self.session.head_changed(&*self.sources.newest()));
        let sent = bytes_of(&sent);
        assert!((1..500).contains(&sent.len()), "a step of {} bytes", sent.len());
        let acks = take(&mut self.node, &sent);
        let ((), ack) = measured(|| {
            acks.iter().for_each(|ack| drop(self.session.received(ack, 0, &*self.sources.newest())));
        });
        assert_eq!(self.session.report().durable, before + 1);
        (request, Cost { bytes: step.bytes + ack.bytes, count: step.count + ack.count })
    }

    /// The median costs of one change of a field that takes one of two values in turn.
    fn median(&mut self, kind: Kind, field: &str, values: [Value; 2]) -> (Cost, Cost) {
        let costs = values.iter().cycle().take(CHANGES).map(|value| self.change(kind, field, value));
        let (mut requests, mut steps): (Vec<Cost>, Vec<Cost>) = costs.unzip();
        requests.sort_unstable();
        steps.sort_unstable();
        (requests[CHANGES / 2], steps[CHANGES / 2])
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

/// What the whole process allocates meanwhile.
fn measured<T>(work: impl FnOnce() -> T) -> (T, Cost) {
    let region = Region::new(ALLOCATOR);
    let result = work();
    let stats = region.change();
    (result, Cost { bytes: stats.bytes_allocated, count: stats.allocations + stats.reallocations })
}

fn bytes_of(actions: &[cp::Action]) -> Vec<u8> {
    actions
        .iter()
        .filter_map(|it| if let cp::Action::Send(bytes) = it { Some(&bytes[..]) } else { None })
        .collect::<Vec<_>>()
        .concat()
}

/// What a node answers that makes everything durable at once.
fn take(node: &mut dp::Session, bytes: &[u8]) -> Vec<bytes::Bytes> {
    let mut queue = std::collections::VecDeque::from(node.received(bytes, 0));
    let mut answers = Vec::new();
    while let Some(action) = queue.pop_front() {
        match action {
            dp::Action::Send(bytes) => answers.push(bytes),
            dp::Action::Stage(delta) => {
                assert_eq!((delta.ops.len(), delta.patches()), (1, 1), "what differs in one entity");
                queue.extend(node.durable(delta.to, 0));
                queue.extend(node.applied(delta.to, 0));
            }
            dp::Action::Welcomed(_) => {}
            other => panic!("{other:?}"),
        }
    }
    answers
}

/// A node that has all there is says so.
fn connected(sources: &Sources) -> (cp::Session, dp::Session) {
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
    let mut session = cp::Session::new(Arc::new(config), 0);
    let source = sources.newest();
    let view = source.view();
    let (version, root) = (view.version, cp::Source::root(&*source));
    let have = Have { epoch: view.epoch, applied: version, durable: version, root, count: view.catalog.len() as u64 };
    let hello = node.connected(have, 0, 0);
    let mut actions = Vec::new();
    for action in hello {
        let dp::Action::Send(bytes) = action else { panic!("{action:?}") };
        actions.extend(session.received(&bytes, 0, &*source));
    }
    assert!(actions.iter().any(|action| matches!(action, cp::Action::Joined(_))), "{actions:?}");
    let answers = take(&mut node, &bytes_of(&session.admit(&*source)));
    answers.iter().for_each(|answer| drop(session.received(answer, 0, &*source)));
    assert_eq!(session.report().applied, version);
    (session, node)
}

#[test]
fn a_change_allocates_the_same_at_30_000_entities_as_at_100() {
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
            let mut control = ControlPlane::with(entities);
            // The first commits after a load may begin a checkpoint of it.
            let (kind, field, values) = &changes[0];
            control.median(*kind, field, values.clone());
            quiet();
            let of_each = changes.iter().map(|(kind, field, values)| {
                let (request, step) = control.median(*kind, field, values.clone());
                let all = Cost { bytes: request.bytes + step.bytes, count: request.count + step.count };
                println!(
                    "{entities:>6} entities, {field:<14} {:>7} bytes in {:>4} allocations: {} in {} until the answer, {} in {} for the step",
                    all.bytes, all.count, request.bytes, request.count, step.bytes, step.count
                );
                assert!(request.bytes > 0 && step.bytes > 0, "something was counted");
                assert!(all.bytes <= ALLOCATED_MAX, "a change of {field} allocates {} bytes", all.bytes);
                all
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
