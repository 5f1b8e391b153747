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
use model::{Change, Id, Kind};
use serde_json::{Map, Value, json};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use std::alloc::System;
use std::sync::Arc;
use tests::allocated::{self, Cost, Meter, SIZES};
use tests::generate::{Config, Shape, records};
use tokio::runtime::Runtime;
use wire::message::Have;
use wire::{Hello, cp, dp};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;
const METER: Meter = Meter(&INSTRUMENTED_SYSTEM);

/// Most bytes that one change may allocate in all, freed again or not, with its step and the ack.
const ALLOCATED_MAX: usize = 96 * 1024;
/// How many times as much a change may allocate at 30,000 entities as at 100: paths are a node or two longer.
const GROWTH_MAX: f64 = 1.25;

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
        let changes: Vec<Change> = records(&config.declarative(), 1).into_iter().map(Change::Put).collect();
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

    /// Sets a field by the Admin API, and brings the node up to date. What that cost in all: request, step and ACK.
    fn change(&mut self, kind: Kind, field: &str, value: &Value) -> Cost {
        let path = format!("/{}/{}", kind.def().admin_path, self.config.id(kind.def().name, 0));
        let request = Request::builder().method("PATCH").uri(path).header(header::CONTENT_TYPE, "application/json");
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        let body = json!({ field: value }).to_string().into_bytes().into();
        let before = self.app.changelog.view().version;

        let (status, request) = METER.of(|| {
            let answer = self.runtime.block_on(handle(&self.app, &parts, body));
            let (head, body) = answer.into_parts();
            self.runtime.block_on(body.collect()).expect("a body");
            head.status
        });
        assert_eq!(status, 200, "{field} of {}", kind.def().name);
        assert_eq!(self.app.changelog.view().version, before + 1, "{field} of {} changes", kind.def().name);

        let (sent, step) = METER.of(|| self.session.head_changed(&*self.sources.newest()));
        let sent = bytes_of(&sent);
        assert!((1..500).contains(&sent.len()), "a step of {} bytes", sent.len());
        let acks = take(&mut self.node, &sent);
        let ((), ack) = METER.of(|| {
            acks.iter().for_each(|ack| drop(self.session.received(ack, 0, &*self.sources.newest())));
        });
        assert_eq!(self.session.report().durable, before + 1);
        assert!(request.bytes > 0 && step.bytes > 0, "something was counted");
        request + step + ack
    }
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
    let identity = tests::node::identity(Id(5), "edge-1", Hello::PATCHES);
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
    let costs = SIZES.map(|entities| {
        let mut control = ControlPlane::with(entities);
        let mut cost = |(kind, field, values): (Kind, &str, [Value; 2])| {
            allocated::median(&values, |value| control.change(kind, field, value))
        };
        // The first commits after a load may begin a checkpoint of it.
        let [first, ..] = allocated::changes();
        cost(first);
        METER.quiet();
        allocated::changes().map(cost)
    });
    allocated::judge(&costs, ALLOCATED_MAX, GROWTH_MAX);
}
