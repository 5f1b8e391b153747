//! A disk that answers with errors of input and output costs durability for as long as it does: what is served stays
//! right, changes are taken, it is said that they are not durable, nothing that was is given up, and all of it is made
//! durable once the disk works again.

use serde_json::{Value, json};
use tests::broken::{Broken, mend, programs};
use tests::disk::is_durable_again;
use tests::lab::program;
use tests::pair::Pair;
use tests::wait;

fn says_what_the_disk_says(status: &Value) {
    assert_eq!(status["store"]["state"], "not durable", "{status}");
    let error = status["store"]["error"].as_str().unwrap_or_default();
    assert!(error.contains("Input/output error"), "{status}");
    assert_eq!((&status["store"]["lost"], &status["store"]["damage"]), (&json!(false), &Value::Null), "{status}");
}

#[test]
fn under_a_running_data_plane() {
    let mut pair = Pair::start();
    pair.route(&json!({ "name": "echo" }), &json!({ "name": "first", "paths": ["/first"] }));
    let version = pair.acknowledged();
    let Some(broken) = Broken::under(&pair.dp) else { return };
    for path in ["/second", "/third", "/fourth"] {
        pair.cp.admin_ok("PATCH", "/routes/first", &json!({ "paths": [path] }));
        pair.settle();
        assert_eq!((pair.dp.get(path, &[]).status, pair.dp.get("/first", &[]).status), (200, 404));
    }
    let status = pair.dp.sync_status();
    says_what_the_disk_says(&status);
    assert_eq!(status["last_good"]["version"], version, "{status}");
    drop(broken);
    is_durable_again(&mut pair, "/fourth");
    assert!(!pair.dp.log().contains("panicked"), "{}", pair.dp.log());
}

#[test]
fn from_the_start_on() {
    let mut pair = Pair::start();
    pair.route(&json!({ "name": "echo" }), &json!({ "name": "first", "paths": ["/first"] }));
    let version = pair.acknowledged();
    let (setup, _) = pair.dp.stop();
    let dir = pair.lab.path().join("programs");
    programs(&dir, &program("edge-gateway"), &setup.dir().join("store"));
    pair.link.down();
    pair.dp = setup.of(Some(&dir)).start();
    wait::until("the trouble", || (pair.dp.sync_status()["store"]["state"] == "not durable").then_some(()));
    says_what_the_disk_says(&pair.dp.sync_status());
    assert_eq!(pair.dp.get("/first", &[]).status, 404, "nothing is served that cannot be read");

    pair.link.up();
    pair.cp.admin_ok("PATCH", "/routes/first", &json!({ "paths": ["/second"] }));
    let head = pair.settle();
    assert!(head > version);
    assert_eq!(pair.dp.get("/second", &[]).status, 200);
    says_what_the_disk_says(&pair.dp.sync_status());

    mend(&dir);
    is_durable_again(&mut pair, "/second");
}
