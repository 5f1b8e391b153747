//! What is in an entity when only what must be given is given: the tables of Kong's reference, field by field.

use super::{CERT, ID, KEY, OTHER, takes};
use crate::Kind;
use serde_json::json;

#[test]
fn a_service_gets_kongs_defaults() {
    let expected = json!({
        "id": ID, "created_at": 1_700_000_000, "updated_at": 1_700_000_000, "name": null, "retries": 5,
        "protocol": "http", "host": "example.com", "port": 80, "path": null, "connect_timeout": 60000,
        "write_timeout": 60000, "read_timeout": 60000, "tags": null, "client_certificate": null, "tls_verify": null,
        "tls_verify_depth": null, "ca_certificates": null, "enabled": true,
    });
    let service = takes(Kind::Service, json!({"host": "example.com"}));
    assert_eq!(service.to_string(), expected.to_string(), "the order of fields counts too");
}

#[test]
fn a_route_gets_kongs_defaults() {
    let expected = json!({
        "id": ID, "created_at": 1_700_000_000, "updated_at": 1_700_000_000, "name": null,
        "protocols": ["http", "https"], "https_redirect_status_code": 426, "strip_path": true,
        "preserve_host": false, "request_buffering": true, "response_buffering": true, "tags": null, "service": null,
        "snis": null, "sources": null, "destinations": null, "methods": null, "hosts": null, "paths": ["/"],
        "headers": null, "regex_priority": 0, "path_handling": "v0",
    });
    assert_eq!(takes(Kind::Route, json!({"paths": ["/"]})).to_string(), expected.to_string());
}

#[test]
fn an_upstream_gets_kongs_defaults() {
    let statuses = [200, 201, 202, 203, 204, 205, 206, 207, 208, 226, 300, 301, 302, 303, 304, 305, 306, 307, 308];
    let expected = json!({
        "id": ID, "created_at": 1_700_000_000, "name": "up", "updated_at": 1_700_000_000,
        "algorithm": "round-robin", "hash_on": "none", "hash_fallback": "none", "hash_on_header": null,
        "hash_fallback_header": null, "hash_on_cookie": null, "hash_on_cookie_path": "/", "hash_on_query_arg": null,
        "hash_fallback_query_arg": null, "hash_on_uri_capture": null, "hash_fallback_uri_capture": null,
        "slots": 10000,
        "healthchecks": {
            "passive": {
                "unhealthy": {"http_failures": 0, "timeouts": 0, "tcp_failures": 0, "http_statuses": [429, 500, 503]},
                "healthy": {"successes": 0, "http_statuses": statuses},
                "type": "http",
            },
            "active": {
                "https_sni": null, "https_verify_certificate": true,
                "healthy": {"successes": 0, "interval": 0, "http_statuses": [200, 302]},
                "timeout": 1, "type": "http",
                "unhealthy": {
                    "http_failures": 0, "interval": 0,
                    "http_statuses": [429, 404, 500, 501, 502, 503, 504, 505], "tcp_failures": 0, "timeouts": 0,
                },
                "headers": null, "concurrency": 10, "http_path": "/",
            },
            "threshold": 0,
        },
        "tags": null, "host_header": null, "client_certificate": null, "use_srv_name": false,
    });
    assert_eq!(takes(Kind::Upstream, json!({"name": "up"})).to_string(), expected.to_string());
}

#[test]
fn the_small_kinds_get_kongs_defaults() {
    let (s, ms) = (1_700_000_000, 1_700_000_000.123);
    let other = json!({"id": OTHER});
    let cases = [
        (
            Kind::Consumer,
            json!({"username": "ann"}),
            json!({"id": ID, "created_at": s, "updated_at": s, "username": "ann", "custom_id": null, "tags": null}),
        ),
        (
            Kind::Target,
            json!({"upstream": other, "target": "10.0.0.1"}),
            json!({"id": ID, "created_at": ms, "updated_at": ms, "upstream": other, "target": "10.0.0.1:8000",
                   "weight": 100, "tags": null}),
        ),
        (
            Kind::Certificate,
            json!({"cert": CERT, "key": KEY}),
            json!({"id": ID, "created_at": s, "updated_at": s, "cert": CERT, "key": KEY, "cert_alt": null,
                   "key_alt": null, "tags": null}),
        ),
        (
            Kind::Sni,
            json!({"name": "a.example", "certificate": other}),
            json!({"id": ID, "name": "a.example", "created_at": s, "updated_at": s, "tags": null, "certificate": other}),
        ),
        (
            Kind::CaCertificate,
            json!({"cert": CERT}),
            json!({"id": ID, "created_at": s, "updated_at": s, "cert": CERT, "cert_digest":
                   "054edec1d0211f624fed0cbca9d4f9400b0e491c43742af2c5b0abebf0c990d8", "tags": null}),
        ),
        (
            Kind::KeyauthCredential,
            json!({"consumer": other, "key": "k"}),
            json!({"id": ID, "created_at": s, "consumer": other, "key": "k", "tags": null, "ttl": null}),
        ),
        (
            Kind::JwtSecret,
            json!({"consumer": other, "key": "k", "secret": "x"}),
            json!({"id": ID, "created_at": s, "consumer": other, "key": "k", "secret": "x", "rsa_public_key": null,
                   "algorithm": "HS256", "tags": null}),
        ),
        (
            Kind::KeySet,
            json!({"name": "any text"}),
            json!({"id": ID, "name": "any text", "tags": null, "created_at": s, "updated_at": s}),
        ),
        (
            Kind::Key,
            json!({"kid": "k", "pem": {"private_key": KEY}}),
            json!({"id": ID, "set": null, "name": null, "kid": "k", "jwk": null,
                   "pem": {"private_key": KEY, "public_key": null}, "tags": null, "created_at": s, "updated_at": s}),
        ),
    ];
    for (kind, input, expected) in cases {
        assert_eq!(takes(kind, input).to_string(), expected.to_string());
    }
}

#[test]
fn plugins_get_kongs_defaults() {
    let protocols = json!(["grpc", "grpcs", "http", "https"]);
    let configs = json!({
        "key-auth": {"key_names": ["apikey"], "hide_credentials": false, "anonymous": null, "key_in_header": true,
                     "key_in_query": true, "key_in_body": false, "run_on_preflight": true, "realm": null},
        "jwt": {"uri_param_names": ["jwt"], "cookie_names": [], "key_claim_name": "iss", "secret_is_base64": false,
                "claims_to_verify": null, "anonymous": null, "run_on_preflight": true, "maximum_expiration": 0,
                "header_names": ["authorization"], "realm": null},
        "request-termination": {"status_code": 503, "message": null, "content_type": null, "body": null,
                                "echo": false, "trigger": null},
    });
    for (name, config) in super::object(configs) {
        let expected = json!({
            "id": ID, "name": name, "instance_name": null, "created_at": 1_700_000_000, "updated_at": 1_700_000_000,
            "route": null, "service": null, "consumer": null, "config": config, "protocols": protocols,
            "enabled": true, "tags": null,
        });
        assert_eq!(takes(Kind::Plugin, json!({"name": name})).to_string(), expected.to_string());
    }
}
