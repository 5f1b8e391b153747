//! A disk that is full means "serving, applying, not durable", for as long as it lasts and no longer.

use serde_json::json;
use tests::disk::{Disk, is_durable_again};
use tests::pair::{Pair, follower};

fn big_consumer(index: usize) -> serde_json::Value {
    let tags: Vec<String> = (0..60).map(|tag| format!("{tag:02}-{}", format!("{index:04}").repeat(250))).collect();
    json!({ "username": format!("user-{index}"), "tags": tags })
}

#[test]
fn a_full_disk_costs_durability_only_and_only_for_as_long_as_it_is_full() {
    let mut pair = Pair::start();
    let Some(disk) = Disk::mount(pair.lab.path().join("disk"), 24) else { return };
    pair.dp = follower(&pair.lab, "small", &pair.link).with_text("prefix", disk.path().join("state").display()).start();
    pair.route(&json!({ "name": "echo" }), &json!({ "name": "first", "paths": ["/first"] }));
    pair.settle();
    disk.fill();
    // More than any backlog holds, so that only a full sync makes the store right again.
    for index in 0..60 {
        pair.cp.admin_ok("POST", "/consumers", &big_consumer(index));
    }
    pair.cp.admin_ok("PATCH", "/routes/first", &json!({ "paths": ["/second"] }));
    pair.settle();
    assert_eq!(pair.dp.get("/second", &[]).status, 200, "a full disk does not stop changes");
    let status = pair.dp.sync_status();
    assert_eq!(status["store"]["state"], "not durable", "{status}");
    assert!(status["store"]["error"].as_str().is_some_and(|error| error.contains("space")), "{status}");

    disk.free();
    is_durable_again(&mut pair, "/second");
}
