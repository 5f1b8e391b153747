//! What it costs to bring a node up to date of which no version tells what it has: both ends as they are, but for TLS.
//! Bytes depend on what differs, and hardly on how much there is; at 30,000 entities a name has a byte more.

use cp_lite::changelog::{Changelog, CommitError, Committed, FollowError, Pending, Step, Transaction, View};
use cp_lite::sync::Sources;
use model::{Catalog, Change, Id, Kind, Record};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use tests::generate::{Config, Shape, records};
use tokio::sync::watch;
use wire::message::Have;
use wire::reconcile::{Encoder, Step as Found, digest};
use wire::{Hello, cp, dp};

/// Entities in all; `EDGE_RECONCILE_ENTITIES` says otherwise.
fn entities() -> usize {
    std::env::var("EDGE_RECONCILE_ENTITIES").ok().and_then(|count| count.parse().ok()).unwrap_or(3_000)
}

/// What a TLS handshake with a ticket and the records of such a session cost, of what the design allows for all.
const TLS_BYTES: usize = 2_000;

/// Everything that a control plane has or a node serves.
type Content = BTreeMap<(Kind, Id), Record>;

/// A control plane that has this and never anything else.
struct Still(Arc<View>);

impl Changelog for Still {
    fn commit(&self, _: Transaction) -> Pending<'_, Result<Committed, CommitError>> {
        unreachable!("nobody writes")
    }
    fn view(&self) -> Arc<View> {
        self.0.clone()
    }
    fn watch(&self) -> watch::Receiver<u64> {
        watch::channel(0).1
    }
    fn note(&self, _: Id, _: Option<Vec<u8>>) -> Pending<'_, Result<(), CommitError>> {
        unreachable!("nobody writes")
    }
    fn follow(&self, _: Step) -> Pending<'_, Result<(), FollowError>> {
        unreachable!("nobody writes")
    }
    fn promote(&self, _: u32) -> Pending<'_, Result<Arc<View>, CommitError>> {
        unreachable!("nobody writes")
    }
    fn failure(&self) -> Option<String> {
        None
    }
}

fn config() -> Config {
    Config { shape: Shape::of(entities()), seed: 1, origin: ([127, 0, 0, 1], 9000).into() }
}

/// The generated configuration, after something was done to it.
fn content(version: u64, change: impl FnOnce(&mut Value)) -> Content {
    let mut json = config().declarative();
    change(&mut json);
    records(&json, version).into_iter().map(|record| ((record.kind, record.id), record)).collect()
}

fn root(content: &Content) -> u64 {
    content.values().fold(0, |sum, record| sum.wrapping_add(record.tag))
}

/// Bytes up and down, from HELLO to the last ACK.
fn reconciled(theirs: &Content, ours: &Content, features: u64) -> (usize, usize) {
    let changes: Vec<Change> = ours.values().cloned().map(Change::Put).collect();
    let mut view = View::empty(9);
    view.catalog = Catalog::keeping_bodies().apply(&changes).expect("references resolve");
    (view.version, view.floor) = (7, 7);
    let sources = Sources::new(Arc::new(Still(Arc::new(view))), None);
    let mut made = sources.blobs();
    let source = sources.newest();

    let identity = tests::node::identity(Id(1), "edge-1", features);
    let mut node = dp::Session::new(identity).unwrap();
    let config = cp::Config::new(Id(2), env!("CARGO_PKG_VERSION").into());
    let mut control = cp::Session::new(Arc::new(config), 0);
    let have = Have { epoch: 8, applied: 70, durable: 70, root: root(theirs), count: theirs.len() as u64 };
    let (mut up, mut down, mut came) = (0, 0, None);
    let mut to_node = VecDeque::new();
    let mut to_control: VecDeque<dp::Action> = node.connected(have, 0, 0).into();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    while came.is_none() || !to_control.is_empty() || !to_node.is_empty() {
        match to_control.pop_front() {
            Some(dp::Action::Send(bytes)) => {
                up += bytes.len();
                to_node.extend(control.received(&bytes, 0, &*source));
            }
            Some(dp::Action::Symbols { seed, from, until }) => {
                let mut encoder = Encoder::new(seed, from, until);
                theirs.values().for_each(|record| encoder.add(record.kind.code(), record.id, record.tag));
                to_control.extend(node.symbols(seed, from, &encoder.finish(), 0));
            }
            Some(dp::Action::Parity(get)) => {
                let told = get.names.iter().map(|(kind, prefix)| get.of(&only(theirs, *kind, prefix)?.body));
                to_control.extend(node.parity(get.answer(told.collect()), 0));
            }
            Some(dp::Action::Reconciled { step, .. }) => {
                came = Some(step.version);
                assert_eq!(applied(theirs, &step), *ours);
                to_control.extend(node.durable(step.version, 0));
                to_control.extend(node.applied(step.version, 0));
            }
            Some(dp::Action::Welcomed(_)) => {}
            Some(other) => panic!("{other:?}"),
            None => {}
        }
        match to_node.pop_front() {
            Some(cp::Action::Send(bytes)) => {
                down += bytes.len();
                to_control.extend(node.received(&bytes, 0));
            }
            Some(cp::Action::Joined(_)) => to_node.extend(control.admit(&*source)),
            Some(cp::Action::Close(closed)) => panic!("{closed}"),
            Some(cp::Action::Asked) => unreachable!("no session here relays"),
            Some(cp::Action::Report(report)) => assert!(report.withheld.is_empty(), "{}", report.reason),
            None if to_control.is_empty() && came.is_none() => {
                // The symbols are being made.
                runtime.block_on(made.changed()).unwrap();
                to_node.extend(control.head_changed(&*source));
            }
            None => {}
        }
    }
    assert_eq!(control.report().applied, 7);
    (up, down)
}

fn only<'a>(content: &'a Content, kind: u8, prefix: &wire::patch::IdPrefix) -> Option<&'a Record> {
    let (kind, (low, high)) = (Kind::from_code(kind)?, prefix.range());
    let mut found = content.range((kind, low)..=(kind, high)).map(|(_, record)| record);
    found.next().filter(|_| found.next().is_none())
}

fn applied(theirs: &Content, step: &Found) -> Content {
    let hash = |record: &Record| digest(step.seed, record.kind.code(), record.id, record.tag);
    let mut content = theirs.clone();
    content.retain(|_, record| !step.gone.contains(&hash(record)));
    let mended = step.mends.iter().map(|mend| {
        let base = only(theirs, mend.kind, &mend.prefix).expect("it is there");
        mend.apply(base.id, &base.body).expect("a patch is of the body that was told of")
    });
    for entity in step.puts.iter().cloned().chain(mended) {
        let record = entity.into_record().unwrap();
        content.insert((record.kind, record.id), record);
    }
    assert_eq!(root(&content), step.root);
    content.values_mut().for_each(|record| record.version = 7);
    content
}

const ALL: u64 = Hello::PATCHES | Hello::RECONCILE | Hello::PARITY;

/// A switch of so many routes, as the benchmark of links throws it.
fn switched(routes: usize) -> impl FnOnce(&mut Value) {
    move |json| {
        for route in json["routes"].as_array_mut().unwrap().iter_mut().take(routes) {
            route["strip_path"] = json!(route["strip_path"] != json!(true));
            route["updated_at"] = json!(1_700_345_678);
        }
    }
}

/// A text of so many entities is another one, of another length.
fn renamed(count: usize) -> impl FnOnce(&mut Value) {
    move |json| {
        for (kind, field) in [("routes", "name"), ("consumers", "custom_id"), ("services", "path")] {
            for entity in json[kind].as_array_mut().unwrap().iter_mut().take(count / 3 + 1) {
                entity[field] = json!(format!("{}-v2", entity[field].as_str().unwrap()));
                entity["updated_at"] = json!(1_700_345_678);
            }
        }
    }
}

#[test]
fn what_differs_in_a_field_costs_a_few_dozen_bytes() {
    let theirs = content(7, |_| {});
    let (up, down) = reconciled(&theirs, &theirs, ALL);
    println!("nothing differs: {up} bytes up, {down} down");
    assert!(up + down < 800, "{up} + {down}");
    let bounds = [(1, 900), (10, 1_500), (100, 12 * 1024 - TLS_BYTES), (1_000, 80 * 1024)];
    // Where more differs than one in four, everything is sent.
    for (changed, most) in bounds.into_iter().filter(|(changed, _)| changed * 8 < theirs.len()) {
        let ours = content(7, switched(changed));
        let (whole_up, whole_down) = reconciled(&theirs, &ours, ALL & !Hello::PARITY);
        let (up, down) = reconciled(&theirs, &ours, ALL);
        println!("{changed} one-field changes: {up} bytes up, {down} down; without parity {whole_up} and {whole_down}");
        assert!(up + down <= most, "{up} + {down}");
    }
    let (up, down) = reconciled(&theirs, &content(7, renamed(100)), ALL);
    println!("100 texts of another length: {up} bytes up, {down} down");
    assert!(up + down <= 20 * 1024 - TLS_BYTES, "{up} + {down}");
}
