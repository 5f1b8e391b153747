//! Lists narrowed to the one entity with a value: Kong's `GET /consumers?custom_id=…`, by which clients find a consumer
//! that they know under a name of their own. Without it they would take the first of all consumers for theirs.

use super::App;
use super::problem::Problem;
use super::reply::Reply;
use super::request::Request;
use super::subject::entity;
use model::Kind;
use model::kind::KindDef;
use serde_json::{Value, json};

/// The unique fields that a list takes as a parameter, by kind.
const BY: &[(Kind, &str)] = &[(Kind::Consumer, "custom_id")];

/// The answer, if the request asks for one value; nobody having it is an empty list.
pub(super) fn answer(app: &App, request: &Request<'_>, def: &'static KindDef) -> Option<Result<Reply, Problem>> {
    let (_, field) = BY.iter().find(|(kind, _)| *kind == def.kind)?;
    let value = request.parameter(field)?;
    let view = app.changelog.view();
    let found = view.catalog.find(def.kind, field, value);
    let shown = found.map(|id| entity(&view, def, id).map(Value::Object)).transpose();
    Some(shown.map(|shown| Reply::ok(json!({"data": Vec::from_iter(shown), "next": null}))))
}
