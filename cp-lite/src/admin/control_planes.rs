//! `GET /clustering/control-planes`: this control plane and those around it; `POST /clustering/promote`: a follower
//! becomes the writer. Not Kong's, which knows of one control plane.
//!
//! `POST /clustering/data-planes/{id}/move` with `{"to": "cp-2:8005"}` sends a node to another control plane, one of its own
//! list, by the name that it has there.
//!
//! The body of a promotion is `{"force": true}` or nothing. Without force there has to be a reason for it: the writer is
//! out of reach, or this is a writer that another one has replaced.

use super::App;
use super::problem::Problem;
use super::reply::Reply;
use super::request::{Content, Request};
use crate::changelog::{Role, View};
use crate::planes::{Follower, Moved, TurnedAway};
use model::Id;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::timeout;
use wire::limits::ADDRESS_BYTES_MAX;
use wire::succession::replaces;

/// How long a session may take to say whether its node went.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// `GET /clustering/control-planes`
pub(super) fn list(app: &App, _: &Request<'_>, _: &[&str]) -> Result<Reply, Problem> {
    let view = app.changelog.view();
    let followers = app.planes.followers();
    let rows = std::iter::once(own(app)).chain(followers.iter().map(|(id, row)| follower(&view, *id, row)));
    let counts: Vec<Value> =
        app.planes.all().iter().map(|plane| json!({ "address": plane.address, "nodes": plane.nodes })).collect();
    let refused: Vec<Value> = app.planes.turned_away(app.now_s()).iter().map(turned_away).collect();
    Ok(Reply::ok(json!({ "data": rows.collect::<Vec<_>>(), "data_planes": counts, "refused": refused })))
}

/// This control plane: its role, and for a follower how it stands with its writer.
pub(super) fn own(app: &App) -> Value {
    let view = app.changelog.view();
    let (upstream, attached) = app.planes.upstream();
    let writer = (view.role == Role::Follower).then(|| {
        json!({
            "addresses": app.planes.writers(),
            "address": upstream.address,
            "connected": attached,
            "version": upstream.head,
            "mode": upstream.mode,
            "last_error": upstream.last_error,
            "bytes_in": upstream.bytes_in,
            "bytes_out": upstream.bytes_out,
        })
    });
    let lag = writer.as_ref().map(|_| upstream.head.saturating_sub(view.version));
    json!({
        "id": app.node.id,
        "hostname": app.node.hostname,
        "software": app.node.version,
        "role": view.role.name(),
        "epoch": format!("{:016x}", view.epoch),
        "term": view.term,
        "version": view.version,
        "address": app.planes.address(),
        "data_planes": app.fleet.count().1,
        "lag": lag.unwrap_or_default(),
        // Nodes have been with a writer that took the place of this one's: they come here no more.
        "replaced": replaces(app.planes.latest(), (view.term, view.epoch)),
        "error": went_back(app, &view),
        "writer": writer,
    })
}

/// Nobody can be ahead of a writer in its own epoch, unless its database is an earlier one than it was: what went on on the
/// machine that it was copied from, or before a snapshot of a machine was taken back.
fn went_back(app: &App, view: &View) -> Option<String> {
    let ahead = app.fleet.ahead().into_iter().chain(app.planes.ahead()).max_by_key(|ahead| ahead.1);
    let (id, version) = ahead.filter(|ahead| view.role == Role::Writer && ahead.1 > view.version)?;
    Some(format!(
        "{id} is at version {version} of this epoch, which this writer has never been at: its database went back; \
         \"cp-lite promote --force\" makes what it has now the configuration of all"
    ))
}

/// `POST /clustering/promote`
pub(super) async fn promote(app: &App, request: &Request<'_>) -> Result<Reply, Problem> {
    let force = forced(&request.content)?;
    let latest = app.planes.latest();
    if !force {
        reason(app, &app.changelog.view(), latest).map_err(Problem::Outdated)?;
    }
    let promoted = app.changelog.promote(latest.0.saturating_add(1)).await;
    let view = promoted.map_err(|error| Problem::of_commit(error, &[]))?;
    tracing::warn!(epoch = format!("{:016x}", view.epoch), term = view.term, "promoted: this is the writer now");
    Ok(Reply::ok(json!({
        "role": view.role.name(),
        "epoch": format!("{:016x}", view.epoch),
        "term": view.term,
        "version": view.version,
        "entities": view.catalog.len(),
    })))
}

/// `POST /clustering/data-planes/{id}/move`
pub(super) async fn send(app: &App, request: &Request<'_>, segments: &[&str]) -> Result<Reply, Problem> {
    let node = segments.first().and_then(|id| id.parse::<Id>().ok()).ok_or(Problem::InvalidPrimaryKey)?;
    let Content::Json(json) = &request.content else { return Err(Problem::UnsupportedMediaType) };
    let body: Value = serde_json::from_slice(json).map_err(|error| Problem::BadBody(error.to_string()))?;
    let to = body.get("to").and_then(Value::as_str).filter(|to| !to.is_empty() && to.len() <= ADDRESS_BYTES_MAX);
    let to = to.ok_or_else(|| Problem::BadRequest("\"to\" must name a control plane, HOST:PORT".to_owned()))?;
    let moved = timeout(ANSWER_MAX, app.planes.send(node, to.to_owned())).await.unwrap_or(Moved::Busy);
    match moved {
        Moved::Gone => Ok(Reply::ok(json!({ "id": node, "to": to }))),
        Moved::Absent => Err(Problem::NotFoundWords("this node is not connected here".to_owned())),
        Moved::Busy => Err(Problem::Outdated("the node is in the middle of something; try again".to_owned())),
        Moved::Unable => Err(Problem::Outdated("the node's program is too old to be moved".to_owned())),
    }
}

fn forced(content: &Content) -> Result<bool, Problem> {
    let body: Value = match content {
        Content::Empty => return Ok(false),
        Content::Json(json) if json.is_empty() => return Ok(false),
        Content::Json(json) => serde_json::from_slice(json).map_err(|error| Problem::BadBody(error.to_string()))?,
        Content::Form(_) => return Err(Problem::UnsupportedMediaType),
    };
    Ok(body.get("force").and_then(Value::as_bool).unwrap_or_default())
}

/// Why there may be a promotion; if there is no reason, why not.
fn reason(app: &App, view: &View, latest: (u32, u64)) -> Result<(), String> {
    let (upstream, attached) = app.planes.upstream();
    match view.role {
        Role::Writer if replaces(latest, (view.term, view.epoch)) => Ok(()),
        Role::Writer => Err("this control plane is the writer already".to_owned()),
        Role::Follower if attached => Err(format!(
            "the writer at {} is connected: stop it first, or two of them take changes",
            upstream.address.unwrap_or_default()
        )),
        Role::Follower if view.epoch == 0 => {
            Err("this control plane has never heard from a writer: data planes would get an empty configuration"
                .to_owned())
        }
        Role::Follower => Ok(()),
    }
}

fn follower(view: &View, id: Id, row: &Follower) -> Value {
    json!({
        "id": id,
        "hostname": row.hostname,
        "software": row.software,
        "ip": row.ip,
        "role": Role::Follower.name(),
        "epoch": format!("{:016x}", row.epoch),
        "version": row.version,
        // Versions of another epoch cannot be compared.
        "lag": (row.epoch == view.epoch).then(|| view.version.saturating_sub(row.version)),
        "held": super::confirm::shown(row.held),
        "withheld": row.withheld,
        "last_error": row.last_error,
        "bytes_in": row.bytes_in,
        "bytes_out": row.bytes_out,
    })
}

fn turned_away(refused: &TurnedAway) -> Value {
    let TurnedAway { id, hostname, ip, software, why, at } = refused;
    json!({ "id": id, "hostname": hostname, "ip": ip, "software": software, "message": why, "at": at })
}
