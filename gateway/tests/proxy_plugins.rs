//! The first three plugins at work: what clients are told, what upstreams see.

mod support;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use model::Kind;
use ring::hmac;
use serde_json::{Value, json};
use std::time::Duration;
use support::{Answer, Config, Gateway, Origin, id};

const ALICE: u128 = 11;
const GUEST: u128 = 12;
const KEY: u128 = 21;
const SECRET: u128 = 22;

/// An origin behind a route, a consumer with a key and a JWT secret, and an anonymous one.
fn world(origin: &Origin) -> Config {
    Config::default()
        .service(1, origin.address, json!({}))
        .route(1, json!({}))
        .with(Kind::Consumer, json!({ "id": id(ALICE), "username": "alice", "custom_id": "no. 1" }))
        .with(Kind::Consumer, json!({ "id": id(GUEST), "username": "guest" }))
        .with(Kind::KeyauthCredential, json!({ "id": id(KEY), "consumer": { "id": id(ALICE) }, "key": "open" }))
        .with(
            Kind::JwtSecret,
            json!({ "id": id(SECRET), "consumer": { "id": id(ALICE) }, "key": "issuer", "secret": "c2VjcmV0", "algorithm": "HS256" }),
        )
}

fn guarded(origin: &Origin, name: &str, config: Value) -> Gateway {
    world(origin).plugin(31, name, json!({ "config": config })).start()
}

fn token(claims: &Value, secret: &[u8]) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&json!({ "alg": "HS256", "typ": "JWT" })), part(claims));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn refused(answer: &Answer, message: &str) {
    assert_eq!((answer.status, &answer.json()["message"]), (401, &json!(message)));
}

#[test]
fn for_a_clock_that_is_not_set_a_key_with_a_ttl_does_not_count() {
    const ENDS_S: u64 = 1_800_000_000;
    let origin = Origin::answering("");
    let short =
        json!({ "id": id(KEY + 100), "consumer": { "id": id(ALICE) }, "key": "short", "ttl": ENDS_S - 1_700_000_000 });
    let config = world(&origin).with(Kind::KeyauthCredential, short).plugin(31, "key-auth", json!({ "config": {} }));
    let key = "apikey: short\r\n";
    let right = Gateway::at(|| Duration::from_secs(ENDS_S - 1), config.snapshot());
    assert_eq!(right.get("/", key).status, 200);
    let clocks: [fn() -> Duration; 3] =
        [|| Duration::ZERO, || Duration::from_secs(1_700_000_000), || Duration::from_secs(ENDS_S)];
    for clock in clocks {
        let gateway = Gateway::at(clock, config.snapshot());
        refused(&gateway.get("/", key), "Unauthorized");
        assert_eq!(gateway.get("/", "apikey: open\r\n").status, 200, "a key without an end needs no clock");
    }
}

#[test]
fn key_auth_takes_a_key_from_header_or_query_and_says_whose_it_is() {
    let origin = Origin::answering("");
    let gateway = guarded(&origin, "key-auth", json!({}));
    for (target, headers) in [("/", "ApiKey: open\r\n"), ("/?x=1&apikey=open", "")] {
        assert_eq!(gateway.get(target, headers).status, 200, "{target}");
        let seen = origin.last();
        let expected = [
            ("x-consumer-id", id(ALICE)),
            ("x-consumer-username", "alice".into()),
            ("x-consumer-custom-id", "no. 1".into()),
            ("x-credential-identifier", id(KEY)),
        ];
        for (name, value) in expected {
            assert_eq!(seen.header(name), Some(value.as_str()), "{name}");
        }
        assert_eq!(seen.header("x-anonymous-consumer"), None);
        assert_eq!(seen.target(), target, "the key stays unless it is to be hidden");
    }
}

#[test]
fn key_auth_takes_no_key_whose_ttl_is_over_though_nobody_deleted_it() {
    let origin = Origin::answering("");
    let old = json!({ "id": id(KEY + 1), "consumer": { "id": id(ALICE) }, "key": "was-open", "ttl": 60 });
    let config = world(&origin).with(Kind::KeyauthCredential, old);
    let gateway = config.plugin(31, "key-auth", json!({})).start();
    refused(&gateway.get("/", "apikey: was-open\r\n"), "Unauthorized");
    assert_eq!(gateway.get("/", "apikey: open\r\n").status, 200);
}

#[test]
fn key_auth_refuses_in_kongs_words() {
    let origin = Origin::answering("");
    let gateway = guarded(&origin, "key-auth", json!({ "realm": "gate" }));
    let none = gateway.get("/", "");
    refused(&none, "No API key found in request");
    assert_eq!(none.header("www-authenticate"), Some("Key realm=\"gate\""));
    assert_eq!(none.json()["request_id"].as_str(), none.header("x-kong-request-id"));
    refused(&gateway.get("/", "apikey: wrong\r\n"), "Unauthorized");
    refused(&gateway.get("/?apikey=a&apikey=b", ""), "Duplicate API key found");
    refused(&gateway.get("/", "apikey: a\r\napikey: b\r\n"), "Duplicate API key found");
    assert!(origin.requests.lock().unwrap().is_empty());
}

#[test]
fn key_auth_hides_the_key_everywhere() {
    let origin = Origin::answering("");
    let gateway = guarded(&origin, "key-auth", json!({ "hide_credentials": true, "key_in_body": true }));
    assert_eq!(gateway.get("/a?apikey=open&x=%20", "").status, 200);
    assert_eq!(origin.last().target(), "/a?x=%20");
    assert_eq!(gateway.get("/a", "apikey: open\r\n").status, 200);
    assert_eq!(origin.last().header("apikey"), None);
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    assert_eq!(gateway.client().request("POST", "/", form, b"a=1&apikey=open&b=2").status, 200);
    assert_eq!(origin.last().body, b"a=1&b=2");
    let json = "Content-Type: application/json\r\n";
    assert_eq!(gateway.client().request("POST", "/", json, br#"{"apikey":"open","b":[2]}"#).status, 200);
    assert_eq!(origin.last().body, br#"{"b":[2]}"#);
}

#[test]
fn key_auth_leaves_bodies_that_it_cannot_read_as_they_are() {
    let origin = Origin::answering("");
    let gateway = guarded(&origin, "key-auth", json!({ "key_in_body": true }));
    let json = "Content-Type: application/json\r\napikey: open\r\n";
    assert_eq!(gateway.client().request("POST", "/", json, b"{not json").status, 200);
    assert_eq!(origin.last().body, b"{not json");
    let large = vec![b'x'; 300_000];
    assert_eq!(gateway.client().request("POST", "/", json, &large).status, 200);
    assert!(origin.last().body == large, "read ahead as far as allowed, then streamed");
}

#[test]
fn anonymous_lets_strangers_in_as_somebody() {
    let origin = Origin::answering("");
    let gateway = guarded(&origin, "key-auth", json!({ "anonymous": id(GUEST) }));
    assert_eq!(gateway.get("/", "X-Consumer-Custom-ID: forged\r\n").status, 200);
    let seen = origin.last();
    assert_eq!(seen.header("x-anonymous-consumer"), Some("true"));
    assert_eq!(seen.header("x-consumer-username"), Some("guest"));
    assert_eq!((seen.header("x-consumer-custom-id"), seen.header("x-credential-identifier")), (None, None));
    let missing = guarded(&origin, "key-auth", json!({ "anonymous": "nobody" })).get("/", "");
    let message = "anonymous consumer nobody is configured but doesn't exist";
    assert_eq!((missing.status, &missing.json()["message"]), (500, &json!(message)));
}

#[test]
fn preflight_requests_pass_only_where_they_may() {
    let origin = Origin::answering("");
    let strict = guarded(&origin, "key-auth", json!({}));
    assert_eq!(strict.client().request("OPTIONS", "/", "", b"").status, 401);
    let lax = guarded(&origin, "key-auth", json!({ "run_on_preflight": false }));
    assert_eq!(lax.client().request("OPTIONS", "/", "", b"").status, 200);
}

#[test]
fn jwt_takes_a_token_from_header_query_or_cookie() {
    let origin = Origin::answering("");
    let gateway = guarded(&origin, "jwt", json!({ "cookie_names": ["session"] }));
    let token = token(&json!({ "iss": "issuer" }), b"c2VjcmV0");
    let places = [
        ("/".to_owned(), format!("Authorization: Bearer {token}\r\n")),
        (format!("/?jwt={token}"), String::new()),
        ("/".to_owned(), format!("Cookie: a=b; session={token}\r\n")),
        (format!("/?jwt={token}"), format!("Authorization: bearer {token}\r\n")),
    ];
    for (target, headers) in places {
        assert_eq!(gateway.get(&target, &headers).status, 200, "{target} {headers}");
        assert_eq!(origin.last().header("x-consumer-username"), Some("alice"));
        assert_eq!(origin.last().header("x-credential-identifier"), Some("issuer"));
    }
}

#[test]
fn jwt_refuses_in_kongs_words() {
    let origin = Origin::answering("");
    let gateway =
        guarded(&origin, "jwt", json!({ "claims_to_verify": ["exp"], "maximum_expiration": 60, "realm": "gate" }));
    let with = |token: &str| gateway.get("/", &format!("Authorization: Bearer {token}\r\n"));
    let none = gateway.get("/", "");
    refused(&none, "Unauthorized");
    assert_eq!(none.header("www-authenticate"), Some("Bearer realm=\"gate\""));
    let bad = with("x");
    refused(&bad, "Bad token; invalid JSON");
    assert_eq!(bad.header("www-authenticate"), Some("Bearer realm=\"gate\" error=\"invalid_token\""));
    refused(&with(&token(&json!({}), b"x")), "No mandatory 'iss' in claims");
    refused(&with(&token(&json!({ "iss": "" }), b"x")), "Invalid 'iss' in claims");
    refused(&with(&token(&json!({ "iss": "stranger" }), b"x")), "No credentials found for given 'iss'");
    refused(&with(&token(&json!({ "iss": "issuer" }), b"x")), "Invalid signature");
    let good = |exp: i64| token(&json!({ "iss": "issuer", "exp": exp }), b"c2VjcmV0");
    assert_eq!(with(&good(1)).json(), json!({ "exp": "token expired" }));
    assert_eq!(with(&good(99_999_999_999)).json(), json!({ "exp": "exceeds maximum allowed expiration" }));
    let two = gateway.get(&format!("/?jwt={}", good(1)), &format!("Authorization: Bearer {}\r\n", good(2)));
    refused(&two, "Multiple tokens provided");
}

#[test]
fn jwt_secrets_may_be_base64() {
    let origin = Origin::answering("");
    let gateway = guarded(&origin, "jwt", json!({ "secret_is_base64": true }));
    let secret = STANDARD.decode("c2VjcmV0").unwrap();
    let token = token(&json!({ "iss": "issuer" }), &secret);
    assert_eq!(gateway.get("/", &format!("Authorization: Bearer {token}\r\n")).status, 200);
}

#[test]
fn with_anonymous_either_of_two_plugins_is_enough() {
    let origin = Origin::answering("");
    let either = json!({ "config": { "anonymous": "guest" } });
    let gateway = world(&origin).plugin(31, "jwt", either.clone()).plugin(32, "key-auth", either).start();
    let token = token(&json!({ "iss": "issuer" }), b"c2VjcmV0");
    for headers in ["apikey: open\r\n".to_owned(), format!("Authorization: Bearer {token}\r\n")] {
        gateway.get("/", &headers);
        assert_eq!(origin.last().header("x-consumer-username"), Some("alice"), "{headers}");
        assert_eq!(origin.last().header("x-anonymous-consumer"), None, "{headers}");
    }
    gateway.get("/", "");
    assert_eq!(origin.last().header("x-consumer-username"), Some("guest"));
}

#[test]
fn request_termination_answers_in_place_of_the_upstream() {
    let origin = Origin::answering("");
    let answer = guarded(&origin, "request-termination", json!({})).get("/", "");
    assert_eq!((answer.status, answer.json()), (503, json!({ "message": "Service unavailable" })));
    let answer =
        guarded(&origin, "request-termination", json!({ "status_code": 418, "message": "teapot" })).get("/", "");
    assert_eq!((answer.status, answer.json()), (418, json!({ "message": "teapot" })));
    let body = json!({ "status_code": 200, "body": "<b>", "content_type": "text/html" });
    let answer = guarded(&origin, "request-termination", body).get("/", "");
    assert_eq!((answer.status, answer.header("content-type"), answer.text().as_str()), (200, Some("text/html"), "<b>"));
    let answer = guarded(&origin, "request-termination", json!({ "status_code": 204 })).get("/", "");
    assert_eq!((answer.status, answer.text().as_str()), (204, ""));
    assert!(origin.requests.lock().unwrap().is_empty());
}

#[test]
fn request_termination_waits_for_its_trigger() {
    let origin = Origin::answering("passed");
    let gateway = guarded(&origin, "request-termination", json!({ "trigger": "x-stop" }));
    assert_eq!(gateway.get("/", "").text(), "passed");
    assert_eq!(gateway.get("/", "X-Stop: 1\r\n").status, 503);
    assert_eq!(gateway.get("/?x-stop", "").status, 503);
}

#[test]
fn request_termination_echoes_what_the_gateway_saw() {
    let origin = Origin::answering("");
    let gateway = guarded(&origin, "request-termination", json!({ "echo": true, "status_code": 404 }));
    let answer = gateway.client().request("POST", "/p?a=1&a=2&b", "X-One: 1\r\n", b"{\"n\":1}");
    assert_eq!(answer.status, 404);
    let echo = answer.json();
    assert_eq!(echo["message"], "Not found");
    assert_eq!(echo["request"]["query"], json!({ "a": ["1", "2"], "b": true }));
    assert_eq!((&echo["request"]["method"], &echo["request"]["path"]), (&json!("POST"), &json!("/p")));
    assert_eq!((&echo["request"]["body"], &echo["request"]["raw_body"]), (&json!({ "n": 1 }), &json!("{\"n\":1}")));
    assert_eq!(echo["request"]["headers"]["x-one"], "1");
    assert_eq!((&echo["matched_route"]["id"], &echo["matched_service"]["name"]), (&json!(id(1)), &json!("service-1")));
}

#[test]
fn the_most_specific_instance_of_a_plugin_wins() {
    let origin = Origin::answering("");
    let saying = |message: &str, scope: Value| {
        let mut fields = json!({ "config": { "status_code": 200, "message": message } });
        fields.as_object_mut().unwrap().extend(scope.as_object().unwrap().clone());
        fields
    };
    let on = |kind: &str, n: u128| json!({ kind: { "id": id(n) } });
    let base = || world(&origin).plugin(31, "key-auth", json!({ "config": { "anonymous": "guest" } }));
    let name = "request-termination";
    let global = || base().plugin(41, name, saying("global", json!({})));
    let service = || global().plugin(42, name, saying("service", on("service", 1)));
    let route = || service().plugin(43, name, saying("route", on("route", 1)));
    let consumer = || route().plugin(44, name, saying("alice", on("consumer", ALICE)));
    let said = |config: Config, headers: &str| config.start().get("/", headers).json()["message"].clone();
    assert_eq!(said(global(), ""), "global");
    assert_eq!(said(service(), ""), "service");
    assert_eq!(said(route(), ""), "route");
    assert_eq!(said(consumer(), ""), "route", "the guest is not alice");
    assert_eq!(said(consumer(), "apikey: open\r\n"), "alice");
}

#[test]
fn a_plugin_for_other_protocols_does_not_run() {
    let origin = Origin::answering("passed");
    let fields = json!({ "protocols": ["https"], "config": {} });
    let gateway = world(&origin).plugin(31, "request-termination", fields).start();
    assert_eq!(gateway.get("/", "").text(), "passed");
}
