//! `POST /config/apply`: many changes, one version.

use super::*;

const S: &str = "00000000-0000-0000-0000-0000000000a1";
const R: &str = "00000000-0000-0000-0000-0000000000a2";

fn put(kind: &str, entity: Value) -> Value {
    json!({"put": {"kind": kind, "entity": entity}})
}

fn delete(kind: &str, id: &str) -> Value {
    json!({"delete": {"kind": kind, "id": id}})
}

#[test]
fn a_list_of_changes_is_one_version_whatever_its_order() {
    let lab = Lab::new();
    let changes = json!({"expect": 0, "changes": [
        put("routes", json!({"id": R, "paths": ["/r"], "service": {"id": S}})),
        put("services", json!({"id": S, "name": "s", "host": "h"})),
    ]});
    let seen = lab.call("POST", "/config/apply", changes);
    assert_eq!((seen.status, seen.body), (200, json!({"version": 1, "changed": 2})));
    assert_eq!(lab.get("/services/s/routes").body["data"].as_array().unwrap().len(), 1);

    lab.create("/services/s/plugins", json!({"name": "key-auth"}));
    let changes = json!({"changes": [delete("services", S), delete("routes", R), put("services", json!({"name": "t", "host": "h"}))]});
    let seen = lab.call("POST", "/config/apply", changes);
    assert_eq!(
        (seen.status, seen.body),
        (200, json!({"version": 3, "changed": 4})),
        "the plugin goes with its service"
    );
    assert_eq!((lab.count(Kind::Service), lab.count(Kind::Plugin), lab.count(Kind::Route)), (1, 0, 0));
}

#[test]
fn a_put_without_an_id_is_the_entity_of_that_name() {
    let lab = Lab::new();
    let service = lab.create("/services", json!({"name": "s", "host": "h", "created_at": 1_700_000_000}));
    let seen =
        lab.call("POST", "/config/apply", json!({"changes": [put("services", json!({"name": "s", "host": "other"}))]}));
    assert_eq!(seen.status, 200, "{}", seen.body);
    let after = lab.get("/services/s").body;
    assert_eq!(
        (id(&after), &after["host"], &after["created_at"]),
        (id(&service), &json!("other"), &json!(1_700_000_000))
    );
}

#[test]
fn every_mistake_is_named_and_nothing_is_applied() {
    let lab = Lab::new();
    lab.create("/consumers", json!({"username": "bob"}));
    let changes = json!({"changes": [
        put("services", json!({"name": "good", "host": "h"})),
        put("services", json!({"name": "bad"})),
        put("gadgets", json!({})),
        delete("gadgets", S),
    ]});
    let seen = lab.call("POST", "/config/apply", changes);
    assert_eq!(seen.status, 400);
    let errors = seen.body["errors"].as_array().unwrap();
    let places: Vec<_> = errors.iter().map(|error| error["change"].as_u64().unwrap()).collect();
    assert_eq!(places, [1, 2, 3]);
    assert_eq!(errors[0]["error"]["fields"], json!({"host": "required field missing"}));

    let changes = json!({"changes": [
        put("consumers", json!({"id": R, "username": "bob"})),
        put("routes", json!({"paths": ["/"], "service": {"id": S}})),
    ]});
    let seen = lab.call("POST", "/config/apply", changes);
    let codes: Vec<_> =
        seen.body["errors"].as_array().unwrap().iter().map(|error| error["error"]["code"].clone()).collect();
    assert_eq!((seen.status, codes), (409, vec![json!(5), json!(4)]));
    assert_eq!((lab.version(), lab.count(Kind::Service)), (1, 0));
}

#[test]
fn an_expected_version_that_has_passed_is_a_conflict() {
    let lab = Lab::new();
    lab.create("/services", json!({"name": "s", "host": "h"}));
    let seen = lab.call("POST", "/config/apply", json!({"changes": [delete("services", S)], "expect": 0}));
    assert_eq!(
        (seen.status, seen.body["message"].as_str().unwrap()),
        (409, "the configuration is at version 1, not at version 0")
    );
}

#[test]
fn what_is_no_list_of_changes_is_refused() {
    let lab = Lab::new();
    for body in
        [json!({}), json!({"changes": 1}), json!({"changes": [{"drop": {}}]}), json!({"changes": [], "more": 1})]
    {
        assert_eq!(lab.call("POST", "/config/apply", body.clone()).status, 400, "{body}");
    }
    assert_eq!(lab.form("POST", "/config/apply", "changes=1").status, 415);
    assert_eq!(lab.call("POST", "/config/apply", json!({"changes": []})).body, json!({"version": 0, "changed": 0}));
}

#[test]
fn entities_that_stay_keep_what_would_go_with_a_deleted_parent() {
    let lab = Lab::new();
    let old = lab.create("/services", json!({"name": "old", "host": "h"}));
    lab.create("/services", json!({"name": "new", "host": "h"}));
    let plugin = lab.create("/services/old/plugins", json!({"name": "key-auth"}));
    let moved = json!({"id": id(&plugin), "name": "key-auth", "service": {"name": "new"}});
    let seen =
        lab.call("POST", "/config/apply", json!({"changes": [delete("services", id(&old)), put("plugins", moved)]}));
    assert_eq!((seen.status, &seen.body["changed"]), (200, &json!(2)), "{}", seen.body);
    assert_eq!(lab.get("/services/new/plugins").body["data"].as_array().unwrap().len(), 1);
}
