//! What a configuration costs a data plane in memory: bytes that are live after it was loaded, and in how many
//! allocations, since each costs its allocator some more.

use allocation_counter::measure;
use gateway::snapshot::Loader;
use tests::generate::{Config, Shape, records};

const ENTITIES: usize = 6_000;
/// Most bytes of an entity, on average over the generated configuration; every index included.
const BYTES_MAX: u64 = 540;
/// Most allocations of an entity.
const ALLOCATIONS_MAX: f64 = 8.0;

#[test]
fn an_entity_takes_at_most_so_many_bytes_in_so_many_allocations() {
    let config = Config { shape: Shape::of(ENTITIES), seed: 1, origin: ([127, 0, 0, 1], 9000).into() };
    let records = records(&config.declarative(), 1);
    let mut snapshot = None;
    let live = measure(|| {
        let mut loader = Loader::new(1, 1);
        for record in &records {
            loader.put(record).expect("it compiles");
        }
        snapshot = Some(loader.finish().expect("references resolve"));
    });
    assert_eq!(snapshot.map(|snapshot| snapshot.entities()), Some(ENTITIES));
    let bytes = u64::try_from(live.bytes_current).expect("something is live") / ENTITIES as u64;
    let allocations = live.count_current as f64 / ENTITIES as f64;
    println!("{bytes} bytes and {allocations:.2} allocations for each entity");
    assert!(bytes <= BYTES_MAX && allocations <= ALLOCATIONS_MAX, "{bytes} bytes, {allocations} allocations");
}
