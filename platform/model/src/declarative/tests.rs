//! Promises of reading and writing files, on small documents. The real ones are in the crate's `tests` folder.

use super::*;
use crate::schema::CheckCx;
use serde_json::{Value, json};

const NOW_MS: i64 = 1_700_000_000_000;

fn with_cx<T>(run: impl FnOnce(&CheckCx<'_>) -> T) -> T {
    let new_id = || Id(7);
    run(&CheckCx { now_ms: NOW_MS, new_id: &new_id, certificates: None, keeps_updated_at: true })
}

fn reading(text: &str) -> Result<Declared, Vec<String>> {
    with_cx(|cx| read(text, None, cx)).map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect())
}

#[track_caller]
fn declared(text: &str) -> Declared {
    reading(text).unwrap_or_else(|mistakes| panic!("{mistakes:#?}"))
}

#[track_caller]
fn mistakes(text: &str) -> Vec<String> {
    reading(text).err().unwrap_or_default()
}

/// The entities of a kind, as the Admin API shows them.
fn shown(declared: &Declared, kind: Kind) -> Vec<Value> {
    let of_kind = declared.entities.iter().filter(|entity| entity.kind == kind);
    of_kind.map(|entity| Value::Object(entity.json().unwrap())).collect()
}

#[test]
fn nested_and_flat_files_declare_the_same() {
    let nested = declared(
        r#"
_format_version: "3.0"
services:
- name: orders
  host: orders.example
  routes:
  - name: list
    paths: [/orders]
    plugins:
    - name: key-auth
  plugins:
  - name: request-termination
upstreams:
- name: pool
consumers:
- username: ann
  keyauth_credentials:
  - key: k1
"#,
    );
    let flat = declared(
        r#"{"_format_version": "3.0",
"consumers": [{"username": "ann"}], "keyauth_credentials": [{"key": "k1", "consumer": "ann"}],
"plugins": [{"name": "key-auth", "route": {"name": "list"}}, {"name": "request-termination", "service": "orders"}],
"routes": [{"name": "list", "paths": ["/orders"], "service": {"name": "orders"}}],
"services": [{"name": "orders", "host": "orders.example"}], "upstreams": [{"name": "pool"}]}"#,
    );
    for kind in [Kind::Service, Kind::Route, Kind::Consumer, Kind::KeyauthCredential, Kind::Upstream] {
        assert_eq!(shown(&nested, kind), shown(&flat, kind));
    }
    assert_eq!(shown(&nested, Kind::Plugin).len(), 2);
    let kinds: Vec<_> = nested.entities.iter().map(|entity| entity.kind).collect();
    let order: Vec<_> = crate::kind::ALL.iter().map(|def| def.kind).filter(|kind| kinds.contains(kind)).collect();
    let mut deduped = kinds;
    deduped.dedup();
    assert_eq!(deduped, order, "parents come first");
}

/// The expected ids were computed with another implementation of UUID version 5 (Python's), after Kong's rules.
#[test]
fn ids_are_derived_as_kong_derives_them() {
    let file = declared(
        r#"
_format_version: "3.0"
services:
- name: foo
  host: example.com
  plugins: [{name: key-auth}]
upstreams:
- name: up
  targets: [{target: "10.0.0.1:80"}]
targets:
- {target: "10.0.0.2:80", upstream: up}
certificates: []
consumers:
- username: bob
  keyauth_credentials: [{key: secret}]
plugins:
- name: request-termination
"#,
    );
    let ids = |kind| -> Vec<String> {
        file.entities.iter().filter(|entity| entity.kind == kind).map(|entity| entity.id.to_string()).collect()
    };
    assert_eq!(ids(Kind::Service), ["2933fbcc-9d7c-54a7-a984-fe2bde836cea"]);
    assert_eq!(ids(Kind::Upstream), ["152df2f3-4eb2-505d-ba48-f128b77c4e89"]);
    assert_eq!(ids(Kind::Target), ["3050f055-8d6c-524c-a04c-365a0390bc2c", "c509ad43-0060-5511-8ce7-2d8bae4cce77"]);
    assert_eq!(ids(Kind::Consumer), ["def4f7d3-9863-5ad2-8fa9-c949bf26f55e"]);
    assert_eq!(ids(Kind::KeyauthCredential), ["d27553e1-a06a-5fd1-8f3e-fe710f007a24"]);
    assert_eq!(ids(Kind::Plugin), ["6225acf7-9b86-59b0-9105-6f7898fd6007", "27586436-7f7c-520c-a327-ee701cdef93f"]);
}

/// The same of keys, which have names, or else a `kid` in a set or in none.
#[test]
fn keys_stand_below_their_set_or_name_it() {
    let jwk = |kid: &str| {
        json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})
            .to_string()
    };
    let (one, two, three) = (jwk("k1"), jwk("k2"), jwk("k3"));
    let nested = json!({"_format_version": "2.1", "key_sets": [{"name": "tokens", "keys": [
        {"name": "signing", "kid": "k1", "jwk": one}, {"kid": "k2", "jwk": two}]}], "keys": [{"kid": "k3", "jwk": three}]});
    let nested = declared(&nested.to_string());
    let set = "e311d726-910f-5067-86dc-90e0383f3c22";
    let key = |id: &str, name: Value, kid: &str, jwk: &str, set: Value| {
        json!({"id": id, "set": set, "name": name, "kid": kid, "jwk": jwk, "pem": null, "tags": null,
               "created_at": NOW_MS / 1000, "updated_at": NOW_MS / 1000})
    };
    let in_set = json!({"id": set});
    let expected = [
        key("d96c9915-6e8e-5a96-a27a-20813df0a73f", json!("signing"), "k1", &one, in_set.clone()),
        key("0b9853c6-336f-55b6-b28a-17bf29ae3214", Value::Null, "k2", &two, in_set.clone()),
        key("eb90af52-7f72-5026-9b17-7c3fd3fb22f5", Value::Null, "k3", &three, Value::Null),
    ];
    assert_eq!(shown(&nested, Kind::Key), expected);
    assert_eq!(shown(&nested, Kind::KeySet)[0]["id"], set);
    for reference in [json!("tokens"), json!({"name": "tokens"}), in_set] {
        let flat = json!({"_format_version": "3.0", "keys": [{"name": "signing", "kid": "k1", "jwk": one, "set": reference}],
            "key_sets": [{"name": "tokens", "id": set}]});
        assert_eq!(shown(&declared(&flat.to_string()), Kind::Key), expected[..1]);
    }
    let twice =
        json!({"_format_version": "1.1", "keys": [{"kid": "k1", "jwk": one}, {"name": "n", "kid": "k1", "jwk": one}]});
    assert_eq!(mistakes(&twice.to_string()).len(), 1, "one kid among the keys without a set");
}

#[test]
fn entities_without_names_have_the_same_ids_at_every_reading() {
    let text = r#"{"_format_version": "3.0", "routes": [{"paths": ["/a"]}, {"paths": ["/b"]}, {"paths": ["/a"]}]}"#;
    let ids = |file: &Declared| -> Vec<Id> { file.entities.iter().map(|entity| entity.id).collect() };
    let first = ids(&declared(text));
    assert_eq!(first, ids(&declared(text)));
    assert_eq!(first.len(), 3);
    assert!(first[0] != first[1] && first[0] != first[2]);
}

#[test]
fn every_mistake_is_named_with_its_place() {
    let text = r#"
_format_version: "3.0"
_colour: red
services:
- name: orders
  host: orders.example
  prot: http
  routes:
  - name: list
    paths: [/orders]
    service: other
  - not a map
routes:
- name: lost
  paths: [/x]
  service: nowhere
consumers: {}
planets:
- name: mars
vaults:
- prefix: env
- prefix: other
plugins:
- name: acme
  config: {secret: "{vault://env/x}"}
- name: key-auth
  service: 7
"#;
    let expected = [
        "3:1: _colour: unknown field: no such kind of entity",
        "7:3: service 'orders' prot: unknown field",
        "11:5: route 'list' service: invalid reference: no such entry in 'services' of this file",
        "12:5: route 2: expected a map, not a string",
        "16:3: route 'lost' service: invalid reference: no such entry in 'services' of this file",
        "17:12: consumers: expected a list, not a map",
        "18:1: planets: unknown field: no such kind of entity",
        "21:3: vault 'env': vaults are not supported",
        "22:3: vault 'other': vaults are not supported",
        "24:3: plugin 'acme' name: there is no plugin 'acme' in this build",
        "27:3: plugin 'key-auth' service: expected the name or the id of a service, not a number",
    ];
    assert_eq!(mistakes(text), expected);
}

#[test]
fn the_format_version_must_be_there_and_known() {
    assert!(mistakes("services: []")[0].contains("_format_version: required field missing"));
    assert!(mistakes("_format_version: 3.0")[0].contains("in quotes"));
    assert!(mistakes("_format_version: '4.0'")[0].starts_with("1:18: _format_version: expected one of"));
    assert!(mistakes("[]")[0].contains("expected a map of entities, not an array"));
    for version in ["1.1", "2.1", "3.0"] {
        assert!(declared(&format!("_format_version: '{version}'\nservices:\n")).entities.is_empty());
    }
}

#[test]
fn files_before_3_0_have_their_regexes_guessed() {
    let paths = |version: &str| {
        let text = format!(
            r#"{{"_format_version": "{version}", "routes": [{{"name": "r", "paths": ["/flights$", "/plain", "/x/(?<id>[^\\/]+)$"]}}]}}"#
        );
        shown(&declared(&text), Kind::Route)[0]["paths"].clone()
    };
    assert_eq!(paths("1.1"), json!(["~/flights$", "/plain", r"~/x/(?<id>[^\/]+)$"]));
    assert_eq!(paths("2.1"), paths("1.1"));
}

#[test]
fn templates_fill_plugin_configurations_and_the_plugins_own_fields_win() {
    let text = r#"
_format_version: "3.0"
_plugin_configs:
  base: {hide_credentials: true, key_names: [x-key]}
plugins:
- name: key-auth
  _config: base
  config: {key_names: [mine]}
"#;
    let plugin = &shown(&declared(text), Kind::Plugin)[0];
    assert_eq!(plugin["config"]["hide_credentials"], true);
    assert_eq!(plugin["config"]["key_names"], json!(["mine"]));
    let missing = mistakes("_format_version: '3.0'\nplugins:\n- name: jwt\n  _config: nope\n");
    assert_eq!(missing, ["4:3: plugin 'jwt' _config: no such template in '_plugin_configs': 'nope'"]);
}

#[test]
fn decks_info_gives_tags_and_defaults() {
    let text = r#"
_format_version: "3.0"
_workspace: default
_info:
  select_tags: [team-a]
  defaults:
    service: {retries: 2}
services:
- {name: a, host: h}
- {name: b, host: h, retries: 9, tags: [own, team-a]}
"#;
    let file = declared(text);
    assert_eq!(file.select_tags, ["team-a"]);
    let services = shown(&file, Kind::Service);
    assert_eq!((&services[0]["retries"], &services[0]["tags"]), (&json!(2), &json!(["team-a"])));
    assert_eq!((&services[1]["retries"], &services[1]["tags"]), (&json!(9), &json!(["own", "team-a"])));
    let wrong =
        "_format_version: '3.0'\n_workspace: other\n_info:\n  select_tags: 1\n  lookup: 2\n  defaults: {star: {}}\n";
    assert_eq!(mistakes(wrong).len(), 4);
}

#[test]
fn comments_and_ignored_parts_leave_no_trace() {
    let text = r#"
_format_version: "3.0"
_comment: from the lab
_ignore: [{services: [{bad: 1}]}]
_transform: false
services:
- {name: a, host: h, _comment: x, _ignore: [1]}
"#;
    let file = declared(text);
    assert_eq!((file.comment.as_deref(), file.transform), (Some("from the lab"), false));
    assert!(shown(&file, Kind::Service)[0].get("_comment").is_none());
}

#[test]
fn snis_below_a_certificate_may_be_names_or_entities() {
    let text = r#"
_format_version: "3.0"
certificates:
- id: 00000000-0000-0000-0000-00000000000a
  cert: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
  key: "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
  snis: [a.example, {name: b.example, tags: [x]}]
"#;
    let snis = shown(&declared(text), Kind::Sni);
    let names: Vec<_> = snis.iter().map(|sni| sni["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["a.example", "b.example"]);
    assert!(snis.iter().all(|sni| sni["certificate"]["id"] == "00000000-0000-0000-0000-00000000000a"));
}

/// The shape of `kong config db_export`: flat, every field, references by id, what only Kong's database knows.
#[test]
fn what_kong_exports_loads_though_it_holds_empty_things_that_are_not_to_be_had() {
    let text = r#"
_format_version: "3.0"
_transform: false
parameters:
- {key: cluster_id, value: 8a8a8a8a-0000-4000-8000-000000000001, created_at: ~}
consumers:
- {id: 00000000-0000-0000-0000-00000000000a, username: ann, custom_id: ~, ws_id: 0dc6f45b-8f8d-40d2-a504-473544ee190b}
keyauth_credentials:
- {id: 00000000-0000-0000-0000-00000000000b, consumer: 00000000-0000-0000-0000-00000000000a, key: k, ttl: ~, tags: ~}
vaults: []
"#;
    assert_eq!(declared(text).entities.len(), 2);
    assert_eq!(mistakes(&text.replace("ttl: ~", "ttl: soon")).len(), 1);
    assert_eq!(mistakes(&text.replace("key: cluster_id", "key: other")).len(), 1);
}

#[test]
fn a_ttl_counts_from_the_reading_of_the_file() {
    let text = r#"
_format_version: "3.0"
consumers:
- username: ann
  keyauth_credentials:
  - {key: short, ttl: 5}
  - {key: long, ttl: 0}
"#;
    let file = declared(text);
    let ttls: Vec<Value> = shown(&file, Kind::KeyauthCredential).iter().map(|key| key["ttl"].clone()).collect();
    assert_eq!(ttls, [json!(5), Value::Null]);
    let body = &file.entities.iter().find(|entity| entity.kind == Kind::KeyauthCredential).unwrap().body;
    let credential = crate::kinds::keyauth_credentials::KeyauthCredential::decode(body).unwrap();
    assert_eq!(credential.expires_at, Some(NOW_MS / 1000 + 5));
}

#[test]
fn what_must_be_unique_may_stand_once() {
    let text = r#"
_format_version: "3.0"
services:
- {name: a, host: h}
- {name: a, host: other}
consumers:
- username: ann
  id: 00000000-0000-0000-0000-00000000000a
- username: bob
  id: 00000000-0000-0000-0000-00000000000a
plugins:
- name: key-auth
- name: key-auth
routes:
- name: r
  name: s
  paths: [/]
"#;
    let expected = [
        "5:3: service 'a': the same as service 'a', which stands before it",
        "10:3: consumer 'bob' id: consumer 'ann' has the same, and stands before it",
        "13:3: plugin 'key-auth': the same as plugin 'key-auth', which stands before it",
        "16:3: name: the same field stands here a second time",
    ];
    assert_eq!(mistakes(text), expected);
}

#[test]
fn secrets_are_not_in_messages() {
    let text =
        "_format_version: '3.0'\nkeyauth_credentials:\n- {key: s3cret, consumer: nobody}\n- {key: s3cret, x: 1}\n";
    let all = mistakes(text).join("\n");
    assert!(all.contains("keyauth_credential 1 consumer") && !all.contains("s3cret"), "{all}");
    let text = "_format_version: '3.0'\nkeys:\n- {kid: a, jwk: s3cret}\n- {kid: b, pem: {private_key: s3cret}}\n\
                - {name: c, jwk: '{\"kid\":\"s3cret\"}'}\n";
    let all = mistakes(text).join("\n");
    assert!(all.contains("key 1:") && all.contains("key 2 pem:") && !all.contains("s3cret"), "{all}");
}

#[test]
fn vault_references_are_refused_rather_than_taken_for_secrets() {
    let text =
        "_format_version: '3.0'\nconsumers:\n- username: a\n  keyauth_credentials:\n  - key: '{vault://env/key}'\n";
    assert_eq!(mistakes(text), ["5:10: keyauth_credential 1 key: vault references are not supported"]);
}

#[test]
fn a_file_or_a_list_that_is_too_large_is_refused() {
    let text = " ".repeat(FILE_BYTES_MAX + 1);
    assert!(mistakes(&text)[0].contains("larger than"));
    let many = format!(r#"{{"_format_version": "3.0", "services": [{}{{}}]}}"#, "{},".repeat(ENTITIES_MAX));
    assert!(mistakes(&many)[0].contains("more than 500000 entities"));
}

/// Everything of a file's entities in one comparable list.
fn content(file: &Declared) -> Vec<(Kind, Id, Value)> {
    let mut all: Vec<_> =
        file.entities.iter().map(|entity| (entity.kind, entity.id, Value::Object(entity.json().unwrap()))).collect();
    all.sort_by_key(|(kind, id, _)| (*kind, *id));
    all
}

const SAMPLE: &str = r#"
_format_version: "3.0"
services:
- name: orders
  url: https://orders.example:8443/v1
  tags: [a, b]
  routes:
  - name: list
    paths: ["~/orders/(?<id>[^/]+)$", /orders]
    methods: [GET]
    headers: {x-version: ["1", "2"]}
    plugins: [{name: key-auth, config: {key_names: [x-key]}}]
  - paths: [/unnamed]
    hosts: ["*.example.com"]
    protocols: [http]
routes:
- {name: alone, paths: [/alone]}
upstreams:
- name: pool
  algorithm: least-connections
  targets: [{target: "10.0.0.1:80", weight: 5}, {target: "10.0.0.2:80"}]
consumers:
- username: "on"
  keyauth_credentials: [{key: "012"}]
  jwt_secrets: [{key: k, secret: s}]
- custom_id: "7"
plugins:
- {name: request-termination, service: orders, consumer: "on", config: {status_code: 418, message: "no: really"}}
- {name: jwt, enabled: false}
key_sets:
- name: tokens
  keys:
  - {kid: k, jwk: '{"kty":"OKP","crv":"Ed25519","kid":"k","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}'}
  - {name: a pair, kid: p, pem: {private_key: "-----BEGIN PRIVATE KEY-----\nBAUGBw==\n-----END PRIVATE KEY-----\n"}}
"#;

#[test]
fn what_is_written_reads_back_the_same_in_every_style() {
    let original = declared(SAMPLE);
    for layout in [Layout::Nested, Layout::Flat] {
        for format in [Format::Yaml, Format::Json] {
            for detail in [Detail::Terse, Detail::Explicit, Detail::Complete] {
                let entities = original.entities.iter().map(|entity| (entity.kind, entity.json().unwrap()));
                let text = write(entities, &Preamble::default(), Style { layout, format, detail });
                let again = declared(&text);
                assert_eq!(content(&again), content(&original), "{text}");
                let rewritten = again.entities.iter().map(|entity| (entity.kind, entity.json().unwrap()));
                assert_eq!(write(rewritten, &Preamble::default(), Style { layout, format, detail }), text);
            }
        }
    }
}

#[test]
fn a_terse_file_holds_nothing_that_a_reader_fills_in() {
    let file = declared(
        "_format_version: '3.0'\nservices:\n- {name: a, host: h, port: 81, routes: [{name: r, paths: [/]}]}\n",
    );
    let entities = file.entities.iter().map(|entity| (entity.kind, entity.json().unwrap()));
    let text = write(
        entities,
        &Preamble::default(),
        Style { layout: Layout::Nested, format: Format::Yaml, detail: Detail::Terse },
    );
    let expected = "_format_version: '3.0'\nservices:\n- name: a\n  port: 81\n  host: h\n  routes:\n  - name: r\n    paths:\n    - /\n";
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    assert_eq!(sorted(&text), sorted(expected));
}

#[test]
fn an_explicit_file_holds_defaults_but_no_times_and_nothing_that_old_tools_refuse() {
    let file =
        declared("_format_version: '3.0'\nservices:\n- {name: a, host: h}\n- {name: b, host: h, enabled: false}\n");
    let entities = file.entities.iter().map(|entity| (entity.kind, entity.json().unwrap()));
    let style = Style { layout: Layout::Nested, format: Format::Yaml, detail: Detail::Explicit };
    let text = write(entities, &Preamble::default(), style);
    assert_eq!(text.matches("retries: 5").count(), 2, "{text}");
    assert!(!text.contains("created_at") && !text.contains("id:") && !text.contains("enabled: true"), "{text}");
    assert!(text.contains("enabled: false"), "{text}");
}

#[test]
fn notes_and_tags_of_a_file_are_written_again() {
    let file = declared(
        "_format_version: '1.1'\n_comment: 'mine: yes'\n_info: {select_tags: [a]}\nconsumers: [{username: u}]\n",
    );
    let preamble = Preamble { comment: file.comment.as_deref(), select_tags: &file.select_tags };
    let entities = file.entities.iter().map(|entity| (entity.kind, entity.json().unwrap()));
    let style = Style { layout: Layout::Nested, format: Format::Yaml, detail: Detail::Terse };
    let again = declared(&write(entities, &preamble, style));
    assert_eq!((again.comment, again.select_tags), (file.comment, file.select_tags));
    assert_eq!(again.format_version, FormatVersion::V3_0);
}

#[test]
fn an_entity_whose_owner_is_not_written_is_written_flat() {
    let file = declared(SAMPLE);
    let routes = file.entities.iter().filter(|entity| entity.kind == Kind::Route);
    let text = write(
        routes.map(|entity| (entity.kind, entity.json().unwrap())),
        &Preamble::default(),
        Style { layout: Layout::Nested, format: Format::Json, detail: Detail::Complete },
    );
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["routes"].as_array().unwrap().len(), 3);
}

mod any {
    use super::*;
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    fn tags() -> impl Strategy<Value = Value> {
        option::of(vec("[ -+\\--.0-~]{1,8}", 0..3)).prop_map(|tags| {
            let mut tags = tags.unwrap_or_default();
            tags.iter_mut().for_each(|tag| *tag = format!("t{tag}t"));
            tags.dedup();
            json!(tags)
        })
    }

    fn route(place: usize) -> impl Strategy<Value = Value> {
        let paths = vec("/[a-z0-9]{0,6}", 1..3);
        (option::of("[a-z]{1,4}"), paths, any::<bool>(), any::<u16>(), tags()).prop_map(
            move |(name, paths, strip, priority, tags)| {
                let mut paths = paths;
                paths.push("~/(?<x>[^/]+): #'\"$".to_owned());
                let name = name.map(|name| format!("{name}-{place}"));
                json!({"name": name, "paths": paths, "strip_path": strip, "regex_priority": priority, "tags": tags})
            },
        )
    }

    fn service(place: usize) -> impl Strategy<Value = Value> {
        let routes = (route(2 * place), route(2 * place + 1), 0..3_usize)
            .prop_map(|(one, two, count)| [one, two].into_iter().take(count).collect::<Vec<_>>());
        (any::<bool>(), "[a-z]{1,9}", any::<u16>(), option::of(0..4_u8), tags(), routes).prop_map(
            move |(named, host, port, retries, tags, routes)| {
                let name = named.then(|| format!("service-{place}"));
                let plugins = if port % 2 == 0 { json!([{"name": "key-auth"}]) } else { Value::Null };
                let retries = json!(retries.unwrap_or(5));
                json!({"name": name, "host": host, "port": port, "retries": retries, "tags": tags, "routes": routes,
                    "plugins": plugins})
            },
        )
    }

    fn consumer(place: usize) -> impl Strategy<Value = Value> {
        (option::of("\\PC{0,6}"), vec("[!-~]{1,12}", 0..3)).prop_map(move |(custom_id, keys)| {
            let keys = keys.iter().enumerate().map(|(at, key)| json!({"key": format!("{place}.{at}.{key}")}));
            let custom_id = custom_id.map(|id| format!("{place}{id}"));
            json!({"username": format!("c{place}"), "custom_id": custom_id,
                "keyauth_credentials": keys.collect::<Vec<_>>()})
        })
    }

    fn document() -> impl Strategy<Value = String> {
        ((service(0), service(1), service(2)), (consumer(0), consumer(1))).prop_map(|(services, consumers)| {
            json!({"_format_version": "3.0", "services": [services.0, services.1, services.2],
                "consumers": [consumers.0, consumers.1]})
            .to_string()
        })
    }

    proptest! {
        #[test]
        fn configuration_is_written_and_read_back_unchanged(text in document(), nested: bool, yaml: bool, terse: bool) {
            let original = declared(&text);
            let style = Style {
                layout: if nested { Layout::Nested } else { Layout::Flat },
                format: if yaml { Format::Yaml } else { Format::Json },
                detail: if terse { Detail::Terse } else { Detail::Complete },
            };
            let written = write(original.entities.iter().map(|entity| (entity.kind, entity.json().unwrap())), &Preamble::default(), style);
            let again = with_cx(|cx| read(&written, Some(style.format), cx));
            prop_assert!(again.is_ok(), "{:?} in {}", again.err(), written);
            prop_assert_eq!(again.map(|file| content(&file)), Ok(content(&original)));
        }
    }
}
