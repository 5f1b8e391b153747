//! What is committed while a data plane fetches everything over a slow link does not wait for the end of that: it comes
//! ahead of the rest, and is live as soon as the full sync is, without another word of the control plane.

use serde_json::json;
use tests::generate::{Config, Shape};
use tests::pair::{Pair, follower, load};
use tests::relay::Relay;
use tests::wait;

/// Bytes per second of the link.
const RATE: u64 = 30_000;
/// What may be on its way, as the protocol recommends. Half of it is always granted ahead.
const WINDOW_BYTES: u64 = 61_440;

#[test]
fn a_change_made_during_a_full_sync_is_live_with_it_although_the_control_plane_has_fallen_silent() {
    let mut pair = Pair::start();
    let config = Config { shape: Shape::of(1_000), seed: 1, origin: pair.origin.address() };
    load(&pair.lab, &mut pair.cp, &config.declarative());
    // What a full sync of this is, over a link that is not slow.
    let loaded = pair.settle();
    let quick = Relay::to(pair.cp.address("cluster"));
    follower(&pair.lab, "quick", &quick).start().serves_version(loaded);
    let whole = quick.bytes().1;
    let link = Relay::to(pair.cp.address("cluster")).at_rate(RATE);
    let mut dp = follower(&pair.lab, "slow", &link).start();
    wait::until("bulk is on its way", || (link.bytes().1 > WINDOW_BYTES / 2).then_some(()));
    let offered = pair.apply(&[]);
    let route = format!("/routes/{}", config.id("routes", 0));
    pair.cp.admin_ok("PATCH", &route, &json!({ "tags": ["overtaking"] }));
    let head = tests::pair::head(&mut pair.cp);
    assert!(head > offered && link.bytes().1 < whole / 2, "the change came late");
    // All that there is to say has been said, and is on its way: nothing that the node answers is read any more.
    wait::until("the end is near", || (link.bytes().1 + WINDOW_BYTES / 3 > whole).then_some(()));
    assert_eq!(dp.sync_status()["version"], json!(0), "nothing of it is applied yet");
    pair.cp.signal("STOP");
    wait::until("the head is live", || (dp.sync_status()["version"].as_u64()? == head).then_some(()));
    println!("version {head} is live after {} bytes; the full sync of an earlier one was {whole}", link.bytes().1);
    pair.cp.signal("CONT");
    tests::pair::acknowledged_by(&mut pair.cp, &dp, head);
}
