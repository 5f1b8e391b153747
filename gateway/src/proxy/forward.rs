//! From a request that may pass to the head of an answer: pick a target, connect or reuse, send, and try again where
//! that is safe.
//!
//! A request is sent again only if nothing of it was sent, or if it has no body and its method is idempotent (RFC 9110
//! §9.2.2). `retries` of the service counts further tries after failures; a pooled connection that the upstream closed
//! in the meantime is no failure of the target and costs none.

use super::Proxy;
use super::connect::{Tls, connect};
use super::error::ProxyError;
use super::pool::Key;
use super::request_body::UpstreamRequest;
use super::tls::TlsIdentity;
use super::upstream::{Connection, Failed, Patience};
use crate::snapshot::Snapshot;
use crate::snapshot::entities::{Protocol, Service, Target, Upstream};
use http::header::HOST;
use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use model::Id;
use pki::ServerName;
use std::sync::Arc;
use tokio::time::Instant;

/// Where a service's requests go.
pub(super) struct Destination<'s> {
    snapshot: &'s Snapshot,
    service: &'s Service,
    upstream: Option<&'s Upstream>,
    targets: &'s [Arc<Target>],
    tls: Option<TlsIdentity>,
}

/// The head of an answer with the connection that the rest comes on.
pub(super) struct Answered {
    pub(super) response: Response<Incoming>,
    pub(super) connection: Connection,
    pub(super) key: Key,
}

/// One place to try.
struct Place<'s> {
    id: Option<Id>,
    host: &'s str,
    port: u16,
}

impl<'s> Destination<'s> {
    /// Looks up what the service's host stands for.
    pub(super) fn new(snapshot: &'s Snapshot, service: &'s Service) -> Result<Self, ProxyError> {
        let upstream = snapshot.upstream_named(&service.host).map(|upstream| &**upstream);
        let targets = upstream.and_then(|upstream| snapshot.targets(upstream.id));
        let identity = || {
            let certificate = upstream.and_then(|upstream| upstream.client_certificate);
            TlsIdentity::of(snapshot, service.tls.as_deref(), certificate)
        };
        let tls = match service.protocol {
            Protocol::Http => None,
            Protocol::Https => Some(identity()),
            Protocol::Unsupported => return Err(ProxyError::Protocol),
        };
        Ok(Self { snapshot, service, upstream, targets: targets.map_or(&[], |targets| targets), tls })
    }

    /// The Host header for a place: the client's own, the upstream's, or the name of the place.
    fn host_header(&self, place: &Place<'_>, preserved: Option<&HeaderValue>) -> Option<HeaderValue> {
        if let Some(preserved) = preserved {
            return Some(preserved.clone());
        }
        if let Some(host) = self.upstream.and_then(|upstream| upstream.host_header.as_deref()) {
            return HeaderValue::from_str(host).ok();
        }
        let default_port = if self.tls.is_some() { 443 } else { 80 };
        let bracketed = place.host.contains(':');
        let value = match (bracketed, place.port == default_port) {
            (false, true) => return HeaderValue::from_str(place.host).ok(),
            (false, false) => format!("{}:{}", place.host, place.port),
            (true, true) => format!("[{}]", place.host),
            (true, false) => format!("[{}]:{}", place.host, place.port),
        };
        HeaderValue::from_str(&value).ok()
    }
}

impl Proxy {
    /// Sends the request to the destination's targets, one after another, until one answers.
    pub(super) async fn forward(
        &self,
        destination: &Destination<'_>,
        mut request: Request<UpstreamRequest>,
        preserved_host: Option<&HeaderValue>,
        begun: Instant,
    ) -> Result<Answered, ProxyError> {
        let retries = destination.service.retries;
        // Also without retries: a pooled connection may have ended just before.
        let repeatable = request.method().is_idempotent() && http_body::Body::is_end_stream(request.body());
        let spare = repeatable.then(|| copy_of(&request));
        let mut tried = Vec::new();
        let mut failures = 0;
        let mut place = self.pick(destination, &tried)?;
        let mut reuse = Some(begun);
        loop {
            let failed = match self.attempt(destination, &place, request, preserved_host, reuse).await {
                Ok(answered) => return Ok(answered),
                Err(failed) => failed,
            };
            // A pooled connection that had ended meanwhile says nothing about the target.
            let outlived = failed.reused && matches!(failed.inner.error, ProxyError::Closed(_));
            if !outlived {
                failures += 1;
                if !failed.inner.error.retryable() || failures > retries {
                    return Err(failed.inner.error);
                }
            }
            request = match (failed.inner.unsent, &spare) {
                (Some(unsent), _) => *unsent,
                (None, Some(spare)) => copy_of(spare),
                (None, None) => return Err(failed.inner.error),
            };
            reuse = (!outlived).then(Instant::now);
            if !outlived {
                tried.extend(place.id);
                place = self.pick(destination, &tried)?;
            }
        }
    }

    /// The next place; one that was tried only when there is no other.
    fn pick<'s>(&self, destination: &Destination<'s>, tried: &[Id]) -> Result<Place<'s>, ProxyError> {
        let Some(upstream) = destination.upstream else {
            let service = destination.service;
            return Ok(Place { id: None, host: &service.host, port: service.port });
        };
        let mut balancers = self.balancers.borrow_mut();
        let state = balancers.of(upstream.id);
        let target = state.pick(destination.targets, |id| tried.contains(&id));
        let target = target.or_else(|| state.pick(destination.targets, |_| false)).ok_or(ProxyError::NoPeer)?;
        Ok(Place { id: Some(target.id), host: &target.host, port: target.port })
    }

    /// One try at one place: on a pooled connection if `reuse` says so, which then is the present time.
    async fn attempt(
        &self,
        destination: &Destination<'_>,
        place: &Place<'_>,
        mut request: Request<UpstreamRequest>,
        preserved_host: Option<&HeaderValue>,
        reuse: Option<Instant>,
    ) -> Result<Answered, Attempt> {
        let unsent =
            |error, request| Attempt { inner: Failed { error, unsent: Some(Box::new(request)) }, reused: false };
        let Ok(address) = self.shared.resolver.resolve(place.host, place.port).await else {
            return Err(unsent(ProxyError::NameResolution, request));
        };
        let host = destination.host_header(place, preserved_host);
        let name = host.as_ref().and_then(|host| host.to_str().ok()).map_or(place.host, without_port).to_owned();
        if let Some(host) = host {
            request.headers_mut().insert(HOST, host);
        }
        let key = Key { address, tls: destination.tls.map_or(0, |identity| identity.with_name(&name)) };
        let service = destination.service;
        let patience = Patience {
            write: service.write_timeout,
            read: service.read_timeout,
            client: self.shared.settings.client_body_timeout,
        };
        let pooled = reuse.and_then(|now| self.pool.take(&key, now).zip(Some(now)));
        let reused = pooled.is_some();
        let (mut connection, now) = match pooled {
            Some(pooled) => pooled,
            None => match self.open(destination, &name, key, service).await {
                Ok(connection) => (connection, Instant::now()),
                Err(error) => return Err(unsent(error, request)),
            },
        };
        match connection.exchange(request, patience, now).await {
            Ok(response) => Ok(Answered { response, connection, key }),
            Err(inner) => Err(Attempt { inner, reused }),
        }
    }

    async fn open(
        &self,
        destination: &Destination<'_>,
        name: &str,
        key: Key,
        service: &Service,
    ) -> Result<Connection, ProxyError> {
        let tls = match destination.tls {
            None => None,
            Some(identity) => {
                let certificate = destination.upstream.and_then(|upstream| upstream.client_certificate);
                let trusted = self.shared.settings.trusted_certificates.as_ref();
                let settings = service.tls.as_deref();
                let config = self.shared.tls.get(identity, destination.snapshot, settings, certificate, trusted)?;
                let name =
                    ServerName::try_from(name.to_owned()).map_err(|_| ProxyError::TlsSettings("server name".into()))?;
                Some(Tls { config, name })
            }
        };
        connect(key.address, tls, service.connect_timeout).await
    }
}

/// A failed try.
struct Attempt {
    inner: Failed,
    /// On a connection out of the pool.
    reused: bool,
}

/// The same request once more; only for one without a body.
fn copy_of(request: &Request<UpstreamRequest>) -> Request<UpstreamRequest> {
    let mut copy = Request::new(UpstreamRequest::empty());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    copy
}

/// The name in a Host header.
pub(super) fn without_port(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    host.rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()))
        .map_or(host, |(name, _)| name)
}
