//! A one-field change costs what it touches and not what exists: entities looked at or copied, and bytes allocated, from
//! the delta to the next snapshot, at 100, 3,000 and 30,000 entities and in every lopsided configuration that is ordinary.
//! With all that is around it, from the bytes to the ack: `a_delta_costs_the_same_until_its_ack.rs`.

use allocation_counter::measure;
use gateway::snapshot::{Loader, Snapshot};
use model::kind::KindDef;
use model::{Change, Kind, Record, meter};
use serde_json::{Value, json};
use tests::generate::{Config, Shape, records};

/// Most entities that one change may look at or copy.
const VISITED_MAX: usize = 99;
/// Most bytes that it may allocate in all, freed again or not.
const ALLOCATED_MAX: u64 = 64 * 1024;
/// How many more bytes a change may allocate at 30,000 entities than at 100: paths are a node or two longer, each of a
/// KiB or so, in up to six tries.
const MORE_MAX: u64 = 10 * 1024;
/// And how many times as many as at 3,000.
const GROWTH_MAX: f64 = 1.5;

struct Loaded {
    config: Config,
    records: Vec<Record>,
    snapshot: Snapshot,
}

/// What a change cost.
#[derive(Debug, Clone, Copy)]
struct Cost {
    visited: usize,
    allocated: u64,
}

fn load(shape: Shape) -> Loaded {
    let config = Config { shape, seed: 1, origin: ([127, 0, 0, 1], 9000).into() };
    let records = records(&config.declarative(), 1);
    let mut loader = Loader::new(1, 1);
    for record in &records {
        loader.put(record).expect("it compiles");
    }
    Loaded { config, records, snapshot: loader.finish().expect("references resolve") }
}

impl Loaded {
    /// What it costs to set `field` of an entity to another value. The snapshot from before is held meanwhile, as
    /// requests hold it.
    fn change(&self, kind: Kind, index: usize, field: &str, value: &Value) -> Cost {
        let def: &KindDef = kind.def();
        let id = self.config.id(def.name, index);
        let record = self.records.iter().find(|record| (record.kind, record.id) == (kind, id)).expect("it is there");
        let mut object = (def.to_json)(&record.body).expect("it was written by this build");
        let before = object.insert(field.to_owned(), value.clone());
        assert!(before.is_some_and(|before| before != *value), "{field} of {} changes", def.name);
        let body = (def.to_body)(&object).expect("canonical");
        let tag = Record::tag_of(kind, id, &body);
        let changes = [Change::Put(Record { kind, id, version: 2, tag, body: body.into() })];
        let mut next = None;
        meter::take();
        let allocated = measure(|| next = Some(self.snapshot.apply(1, 2, &changes))).bytes_total;
        let visited = meter::take();
        let next = next.expect("measured").expect("it applies");
        assert_eq!((next.version, next.catalog().len()), (2, self.snapshot.catalog().len()));
        assert_ne!(next.catalog().digest(), self.snapshot.catalog().digest());
        assert!(visited > 0 && allocated > 0, "something was counted");
        Cost { visited, allocated }
    }

    /// The worst of some changes of every kind.
    fn worst(&self) -> Vec<(&'static str, Cost)> {
        let changes = [
            (Kind::Route, self.config.shape.routes, "strip_path", json!(null)),
            (Kind::Route, self.config.shape.routes, "paths", json!(["/moved/elsewhere"])),
            (Kind::Route, self.config.shape.routes, "paths", json!(["~/moved/(?<id>[0-9a-f]+)/elsewhere$"])),
            (Kind::Service, self.config.shape.services, "read_timeout", json!(12_345)),
            (Kind::Consumer, self.config.shape.consumers, "custom_id", json!("another")),
            (Kind::KeyauthCredential, self.config.shape.keys, "key", json!("another")),
            (Kind::Plugin, self.config.shape.plugins, "protocols", json!(["http"])),
            (Kind::Upstream, self.config.shape.upstreams, "host_header", json!("example.com")),
            (Kind::Target, self.config.shape.targets, "weight", json!(7)),
        ];
        changes
            .map(|(kind, count, field, value)| {
                let mut worst = Cost { visited: 0, allocated: 0 };
                for index in (0..count).step_by(count / 25 + 1) {
                    let value = if field == "strip_path" { json!(index % 2 != 0) } else { value.clone() };
                    let cost = self.change(kind, index, field, &value);
                    worst.visited = worst.visited.max(cost.visited);
                    worst.allocated = worst.allocated.max(cost.allocated);
                }
                (field, worst)
            })
            .into()
    }
}

fn is_bounded(what: &str, loaded: &Loaded) -> Vec<(&'static str, Cost)> {
    let costs = loaded.worst();
    for (field, cost) in &costs {
        println!("{what:<40} {field:<14} {:>4} entities {:>7} bytes", cost.visited, cost.allocated);
    }
    for (field, cost) in &costs {
        assert!(cost.visited <= VISITED_MAX, "{what}: a change of {field} looks at {} entities", cost.visited);
        assert!(cost.allocated < ALLOCATED_MAX, "{what}: a change of {field} allocates {} bytes", cost.allocated);
    }
    costs
}

#[test]
fn a_change_costs_the_same_at_30_000_entities_as_at_100() {
    let few = is_bounded("100 entities", &load(Shape::of(100)));
    let some = is_bounded("3,000 entities", &load(Shape::of(3_000)));
    let many = is_bounded("30,000 entities", &load(Shape::of(30_000)));
    for ((field, few), ((_, some), (_, many))) in few.iter().zip(some.iter().zip(&many)) {
        let more = many.allocated.saturating_sub(few.allocated);
        assert!(more <= MORE_MAX, "a change of {field} allocates {more} bytes more at 30,000 than at 100");
        let growth = many.allocated as f64 / some.allocated as f64;
        assert!(growth < GROWTH_MAX, "a change of {field} allocates {growth:.2} times as much at 30,000 as at 3,000");
    }
}

#[test]
fn a_change_is_bounded_with_10_000_routes_on_one_host() {
    is_bounded("10,000 routes on one host", &load(Shape::on_one_host(30_000)));
}

#[test]
fn a_change_is_bounded_with_200_routes_on_one_prefix() {
    is_bounded("200 routes on one prefix", &load(Shape { on_one_prefix: 200, regex_routes: 0, ..Shape::of(900) }));
}

#[test]
fn a_change_is_bounded_with_500_keys_of_one_consumer() {
    is_bounded("500 keys of one consumer", &load(Shape { keys_of_one: 500, ..Shape::of(2_400) }));
}
