//! A file system that finds itself damaged goes read-only under the program that writes to it. A data plane serves on,
//! takes changes, says that they are not durable, and comes back with what was.

use serde_json::{Value, json};
use tests::device::Device;
use tests::lab::Lab;
use tests::origin::Origin;
use tests::pair::{Pair, acknowledged, follower};
use tests::relay::Relay;

#[test]
fn a_disk_that_goes_read_only_under_a_running_data_plane_costs_durability_only() {
    let lab = Lab::new();
    let Some(device) = Device::mount(lab.path(), 64) else { return };
    let origin = Origin::start("origin");
    let mut cp = lab.cp("cp").start();
    let link = Relay::to(cp.address("cluster"));
    let dp = follower(&lab, "worn", &link).with_text("prefix", device.path().join("state").display()).start();
    let mut pair = Pair { lab, origin, cp, link, dp };
    pair.route(&json!({ "name": "echo" }), &json!({ "name": "first", "paths": ["/first"] }));
    let version = pair.acknowledged();

    device.fails();
    pair.cp.admin_ok("PATCH", "/routes/first", &json!({ "paths": ["/second"] }));
    let head = pair.settle();
    assert_eq!((pair.dp.get("/second", &[]).status, pair.dp.get("/first", &[]).status), (200, 404));
    let status = pair.dp.sync_status();
    assert_eq!(status["store"]["state"], "not durable", "{status}");
    assert!(status["store"]["error"].as_str().is_some_and(|error| error.contains("read-only")), "{status}");
    assert_eq!(status["last_good"]["version"], version, "{status}");
    let row = acknowledged(&mut pair.cp, head);
    assert_eq!(row["durable_version"], version, "applied, and not durable: {row}");
    assert!(pair.dp.is_running());
    assert!(!pair.dp.log().contains("panicked"), "{}", pair.dp.log());

    let setup = pair.dp.kill();
    device.repair();
    pair.link.down();
    pair.dp = setup.start();
    pair.dp.is_ready();
    assert_eq!((pair.dp.get("/first", &[]).status, pair.dp.get("/second", &[]).status), (200, 404));
    let status = pair.dp.sync_status();
    assert_eq!((&status["version"], &status["store"]["lost"]), (&Value::from(version), &json!(false)), "{status}");
    pair.link.up();
    pair.acknowledged();
    assert_eq!((pair.dp.get("/second", &[]).status, pair.dp.get("/first", &[]).status), (200, 404));
    assert_eq!(pair.dp.sync_status()["store"]["state"], "ok");
}
