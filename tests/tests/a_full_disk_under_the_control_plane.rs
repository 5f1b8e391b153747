//! A disk that is full under the control plane refuses changes, and says so; whoever reads is answered, data planes keep
//! their sessions, nothing that was answered is lost, and changes are taken again when there is room.

use serde_json::{Value, json};
use std::collections::BTreeSet;
use tests::disk::Disk;
use tests::lab::{Daemon, Lab};
use tests::origin::Origin;
use tests::pair::{Pair, follower};
use tests::relay::Relay;

/// More of them than the journals hold, which are there before the disk is full.
const CONSUMERS_MAX: usize = 200;

fn big_consumer(index: usize) -> Value {
    let tags: Vec<String> = (0..60).map(|tag| format!("{tag:02}-{}", format!("{index:04}").repeat(250))).collect();
    json!({ "username": format!("user-{index}"), "tags": tags })
}

fn consumers(cp: &mut Daemon) -> BTreeSet<String> {
    let (mut names, mut next) = (BTreeSet::new(), "/consumers?size=1000".to_owned());
    loop {
        let page = cp.admin_ok("GET", &next, &Value::Null);
        let data = page["data"].as_array().expect("a list");
        names.extend(data.iter().map(|consumer| consumer["username"].as_str().expect("a name").to_owned()));
        match page["next"].as_str() {
            Some(more) => next = more.to_owned(),
            None => return names,
        }
    }
}

#[test]
fn changes_are_refused_clearly_for_as_long_as_it_lasts_and_nothing_answered_is_lost() {
    let lab = Lab::new();
    let Some(disk) = Disk::mount(lab.path().join("disk"), 24) else { return };
    let origin = Origin::start("origin");
    let mut cp = lab.cp("cp").with_text("prefix", disk.path().join("state").display()).start();
    let link = Relay::to(cp.address("cluster"));
    let dp = follower(&lab, "dp", &link).start();
    let mut pair = Pair { lab, origin, cp, link, dp };
    pair.route(&json!({ "name": "echo" }), &json!({ "name": "first", "paths": ["/first"] }));
    pair.settle();
    disk.fill();

    let mut answered = BTreeSet::new();
    let refused = (0..CONSUMERS_MAX).find_map(|index| {
        let answer = pair.cp.admin("POST", "/consumers", &big_consumer(index));
        if answer.status == 201 {
            answered.insert(format!("user-{index}"));
            return None;
        }
        Some(answer)
    });
    let refused = refused.expect("the disk to be full at last");
    assert_eq!(refused.status, 500, "{}", refused.text());
    let said = refused.json();
    assert_eq!((&said["code"], &said["name"]), (&json!(8), &json!("database error")));
    for part in ["no space left", "nothing was changed", "make room", "try again"] {
        assert!(
            said["message"].as_str().is_some_and(|message| message.to_lowercase().contains(part)),
            "{part}: {said}"
        );
    }
    // Whoever reads is answered, and the data plane has what was.
    assert_eq!(consumers(&mut pair.cp), answered);
    assert_eq!(pair.cp.admin("GET", "/routes/first", &Value::Null).status, 200);
    assert_eq!(pair.dp.get("/first", &[]).status, 200);
    assert_eq!(pair.dp.sync_status()["connected"], true);
    assert_eq!(pair.cp.admin("POST", "/consumers", &big_consumer(CONSUMERS_MAX)).status, 500, "it stays so");

    disk.free();
    pair.cp.admin_ok("POST", "/consumers", &json!({ "username": "afterwards" }));
    pair.cp.admin_ok("PATCH", "/routes/first", &json!({ "paths": ["/second"] }));
    answered.insert("afterwards".to_owned());
    pair.acknowledged();
    assert_eq!(pair.dp.get("/second", &[]).status, 200);
    assert_eq!(consumers(&mut pair.cp), answered);
    assert!(!pair.cp.log().contains("panicked"), "{}", pair.cp.log());
    pair.cp = pair.cp.kill().start();
    assert_eq!(consumers(&mut pair.cp), answered);
}
