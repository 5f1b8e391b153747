//! A data plane without a control plane to ask is given its configuration as a file: from the control plane, from another
//! data plane, in its image. What is not signed by the cluster, not whole or not newer takes nothing from it; and when the
//! control plane is back, it goes on from there without a full sync.

use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use tests::generate::{Config, Shape};
use tests::lab::{Daemon, Lab, Setup};
use tests::pair::{self, Pair, follower};
use tests::terminal::{Told, ask, on, run};
use tests::wait;

/// `edge-gateway store …` on the settings of a data plane.
fn store(setup: &Setup, arguments: &[&str]) -> Told {
    on(setup, ["store"].iter().chain(arguments))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// `cp-lite config export`
fn export(lab: &Lab, cp: &mut Daemon, name: &str) -> PathBuf {
    let file = lab.path().join(name);
    let told = ask(cp, ["config", "export", text(&file)]).well();
    assert!(told.contains("signed with the cluster key"), "{told}");
    file
}

/// A pair that serves `/one`, and a bundle of that.
fn pair_with_bundle() -> (Pair, PathBuf) {
    let mut pair = Pair::start();
    pair.route(&json!({ "name": "echo" }), &json!({ "name": "route", "paths": ["/one"] }));
    pair.acknowledged();
    let file = export(&pair.lab, &mut pair.cp, "one.bundle");
    (pair, file)
}

/// A data plane that serves this path, offline.
fn serves_offline(setup: Setup, path: &str) -> Setup {
    let mut dp = setup.start();
    dp.is_ready();
    assert_eq!(dp.get(path, &[]).status, 200);
    assert_eq!(dp.sync_status()["source"], "control_plane");
    dp.kill()
}

#[test]
fn a_new_data_plane_takes_a_bundle_and_the_control_plane_goes_on_from_there() {
    let (mut pair, file) = pair_with_bundle();
    let new = follower(&pair.lab, "new", &pair.link);
    pair.link.down();
    let told = store(&new, &["import", text(&file)]).well();
    assert!(told.contains("proves that a member of the cluster made it, and no more"), "{told}");
    assert!(told.contains("a control plane made it (cp-lite"), "{told}");
    let new = serves_offline(new, "/one");

    pair.cp.admin_ok("PATCH", "/routes/route", &json!({ "paths": ["/one", "/two"] }));
    let _first = pair.dp.kill();
    let (_, before) = pair.link.bytes();
    pair.link.up();
    let mut new = new.start();
    new.serves_version(pair::head(&mut pair.cp));
    assert_eq!(new.get("/two", &[]).status, 200);
    let welcomed = "mode=\"tail\"";
    assert!(new.log().contains(welcomed) && !new.log().contains("full sync"), "{}", new.log());
    let (_, after) = pair.link.bytes();
    assert!(after - before < 3_000, "{} bytes for a handshake and one change", after - before);
}

#[test]
fn what_a_data_plane_holds_serves_another_one_and_nothing_has_to_be_sent() {
    let mut pair = Pair::start();
    let config = Config { shape: Shape::of(300), seed: 7, origin: pair.origin.address() };
    pair::load(&pair.lab, &mut pair.cp, &config.declarative());
    pair.route(&json!({ "name": "echo" }), &json!({ "name": "route", "paths": ["/one"] }));
    pair.acknowledged();
    let file = pair.lab.path().join("dp.bundle");
    let running = pair.dp.resettled();
    store(&running, &["export", text(&file)]).is_refused(69, "stop the gateway first");
    assert!(!file.exists());
    let (first, _) = pair.dp.stop();
    let told = store(&first, &["export", text(&file)]).well();
    assert!(told.contains("signed with the cluster key"), "{told}");

    let new = follower(&pair.lab, "new", &pair.link);
    let told = store(&new, &["import", text(&file)]).well();
    assert!(told.contains("a data plane made it (edge-gateway"), "{told}");
    let (_, before) = pair.link.bytes();
    let mut new = new.start();
    new.is_ready();
    assert_eq!(new.get("/one", &[]).status, 200);
    new.logs("mode=\"same\"");
    let (_, after) = pair.link.bytes();
    assert!(after - before < 3_000, "{} bytes for a handshake", after - before);
    assert!(store(&new.kill(), &["import", text(&file)]).well().contains("holds just that already"));
}

#[test]
fn an_older_bundle_or_one_of_another_epoch_needs_insistence() {
    let (mut pair, one) = pair_with_bundle();
    pair.cp.admin_ok("PATCH", "/routes/route", &json!({ "paths": ["/two"] }));
    pair.acknowledged();
    let two = export(&pair.lab, &mut pair.cp, "two.bundle");
    pair.link.down();
    let (dp, _) = pair.dp.stop();
    store(&dp, &["import", text(&one)]).is_refused(1, "it is older");
    let dp = serves_offline(dp, "/two");
    store(&dp, &["import", text(&one), "--allow-rollback"]).well();
    let dp = serves_offline(dp, "/one");
    store(&dp, &["import", text(&two)]).well();
    let dp = serves_offline(dp, "/two");

    // The same cluster, another database.
    let mut other = pair.lab.cp("other").start();
    let body = json!({ "put": { "kind": "consumers", "entity": { "username": "ann" } } });
    pair::apply(&mut other, &[body]);
    let foreign = export(&pair.lab, &mut other, "other.bundle");
    store(&dp, &["import", text(&foreign)]).is_refused(1, "another epoch");
    serves_offline(dp, "/two");
}

#[test]
fn what_is_damaged_foreign_or_nothing_of_ours_takes_nothing() {
    let (mut pair, good) = pair_with_bundle();
    pair.link.down();
    let (dp, _) = pair.dp.stop();
    let bytes = fs::read(&good).unwrap();
    let bad = pair.lab.path().join("bad.bundle");
    let import = |bytes: &[u8]| {
        fs::write(&bad, bytes).unwrap();
        store(&dp, &["import", text(&bad), "--allow-rollback"])
    };
    import(&bytes[..bytes.len() - 1]).is_refused(1, "its length");
    import(&[bytes.as_slice(), b"x"].concat()).is_refused(1, "its length");
    import(&bytes[..100]).is_refused(1, "its length");
    import(b"").is_refused(1, "not a snapshot bundle");
    import(b"_format_version: '3.0'").is_refused(1, "not a snapshot bundle");
    let flipped = |at: usize| {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        bytes
    };
    import(&flipped(bytes.len() - 5)).is_refused(1, "not what was signed");
    import(&flipped(44)).is_refused(1, "signature does not count");
    let mut huge = bytes.clone();
    huge[20..24].copy_from_slice(&u32::MAX.to_le_bytes());
    import(&huge).is_refused(1, "impossible lengths");
    let mut newer = bytes.clone();
    newer[8] = 2;
    import(&newer).is_refused(1, "format 2");
    store(&dp, &["import", "/nowhere/x.bundle"]).is_refused(74, "No such file");
    store(&dp, &["import"]).is_refused(64, "FILE");

    // A whole bundle of somebody else.
    pair.lab.gen_cert("theirs");
    let path = |end: &str| pair.lab.path().join(format!("theirs.{end}")).display().to_string();
    let theirs =
        pair.lab.cp("theirs").with_text("cluster_cert", path("crt")).with_text("cluster_cert_key", path("key"));
    let mut theirs = theirs.start();
    pair::apply(&mut theirs, &[pair::put("consumers", json!({ "username": "eve" }))]);
    let foreign = export(&pair.lab, &mut theirs, "theirs.bundle");
    store(&dp, &["import", text(&foreign), "--allow-rollback"]).is_refused(1, "not the cluster certificate");
    store(&dp.clone().without("cluster_cert"), &["import", text(&good)]).is_refused(78, "cluster_cert");
    serves_offline(dp, "/one");
}

#[test]
fn a_bundle_in_the_image_is_the_beginning_and_never_more() {
    let (mut pair, file) = pair_with_bundle();
    pair.link.down();
    let image = |name: &str| follower(&pair.lab, name, &pair.link).with_text("snapshot_bundle", file.display());
    let new = serves_offline(image("new"), "/one");
    let new = serves_offline(new, "/one");

    // What came over the network since is not gone back from.
    pair.cp.admin_ok("PATCH", "/routes/route", &json!({ "paths": ["/two"] }));
    pair.link.up();
    let mut new = new.start();
    new.serves_version(pair::head(&mut pair.cp));
    wait::until("the change to be durable", || {
        let status = new.sync_status();
        (status["durable_version"] == status["version"]).then_some(())
    });
    pair.link.down();
    serves_offline(new.kill(), "/two");

    // A bad one keeps nobody from starting.
    fs::write(&file, b"rotten").unwrap();
    let mut dp = image("rotten").start();
    dp.logs("not a snapshot bundle");
    pair.link.up();
    // What is made for all may be of a version before: the step after it follows.
    dp.serves_version(pair::head(&mut pair.cp));
    assert_eq!(dp.get("/two", &[]).status, 200);
}

#[test]
fn by_hand_it_is_changed_as_the_manual_says_by_wiping_the_store_and_naming_a_file() {
    let (mut pair, _) = pair_with_bundle();
    pair.link.down();
    let (dp, _) = pair.dp.stop();
    let file = pair.lab.path().join("by-hand.yaml");
    let yaml = "_format_version: '3.0'\nservices:\n- name: s\n  url: http://127.0.0.1:1\n  routes:\n  - {name: r, paths: [/hand]}\n  \
                plugins:\n  - name: request-termination\n    config: {status_code: 200, message: by hand}\n";
    fs::write(&file, yaml).unwrap();
    let dp = dp.with_text("declarative_config", file.display());
    // Not before the store is wiped: what a control plane sent stays.
    let dp = serves_offline(dp, "/one");
    assert!(store(&dp, &["wipe"]).well().contains("is empty"));
    let mut dp = dp.start();
    dp.is_ready();
    assert_eq!(dp.get("/hand", &[]).json()["message"], "by hand");
    assert_eq!(dp.get("/one", &[]).status, 404);
    assert_eq!(dp.sync_status()["source"], "declarative_config");
    let (dp, _) = dp.stop();
    store(&dp, &["export", text(&pair.lab.path().join("x"))]).is_refused(1, "copy that file instead");

    // When the control plane is back, its word counts again.
    pair.link.up();
    let mut dp = dp.start();
    dp.serves_version(pair::head(&mut pair.cp));
    wait::until("the control plane's configuration", || (dp.get("/one", &[]).status == 200).then_some(()));
    assert_eq!(dp.sync_status()["source"], Value::from("control_plane"));
}

#[test]
fn the_store_is_looked_at_and_verified_by_hand() {
    let (mut pair, _) = pair_with_bundle();
    let running = pair.dp.resettled();
    for verb in ["info", "verify", "wipe"] {
        store(&running, &[verb]).is_refused(69, "stop the gateway first");
    }
    let (dp, _) = pair.dp.stop();
    let info = store(&dp, &["info"]).well();
    assert!(info.contains("2 entities, from a control plane"), "{info}");
    assert!(store(&dp, &["verify"]).well().starts_with("good: version "));
    // One bit of one record.
    let db = dp.dir().join("store");
    let journal = ["j0", "j1"].map(|name| find(&db, name));
    let [Some(path), _] = journal else { panic!("no journal below {}", db.display()) };
    let mut bytes = fs::read(&path).unwrap();
    for at in [0, 4096] {
        bytes[at + 20] ^= 1;
    }
    fs::write(&path, bytes).unwrap();
    store(&dp, &["verify"]).is_refused(74, "corrupt store");
    let help = run("edge-gateway", ["store", "--help"]).well();
    for verb in ["info", "verify", "export", "import", "wipe"] {
        assert!(help.contains(&format!("store {verb}")), "{help}");
    }
}

fn find(dir: &Path, name: &str) -> Option<PathBuf> {
    fs::read_dir(dir).ok()?.flatten().find_map(|entry| {
        let path = entry.path();
        if path.is_dir() { find(&path, name) } else { path.ends_with(name).then_some(path) }
    })
}
