//! Step 4 of a request: target and headers as the upstream is to see them.

use super::arrival::{Arrival, Found, name_only};
use super::headers::Hop;
use super::request_body::UpstreamRequest;
use super::{Peer, Proxy, ProxyError, forwarded, headers, ip_text, names, path};
use crate::plugins::Cx;
use crate::snapshot::entities::Service;
use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{Request, Uri, Version, request};
use http_body::Body as _;

/// How many headers the gateway adds at most.
const HEADERS_ADDED_MAX: usize = 12;

impl Proxy {
    /// Step 4: target and headers as the upstream is to see them.
    pub(super) fn dress(
        &self,
        peer: &Peer,
        arrival: &Arrival,
        found: Found<'_>,
        service: &Service,
        cx: &mut Cx<'_>,
    ) -> Result<(Request<UpstreamRequest>, Hop), ProxyError> {
        let mut head = take_head(cx);
        let path = path::normalise(arrival.uri.path());
        let strip = found.route.strip_path.then_some(found.matched);
        let base = service.path.as_deref().unwrap_or("/");
        // `path_handling = "v1"` of a route counts in Kong's `traditional` flavour only.
        let joined = path::join(path::Handling::V0, base, &path, strip);
        head.uri = target(&head.uri, &path::escape(&joined))?;
        head.version = Version::HTTP_11;
        let headers = &mut head.headers;
        let hop = headers::clean_request(headers);
        headers.reserve(HEADERS_ADDED_MAX);
        let client_text = if arrival.client_ip == peer.address.ip() { None } else { Some(ip_text(arrival.client_ip)) };
        let prefix = strip.and_then(|matched| path.get(..matched)).map(path::escape);
        forwarded::set(
            headers,
            forwarded::Facts {
                peer_trusted: peer.trusted,
                peer: &peer.address_text,
                client: client_text.as_ref().unwrap_or(&peer.address_text),
                over_tls: peer.over_tls,
                port: &peer.port_text,
                host: arrival.host.as_ref().map(name_only),
                path: arrival.uri.path(),
                prefix: prefix.as_deref(),
            },
        );
        if self.shared.settings.request_id_upstream {
            headers.insert(names::X_KONG_REQUEST_ID, arrival.id.header());
        }
        let body = UpstreamRequest::new(std::mem::take(&mut cx.body));
        let has_body = !body.is_end_stream();
        headers::dress_request(headers, hop, has_body, body.size_hint().exact());
        Ok((Request::from_parts(head, body), hop))
    }
}

/// A target with this path and the query that `uri` has; the same target where nothing changes.
fn target(uri: &Uri, path: &str) -> Result<Uri, ProxyError> {
    if uri.authority().is_none() && uri.path() == path {
        return Ok(uri.clone());
    }
    let target = match uri.query() {
        Some(query) => Bytes::from([path, "?", query].concat()),
        None => Bytes::copy_from_slice(path.as_bytes()),
    };
    let target = PathAndQuery::from_maybe_shared(target).map_err(|_| ProxyError::BadRequest)?;
    Ok(Uri::from(target))
}

/// Takes the head out of the context; what is left there has no headers.
fn take_head(cx: &mut Cx<'_>) -> request::Parts {
    let (empty, ()) = Request::new(()).into_parts();
    std::mem::replace(&mut cx.head, empty)
}
