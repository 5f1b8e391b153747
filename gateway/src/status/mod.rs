//! The Status API: what this data plane is and runs, read-only, for probes, operators and Prometheus.
//!
//! [`answer`] is a pure function from what is known to a response; [`serve`] is the thin server around it. Ready means
//! that a request now would be answered from a whole configuration: the same pointer that requests are served from is
//! asked, so "ready" can never run ahead of the router (in Kong it does).

mod metrics;
mod serve;

pub use serve::{CONNECTIONS_MAX, serve};

use crate::counters::{Count, Counters};
use crate::snapshot::{Live, Snapshot};
use crate::state::Source;
use crate::sync::status::{Link, Plane, Reporter};
use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body_util::Full;
use model::{Id, Kind};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use wire::dp::Rejection;

/// What the Status API can ask.
pub struct Facts {
    /// What is served.
    pub live: Arc<Live>,
    /// How the link to the control plane is.
    pub reporter: Reporter,
    /// This node's id.
    pub node: Id,
    /// This node's host name.
    pub hostname: String,
    /// Whether a control plane is set at all.
    pub has_control_plane: bool,
    /// When the cluster certificate ends, in seconds since 1970.
    pub certificate_expires_at: Option<i64>,
    /// What is known of the store.
    pub store: StoreFacts,
    /// Whether an operator is taking this node out of service.
    pub draining: AtomicBool,
    /// Counts what the workers do.
    pub counters: Arc<Counters>,
}

/// What is known of the store since it was opened.
#[derive(Debug, Clone, Default)]
pub struct StoreFacts {
    /// Who brought the content that it held at the start.
    pub source: Option<Source>,
    /// What was wrong with it at the start, and what was done about it.
    pub damage: Option<String>,
    /// Whether that cost content.
    pub lost: bool,
    /// What it found wrong with its files since, and whether anything was lost.
    pub reports: store::Reports,
    /// What is wrong with the declarative file, while an earlier one is served.
    pub file: Option<String>,
}

impl Facts {
    /// Why this node should get no traffic; `None` when it should.
    #[must_use]
    pub fn unready(&self) -> Option<&'static str> {
        let snapshot = self.live.load();
        if self.draining.load(Ordering::Relaxed) {
            Some("draining")
        } else if snapshot.version == 0 && snapshot.catalog().is_empty() {
            Some("no configuration available (empty configuration present)")
        } else {
            None
        }
    }
}

/// The answer to a request of the Status API.
#[must_use]
pub fn answer(facts: &Facts, method: &Method, path: &str, body: &[u8]) -> Response<Full<Bytes>> {
    let path = path.trim_end_matches('/');
    match (path, method) {
        ("/status", &Method::GET | &Method::HEAD) => reply(StatusCode::OK, &status(facts)),
        ("/status/ready", &Method::GET | &Method::HEAD) => match facts.unready() {
            None => reply(StatusCode::OK, &json!({ "message": "ready" })),
            Some(why) => reply(StatusCode::SERVICE_UNAVAILABLE, &json!({ "message": why })),
        },
        ("/status/ready", &Method::POST) => drain(facts, body),
        ("/status/sync", &Method::GET | &Method::HEAD) => reply(StatusCode::OK, &sync(facts)),
        ("/metrics", &Method::GET | &Method::HEAD) => metrics::answer(facts),
        ("/status" | "/status/ready" | "/status/sync" | "/metrics", _) => {
            let mut response = reply(StatusCode::METHOD_NOT_ALLOWED, &json!({ "message": "Method not allowed" }));
            let allow = if path == "/status/ready" { "GET, HEAD, POST" } else { "GET, HEAD" };
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
            response
        }
        _ => reply(StatusCode::NOT_FOUND, &json!({ "message": "Not found" })),
    }
}

/// Kong: `POST /status/ready` with `{"status": "draining"}` takes a node out of its load balancer; any other word is
/// refused. Ours beside it: `{"status": "ready"}` takes that back.
fn drain(facts: &Facts, body: &[u8]) -> Response<Full<Bytes>> {
    let asked: Value = serde_json::from_slice(body).unwrap_or_default();
    let draining = match asked["status"].as_str() {
        Some("draining") => true,
        Some("ready") => false,
        _ => return reply(StatusCode::BAD_REQUEST, &json!({ "message": "expected {\"status\": \"draining\"}" })),
    };
    facts.draining.store(draining, Ordering::Relaxed);
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

fn status(facts: &Facts) -> Value {
    let snapshot = facts.live.load();
    let Count { accepted, active, requests } = facts.counters.read();
    json!({
        "configuration_hash": configuration_hash(&snapshot),
        "server": {
            "connections_accepted": accepted, "connections_handled": accepted, "connections_active": active,
            "total_requests": requests,
        },
        "memory": { "resident_kib": os::process::resident_kib() },
        "node": { "id": facts.node, "hostname": facts.hostname, "version": env!("CARGO_PKG_VERSION") },
        "entities": snapshot.catalog().len(),
    })
}

/// Kong's 32 digits: all zero for "nothing configured", else what tells this content from another.
fn configuration_hash(snapshot: &Snapshot) -> String {
    if snapshot.version == 0 && snapshot.catalog().is_empty() {
        "0".repeat(32)
    } else {
        format!("{:016x}{:016x}", snapshot.version, snapshot.catalog().digest())
    }
}

fn sync(facts: &Facts) -> Value {
    let snapshot = facts.live.load();
    let link: Link = facts.reporter.link();
    let (session_in, session_out) = link.session_bytes();
    let control_planes: Vec<Value> = link.planes.iter().map(plane).collect();
    let store = &facts.store;
    let source = match (snapshot.epoch, store.source) {
        (0, _) if snapshot.catalog().is_empty() => Value::Null,
        (0, _) => "declarative_config".into(),
        _ => "control_plane".into(),
    };
    let report = store.reports.last();
    let lost = store.lost || report.as_ref().is_some_and(|report| report.lost);
    let damage = store.damage.clone().or(report.map(|report| report.text));
    let passes = store.reports.passes();
    let last_pass = passes.last.map(|last| last.elapsed().as_secs());
    let nack = link.last_nack.as_ref().map(nack);
    json!({
        "epoch": format!("{:016x}", snapshot.epoch),
        "version": snapshot.version,
        "durable_version": link.durable,
        "last_good": { "epoch": format!("{:016x}", link.last_good.0), "version": link.last_good.1 },
        "root": format!("{:016x}", snapshot.catalog().digest()),
        "entities": snapshot.catalog().len(),
        "source": source,
        "control_plane": if facts.has_control_plane { link.control_plane.into() } else { Value::Null },
        "control_planes": control_planes,
        "connected": link.connected,
        "mode": link.mode,
        "incremental_sync": if link.incremental { "on" } else { "off" },
        "head": link.head,
        "lag": link.head.saturating_sub(snapshot.version),
        "last_error": link.last_error,
        "last_nack": nack,
        "declarative_config_error": store.file,
        "store": { "state": if link.store_trouble.is_some() { "not durable" } else { "ok" },
                   "error": link.store_trouble, "damage": damage, "lost": lost,
                   "checks": { "passes": passes.count, "last_s_ago": last_pass } },
        "heartbeat_s": link.connected.then_some(link.heartbeat_s),
        "tls_resumed": link.resumed,
        "bytes": { "in": link.bytes_in, "out": link.bytes_out },
        "session_bytes": { "in": session_in, "out": session_out },
    })
}

/// What was refused, in the words that the control plane was told.
fn nack((version, rejection): &(u64, Rejection)) -> Value {
    let Rejection { code, entity, path, message } = rejection;
    let kind = entity.map(|(kind, _)| match Kind::from_code(kind) {
        Some(kind) => kind.def().name.to_owned(),
        None => format!("kind {kind}"),
    });
    let id = entity.map(|(_, id)| id);
    json!({ "version": version, "code": code.name(), "kind": kind, "id": id, "path": path, "message": message })
}

fn plane(plane: &Plane) -> Value {
    let wait = plane.retry_at.map(|at| at.saturating_duration_since(Instant::now()).as_secs());
    json!({ "address": plane.address, "retry_in_s": wait.filter(|wait| *wait > 0), "last_error": plane.last_error })
}

fn reply(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body.to_string()));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
