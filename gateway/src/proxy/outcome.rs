//! What is known of a request when it is over: for the access log and for plugins that log.

use super::request_id::RequestId;
use crate::access_log::AccessLog;
use crate::plugins::Plugin;
use crate::snapshot::entities::{Consumer, Service};
use http::{HeaderValue, Method, StatusCode, Uri, Version};
use model::Id;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A request that is over.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Its id.
    pub request_id: RequestId,
    /// Time since 1970 when it arrived.
    pub arrived: Duration,
    /// Who sent it.
    pub client_ip: IpAddr,
    /// Its method.
    pub method: Method,
    /// Its target as the client wrote it.
    pub uri: Uri,
    /// Its HTTP version.
    pub version: Version,
    /// Its `Referer`.
    pub referer: Option<HeaderValue>,
    /// Its `User-Agent`.
    pub user_agent: Option<HeaderValue>,
    /// The route that it matched.
    pub route: Option<Id>,
    /// The service that it was for.
    pub service: Option<Arc<Service>>,
    /// Who was authenticated.
    pub consumer: Option<Arc<Consumer>>,
    /// The status that the client got; 499 when it left before there was one.
    pub status: StatusCode,
    /// Bytes of the answer's body that went towards the client.
    pub body_bytes: u64,
    /// Whether the whole answer did.
    pub complete: bool,
    /// From the request's head to the last byte of the answer.
    pub elapsed: Duration,
}

/// The record of a request and those who are told when it is over, which is when this is dropped: exactly once,
/// whatever becomes of the request.
pub(super) struct Log {
    pub(super) outcome: Outcome,
    pub(super) begun: Instant,
    pub(super) plugins: Vec<Arc<dyn Plugin>>,
    pub(super) access_log: Option<AccessLog>,
}

impl Drop for Log {
    fn drop(&mut self) {
        self.outcome.elapsed = self.begun.elapsed();
        for plugin in &self.plugins {
            plugin.log(&self.outcome);
        }
        if let Some(access_log) = &self.access_log {
            access_log.write(&self.outcome);
        }
    }
}
