//! The endpoints that belong to no kind: one list, which also answers `/endpoints`.

use super::problem::Problem;
use super::reply::Reply;
use super::request::Request;
use super::{App, apply, clustering, confirm, control_planes, export, info, metrics, path, schemas, tags};
use http::Method;
use serde_json::json;

/// A path with the method that it has an answer for. `{}` in the path is any one segment.
pub(super) struct Endpoint {
    path: &'static str,
    method: &'static Method,
    run: Run,
}

/// How an endpoint answers. The texts are the segments for `{}`.
enum Run {
    /// From what is in memory.
    Look(fn(&App, &Request<'_>, &[&str]) -> Result<Reply, Problem>),
    /// By a transaction of the client's own.
    Apply,
    /// By a new epoch.
    Promote,
    /// With all of the configuration, signed, once it is compressed.
    Bundle,
    /// By sending a node away.
    Move,
}

static ENDPOINTS: &[Endpoint] = &[
    look("/", &Method::GET, info::root),
    look("/status", &Method::GET, info::status),
    look("/metrics", &Method::GET, metrics::metrics),
    look("/clustering/data-planes", &Method::GET, clustering::data_planes),
    look("/clustering/data-planes/{}", &Method::GET, clustering::data_plane),
    Endpoint { path: "/clustering/data-planes/{}/move", method: &Method::POST, run: Run::Move },
    look("/clustering/control-planes", &Method::GET, control_planes::list),
    Endpoint { path: "/clustering/promote", method: &Method::POST, run: Run::Promote },
    look("/clustering/data-planes/{}/confirm", &Method::POST, confirm::confirm),
    look("/clustering/status", &Method::GET, clustering::status),
    look("/schemas/plugins/validate", &Method::POST, schemas::validate_plugin),
    look("/schemas/plugins/{}", &Method::GET, schemas::plugin),
    look("/schemas/{}", &Method::GET, schemas::entity),
    look("/schemas/{}/validate", &Method::POST, schemas::validate),
    look("/plugins/schema/{}", &Method::GET, schemas::plugin_config),
    look("/plugins/enabled", &Method::GET, schemas::enabled),
    look("/tags", &Method::GET, tags::list),
    look("/tags/{}", &Method::GET, tags::one),
    look("/endpoints", &Method::GET, list),
    look("/config", &Method::GET, no_config),
    look("/config", &Method::POST, no_config),
    look("/config/backup", &Method::GET, |app, _, _| Ok(export::backup(app))),
    Endpoint { path: "/config/bundle", method: &Method::GET, run: Run::Bundle },
    Endpoint { path: "/config/apply", method: &Method::POST, run: Run::Apply },
];

const fn look(
    path: &'static str,
    method: &'static Method,
    run: fn(&App, &Request<'_>, &[&str]) -> Result<Reply, Problem>,
) -> Endpoint {
    Endpoint { path, method, run: Run::Look(run) }
}

/// The endpoints at a path.
pub(super) struct Found<'a> {
    path: &'static str,
    segments: Vec<&'a str>,
}

/// Looks for a fixed endpoint.
pub(super) fn find<'a>(segments: &[&'a str]) -> Option<Found<'a>> {
    let found = ENDPOINTS.iter().find_map(|endpoint| Some((endpoint.path, wildcards(endpoint.path, segments)?)));
    found.map(|(path, segments)| Found { path, segments })
}

impl Found<'_> {
    pub(super) async fn answer(&self, app: &App, request: &Request<'_>) -> Result<Reply, Problem> {
        let method = if request.method == Method::HEAD { &Method::GET } else { request.method };
        let here = || ENDPOINTS.iter().filter(|endpoint| endpoint.path == self.path);
        let Some(endpoint) = here().find(|endpoint| endpoint.method == method) else {
            let reads = here().any(|endpoint| endpoint.method == Method::GET);
            let writes = here().any(|endpoint| endpoint.method == Method::POST);
            let allow = match (reads, writes) {
                (true, true) => "GET, HEAD, OPTIONS, POST",
                (true, false) => "GET, HEAD, OPTIONS",
                _ => "OPTIONS, POST",
            };
            return path::other(request, allow);
        };
        match endpoint.run {
            Run::Look(run) => run(app, request, &self.segments),
            Run::Promote => control_planes::promote(app, request).await,
            Run::Move => control_planes::send(app, request, &self.segments).await,
            Run::Apply => {
                app.writable()?;
                apply::apply(app, request).await
            }
            Run::Bundle => export::bundle(app).await,
        }
    }
}

/// The segments that a pattern leaves open, if the path fits it.
fn wildcards<'a>(pattern: &str, segments: &[&'a str]) -> Option<Vec<&'a str>> {
    let pattern: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty()).collect();
    let fits = |(part, segment): (&&str, &&str)| *part == "{}" || part == segment;
    if pattern.len() != segments.len() || !pattern.iter().zip(segments).all(fits) {
        return None;
    }
    Some(pattern.iter().zip(segments).filter(|(part, _)| **part == "{}").map(|(_, segment)| *segment).collect())
}

/// `GET /endpoints`
fn list(_: &App, _: &Request<'_>, _: &[&str]) -> Result<Reply, Problem> {
    let fixed = ENDPOINTS.iter().map(|endpoint| endpoint.path.replace("{}", "{name}"));
    let mut paths: Vec<String> = fixed.chain(path::templates()).collect();
    paths.sort_by_key(|path| path.replace('/', "\0"));
    paths.dedup();
    Ok(Reply::ok(json!({"data": paths})))
}

/// `GET` and `POST /config`: Kong's endpoint of nodes without a database.
fn no_config(_: &App, _: &Request<'_>, _: &[&str]) -> Result<Reply, Problem> {
    let text = "this endpoint is only available when Kong is configured to not use a database";
    Err(Problem::BadRequest(text.to_owned()))
}
