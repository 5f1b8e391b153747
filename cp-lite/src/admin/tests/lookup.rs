//! Lists that are narrowed to one value.

use super::*;

#[test]
fn a_consumer_is_found_by_its_custom_id() {
    let lab = Lab::new();
    for (username, custom_id) in [("ann", "a/1"), ("bob", "b 2")] {
        lab.create("/consumers", json!({"username": username, "custom_id": custom_id}));
    }
    let found = lab.get("/consumers?custom_id=b%202").body;
    assert_eq!((&found["data"][0]["username"], found["data"].as_array().unwrap().len()), (&json!("bob"), 1));
    assert_eq!(found["next"], Value::Null);
    assert_eq!(lab.get("/consumers?custom_id=c").body, json!({"data": [], "next": null}));
    assert_eq!(lab.get("/consumers").body["data"].as_array().unwrap().len(), 2);
}
