//! The fixed endpoints, methods and headers.

use super::*;
use crate::fleet::{Introduction, Refusal};
use wire::compat::SyncStatus;

#[test]
fn the_root_tells_tools_what_they_decide_by() {
    let lab = Lab::new();
    lab.create("/plugins", json!({"name": "key-auth"}));
    let seen = lab.get("/");
    assert_eq!(seen.status, 200);
    let body = seen.body;
    assert!(body["version"].as_str().unwrap().starts_with("3.9."));
    assert_eq!((&body["hostname"], &body["cp_lite_version"]), (&json!("cp.example"), &json!("0.0.0")));
    assert_eq!(body["plugins"]["available_on_server"]["key-auth"]["priority"], json!(1250));
    assert_eq!(body["plugins"]["enabled_in_cluster"], json!(["key-auth"]));
    let configuration = &body["configuration"];
    assert_eq!((&configuration["database"], &configuration["role"]), (&json!("postgres"), &json!("control_plane")));
    assert_eq!(configuration["admin_listen"], json!("127.0.0.1:8001"));
}

#[test]
fn every_answer_has_kongs_headers() {
    let lab = Lab::new();
    for path in ["/", "/services", "/nothing", "/services/none"] {
        let headers = lab.get(path).headers;
        assert_eq!(headers[header::CONTENT_TYPE], "application/json; charset=utf-8", "{path}");
        assert_eq!(headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*", "{path}");
        assert!(headers[header::SERVER].to_str().unwrap().starts_with("kong/3.9."), "{path}");
        headers["x-kong-admin-latency"].to_str().unwrap().parse::<u64>().unwrap();
    }
}

#[test]
fn methods_that_a_place_does_not_take_are_named() {
    let lab = Lab::new();
    for (method, path, allow) in [
        ("PATCH", "/services", "GET, HEAD, OPTIONS, POST"),
        ("POST", "/services/x", "DELETE, GET, HEAD, OPTIONS, PATCH, PUT"),
        ("DELETE", "/", "GET, HEAD, OPTIONS"),
        ("GET", "/config/apply", "OPTIONS, POST"),
        ("PUT", "/config", "GET, HEAD, OPTIONS, POST"),
    ] {
        let seen = lab.call(method, path, json!({}));
        assert_eq!((seen.status, &seen.body), (405, &json!({"message": "Method not allowed"})), "{method} {path}");
        assert_eq!(seen.headers[header::ALLOW], allow, "{method} {path}");
        let options = lab.send("OPTIONS", path, None, b"");
        assert_eq!((options.status, &options.headers[header::ALLOW]), (204, &seen.headers[header::ALLOW]), "{path}");
        assert_eq!(options.headers[header::ACCESS_CONTROL_ALLOW_METHODS], allow, "{path}");
    }
    let head = lab.send("HEAD", "/services", None, b"");
    assert_eq!((head.status, head.body), (200, Value::Null));
    assert_ne!(head.headers[header::CONTENT_LENGTH], "0");
}

#[test]
fn odd_paths_are_not_found_or_mean_the_obvious() {
    let lab = Lab::new();
    lab.create("/services", json!({"name": "a~b", "host": "h"}));
    assert_eq!(lab.get("/services/").status, 200);
    assert_eq!(lab.get("/services/a%7Eb").body["host"], json!("h"));
    for path in ["/services//", "/%ff", "/services/a~b/nothing", "/a/b/c/d/e/f/g/h/i", "/targets/x/y", "/schemas"] {
        assert_eq!(lab.get(path).status, 404, "{path}");
    }
}

#[test]
fn schemas_are_shown_and_entities_checked_without_being_stored() {
    let lab = Lab::new();
    for def in ALL {
        let seen = lab.get(&format!("/schemas/{}", def.name));
        let fields = seen.body["fields"].as_array().unwrap();
        // Kong's schemas do not list `ttl`.
        let listed = def.schema.fields.len() - usize::from(def.schema.is_mortal());
        assert!(fields.len() >= listed, "{}", def.name);
    }
    assert_eq!(lab.get("/schemas/plugins/key-auth").status, 200);
    assert_eq!(lab.get("/schemas/plugins/none").body, json!({"message": "No plugin named 'none'"}));
    assert_eq!(lab.get("/schemas/none").body, json!({"message": "No entity named 'none'"}));
    assert!(lab.get("/plugins/enabled").body["enabled_plugins"].as_array().unwrap().contains(&json!("jwt")));
    let good = lab.call("POST", "/schemas/services/validate", json!({"host": "h"}));
    assert_eq!((good.status, good.body), (200, json!({"message": "schema validation successful"})));
    assert_eq!(lab.call("POST", "/schemas/services/validate", json!({})).body["code"], json!(2));
    let plugin = json!({"name": "key-auth", "config": {"nonsense": 1}});
    assert_eq!(lab.call("POST", "/schemas/plugins/validate", plugin).body["code"], json!(2));
    assert_eq!(lab.version(), 0);
}

#[test]
fn tags_are_listed_with_their_entities_in_pages() {
    let lab = Lab::new();
    lab.create("/services", json!({"name": "s", "host": "h", "tags": ["x", "y"]}));
    let consumer = lab.create("/consumers", json!({"username": "c", "tags": ["y"]}));
    let first = lab.get("/tags?size=2");
    let second = lab.get(first.body["next"].as_str().unwrap());
    let (first, second) = (first.body["data"].as_array().unwrap(), second.body["data"].as_array().unwrap());
    assert_eq!((first.len(), second.len()), (2, 1));
    assert!(first.iter().all(|row| row["entity_name"] == "services"));
    assert_eq!(second[0], json!({"entity_name": "consumers", "entity_id": id(&consumer), "tag": "y"}));
    assert_eq!(lab.get("/tags/y").body["data"].as_array().unwrap().len(), 2);
    assert_eq!(lab.get("/tags/none").body["data"], json!([]));
}

#[test]
fn the_fleet_is_shown_as_kong_shows_it_and_with_what_we_know() {
    let lab = Lab::new();
    lab.create("/services", json!({"name": "s", "host": "h"}));
    let epoch = lab.app.changelog.view().epoch;
    let hello = Introduction {
        hostname: "edge-1".into(),
        ip: "10.0.0.9".into(),
        version: "0.1.0".into(),
        ..Introduction::default()
    };
    let session = lab.app.fleet.connect(Id(5), hello, NOW_S - 30).unwrap();
    lab.app.fleet.update(Id(5), session, NOW_S - 10, |node| {
        node.epoch = epoch;
        node.sync_status = SyncStatus::Normal;
        let (kind, id) = (Some("routes".to_owned()), Some(Id(8)));
        node.last_error =
            Some(Refusal { version: 1, code: "invalid".into(), kind, id, message: "no".into(), at: NOW_S - 10 });
    });
    lab.app.fleet.connect(Id(6), Introduction::default(), NOW_S).unwrap();
    let page = lab.get("/clustering/data-planes?size=1");
    let row = &page.body["data"][0];
    assert_eq!(
        (&row["hostname"], &row["ip"], &row["version"]),
        (&json!("edge-1"), &json!("10.0.0.9"), &json!("0.1.0"))
    );
    assert_eq!(
        (&row["sync_status"], &row["last_seen"], &row["ttl"]),
        (&json!("normal"), &json!(NOW_S - 10), &json!(1_209_590))
    );
    assert_eq!(
        (&row["connected"], &row["lag"], &row["last_error"]["kind"]),
        (&json!(true), &json!(1), &json!("routes"))
    );
    assert_eq!(row["config_hash"].as_str().unwrap().len(), 32);
    let next = lab.get(page.body["next"].as_str().unwrap());
    assert_eq!((id(&next.body["data"][0]), &next.body["next"]), (Id(6).to_string().as_str(), &Value::Null));
    assert_eq!(next.body["data"][0]["lag"], Value::Null, "a node of another epoch has no lag that means anything");
    let status = lab.get("/clustering/status");
    assert_eq!(status.headers["deprecation"], "true");
    assert_eq!(status.body[Id(5).to_string()]["hostname"], json!("edge-1"));
    assert_eq!(lab.get(&format!("/clustering/data-planes/{}", Id(7))).status, 404);
}

#[test]
fn every_listed_endpoint_exists() {
    let lab = Lab::new();
    let listed = lab.get("/endpoints").body;
    let listed = listed["data"].as_array().unwrap();
    assert!(listed.contains(&json!("/services/{services}/routes/{routes}")));
    for path in listed {
        let path = path.as_str().unwrap();
        let seen = lab.send("OPTIONS", &path.replace(['{', '}'], ""), None, b"");
        assert_eq!(seen.status, 204, "{path}");
    }
}

#[test]
fn status_counts_and_config_is_not_for_control_planes() {
    let lab = Lab::new();
    lab.create("/services", json!({"name": "s", "host": "h"}));
    let status = lab.get("/status").body;
    assert_eq!((&status["database"]["reachable"], &status["configuration"]["version"]), (&json!(true), &json!(1)));
    assert_eq!(status["server"]["total_requests"], json!(2));
    for method in ["GET", "POST"] {
        assert_eq!(lab.call(method, "/config", json!({})).status, 400, "{method}");
    }
}
