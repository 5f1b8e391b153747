//! A backup of a control plane becomes a control plane again, of a new epoch, and its data planes follow that one.

use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use tests::lab::program;
use tests::pair::Pair;
use tests::wait;

fn cp_lite(pair: &Pair, verb: &str, file: &Path) -> Output {
    let settings = pair.lab.path().join("cp.toml");
    Command::new(program("cp-lite")).arg(verb).arg(file).arg("-c").arg(settings).output().unwrap()
}

fn said(output: &Output) -> String {
    [output.stdout.as_slice(), &output.stderr].concat().iter().copied().map(char::from).collect()
}

#[test]
fn a_restored_control_plane_begins_a_new_epoch_that_its_data_planes_follow() {
    let mut pair = Pair::start();
    pair.route(&json!({ "name": "echo" }), &json!({ "name": "kept", "paths": ["/kept"] }));
    pair.acknowledged();
    let epoch = pair.dp.sync_status()["epoch"].clone();
    let file = pair.lab.path().join("backup");
    let running = cp_lite(&pair, "backup", &file);
    assert_eq!(running.status.code(), Some(69), "{}", said(&running));
    assert!(!file.exists());

    let (cp, _) = pair.cp.stop();
    let made = cp_lite(&pair, "backup", &file);
    assert!(made.status.success() && said(&made).contains("2 entities"), "{}", said(&made));
    let refused = cp_lite(&pair, "restore", &file);
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));

    // The database goes on a while after the backup, and is lost.
    pair.cp = cp.start();
    pair.cp.admin_ok("PATCH", "/routes/kept", &json!({ "paths": ["/lost"] }));
    pair.settle();
    let (cp, _) = pair.cp.stop();
    fs::remove_dir_all(pair.lab.path().join("cp/store")).unwrap();
    let restored = cp_lite(&pair, "restore", &file);
    assert!(restored.status.success(), "{}", said(&restored));
    pair.cp = cp.start();
    let list = pair.cp.admin_ok("GET", "/routes", &Value::Null);
    assert_eq!(list["data"][0]["paths"], json!(["/kept"]));
    wait::until("the new epoch", || (pair.dp.sync_status()["epoch"] != epoch).then_some(()));
    pair.settle();
    assert_eq!((pair.dp.get("/kept", &[]).status, pair.dp.get("/lost", &[]).status), (200, 404));
}
