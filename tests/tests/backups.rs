//! A backup of a control plane becomes a control plane again, of a new epoch, and its data planes follow that one.

use serde_json::{Value, json};
use std::ffi::OsStr;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use tests::http;
use tests::pair::{self, Pair};
use tests::terminal::{Told, on, run};
use tests::wait;

/// `cp-lite backup` or `restore` with the settings of the control plane.
fn cp_lite(pair: &Pair, verb: &str, file: &Path) -> Told {
    run("cp-lite", [OsStr::new(verb), file.as_os_str(), "-c".as_ref(), pair.lab.path().join("cp.toml").as_os_str()])
}

#[test]
fn a_restored_control_plane_begins_a_new_epoch_that_its_data_planes_follow() {
    let mut pair = Pair::start();
    pair.route(&json!({ "name": "echo" }), &json!({ "name": "kept", "paths": ["/kept"] }));
    pair.acknowledged();
    let epoch = pair.dp.sync_status()["epoch"].clone();
    let file = pair.lab.path().join("backup");
    let (cp, _) = pair.cp.stop();
    let made = cp_lite(&pair, "backup", &file);
    assert!(made.code == Some(0) && made.said.contains("2 entities"), "{}", made.said);
    let refused = cp_lite(&pair, "restore", &file);
    assert_eq!(refused.code, Some(1), "{}", refused.said);

    // The database goes on a while after the backup, and is lost.
    pair.cp = cp.start();
    pair.cp.admin_ok("PATCH", "/routes/kept", &json!({ "paths": ["/lost"] }));
    pair.settle();
    let (cp, _) = pair.cp.stop();
    fs::remove_dir_all(pair.lab.path().join("cp/store")).unwrap();
    let restored = cp_lite(&pair, "restore", &file);
    assert_eq!(restored.code, Some(0), "{}", restored.said);
    pair.cp = cp.start();
    let list = pair.cp.admin_ok("GET", "/routes", &Value::Null);
    assert_eq!(list["data"][0]["paths"], json!(["/kept"]));
    wait::until("the new epoch", || (pair.dp.sync_status()["epoch"] != epoch).then_some(()));
    pair.settle();
    assert_eq!((pair.dp.get("/kept", &[]).status, pair.dp.get("/lost", &[]).status), (200, 404));
}

/// Changes two consumers in each transaction, so that a backup of half of one shows.
fn keeps_writing(admin: SocketAddr, stop: &AtomicBool) -> u64 {
    let mut version = 0;
    for round in 1_u64.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let put =
            |name: &str| pair::put("consumers", json!({ "username": name, "custom_id": format!("{name}-{round}") }));
        let body = json!({ "changes": [put("left"), put("right")] }).to_string();
        let answer =
            http::request(admin, "POST", "/config/apply", &[("content-type", "application/json")], body.as_bytes());
        let answer = answer.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        version = answer.json()["version"].as_u64().unwrap();
    }
    version
}

#[test]
fn a_running_control_plane_is_backed_up_as_it_was_at_one_version_while_changes_go_on() {
    let mut pair = Pair::start();
    let config =
        tests::generate::Config { shape: tests::generate::Shape::of(1_000), seed: 3, origin: pair.origin.address() };
    pair::load(&pair.lab, &mut pair.cp, &config.declarative());
    let (admin, stop) = (pair.cp.address("admin"), AtomicBool::new(false));
    // The settings as they are: with the port that the system chose.
    let _settings = pair.cp.resettled().write();
    let files: Vec<_> = (0..5).map(|n| pair.lab.path().join(format!("backup-{n}"))).collect();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| keeps_writing(admin, &stop));
        let head = || http::get(admin, "/status", &[]).unwrap().json()["configuration"]["version"].as_u64().unwrap();
        for file in &files {
            let before = head();
            let made = cp_lite(&pair, "backup", file);
            assert_eq!(made.code, Some(0), "{}", made.said);
            wait::until("changes to go on", || (head() > before).then_some(()));
        }
        stop.store(true, Ordering::Relaxed);
        assert!(writer.join().unwrap() > files.len() as u64);
    });
    let mut rounds = Vec::new();
    for (number, file) in files.iter().enumerate() {
        let cp = pair.lab.cp(&format!("restored-{number}"));
        let _ = on(&cp, [OsStr::new("restore"), file.as_os_str()]).well();
        let mut cp = cp.start();
        let round = |cp: &mut tests::lab::Daemon, name: &str| {
            let consumer = cp.admin_ok("GET", &format!("/consumers/{name}"), &Value::Null);
            consumer["custom_id"].as_str().unwrap().rsplit_once('-').unwrap().1.parse::<u64>().unwrap()
        };
        let (left, right) = (round(&mut cp, "left"), round(&mut cp, "right"));
        assert_eq!(left, right, "a backup of half a transaction");
        rounds.push(left);
    }
    assert!(rounds.is_sorted(), "{rounds:?}");
}

#[test]
fn a_backup_that_cannot_be_fetched_or_written_leaves_nothing() {
    let pair = Pair::start();
    let file = pair.lab.path().join("backup");
    let backup = |url: &str, file: &Path| {
        run("cp-lite", [OsStr::new("backup"), file.as_os_str(), "--admin-url".as_ref(), url.as_ref()])
    };
    let nobody = backup("http://127.0.0.1:1", &file);
    assert_eq!(nobody.code, Some(69), "{}", nobody.said);
    assert!(!file.exists());
    assert_eq!(backup("http://127.0.0.1:1", Path::new("/nowhere/backup")).code, Some(74));
}
