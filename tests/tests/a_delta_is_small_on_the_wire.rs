//! A one-field change of one route travels alone: under 1,000 bytes of TCP payload both ways, acknowledged, and no more
//! at 30,000 entities than at 120.

use serde_json::json;
use tests::generate::{Config, Shape};
use tests::pair::{Pair, load};

/// Bytes up and down for a PATCH of one field of route 0, until the durable ack is known.
fn cost(total: usize) -> (u64, u64) {
    let mut pair = Pair::start();
    let config = Config { shape: Shape::of(total), seed: 1, origin: pair.origin.address() };
    load(&pair.lab, &mut pair.cp, &config.declarative());
    pair.acknowledged();
    let route = format!("/routes/{}", config.id("routes", 0));
    let mut patch = |strip: bool| {
        let before = pair.link.bytes();
        pair.cp.admin_ok("PATCH", &route, &json!({ "strip_path": strip }));
        pair.acknowledged();
        let after = pair.link.bytes();
        (after.0 - before.0, after.1 - before.1)
    };
    // The first change of a session may carry what only the first carries (a TLS ticket); the second is what counts.
    patch(false);
    patch(true)
}

#[test]
fn a_one_field_change_costs_under_a_thousand_bytes_whatever_exists() {
    let (small, large) = (cost(120), cost(30_000));
    println!("one-field change, TCP payload up/down: {small:?} at 120 entities, {large:?} at 30,000");
    let sum = |(up, down): (u64, u64)| up + down;
    assert!(sum(small) > 0 && sum(small) <= 1_000, "{small:?}");
    assert!(sum(large) <= 1_000, "{large:?}");
    assert!(sum(small).abs_diff(sum(large)) <= 8, "{small:?} at 120 entities, {large:?} at 30,000");
}
