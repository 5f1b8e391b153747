//! The Admin API as its clients meet it: requests in, responses out, no socket between.

mod api;
mod apply;
mod entities;
mod follower;
mod keys;
mod lookup;
mod races;
mod socket;

use super::*;
use crate::changelog::{Local, TOMBSTONES_MAX, memory};
use crate::fleet::PURGE_DELAY_DEFAULT_S;
use http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use model::kind::{ALL, KindDef};
use model::{Id, Kind};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use serde_json::{Map, Value, json};
use std::sync::OnceLock;

/// The clock of all tests.
const NOW_S: i64 = 1_800_000_000;

/// A control plane without a socket.
pub(super) struct Lab {
    pub(super) app: Arc<App>,
    runtime: tokio::runtime::Runtime,
}

/// A response, read.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) status: u16,
    pub(super) headers: http::HeaderMap,
    pub(super) body: Value,
}

impl Lab {
    pub(super) fn new() -> Self {
        Self::on(memory().open(TOMBSTONES_MAX))
    }

    pub(super) fn on(changelog: Local) -> Self {
        let node = NodeInfo {
            id: Id(1),
            hostname: "cp.example".to_owned(),
            version: "0.0.0",
            configuration: Map::from_iter([("admin_listen".to_owned(), json!("127.0.0.1:8001"))]),
        };
        let app = App {
            changelog: Arc::new(changelog),
            fleet: Arc::new(Fleet::new(PURGE_DELAY_DEFAULT_S)),
            planes: Arc::new(Planes::new(vec!["writer.example:8005".to_owned()])),
            node,
            certificates: Some(Box::new(X509)),
            bundles: None,
            now_ms: || NOW_S * 1000 + 250,
            counters: Counters::default(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { app: Arc::new(app), runtime }
    }

    pub(super) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    pub(super) fn send(&self, method: &str, path: &str, content_type: Option<&str>, body: &[u8]) -> Seen {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(content_type) = content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let response = self.block_on(handle(&self.app, &parts, Bytes::copy_from_slice(body)));
        let (head, body) = response.into_parts();
        let body = self.block_on(body.collect()).unwrap().to_bytes();
        let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() };
        Seen { status: head.status.as_u16(), headers: head.headers, body }
    }

    pub(super) fn call(&self, method: &str, path: &str, body: Value) -> Seen {
        self.send(method, path, Some("application/json"), body.to_string().as_bytes())
    }

    pub(super) fn get(&self, path: &str) -> Seen {
        self.send("GET", path, None, b"")
    }

    pub(super) fn form(&self, method: &str, path: &str, body: &str) -> Seen {
        self.send(method, path, Some("application/x-www-form-urlencoded"), body.as_bytes())
    }

    /// Creates an entity and returns it.
    pub(super) fn create(&self, path: &str, body: Value) -> Value {
        let seen = self.call("POST", path, body.clone());
        assert_eq!(seen.status, 201, "POST {path} {body}: {}", seen.body);
        seen.body
    }

    pub(super) fn version(&self) -> u64 {
        self.app.changelog.view().version
    }

    pub(super) fn count(&self, kind: Kind) -> usize {
        self.app.changelog.view().catalog.count(kind)
    }

    /// What it takes to create an entity of a kind that differs from others in `n`; parents are created.
    pub(super) fn minimal(&self, def: &'static KindDef, n: usize) -> Value {
        let mut entity = match def.kind {
            Kind::Service => json!({"name": format!("service-{n}"), "host": "a.example"}),
            Kind::Route => json!({"name": format!("route-{n}"), "paths": [format!("/{n}")]}),
            Kind::Consumer => json!({"username": format!("consumer-{n}")}),
            Kind::Plugin => json!({"name": "request-termination", "instance_name": format!("plugin-{n}")}),
            Kind::Upstream => json!({"name": format!("upstream-{n}")}),
            Kind::Target => json!({"target": format!("10.0.0.{n}:80")}),
            Kind::Certificate => json!({"cert": pair().0, "key": pair().1}),
            Kind::Sni => json!({"name": format!("sni-{n}.example")}),
            Kind::CaCertificate => json!({"cert": authority(n)}),
            Kind::KeyauthCredential => json!({"key": format!("key-{n}")}),
            Kind::JwtSecret => json!({"key": format!("iss-{n}"), "secret": "s"}),
            Kind::KeySet => json!({"name": format!("set-{n}")}),
            Kind::Key => {
                json!({"name": format!("key-{n}"), "kid": format!("kid-{n}"), "jwk": jwk(&format!("kid-{n}"))})
            }
        };
        // A plugin of the same name needs a scope of its own.
        let scoped = def.kind == Kind::Plugin;
        for link in links::of(def) {
            let required = def.schema.field(link.field).is_some_and(|field| field.required);
            if required || (scoped && link.parent.kind == Kind::Service) {
                let parent = self.create(&format!("/{}", link.parent.admin_path), self.minimal(link.parent, n + 100));
                entity[link.field] = json!({"id": parent["id"]});
            }
        }
        entity
    }
}

/// A certificate and its key, PEM.
pub(super) fn pair() -> &'static (String, String) {
    static PAIR: OnceLock<(String, String)> = OnceLock::new();
    PAIR.get_or_init(|| {
        let pair = pki::issue::gen_cert(30, u64::try_from(NOW_S).unwrap()).unwrap();
        (pair.cert_pem, pair.key_pem)
    })
}

/// A public key as a JWK of this name.
pub(super) fn jwk(kid: &str) -> String {
    json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}).to_string()
}

/// A CA certificate of its own, PEM.
pub(super) fn authority(n: usize) -> String {
    self_signed(n, IsCa::Ca(BasicConstraints::Unconstrained))
}

/// A certificate that may sign no other, PEM.
pub(super) fn leaf() -> String {
    self_signed(0, IsCa::ExplicitNoCa)
}

fn self_signed(n: usize, is_ca: IsCa) -> String {
    let mut params = CertificateParams::new([format!("{n}.example")]).unwrap();
    params.is_ca = is_ca;
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
}

fn id(entity: &Value) -> &str {
    entity["id"].as_str().unwrap()
}
