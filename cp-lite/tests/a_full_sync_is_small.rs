//! A full sync is about as small as `zstd -19` makes the same configuration as declarative JSON.

use cp_lite::changelog::View;
use cp_lite::sync::compress;
use model::{Catalog, Change};
use std::sync::Arc;
use std::time::Instant;
use tests::generate::{Config, Shape, records};
use wire::bundle::pack;
use wire::full::{Unpack, blob};

/// As many as take seconds; at 30,000 the ratio is 1.09 as well. `EDGE_FULL_SYNC_ENTITIES` says otherwise.
fn entities() -> usize {
    std::env::var("EDGE_FULL_SYNC_ENTITIES").ok().and_then(|count| count.parse().ok()).unwrap_or(6_000)
}
/// How many times as large it may be.
const RATIO_MAX: f64 = 1.1;
/// How many times as large as the control plane's blob that of a data plane's bundle may be, whose compressor is small.
const PACKED_RATIO_MAX: f64 = 2.0;

#[test]
fn a_full_sync_is_about_as_small_as_its_json_can_be() {
    let config = Config { shape: Shape::of(entities()), seed: 1, origin: ([127, 0, 0, 1], 9000).into() };
    let json = config.declarative().to_string();
    let changes: Vec<Change> = records(&config.declarative(), 1).into_iter().map(Change::Put).collect();
    let mut view = View::empty(1);
    view.catalog = Catalog::keeping_bodies().apply(&changes).expect("references resolve");
    view.version = 1;

    let started = Instant::now();
    let made = compress(&Arc::new(view)).expect("there is memory").expect("it is not too large");
    let taken = started.elapsed();
    let judge = zstd::bulk::compress(json.as_bytes(), 19).expect("there is memory").len();
    let begin = made.begin();
    let ratio = begin.bytes as f64 / judge as f64;
    println!(
        "full sync of {} entities: {} bytes plain, {} as a blob in {taken:.2?}; JSON {}, {judge} after zstd -19: {ratio:.3}",
        begin.count,
        begin.plain,
        begin.bytes,
        json.len(),
    );
    assert!(ratio <= RATIO_MAX, "{ratio:.3}");

    let mut plain = Vec::new();
    let records =
        changes.iter().filter_map(|change| if let Change::Put(record) = change { Some(record) } else { None });
    records.for_each(|record| pack::push(1, record, &mut plain));
    let (started, mut packed) = (Instant::now(), Vec::new());
    pack::pack(plain.as_slice(), &mut packed).expect("memory takes it");
    let ratio = packed.len() as f64 / begin.bytes as f64;
    println!("packed by a data plane: {} bytes in {:.2?}, {ratio:.3} times the blob", packed.len(), started.elapsed());
    assert!(plain.len() as u64 == begin.plain && ratio <= PACKED_RATIO_MAX, "{ratio:.3}");

    assert_eq!(blob::digest(&made.bytes()[..]).unwrap(), begin.transfer);
    let mut entities = Unpack::new(begin, &made.bytes()[..]).expect("a blob");
    let mut count = 0;
    while let Some(entity) = entities.next().expect("what was packed") {
        assert!(changes.len() > count && entity.version == 1);
        count += 1;
    }
    assert_eq!(count, changes.len());
}
