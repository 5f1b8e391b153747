//! Entities of every kind: create, read, change, delete, lists, what hangs below what, and Kong's errors.

use super::*;
use crate::changelog::Transaction;
use model::body::ForeignKey;
use model::kinds::keyauth_credentials::KeyauthCredential;
use model::{Change, Record};

#[test]
fn every_kind_is_created_read_changed_and_deleted_alike() {
    for def in ALL {
        let lab = Lab::new();
        let name = def.name;
        let collection = format!("/{}", def.admin_path);
        let created = lab.create(&collection, lab.minimal(def, 1));
        let path = format!("{collection}/{}", id(&created));
        for field in def.schema.fields {
            assert!(created.get(field.name).is_some(), "{name}: {} is missing", field.name);
        }
        assert_eq!(created["created_at"].as_f64().unwrap().trunc(), NOW_S as f64, "{name}");
        assert_eq!(lab.get(&path).body, created, "{name}");
        assert_eq!(lab.get(&collection).body["data"], json!([created]), "{name}");

        let patched = lab.call("PATCH", &path, json!({"tags": ["b", "a"]}));
        assert_eq!((patched.status, id(&patched.body)), (200, id(&created)), "{name}");
        assert_eq!(patched.body["tags"].as_array().unwrap().len(), 2, "{name}");

        let mut whole = patched.body.clone();
        whole["tags"] = Value::Null;
        whole.as_object_mut().unwrap().remove("created_at");
        let put = lab.call("PUT", &path, whole);
        assert_eq!(put.status, 200, "{name}: {}", put.body);
        assert_eq!((&put.body["tags"], &put.body["created_at"]), (&Value::Null, &created["created_at"]), "{name}");

        // A target's address names it below its upstream only.
        let is_unique = |key: &&str| def.schema.field(key).is_some_and(|field| field.unique);
        if let Some(key) = def.endpoint_key.filter(is_unique) {
            let named = format!("{collection}/{}", created[key].as_str().unwrap());
            assert_eq!(lab.get(&named).body, put.body, "{name}");
        }
        for _ in 0..2 {
            let deleted = lab.call("DELETE", &path, Value::Null);
            assert_eq!((deleted.status, deleted.body), (204, Value::Null), "{name}");
        }
        assert_eq!(lab.get(&path).status, 404, "{name}");
        assert_eq!(lab.count(def.kind), 0, "{name}");
    }
}

#[test]
fn every_kind_hangs_below_what_it_refers_to() {
    for link in ALL.iter().flat_map(|def| links::of(def)) {
        let lab = Lab::new();
        let (child, parent) = (link.child, link.parent);
        let what = format!("{} below {}", child.name, parent.name);
        let owner = lab.create(&format!("/{}", parent.admin_path), lab.minimal(parent, 1));
        let stranger = lab.create(&format!("/{}", parent.admin_path), lab.minimal(parent, 2));
        let below = |owner: &Value| format!("/{}/{}/{}", parent.admin_path, id(owner), child.nested_path);
        let mut entity = lab.minimal(child, 3);
        entity.as_object_mut().unwrap().remove(link.field);
        if link.field == "client_certificate" && child.kind == Kind::Service {
            entity["protocol"] = json!("https");
        }
        let created = lab.create(&below(&owner), entity);
        assert_eq!(created[link.field], json!({"id": id(&owner)}), "{what}");
        assert_eq!(lab.get(&below(&owner)).body["data"], json!([created]), "{what}");
        assert_eq!(lab.get(&below(&stranger)).body["data"], json!([]), "{what}");
        let mine = format!("{}/{}", below(&owner), id(&created));
        let not_mine = format!("{}/{}", below(&stranger), id(&created));
        assert_eq!(lab.get(&mine).body, created, "{what}");
        assert_eq!(lab.get(&not_mine).status, 404, "{what}");
        assert_eq!(lab.call("DELETE", &not_mine, Value::Null).status, 404, "{what}");
        let patched = lab.call("PATCH", &mine, json!({"tags": ["x"]}));
        assert_eq!((patched.status, &patched.body["tags"]), (200, &json!(["x"])), "{what}: {}", patched.body);

        let up = format!("/{}/{}/{}", child.admin_path, id(&created), link.field);
        assert_eq!(lab.get(&up).body, lab.get(&format!("/{}/{}", parent.admin_path, id(&owner))).body, "{what}");
        assert_eq!(lab.call("DELETE", &up, Value::Null).status, 405, "{what}");
        assert_eq!(lab.call("DELETE", &mine, Value::Null).status, 204, "{what}");
        assert_eq!(lab.get(&below(&owner)).body["data"], json!([]), "{what}");
        assert_eq!(lab.get(&format!("/{}/nobody/{}", parent.admin_path, child.nested_path)).status / 100, 4, "{what}");
    }
}

#[test]
fn deleting_takes_along_what_cascades_and_is_refused_for_what_does_not() {
    for link in ALL.iter().flat_map(|def| links::of(def)) {
        let lab = Lab::new();
        let (child, parent) = (link.child, link.parent);
        let what = format!("{} of {}", parent.name, child.name);
        let owner = lab.create(&format!("/{}", parent.admin_path), lab.minimal(parent, 1));
        let mut entity = lab.minimal(child, 3);
        entity[link.field] = json!({"id": id(&owner)});
        if link.field == "client_certificate" && child.kind == Kind::Service {
            entity["protocol"] = json!("https");
        }
        lab.create(&format!("/{}", child.admin_path), entity);
        let before = lab.count(child.kind);
        let deleted = lab.call("DELETE", &format!("/{}/{}", parent.admin_path, id(&owner)), Value::Null);
        if link.cascade || child.kind == Kind::Sni {
            assert_eq!((deleted.status, lab.count(child.kind)), (204, before - 1), "{what}");
        } else {
            let (child, parent) = (child.name, parent.name);
            let expected = json!({"code": 4, "name": "foreign key violation",
                "message": format!("an existing '{child}' entity references this '{parent}' entity"),
                "fields": {"@referenced_by": child}});
            assert_eq!((deleted.status, deleted.body), (400, expected), "{what}");
        }
    }
}

#[test]
fn put_creates_by_id_and_by_name_and_then_replaces() {
    let lab = Lab::new();
    let path = "/services/0dc6f45b-8f8d-40d2-a504-473544ee190b";
    let created = lab.call("PUT", path, json!({"name": "a", "host": "one.example", "retries": 1}));
    assert_eq!((created.status, id(&created.body)), (200, &path[10..]));
    let replaced = lab.call("PUT", "/services/a", json!({"host": "two.example"}));
    assert_eq!((replaced.status, id(&replaced.body)), (200, &path[10..]));
    assert_eq!((&replaced.body["host"], &replaced.body["retries"]), (&json!("two.example"), &json!(5)));
    let named = lab.call("PUT", "/services/b", json!({"host": "three.example"}));
    assert_eq!((named.status, &named.body["name"]), (200, &json!("b")));
    assert_eq!(lab.count(Kind::Service), 2);
    assert_eq!(lab.call("PATCH", "/services/c", json!({"host": "x"})).status, 404);
    assert_eq!(lab.count(Kind::Service), 2);
}

#[test]
fn a_put_below_a_child_creates_what_it_then_refers_to() {
    let lab = Lab::new();
    lab.create("/routes", json!({"name": "r", "paths": ["/r"]}));
    assert_eq!(lab.get("/routes/r/service").status, 404);
    let version = lab.version();
    let service = lab.call("PUT", "/routes/r/service", json!({"name": "s", "host": "s.example"}));
    assert_eq!(service.status, 200, "{}", service.body);
    assert_eq!(lab.version(), version + 1, "service and reference are one version");
    assert_eq!(lab.get("/routes/r").body["service"], json!({"id": id(&service.body)}));
    let patched = lab.call("PATCH", "/routes/r/service", json!({"port": 81}));
    assert_eq!((patched.status, &patched.body["port"]), (200, &json!(81)));
}

#[test]
fn a_plugin_is_moved_by_a_put_below_another_parent() {
    let lab = Lab::new();
    for name in ["a", "b"] {
        lab.create("/services", json!({"name": name, "host": "h"}));
    }
    let plugin = lab.create("/services/a/plugins", json!({"name": "key-auth"}));
    let moved = lab.call("PUT", &format!("/services/b/plugins/{}", id(&plugin)), json!({"name": "key-auth"}));
    assert_eq!(moved.body["service"], json!({"id": id(&lab.get("/services/b").body)}));
    assert_eq!(lab.get("/services/a/plugins").body["data"], json!([]));
}

#[test]
fn targets_are_found_by_their_address_below_their_upstream() {
    let lab = Lab::new();
    for name in ["u1", "u2"] {
        lab.create("/upstreams", json!({"name": name}));
        lab.create(&format!("/upstreams/{name}/targets"), json!({"target": "10.0.0.1:80"}));
    }
    let target = lab.get("/upstreams/u1/targets/10.0.0.1:80");
    assert_eq!((target.status, &target.body["weight"]), (200, &json!(100)));
    assert!(target.body["created_at"].as_f64().unwrap().fract() > 0.2, "targets' times have milliseconds");
    let weighed = lab.call("PATCH", "/upstreams/u1/targets/10.0.0.1:80", json!({"weight": 0}));
    assert_eq!(weighed.body["weight"], json!(0));
    assert_eq!(lab.get("/upstreams/u2/targets/10.0.0.1:80").body["weight"], json!(100));
    assert_eq!(lab.get("/upstreams/u1/targets/all").body["data"].as_array().unwrap().len(), 1);
    let again = lab.call("POST", "/upstreams/u1/targets", json!({"target": "10.0.0.1:80"}));
    let upstream = id(&lab.get("/upstreams/u1").body).to_owned();
    let message = format!("UNIQUE violation detected on '{{target=\"10.0.0.1:80\",upstream={{id=\"{upstream}\"}}}}'");
    assert_eq!((again.status, &again.body["message"]), (409, &json!(message)));
}

#[test]
fn targets_are_found_by_any_form_of_their_address() {
    let lab = Lab::new();
    lab.create("/upstreams", json!({"name": "u"}));
    for (target, asked, kept) in [
        ("[::1]:80", "[::1]:80", "[0000:0000:0000:0000:0000:0000:0000:0001]:80"),
        ("[::2]:80", "[0:0::0002]:80", "[0000:0000:0000:0000:0000:0000:0000:0002]:80"),
        ("10.0.0.1", "10.0.0.1", "10.0.0.1:8000"),
        ("host", "host:8000", "host:8000"),
    ] {
        lab.create("/upstreams/u/targets", json!({"target": target}));
        let path = format!("/upstreams/u/targets/{asked}");
        assert_eq!(lab.get(&path).body["target"], json!(kept));
        assert_eq!(lab.call("DELETE", &path, json!(null)).status, 204);
        assert_eq!(lab.get(&path).status, 404, "{asked}");
    }
    assert_eq!(lab.get("/upstreams/u/targets").body["data"], json!([]));
}

#[test]
fn certificates_show_take_and_lose_their_names() {
    let lab = Lab::new();
    let (cert, key) = pair();
    let body = json!({"cert": cert, "key": key, "snis": ["b.example", "a.example"]});
    let version = lab.version();
    let created = lab.create("/certificates", body);
    assert_eq!(lab.version(), version + 1, "a certificate and its names are one version");
    assert_eq!(created["snis"], json!(["a.example", "b.example"]));
    assert_eq!(lab.get("/certificates/b.example").body, created);
    assert_eq!(lab.get("/certificates").body["data"], json!([created]));

    let path = format!("/certificates/{}", id(&created));
    let patched = lab.call("PATCH", &path, json!({"snis": ["b.example", "c.example"]}));
    assert_eq!(patched.body["snis"], json!(["b.example", "c.example"]));
    assert_eq!(lab.call("PATCH", &path, json!({"tags": ["t"]})).body["snis"], json!(["b.example", "c.example"]));

    let taken = lab.call("POST", "/certificates", json!({"cert": cert, "key": key, "snis": ["c.example"]}));
    let text =
        format!("schema violation (snis: c.example already associated with existing certificate '{}')", id(&created));
    assert_eq!((taken.status, &taken.body["message"]), (400, &json!(text)));
    let twice =
        lab.call("POST", "/certificates", json!({"cert": cert, "key": key, "snis": ["d.example", "d.example"]}));
    assert_eq!(twice.body["fields"], json!({"snis": "d.example is duplicated"}));
    assert_eq!(lab.count(Kind::Certificate), 1);

    assert_eq!(lab.call("DELETE", &path, Value::Null).status, 204);
    assert_eq!((lab.count(Kind::Certificate), lab.count(Kind::Sni)), (0, 0));
}

#[test]
fn certificates_and_keys_that_do_not_match_are_refused() {
    let lab = Lab::new();
    let (cert, _) = pair();
    let other = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let seen = lab.call("POST", "/certificates", json!({"cert": cert, "key": other}));
    assert_eq!((seen.status, &seen.body["fields"]["@entity"]), (400, &json!(["certificate does not match key"])));
    let leaf = lab.call("POST", "/ca_certificates", json!({"cert": leaf()}));
    assert_eq!((leaf.status, &leaf.body["name"]), (400, &json!("schema violation")), "{}", leaf.body);
}

#[test]
fn errors_are_kongs() {
    let lab = Lab::new();
    let service = lab.create("/services", json!({"name": "s", "host": "h"}));
    let missing = "11111111-2222-3333-4444-555555555555";

    let seen = lab.call("POST", "/services", json!({"name": "s", "host": "h"}));
    let expected = json!({"code": 5, "name": "unique constraint violation",
        "message": "UNIQUE violation detected on '{name=\"s\"}'", "fields": {"name": "s"}});
    assert_eq!((seen.status, seen.body), (409, expected));

    let seen = lab.call("POST", "/services", json!({"id": id(&service), "host": "h"}));
    let expected = json!({"code": 3, "name": "primary key violation",
        "message": format!("primary key violation on key '{{id=\"{}\"}}'", id(&service)),
        "fields": {"id": id(&service)}});
    assert_eq!((seen.status, seen.body), (400, expected));

    let seen = lab.call("POST", "/routes", json!({"paths": ["/"], "service": {"id": missing}}));
    let expected = json!({"code": 4, "name": "foreign key violation",
        "message": format!("the foreign key '{{id=\"{missing}\"}}' does not reference an existing 'services' entity."),
        "fields": {"service": {"id": missing}}});
    assert_eq!((seen.status, seen.body), (400, expected));

    let seen = lab.call("POST", "/routes", json!({"paths": ["/"], "service": {"name": "x"}}));
    assert_eq!(
        (seen.status, &seen.body["code"], &seen.body["name"]),
        (400, &json!(13), &json!("foreign keys unresolved"))
    );
    let named = lab.create("/routes", json!({"paths": ["/"], "service": {"name": "s"}}));
    assert_eq!(named["service"], json!({"id": id(&service)}));

    let seen = lab.call("POST", "/services", json!({"port": "x", "unknown": 1}));
    assert_eq!((seen.status, &seen.body["code"], &seen.body["name"]), (400, &json!(2), &json!("schema violation")));
    assert!(seen.body["message"].as_str().unwrap().starts_with("3 schema violations ("), "{}", seen.body);
    let fields = seen.body["fields"].as_object().unwrap();
    assert_eq!(fields.keys().map(String::as_str).collect::<Vec<_>>(), ["host", "port", "unknown"]);

    let seen = lab.get("/ca_certificates/no-uuid");
    assert_eq!((seen.status, &seen.body["code"], &seen.body["name"]), (400, &json!(1), &json!("invalid primary key")));
    assert_eq!(lab.get("/services/none").body, json!({"message": "Not found"}));

    lab.create("/services/s/plugins", json!({"name": "key-auth"}));
    let seen = lab.call("POST", "/plugins", json!({"name": "key-auth", "service": {"id": id(&service)}}));
    let text = format!(
        "UNIQUE violation detected on '{{consumer=null,name=\"key-auth\",route=null,service={{id=\"{}\"}}}}'",
        id(&service)
    );
    assert_eq!((seen.status, &seen.body["message"]), (409, &json!(text)));
}

#[test]
fn lists_come_in_pages_that_meet_every_entity_once() {
    let lab = Lab::new();
    for n in 0..25 {
        let tags = if n % 2 == 0 { json!(["even", "all"]) } else { json!(["odd", "all"]) };
        lab.create("/consumers", json!({"username": format!("c{n}"), "tags": tags}));
    }
    for (query, expected) in [
        ("", 25),
        ("&tags=all", 25),
        ("&tags=even", 13),
        ("&tags=even,all", 13),
        ("&tags=even/odd", 25),
        ("&tags=even,odd", 0),
    ] {
        let mut next = format!("/consumers?size=7{query}");
        let mut seen = Vec::new();
        loop {
            let page = lab.get(&next);
            assert_eq!(page.status, 200, "{next}: {}", page.body);
            let data = page.body["data"].as_array().unwrap();
            assert!(data.len() <= 7);
            seen.extend(data.iter().map(|entity| id(entity).to_owned()));
            match page.body["next"].as_str() {
                Some(path) => {
                    assert!(page.body["offset"].is_string());
                    next = path.to_owned();
                }
                None => {
                    assert!(page.body.get("offset").is_none() && page.body["next"].is_null());
                    break;
                }
            }
        }
        let all = seen.len();
        seen.sort();
        seen.dedup();
        assert_eq!((seen.len(), all), (expected, expected), "{query}");
    }
    assert_eq!(lab.get("/consumers").body["data"].as_array().unwrap().len(), 25);
}

#[test]
fn queries_of_lists_are_checked() {
    let lab = Lab::new();
    for (query, code, name) in [
        ("size=0", 9, "invalid size"),
        ("size=1001", 9, "invalid size"),
        ("size=x", 9, "invalid size"),
        ("offset=%21", 7, "invalid offset"),
        ("offset=AAAA", 7, "invalid offset"),
        ("tags=a,b/c", 11, "invalid options"),
        ("tags=", 11, "invalid options"),
        ("tags=1,2,3,4,5,6", 11, "invalid options"),
    ] {
        let seen = lab.get(&format!("/services?{query}"));
        assert_eq!((seen.status, &seen.body["code"], &seen.body["name"]), (400, &json!(code), &json!(name)), "{query}");
    }
    assert_eq!(lab.get("/services?size=1000&tags=1/2/3/4/5").status, 200);
}

#[test]
fn bodies_come_as_json_forms_and_multipart() {
    let lab = Lab::new();
    lab.create("/services", json!({"name": "s", "host": "h"}));
    let route = lab.form("POST", "/services/s/routes", "name=r&paths[]=/a&paths[]=/b&methods=GET&strip_path=false");
    assert_eq!(route.status, 201, "{}", route.body);
    assert_eq!((&route.body["paths"], &route.body["methods"]), (&json!(["/a", "/b"]), &json!(["GET"])));
    assert_eq!(route.body["strip_path"], json!(false));

    let plugin =
        lab.form("POST", "/routes/r/plugins", "name=request-termination&config.status_code=418&config.message=no");
    assert_eq!((plugin.status, &plugin.body["config"]["status_code"]), (201, &json!(418)), "{}", plugin.body);
    let path = format!("/plugins/{}", id(&plugin.body));
    let patched = lab.form("PATCH", &path, "config.status_code=419");
    assert_eq!((patched.status, &patched.body["config"]["status_code"]), (200, &json!(419)), "{}", patched.body);
    assert_eq!(patched.body["config"]["message"], json!("no"), "other settings stay");

    let body = "--B\r\nContent-Disposition: form-data; name=\"username\"\r\n\r\nbob\r\n--B--\r\n";
    let consumer = lab.send("POST", "/consumers", Some("multipart/form-data; boundary=B"), body.as_bytes());
    assert_eq!((consumer.status, &consumer.body["username"]), (201, &json!("bob")));
    let url = lab.form("PUT", "/services/t", "url=https://t.example/base");
    let expected = (json!("https"), json!("t.example"), json!(443), json!("/base"));
    let got = &url.body;
    assert_eq!((got["protocol"].clone(), got["host"].clone(), got["port"].clone(), got["path"].clone()), expected);
}

#[test]
fn bodies_that_cannot_be_read_are_refused_clearly() {
    let lab = Lab::new();
    let json_type = Some("application/json");
    for body in ["{", "[1]", "\"x\"", "7", "{\"a\":1}}", ""] {
        let seen = lab.send("POST", "/services", json_type, body.as_bytes());
        assert_eq!((seen.status, seen.body), (400, json!({"message": "Cannot parse JSON body"})), "{body}");
    }
    let deep = "[".repeat(100_000);
    assert_eq!(lab.send("POST", "/services", json_type, deep.as_bytes()).status, 400);
    for content_type in [None, Some("text/plain"), Some("application/xml")] {
        assert_eq!(lab.send("POST", "/services", content_type, b"x").status, 415, "{content_type:?}");
    }
    assert_eq!(lab.send("POST", "/services", Some("multipart/form-data"), b"x").status, 400);
    let big = json!({"name": "big", "host": "h", "tags": ["x".repeat(model::record::BODY_BYTES_MAX)]});
    let seen = lab.call("POST", "/services", big);
    assert_eq!(seen.status, 400, "an entity over the limit: {}", seen.status);
    assert_eq!(lab.version(), 0);
}

#[test]
fn generated_keys_differ_and_credentials_are_listed_flat() {
    let lab = Lab::new();
    lab.create("/consumers", json!({"username": "bob"}));
    let first = lab.create("/consumers/bob/key-auth", json!({}));
    let second = lab.send("POST", "/consumers/bob/key-auth", None, b"");
    assert_eq!(second.status, 201);
    assert_ne!(first["key"], second.body["key"]);
    assert_eq!(lab.get("/key-auths").body["data"].as_array().unwrap().len(), 2);
    let by_key = lab.get(&format!("/consumers/bob/key-auth/{}", first["key"].as_str().unwrap()));
    assert_eq!(by_key.body, first);
    assert_eq!(lab.get(&format!("/key-auths/{}/consumer", id(&first))).body["username"], json!("bob"));
    for kind in ["hmac-auths", "basic-auths", "acls", "oauth2", "mtls-auths", "consumer_groups", "vaults", "timers"] {
        assert_eq!(lab.get(&format!("/{kind}?size=1000")).status, 404, "{kind}");
    }
}

#[test]
fn a_ttl_is_shown_as_what_remains_and_what_has_ended_is_not_found() {
    let lab = Lab::new();
    let ann = lab.create("/consumers", json!({"username": "ann"}));
    let key = lab.create("/consumers/ann/key-auth", json!({"key": "k", "ttl": 60}));
    assert_eq!(key["ttl"], json!(60));
    assert_eq!(lab.get("/key-auths/k").body["ttl"], json!(60));
    assert_eq!(lab.form("PATCH", "/key-auths/k", "ttl=90").body["ttl"], json!(90));
    assert_eq!(
        lab.call("PATCH", "/key-auths/k", json!({"tags": ["t"]})).body["ttl"],
        json!(90),
        "not said, not changed"
    );
    assert_eq!(lab.call("PUT", "/consumers/ann/key-auth/k", json!({})).body["ttl"], Value::Null, "PUT says it all");
    assert_eq!(lab.create("/consumers/ann/key-auth", json!({"ttl": 0}))["ttl"], Value::Null);
    let refused = lab.call("POST", "/consumers/ann/key-auth", json!({"ttl": -1}));
    assert_eq!(
        (refused.status, &refused.body["fields"]["ttl"]),
        (400, &json!("must be an integer between 0 and 100000000"))
    );

    let ended = KeyauthCredential {
        id: Id(9),
        consumer: ForeignKey { id: id(&ann).parse().unwrap() },
        key: "over".to_owned(),
        expires_at: Some(NOW_S),
        ..KeyauthCredential::default()
    };
    let body = ended.encode().unwrap().into();
    let put = Change::Put(Record { kind: Kind::KeyauthCredential, id: Id(9), version: 0, tag: 0, body });
    lab.block_on(lab.app.changelog.commit(Transaction { changes: vec![put], preconditions: Vec::new() })).unwrap();
    for path in ["/key-auths/over", "/consumers/ann/key-auth/over"] {
        assert_eq!((lab.get(path).status, lab.call("PATCH", path, json!({"ttl": 60})).status), (404, 404), "{path}");
    }
    assert_eq!(lab.get("/key-auths").body["data"].as_array().unwrap().len(), 2);
    assert_eq!(lab.get("/key-auths?size=2").body["next"], Value::Null);
}
