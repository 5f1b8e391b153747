//! What plugins are told of changes, and what they keep across them: by deltas, reconciles and full syncs as a control plane
//! sends them, through the same `Applier`, with a plugin in the list that no build ships.

mod support;

use gateway::listen::Limits;
use gateway::plugins::{
    Access, Cx, Definition, Entity, Operation, Plugin, PluginError, Registry, Site, States, registry,
};
use gateway::proxy::Settings;
use gateway::snapshot::entities::{Instance, KeyauthCredential, Service, Sni};
use gateway::snapshot::{Held, Live, Snapshot};
use gateway::sync::apply::Applier;
use gateway::sync::reconcile;
use http::HeaderValue;
use model::kinds::plugins::Plugin as Entry;
use model::{Change, Id, Kind, Record};
use serde_json::{Map, Value, json};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use support::{Config, Gateway, HUNG, Origin, id};
use wire::delta::Entity as Put;
use wire::reconcile::{Decoder, Encoder, Step, digest};

const NAME: &str = "tally";

/// Every kind there is, those of certificates included. One more does not compile until it is here too.
const KINDS: [Kind; model::kind::KINDS] = [
    Kind::Service,
    Kind::Route,
    Kind::Consumer,
    Kind::Plugin,
    Kind::Upstream,
    Kind::Target,
    Kind::Certificate,
    Kind::Sni,
    Kind::CaCertificate,
    Kind::KeyauthCredential,
    Kind::JwtSecret,
    Kind::KeySet,
    Kind::Key,
];

/// What it was told: operation, kind, last digits of the id.
type Told = (Operation, Kind, u128);

/// A plugin that counts the requests of each instance, and reports what it is told.
struct Tally {
    told: Mutex<Sender<Told>>,
    kinds: &'static [Kind],
    /// Panics whenever it is told of a service.
    fails: AtomicBool,
    /// Held by a test while calls about updates are to wait.
    gate: Mutex<()>,
}

impl Tally {
    fn watching(kinds: &'static [Kind]) -> (&'static Self, Receiver<Told>) {
        let (told, events) = mpsc::channel();
        let tally = Self { told: Mutex::new(told), kinds, fails: AtomicBool::new(false), gate: Mutex::default() };
        (Box::leak(Box::new(tally)), events)
    }
}

/// Counts in what outlives it.
struct Count {
    states: Arc<States>,
    instance: Id,
}

impl Definition for Tally {
    fn name(&self) -> &'static str {
        NAME
    }

    fn priority(&self) -> i32 {
        1
    }

    fn build(&self, _: &Map<String, Value>, site: &Site<'_>) -> Result<Arc<dyn Plugin>, PluginError> {
        Ok(Arc::new(Count { states: site.states.clone(), instance: site.instance }))
    }

    fn watches(&self) -> &'static [Kind] {
        self.kinds
    }

    fn changed(&self, operation: Operation, entity: &Entity<'_>, old_entity: Option<&Entity<'_>>) {
        assert_eq!(old_entity.is_some(), operation == Operation::Update);
        assert!(old_entity.is_none_or(|old| (old.kind, old.id) == (entity.kind, entity.id) && old.tag != entity.tag));
        self.told.lock().unwrap().send((operation, entity.kind, entity.id.0 & 0xffff)).unwrap();
        if operation == Operation::Update {
            drop(self.gate.lock().unwrap());
        }
        assert!(!(self.fails.load(Ordering::SeqCst) && entity.kind == Kind::Service), "as the test wants it");
    }
}

impl Plugin for Count {
    fn access<'a>(&'a self, cx: &'a mut Cx<'_>) -> Access<'a> {
        let count = self.states.of::<AtomicUsize>(NAME, Kind::Plugin, self.instance).fetch_add(1, Ordering::SeqCst);
        cx.head.headers.insert("x-tally", HeaderValue::from(count + 1));
        Access::Continue
    }
}

/// A data plane without a disk: what is served, and what a control plane does to it.
struct World {
    live: Arc<Live>,
    applier: Applier,
    version: u64,
    events: Receiver<Told>,
}

impl World {
    fn new(tally: &'static Tally, events: Receiver<Told>) -> Self {
        let definitions: Vec<&'static dyn Definition> = registry::ALL.into_iter().chain([tally as _]).collect();
        Self::over(Arc::new(Live::new(Snapshot::with(Registry::new(&definitions)))), events)
    }

    fn over(live: Arc<Live>, events: Receiver<Told>) -> Self {
        // Full syncs here take things away on purpose.
        let applier = Applier::new(live.clone(), None, (0, 0)).with_limit(wire::shrink::Limit::percent(100));
        Self { applier, live, version: 0, events }
    }

    /// One step that a control plane sends.
    fn delta(&mut self, changes: Vec<Change>) {
        self.version += 1;
        let root = self.live.snapshot().apply(1, self.version, &changes).expect("it applies").catalog().digest();
        block_on(self.applier.delta(1, self.version, root, changes)).expect("it is applied");
    }

    /// A full sync to exactly this.
    fn full(&mut self, records: &[Record]) {
        self.version += 1;
        let root = records.iter().fold(0u64, |root, record| root.wrapping_add(record.tag));
        block_on(async {
            let mut full = self.applier.full(1, self.version).await;
            for record in records {
                full.put(record).await.expect("it compiles");
            }
            self.applier.finish(full, root).await.expect("it is applied");
        });
    }

    /// A reconcile to exactly this: what both ends make of each other's symbols, and the step that comes of it. Returns
    /// how many entities the step brings, and how many hashes it names.
    fn reconcile(&mut self, records: &[Record]) -> (usize, usize) {
        const SYMBOLS: u64 = 256;
        self.version += 1;
        let (seed, now) = (self.version << 32 | 7, self.live.snapshot());
        let ours = block_on(reconcile::symbols(&now, seed, 0, SYMBOLS));
        let mut encoder = Encoder::new(seed, 0, SYMBOLS);
        records.iter().for_each(|record| encoder.add(record.kind.code(), record.id, record.tag));
        let differing = Decoder::new(seed).push(&ours, &encoder.finish()).unwrap().expect("symbols enough");
        let hash = |record: &Record| digest(seed, record.kind.code(), record.id, record.tag);
        let (puts, theirs): (Vec<Put>, Vec<u64>) = records
            .iter()
            .filter(|record| differing.contains(&hash(record)))
            .map(|record| {
                let Record { kind, id, version, tag, body } = record.clone();
                (Put { kind: kind.code(), id, version, tag, body }, hash(record))
            })
            .unzip();
        let gone: Vec<u64> = differing.into_iter().filter(|hash| !theirs.contains(hash)).collect();
        let root = records.iter().fold(0u64, |root, record| root.wrapping_add(record.tag));
        let (brought, named) = (puts.len(), gone.len());
        let (base, version) = (now.catalog().digest(), self.version);
        let step = Step { seed, base, version, root, confirmed: 0, gone, puts, mends: Vec::new() };
        block_on(async {
            let changes = reconcile::changes(&self.applier, step).await.expect("kinds of this build");
            self.applier.reconcile((1, 0), version, root, changes, 0).await.expect("it is applied");
        });
        (brought, named)
    }

    /// The next events, that many.
    fn told(&self, count: usize) -> Vec<Told> {
        (0..count).map(|_| self.events.recv_timeout(HUNG).expect("an event")).collect()
    }

    /// Nothing more was told: what is done now is told next.
    fn told_nothing_else(&mut self, probe: u128) {
        self.delta(vec![put(Kind::Consumer, json!({ "id": id(probe), "username": format!("probe-{probe}") }))]);
        assert_eq!(self.told(1), [(Operation::Create, Kind::Consumer, probe)]);
        self.delta(vec![gone(Kind::Consumer, probe)]);
        assert_eq!(self.told(1), [(Operation::Delete, Kind::Consumer, probe)]);
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn records(config: Config) -> Vec<Record> {
    let record = |change| if let Change::Put(record) = change { record } else { unreachable!() };
    config.changes().into_iter().map(record).collect()
}

fn puts(config: Config) -> Vec<Change> {
    config.changes()
}

fn put(kind: Kind, entity: Value) -> Change {
    puts(Config::default().with(kind, entity)).remove(0)
}

fn gone(kind: Kind, n: u128) -> Change {
    Change::Delete { kind, id: id(n).parse().unwrap() }
}

/// An instance of the test's plugin; the model knows no schema of it.
fn tally(n: u128, enabled: bool) -> Change {
    let id = id(n).parse().unwrap();
    let entry = Entry { id, name: NAME.into(), enabled, ..Entry::default() };
    let body: Arc<[u8]> = entry.encode().unwrap().into();
    Change::Put(Record { kind: Kind::Plugin, id, version: 1, tag: Record::tag_of(Kind::Plugin, id, &body), body })
}

/// One entity of every kind, 1 to 13 in the order of [`KINDS`].
fn one_of_each() -> Config {
    let made = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
    let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let consumer = json!({ "id": id(3) });
    Config::default()
        .with(Kind::Service, json!({ "id": id(1), "name": "s", "host": "up" }))
        .with(Kind::Route, json!({ "id": id(2), "service": { "id": id(1) }, "paths": ["/"] }))
        .with(Kind::Consumer, json!({ "id": id(3), "username": "ann" }))
        .with(Kind::Plugin, json!({ "id": id(4), "name": "key-auth", "route": { "id": id(2) } }))
        .with(Kind::Upstream, json!({ "id": id(5), "name": "up" }))
        .with(Kind::Target, json!({ "id": id(6), "upstream": { "id": id(5) }, "target": "127.0.0.1:1" }))
        .with(Kind::Certificate, json!({ "id": id(7), "cert": cert, "key": key }))
        .with(Kind::Sni, json!({ "id": id(8), "name": "a.example", "certificate": { "id": id(7) } }))
        .with(Kind::CaCertificate, json!({ "id": id(9), "cert": cert }))
        .with(Kind::KeyauthCredential, json!({ "id": id(10), "consumer": consumer, "key": "k" }))
        .with(Kind::JwtSecret, json!({ "id": id(11), "consumer": consumer, "key": "i", "secret": "s" }))
        .with(Kind::KeySet, json!({ "id": id(12), "name": "tokens" }))
        .with(Kind::Key, json!({ "id": id(13), "set": { "id": id(12) }, "kid": "k", "jwk": JWK }))
}

const JWK: &str = r#"{"kty":"OKP","crv":"Ed25519","kid":"k","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

/// The order of creations: what is referred to first.
const CREATED: [(Kind, u128); 13] = [
    (Kind::CaCertificate, 9),
    (Kind::Certificate, 7),
    (Kind::Sni, 8),
    (Kind::Upstream, 5),
    (Kind::Target, 6),
    (Kind::Service, 1),
    (Kind::Route, 2),
    (Kind::Consumer, 3),
    (Kind::KeyauthCredential, 10),
    (Kind::JwtSecret, 11),
    (Kind::KeySet, 12),
    (Kind::Key, 13),
    (Kind::Plugin, 4),
];

fn each(operation: Operation, order: impl Iterator<Item = (Kind, u128)>) -> Vec<Told> {
    order.map(|(kind, n)| (operation, kind, n)).collect()
}

#[test]
fn a_plugin_is_told_of_every_kind_in_the_same_order_by_delta_and_by_full_sync() {
    let (tally, events) = Tally::watching(&KINDS);
    let mut world = World::new(tally, events);
    let all = records(one_of_each());
    let deletions = || all.iter().map(|record| Change::Delete { kind: record.kind, id: record.id }).collect();
    world.delta(all.iter().cloned().map(Change::Put).collect());
    assert_eq!(world.told(13), each(Operation::Create, CREATED.into_iter()));
    world.delta(deletions());
    assert_eq!(world.told(13), each(Operation::Delete, CREATED.into_iter().rev()));
    world.full(&all);
    assert_eq!(world.told(13), each(Operation::Create, CREATED.into_iter()));
    world.full(&[]);
    assert_eq!(world.told(13), each(Operation::Delete, CREATED.into_iter().rev()));
    world.told_nothing_else(90);
}

#[test]
fn a_full_sync_tells_what_differs_and_not_what_was_sent() {
    let (tally, events) = Tally::watching(&KINDS);
    let mut world = World::new(tally, events);
    let all = records(one_of_each());
    world.full(&all);
    world.told(13);
    let service = put(Kind::Service, json!({ "id": id(1), "name": "s", "host": "other" }));
    let Change::Put(service) = service else { unreachable!() };
    let mut next = all.clone();
    next.retain(|record| record.kind != Kind::Sni);
    next[0] = service;
    world.full(&next);
    assert_eq!(world.told(2), [(Operation::Delete, Kind::Sni, 8), (Operation::Update, Kind::Service, 1)]);
    world.delta(next.iter().cloned().map(Change::Put).collect());
    world.told_nothing_else(91);
}

#[test]
fn a_cascade_is_told_children_first_as_the_control_plane_commits_it() {
    let (tally, events) = Tally::watching(&[Kind::Consumer, Kind::KeyauthCredential, Kind::JwtSecret]);
    let mut world = World::new(tally, events);
    world.delta(puts(one_of_each()));
    world.told(3);
    let cascade = world.live.snapshot().catalog().cascade(Kind::Consumer, id(3).parse().unwrap()).unwrap();
    assert_eq!(cascade.len(), 3);
    world.delta(cascade);
    let deleted = [(Kind::JwtSecret, 11), (Kind::KeyauthCredential, 10), (Kind::Consumer, 3)];
    assert_eq!(world.told(3), each(Operation::Delete, deleted.into_iter()));
    world.told_nothing_else(92);
}

#[test]
fn a_key_that_changes_or_goes_with_its_set_is_told() {
    let (tally, events) = Tally::watching(&[Kind::KeySet, Kind::Key]);
    let mut world = World::new(tally, events);
    world.delta(puts(one_of_each()));
    world.told(2);
    world.delta(vec![put(
        Kind::Key,
        json!({ "id": id(13), "set": { "id": id(12) }, "kid": "k", "name": "n", "jwk": JWK }),
    )]);
    assert_eq!(world.told(1), [(Operation::Update, Kind::Key, 13)]);
    let cascade = world.live.snapshot().catalog().cascade(Kind::KeySet, id(12).parse().unwrap()).unwrap();
    world.delta(cascade);
    let deleted = [(Kind::Key, 13), (Kind::KeySet, 12)];
    assert_eq!(world.told(2), each(Operation::Delete, deleted.into_iter()));
}

/// Looks into what it is told.
struct Inspector(Mutex<Sender<String>>);

impl Definition for Inspector {
    fn name(&self) -> &'static str {
        "inspector"
    }

    fn priority(&self) -> i32 {
        1
    }

    fn build(&self, _: &Map<String, Value>, _: &Site<'_>) -> Result<Arc<dyn Plugin>, PluginError> {
        Err(PluginError::Unknown(self.name().to_owned()))
    }

    fn watches(&self) -> &'static [Kind] {
        &[Kind::Service, Kind::KeyauthCredential, Kind::Sni, Kind::Plugin]
    }

    fn changed(&self, operation: Operation, entity: &Entity<'_>, old_entity: Option<&Entity<'_>>) {
        let text = |entity: &Entity<'_>| match entity.kind {
            Kind::Service => form::<Arc<Service>>(entity, |service| service.host.to_string()),
            Kind::KeyauthCredential => form::<Arc<KeyauthCredential>>(entity, |key| key.key.to_string()),
            Kind::Sni => form::<Sni>(entity, |sni| sni.certificate.to_string()),
            _ => form::<Arc<Instance>>(entity, |instance| instance.name.to_owned()),
        };
        assert!(entity.get::<Arc<str>>().is_none(), "of another kind");
        let old = old_entity.map(text).unwrap_or_default();
        self.0.lock().unwrap().send(format!("{operation:?} {} {old}", text(entity))).unwrap();
    }
}

fn form<T: Held>(entity: &Entity<'_>, show: impl Fn(&T) -> String) -> String {
    entity.get::<T>().map_or_else(|| "(not held)".to_owned(), show)
}

#[test]
fn entities_are_given_as_requests_saw_them_before_and_see_them_now() {
    let (told, seen) = mpsc::channel();
    let inspector: &'static Inspector = Box::leak(Box::new(Inspector(Mutex::new(told))));
    let definitions: Vec<&'static dyn Definition> = registry::ALL.into_iter().chain([inspector as _]).collect();
    let live = Arc::new(Live::new(Snapshot::with(Registry::new(&definitions))));
    let mut world = World::over(live, mpsc::channel().1);
    let next = || seen.recv_timeout(HUNG).unwrap();
    world.delta(puts(one_of_each()));
    assert_eq!(next(), format!("Create {} ", id(7)));
    assert_eq!([next(), next(), next()], ["Create up ", "Create k ", "Create key-auth "]);
    world.delta(vec![put(Kind::Service, json!({ "id": id(1), "name": "s", "host": "new" }))]);
    assert_eq!(next(), "Update new up");
    let off = json!({ "id": id(4), "name": "key-auth", "route": { "id": id(2) }, "enabled": false });
    world.delta(vec![put(Kind::Plugin, off)]);
    assert_eq!(next(), "Update (not held) key-auth");
    world.delta(vec![gone(Kind::KeyauthCredential, 10)]);
    assert_eq!(next(), "Delete k ");
}

#[test]
fn a_plugin_that_panics_or_is_slow_stops_neither_changes_nor_what_is_told_after() {
    let (tally, events) = Tally::watching(&KINDS);
    let mut world = World::new(tally, events);
    tally.fails.store(true, Ordering::SeqCst);
    world.delta(puts(one_of_each()));
    assert_eq!(world.told(13), each(Operation::Create, CREATED.into_iter()));
    // While it hangs in a call, versions go live one after the other, and what waits is merged.
    let hangs = tally.gate.lock().unwrap();
    let name = |n: u32| put(Kind::Consumer, json!({ "id": id(3), "username": format!("name-{n}") }));
    world.delta(vec![name(0)]);
    assert_eq!(world.told(1), [(Operation::Update, Kind::Consumer, 3)]);
    for n in 1..100 {
        world.delta(vec![name(n), put(Kind::Upstream, json!({ "id": id(50), "name": "here-and-gone" }))]);
        world.delta(vec![gone(Kind::Upstream, 50)]);
    }
    let consumer = id(3).parse().unwrap();
    assert_eq!(world.live.snapshot().consumer(consumer).unwrap().username.as_deref(), Some("name-99"));
    drop(hangs);
    assert_eq!(world.told(1), [(Operation::Update, Kind::Consumer, 3)], "all others as one");
    world.told_nothing_else(93);
}

#[test]
fn the_state_of_an_instance_survives_deltas_and_full_syncs_and_goes_with_its_entity() {
    let origin = Origin::answering("");
    let (tally_def, events) = Tally::watching(&[Kind::Plugin]);
    let mut world = World::new(tally_def, events);
    let routed = || Config::default().service(1, origin.address, json!({})).route(1, json!({}));
    let with = |change: Change| [puts(routed()), vec![change]].concat();
    world.delta(with(tally(7, true)));
    world.told(1);
    let gateway = Gateway::over(world.live.clone(), Settings::default(), Limits::default());
    let count = || {
        assert_eq!(gateway.get("/", "").status, 200);
        origin.last().header("x-tally").map(str::to_owned)
    };
    assert_eq!([count(), count()], [Some("1".into()), Some("2".into())]);
    world.delta(vec![put(Kind::Consumer, json!({ "id": id(3), "username": "ann" }))]);
    assert_eq!(count().as_deref(), Some("3"), "another entity has changed");
    world.delta(vec![tally(7, false)]);
    world.told(1);
    assert_eq!(count(), None, "it is not enabled");
    world.delta(vec![tally(7, true)]);
    world.told(1);
    assert_eq!(count().as_deref(), Some("4"), "it was another instance, of the same entity");
    let whole: Vec<Record> = with(tally(7, true))
        .into_iter()
        .map(|change| if let Change::Put(record) = change { record } else { unreachable!() })
        .collect();
    world.full(&whole);
    assert_eq!(count().as_deref(), Some("5"), "everything was sent again");
    world.full(&records(routed()));
    assert_eq!(count(), None);
    world.told(1);
    world.full(&whole);
    world.told(1);
    assert_eq!(count().as_deref(), Some("1"), "the entity went, and came again");
}

#[test]
fn the_turn_of_targets_survives_deltas_and_full_syncs() {
    let origins = [Origin::answering("a"), Origin::answering("b"), Origin::answering("c")];
    let target = |n: u128, origin: &Origin| {
        let at = format!("127.0.0.1:{}", origin.address.port());
        json!({ "id": id(20 + n), "upstream": { "id": id(5) }, "target": at })
    };
    let base = (0..3).zip(&origins).fold(
        Config::default()
            .with(Kind::Upstream, json!({ "id": id(5), "name": "up" }))
            .with(Kind::Service, json!({ "id": id(1), "name": "s", "host": "up" }))
            .with(Kind::Route, json!({ "id": id(1), "service": { "id": id(1) }, "paths": ["/"] })),
        |config, (n, origin)| config.with(Kind::Target, target(n, origin)),
    );
    let whole = records(base);
    let mut world = World::over(Arc::new(Live::new(Snapshot::empty())), mpsc::channel().1);
    world.full(&whole);
    let gateway = Gateway::over(world.live.clone(), Settings::default(), Limits::default());
    let next = || gateway.get("/", "").text();
    assert_eq!(next(), "a");
    world.delta(vec![put(Kind::Consumer, json!({ "id": id(3), "username": "ann" }))]);
    assert_eq!(next(), "b", "a delta of something else");
    world.full(&whole);
    assert_eq!(next(), "c", "a full sync of the same");
    assert_eq!(next(), "a");
    world.delta(vec![gone(Kind::Target, 20)]);
    assert_eq!([next(), next()], ["b", "c"], "the others keep their turns");
}

#[test]
fn a_reconcile_tells_what_a_delta_and_a_full_sync_tell_in_the_same_order() {
    let (tally, events) = Tally::watching(&KINDS);
    let mut world = World::new(tally, events);
    let all = records(one_of_each());
    assert_eq!(world.reconcile(&all), (all.len(), 0));
    assert_eq!(world.told(all.len()), each(Operation::Create, CREATED.into_iter()));
    assert_eq!(world.reconcile(&[]), (0, all.len()));
    assert_eq!(world.told(all.len()), each(Operation::Delete, CREATED.into_iter().rev()));
    world.told_nothing_else(94);
}

#[test]
fn a_reconcile_tells_what_differs_and_nothing_else() {
    let (tally, events) = Tally::watching(&KINDS);
    let mut world = World::new(tally, events);
    let all = records(one_of_each());
    world.full(&all);
    world.told(all.len());
    let Change::Put(service) = put(Kind::Service, json!({ "id": id(1), "name": "s", "host": "other" })) else {
        unreachable!()
    };
    let Change::Put(consumer) = put(Kind::Consumer, json!({ "id": id(40), "username": "new" })) else { unreachable!() };
    let mut next = all.clone();
    next.retain(|record| record.kind != Kind::Sni);
    next[0] = service;
    next.push(consumer);
    assert_eq!(world.reconcile(&next), (2, 2), "a service and a consumer come; the old service and an SNI go");
    let told = [(Operation::Delete, Kind::Sni, 8), (Operation::Update, Kind::Service, 1)];
    assert_eq!(world.told(3), [&told[..], &[(Operation::Create, Kind::Consumer, 40)]].concat());
    assert_eq!(world.reconcile(&next), (0, 0));
    world.told_nothing_else(95);
}

#[test]
fn the_state_of_instances_and_the_turn_of_targets_survive_a_reconcile() {
    let origins = [Origin::answering(""), Origin::answering("")];
    let target = |n: u128, origin: &Origin| {
        let at = format!("127.0.0.1:{}", origin.address.port());
        json!({ "id": id(20 + n), "upstream": { "id": id(5) }, "target": at })
    };
    let base = (0..2).zip(&origins).fold(
        Config::default()
            .with(Kind::Upstream, json!({ "id": id(5), "name": "up" }))
            .with(Kind::Service, json!({ "id": id(1), "name": "s", "host": "up" }))
            .with(Kind::Route, json!({ "id": id(1), "service": { "id": id(1) }, "paths": ["/"] })),
        |config, (n, origin)| config.with(Kind::Target, target(n, origin)),
    );
    let base = records(base);
    let with = |change: Change| {
        let Change::Put(record) = change else { unreachable!() };
        [&base[..], &[record]].concat()
    };
    let (tally_def, events) = Tally::watching(&[Kind::Plugin]);
    let mut world = World::new(tally_def, events);
    world.reconcile(&with(tally(7, true)));
    world.told(1);
    let gateway = Gateway::over(world.live.clone(), Settings::default(), Limits::default());
    let asked = |n: usize| {
        assert_eq!(gateway.get("/", "").status, 200);
        origins[n].last().header("x-tally").map(str::to_owned)
    };
    assert_eq!(asked(0).as_deref(), Some("1"));
    let Change::Put(consumer) = put(Kind::Consumer, json!({ "id": id(3), "username": "ann" })) else { unreachable!() };
    world.reconcile(&[with(tally(7, true)), vec![consumer]].concat());
    assert_eq!(asked(1).as_deref(), Some("2"), "something else came");
    world.reconcile(&with(tally(7, false)));
    world.told(1);
    assert_eq!(asked(0), None, "it is not enabled");
    world.reconcile(&with(tally(7, true)));
    world.told(1);
    assert_eq!(asked(1).as_deref(), Some("3"), "another instance, of the same entity");
    world.reconcile(&base);
    world.told(1);
    world.reconcile(&with(tally(7, true)));
    world.told(1);
    assert_eq!(asked(0).as_deref(), Some("1"), "the entity went, and came again");
}
