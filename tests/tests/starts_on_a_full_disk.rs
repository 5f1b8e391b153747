//! A start on a full disk: what the store holds is served; without one, what a file or the control plane has; it is said
//! what is not durable; and once there is room the store is opened without a restart.

use serde_json::{Value, json};
use std::path::Path;
use tests::disk::{Disk, is_durable_again};
use tests::lab::{Lab, Setup};
use tests::pair::{Pair, follower};
use tests::wait;

fn on(setup: Setup, prefix: &Path) -> Setup {
    setup.with_text("prefix", prefix.display())
}

fn is_not_durable(status: &Value) {
    assert_eq!(status["store"]["state"], "not durable", "{status}");
    assert!(status["store"]["error"].as_str().is_some_and(|error| error.contains("space")), "{status}");
}

/// A file that a data plane can serve without an upstream.
fn declarative(lab: &Lab) -> String {
    let file = lab.path().join("kong.json");
    let plugin = json!({ "name": "request-termination", "config": { "status_code": 200, "message": "from a file" } });
    let route = json!({ "name": "only", "paths": ["/only"], "plugins": [plugin] });
    std::fs::write(&file, json!({ "_format_version": "3.0", "routes": [route] }).to_string()).expect("a file");
    file.display().to_string()
}

#[test]
fn without_a_store_the_control_planes_configuration_is_served_and_kept_once_there_is_room() {
    let mut pair = Pair::start();
    let Some(disk) = Disk::mount(pair.lab.path().join("disk"), 24) else { return };
    pair.route(&json!({ "name": "echo" }), &json!({ "name": "first", "paths": ["/first"] }));
    disk.fill();
    pair.dp = on(follower(&pair.lab, "blank", &pair.link), &disk.path().join("state")).start();
    pair.settle();
    assert_eq!(pair.dp.get("/first", &[]).status, 200);
    let status = pair.dp.sync_status();
    is_not_durable(&status);
    assert_eq!(status["last_good"], json!({ "epoch": "0000000000000000", "version": 0 }), "{status}");
    pair.dp.logs("make room on that file system");
    pair.cp.admin_ok("PATCH", "/routes/first", &json!({ "paths": ["/second"] }));
    pair.settle();
    assert_eq!(pair.dp.get("/second", &[]).status, 200, "changes are taken");

    disk.free();
    is_durable_again(&mut pair, "/second");
}

#[test]
fn without_a_store_a_declarative_file_is_served() {
    let lab = Lab::new();
    let Some(disk) = Disk::mount(lab.path().join("disk"), 24) else { return };
    disk.fill();
    let setup = lab.dp("alone").with_text("declarative_config", declarative(&lab));
    let mut dp = on(setup, &disk.path().join("state")).start();
    dp.is_ready();
    assert_eq!(dp.get("/only", &[]).status, 200);
    is_not_durable(&dp.sync_status());
    let _ = dp.kill();
}

#[test]
fn a_good_store_serves_what_it_held_and_takes_changes() {
    let mut pair = Pair::start();
    let Some(disk) = Disk::mount(pair.lab.path().join("disk"), 24) else { return };
    let prefix = disk.path().join("state");
    pair.dp = on(follower(&pair.lab, "small", &pair.link), &prefix).start();
    pair.route(&json!({ "name": "echo" }), &json!({ "name": "first", "paths": ["/first"] }));
    let version = pair.acknowledged();
    let setup = pair.dp.kill();
    disk.fill();
    pair.link.down();
    pair.dp = setup.start();
    pair.dp.is_ready();
    assert_eq!(pair.dp.get("/first", &[]).status, 200);
    let status = pair.dp.sync_status();
    assert_eq!(status["last_good"]["version"], version, "{status}");
    assert_eq!(status["last_good"]["epoch"], status["epoch"], "{status}");

    pair.link.up();
    pair.cp.admin_ok("PATCH", "/routes/first", &json!({ "paths": ["/second"] }));
    pair.settle();
    assert_eq!(pair.dp.get("/second", &[]).status, 200);
    disk.free();
    is_durable_again(&mut pair, "/second");
}

#[test]
fn a_store_that_cannot_be_opened_at_the_start_serves_what_it_holds_once_it_can() {
    let mut pair = Pair::start();
    let Some(disk) = Disk::mount(pair.lab.path().join("disk"), 24) else { return };
    let prefix = disk.path().join("state");
    pair.dp = on(follower(&pair.lab, "small", &pair.link), &prefix).start();
    pair.route(&json!({ "name": "echo" }), &json!({ "name": "first", "paths": ["/first"] }));
    let version = pair.acknowledged();
    let (setup, _) = pair.dp.stop();
    pair.link.down();
    // A store that is not whole without room: sled needs some, and neither the archive nor the reserve is there.
    let generation = generation(&prefix.join("store"));
    for entry in std::fs::read_dir(&generation).expect("a generation").map(Result::unwrap) {
        if entry.file_name().to_string_lossy().starts_with("run-") {
            std::fs::remove_file(entry.path()).expect("it is ours");
        }
    }
    std::fs::remove_file(prefix.join("store/reserve")).expect("it is ours");
    disk.fill();
    pair.dp = setup.start();
    wait::until("the trouble", || {
        let status = pair.dp.sync_status();
        (status["store"]["state"] == "not durable").then_some(())
    });
    assert_eq!(pair.dp.sync_status()["version"], 0);

    disk.free();
    pair.dp.is_ready();
    assert_eq!(pair.dp.get("/first", &[]).status, 200);
    let status = pair.dp.sync_status();
    assert_eq!((&status["version"], &status["last_good"]["version"]), (&json!(version), &json!(version)), "{status}");
    wait::until("nothing to be wrong any more", || (pair.dp.sync_status()["store"]["state"] == "ok").then_some(()));
}

#[test]
fn a_damaged_store_that_cannot_be_made_good_keeps_nobody_from_serving_and_is_made_good_once_there_is_room() {
    let mut pair = Pair::start();
    let Some(disk) = Disk::mount(pair.lab.path().join("disk"), 24) else { return };
    let prefix = disk.path().join("state");
    pair.dp = on(follower(&pair.lab, "small", &pair.link), &prefix).start();
    pair.route(&json!({ "name": "echo" }), &json!({ "name": "first", "paths": ["/first"] }));
    pair.acknowledged();
    let (setup, _) = pair.dp.stop();
    let generation = generation(&prefix.join("store"));
    for name in ["j0", "j1", "provisioned"] {
        std::fs::write(generation.join(name), "garbage").expect("it is ours");
    }
    disk.fill();
    pair.dp = setup.start();
    pair.settle();
    assert_eq!(pair.dp.get("/first", &[]).status, 200);
    is_not_durable(&pair.dp.sync_status());

    // What can be saved of it is only now.
    disk.free();
    wait::until("the damage to be reported", || {
        let status = pair.dp.sync_status();
        (status["store"]["damage"].is_string() && status["store"]["lost"] == true).then_some(())
    });
    is_durable_again(&mut pair, "/first");
}

fn generation(store: &Path) -> std::path::PathBuf {
    let entries = std::fs::read_dir(store).expect("a store").map(|entry| entry.unwrap().path());
    let mut found = entries.filter(|path| path.is_dir() && path.to_string_lossy().contains("gen-"));
    found.next().expect("a generation")
}
