//! The configuration that is frozen: at least one entity of every kind.

use super::DAYS;
use serde_json::{Value, json};
use std::fs;
use tests::lab::Lab;
use tests::pair::put;

/// An id that ends in this number.
pub(crate) fn id(n: u32) -> String {
    format!("00000000-0000-4000-8000-{n:012}")
}

/// The changes that make it.
pub(crate) fn configuration(lab: &Lab) -> Vec<Value> {
    let key = |n: u32| json!({ "id": id(n) });
    let pem = |name: &str| fs::read_to_string(lab.path().join(name)).expect("it was made");
    let days = u64::from(DAYS) * 86_400;
    vec![
        put("certificates", json!({ "id": id(1), "cert": pem("cluster.crt"), "key": pem("cluster.key") })),
        put("snis", json!({ "id": id(2), "name": "frozen.example", "certificate": key(1) })),
        put("ca_certificates", json!({ "id": id(3), "cert": authority() })),
        put("upstreams", json!({ "id": id(4), "name": "frozen-upstream" })),
        put("targets", json!({ "id": id(5), "upstream": key(4), "target": "127.0.0.1:9", "weight": 7 })),
        put("services", json!({ "id": id(6), "name": "frozen", "host": "frozen-upstream", "tags": ["frozen"] })),
        put(
            "routes",
            json!({ "id": id(7), "name": "frozen", "service": key(6), "paths": ["/frozen"], "headers": { "x-frozen": ["yes", "ja"] } }),
        ),
        put("routes", json!({ "id": id(8), "name": "open", "service": key(6), "paths": ["/open"] })),
        put(
            "plugins",
            json!({ "id": id(9), "name": "request-termination", "route": key(8), "config": { "status_code": 200, "message": "frozen" } }),
        ),
        put(
            "plugins",
            json!({ "id": id(10), "name": "key-auth", "route": key(8), "config": { "key_names": ["x-key"] } }),
        ),
        put("plugins", json!({ "id": id(11), "name": "jwt", "route": key(7) })),
        put("consumers", json!({ "id": id(12), "username": "ann", "custom_id": "no. 1" })),
        put("consumers", json!({ "id": id(13), "username": "gone" })),
        put("keyauth_credentials", json!({ "id": id(14), "consumer": key(12), "key": "for-ever" })),
        put(
            "keyauth_credentials",
            json!({ "id": id(15), "consumer": key(12), "key": "for-long", "ttl": days.min(100_000_000) }),
        ),
        put("jwt_secrets", json!({ "id": id(16), "consumer": key(12), "key": "issuer", "secret": "secret" })),
        put("key_sets", json!({ "id": id(17), "name": "frozen" })),
        put("keys", json!({ "id": id(18), "set": key(17), "name": "frozen", "kid": "frozen", "jwk": JWK })),
    ]
}

const JWK: &str = r#"{"kty":"OKP","crv":"Ed25519","kid":"frozen","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

fn authority() -> String {
    let mut params = rcgen::CertificateParams::new(["frozen.example".to_owned()]).expect("a name");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.not_after = rcgen::date_time_ymd(2036, 1, 1);
    params.self_signed(&rcgen::KeyPair::generate().expect("a key")).expect("a certificate").pem()
}
