//! Schemas as Kong shows them, and checks of entities that are not stored.

use super::App;
use super::problem::Problem;
use super::reply::Reply;
use super::request::Request;
use super::subject::unreadable;
use super::write::Checker;
use model::Kind;
use model::kind::KindDef;
use model::plugins::{self, PluginDef};
use serde_json::json;

/// `GET /schemas/{kind}`
pub(super) fn entity(_: &App, _: &Request<'_>, names: &[&str]) -> Result<Reply, Problem> {
    Ok(Reply::ok(kind(names)?.schema.to_json()))
}

/// `GET /schemas/plugins/{name}`
pub(super) fn plugin(_: &App, _: &Request<'_>, names: &[&str]) -> Result<Reply, Problem> {
    Ok(Reply::ok(plugin_named(names)?.to_json()))
}

/// `GET /plugins/schema/{name}`: the older form, with the fields of the configuration alone.
pub(super) fn plugin_config(_: &App, _: &Request<'_>, names: &[&str]) -> Result<Reply, Problem> {
    Ok(Reply::ok(plugin_named(names)?.schema.to_json()))
}

/// `GET /plugins/enabled`
pub(super) fn enabled(_: &App, _: &Request<'_>, _: &[&str]) -> Result<Reply, Problem> {
    let names: Vec<&str> = plugins::all().iter().map(|plugin| plugin.name).collect();
    Ok(Reply::ok(json!({"enabled_plugins": names})))
}

/// `POST /schemas/{kind}/validate`
pub(super) fn validate(app: &App, request: &Request<'_>, names: &[&str]) -> Result<Reply, Problem> {
    check(app, request, kind(names)?)
}

/// `POST /schemas/plugins/validate`
pub(super) fn validate_plugin(app: &App, request: &Request<'_>, _: &[&str]) -> Result<Reply, Problem> {
    check(app, request, Kind::Plugin.def())
}

fn check(app: &App, request: &Request<'_>, def: &'static KindDef) -> Result<Reply, Problem> {
    let canonical = Checker::new(app).check(def, request.content.entity(def, None)?)?;
    // What passes its schema and still has no body would be a mistake of ours; better said here than at the write.
    (def.to_body)(&canonical).map_err(|error| unreadable(def.kind, model::Id::default(), &error))?;
    Ok(Reply::ok(json!({"message": "schema validation successful"})))
}

fn kind(names: &[&str]) -> Result<&'static KindDef, Problem> {
    let name = names.first().copied().unwrap_or_default();
    let missing = || Problem::NotFoundWords(format!("No entity named '{name}'"));
    Kind::from_name(name).map(Kind::def).ok_or_else(missing)
}

fn plugin_named(names: &[&str]) -> Result<&'static PluginDef, Problem> {
    let name = names.first().copied().unwrap_or_default();
    plugins::find(name).ok_or_else(|| Problem::NotFoundWords(format!("No plugin named '{name}'")))
}
