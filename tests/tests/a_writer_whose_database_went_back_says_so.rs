//! A machine of a writer that is set back to a snapshot of itself has a database that knows nothing of the last changes, and
//! nothing that tells it from what it was: data planes are ahead of it in its own epoch. That is said, with the way out.

use serde_json::{Value, json};
use std::fs;
use tests::disk::copy_tree;
use tests::pair::{Pair, put, row};
use tests::planes::{own, promote, serves};
use tests::wait;

#[test]
fn a_writer_that_was_set_back_names_the_promotion_that_settles_it() {
    let mut pair = Pair::start();
    let service = |name: &str| put("services", json!({ "name": name, "host": "h" }));
    let early = pair.apply(&[service("early")]);
    pair.acknowledged();
    assert_eq!(own(&mut pair.cp)["error"], Value::Null);
    let (setup, _) = pair.cp.stop();
    let (store, snapshot) = (setup.dir().join("store"), setup.dir().join("snapshot"));
    copy_tree(&store, &snapshot);
    pair.cp = setup.start();
    let late = pair.apply(&[service("late")]);
    pair.acknowledged();

    let setup = pair.cp.kill();
    fs::remove_dir_all(&store).expect("it is ours");
    fs::rename(&snapshot, &store).expect("it is ours");
    pair.cp = setup.start();
    let error = wait::until("the writer to say so", || own(&mut pair.cp)["error"].as_str().map(str::to_owned));
    assert!(error.contains(&format!("version {late} ")) && error.contains("cp-lite promote --force"), "{error}");
    let told = pair.cp.admin_ok("GET", "/clustering/control-planes", &Value::Null);
    assert_eq!(told["data"][0]["error"], error);
    assert_eq!(row(&mut pair.cp).expect("its row")["last_error"]["code"], "behind");
    pair.cp.logs("the database went back");
    let node = pair.dp.sync_status();
    assert_eq!((&node["version"], &node["mode"]), (&json!(late), &json!("behind")), "it serves what it has");

    let promoted = promote(&mut pair.cp, &["--force"]);
    assert!(promoted.status.success(), "{}", String::from_utf8_lossy(&promoted.stderr));
    let epoch = own(&mut pair.cp)["epoch"].clone();
    serves(&mut pair.dp, &epoch, early);
    pair.acknowledged();
    assert_eq!(own(&mut pair.cp)["error"], Value::Null);
    assert_eq!(row(&mut pair.cp).expect("its row")["last_error"], Value::Null);
}
