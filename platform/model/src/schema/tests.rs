//! What the schemas promise: Kong's texts and all mistakes at once; Kong's defaults, changes, and one canonical form in
//! the modules below.

mod changes;
mod defaults;
mod properties;

use super::CheckCx;
use crate::body::Object;
use crate::{Id, Kind};
use serde_json::{Value, json};
use std::cell::Cell;

const NOW_MS: i64 = 1_700_000_000_123;
const ID: &str = "00000000-0000-0000-0000-000000000001";
const OTHER: &str = "0dc6f45b-8f8d-40d2-a504-473544ee190b";

/// A certificate's outer shape; what is inside is not looked at here.
const CERT: &str = "-----BEGIN CERTIFICATE-----\nAAECAw==\n-----END CERTIFICATE-----\n";
const JWK: &str = r#"{"kty":"OKP","crv":"Ed25519","kid":"k","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
const KEY: &str = "-----BEGIN PRIVATE KEY-----\nBAUGBw==\n-----END PRIVATE KEY-----\n";

fn object(value: Value) -> Object {
    match value {
        Value::Object(object) => object,
        other => panic!("not an object: {other}"),
    }
}

/// Runs something with a clock that stands and ids that count from 1.
fn with_cx<T>(run: impl FnOnce(&CheckCx<'_>) -> T) -> T {
    let last = Cell::new(0);
    let new_id = || {
        last.set(last.get() + 1);
        Id(last.get())
    };
    run(&CheckCx { now_ms: NOW_MS, new_id: &new_id, certificates: None, keeps_updated_at: false })
}

fn check(kind: Kind, input: Value) -> Result<Value, Value> {
    with_cx(|cx| kind.def().schema.check(cx, object(input)))
        .map(Value::Object)
        .map_err(|violations| violations.to_json())
}

fn merge(kind: Kind, existing: &Value, patch: Value) -> Result<Value, Value> {
    with_cx(|cx| kind.def().schema.merge(cx, &object(existing.clone()), object(patch)))
        .map(Value::Object)
        .map_err(|violations| violations.to_json())
}

/// Asserts on the message, and on the fields of Kong's error body.
#[track_caller]
fn refuses(kind: Kind, input: Value, message: &str, fields: Value) {
    let error = check(kind, input).unwrap_err();
    assert_eq!(error["message"], message);
    assert_eq!(error["fields"], fields);
    assert_eq!(error["code"], 2);
    assert_eq!(error["name"], "schema violation");
}

#[track_caller]
fn takes(kind: Kind, input: Value) -> Value {
    check(kind, input).unwrap_or_else(|error| panic!("{error}"))
}

/// Asserts on one field's text only.
#[track_caller]
fn complains(kind: Kind, input: Value, field: &str, text: &str) {
    assert_eq!(check(kind, input).unwrap_err()["fields"][field], text);
}

#[test]
fn generated_keys_have_32_letters_and_digits_and_differ() {
    let secret = takes(Kind::JwtSecret, json!({"consumer": {"id": OTHER}}));
    let (key, secret) = (secret["key"].as_str().unwrap(), secret["secret"].as_str().unwrap());
    assert_ne!(key, secret);
    for text in [key, secret] {
        assert_eq!(text.len(), 32);
        assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    }
}

#[test]
fn one_mistake_reads_as_kongs() {
    refuses(
        Kind::Service,
        json!({}),
        "schema violation (host: required field missing)",
        json!({"host": "required field missing"}),
    );
}

#[test]
fn all_mistakes_are_told_at_once() {
    refuses(
        Kind::Service,
        json!({"name": "a b", "port": 70000, "protocol": "ftp", "retries": "5", "colour": "red", "tags": ["ok", 7]}),
        "7 schema violations (colour: unknown field; host: required field missing; \
         name: invalid value 'a b': the only accepted ascii characters are alphanumerics or ., -, _, and ~; \
         port: value should be between 0 and 65535; \
         protocol: expected one of: grpc, grpcs, http, https, tcp, tls, tls_passthrough, udp; \
         retries: expected an integer; tags.2: expected a string)",
        json!({
            "colour": "unknown field",
            "host": "required field missing",
            "name": "invalid value 'a b': the only accepted ascii characters are alphanumerics or ., -, _, and ~",
            "port": "value should be between 0 and 65535",
            "protocol": "expected one of: grpc, grpcs, http, https, tcp, tls, tls_passthrough, udp",
            "retries": "expected an integer",
            "tags": [null, "expected a string"],
        }),
    );
}

#[test]
fn deep_mistakes_keep_their_path() {
    let input = json!({"name": "up", "healthchecks": {"active": {"timeout": -1, "healthy": {"http_statuses": [99]}}}});
    let schema = Kind::Upstream.def().schema;
    let violations = with_cx(|cx| schema.check(cx, object(input))).unwrap_err();
    assert_eq!(
        violations.flatten(),
        [
            ("healthchecks.active.healthy.http_statuses.1", "value should be between 100 and 999"),
            ("healthchecks.active.timeout", "value should be between 0 and 65535"),
        ]
        .map(|(path, text)| (path.to_owned(), text.to_owned()))
    );
    assert_eq!(
        violations.message(),
        "schema violation (healthchecks.active: {\n  healthy = {\n    http_statuses = {\n      \
         \"value should be between 100 and 999\"\n    }\n  },\n  timeout = \"value should be between 0 and 65535\"\n})"
    );
}

#[test]
fn types_and_lengths_have_kongs_texts() {
    let cases = [
        (Kind::Service, json!({"host": 1}), "host", "expected a string"),
        (Kind::Service, json!({"host": ""}), "host", "length must be at least 1"),
        (Kind::Service, json!({"host": null}), "host", "required field missing"),
        (Kind::Service, json!({"host": "h", "enabled": "yes"}), "enabled", "expected a boolean"),
        (Kind::Service, json!({"host": "h", "tags": "a"}), "tags", "expected a set"),
        (Kind::Service, json!({"host": "h", "port": 1.5}), "port", "expected an integer"),
        (Kind::Service, json!({"host": "h", "id": "1"}), "id", "expected a valid UUID"),
        (Kind::Service, json!({"host": "h", "created_at": 0}), "created_at", "expected a valid timestamp"),
        (Kind::Service, json!({"host": "h:1"}), "host", "must not have a port"),
        (Kind::Service, json!({"host": "h/1"}), "host", "invalid value: h/1"),
        (Kind::Service, json!({"host": "h", "path": "a"}), "path", "should start with: /"),
        (Kind::Service, json!({"host": "h", "path": "/a//b"}), "path", "must not have empty segments"),
        (Kind::Service, json!({"host": "h", "path": "/%4"}), "path", "invalid url-encoded value: '%4'"),
        (
            Kind::Service,
            json!({"host": "h", "path": "/a b"}),
            "path",
            "invalid path: '/a b' (characters outside of the reserved list of RFC 3986 found)",
        ),
        (Kind::Route, json!({"hosts": {"a": 1}}), "hosts", "expected an array"),
        (Kind::Route, json!({"headers": [1]}), "headers", "expected a map"),
        (Kind::Route, json!({"protocols": []}), "protocols", "length must be at least 1"),
        (
            Kind::Route,
            json!({"headers": {"Host": ["a"]}}),
            "headers",
            "cannot contain 'host' header, which must be specified in the 'hosts' attribute",
        ),
        (
            Kind::Route,
            json!({"https_redirect_status_code": 303}),
            "https_redirect_status_code",
            "expected one of: 426, 301, 302, 307, 308",
        ),
        (Kind::Route, json!({"headers": {"x": ["~*a("]}}), "headers", "invalid regex: 'a(' (unclosed group)"),
        (Kind::JwtSecret, json!({"rsa_public_key": "x"}), "rsa_public_key", "invalid key"),
        (Kind::Upstream, json!({"name": "1.2.3.4"}), "name", "Invalid name; no ip addresses allowed"),
        (Kind::Upstream, json!({"name": "a:1"}), "name", "Invalid name; no port allowed"),
        (Kind::Upstream, json!({"name": "a b"}), "name", "Invalid name; must be a valid hostname"),
        (Kind::Upstream, json!({"name": "up", "healthchecks": 1}), "healthchecks", "expected a record"),
        (
            Kind::Target,
            json!({"target": "a b"}),
            "target",
            "Invalid target ('a b'); not a valid hostname or ip address",
        ),
        (Kind::Certificate, json!({"cert": "x"}), "cert", "invalid certificate: not a PEM certificate"),
        (Kind::Certificate, json!({"key": "x"}), "key", "invalid key: not a PEM private key"),
        (
            Kind::Certificate,
            json!({"key": "{vault://env/key}"}),
            "key",
            "vault references are not supported yet: {vault://env/key}",
        ),
        (Kind::Key, json!({"pem": {"public_key": "x"}}), "pem", "could not load public key"),
        (Kind::Key, json!({"pem": {"private_key": "x"}}), "pem", "could not load private key"),
        (
            Kind::Key,
            json!({"jwk": "{vault://env/key}"}),
            "jwk",
            "vault references are not supported yet: {vault://env/key}",
        ),
        (Kind::Key, json!({"jwk": {"kty": "RSA"}}), "jwk", "expected a string"),
        (Kind::Sni, json!({"name": "1.2.3.4"}), "name", "must not be an IP"),
        (Kind::Sni, json!({"name": "a.*.b"}), "name", "wildcard must be leftmost or rightmost character"),
    ];
    for (kind, input, field, text) in cases {
        complains(kind, input, field, text);
    }
}

#[test]
fn foreign_keys_are_given_by_id() {
    let id = |value: Value| json!({"paths": ["/"], "service": value});
    for (value, text) in [
        (json!("name"), "missing primary key"),
        (json!({"name": "s"}), "missing primary key"),
        (json!({"id": "s"}), "expected a valid UUID"),
        (json!({"id": 1}), "expected a string"),
        (json!({"id": null}), "required field missing"),
    ] {
        refuses(
            Kind::Route,
            id(value),
            &format!("schema violation (service.id: {text})"),
            json!({"service": {"id": text}}),
        );
    }
    let route = takes(Kind::Route, id(json!({"id": OTHER.to_uppercase(), "name": "ignored"})));
    assert_eq!(route["service"], json!({"id": OTHER}));
}

#[test]
fn a_route_must_say_which_requests_it_means() {
    let cases = [
        (json!({}), "must set one of 'methods', 'hosts', 'headers', 'paths', 'snis' when 'protocols' is 'https'"),
        (
            json!({"protocols": ["http"]}),
            "must set one of 'methods', 'hosts', 'headers', 'paths' when 'protocols' is 'http'",
        ),
        (json!({"protocols": ["grpc"]}), "must set one of 'hosts', 'headers', 'paths' when 'protocols' is 'grpc'"),
        (
            json!({"protocols": ["tcp", "udp"]}),
            "must set one of 'sources', 'destinations', 'snis' when 'protocols' is 'tcp', 'tls' or 'udp'",
        ),
        (json!({"protocols": ["tls_passthrough"]}), "must set snis when 'protocols' is 'tls_passthrough'"),
    ];
    for (input, text) in cases {
        refuses(Kind::Route, input, &format!("schema violation ({text})"), json!({"@entity": [text]}));
    }
}

#[test]
fn a_route_is_for_one_sort_of_protocols() {
    let cases = [
        (json!(["http", "tcp"]), "('http', 'https'), ('tcp', 'tls', 'udp')"),
        (json!(["grpcs", "https", "grpc"]), "('grpc', 'grpcs'), ('http', 'https')"),
        (json!(["tls", "tls_passthrough"]), "('tcp', 'tls', 'udp'), ('tls_passthrough')"),
    ];
    for (protocols, sets) in cases {
        let route = json!({"protocols": protocols, "snis": ["a.example"]});
        complains(Kind::Route, route, "protocols", &format!("these sets are mutually exclusive: {sets}"));
    }
}

#[test]
fn request_termination_gives_one_sort_of_answer() {
    let cases = [
        (json!({"message": "m", "body": "b"}), "message cannot be used with content_type or body"),
        (json!({"message": "m", "content_type": "text/plain"}), "message cannot be used with content_type or body"),
        (json!({"content_type": "text/plain"}), "content_type requires a body"),
        (json!({"echo": true, "body": "b"}), "echo cannot be used with content_type and body"),
    ];
    for (config, text) in cases {
        complains(Kind::Plugin, json!({"name": "request-termination", "config": config}), "config", text);
    }
    for config in [json!({"message": "m", "echo": true}), json!({"body": "b", "content_type": "a/b"})] {
        takes(Kind::Plugin, json!({"name": "request-termination", "config": config}));
    }
}

#[test]
fn snis_need_a_protocol_with_tls() {
    let text = "'snis' can only be set when 'protocols' is 'grpcs', 'https', 'tls' or 'tls_passthrough'";
    refuses(
        Kind::Route,
        json!({"protocols": ["http"], "paths": ["/"], "snis": ["a.example"]}),
        &format!("2 schema violations ({text}; snis: length must be 0)"),
        json!({"@entity": [text], "snis": "length must be 0"}),
    );
}

#[test]
fn grpc_routes_keep_their_path_and_have_no_methods() {
    let route = takes(Kind::Route, json!({"protocols": ["grpc"], "paths": ["/"]}));
    assert_eq!(route["strip_path"], false);
    complains(
        Kind::Route,
        json!({"protocols": ["grpc"], "paths": ["/"], "strip_path": true}),
        "strip_path",
        "cannot set 'strip_path' when 'protocols' is 'grpc' or 'grpcs'",
    );
    complains(
        Kind::Route,
        json!({"protocols": ["grpcs"], "paths": ["/"], "methods": ["POST"]}),
        "methods",
        "cannot set 'methods' when 'protocols' is 'grpc' or 'grpcs'",
    );
    complains(
        Kind::Route,
        json!({"protocols": ["tcp"], "hosts": ["a"], "sources": [{"port": 1}]}),
        "hosts",
        "cannot set 'hosts' when 'protocols' is 'tcp', 'tls', 'tls_passthrough' or 'udp'",
    );
}

#[test]
fn paths_are_in_normal_form_or_regexes_that_compile() {
    let text =
        |path: &str| check(Kind::Route, json!({"paths": [path]})).map_err(|error| error["fields"]["paths"][0].clone());
    for path in ["/", "/a/b/", "/a%2Fb", "/é", "/a b", "~/a/(?<id>[^/]+)$", r"~/v\d+/x"] {
        assert!(text(path).is_ok(), "{path}: {:?}", text(path));
    }
    for (path, error) in [
        ("a", "should start with: / (fixed path) or ~/ (regex path)"),
        ("/a//b", "must not have empty segments"),
        ("/a/../b", "non-normalized path, consider use '/b' instead"),
        ("/a/./b/..", "non-normalized path, consider use '/a/' instead"),
        ("/%7Euser%2f", "non-normalized path, consider use '/~user%2F' instead"),
        ("/100%", "invalid url-encoded value: '%'"),
        ("~/a(", "invalid regex: '/a(' (unclosed group)"),
    ] {
        assert_eq!(text(path), Err(json!(error)), "{path}");
    }
    assert!(text(&format!("~/{}", "(a{1000}){1000}")).is_err(), "a regex that takes too much memory is refused");
}

#[test]
fn hosts_have_at_most_one_wildcard_at_an_end() {
    let text =
        |host: &str| check(Kind::Route, json!({"hosts": [host]})).map_err(|error| error["fields"]["hosts"][0].clone());
    for host in ["a.example", "*.example", "a.*", "a.example:8080", "10.0.0.1", "[::1]:80", "under_score"] {
        assert!(text(host).is_ok(), "{host}");
    }
    for (host, error) in [
        ("*.a.*", "invalid wildcard: must have at most one wildcard"),
        ("a*.example", "invalid wildcard: must be placed at leftmost or rightmost label"),
        ("a b", "invalid hostname: a b"),
        ("a b/c", "invalid hostname: a b/c"),
        ("a:99999", "invalid port number"),
    ] {
        assert_eq!(text(host), Err(json!(error)), "{host}");
    }
}

#[test]
fn sources_are_addresses_or_ranges_or_ports() {
    let route = |source: Value| check(Kind::Route, json!({"protocols": ["tcp"], "sources": [source]}));
    assert!(route(json!({"ip": "10.0.0.0/8"})).is_ok());
    assert_eq!(route(json!({"port": 9000})).unwrap()["sources"], json!([{"ip": null, "port": 9000}]));
    let error = route(json!({"ip": "10.0.0.0/99"})).unwrap_err();
    assert_eq!(error["fields"]["sources"], json!([{"ip": "invalid ip or cidr range: '10.0.0.0/99'"}]));
    let error = route(json!({})).unwrap_err();
    let text = "at least one of these fields must be non-empty: 'ip', 'port'";
    assert_eq!(error["fields"]["sources"], json!([{"@entity": [text]}]));
}

#[test]
fn what_only_tls_services_have_is_refused_for_others() {
    let text = "failed conditional validation given value of field 'protocol'";
    refuses(
        Kind::Service,
        json!({"host": "h", "tls_verify": true}),
        &format!("2 schema violations ({text}; tls_verify: value must be null)"),
        json!({"@entity": [text], "tls_verify": "value must be null"}),
    );
    takes(Kind::Service, json!({"host": "h", "protocol": "https", "tls_verify": true}));
    complains(Kind::Service, json!({"host": "h", "protocol": "tcp", "path": "/a"}), "path", "value must be null");
}

#[test]
fn hashing_needs_its_companion() {
    let text = "failed conditional validation given value of field 'hash_on'";
    refuses(
        Kind::Upstream,
        json!({"name": "up", "hash_on": "header"}),
        &format!("2 schema violations ({text}; hash_on_header: required field missing)"),
        json!({"@entity": [text], "hash_on_header": "required field missing"}),
    );
    complains(
        Kind::Upstream,
        json!({"name": "up", "hash_on": "none", "hash_fallback": "ip"}),
        "hash_fallback",
        "expected one of: none",
    );
    let both = json!({"name": "up", "hash_on": "header", "hash_fallback": "header", "hash_on_header": "X",
                      "hash_fallback_header": "X"});
    let text = "values of these fields must be distinct: 'hash_on_header', 'hash_fallback_header'";
    refuses(Kind::Upstream, both, &format!("schema violation ({text})"), json!({"@entity": [text]}));
}

#[test]
fn a_consumer_has_a_name_or_a_custom_id() {
    let text = "at least one of these fields must be non-empty: 'custom_id', 'username'";
    refuses(Kind::Consumer, json!({}), &format!("schema violation ({text})"), json!({"@entity": [text]}));
    let consumer = takes(Kind::Consumer, json!({"username": "ann"}));
    let error = merge(Kind::Consumer, &consumer, json!({"username": null})).unwrap_err();
    assert_eq!(error["fields"], json!({"@entity": [format!("when updating, {text}")]}));
}

#[test]
fn the_alternative_certificate_comes_with_its_key() {
    let text = "all or none of these fields must be set: 'cert_alt', 'key_alt'";
    refuses(
        Kind::Certificate,
        json!({"cert": CERT, "key": KEY, "cert_alt": CERT}),
        &format!("schema violation ({text})"),
        json!({"@entity": [text]}),
    );
}

#[test]
fn one_ca_certificate_at_a_time() {
    let text = "please submit only one certificate at a time";
    refuses(
        Kind::CaCertificate,
        json!({"cert": format!("{CERT}{CERT}")}),
        &format!("schema violation ({text})"),
        json!({"@entity": [text]}),
    );
}

#[test]
fn a_jwt_secret_for_public_keys_has_one() {
    for algorithm in ["RS256", "ES384", "PS512", "EdDSA"] {
        complains(
            Kind::JwtSecret,
            json!({"consumer": {"id": OTHER}, "algorithm": algorithm}),
            "rsa_public_key",
            "required field missing",
        );
    }
}

#[test]
fn a_key_has_one_form_and_a_jwk_its_name() {
    let entity = |input: Value, text: &str| {
        refuses(Kind::Key, input, &format!("schema violation ({text})"), json!({"@entity": [text]}));
    };
    entity(json!({"kid": "k"}), "at least one of these fields must be non-empty: 'pem', 'jwk'");
    let both = json!({"kid": "k", "jwk": JWK, "pem": {"private_key": KEY}});
    entity(both, "only one or none of these fields must be set: 'pem', 'jwk'");
    entity(json!({"kid": "other", "jwk": JWK}), "kid in jwk.kid must be equal to keys.kid");
    entity(json!({"kid": "36", "jwk": r#"{"kid": "36"}"#}), "could not load JWK, likely not a valid key");
    let text = "at least one of these fields must be non-empty: 'private_key', 'public_key'";
    let error = check(Kind::Key, json!({"kid": "k", "pem": {}})).unwrap_err();
    assert_eq!(error["fields"]["pem"], json!({"@entity": [text]}));
    complains(Kind::Key, json!({"jwk": JWK}), "kid", "required field missing");
    assert_eq!(takes(Kind::Key, json!({"kid": "k", "jwk": JWK}))["jwk"], JWK);
}

#[test]
fn an_unknown_plugin_is_refused_by_name_and_nothing_else_said() {
    let text = "plugin 'acme' not enabled; add it to the 'plugins' configuration property";
    refuses(
        Kind::Plugin,
        json!({"name": "acme", "config": {"x": 1}, "colour": 1}),
        &format!("schema violation (name: {text})"),
        json!({"name": text}),
    );
    complains(Kind::Plugin, json!({}), "name", "required field missing");
}

#[test]
fn plugin_configurations_are_checked() {
    refuses(
        Kind::Plugin,
        json!({"name": "key-auth", "config": {"key_names": ["a b"], "colour": 1}}),
        "2 schema violations (config.colour: unknown field; config.key_names: {\n  \
         \"bad header name 'a b', allowed characters are A-Z, a-z, 0-9, '_', and '-'\"\n})",
        json!({"config": {
            "colour": "unknown field",
            "key_names": ["bad header name 'a b', allowed characters are A-Z, a-z, 0-9, '_', and '-'"],
        }}),
    );
    let text = "failed conditional validation given value of field 'config.maximum_expiration'";
    refuses(
        Kind::Plugin,
        json!({"name": "jwt", "config": {"maximum_expiration": 60, "claims_to_verify": ["nbf"]}}),
        &format!("2 schema violations ({text}; config.claims_to_verify: expected to contain: exp)"),
        json!({"@entity": [text], "config": {"claims_to_verify": "expected to contain: exp"}}),
    );
    let both = json!({"name": "jwt", "config": {"maximum_expiration": 60, "realm": 1}});
    let error = check(Kind::Plugin, both).unwrap_err();
    assert_eq!(error["fields"]["config"], json!({"realm": "expected a string"}), "no claims at all are fine for Kong");
    let both = json!({"name": "jwt", "config": {"maximum_expiration": 60, "claims_to_verify": [], "realm": 1}});
    let error = check(Kind::Plugin, both).unwrap_err();
    let config = json!({"claims_to_verify": "expected to contain: exp", "realm": "expected a string"});
    assert_eq!(error["fields"]["config"], config, "checks between fields are told beside those of fields");
    let vault = json!({"name": "request-termination", "config": {"message": "{vault://env/m}"}});
    let error = check(Kind::Plugin, vault).unwrap_err();
    assert_eq!(error["fields"]["config"]["message"], "vault references are not supported yet: {vault://env/m}");
}

#[test]
fn plugins_have_the_scopes_and_protocols_they_can_serve() {
    let consumer = json!({"id": OTHER});
    complains(Kind::Plugin, json!({"name": "key-auth", "consumer": consumer}), "consumer", "value must be null");
    takes(Kind::Plugin, json!({"name": "request-termination", "consumer": consumer}));
    let error = check(Kind::Plugin, json!({"name": "jwt", "protocols": ["tcp"]})).unwrap_err();
    assert_eq!(error["fields"]["protocols"], json!(["expected one of: grpc, grpcs, http, https"]));
}

#[test]
fn a_url_stands_for_protocol_host_port_and_path() {
    let cases = [
        ("http://a.example", json!(["http", "a.example", 80, null])),
        ("https://a.example", json!(["https", "a.example", 443, null])),
        ("https://a.example/", json!(["https", "a.example", 443, "/"])),
        ("https://me:pw@a.example:8443/api/v1?q=1#f", json!(["https", "a.example", 8443, "/api/v1"])),
        ("http://[::1]:81/x", json!(["http", "::1", 81, "/x"])),
        ("grpc://a", json!(["grpc", "a", 80, null])),
        ("//a:443", json!(["https", "a", 443, null])),
    ];
    for (url, expected) in cases {
        let service = takes(Kind::Service, json!({"url": url, "host": "overridden"}));
        assert_eq!(json!([service["protocol"], service["host"], service["port"], service["path"]]), expected, "{url}");
    }
    complains(Kind::Service, json!({"url": "a.example"}), "host", "required field missing");
    complains(Kind::Service, json!({"url": 1, "host": "h"}), "url", "expected a string");
    complains(Kind::Service, json!({"url": "http://a:b"}), "port", "expected an integer");
}

#[test]
fn targets_are_written_with_their_port() {
    let cases = [
        ("a.example", "a.example:8000"),
        ("a.example:80", "a.example:80"),
        ("010.0.0.1:80", "10.0.0.1:80"),
        ("::1", "[0000:0000:0000:0000:0000:0000:0000:0001]:8000"),
        ("[2001:DB8::1]:443", "[2001:0db8:0000:0000:0000:0000:0000:0001]:443"),
    ];
    for (target, expected) in cases {
        assert_eq!(takes(Kind::Target, json!({"upstream": {"id": OTHER}, "target": target}))["target"], expected);
    }
}

#[test]
fn sets_lose_duplicates_and_arrays_keep_them() {
    let route = takes(Kind::Route, json!({"methods": ["GET", "PUT", "GET"], "hosts": ["a", "a"], "tags": ["t", "t"]}));
    assert_eq!((&route["methods"], &route["tags"]), (&json!(["GET", "PUT"]), &json!(["t"])));
    assert_eq!(route["hosts"], json!(["a", "a"]));
}

#[test]
fn numbers_are_shown_as_kong_shows_them() {
    let upstream = takes(
        Kind::Upstream,
        json!({"name": "up", "slots": 100.0, "healthchecks": {"threshold": 50.0, "active": {"timeout": 0.5}}}),
    );
    assert_eq!(upstream["slots"].to_string(), "100");
    assert_eq!(upstream["healthchecks"]["threshold"].to_string(), "50");
    assert_eq!(upstream["healthchecks"]["active"]["timeout"].to_string(), "0.5");
}

#[test]
fn schemas_are_shown_as_kong_shows_them() {
    let schema = Kind::Route.def().schema.to_json();
    let find = |name: &str| {
        let fields = schema["fields"].as_array().unwrap();
        fields.iter().find_map(|field| field.get(name)).cloned().unwrap_or_else(|| panic!("no field {name}"))
    };
    assert_eq!(find("id"), json!({"type": "string", "auto": true, "uuid": true}));
    assert_eq!(find("created_at"), json!({"type": "integer", "auto": true, "timestamp": true}));
    assert_eq!(find("service"), json!({"type": "foreign", "reference": "services"}));
    assert_eq!(find("strip_path"), json!({"type": "boolean", "required": true, "default": true}));
    assert_eq!(find("path_handling"), json!({"type": "string", "default": "v0", "one_of": ["v0", "v1"]}));
    assert_eq!(find("protocols")["default"], json!(["http", "https"]));
    assert_eq!(find("protocols")["elements"]["type"], "string");
    assert_eq!(find("headers")["values"], json!({"type": "array", "elements": {"type": "string"}}));
    let port = json!({"port": {"type": "integer", "between": [0, 65535]}});
    assert_eq!(find("sources")["elements"]["fields"][1], port);
    let upstreams = Kind::Upstream.def().schema.to_json();
    assert_eq!(upstreams["entity_checks"][0]["conditional"]["if_match"], json!({"match": "^header$"}));
    let keys = Kind::Key.def().schema.to_json();
    let one_form = json!([{"mutually_exclusive": ["pem", "jwk"]}, {"at_least_one_of": ["pem", "jwk"]}]);
    assert_eq!(keys["entity_checks"], one_form);
    let halves = json!({
        "type": "record",
        "fields": [
            {"private_key": {"type": "string", "encrypted": true, "referenceable": true}},
            {"public_key": {"type": "string", "referenceable": true}},
        ],
        "entity_checks": [{"at_least_one_of": ["private_key", "public_key"]}],
    });
    assert_eq!(keys["fields"][5]["pem"], halves);
    let set = json!({"type": "foreign", "reference": "key_sets", "on_delete": "cascade"});
    assert_eq!(keys["fields"][1]["set"], set);
    let plugin = crate::plugins::find("key-auth").unwrap().to_json();
    let config = plugin["fields"].as_array().unwrap().iter().find_map(|field| field.get("config")).unwrap();
    assert_eq!(
        config["fields"][0],
        json!({"key_names": {"type": "array", "elements": {"type": "string"}, "required": true, "default": ["apikey"]}})
    );
}
