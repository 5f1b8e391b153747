//! A data plane that fetches everything over a slow link still hears within a window's worth of bytes what its control
//! plane's head is: heartbeats do not queue behind bulk.

use serde_json::json;
use tests::generate::{Config, Shape};
use tests::pair::{Pair, follower, load};
use tests::relay::Relay;
use tests::wait;

/// Bytes per second of the link: slow enough that the node has time for a heartbeat between two grants.
const RATE: u64 = 4_000;
/// What may be on its way, as the protocol recommends.
const WINDOW_BYTES: u64 = 61_440;
/// `cluster_heartbeat`, in seconds.
const HEARTBEAT_S: u64 = 5;

#[test]
fn a_node_in_the_middle_of_a_full_sync_hears_of_a_new_head_long_before_its_end() {
    let mut pair = Pair::start();
    let config = Config { shape: Shape::of(3_000), seed: 1, origin: pair.origin.address() };
    load(&pair.lab, &mut pair.cp, &config.declarative());
    // What a full sync of this is, over a link that is not slow.
    pair.settle();
    let whole = pair.link.bytes().1;
    let link = Relay::to(pair.cp.address("cluster")).at_rate(RATE);
    let mut dp = follower(&pair.lab, "slow", &link).with_text("cluster_heartbeat", HEARTBEAT_S).start();
    wait::until("bulk is on its way", || (link.bytes().1 > WINDOW_BYTES / 2).then_some(()));
    let head = pair.apply(&[]);
    let route = format!("/routes/{}", config.id("routes", 0));
    pair.cp.admin_ok("PATCH", &route, &json!({ "tags": ["overtaking"] }));
    let before = link.bytes().1;
    wait::until("the new head", || (dp.sync_status()["head"].as_u64()? > head).then_some(()));
    let meanwhile = link.bytes().1 - before;
    println!("{meanwhile} bytes came before the new head was known, of {whole} of a full sync");
    assert_eq!(dp.sync_status()["version"], json!(0), "nothing of it is applied yet");
    // Two grants may go by until the node has been silent for a heartbeat; what is on its way then comes first.
    assert!(meanwhile <= 3 * WINDOW_BYTES + HEARTBEAT_S * RATE, "{meanwhile}");
    assert!(meanwhile < whole / 2, "{meanwhile} of {whole}");
}
