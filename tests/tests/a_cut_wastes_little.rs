//! A link that is cut again and again while a new data plane fetches 30,000 entities: the transfer goes on where it was,
//! each cut wastes less than 64 KiB, and what served before serves until all of it is there.

use serde_json::json;
use tests::generate::{Config, Shape};
use tests::pair::{Pair, follower, load};
use tests::relay::Relay;
use tests::wait;

const CUTS: u64 = 12;
/// How much comes between two cuts.
const CUT_EVERY: u64 = 800_000;
/// Bytes per second of the link.
const RATE: u64 = 2_000_000;
/// What one cut may waste, the next handshake and greeting included.
const WASTE_MAX: u64 = 64 * 1024;

/// Bytes to a new data plane over a link that is cut so often until it serves everything.
fn fetched(pair: &mut Pair, name: &str, cuts: u64) -> u64 {
    let link = Relay::to(pair.cp.address("cluster")).at_rate(RATE);
    let mut dp = follower(&pair.lab, name, &link).start();
    for cut in 1..=cuts {
        wait::until("some more bytes", || (link.bytes().1 > cut * CUT_EVERY).then_some(()));
        assert_eq!(dp.sync_status()["version"], json!(0), "nothing is applied by halves");
        link.cut();
    }
    let head = tests::pair::head(&mut pair.cp);
    dp.serves_version(head);
    link.bytes().1
}

#[test]
fn a_full_sync_survives_many_cuts_and_wastes_less_than_64_kib_with_each() {
    let mut pair = Pair::start();
    let config = Config { shape: Shape::of(30_000), seed: 1, origin: pair.origin.address() };
    load(&pair.lab, &mut pair.cp, &config.declarative());
    pair.settle();
    let whole = fetched(&mut pair, "smooth", 0);
    let cut = fetched(&mut pair, "cut", CUTS);
    let waste = cut.saturating_sub(whole) / CUTS;
    println!("full sync: {whole} bytes of TCP payload; {cut} with {CUTS} cuts: {waste} wasted by each");
    assert!(waste <= WASTE_MAX, "{waste}");
}
