//! What Prometheus gets of a control plane, `GET /metrics`: Kong's names where Kong has the idea, `edge_` for the rest.

use super::App;
use super::problem::Problem;
use super::reply::Reply;
use super::request::Request;
use crate::changelog::Role;
use crate::fleet::Node;
use crate::planes::Follower;
use model::Id;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use wire::compat::SyncStatus;

/// Prometheus' text format.
const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// The most nodes that are told of one by one, those that are connected first.
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
    let nodes = app.fleet.connected_first(NODES_SHOWN_MAX);
    let yes = u64::from;
    out.each("kong_data_plane_last_seen", "When it was last heard of, Unix time.", &nodes, |node| {
        u64::try_from(node.last_seen).unwrap_or_default()
    });
    out.each("kong_data_plane_version_compatible", "Whether it can be kept up to date.", &nodes, |node| {
        yes(node.sync_status == SyncStatus::Normal)
    });
    out.each("edge_data_plane_version", "The version that it serves.", &nodes, |node| node.applied);
    out.each("edge_data_plane_durable_version", "The version that it keeps.", &nodes, |node| node.durable);
    let refused = "Whether it could not apply the last version, or is ahead of this control plane.";
    out.each("edge_data_plane_refused", refused, &nodes, |node| yes(node.last_error.is_some() && node.held.is_none()));
    let held = "Whether it holds a configuration back until somebody confirms it.";
    out.each("edge_data_plane_held", held, &nodes, |node| yes(node.held.is_some()));
    let withheld = "Whether it is sent nothing, because it lacks what the configuration needs.";
    out.each("edge_data_plane_withheld", withheld, &nodes, |node| yes(!node.withheld.is_empty()));
    let connected: Vec<Node> = nodes.into_iter().filter(|node| node.connected).collect();
    let received = "Bytes of frames received in this session, without TLS.";
    out.each("edge_sync_session_received_bytes", received, &connected, |node| node.bytes_in);
    out.each("edge_sync_session_sent_bytes", "Bytes of frames sent in it.", &connected, |node| node.bytes_out);
    planes(app, &mut out);
    Ok(Reply::text(MEDIA_TYPE, out.0))
}

/// The links to other control planes: to the writer that this one follows, and to those that follow this one.
fn planes(app: &App, out: &mut Exposition) {
    if app.changelog.view().role == Role::Follower {
        let (writer, attached) = app.planes.upstream();
        out.one("edge_writer_connected", "gauge", "Whether a session with the writer is up.", u64::from(attached));
        let received = "Bytes of frames received in the session with the writer, without TLS.";
        out.one("edge_writer_session_received_bytes", "gauge", received, writer.bytes_in);
        out.one("edge_writer_session_sent_bytes", "gauge", "Bytes of frames sent in it.", writer.bytes_out);
    }
    let followers = app.planes.followers();
    let yes = u64::from;
    out.each("edge_follower_version", "The version that it keeps.", &followers, |(_, row)| row.version);
    let refused = "Whether it could not take over the last version, or is ahead of this control plane.";
    out.each("edge_follower_refused", refused, &followers, |(_, row)| {
        yes(row.last_error.is_some() && row.held.is_none())
    });
    let held = "Whether it holds a configuration back until somebody confirms it.";
    out.each("edge_follower_held", held, &followers, |(_, row)| yes(row.held.is_some()));
    let withheld = "Whether it is sent nothing, because it lacks what the configuration needs.";
    out.each("edge_follower_withheld", withheld, &followers, |(_, row)| yes(!row.withheld.is_empty()));
    let received = "Bytes of frames received in this session, without TLS.";
    out.each("edge_follower_session_received_bytes", received, &followers, |(_, row)| row.bytes_in);
    out.each("edge_follower_session_sent_bytes", "Bytes of frames sent in it.", &followers, |(_, row)| row.bytes_out);
}

/// Whom a series is about.
trait Labelled {
    /// Id, host name, address.
    fn labels(&self) -> (Id, &str, &str);
}

impl Labelled for Node {
    fn labels(&self) -> (Id, &str, &str) {
        (self.id, &self.hostname, &self.ip)
    }
}

impl Labelled for (Id, Follower) {
    fn labels(&self) -> (Id, &str, &str) {
        (self.0, &self.1.hostname, &self.1.ip)
    }
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
    fn each<T: Labelled>(&mut self, name: &str, help: &str, rows: &[T], value: impl Fn(&T) -> u64) {
        self.head(name, "gauge", help);
        for row in rows {
            let (id, hostname, ip) = row.labels();
            let (hostname, ip, value) = (escaped(hostname), escaped(ip), value(row));
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
