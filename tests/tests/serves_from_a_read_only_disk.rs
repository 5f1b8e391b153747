//! A disk that has gone read-only, as worn flash does, is not damage: a data plane starts from it, serves what it holds,
//! takes changes without making them durable, says so, and makes them durable as soon as it can write again.

use serde_json::json;
use tests::disk::{Disk, is_durable_again};
use tests::lab::Lab;
use tests::pair::{Pair, follower};

#[test]
fn a_read_only_disk_serves_takes_changes_and_costs_durability_only() {
    let mut pair = Pair::start();
    let Some(disk) = Disk::mount(pair.lab.path().join("disk"), 48) else { return };
    let prefix = disk.path().join("state");
    pair.dp = follower(&pair.lab, "worn", &pair.link).with_text("prefix", prefix.display()).start();
    pair.route(&json!({ "name": "echo" }), &json!({ "name": "first", "paths": ["/first"] }));
    let version = pair.acknowledged();
    let node = pair.dp.sync_status();
    let setup = pair.dp.kill();
    disk.remount("ro");

    // Without a control plane: what the disk holds.
    pair.link.down();
    pair.dp = setup.start();
    pair.dp.is_ready();
    assert_eq!(pair.dp.get("/first", &[]).status, 200);
    let status = pair.dp.sync_status();
    assert_eq!((&status["version"], &status["root"]), (&node["version"], &node["root"]));
    assert_eq!(status["durable_version"], version, "what is on the disk is durable");
    assert_eq!(status["store"]["state"], "not durable", "{status}");
    assert!(status["store"]["error"].as_str().is_some_and(|error| error.contains("read-only")), "{status}");
    assert_eq!(status["store"]["lost"], false, "{status}");

    // With one: changes are served and not acknowledged as durable.
    pair.link.up();
    pair.cp.admin_ok("PATCH", "/routes/first", &json!({ "paths": ["/second"] }));
    pair.settle();
    assert_eq!(pair.dp.get("/second", &[]).status, 200);
    assert_eq!(pair.dp.sync_status()["durable_version"], version);

    // A restart goes back to what is durable, and forward again.
    let setup = pair.dp.kill();
    pair.dp = setup.start();
    pair.settle();
    assert_eq!(pair.dp.get("/second", &[]).status, 200);
    let entries = std::fs::read_dir(prefix.join("store")).expect("a store");
    let quarantined = entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("quarantine"));
    assert!(!quarantined, "read-only is not damage");

    disk.remount("rw");
    is_durable_again(&mut pair, "/second");
}

#[test]
fn a_read_only_disk_without_anything_on_it_keeps_nobody_from_serving_what_comes() {
    let mut pair = Pair::start();
    let Some(disk) = Disk::mount(pair.lab.path().join("disk"), 48) else { return };
    let prefix = disk.path().join("state");
    std::fs::create_dir(&prefix).expect("the disk is writable");
    disk.remount("ro");
    pair.dp = follower(&pair.lab, "blank", &pair.link).with_text("prefix", prefix.display()).start();
    pair.route(&json!({ "name": "echo" }), &json!({ "name": "first", "paths": ["/first"] }));
    pair.settle();
    assert_eq!(pair.dp.get("/first", &[]).status, 200);
    let status = pair.dp.sync_status();
    assert_eq!(status["durable_version"], 0);
    assert_eq!(status["store"]["state"], "not durable", "{status}");
    let _ = pair.dp.kill();
}

#[test]
fn a_prefix_that_cannot_be_made_keeps_nobody_from_serving_either() {
    let mut pair = Pair::start();
    let Some(disk) = Disk::mount(pair.lab.path().join("disk"), 48) else { return };
    disk.remount("ro");
    let prefix = disk.path().join("deep/state");
    pair.dp = follower(&pair.lab, "nowhere", &pair.link).with_text("prefix", prefix.display()).start();
    pair.route(&json!({ "name": "echo" }), &json!({ "name": "first", "paths": ["/first"] }));
    pair.settle();
    assert_eq!(pair.dp.get("/first", &[]).status, 200);

    disk.remount("rw");
    is_durable_again(&mut pair, "/first");
}

#[test]
fn a_declarative_file_is_served_from_a_read_only_disk() {
    let lab = Lab::new();
    let Some(disk) = Disk::mount(lab.path().join("disk"), 48) else { return };
    let file = disk.path().join("kong.json");
    let plugin = json!({ "name": "request-termination", "config": { "status_code": 200, "message": "from a file" } });
    let route = json!({ "name": "only", "paths": ["/only"], "plugins": [plugin] });
    std::fs::write(&file, json!({ "_format_version": "3.0", "routes": [route] }).to_string()).expect("a file");
    std::fs::create_dir(disk.path().join("state")).expect("the disk is writable");
    disk.remount("ro");
    let setup = lab.dp("alone").with_text("declarative_config", file.display());
    let mut dp = setup.with_text("prefix", disk.path().join("state").display()).start();
    dp.is_ready();
    assert_eq!(dp.get("/only", &[]).status, 200);
    let _ = dp.kill();
}
