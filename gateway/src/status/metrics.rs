//! What Prometheus gets: Kong's names where Kong has the idea, `edge_` for the rest.

use super::Facts;
use crate::counters::Count;
use bytes::Bytes;
use http::{HeaderValue, Response, header};
use http_body_util::Full;
use std::fmt::Write;

/// The exposition in Prometheus' text format.
pub(super) fn answer(facts: &Facts) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text(facts)));
    let format = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, format);
    response
}

fn text(facts: &Facts) -> String {
    let snapshot = facts.live.load();
    let link = facts.reporter.link();
    let Count { accepted, active, requests } = facts.counters.read();
    let mut out = String::with_capacity(4096);
    let info = format!("node_id=\"{}\",version=\"{}\"", facts.node, env!("CARGO_PKG_VERSION"));
    let gauge =
        &mut |name: &str, help: &str, labels: &str, value: u64| metric(&mut out, "gauge", name, help, labels, value);
    gauge("kong_node_info", "What this node is.", &info, 1);
    gauge(
        "kong_control_plane_connected",
        "Whether a session with a control plane is up.",
        "",
        u64::from(link.connected),
    );
    gauge(
        "kong_datastore_reachable",
        "Whether what is served is durable.",
        "",
        u64::from(link.store_trouble.is_none()),
    );
    if let Some(at) = facts.certificate_expires_at {
        let at = u64::try_from(at).unwrap_or(0);
        gauge("kong_data_plane_cluster_cert_expiry_timestamp", "When the cluster certificate ends, Unix time.", "", at);
    }
    gauge("kong_memory_resident_bytes", "Resident memory.", "", os::process::resident_kib() * 1024);
    gauge("kong_nginx_connections_active", "Client connections that are open.", "", active);
    gauge("edge_config_version", "The version that is served.", "", snapshot.version);
    gauge("edge_config_durable_version", "The version that a restart would come back with.", "", link.durable);
    gauge(
        "edge_config_lag",
        "Versions between the control plane's head and what is served.",
        "",
        link.head.saturating_sub(snapshot.version),
    );
    let refused = link.last_nack.as_ref().map(|(version, _)| *version);
    let help = "The version that was refused or held back last, 0 when a later one was applied.";
    gauge("edge_config_refused_version", help, "", refused.unwrap_or_default());
    gauge("edge_config_entities", "Entities that are served.", "", snapshot.catalog().len() as u64);
    let (session_in, session_out) = link.session_bytes();
    gauge("edge_sync_session_received_bytes", "Bytes of frames received in this session.", "", session_in);
    gauge("edge_sync_session_sent_bytes", "Bytes of frames sent in this session.", "", session_out);
    gauge("edge_sync_heartbeat_seconds", "The heartbeat in force, 0 for none.", "", link.heartbeat_s.into());
    let counter =
        &mut |name: &str, help: &str, labels: &str, value: u64| metric(&mut out, "counter", name, help, labels, value);
    counter("kong_nginx_requests_total", "Requests answered.", "", requests);
    counter("edge_connections_accepted_total", "Client connections accepted.", "", accepted);
    let reports = &facts.store.reports;
    counter("edge_store_checks_total", "How often the store was looked through.", "", reports.passes().count);
    counter("edge_store_damages_total", "Damages found in its files, made good or not.", "", reports.count());
    counter("edge_sync_received_bytes_total", "Bytes of frames from control planes, without TLS.", "", link.bytes_in);
    counter("edge_sync_sent_bytes_total", "Bytes of frames to control planes, without TLS.", "", link.bytes_out);
    out
}

fn metric(out: &mut String, kind: &str, name: &str, help: &str, labels: &str, value: u64) {
    let braced = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
    // Writing into a string does not fail.
    let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name}{braced} {value}\n");
}
