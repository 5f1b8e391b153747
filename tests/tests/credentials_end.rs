//! A key with a `ttl` stops to count when its time is over, also where no control plane can say so; the control plane
//! deletes it.

use serde_json::{Value, json};
use tests::pair::Pair;
use tests::wait;

/// Seconds that a key lives here: longer than it takes to set up, shorter than patience.
const TTL_S: u64 = 4;

fn pair() -> Pair {
    let mut pair = Pair::start();
    pair.route(&json!({ "name": "echo" }), &json!({ "name": "guarded", "paths": ["/"] }));
    pair.cp.admin_ok("POST", "/routes/guarded/plugins", &json!({ "name": "key-auth" }));
    pair.cp.admin_ok("POST", "/consumers", &json!({ "username": "ann" }));
    pair.cp.admin_ok("POST", "/consumers/ann/key-auth", &json!({ "key": "lasting" }));
    let short = pair.cp.admin_ok("POST", "/consumers/ann/key-auth", &json!({ "key": "short", "ttl": TTL_S }));
    assert_eq!(short["ttl"], TTL_S);
    pair.acknowledged();
    assert_eq!((status(&mut pair, "lasting"), status(&mut pair, "short")), (200, 200));
    pair
}

fn status(pair: &mut Pair, key: &str) -> u16 {
    pair.dp.get("/", &[("apikey", key)]).status
}

#[test]
fn a_key_ends_on_a_data_plane_without_control_plane_and_stays_so_after_a_restart() {
    let mut pair = pair();
    let _gone = pair.cp.kill();
    wait::until("the end of the key", || (status(&mut pair, "short") == 401).then_some(()));
    assert_eq!(status(&mut pair, "lasting"), 200);
    pair.dp = pair.dp.kill().start();
    pair.dp.is_ready();
    assert_eq!((status(&mut pair, "lasting"), status(&mut pair, "short")), (200, 401));
}

#[test]
fn the_deletion_of_a_key_that_has_ended_travels_as_a_delta() {
    let mut pair = pair();
    // A node that comes back has no reason for a full sync, so that none can hide behind the first one.
    pair.dp = pair.dp.kill().start();
    pair.dp.is_ready();
    let before = pair.settle();
    let head = wait::until("the deletion", || Some(pair.settle()).filter(|head| *head > before));
    assert_eq!(head, before + 1, "one commit");
    let list = pair.cp.admin_ok("GET", "/key-auths", &Value::Null);
    let left: Vec<&Value> = list["data"].as_array().into_iter().flatten().map(|entity| &entity["key"]).collect();
    assert_eq!(left, ["lasting"]);
    pair.acknowledged();
    assert_eq!((status(&mut pair, "lasting"), status(&mut pair, "short")), (200, 401));
    assert_ne!(pair.dp.sync_status()["mode"], "full");
}
