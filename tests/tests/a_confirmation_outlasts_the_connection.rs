//! Somebody has confirmed that a follower may take a configuration that it holds back. A cut on the way does not undo that:
//! it is taken on the next connection, and nobody has to be asked again.

use serde_json::{Value, json};
use std::fs;
use std::process::Command;
use tests::lab::{Lab, program};
use tests::pair::{apply, put};
use tests::planes::{following, has, own};
use tests::relay::Relay;
use tests::wait;

#[test]
fn what_was_confirmed_for_a_follower_is_taken_after_a_cut_without_asking_again() {
    let lab = Lab::new();
    let mut writer = lab.cp("writer").start();
    let link = Relay::to(writer.address("cluster"));
    let mut follower = following(&lab, "follower", &[link.address()]).start();
    let many: Vec<Value> =
        (0..12).map(|n| put("routes", json!({ "name": format!("r{n}"), "paths": [format!("/r{n}")] }))).collect();
    let version = apply(&mut writer, &many);
    has(&mut follower, &own(&mut writer)["epoch"].clone(), version);
    let (setup, _) = writer.stop();
    fs::remove_dir_all(setup.dir().join("store")).expect("it is ours");
    let mut writer = setup.start();
    wait::until("the writer to hear that it is held back", || {
        let planes = writer.admin_ok("GET", "/clustering/control-planes", &Value::Null);
        (planes["data"][1]["held"]["gone"] == 12).then_some(())
    });

    // The confirmation goes out, and does not arrive.
    link.freeze();
    let admin = format!("http://{}", writer.address("admin"));
    let confirmed = Command::new(program("cp-lite")).args(["node", "confirm", "--all", "--admin-url", &admin]).output();
    let confirmed = confirmed.expect("cp-lite is built");
    assert!(confirmed.status.success(), "{}", String::from_utf8_lossy(&confirmed.stderr));
    assert_eq!(follower.admin("GET", "/routes/r7", &Value::Null).status, 200);
    link.cut();
    link.thaw();

    let anew = own(&mut writer)["epoch"].clone();
    has(&mut follower, &anew, 0);
    assert_eq!(follower.admin("GET", "/routes/r7", &Value::Null).status, 404);
}
