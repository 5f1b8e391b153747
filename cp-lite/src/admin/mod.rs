//! The Admin API: Kong's, for every kind of entity at once.
//!
//! A request is read ([`request`]), its path is understood ([`path`]: an entity, a collection, something nested, or one
//! of the fixed [`endpoints`]), and it becomes a look into a view ([`read`]) or a transaction ([`write`]). Nothing here
//! knows one kind from another but [`snis`], which keeps Kong's pseudo-field of certificates, and [`lookup`]. [`handle`] is a function
//! from request to response that tests call without a socket; [`server`] puts it on one.

mod apply;
mod body;
mod certificates;
mod clustering;
mod confirm;
mod control_planes;
mod endpoints;
mod export;
mod form;
mod info;
mod links;
mod listen;
mod lookup;
mod metrics;
mod multipart;
mod page;
mod path;
mod problem;
mod read;
mod reply;
mod request;
mod schemas;
mod server;
mod snis;
mod subject;
mod tags;
#[cfg(test)]
mod tests;
mod write;

pub use body::Body;
pub use certificates::X509;
pub use info::{ADMIN_API_VERSION, Counters, NodeInfo};
pub use listen::{NotLoopback, check_listen};
pub use request::{APPLY_BYTES_MAX, BODY_BYTES_MAX};
pub use server::{BODY_TIMEOUT, CONNECTIONS_MAX, HEADER_TIMEOUT, serve};

use crate::changelog::{Changelog, Role};
use crate::fleet::Fleet;
use crate::planes::Planes;
use crate::sync::Bundles;
use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response};
use model::schema::CertificateChecks;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// What the Admin API works on.
pub struct App {
    /// Where configuration is read and written.
    pub changelog: Arc<dyn Changelog>,
    /// What is known of the nodes.
    pub fleet: Arc<Fleet>,
    /// What is known of other control planes.
    pub planes: Arc<Planes>,
    /// What this control plane says of itself.
    pub node: NodeInfo,
    /// Looks into certificates and keys; without it only their outer form is checked.
    pub certificates: Option<Box<dyn CertificateChecks + Send + Sync>>,
    /// Makes signed bundles of the configuration; without it there are none.
    pub bundles: Option<Bundles>,
    /// Milliseconds since 1970.
    pub now_ms: fn() -> i64,
    /// Connections and requests so far.
    pub counters: Counters,
}

impl App {
    /// Seconds since 1970.
    fn now_s(&self) -> i64 {
        (self.now_ms)().div_euclid(1000)
    }

    /// Whether changes are taken here, and if not, where they are.
    fn writable(&self) -> Result<(), problem::Problem> {
        match self.changelog.view().role {
            Role::Writer => Ok(()),
            Role::Follower => Err(problem::Problem::Follower(self.planes.writers().join(", "))),
        }
    }
}

/// Answers one request, whose body has been read whole.
pub async fn handle(app: &App, parts: &Parts, body: Bytes) -> Response<Body> {
    let start = Instant::now();
    app.counters.requests.fetch_add(1, Ordering::Relaxed);
    let reply = path::answer(app, parts, body).await.unwrap_or_else(problem::Problem::into_reply);
    reply.into_response(parts.method == Method::HEAD, start.elapsed())
}
