//! The fleet as Kong shows it, with what we know beside: `GET /clustering/data-planes` and its older sibling.

use super::App;
use super::confirm;
use super::page::Page;
use super::problem::Problem;
use super::reply::Reply;
use super::request::Request;
use crate::changelog::View;
use crate::fleet::Node;
use http::HeaderName;
use model::Id;
use serde_json::{Map, Value, json};

/// The most nodes that the unpaged `GET /clustering/status` shows.
const STATUS_NODES_MAX: usize = 1000;

/// `GET /clustering/data-planes`
pub(super) fn data_planes(app: &App, request: &Request<'_>, _: &[&str]) -> Result<Reply, Problem> {
    let page = Page::read(request)?;
    let view = app.changelog.view();
    // One more than asked for tells whether there is a next page.
    let mut nodes = app.fleet.page(page.after_id()?, page.size + 1);
    let more = nodes.len() > page.size;
    nodes.truncate(page.size);
    let last = nodes.last().filter(|_| more).map(|node| node.id.to_bytes());
    let rows = nodes.iter().map(|node| Value::Object(row(app, &view, node))).collect();
    Ok(Reply::ok(page.answer(request, rows, last.as_ref().map(<[u8; 16]>::as_slice))))
}

/// `GET /clustering/data-planes/{id}`
pub(super) fn data_plane(app: &App, _: &Request<'_>, ids: &[&str]) -> Result<Reply, Problem> {
    let id: Option<Id> = ids.first().and_then(|id| id.parse().ok());
    let node = id.and_then(|id| app.fleet.get(id)).ok_or(Problem::NotFound)?;
    Ok(Reply::ok(row(app, &app.changelog.view(), &node)))
}

/// `GET /clustering/status`: Kong's deprecated form, an object by id.
pub(super) fn status(app: &App, _: &Request<'_>, _: &[&str]) -> Result<Reply, Problem> {
    let nodes = app.fleet.page(None, STATUS_NODES_MAX);
    let rows: Map<String, Value> = nodes.iter().map(|node| (node.id.to_string(), brief(node))).collect();
    Ok(Reply::ok(rows).with(HeaderName::from_static("deprecation"), "true"))
}

fn brief(node: &Node) -> Value {
    json!({
        "config_hash": config_hash(node),
        "hostname": node.hostname,
        "ip": node.ip,
        "last_seen": node.last_seen,
    })
}

/// Kong's fields first, then ours.
fn row(app: &App, view: &View, node: &Node) -> Map<String, Value> {
    let row = json!({
        "id": node.id,
        "hostname": node.hostname,
        "ip": node.ip,
        "version": node.version,
        "config_hash": config_hash(node),
        "last_seen": node.last_seen,
        "updated_at": node.updated_at,
        "sync_status": node.sync_status,
        "labels": node.labels,
        "cert_details": node.certificate_expires_at.map(|expires| json!({"expiry_timestamp": expires})),
        "rpc_capabilities": [],
        "ttl": app.fleet.seconds_left(node, app.now_s()),
        "connected": node.connected,
        "epoch": format!("{:016x}", node.epoch),
        "applied_version": node.applied,
        "durable_version": node.durable,
        "lag": lag(view, node),
        "mode": node.mode,
        "last_error": node.last_error,
        "withheld": node.withheld,
        "ignored": node.ignored,
        "held": confirm::shown(node.held),
        "store": node.store,
        "superseded": node.superseded,
        "bytes_in": node.bytes_in,
        "bytes_out": node.bytes_out,
    });
    if let Value::Object(row) = row { row } else { Map::new() }
}

/// How many commits a node has not made durable; unknown where it is of another epoch.
fn lag(view: &View, node: &Node) -> Option<u64> {
    (node.epoch == view.epoch).then(|| view.version.saturating_sub(node.durable))
}

/// What Kong 3.9 shows of an incremental node: its version in 32 decimal digits.
fn config_hash(node: &Node) -> String {
    format!("{:032}", node.applied)
}
