//! Keys and key sets beyond what every kind does.

use super::*;

/// A private key and its public one, PEM.
fn pem() -> (String, String) {
    let pair = KeyPair::generate().unwrap();
    (pair.serialize_pem(), pair.public_key_pem())
}

#[test]
fn keys_are_made_listed_and_named_below_their_set_and_go_with_it() {
    let lab = Lab::new();
    let set = lab.create("/key-sets", json!({"name": "tokens of all"}));
    assert_eq!(lab.get("/key-sets/tokens%20of%20all").body, set);
    let below = "/key-sets/tokens%20of%20all/keys";
    let (private, public) = pem();
    let one = lab.create(below, json!({"name": "one", "kid": "1", "jwk": jwk("1"), "tags": ["t"]}));
    let two = lab.create(
        "/keys",
        json!({"kid": "2", "set": {"name": "tokens of all"}, "pem": {"private_key": private, "public_key": public}}),
    );
    assert_eq!((&one["set"], &two["set"]), (&json!({"id": id(&set)}), &json!({"id": id(&set)})));
    assert_eq!((&two["pem"]["public_key"], &two["jwk"]), (&json!(public), &Value::Null));
    lab.create("/keys", json!({"kid": "1", "jwk": jwk("1")}));
    assert_eq!(lab.get(below).body["data"].as_array().unwrap().len(), 2);
    assert_eq!(lab.get(&format!("{below}?tags=t")).body["data"], json!([one]));
    let first = lab.get("/keys?size=2").body;
    assert_eq!(lab.get(first["next"].as_str().unwrap()).body["data"].as_array().unwrap().len(), 1);
    assert_eq!(lab.get(&format!("{below}/one")).body, one);
    assert_eq!(lab.get("/keys/one/set").body, set);
    assert_eq!(lab.get("/tags/t").body["data"][0]["entity_name"], json!("keys"));

    assert_eq!(lab.call("DELETE", &format!("/key-sets/{}", id(&set)), Value::Null).status, 204);
    assert_eq!((lab.count(Kind::KeySet), lab.count(Kind::Key)), (0, 1));
}

#[test]
fn a_key_is_put_by_name_changes_its_form_and_leaves_its_set() {
    let lab = Lab::new();
    let set = lab.call("PUT", "/key-sets/tokens", json!({}));
    assert_eq!((set.status, &set.body["name"]), (200, &json!("tokens")));
    let put = lab.call("PUT", "/keys/one", json!({"kid": "1", "jwk": jwk("1"), "set": {"id": id(&set.body)}}));
    assert_eq!((put.status, &put.body["name"]), (200, &json!("one")), "{}", put.body);
    let again = lab.call("PUT", "/keys/one", json!({"kid": "9", "jwk": jwk("9")}));
    assert_eq!((id(&again.body), &again.body["set"]), (id(&put.body), &Value::Null));
    let (private, _) = pem();
    let form =
        format!("jwk=&pem.private_key={}", form_urlencoded::byte_serialize(private.as_bytes()).collect::<String>());
    let changed = lab.form("PATCH", "/keys/one", &form);
    assert_eq!((changed.status, &changed.body["jwk"]), (200, &Value::Null), "{}", changed.body);
    assert_eq!(changed.body["pem"], json!({"private_key": private, "public_key": null}));
    let text = "only one or none of these fields must be set: 'pem', 'jwk'";
    let both = lab.call("PATCH", "/keys/one", json!({"jwk": jwk("9")}));
    assert_eq!((both.status, &both.body["fields"]), (400, &json!({"@entity": [text]})));
}

#[test]
fn a_kid_occurs_once_in_a_set_and_once_in_none() {
    let lab = Lab::new();
    let set = lab.create("/key-sets", json!({"name": "tokens"}));
    let key = |set: Value| json!({"kid": "1", "jwk": jwk("1"), "set": set});
    lab.create("/keys", key(Value::Null));
    lab.create("/keys", key(json!({"id": id(&set)})));
    let seen = lab.call("POST", "/keys", key(Value::Null));
    assert_eq!(
        (seen.status, &seen.body["message"]),
        (409, &json!("UNIQUE violation detected on '{kid=\"1\",set=null}'"))
    );
    let seen = lab.call("POST", "/key-sets/tokens/keys", json!({"kid": "1", "jwk": jwk("1")}));
    let text = format!("UNIQUE violation detected on '{{kid=\"1\",set={{id=\"{}\"}}}}'", id(&set));
    assert_eq!((seen.status, &seen.body["message"]), (409, &json!(text)));
}

#[test]
fn what_is_no_key_is_refused_in_kongs_words() {
    let lab = Lab::new();
    let (private, public) = pem();
    let (other, _) = pem();
    let entity = |text: &str| json!({"@entity": [text]});
    for (body, fields) in [
        (json!({"kid": "36", "jwk": "{\"kid\": \"36\"}"}), entity("could not load JWK, likely not a valid key")),
        (json!({"kid": "2", "jwk": jwk("1")}), entity("kid in jwk.kid must be equal to keys.kid")),
        (json!({"kid": "2", "jwk": "{"}), entity("could not json decode jwk string")),
        (json!({"kid": "2"}), entity("at least one of these fields must be non-empty: 'pem', 'jwk'")),
        (json!({"kid": "2", "pem": {"public_key": private}}), json!({"pem": "could not load public key"})),
        (json!({"kid": "2", "pem": {"private_key": public}}), json!({"pem": "could not load private key"})),
        (
            json!({"kid": "2", "pem": {"private_key": other, "public_key": public}}),
            json!({"pem": "public key does not match private key"}),
        ),
    ] {
        let seen = lab.call("POST", "/keys", body.clone());
        assert_eq!((seen.status, &seen.body["code"], &seen.body["fields"]), (400, &json!(2), &fields), "{body}");
        assert_eq!(lab.call("POST", "/schemas/keys/validate", body).body["fields"], fields);
    }
    let seen = lab.call("POST", "/keys", json!({"kid": "1", "jwk": jwk("1"), "set": {"name": "none"}}));
    assert_eq!((seen.status, &seen.body["code"]), (400, &json!(13)));
    assert_eq!(lab.count(Kind::Key), 0);
}
