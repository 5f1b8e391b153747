//! `POST /clustering/data-planes/{id}/confirm`: lets a node take what it holds back because too much of what it has would
//! go. Not Kong's.
//!
//! The body is `{"epoch": "…", "version": 7}`, as the node's row shows them in `held`: a confirmation is for what
//! somebody has seen, and for nothing else (409, where the node holds back something else by now, or nothing).

use super::App;
use super::problem::Problem;
use super::reply::Reply;
use super::request::{Content, Request};
use crate::fleet::{HeldBack, Unconfirmed};
use model::Id;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    epoch: String,
    version: u64,
}

/// `POST /clustering/data-planes/{id}/confirm`
pub(super) fn confirm(app: &App, request: &Request<'_>, ids: &[&str]) -> Result<Reply, Problem> {
    let id: Id = ids.first().and_then(|id| id.parse().ok()).ok_or(Problem::NotFound)?;
    let Content::Json(body) = &request.content else {
        return Err(Problem::BadBody(
            "expected JSON with the epoch and version of what the node holds back".to_owned(),
        ));
    };
    let body: Body = serde_json::from_slice(body).map_err(|error| Problem::BadBody(error.to_string()))?;
    let epoch = u64::from_str_radix(&body.epoch, 16);
    let epoch = epoch.map_err(|_| Problem::BadRequest("epoch is no number in hexadecimal digits".to_owned()))?;
    let confirmed = match app.fleet.confirm(id, epoch, body.version) {
        // A control plane that follows is a data plane as well.
        Err(Unconfirmed::UnknownNode) => app.planes.confirm(id, epoch, body.version),
        other => other,
    };
    match confirmed {
        Ok(held) => {
            tracing::warn!(node = %id, version = held.version, gone = held.gone, of = held.of, "shrink confirmed");
            Ok(Reply::ok(shown(Some(held))))
        }
        Err(Unconfirmed::UnknownNode) => Err(Problem::NotFound),
        Err(other) => Err(Problem::Outdated(other.to_string())),
    }
}

/// As it is shown in the node's row.
pub(super) fn shown(held: Option<HeldBack>) -> Value {
    let shown = |HeldBack { epoch, version, gone, of }: HeldBack| json!({ "epoch": format!("{epoch:016x}"), "version": version, "gone": gone, "of": of });
    held.map_or(Value::Null, shown)
}
