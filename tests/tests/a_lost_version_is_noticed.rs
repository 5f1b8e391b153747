//! A data plane whose disk gives back less than was synced cannot know it. The control plane does: it says which version is gone,
//! and brings it again.

use serde_json::{Value, json};
use std::fs;
use tests::disk::copy_tree;
use tests::pair::{Pair, put, row};
use tests::wait;

#[test]
fn a_node_that_comes_back_with_less_than_was_durable_is_reported_and_healed() {
    let mut pair = Pair::start();
    let route = |path: &str| put("routes", json!({ "id": model::Id(7), "name": "r", "paths": [path] }));
    let early = pair.apply(&[route("/early")]);
    pair.acknowledged();
    assert_eq!(row(&mut pair.cp).expect("its row")["store"]["lost"], Value::Null);
    let (setup, _) = pair.dp.stop();
    let (store, before) = (setup.dir().join("store"), setup.dir().join("before"));
    copy_tree(&store, &before);
    pair.dp = setup.start();
    let late = pair.apply(&[route("/late")]);
    pair.acknowledged();

    let setup = pair.dp.kill();
    fs::remove_dir_all(&store).expect("it is ours");
    fs::rename(&before, &store).expect("it is ours");
    pair.dp = setup.start();
    pair.acknowledged();
    let lost = wait::until("the loss", || row(&mut pair.cp).map(|row| row["store"]["lost"].clone()));
    assert_eq!((&lost["durable_version"], &lost["found_version"]), (&json!(late), &json!(early)));
    pair.cp.logs("came back with less than it had made durable");
}
