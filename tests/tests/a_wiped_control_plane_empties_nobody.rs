//! A control plane that comes up with an empty database takes nothing away from anybody: its data planes hold that back
//! and serve on, until somebody confirms it or the configuration comes back.

use serde_json::{Value, json};
use std::fs;
use tests::metrics;
use tests::pair::{Pair, row};
use tests::terminal::ask;
use tests::wait;

const ROUTES: usize = 9;

/// A pair whose control plane has lost its database after the data plane had all of it.
fn wiped() -> Pair {
    let mut pair = Pair::start();
    pair.route(&json!({ "name": "echo" }), &json!({ "name": "kept", "paths": ["/kept"] }));
    more_routes(&mut pair);
    pair.acknowledged();
    let (cp, _) = pair.cp.stop();
    fs::remove_dir_all(pair.lab.path().join("cp/store")).unwrap();
    pair.cp = cp.start();
    pair
}

/// `ROUTES` more of them, the same ones each time.
fn more_routes(pair: &mut Pair) {
    for n in 0..ROUTES {
        let route = json!({ "paths": [format!("/more/{n}")], "id": format!("00000000-0000-4000-8000-{n:012}") });
        pair.cp.admin_ok("POST", "/routes", &route);
    }
}

fn held(pair: &mut Pair) -> Value {
    wait::until("the node to hold it back", || {
        row(&mut pair.cp).map(|row| row["held"].clone()).filter(|held| !held.is_null())
    })
}

#[test]
fn what_a_wiped_control_plane_has_is_held_back_until_it_is_confirmed() {
    let mut pair = wiped();
    let shown = held(&mut pair);
    assert_eq!((&shown["gone"], &shown["of"]), (&json!(ROUTES + 2), &json!(ROUTES + 2)));
    let list = ask(&mut pair.cp, ["node", "list"]).said;
    assert!(list.contains(" held "), "{list}");
    let alarms = |pair: &mut Pair| {
        ["held", "refused", "withheld"]
            .map(|what| metrics::value(pair.cp.address("admin"), &format!("edge_data_plane_{what}")))
    };
    assert_eq!(alarms(&mut pair), [1, 0, 0]);
    assert_eq!(pair.dp.get("/kept", &[]).status, 200);
    let status = pair.dp.sync_status();
    assert_eq!(status["connected"], json!(true), "{status}");

    // Neither a restart of the data plane nor a commit that brings little back changes anything.
    let (dp, _) = pair.dp.stop();
    pair.dp = dp.start();
    // Until the new session has come so far, the row may still be that of the one before.
    pair.dp.logs("held back until");
    held(&mut pair);
    pair.cp.admin_ok("POST", "/consumers", &json!({ "username": "new" }));
    assert_eq!(pair.dp.get("/kept", &[]).status, 200);

    // A confirmation of something else is none.
    let id = row(&mut pair.cp).unwrap()["id"].as_str().unwrap().to_owned();
    let path = format!("/clustering/data-planes/{id}/confirm");
    let shown = held(&mut pair);
    let stale = json!({ "epoch": shown["epoch"], "version": shown["version"].as_u64().unwrap() + 1 });
    assert_eq!(pair.cp.admin("POST", &path, &stale).status, 409);
    let other = json!({ "epoch": "00000000000000ff", "version": shown["version"] });
    assert_eq!(pair.cp.admin("POST", &path, &other).status, 409);
    assert_eq!(pair.cp.admin("POST", &path, &json!({})).status, 400);
    assert_eq!(pair.dp.get("/kept", &[]).status, 200);

    let confirmed = ask(&mut pair.cp, ["node", "confirm", &id]);
    assert_eq!(confirmed.code, Some(0), "{}", confirmed.said);
    wait::until("the empty configuration", || (pair.dp.get("/kept", &[]).status == 404).then_some(()));
    pair.acknowledged();
    wait::until("nothing to be held back", || row(&mut pair.cp)?["held"].is_null().then_some(()));
    assert_eq!(alarms(&mut pair), [0, 0, 0]);
    let again = ask(&mut pair.cp, ["node", "confirm", "--all"]);
    assert_eq!(again.code, Some(1), "{}", again.said);
}

#[test]
fn what_is_held_back_is_not_transferred_and_a_configuration_that_comes_back_needs_no_confirmation() {
    let mut pair = wiped();
    held(&mut pair);
    let before = row(&mut pair.cp).unwrap()["bytes_out"].as_u64().unwrap();
    for _ in 0..5 {
        pair.cp.admin_ok("POST", "/consumers", &json!({ "custom_id": "x" }));
        let path = format!("/consumers/{}", first_consumer(&mut pair));
        pair.cp.admin_ok("DELETE", &path, &Value::Null);
    }
    let after = row(&mut pair.cp).unwrap()["bytes_out"].as_u64().unwrap();
    assert!(after - before < 256, "{} bytes for what nobody takes", after - before);
    more_routes(&mut pair);
    // One route and its service are gone, but the rest is back.
    wait::until("what came back", || (pair.dp.get("/kept", &[]).status == 404).then_some(()));
    wait::until("nothing to be held back", || row(&mut pair.cp)?["held"].is_null().then_some(()));
}

fn first_consumer(pair: &mut Pair) -> String {
    let list = pair.cp.admin_ok("GET", "/consumers", &Value::Null);
    list["data"][0]["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_database_of_the_same_size_with_other_entities_is_held_back_by_what_would_go() {
    let mut pair = wiped();
    held(&mut pair);
    for n in 0..ROUTES + 2 {
        pair.cp.admin_ok("POST", "/routes", &json!({ "paths": [format!("/other/{n}")] }));
    }
    // Only the ids tell: the number of entities is the same.
    wait::until("the ids to tell", || {
        let held = row(&mut pair.cp)?["held"].clone();
        (held["version"].as_u64()? > 0 && held["gone"] == json!(ROUTES + 2)).then_some(())
    });
    assert_eq!((pair.dp.get("/kept", &[]).status, pair.dp.get("/other/1", &[]).status), (200, 404));
    let confirmed = ask(&mut pair.cp, ["node", "confirm", "--all"]);
    assert_eq!(confirmed.code, Some(0), "{}", confirmed.said);
    wait::until("the other configuration", || (pair.dp.get("/kept", &[]).status == 404).then_some(()));
    pair.acknowledged();
}
