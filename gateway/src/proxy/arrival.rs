//! Steps 1 and 2 of a request: what is remembered of it before anything is changed, and what it is for.

use super::request_id::RequestId;
use super::{Peer, Proxy, ProxyError, forward, forwarded, headers, names, path};
use crate::router::{CompiledRoute, Query};
use crate::snapshot::Snapshot;
use crate::snapshot::entities::Service;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, REFERER, USER_AGENT};
use http::{HeaderValue, Method, Uri, Version, request};
use hyper::upgrade::OnUpgrade;
use model::kinds::Protocol;
use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::time::Instant;

/// What is remembered of a request before plugins and the way upstream change it.
pub(super) struct Arrival {
    pub(super) begun: Instant,
    pub(super) id: RequestId,
    pub(super) uri: Uri,
    pub(super) method: Method,
    pub(super) version: Version,
    pub(super) host: Option<HeaderValue>,
    pub(super) accept: Option<HeaderValue>,
    pub(super) content_type: Option<HeaderValue>,
    pub(super) client_ip: IpAddr,
    pub(super) claims_https: bool,
    pub(super) debug: bool,
    pub(super) upgrade: RefCell<Option<OnUpgrade>>,
    /// `Referer` and `User-Agent`, if somebody logs.
    pub(super) for_log: (Option<HeaderValue>, Option<HeaderValue>),
}

/// What the request is for.
#[derive(Clone, Copy)]
pub(super) struct Found<'s> {
    pub(super) route: &'s Arc<CompiledRoute>,
    pub(super) service: Option<&'s Arc<Service>>,
    /// How much of the path the route matched.
    pub(super) matched: usize,
}

impl Proxy {
    /// Step 1: what is remembered, and what is taken off the request.
    pub(super) fn arrive(&self, peer: &Peer, head: &mut request::Parts) -> Arrival {
        headers::drop_identity(&mut head.headers);
        let settings = &self.shared.settings;
        let headers = &head.headers;
        let logs = self.shared.access_log.is_some();
        let log = |name| if logs { headers.get(name).cloned() } else { None };
        Arrival {
            begun: Instant::now(),
            id: self.ids.next(),
            uri: head.uri.clone(),
            method: head.method.clone(),
            version: head.version,
            host: host_of(head),
            accept: headers.get(ACCEPT).cloned(),
            content_type: headers.get(CONTENT_TYPE).cloned(),
            client_ip: forwarded::client_ip(settings, peer.address.ip(), peer.trusted, headers),
            claims_https: peer.trusted && headers.get(names::X_FORWARDED_PROTO).is_some_and(|proto| proto == "https"),
            debug: settings.allow_debug_header && headers.get(names::KONG_DEBUG).is_some_and(|debug| debug == "1"),
            upgrade: RefCell::new(head.extensions.remove::<OnUpgrade>()),
            for_log: (log(REFERER), log(USER_AGENT)),
        }
    }
}

/// Step 2: the route and its service, and whether the protocol suits.
pub(super) fn find<'s>(
    snapshot: &'s Snapshot,
    peer: &Peer,
    arrival: &Arrival,
    head: &request::Parts,
) -> Result<Found<'s>, ProxyError> {
    // Two names for one request are how requests are smuggled past a proxy (RFC 9112 §3.2).
    if head.headers.get_all(HOST).iter().nth(1).is_some() {
        return Err(ProxyError::BadRequest);
    }
    let target_ok = head.uri.path().starts_with('/') && head.method != Method::CONNECT;
    if !target_ok || (arrival.host.is_none() && head.version == Version::HTTP_11) {
        return Err(ProxyError::BadRequest);
    }
    let path = path::normalise(arrival.uri.path());
    let query = Query {
        method: head.method.as_str(),
        host: arrival.host.as_ref().and_then(|host| host.to_str().ok()),
        port: peer.local.port(),
        path: &path,
        headers: &head.headers,
        https: peer.over_tls,
        sni: peer.sni.as_deref(),
        source: Some(peer.address),
        destination: Some(peer.local),
    };
    let found = snapshot.router().find(&query).ok_or(ProxyError::NoRoute)?;
    let service = found.route.service.and_then(|id| snapshot.service(id));
    if service.is_some_and(|service| !service.enabled) {
        return Err(ProxyError::NoRoute);
    }
    let protocols = found.route.protocols;
    if !protocols.contains(Protocol::Http) && !protocols.contains(Protocol::Https) {
        return Err(ProxyError::Http2Required);
    }
    if !protocols.contains(Protocol::Http) && !peer.over_tls && !arrival.claims_https {
        return Err(ProxyError::HttpsRequired { status: found.route.https_redirect_status_code });
    }
    Ok(Found { route: found.route, service, matched: found.matched })
}

/// The Host of a request; a target in absolute form says more than the header (RFC 9112 §3.2.2).
fn host_of(head: &request::Parts) -> Option<HeaderValue> {
    match head.uri.authority() {
        Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
        None => head.headers.get(HOST).filter(|host| !host.is_empty()).cloned(),
    }
}

/// The value without a port; the same bytes where there is none.
pub(super) fn name_only(host: &HeaderValue) -> HeaderValue {
    let Ok(text) = host.to_str() else { return host.clone() };
    let name = forward::without_port(text);
    if name.len() == text.len() { host.clone() } else { HeaderValue::from_str(name).unwrap_or_else(|_| host.clone()) }
}
