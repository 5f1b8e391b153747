//! Promises of the router as a whole. `rules` has a table per rule, `generated` draws configurations and requests,
//! `linear` and `atc` are two other routers that the same must come out of, `cost` bounds what a change costs.

mod atc;
mod cost;
mod deep;
mod generated;
mod linear;
mod rules;

use super::{CompiledRoute, Match, Query, Router};
use http::HeaderMap;
use model::Id;
use model::kinds::routes::Route;
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;

/// A request that owns what a [`Query`] borrows.
#[derive(Debug, Clone)]
struct Request {
    method: String,
    host: Option<String>,
    port: u16,
    path: String,
    headers: HeaderMap,
    https: bool,
    sni: Option<String>,
    source: Option<SocketAddr>,
    destination: Option<SocketAddr>,
}

impl Request {
    /// `GET` of a path at a host on port 8000, without headers.
    fn get(host: &str, path: &str) -> Self {
        Self {
            method: "GET".into(),
            host: Some(host.into()),
            port: 8000,
            path: path.into(),
            headers: HeaderMap::new(),
            https: false,
            sni: None,
            source: None,
            destination: None,
        }
    }

    fn query(&self) -> Query<'_> {
        Query {
            method: &self.method,
            host: self.host.as_deref(),
            port: self.port,
            path: &self.path,
            headers: &self.headers,
            https: self.https,
            sni: self.sni.as_deref(),
            source: self.source,
            destination: self.destination,
        }
    }
}

/// A route from Kong's JSON, with an id that is easy to recognise.
fn route(id: u128, fields: Value) -> Route {
    let mut route: Route = serde_json::from_value(fields).unwrap();
    route.id = Id(id);
    route
}

fn compiled(route: &Route) -> Arc<CompiledRoute> {
    Arc::new(CompiledRoute::compile(route).unwrap())
}

fn router(routes: &[Route]) -> Router {
    let mut router = Router::new();
    routes.iter().for_each(|route| router.insert(&compiled(route)));
    router
}

fn id(found: Option<Match<'_>>) -> Option<u128> {
    found.map(|found| found.route.id.0)
}
