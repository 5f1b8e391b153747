//! What a configuration is made of: bodies, entities as JSON, declarative files.

use crate::plant;
use model::body::Object;
use model::declarative::{self, Detail, Format, Layout, Preamble, Style};
use model::kind::{ALL, KindDef};
use model::schema::CheckCx;
use model::{Id, Kind};
use serde_json::Value;
use std::collections::BTreeMap;

const NOW_MS: i64 = 1_700_000_000_000;

fn with_cx<R>(run: impl FnOnce(&CheckCx<'_>) -> R) -> R {
    let count = std::cell::Cell::new(0);
    let new_id = || {
        count.set(count.get() + 1);
        Id(0xabcd << 64 | count.get())
    };
    run(&CheckCx { now_ms: NOW_MS, new_id: &new_id, certificates: None, keeps_updated_at: true })
}

/// The first byte chooses a kind.
fn kind_of(bytes: &[u8]) -> Option<(&'static KindDef, &[u8])> {
    let (kind, rest) = bytes.split_first()?;
    Some((ALL[usize::from(*kind) % ALL.len()], rest))
}

/// A body that decodes becomes JSON that becomes a body with the same JSON, and indexes can be made of it.
pub(crate) fn body(bytes: &[u8]) {
    let Some((def, body)) = kind_of(bytes) else { return };
    let facts = (def.facts)(body);
    let Ok(json) = (def.to_json)(body) else { return };
    assert!(facts.is_ok(), "{}: shown but not indexed: {facts:?}", def.name);
    let again = (def.to_body)(&json);
    let Ok(again) = again else { return };
    assert_eq!((def.to_json)(&again).ok().as_ref(), Some(&json), "{}", def.name);
    plant(def.kind == Kind::Target && json.get("weight").and_then(Value::as_i64) == Some(0), "body");
}

pub(crate) fn body_seeds() -> Vec<Vec<u8>> {
    let of = |entity: &declarative::Entity| {
        let at = ALL.iter().position(|def| def.kind == entity.kind).and_then(|at| u8::try_from(at).ok());
        [vec![at.unwrap_or_default()], entity.body.to_vec()].concat()
    };
    declared().iter().map(of).collect()
}

/// JSON that the schema takes is canonical: it becomes a body, comes back the same, and is taken again unchanged.
pub(crate) fn entity(bytes: &[u8]) {
    let Some((def, text)) = kind_of(bytes) else { return };
    let Ok(Value::Object(input)) = serde_json::from_slice::<Value>(text) else { return };
    with_cx(|cx| {
        let canonical = match def.schema.check(cx, input) {
            Ok(canonical) => canonical,
            Err(found) => {
                assert!(!found.message().is_empty() && found.to_fields().is_object(), "refused without a word");
                return;
            }
        };
        let Ok(body) = (def.to_body)(&canonical) else { panic!("{}: canonical, but no body", def.name) };
        let shown = (def.to_json)(&body).expect("a body of ours");
        assert!((def.facts)(&body).is_ok(), "{}: shown but not indexed", def.name);
        let seen = def.schema.seen_at(shown.clone(), NOW_MS / 1000).expect("it has just been made");
        let again = def.schema.check(cx, seen).unwrap_or_else(|found| panic!("{}: {}", def.name, found.message()));
        assert_eq!(again, canonical, "{}", def.name);
        let name = canonical.get("username").and_then(Value::as_str).unwrap_or_default();
        plant(def.kind == Kind::Consumer && name.len() == 2, "entity");
    });
}

pub(crate) fn entity_seeds() -> Vec<Vec<u8>> {
    let of = |entity: &declarative::Entity| {
        let at = ALL.iter().position(|def| def.kind == entity.kind).and_then(|at| u8::try_from(at).ok());
        let json = entity.json().unwrap_or_default();
        [vec![at.unwrap_or_default()], Value::Object(json).to_string().into_bytes()].concat()
    };
    let minimal = [
        (Kind::Service, r#"{"host":"a","path":"/"}"#),
        (Kind::Route, r#"{"paths":["/a"],"service":null}"#),
        (Kind::Consumer, r#"{"username":"c"}"#),
    ];
    let minimal = minimal.iter().map(|(kind, json)| {
        let at = ALL.iter().position(|def| def.kind == *kind).and_then(|at| u8::try_from(at).ok());
        [vec![at.unwrap_or_default()], json.as_bytes().to_vec()].concat()
    });
    declared().iter().map(of).chain(minimal).collect()
}

/// A file that reads is written to a file that reads as the same entities.
pub(crate) fn declarative(bytes: &[u8]) {
    let Some((style, text)) = bytes.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let format = if style % 2 == 0 { Format::Json } else { Format::Yaml };
    let layout = if style % 4 < 2 { Layout::Nested } else { Layout::Flat };
    let read = |text: &str, format| with_cx(|cx| declarative::read(text, Some(format), cx));
    let first = match read(text, format) {
        Ok(first) => first,
        Err(found) => {
            assert!(found.iter().all(|mistake| !mistake.to_string().is_empty()) && !found.is_empty());
            return;
        }
    };
    let entities = |declared: &declarative::Declared| -> BTreeMap<(Kind, Id), Object> {
        declared.entities.iter().map(|entity| ((entity.kind, entity.id), entity.json().unwrap_or_default())).collect()
    };
    let shown = entities(&first);
    for format in [Format::Json, Format::Yaml] {
        let list = shown.iter().map(|((kind, _), json)| (*kind, json.clone()));
        let written =
            declarative::write(list, &Preamble::default(), Style { layout, format, detail: Detail::Complete });
        let again = read(&written, format).unwrap_or_else(|found| panic!("what was written: {found:?}\n{written}"));
        assert_eq!(entities(&again), shown, "{written}");
    }
    let differs = |json: &Object| json.get("host").and_then(Value::as_str).is_some_and(|host| host != "h");
    plant(shown.len() == 1 && shown.values().all(differs), "declarative");
}

pub(crate) fn declarative_seeds() -> Vec<Vec<u8>> {
    let led = |style: u8, text: &str| [vec![style], text.as_bytes().to_vec()].concat();
    let yaml = "_format_version: \"3.0\"\nservices:\n- name: a\n  url: http://a.test:80/x\n  routes:\n  - name: r\n    \
                paths: [/r]\n  plugins:\n  - {name: key-auth}\nconsumers:\n- username: c\n  keyauth_credentials:\n  \
                - key: k\n";
    let old = "_format_version: \"1.1\"\nservices:\n- name: a\n  host: a.test\n  routes:\n  - paths: [\"/a/\\\\d+\"]\n";
    let one = "{\"_format_version\":\"3.0\",\"services\":[{\"name\":\"s\",\"host\":\"h\"}]}";
    // Everything that may stand in a header, anchors and what names them, every way to refer to something.
    let headed = "_format_version: \"3.0\"\n_transform: true\n_comment: c\n_workspace: default\n_info:\n  select_tags: [t]\n  \
                  defaults: {service: {retries: 1}, route: {strip_path: false}}\n_plugin_configs:\n  k: &k {key_names: [a]}\n\
                  services:\n- &s {name: a, host: a.test, tags: [t]}\n- {<<: *s, name: b, id: 00000000-0000-4000-8000-000000000001}\n\
                  routes:\n- {name: r, service: {name: a}, paths: [/r], tags: [t]}\n- {name: q, service: b, paths: ['~/q$'], \
                  headers: {x-a: ['1']}, sources: [{ip: 10.0.0.0/8}], tags: [t]}\nplugins:\n- {name: key-auth, _config: k, \
                  tags: [t]}\nupstreams:\n- name: u\n  tags: [t]\n  targets: [{target: 'a:1', tags: [t]}]\n  \
                  healthchecks: {active: {healthy: {interval: 0.5}}}\nconsumers:\n- {username: c, tags: [t], \
                  keyauth_credentials: [{key: k, ttl: 60, tags: [t]}], jwt_secrets: [{key: i, secret: s, tags: [t]}]}\n";
    // A mistake of every sort.
    let wrong = "_format_version: 3.0\n";
    let wrongs = "_format_version: \"3.0\"\n_transform: 7\n_workspace: w\n_info: {select_tags: 7, defaults: {service: 7, x: {}}, y: 1}\n\
                  _plugin_configs: {k: 7}\nservices:\n- {name: a, host: 'b c', port: 99999, x: 1}\n- {name: a, host: h}\n- 7\n\
                  routes: [{service: nobody}, {paths: [x, '~(', /a%zz], service: {id: x}}]\nplugins: [{name: nothing}, \
                  {name: key-auth, _config: none}]\nca_certificates: [{cert: x}]\ncertificates: [{cert: x, key: y, snis: [{name: '*'}]}]\n\
                  upstreams: [{name: u, slots: 1, algorithm: x, hash_on: header}]\nconsumer_groups: [{name: g}]\nvaults: []\nnot: 1\n";
    vec![
        led(1, headed),
        led(3, headed),
        led(1, wrong),
        led(1, wrongs),
        led(0, "[1"),
        led(1, "a: &a [*a]"),
        led(0, one),
        led(1, one),
        led(0, EVERYTHING),
        led(2, EVERYTHING),
        led(1, yaml),
        led(3, yaml),
        led(1, old),
    ]
}

/// A configuration with something of every kind, in JSON.
const EVERYTHING: &str = include_str!("everything.json");

fn declared() -> Vec<declarative::Entity> {
    with_cx(|cx| declarative::read(EVERYTHING, Some(Format::Json), cx))
        .unwrap_or_else(|mistakes| panic!("{mistakes:?}"))
        .entities
}
