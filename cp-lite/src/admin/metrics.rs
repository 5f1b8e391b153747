//! What Prometheus gets of a control plane, `GET /metrics`: Kong's names where Kong has the idea, `edge_` for the rest.

use super::App;
use super::problem::Problem;
use super::reply::Reply;
use super::request::Request;
use crate::fleet::Node;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use wire::compat::SyncStatus;

/// Prometheus' text format.
const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// The most nodes that are told of one by one.
const NODES_SHOWN_MAX: usize = 10_000;

/// `GET /metrics`
pub(super) fn metrics(app: &App, _: &Request<'_>, _: &[&str]) -> Result<Reply, Problem> {
    let view = app.changelog.view();
    let (known, connected) = app.fleet.count();
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let mut out = Exposition(String::with_capacity(4096));
    out.one("kong_nginx_requests_total", "counter", "Requests answered.", count(&app.counters.requests));
    out.one("kong_nginx_connections_active", "gauge", "Connections that are open.", count(&app.counters.active));
    let reachable = u64::from(app.changelog.failure().is_none());
    out.one("kong_datastore_reachable", "gauge", "Whether changes can be kept.", reachable);
    let reports = app.changelog.reports();
    let passes = reports.passes().count;
    out.one("edge_store_checks_total", "counter", "How often the database was looked through on disk.", passes);
    out.one("edge_store_damages_total", "counter", "Damages found in its files, made good or not.", reports.count());
    out.one("edge_config_version", "gauge", "The newest version.", view.version);
    out.one("edge_config_entities", "gauge", "Entities at that version.", view.catalog.len() as u64);
    out.one("edge_data_planes_known", "gauge", "Data planes that are remembered.", known as u64);
    out.one("edge_data_planes_connected", "gauge", "Data planes that are connected.", connected as u64);
    let nodes = app.fleet.page(None, NODES_SHOWN_MAX);
    let compatible = |node: &Node| u64::from(node.sync_status == SyncStatus::Normal);
    out.each("kong_data_plane_last_seen", "When it was last heard of, Unix time.", &nodes, |node| {
        u64::try_from(node.last_seen).unwrap_or_default()
    });
    out.each("kong_data_plane_version_compatible", "Whether it can be kept up to date.", &nodes, compatible);
    out.each("edge_data_plane_version", "The version that it serves.", &nodes, |node| node.applied);
    out.each("edge_data_plane_durable_version", "The version that it keeps.", &nodes, |node| node.durable);
    let connected: Vec<Node> = nodes.into_iter().filter(|node| node.connected).collect();
    let received = "Bytes of frames received in this session, without TLS.";
    out.each("edge_sync_session_received_bytes", received, &connected, |node| node.bytes_in);
    out.each("edge_sync_session_sent_bytes", "Bytes of frames sent in it.", &connected, |node| node.bytes_out);
    Ok(Reply::text(MEDIA_TYPE, out.0))
}

/// The text as it grows. Writing into a string does not fail.
struct Exposition(String);

impl Exposition {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.head(name, kind, help);
        let _ = writeln!(self.0, "{name} {value}");
    }

    /// A gauge of each node, with Kong's labels.
    fn each(&mut self, name: &str, help: &str, nodes: &[Node], value: impl Fn(&Node) -> u64) {
        self.head(name, "gauge", help);
        for node in nodes {
            let (hostname, ip) = (escaped(&node.hostname), escaped(&node.ip));
            let value = value(node);
            let id = node.id;
            let _ = writeln!(self.0, "{name}{{node_id=\"{id}\",hostname=\"{hostname}\",ip=\"{ip}\"}} {value}");
        }
    }
}

/// The value of a label: a host name is what a node says.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::{Fleet, Introduction};
    use model::Id;

    #[test]
    fn a_host_name_cannot_break_the_format() {
        let fleet = Fleet::new(1);
        let hostname = "a\"} 1\nevil \\ 2".to_owned();
        fleet.connect(Id(1), Introduction { hostname, ..Introduction::default() }, 0).unwrap();
        let mut out = Exposition(String::new());
        out.each("m", "help", &fleet.page(None, 1), |_| 7);
        let lines: Vec<&str> = out.0.lines().collect();
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(lines[2].contains(r#"hostname="a\"} 1\nevil \\ 2",ip=""} 7"#), "{}", lines[2]);
    }
}
