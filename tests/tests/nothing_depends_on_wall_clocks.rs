//! Synchronisation depends on no wall clock: none is read where versions are judged, and a control plane and a data plane
//! whose clocks are ten years apart, or jump, get along by deltas, reconciles and full syncs as any others.
//!
//! The clocks are libfaketime's, which leaves alone the clock that only goes forward.

use model::Id;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::lab::{Lab, Setup, program};
use tests::origin::Origin;
use tests::pair::{Pair, acknowledged_by, follower, head, put, row};
use tests::relay::Relay;
use tests::wait;

/// What reads a wall clock, or the time that one gave to a file.
const CLOCKS: &[&str] = &[
    "SystemTime",
    "UNIX_EPOCH",
    "clock_gettime",
    "gettimeofday",
    "chrono",
    "OffsetDateTime",
    "Utc::",
    "Local::now",
    "httpdate",
    ".modified()",
    ".created()",
    ".accessed()",
    "now_v7",
    "now_v1",
];

/// Where none is read.
const PLACES: &[&str] = &["platform/wire/src", "cp-lite/src/changelog", "cp-lite/src/sync", "gateway/src/sync"];

/// But for these, and what for.
const EXCEPTED: &[(&str, &str)] =
    &[("cp-lite/src/sync/listener.rs", "whether a peer's certificate is valid, and the times that rows of nodes show")];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every source file below a directory.
fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("it is there").map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The lines of code, not of comments, that name a clock.
fn clocks(text: &str) -> Vec<&str> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.filter(|line| CLOCKS.iter().any(|clock| line.contains(clock))).collect()
}

#[test]
fn no_wall_clock_is_read_where_versions_are_judged() {
    let mut files = Vec::new();
    PLACES.iter().for_each(|place| sources(&root().join(place), &mut files));
    assert!(files.len() > 60, "only {} files", files.len());
    for file in files {
        let name = file.strip_prefix(root()).unwrap_or(&file).to_string_lossy().into_owned();
        let found = fs::read_to_string(&file).expect("it can be read");
        let found = clocks(&found);
        match EXCEPTED.iter().find(|(excepted, _)| *excepted == name) {
            Some((_, why)) => assert!(!found.is_empty(), "{name} is excepted ({why}) and needs not be"),
            None => assert!(found.is_empty(), "{name} reads a clock: {found:?}"),
        }
    }
    assert_eq!(clocks("    let t = SystemTime::now();\n    // SystemTime\n"), ["    let t = SystemTime::now();"]);
}

/// The library, which Debian keeps in the directory of the architecture.
fn faketime() -> PathBuf {
    let places = fs::read_dir("/usr/lib").expect("it is there").map(Result::unwrap);
    let mut found = places.map(|place| place.path().join("faketime/libfaketime.so.1"));
    found.find(|path| path.exists()).expect("Debian's package faketime is installed")
}

/// Whose wall clock is what the file says.
fn clocked(setup: Setup, file: &Path) -> Setup {
    let env = |setup: Setup, (name, value): (&str, &str)| setup.with_env(name, value);
    let (library, file) = (faketime(), file.to_string_lossy().into_owned());
    [
        ("LD_PRELOAD", &*library.to_string_lossy()),
        ("FAKETIME_TIMESTAMP_FILE", &*file),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("NO_FAKE_STAT", "1"),
    ]
    .into_iter()
    .fold(setup, env)
}

/// How far a program's clock is ahead: what the file has for libfaketime.
fn set(file: &Path, days: u32) {
    let whole = file.with_extension("new");
    fs::write(&whole, format!("+{days}d\n")).expect("a file of ours");
    fs::rename(whole, file).expect("a file of ours");
}

const YEARS: u32 = 3_650;

/// A pair whose clocks are so many days ahead, and the files that say so.
fn pair(cp_ahead: u32, dp_ahead: u32) -> (Pair, [PathBuf; 2]) {
    // Certificates have ends, which are no matter of synchronisation.
    let lab = Lab::lasting(3 * YEARS);
    let files = ["cp.clock", "dp.clock"].map(|name| lab.path().join(name));
    set(&files[0], cp_ahead);
    set(&files[1], dp_ahead);
    let origin = Origin::start("origin");
    let mut cp = clocked(lab.cp("cp"), &files[0]).start();
    let link = Relay::to(cp.address("cluster"));
    let dp = clocked(follower(&lab, "dp", &link), &files[1]).start();
    (Pair { lab, origin, cp, link, dp }, files)
}

fn route(pair: &mut Pair, path: &str) {
    let name = path.trim_start_matches('/');
    pair.route(&json!({ "name": name, "protocol": "http" }), &json!({ "name": name, "paths": [path] }));
}

/// Changes something, and waits until it is served and acknowledged as durable.
fn delta(pair: &mut Pair, path: &str) {
    route(pair, path);
    pair.acknowledged();
    assert_eq!(pair.dp.get(path, &[]).status, 200);
}

fn cp_lite(pair: &Pair, verb: &str) {
    let (file, settings) = (pair.lab.path().join("backup"), pair.lab.path().join("cp.toml"));
    let output = Command::new(program("cp-lite")).arg(verb).arg(file).arg("-c").arg(settings).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A control plane that was restored from a backup: what differs is found out by digests.
fn reconcile(pair: &mut Pair, path: &str) {
    pair.link.down();
    let (cp, _) = pair.cp.stop();
    cp_lite(pair, "backup");
    fs::remove_dir_all(pair.lab.path().join("cp/store")).unwrap();
    cp_lite(pair, "restore");
    pair.cp = cp.start();
    let epoch = pair.cp.admin_ok("GET", "/status", &Value::Null)["configuration"]["epoch"].clone();
    route(pair, path);
    pair.link.up();
    wait::until("the new epoch", || (pair.dp.sync_status()["epoch"] == epoch).then_some(()));
    pair.acknowledged();
    assert_eq!(pair.dp.get(path, &[]).status, 200);
    assert_eq!(pair.dp.log().matches("reconciled").count(), 1, "{}", pair.dp.log());
}

/// A data plane without a store: all of it is sent.
fn full(pair: &mut Pair) {
    let (dp, _) = pair.dp.stop();
    fs::remove_dir_all(dp.dir().join("store")).unwrap();
    pair.dp = dp.start();
    let version = head(&mut pair.cp);
    pair.dp.serves_version(version);
    acknowledged_by(&mut pair.cp, &pair.dp, version);
}

/// All three ways, whatever the clocks.
fn all_ways(pair: &mut Pair) {
    // So many that to send what differs is less than all of them.
    let consumer = |n: usize| {
        put("consumers", json!({ "id": Id(n as u128 + 1).to_string(), "username": format!("consumer-{n}") }))
    };
    pair.apply(&(0..500).map(consumer).collect::<Vec<_>>());
    delta(pair, "/one");
    reconcile(pair, "/two");
    full(pair);
    for path in ["/one", "/two"] {
        assert_eq!(pair.dp.get(path, &[]).status, 200);
    }
    delta(pair, "/three");
}

/// The year that the control plane's row of the node was last changed in, by its own clock.
fn year(pair: &mut Pair) -> i64 {
    let seen = row(&mut pair.cp).and_then(|row| row["last_seen"].as_i64()).expect("a row");
    1970 + seen / 31_556_952
}

#[test]
fn a_control_plane_ten_years_ahead_serves_its_data_plane() {
    let (mut pair, _) = pair(YEARS, 0);
    all_ways(&mut pair);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert!(year(&mut pair) >= 1970 + i64::try_from(now / 31_556_952).unwrap() + 9, "its clock was not ahead");
}

#[test]
fn a_data_plane_ten_years_ahead_follows_its_control_plane() {
    let (mut pair, _) = pair(0, YEARS);
    all_ways(&mut pair);
}

#[test]
fn clocks_that_jump_while_both_run_change_nothing() {
    let (mut pair, [cp, dp]) = pair(YEARS, 0);
    delta(&mut pair, "/one");
    let connections = |pair: &mut Pair| pair.cp.log().matches("node connected").count();
    let before = connections(&mut pair);
    set(&dp, YEARS);
    delta(&mut pair, "/two");
    set(&cp, 0);
    delta(&mut pair, "/three");
    set(&dp, 0);
    set(&cp, 2 * YEARS);
    delta(&mut pair, "/four");
    assert_eq!(connections(&mut pair), before, "no clock ended the connection");
    // A row outlives a clock that is set beyond the purge delay, with what was durable there.
    pair.link.down();
    wait::until("the loss of the connection", || (row(&mut pair.cp)?["connected"] == json!(false)).then_some(()));
    let version = head(&mut pair.cp);
    let (setup, _) = pair.cp.stop();
    set(&cp, 3 * YEARS - 30);
    pair.cp = setup.start();
    assert_eq!(head(&mut pair.cp), version);
    assert_eq!(row(&mut pair.cp).expect("it is not forgotten")["durable_version"], json!(version));
    pair.link.up();
    delta(&mut pair, "/five");
}
