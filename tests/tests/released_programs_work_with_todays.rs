//! The programs of earlier releases against today's, in both directions, and one store under both: what a fleet in the
//! middle of an update, and an A/B image that is rolled back, live on. The old programs are built from this repository's
//! history; where there is none, `EDGE_NO_HISTORY` has to say so, and nothing is judged here.

use serde_json::json;
use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use tests::lab::{Daemon, Lab, program};
use tests::pair::{apply, follower, head, load, put, row};
use tests::planes;
use tests::relay::Relay;
use tests::released::{SECOND, programs};
use tests::terminal::ask;
use tests::wait;

/// The message of a route's answer; none where there is no such route.
fn says(dp: &mut Daemon, path: &str) -> Option<String> {
    let answer = dp.get(path, &[]);
    (answer.status == 200).then(|| answer.json()["message"].as_str().unwrap_or_default().to_owned())
}

/// A route that answers with a message, without an upstream.
fn route(cp: &mut Daemon, name: &str) {
    cp.admin_ok("POST", "/services", &json!({ "name": name, "host": "127.0.0.1" }));
    let path = format!("/services/{name}/routes");
    cp.admin_ok("POST", &path, &json!({ "name": name, "paths": [format!("/{name}")] }));
    let config = json!({ "status_code": 200, "message": name });
    let plugin = json!({ "name": "request-termination", "config": config });
    cp.admin_ok("POST", &format!("/routes/{name}/plugins"), &plugin);
}

fn settle(cp: &mut Daemon, dp: &mut Daemon) -> u64 {
    let head = head(cp);
    dp.serves_version(head);
    wait::until("the durable ack", || (row(cp)?["durable_version"].as_u64()? >= head).then_some(()));
    head
}

/// A data plane of one release follows a control plane of another: full sync, deltas, an absence, a restart, refusals.
fn follows(cp: Option<&Path>, dp: Option<&Path>, incremental: bool) {
    let lab = Lab::new();
    let mut cp = lab.cp("cp").of(cp).start();
    route(&mut cp, "first");
    let consumers: Vec<_> =
        (0..300).map(|n| put("consumers", json!({ "username": format!("consumer-{n}") }))).collect();
    apply(&mut cp, &consumers);
    let link = Relay::to(cp.address("cluster"));
    let setup =
        follower(&lab, "dp", &link).of(dp).with_text("incremental_sync", if incremental { "on" } else { "off" });
    let mut dp = setup.start();
    settle(&mut cp, &mut dp);
    assert_eq!(says(&mut dp, "/first").as_deref(), Some("first"));

    // Deltas: a creation, a change, a deletion with its cascade.
    route(&mut cp, "second");
    cp.admin_ok("PATCH", "/routes/first", &json!({ "paths": ["/first", "/changed"] }));
    cp.admin_ok("PATCH", "/services/first", &json!({ "retries": 1 }));
    settle(&mut cp, &mut dp);
    assert_eq!([says(&mut dp, "/second"), says(&mut dp, "/changed")], [Some("second".into()), Some("first".into())]);
    assert_eq!(cp.admin("DELETE", "/routes/second", &json!(null)).status, 204);
    settle(&mut cp, &mut dp);
    assert_eq!(says(&mut dp, "/second"), None);

    // An absence, with a restart of the data plane in it.
    link.down();
    route(&mut cp, "third");
    dp = dp.kill().start();
    dp.is_ready();
    assert_eq!([says(&mut dp, "/changed"), says(&mut dp, "/third")], [Some("first".into()), None]);
    link.up();
    settle(&mut cp, &mut dp);
    assert_eq!(says(&mut dp, "/third").as_deref(), Some("third"));

    // Credentials that end, and a restart of the control plane.
    cp.admin_ok("POST", "/consumers/consumer-7/key-auth", &json!({ "key": "ends", "ttl": 3600 }));
    cp.admin_ok("POST", "/routes/third/plugins", &json!({ "name": "key-auth" }));
    cp = cp.kill().start();
    settle(&mut cp, &mut dp);
    assert_eq!([dp.get("/third", &[]).status, dp.get("/third", &[("apikey", "ends")]).status], [401, 200]);
    assert_eq!(row(&mut cp).expect("a row")["sync_status"], "normal");
}

#[test]
fn a_released_data_plane_follows_todays_control_plane() {
    for then in programs() {
        follows(None, Some(&then), true);
    }
}

#[test]
fn todays_data_plane_follows_a_released_control_plane() {
    for then in programs() {
        follows(Some(&then), None, true);
    }
}

#[test]
fn both_get_along_by_full_syncs_alone() {
    for then in programs() {
        follows(None, Some(&then), false);
        follows(Some(&then), None, false);
    }
}

#[test]
fn a_large_full_sync_and_what_follows_it_get_across() {
    let config = tests::generate::Config {
        shape: tests::generate::Shape::of(3_000),
        seed: 1,
        origin: ([127, 0, 0, 1], 9).into(),
    };
    let then = programs();
    let pairs = then.iter().flat_map(|then| [(None, Some(&**then)), (Some(&**then), None)]);
    for (cp, dp) in pairs {
        let lab = Lab::new();
        let mut cp = lab.cp("cp").of(cp).start();
        load(&lab, &mut cp, &config.declarative());
        let link = Relay::to(cp.address("cluster"));
        let mut dp = follower(&lab, "dp", &link).of(dp).start();
        settle(&mut cp, &mut dp);
        route(&mut cp, "after");
        settle(&mut cp, &mut dp);
        assert_eq!(says(&mut dp, "/after").as_deref(), Some("after"));
    }
}

/// Key sets came later. While there are some, a data plane of then is sent nothing and serves on, be it that it was rolled back
/// to then with some in its store; once they are gone, it goes on, by a step that does not name them.
#[test]
fn a_released_data_plane_goes_on_once_what_it_does_not_know_is_gone() {
    for then in programs() {
        goes_on_once_it_is_gone(&then);
    }
}

fn goes_on_once_it_is_gone(then: &Path) {
    let lab = Lab::new();
    let mut cp = lab.cp("cp").start();
    route(&mut cp, "first");
    let link = Relay::to(cp.address("cluster"));
    let mut dp = follower(&lab, "dp", &link).of(Some(then)).start();
    settle(&mut cp, &mut dp);
    for round in ["new", "rolled-back"] {
        cp.admin_ok("POST", "/key-sets", &json!({ "name": "tokens" }));
        route(&mut cp, round);
        if round == "rolled-back" {
            dp = dp.stop().0.of(None).start();
            settle(&mut cp, &mut dp);
            dp = dp.stop().0.of(Some(then)).start();
        }
        let withheld = |cp: &mut Daemon| row(cp).filter(|row| row["sync_status"] == "kind_set_incompatible");
        wait::until("nothing to be sent", || withheld(&mut cp).map(drop));
        route(&mut cp, &format!("after-{round}"));
        dp.is_ready();
        assert_eq!(says(&mut dp, "/first").as_deref(), Some("first"), "{round}");
        assert_eq!(says(&mut dp, &format!("/after-{round}")), None);
        assert_eq!(cp.admin("DELETE", "/key-sets/tokens", &json!(null)).status, 204);
        settle(&mut cp, &mut dp);
        assert!(says(&mut dp, &format!("/{round}")).is_some() && says(&mut dp, &format!("/after-{round}")).is_some());
        assert_eq!(dp.sync_status()["mode"], "tail", "{round}: no full sync was needed");
        assert_eq!(row(&mut cp).expect("a row")["sync_status"], "normal", "{round}");
    }
    // Today's program finds what the one of then has left.
    dp = dp.stop().0.of(None).start();
    route(&mut cp, "last");
    settle(&mut cp, &mut dp);
    assert!(says(&mut dp, "/last").is_some() && says(&mut dp, "/after-rolled-back").is_some());
}

/// A device is updated and rolled back: one store under today's program, then under the one of then, then under today's.
#[test]
fn a_store_goes_from_today_to_then_and_back_without_losing_a_version() {
    let then = programs();
    for (then, mode) in then.iter().flat_map(|then| [(then, "off"), (then, "aes-256-gcm")]) {
        let lab = Lab::new();
        let mut cp = lab.cp("cp").start();
        route(&mut cp, "first");
        let link = Relay::to(cp.address("cluster"));
        let setup = follower(&lab, "dp", &link).with_text("declarative_config_encryption_mode", mode);
        let mut dp = setup.start();
        settle(&mut cp, &mut dp);
        route(&mut cp, "second");
        let version = settle(&mut cp, &mut dp);
        for (round, programs) in [Some(&**then), None, Some(&**then), None].into_iter().enumerate() {
            // Nobody to ask: what it serves is what it found.
            link.down();
            let setup = if round % 2 == 0 { dp.kill() } else { dp.stop().0 };
            dp = setup.of(programs).start();
            dp.is_ready();
            let found = dp.sync_status()["version"].as_u64().expect("a version");
            assert!(found >= version, "{mode}, round {round}: {found}");
            assert_eq!(says(&mut dp, "/second").as_deref(), Some("second"), "{mode}, round {round}");
            if round > 0 {
                let path = format!("/round-{}", round - 1);
                assert!(says(&mut dp, &path).is_some(), "{mode}, round {round}: {path} was durable");
            }
            // It goes on where it was, and leaves something for the next.
            link.up();
            route(&mut cp, &format!("round-{round}"));
            settle(&mut cp, &mut dp);
            assert_eq!(dp.sync_status()["mode"], "tail", "{mode}, round {round}: no full sync was needed");
        }
    }
}

/// The same for a control plane: it goes on in the same epoch, so that its data planes need no full sync either.
#[test]
fn a_control_planes_database_goes_from_today_to_then_and_back() {
    for then in programs() {
        let lab = Lab::new();
        let mut cp = lab.cp("cp").start();
        route(&mut cp, "first");
        let link = Relay::to(cp.address("cluster"));
        let mut dp = follower(&lab, "dp", &link).start();
        settle(&mut cp, &mut dp);
        let epoch = dp.sync_status()["epoch"].clone();
        for (round, programs) in [Some(&*then), None].into_iter().enumerate() {
            let setup = if round % 2 == 0 { cp.kill() } else { cp.stop().0 };
            cp = setup.of(programs).start();
            route(&mut cp, &format!("round-{round}"));
            settle(&mut cp, &mut dp);
            assert_eq!(dp.sync_status()["epoch"], epoch, "round {round}");
            assert!(says(&mut dp, &format!("/round-{round}")).is_some() && says(&mut dp, "/first").is_some());
        }
    }
}

/// A control plane of one release follows a writer of another, and a data plane of today hangs on it.
fn is_followed(writer: Option<&Path>, follower: Option<&Path>) {
    let lab = Lab::new();
    let mut writer = lab.cp("writer").of(writer).start();
    route(&mut writer, "first");
    let mut below = planes::following(&lab, "below", &[writer.address("cluster")]).of(follower).start();
    let mut dp = planes::node(&lab, "dp", &[below.address("cluster")]).start();
    let epoch = planes::own(&mut writer)["epoch"].clone();
    for name in ["second", "third"] {
        route(&mut writer, name);
        let version = head(&mut writer);
        planes::has(&mut below, &epoch, version);
        planes::serves(&mut dp, &epoch, version);
        assert_eq!(says(&mut dp, &format!("/{name}")).as_deref(), Some(name));
    }
    // It is promoted, and the old writer follows it: the terms of either are understood by the other.
    let setup = writer.stop().0;
    let promoted = planes::promote(&mut below, &[]);
    assert!(promoted.status.success(), "{}", String::from_utf8_lossy(&promoted.stderr));
    route(&mut below, "fourth");
    let (epoch, version) = (planes::own(&mut below)["epoch"].clone(), head(&mut below));
    writer = setup.with_text("cluster_control_plane", below.address("cluster")).start();
    planes::has(&mut writer, &epoch, version);
    planes::serves(&mut dp, &epoch, version);
    assert_eq!(says(&mut dp, "/fourth").as_deref(), Some("fourth"));
}

#[test]
fn control_planes_of_either_release_follow_each_other() {
    let Some(then) = SECOND.programs() else { return };
    is_followed(None, Some(&then));
    is_followed(Some(&then), None);
}

/// What a control plane of one release exported is what a data plane of another begins with, and goes on from.
fn takes_a_bundle(cp: Option<&Path>, dp: Option<&Path>) {
    let lab = Lab::new();
    let mut cp = lab.cp("cp").of(cp).start();
    route(&mut cp, "first");
    let file = lab.path().join("fleet.bundle");
    let _ = ask(&mut cp, [OsStr::new("config"), OsStr::new("export"), file.as_os_str()]).well();
    let setup = lab.dp("dp").of(dp).with_text("cluster_control_plane", cp.address("cluster"));
    let program = dp.map_or_else(|| program("edge-gateway"), |programs| programs.join("edge-gateway"));
    let taken = Command::new(program).args(["store", "import"]).arg(&file).arg("-c").arg(setup.write()).output();
    let taken = taken.expect("it runs");
    assert!(taken.status.success(), "{}", String::from_utf8_lossy(&[taken.stdout, taken.stderr].concat()));
    let mut dp = setup.start();
    dp.is_ready();
    assert_eq!(says(&mut dp, "/first").as_deref(), Some("first"));
    route(&mut cp, "second");
    settle(&mut cp, &mut dp);
    assert_eq!(says(&mut dp, "/second").as_deref(), Some("second"));
    assert_eq!(dp.sync_status()["mode"], "tail", "it went on from there, with no full sync");
}

#[test]
fn bundles_of_either_release_are_taken_by_the_other() {
    let Some(then) = SECOND.programs() else { return };
    takes_a_bundle(None, Some(&then));
    takes_a_bundle(Some(&then), None);
}
