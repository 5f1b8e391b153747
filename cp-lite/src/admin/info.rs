//! What the control plane says of itself: `GET /` and `GET /status`.

use super::App;
use super::control_planes;
use super::problem::Problem;
use super::reply::Reply;
use super::request::Request;
use model::{Id, Kind};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

/// The version of Kong whose Admin API this is; tools choose their behaviour by it.
pub const ADMIN_API_VERSION: &str = model::plugins::VERSION;

/// What this control plane says of itself.
#[derive(Debug, Clone)]
pub struct NodeInfo {
    /// Its id.
    pub id: Id,
    /// The name of its machine.
    pub hostname: String,
    /// The version of this program.
    pub version: &'static str,
    /// Settings that are no secrets, shown in `GET /`; what tools rely on is added.
    pub configuration: Map<String, Value>,
}

/// Connections and requests of the Admin API since the start.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections accepted.
    pub accepted: AtomicU64,
    /// Connections open now.
    pub active: AtomicU64,
    /// Requests answered.
    pub requests: AtomicU64,
}

/// `GET /`
pub(super) fn root(app: &App, _: &Request<'_>, _: &[&str]) -> Result<Reply, Problem> {
    let plugins = model::plugins::all().iter();
    let available: Map<String, Value> = plugins
        .map(|plugin| (plugin.name.to_owned(), json!({"version": plugin.version, "priority": plugin.priority})))
        .collect();
    Ok(Reply::ok(json!({
        "tagline": "Welcome to kong",
        "version": ADMIN_API_VERSION,
        "edition": "community",
        "cp_lite_version": app.node.version,
        "hostname": app.node.hostname,
        "node_id": app.node.id,
        "cluster_role": app.changelog.view().role.name(),
        "pids": {"master": std::process::id(), "workers": []},
        "plugins": {"available_on_server": available, "enabled_in_cluster": enabled(app)},
        "configuration": configuration(app),
    })))
}

/// `GET /status`
pub(super) fn status(app: &App, _: &Request<'_>, _: &[&str]) -> Result<Reply, Problem> {
    let view = app.changelog.view();
    let failure = app.changelog.failure();
    let reports = app.changelog.reports();
    let passes = reports.passes();
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let (known, connected) = app.fleet.count();
    let accepted = count(&app.counters.accepted);
    Ok(Reply::ok(json!({
        "database": {
            "reachable": failure.is_none(),
            "last_error": failure,
            "damage": reports.last().map(|report| report.text),
            "checks": {"passes": passes.count, "last_s_ago": passes.last.map(|last| last.elapsed().as_secs())},
        },
        "server": {
            "connections_accepted": accepted,
            "connections_handled": accepted,
            "connections_active": count(&app.counters.active),
            "total_requests": count(&app.counters.requests),
        },
        "configuration": {
            "epoch": format!("{:016x}", view.epoch),
            "term": view.term,
            "version": view.version,
            "floor": view.floor,
            "digest": format!("{:016x}", view.catalog.digest()),
            "entities": view.catalog.len(),
            "tombstones": view.tombstones(),
        },
        "data_planes": {"known": known, "connected": connected},
        "control_plane": control_planes::own(app),
    })))
}

/// The settings, with those that tools decide by: there is a database (decK: not `off`), and this is its control plane.
fn configuration(app: &App) -> Map<String, Value> {
    let mut configuration = app.node.configuration.clone();
    for (key, value) in
        [("database", "postgres"), ("role", "control_plane"), ("router_flavor", "traditional_compatible")]
    {
        configuration.insert(key.to_owned(), Value::String(value.to_owned()));
    }
    configuration
}

/// The names of plugins that are configured.
fn enabled(app: &App) -> BTreeSet<String> {
    let view = app.changelog.view();
    let def = Kind::Plugin.def();
    let plugins =
        view.catalog.iter(Kind::Plugin, None).filter_map(|(_, entry)| (def.to_json)(entry.body.as_deref()?).ok());
    plugins.filter_map(|plugin| Some(plugin.get("name")?.as_str()?.to_owned())).collect()
}
