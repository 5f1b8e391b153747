//! TLS on both sides of the proxy: one gateway speaks `https` to another.

mod support;

use gateway::listen::Limits;
use gateway::proxy::Settings;
use model::Kind;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use support::{Config, Gateway, Origin, id};

/// A CA, and a gateway that shows a certificate of it for 127.0.0.1.
struct Secure {
    ca: String,
    gateway: Gateway,
    origin: Origin,
    /// The names that clients asked for.
    asked: Arc<Mutex<Vec<Option<String>>>>,
}

fn secure() -> Secure {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names = ["127.0.0.1".to_owned(), "a.example".to_owned()];
    let leaf = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    let certified = pki::certified_key(&leaf.pem(), &key.serialize_pem()).unwrap();
    let asked: Arc<Mutex<Vec<Option<String>>>> = Arc::default();
    let seen = asked.clone();
    let resolve = move |name: Option<&str>| {
        seen.lock().unwrap().push(name.map(str::to_owned));
        Some(certified.clone())
    };
    let tls = pki::proxy_server(resolve, &[b"http/1.1"]).unwrap();
    let origin = Origin::answering("secret");
    let route = json!({ "protocols": ["https"] });
    let snapshot = Config::default().service(1, origin.address, json!({})).route(1, route).snapshot();
    let (settings, limits) = (Settings::default(), Limits::default());
    let gateway = Gateway::start_on("127.0.0.1:0 ssl", Some(tls), None, snapshot, settings, limits);
    Secure { ca: issuer.as_ref().pem(), gateway, origin, asked }
}

/// A gateway with a service at the secure one.
fn towards(secure: &Secure, tls: Value, route: Value) -> Config {
    let mut service = json!({ "protocol": "https", "retries": 0 });
    service.as_object_mut().unwrap().extend(tls.as_object().unwrap().clone());
    Config::default().service(1, secure.gateway.address, service).route(1, route)
}

#[test]
fn requests_travel_over_tls_and_share_its_connections() {
    let secure = secure();
    let gateway = towards(&secure, json!({}), json!({})).start();
    let mut client = gateway.client();
    for _ in 0..3 {
        let answer = client.request("GET", "/", "", b"");
        assert_eq!((answer.status, answer.text().as_str()), (200, "secret"));
    }
    assert_eq!(secure.origin.last().header("x-forwarded-proto"), Some("https"));
    assert_eq!(secure.asked.lock().unwrap().len(), 1, "one handshake for all");
}

#[test]
fn the_server_name_is_the_host_that_the_upstream_sees() {
    let secure = secure();
    let gateway = towards(&secure, json!({}), json!({ "preserve_host": true })).start();
    assert_eq!(gateway.get("/", "Host: a.example:8443\r\n").status, 200);
    assert_eq!(gateway.get("/", "Host: b.example\r\n").status, 200);
    let asked = secure.asked.lock().unwrap().clone();
    assert_eq!(asked, [Some("a.example".to_owned()), Some("b.example".to_owned())], "sessions are kept apart by name");
}

#[test]
fn a_certificate_is_verified_where_the_service_says_so() {
    let secure = secure();
    let ca = |config: Config| {
        config.with(Kind::CaCertificate, json!({ "id": id(9), "cert": secure.ca, "cert_digest": "00" }))
    };
    let verifying = json!({ "tls_verify": true, "ca_certificates": [id(9)] });
    assert_eq!(ca(towards(&secure, verifying.clone(), json!({}))).start().get("/", "").status, 200);
    let wrong_name = ca(towards(&secure, verifying, json!({ "preserve_host": true }))).start();
    assert_eq!(wrong_name.get("/", "Host: other.example\r\n").status, 502);
    let strangers = towards(&secure, json!({ "tls_verify": true }), json!({}));
    let settings = Settings {
        trusted_certificates: Some(Arc::new(pki::Authorities::from_pems([]).unwrap())),
        ..Settings::default()
    };
    assert_eq!(strangers.start_with(settings, Limits::default()).get("/", "").status, 502, "trusted by nobody");
    assert_eq!(
        strangers.start().get("/", "").status,
        500,
        "verification without anything to trust is a mistake of ours"
    );
}

#[test]
fn a_client_that_speaks_no_tls_is_let_go() {
    let secure = secure();
    let mut client = secure.gateway.client();
    client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut rest = Vec::new();
    let _ = std::io::Read::read_to_end(&mut client.stream, &mut rest);
    assert!(!rest.starts_with(b"HTTP/"), "an alert at most");
}
