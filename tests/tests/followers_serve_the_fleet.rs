//! Several control planes: one writes, others follow it and serve data planes as it does; when it is gone nothing stops,
//! and one of them takes its place for good.

use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;
use tests::lab::{Daemon, Lab};
use tests::pair::{apply, put};
use tests::planes::{following, has, list, node, own, promote, serves};
use tests::relay::Relay;
use tests::terminal::ask;
use tests::wait;

/// A route that answers by itself.
fn route(cp: &mut Daemon, name: &str) -> u64 {
    let changes = json!([
        { "put": { "kind": "routes", "entity": { "name": name, "paths": [format!("/{name}")] } } },
        { "put": { "kind": "plugins", "entity": {
            "name": "request-termination",
            "route": { "name": name },
            "config": { "status_code": 200, "message": name },
        } } },
    ]);
    let route = cp.admin_ok("POST", "/config/apply", &json!({ "changes": [changes[0]] }));
    let plugin = cp.admin_ok("POST", "/config/apply", &json!({ "changes": [changes[1]] }));
    plugin["version"].as_u64().or(route["version"].as_u64()).expect("a version")
}

/// What a data plane answers on a route of [`route`].
fn answer(dp: &mut Daemon, name: &str) -> Value {
    dp.get(&format!("/{name}"), &[]).json()["message"].clone()
}

/// How the last step came to a follower.
fn mode(follower: &mut Daemon) -> Value {
    own(follower)["writer"]["mode"].clone()
}

struct Cluster {
    lab: Lab,
    writer: Daemon,
    follower: Daemon,
    /// Of the two.
    addresses: [SocketAddr; 2],
}

impl Cluster {
    fn start() -> Self {
        let lab = Lab::new();
        let mut writer = lab.cp("writer").start();
        let address = writer.address("cluster");
        let mut follower = following(&lab, "follower", &[address]).start();
        let addresses = [address, follower.address("cluster")];
        Self { lab, writer, follower, addresses }
    }

    /// A change that both have; returns its epoch and version.
    fn change(&mut self, name: &str) -> (Value, u64) {
        let version = route(&mut self.writer, name);
        let epoch = own(&mut self.writer)["epoch"].clone();
        has(&mut self.follower, &epoch, version);
        (epoch, version)
    }
}

#[test]
fn a_follower_serves_the_same_epoch_and_version_as_its_writer_and_refuses_writes() {
    let mut cluster = Cluster::start();
    cluster.change("early");
    let mut above = node(&cluster.lab, "above", &cluster.addresses[..1]).start();
    let mut below = node(&cluster.lab, "below", &cluster.addresses[1..]).start();
    for name in ["one", "two", "three"] {
        let (epoch, version) = cluster.change(name);
        for dp in [&mut above, &mut below] {
            serves(dp, &epoch, version);
            assert_eq!(answer(dp, name), name);
        }
    }
    assert!(above.sync_status()["root"].is_string());
    assert_eq!(above.sync_status()["root"], below.sync_status()["root"]);
    assert_eq!(below.sync_status()["mode"], "tail", "what changed travels alone, also through a follower");
    cluster.writer.admin_ok("DELETE", "/routes/one", &Value::Null);
    wait::until("the deletion on the far side", || (below.get("/one", &[]).status == 404).then_some(()));

    let refused = cluster.follower.admin("POST", "/services", &json!({ "host": "h" }));
    assert_eq!(refused.status, 405);
    assert!(refused.text().contains(&cluster.addresses[0].to_string()), "{}", refused.text());
    assert_eq!(cluster.follower.admin_ok("GET", "/routes", &Value::Null)["data"].as_array().unwrap().len(), 3);
    let planes = cluster.writer.admin_ok("GET", "/clustering/control-planes", &Value::Null);
    assert_eq!((&planes["data"][0]["role"], &planes["data"][1]["role"]), (&json!("writer"), &json!("follower")));
    let nodes = cluster.writer.admin_ok("GET", "/clustering/data-planes", &Value::Null);
    assert_eq!(nodes["data"].as_array().unwrap().len(), 1, "a follower is no data plane: {nodes}");

    // A restart of the follower goes on where it was.
    cluster.follower = cluster.follower.kill().start();
    let (epoch, version) = cluster.change("after");
    serves(&mut below, &epoch, version);
    assert_eq!(own(&mut cluster.follower)["writer"]["connected"], true);
}

#[test]
fn the_fleet_serves_on_without_its_writer_and_a_promoted_follower_takes_its_place() {
    let mut cluster = Cluster::start();
    let (epoch, version) = cluster.change("before");
    let mut both = node(&cluster.lab, "both", &cluster.addresses).start();
    let mut below = node(&cluster.lab, "below", &cluster.addresses[1..]).start();
    for dp in [&mut both, &mut below] {
        serves(dp, &epoch, version);
    }
    let refused = promote(&mut cluster.follower, &[]);
    assert!(!refused.status.success(), "its writer is connected");
    let old_writer = cluster.writer.kill();
    wait::until("the writer to be missed", || {
        (own(&mut cluster.follower)["writer"]["connected"] == false).then_some(())
    });
    let mut late = node(&cluster.lab, "late", &cluster.addresses).start();
    serves(&mut late, &epoch, version);
    assert_eq!(answer(&mut late, "before"), "before");

    let output = promote(&mut cluster.follower, &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let promoted = own(&mut cluster.follower);
    assert_eq!((&promoted["role"], &promoted["term"]), (&json!("writer"), &json!(2)));
    assert_ne!(promoted["epoch"], epoch);
    let version = route(&mut cluster.follower, "after");
    for dp in [&mut both, &mut below, &mut late] {
        serves(dp, &promoted["epoch"], version);
        assert_eq!((answer(dp, "before"), answer(dp, "after")), (json!("before"), json!("after")));
    }

    // It stays the writer, though its settings still name the old one.
    cluster.follower = cluster.follower.kill().start();
    assert_eq!(own(&mut cluster.follower)["role"], "writer");
    cluster.follower.logs("was promoted over the writers in its settings");

    // The old writer comes back as if nothing had happened, with a change that nobody else has: nobody goes back to it.
    cluster.writer = old_writer.start();
    route(&mut cluster.writer, "lost");
    let mut probe = node(&cluster.lab, "both", &cluster.addresses[..1]);
    drop(both);
    probe = probe.with_text("cluster_control_plane", cluster.addresses[0]);
    let mut both = probe.start();
    wait::until("the old writer to be told", || (own(&mut cluster.writer)["replaced"] == true).then_some(()));
    assert_eq!(both.sync_status()["epoch"], promoted["epoch"]);
    assert_eq!(answer(&mut both, "after"), "after");

    // Told to follow, it takes over what the new writer has.
    let (setup, _) = cluster.writer.stop();
    cluster.writer = setup.with_text("cluster_control_plane", list(&cluster.addresses[1..])).start();
    has(&mut cluster.writer, &promoted["epoch"], version);
    assert_eq!(own(&mut cluster.writer)["role"], "follower");
    assert_eq!(cluster.writer.admin("GET", "/routes/lost", &Value::Null).status, 404);
    let version = route(&mut cluster.follower, "together");
    serves(&mut both, &promoted["epoch"], version);
    assert_eq!(answer(&mut both, "together"), "together", "served by the one that was the writer");
}

#[test]
fn a_follower_that_lags_never_takes_a_node_back() {
    let lab = Lab::new();
    let mut writer = lab.cp("writer").start();
    let link = Relay::to(writer.address("cluster"));
    let mut follower = following(&lab, "follower", &[link.address()]).start();
    let epoch = own(&mut writer)["epoch"].clone();
    let old = route(&mut writer, "old");
    has(&mut follower, &epoch, old);
    link.down();
    let new = route(&mut writer, "new");
    let mut dp = node(&lab, "dp", &[writer.address("cluster")]).start();
    serves(&mut dp, &epoch, new);

    // It goes over to the one that lags: nothing is taken from it, and both sides say so.
    let (setup, _) = dp.stop();
    let mut dp = setup.with_text("cluster_control_plane", follower.address("cluster")).start();
    wait::until("the session", || (dp.sync_status()["mode"] == "behind").then_some(()));
    assert_eq!((dp.sync_status()["version"].as_u64(), answer(&mut dp, "new")), (Some(new), json!("new")));
    let row = follower.admin_ok("GET", "/clustering/data-planes", &Value::Null)["data"][0].clone();
    assert!(row["last_error"]["message"].as_str().is_some_and(|why| why.contains("ahead")), "{row}");
    assert_eq!(own(&mut follower)["version"].as_u64(), Some(old));

    // When the follower has caught up, it goes on as if nothing had been.
    link.up();
    let newest = route(&mut writer, "newest");
    serves(&mut dp, &epoch, newest);
    assert_eq!(dp.sync_status()["mode"], "tail");
    assert_eq!(answer(&mut dp, "newest"), "newest");
}

#[test]
fn a_follower_of_a_follower_serves_too_and_nobody_is_served_by_one_that_has_nothing() {
    let lab = Lab::new();
    let mut writer = lab.cp("writer").start();
    let mut middle = following(&lab, "middle", &[writer.address("cluster")]).start();
    let mut leaf = following(&lab, "leaf", &[middle.address("cluster")]).start();
    let mut dp = node(&lab, "dp", &[leaf.address("cluster")]).start();
    let version = route(&mut writer, "far");
    let epoch = own(&mut writer)["epoch"].clone();
    serves(&mut dp, &epoch, version);
    assert_eq!(answer(&mut dp, "far"), "far");

    // One that never heard from a writer has nothing to serve, and says so in place of an empty configuration.
    let mut lonely = following(&lab, "lonely", &["127.0.0.1:1".parse().unwrap()]).start();
    let mut kept = node(&lab, "kept", &[writer.address("cluster")]).start();
    serves(&mut kept, &epoch, version);
    let (setup, _) = kept.stop();
    let mut kept = setup.with_text("cluster_control_plane", lonely.address("cluster")).start();
    wait::until("the refusal", || {
        let error = kept.sync_status()["last_error"].clone();
        error.as_str()?.contains("has not heard from it yet").then_some(())
    });
    assert_eq!(answer(&mut kept, "far"), "far");
}

#[test]
fn two_that_follow_each_other_serve_what_they_have_and_none_takes_the_other_for_a_writer() {
    let mut cluster = Cluster::start();
    let (epoch, version) = cluster.change("kept");
    let (writer, _) = cluster.writer.stop();
    cluster.writer = writer.with_text("cluster_control_plane", list(&cluster.addresses)).start();
    let (follower, _) = cluster.follower.stop();
    cluster.follower = follower.with_text("cluster_control_plane", list(&cluster.addresses)).start();
    for cp in [&mut cluster.writer, &mut cluster.follower] {
        cp.logs("not connected to the writer");
        let own = own(cp);
        assert_eq!((&own["epoch"], own["version"].as_u64()), (&epoch, Some(version)));
        assert_eq!(own["writer"]["connected"], false);
    }
    let mut dp = node(&cluster.lab, "dp", &cluster.addresses).start();
    serves(&mut dp, &epoch, version);
}

#[test]
fn a_one_field_change_comes_to_a_follower_and_to_its_nodes_as_a_patch() {
    /// Far more than a patch takes, and far less than the route: its paths are random, so that packing does not help.
    const PATCH_BYTES_MAX: u64 = 200;
    let lab = Lab::new();
    let mut writer = lab.cp("writer").start();
    let to_writer = Relay::to(writer.address("cluster"));
    let mut follower = following(&lab, "follower", &[to_writer.address()]).start();
    let to_follower = Relay::to(follower.address("cluster"));
    let mut dp = node(&lab, "dp", &[to_follower.address()]).start();
    let epoch = own(&mut writer)["epoch"].clone();
    let paths: Vec<String> = (0..60).map(|_| format!("/{}", model::Id::random())).collect();
    let mut change = |priority: u64| {
        let before = (to_writer.bytes().1, to_follower.bytes().1);
        let route = json!({ "name": "wide", "paths": paths, "regex_priority": priority });
        let version = apply(&mut writer, &[put("routes", route)]);
        has(&mut follower, &epoch, version);
        serves(&mut dp, &epoch, version);
        (to_writer.bytes().1 - before.0, to_follower.bytes().1 - before.1)
    };
    let whole = change(1);
    assert!(whole.0 > 1_000 && whole.1 > 1_000, "{whole:?}");
    change(2);
    let patch = change(3);
    assert!(patch.0 < PATCH_BYTES_MAX && patch.1 < PATCH_BYTES_MAX, "{patch:?}");
    wait::until("the mode", || (mode(&mut follower) == "tail").then_some(()));
    let route = follower.admin_ok("GET", "/routes/wide", &Value::Null);
    assert_eq!(route["regex_priority"], 3);
}

#[test]
fn a_follower_takes_from_a_promoted_one_what_differs_and_not_everything() {
    let mut cluster = Cluster::start();
    let many: Vec<Value> =
        (0..30).map(|n| put("routes", json!({ "name": format!("r{n}"), "paths": [format!("/r{n}")] }))).collect();
    apply(&mut cluster.writer, &many);
    let mut other = following(&cluster.lab, "other", &cluster.addresses).start();
    let mut dp = node(&cluster.lab, "dp", &[other.address("cluster")]).start();
    let (epoch, version) = cluster.change("both");
    has(&mut other, &epoch, version);
    serves(&mut dp, &epoch, version);

    // It misses a change and a deletion, and then its writer is another one.
    let other = other.kill();
    cluster.writer.admin_ok("DELETE", "/routes/r7", &Value::Null);
    let (_, before) = cluster.change("missed");
    drop(cluster.writer.kill());
    wait::until("the writer to be missed", || {
        (own(&mut cluster.follower)["writer"]["connected"] == false).then_some(())
    });
    let output = promote(&mut cluster.follower, &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let promoted = own(&mut cluster.follower);
    let mut other = other.start();
    has(&mut other, &promoted["epoch"], before);
    assert_eq!(mode(&mut other), "reconcile");
    assert!(!other.log().contains("full sync"), "{}", other.log());
    serves(&mut dp, &promoted["epoch"], before);
    assert_eq!((answer(&mut dp, "both"), answer(&mut dp, "missed")), (json!("both"), json!("missed")));
    assert_eq!(other.admin("GET", "/routes/r7", &Value::Null).status, 404);

    // From there on both go step by step, a restart included.
    let mut other = other.kill().start();
    let version = route(&mut cluster.follower, "next");
    has(&mut other, &promoted["epoch"], version);
    serves(&mut dp, &promoted["epoch"], version);
    wait::until("the mode", || (mode(&mut other) == "tail").then_some(()));
    assert_eq!(answer(&mut dp, "next"), "next");
}

/// A cluster with a node below the follower, and a writer that has lost its database after all had it.
fn wiped() -> (Cluster, Daemon) {
    let mut cluster = Cluster::start();
    let many: Vec<Value> =
        (0..12).map(|n| put("routes", json!({ "name": format!("r{n}"), "paths": [format!("/r{n}")] }))).collect();
    apply(&mut cluster.writer, &many);
    let mut dp = node(&cluster.lab, "dp", &cluster.addresses[1..]).start();
    let (epoch, version) = cluster.change("kept");
    serves(&mut dp, &epoch, version);
    let (writer, _) = cluster.writer.stop();
    fs::remove_dir_all(cluster.lab.path().join("writer/store")).unwrap();
    cluster.writer = writer.start();
    wait::until("the follower to hold it back", || {
        let error = own(&mut cluster.follower)["writer"]["last_error"].clone();
        error.as_str()?.starts_with("held back: 14 of 14").then_some(())
    });
    assert_eq!(own(&mut cluster.follower)["epoch"], epoch);
    assert_eq!(cluster.follower.admin("GET", "/routes/r7", &Value::Null).status, 200);
    assert_eq!(answer(&mut dp, "kept"), "kept");
    (cluster, dp)
}

fn confirm(cp: &mut Daemon) -> String {
    ask(cp, ["node", "confirm", "--all"]).said
}

#[test]
fn a_follower_of_a_writer_that_lost_its_database_has_the_configuration_still_and_can_be_promoted_with_it() {
    let (mut cluster, mut dp) = wiped();
    let output = promote(&mut cluster.follower, &["--force"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let promoted = own(&mut cluster.follower);
    let version = route(&mut cluster.follower, "more");
    serves(&mut dp, &promoted["epoch"], version);
    assert_eq!((answer(&mut dp, "kept"), answer(&mut dp, "more")), (json!("kept"), json!("more")));
}

#[test]
fn what_a_follower_holds_back_is_confirmed_at_its_writer_and_then_its_nodes_are_asked() {
    let (mut cluster, mut dp) = wiped();
    let held = wait::until("the writer to hear of it", || {
        let planes = cluster.writer.admin_ok("GET", "/clustering/control-planes", &Value::Null);
        Some(planes["data"][1]["held"].clone()).filter(|held| !held.is_null())
    });
    assert_eq!((&held["gone"], &held["of"]), (&json!(14), &json!(14)), "{held}");
    let said = confirm(&mut cluster.writer);
    assert!(said.contains("without 14 of its 14 entities"), "{said}");
    let anew = own(&mut cluster.writer);
    has(&mut cluster.follower, &anew["epoch"], 0);
    assert_eq!(cluster.follower.admin("GET", "/routes/r7", &Value::Null).status, 404);

    // Nobody has confirmed anything for the node.
    let said = wait::until("the node to hold it back", || {
        assert_eq!(answer(&mut dp, "kept"), "kept");
        let row = cluster.follower.admin_ok("GET", "/clustering/data-planes", &Value::Null)["data"][0].clone();
        (!row["held"].is_null()).then(|| confirm(&mut cluster.follower))
    });
    assert!(said.contains("without 14 of its 14 entities"), "{said}");
    serves(&mut dp, &anew["epoch"], 0);
    assert_eq!(dp.get("/kept", &[]).status, 404);
}

#[test]
fn a_follower_that_has_not_heard_of_its_writers_new_database_takes_no_node_back() {
    let lab = Lab::new();
    let mut writer = lab.cp("writer").start();
    let link = Relay::to(writer.address("cluster"));
    // What it has may go all at once here.
    let follower = following(&lab, "follower", &[link.address()]).with_text("cluster_shrink_limit", 100);
    let mut follower = follower.start();
    let old_epoch = own(&mut writer)["epoch"].clone();
    let version = route(&mut writer, "old");
    has(&mut follower, &old_epoch, version);

    // The link goes dead, and nobody notices; the writer loses its database, and is filled anew.
    link.freeze();
    let setup = writer.kill();
    fs::remove_dir_all(setup.dir().join("store")).expect("it is ours");
    let mut writer = setup.start();
    let epoch = own(&mut writer)["epoch"].clone();
    assert_ne!(epoch, old_epoch);
    let version = route(&mut writer, "new");
    let mut dp = node(&lab, "dp", &[writer.address("cluster")]).start();
    serves(&mut dp, &epoch, version);
    assert_eq!(own(&mut follower)["writer"]["connected"], true, "as far as it knows");

    // Neither database is of a term that would tell: the follower asks its writer, and hears nothing.
    let (setup, _) = dp.stop();
    let mut dp = setup.with_text("cluster_control_plane", follower.address("cluster")).start();
    wait::until("the follower to turn it away", || {
        let why = dp.sync_status()["last_error"].to_string();
        why.contains("cannot ask its writer").then_some(())
    });
    let status = dp.sync_status();
    assert_eq!((&status["epoch"], status["version"].as_u64()), (&epoch, Some(version)));
    assert_eq!(answer(&mut dp, "new"), "new");

    // Once it hears of it again it follows, and serves the node.
    link.cut();
    link.thaw();
    let version = route(&mut writer, "newest");
    has(&mut follower, &epoch, version);
    serves(&mut dp, &epoch, version);
    assert_eq!(answer(&mut dp, "newest"), "newest");
}
