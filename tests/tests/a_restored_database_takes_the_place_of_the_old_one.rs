//! A control plane that is restored from a backup takes the place of the one that was backed up, for everybody and for
//! good: also for a node that meets a follower which has not heard of it yet. It takes the place of nobody who was promoted
//! since.

use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use tests::lab::{Daemon, Lab, Setup, program};
use tests::pair::{apply, put};
use tests::planes::{following, has, node, own, promote, serves};
use tests::relay::Relay;
use tests::wait;

/// A route; returns its version.
fn change(cp: &mut Daemon, name: &str) -> u64 {
    apply(cp, &[put("routes", json!({ "name": name, "paths": [format!("/{name}")] }))])
}

fn backup(cp: &mut Daemon, file: &Path) {
    let admin = format!("http://{}", cp.address("admin"));
    let made = Command::new(program("cp-lite")).arg("backup").arg(file).args(["--admin-url", &admin]).output();
    let made = made.expect("cp-lite is built");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// Restores with the settings of a control plane that is stopped.
fn restore(cp: &Setup, file: &Path) -> Output {
    let settings = cp.write();
    let restored = Command::new(program("cp-lite")).arg("restore").arg(file).arg("-c").arg(settings).output();
    restored.expect("cp-lite is built")
}

/// The machine of a control plane is lost, and comes back from a backup.
fn lost_and_restored(mut cp: Daemon, file: &Path) -> Daemon {
    let setup = cp.kill();
    fs::remove_dir_all(setup.dir().join("store")).expect("it is ours");
    let restored = restore(&setup, file);
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    setup.start()
}

/// Waits until a control plane has refused somebody because another one has taken its place.
fn is_replaced(cp: &mut Daemon) {
    wait::until("the control plane to hear of its successor", || (own(cp)["replaced"] == true).then_some(()));
}

#[test]
fn a_node_of_a_restored_database_is_not_taken_back_by_a_follower_that_has_not_heard_of_it() {
    let lab = Lab::new();
    let file = lab.path().join("backup");
    let mut writer = lab.cp("writer").start();
    let link = Relay::to(writer.address("cluster"));
    let mut follower = following(&lab, "follower", &[link.address()]).start();
    let old_epoch = own(&mut writer)["epoch"].clone();
    change(&mut writer, "kept");
    backup(&mut writer, &file);
    let version = change(&mut writer, "lost");
    has(&mut follower, &old_epoch, version);

    link.down();
    let mut writer = lost_and_restored(writer, &file);
    let restored = own(&mut writer);
    assert_eq!((&restored["role"], &restored["term"]), (&json!("writer"), &json!(1)));
    assert_ne!(restored["epoch"], old_epoch);
    change(&mut writer, "one");
    change(&mut writer, "two");
    let version = change(&mut writer, "three");
    let mut dp = node(&lab, "dp", &[writer.address("cluster")]).start();
    serves(&mut dp, &restored["epoch"], version);

    // The follower has another content, and for all it knows the latest; the node knows better.
    let (setup, _) = dp.stop();
    let mut dp = setup.with_text("cluster_control_plane", follower.address("cluster")).start();
    is_replaced(&mut follower);
    let status = dp.sync_status();
    assert_eq!((&status["epoch"], status["version"].as_u64()), (&restored["epoch"], Some(version)));

    // Once it has heard of it, it follows, and serves the node with what is new.
    link.up();
    let version = change(&mut writer, "four");
    has(&mut follower, &restored["epoch"], version);
    assert_eq!(follower.admin("GET", "/routes/lost", &Value::Null).status, 404);
    assert_eq!(own(&mut follower)["replaced"], false);
    serves(&mut dp, &restored["epoch"], version);

    // A backup of what was restored, restored, comes after it in turn.
    backup(&mut writer, &file);
    let mut writer = lost_and_restored(writer, &file);
    let again = own(&mut writer)["epoch"].clone();
    assert_ne!(again, restored["epoch"]);
    let version = change(&mut writer, "five");
    has(&mut follower, &again, version);
    serves(&mut dp, &again, version);
}

#[test]
fn a_backup_from_before_a_promotion_does_not_take_the_place_of_whoever_was_promoted() {
    let lab = Lab::new();
    let file = lab.path().join("backup");
    let mut writer = lab.cp("writer").start();
    let mut follower = following(&lab, "follower", &[writer.address("cluster")]).start();
    let version = change(&mut writer, "early");
    has(&mut follower, &own(&mut writer)["epoch"].clone(), version);
    backup(&mut writer, &file);
    let setup = writer.kill();
    wait::until("the writer to be missed", || (own(&mut follower)["writer"]["connected"] == false).then_some(()));
    assert!(promote(&mut follower, &[]).status.success());
    let promoted = own(&mut follower)["epoch"].clone();
    let version = change(&mut follower, "late");
    let mut dp = node(&lab, "dp", &[follower.address("cluster")]).start();
    serves(&mut dp, &promoted, version);

    // What follows a writer is not made one by a backup.
    let refused = setup.with_text("cluster_control_plane", follower.address("cluster"));
    fs::remove_dir_all(refused.dir().join("store")).expect("it is ours");
    let output = restore(&refused, &file);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("as the writer"), "{output:?}");

    // The old writer's machine comes back as it was backed up: the node stays where it is, until somebody says otherwise.
    let setup = refused.with_text("cluster_control_plane", "");
    let output = restore(&setup, &file);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut old = setup.start();
    let (setup, _) = dp.stop();
    let mut dp = setup.with_text("cluster_control_plane", old.address("cluster")).start();
    is_replaced(&mut old);
    assert_eq!(dp.sync_status()["epoch"], promoted);
    assert!(promote(&mut old, &[]).status.success());
    let anew = own(&mut old)["epoch"].clone();
    let version = change(&mut old, "anew");
    serves(&mut dp, &anew, version);
}
