//! The Admin API of a control plane that follows another one: all is to be seen, and nothing to be changed.

use super::*;
use crate::planes::Follower;

#[test]
fn a_follower_refuses_every_write_and_names_the_writer() {
    let lab = Lab::on(memory().follow(TOMBSTONES_MAX));
    let id = Id(1).to_string();
    let writes = [
        ("POST", "/services".to_owned()),
        ("PUT", format!("/services/{id}")),
        ("PATCH", format!("/services/{id}")),
        ("DELETE", format!("/services/{id}")),
        ("POST", format!("/services/{id}/routes")),
        ("PUT", format!("/services/{id}/routes/{id}")),
        ("POST", "/config/apply".to_owned()),
    ];
    for (method, path) in writes {
        let seen = lab.call(method, &path, json!({ "name": "s", "host": "h", "changes": [] }));
        assert_eq!(seen.status, 405, "{method} {path}: {}", seen.body);
        assert_eq!(seen.headers[header::ALLOW], "GET, HEAD, OPTIONS");
        assert_eq!((&seen.body["code"], &seen.body["name"]), (&json!(12), &json!("operation unsupported")));
        assert_eq!(seen.body["writer"], "writer.example:8005");
        let message = seen.body["message"].as_str().unwrap();
        assert!(message.contains("writer.example:8005") && message.contains("cp-lite promote"), "{message}");
    }
}

#[test]
fn a_follower_answers_reads_and_judges_what_is_only_to_be_judged() {
    let lab = Lab::on(memory().follow(TOMBSTONES_MAX));
    for path in ["/", "/status", "/services", "/clustering/data-planes", "/schemas/routes"] {
        assert_eq!(lab.call("GET", path, Value::Null).status, 200, "{path}");
    }
    assert_eq!(lab.call("POST", "/schemas/services/validate", json!({ "host": "h" })).status, 200);
    assert_eq!(lab.call("GET", "/", Value::Null).body["cluster_role"], "follower");
}

#[test]
fn a_follower_is_promoted_when_its_writer_is_gone_and_takes_changes_then() {
    let lab = Lab::on(memory().follow(TOMBSTONES_MAX));
    let promote = |body: Value| lab.call("POST", "/clustering/promote", body);
    let refused = promote(json!({}));
    assert_eq!(refused.status, 409);
    assert!(refused.body["message"].as_str().unwrap().contains("never heard from a writer"), "{}", refused.body);
    lab.app.planes.attach(true);
    let refused = promote(json!({ "force": false }));
    assert!(refused.body["message"].as_str().unwrap().contains("is connected"), "{}", refused.body);
    let promoted = promote(json!({ "force": true }));
    assert_eq!((promoted.status, &promoted.body["role"], &promoted.body["term"]), (200, &json!("writer"), &json!(2)));
    assert_eq!(lab.call("POST", "/services", json!({ "host": "h" })).status, 201);
    let again = promote(json!({}));
    assert!(again.body["message"].as_str().unwrap().contains("the writer already"), "{}", again.body);
}

#[test]
fn a_writer_that_was_replaced_says_so_and_can_be_promoted_past_the_other() {
    let lab = Lab::new();
    lab.app.planes.heard_of((3, 5), 0);
    lab.app.planes.heard_of((u32::MAX, 5), 0);
    assert_eq!(lab.call("GET", "/status", Value::Null).body["control_plane"]["replaced"], true);
    let promoted = lab.call("POST", "/clustering/promote", json!({}));
    assert_eq!((promoted.status, &promoted.body["term"]), (200, &json!(4)));
    assert_eq!(lab.call("GET", "/status", Value::Null).body["control_plane"]["replaced"], false);
}

#[test]
fn a_control_plane_shows_its_role_its_writer_and_its_followers() {
    let lab = Lab::on(memory().follow(TOMBSTONES_MAX));
    let planes = &lab.app.planes;
    planes.update(|upstream| (upstream.address, upstream.head) = (Some("writer.example:8005".to_owned()), 3));
    planes.attach(true);
    let below = Follower { hostname: "below".to_owned(), version: 2, epoch: 77, ..Follower::default() };
    planes.connect(Id(5), below, Id(1), true).unwrap();
    let data = lab.call("GET", "/clustering/control-planes", Value::Null).body["data"].clone();
    let own = &data[0];
    assert_eq!((&own["role"], &own["term"], &own["lag"]), (&json!("follower"), &json!(0), &json!(3)));
    assert_eq!((&own["writer"]["address"], &own["writer"]["connected"]), (&json!("writer.example:8005"), &json!(true)));
    assert_eq!(
        (&data[1]["hostname"], &data[1]["version"], &data[1]["lag"]),
        (&json!("below"), &json!(2), &json!(null))
    );
    assert_eq!(lab.call("GET", "/status", Value::Null).body["control_plane"], *own);

    let writer = Lab::new();
    let own = writer.call("GET", "/status", Value::Null).body["control_plane"].clone();
    assert_eq!((&own["role"], &own["writer"]), (&json!("writer"), &Value::Null));
}
