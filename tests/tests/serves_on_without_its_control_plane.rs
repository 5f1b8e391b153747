//! The main job: a change is live on the data plane; the data plane serves on, and starts again, without its control
//! plane; what changed meanwhile arrives when the control plane is back.

use serde_json::{Value, json};
use tests::pair::Pair;
use tests::wait;

fn pair() -> Pair {
    let mut pair = Pair::start();
    pair.route(&json!({ "name": "echo", "path": "/base" }), &json!({ "name": "first", "paths": ["/first"] }));
    pair.acknowledged();
    pair
}

/// What must be the same before and after: everything but what is made per request.
fn answer(pair: &mut Pair, path: &str) -> (u16, Value) {
    let answer = pair.dp.get(path, &[("Kong-Debug", "1")]);
    let mut seen = answer.json();
    if let Some(headers) = seen["headers"].as_object_mut() {
        headers.retain(|name, _| name != "x-kong-request-id" && name != "host" && !name.starts_with("x-forwarded-"));
    }
    let debug =
        ["kong-route-name", "kong-service-name", "kong-route-id"].map(|name| answer.header(name).map(str::to_owned));
    (answer.status, json!([seen, debug]))
}

#[test]
fn a_change_is_live_without_a_reload() {
    let mut pair = pair();
    assert_eq!(pair.dp.get("/second", &[]).status, 404);
    pair.cp.admin_ok("PATCH", "/routes/first", &json!({ "paths": ["/second"] }));
    pair.settle();
    assert_eq!(pair.dp.get("/second", &[]).status, 200);
    assert_eq!(pair.dp.get("/first", &[]).status, 404);
    pair.cp.admin_ok("DELETE", "/routes/first", &Value::Null);
    pair.settle();
    assert_eq!(pair.dp.get("/second", &[]).status, 404);
}

#[test]
fn restarts_with_the_last_committed_configuration_and_answers_the_same() {
    let mut pair = pair();
    let before = answer(&mut pair, "/first/x?y=1");
    assert_eq!(before.0, 200);
    let cp = pair.cp.kill();
    assert_eq!(answer(&mut pair, "/first/x?y=1"), before);
    let version = pair.dp.sync_status()["version"].clone();
    pair.dp = pair.dp.kill().start();
    pair.dp.is_ready();
    assert_eq!(answer(&mut pair, "/first/x?y=1"), before);
    assert_eq!(pair.dp.sync_status()["version"], version);
    assert_eq!(pair.dp.sync_status()["source"], "control_plane");

    pair.cp = cp.start();
    pair.cp.admin_ok("PATCH", "/routes/first", &json!({ "paths": ["/moved"] }));
    pair.settle();
    assert_eq!(pair.dp.get("/moved", &[]).status, 200);
    let mode = wait::until("the session", || pair.dp.sync_status()["mode"].as_str().map(str::to_owned));
    assert_ne!(mode, "full", "a node that kept its configuration needs only what changed");
}

#[test]
fn what_changed_during_an_absence_arrives_as_one_step() {
    let mut pair = pair();
    pair.link.down();
    for round in 0..40 {
        pair.cp.admin_ok("PATCH", "/routes/first", &json!({ "paths": [format!("/round-{round}")] }));
    }
    let (_, before) = pair.link.bytes();
    pair.link.up();
    pair.settle();
    assert_eq!(pair.dp.get("/round-39", &[]).status, 200);
    let (_, after) = pair.link.bytes();
    assert!(after - before < 4_000, "{} bytes for one changed entity and a reconnect", after - before);
}

#[test]
fn a_data_plane_without_any_configuration_answers_404_and_is_not_ready() {
    let lab = tests::lab::Lab::new();
    let mut dp = lab.dp("lonely").with_text("cluster_control_plane", "127.0.0.1:1").start();
    let answer = dp.get("/", &[]);
    assert_eq!(answer.status, 404);
    assert_eq!(answer.json()["message"], "no Route matched with those values");
    let ready = tests::http::get(dp.address("status"), "/status/ready", &[]).unwrap();
    assert_eq!(ready.status, 503);
    assert!(ready.text().contains("no configuration available"), "{}", ready.text());
}

#[test]
fn a_declarative_file_is_served_and_only_a_changed_file_replaces_it() {
    let lab = tests::lab::Lab::new();
    let file = lab.path().join("seed.yaml");
    let write = |path: &str| {
        let text = format!(
            "_format_version: \"3.0\"\nservices:\n- name: s\n  url: http://127.0.0.1:1\n  routes:\n  - name: r\n    paths: [{path}]\n  \
             plugins:\n  - name: request-termination\n    config: {{status_code: 200, message: from the file}}\n"
        );
        std::fs::write(&file, text).unwrap();
    };
    write("/one");
    let mut dp = lab.dp("seeded").with_text("declarative_config", file.display()).start();
    dp.is_ready();
    assert_eq!(dp.get("/one", &[]).json()["message"], "from the file");
    dp = dp.kill().start();
    dp.is_ready();
    assert_eq!(dp.get("/one", &[]).status, 200);
    let setup = dp.kill();
    write("/two");
    let mut dp = setup.start();
    dp.is_ready();
    assert_eq!((dp.get("/one", &[]).status, dp.get("/two", &[]).status), (404, 200));
    // A file that went bad or away is reported, and takes nothing from whoever is served.
    let mut setup = dp.kill();
    for spoil in [
        |file: &std::path::Path| std::fs::write(file, "services: [{name: }").unwrap(),
        |file: &std::path::Path| {
            std::fs::remove_file(file).unwrap();
        },
    ] {
        spoil(&file);
        let mut dp = setup.start();
        dp.is_ready();
        assert_eq!(dp.get("/two", &[]).status, 200);
        let error = dp.sync_status()["declarative_config_error"].clone();
        assert!(error.as_str().is_some_and(|error| error.contains("seed.yaml")), "{error}");
        setup = dp.kill();
    }
}
