//! What a change (PATCH) does to an entity.

use super::{merge, takes};
use crate::Kind;
use serde_json::{Value, json};

#[test]
fn a_change_keeps_the_rest_and_moves_updated_at() {
    let mut service = takes(Kind::Service, json!({"host": "h", "name": "s", "tags": ["a"]}));
    service["created_at"] = json!(5);
    service["updated_at"] = json!(5);
    let mut expected = service.clone();
    expected["port"] = json!(81);
    expected["tags"] = json!(["b"]);
    expected["updated_at"] = json!(1_700_000_000);
    assert_eq!(merge(Kind::Service, &service, json!({"port": 81, "tags": ["b"]})), Ok(expected));
}

#[test]
fn a_change_merges_records_deeply_and_replaces_lists() {
    let upstream = takes(Kind::Upstream, json!({"name": "up", "healthchecks": {"active": {"http_path": "/up"}}}));
    let changed =
        merge(Kind::Upstream, &upstream, json!({"healthchecks": {"active": {"healthy": {"http_statuses": [204]}}}}))
            .unwrap();
    assert_eq!(changed["healthchecks"]["active"]["http_path"], "/up");
    assert_eq!(changed["healthchecks"]["active"]["healthy"]["http_statuses"], json!([204]));
    assert_eq!(changed["healthchecks"]["active"]["healthy"]["interval"], 0);

    let plugin = takes(Kind::Plugin, json!({"name": "key-auth", "config": {"key_names": ["a", "b"], "realm": "r"}}));
    let changed = merge(Kind::Plugin, &plugin, json!({"config": {"key_names": ["c"]}})).unwrap();
    assert_eq!((&changed["config"]["key_names"], &changed["config"]["realm"]), (&json!(["c"]), &json!("r")));
}

#[test]
fn null_in_a_change_unsets_what_may_be_unset() {
    let service = takes(Kind::Service, json!({"host": "h", "name": "s", "retries": 7}));
    let changed = merge(Kind::Service, &service, json!({"name": null, "retries": null})).unwrap();
    assert_eq!((&changed["name"], &changed["retries"]), (&Value::Null, &Value::Null));
    let error = merge(Kind::Service, &service, json!({"host": null, "port": null, "x": 1})).unwrap_err();
    let expected = json!({"host": "required field missing", "port": "required field missing", "x": "unknown field"});
    assert_eq!(error["fields"], expected);
}

#[test]
fn a_change_may_use_the_url_shorthand() {
    let service = takes(Kind::Service, json!({"host": "h", "path": "/old"}));
    let changed = merge(Kind::Service, &service, json!({"url": "https://b.example:8443/new"})).unwrap();
    assert_eq!(
        json!([changed["protocol"], changed["host"], changed["port"], changed["path"]]),
        json!(["https", "b.example", 8443, "/new"])
    );
    assert!(merge(Kind::Service, &service, json!({"url": 5})).is_err());
}
