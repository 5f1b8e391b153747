//! Step 6 of a request: the head of the answer, whoever made it, with the gateway's own headers.

use super::arrival::{Arrival, Found};
use super::error;
use super::headers::Hop;
use super::{Proxy, ProxyError, ResponseBody, forward, headers, names, settings};
use crate::plugins::{Answer, AnswerBody, Cx};
use crate::snapshot::entities::Instance;
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, SERVER, UPGRADE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Response, StatusCode, response};
use std::sync::Arc;
use std::time::Duration;

/// Where the time to an answer's head went.
pub(super) struct Times {
    /// Until the request was on its way.
    pub(super) ours: Duration,
    /// From then on.
    pub(super) theirs: Duration,
}

/// What becomes the answer.
#[allow(clippy::large_enum_variant, reason = "one per request, taken apart at once; a box would be an allocation")]
pub(super) enum Reply {
    /// An upstream's.
    Proxied { head: response::Parts, body: ResponseBody, hop: Hop, times: Times },
    /// A plugin's.
    Plugin(Box<Answer>),
    /// Nobody's.
    Error(ProxyError),
}

impl Proxy {
    /// Step 6: the head of the answer with the gateway's own headers, and its body.
    pub(super) fn head_of(&self, reply: Reply, arrival: &Arrival) -> (response::Parts, ResponseBody) {
        let shown = self.shared.settings.headers;
        let (mut head, body) = match reply {
            Reply::Proxied { mut head, body, hop, times } => {
                headers::clean_response(&mut head.headers, hop, head.status == StatusCode::SWITCHING_PROTOCOLS);
                self.mark_proxied(&mut head, arrival, &times);
                return (head, body);
            }
            Reply::Plugin(answer) => answer_of(*answer, arrival),
            Reply::Error(error) => {
                tracing::debug!(request_id = %arrival.id, side = ?error.side(), %error, "not proxied");
                answer_of(refusal(&error, arrival), arrival)
            }
        };
        if shown.server {
            head.headers.insert(SERVER, HeaderValue::from_static(settings::PRODUCT));
        }
        if shown.response_latency {
            head.headers.insert(names::X_KONG_RESPONSE_LATENCY, millis(arrival.begun.elapsed()));
        }
        if shown.request_id {
            head.headers.insert(names::X_KONG_REQUEST_ID, arrival.id.header());
        }
        (head, body)
    }

    fn mark_proxied(&self, head: &mut response::Parts, arrival: &Arrival, times: &Times) {
        let shown = self.shared.settings.headers;
        let headers = &mut head.headers;
        if shown.upstream_status {
            headers.insert(names::X_KONG_UPSTREAM_STATUS, HeaderValue::from(head.status.as_u16()));
        }
        if shown.upstream_latency {
            headers.insert(names::X_KONG_UPSTREAM_LATENCY, millis(times.theirs));
        }
        if shown.proxy_latency {
            headers.insert(names::X_KONG_PROXY_LATENCY, millis(times.ours));
        }
        if shown.via {
            headers::append_via(headers);
        }
        if shown.server && !headers.contains_key(SERVER) {
            headers.insert(SERVER, HeaderValue::from_static(settings::PRODUCT));
        }
        if shown.request_id {
            headers.insert(names::X_KONG_REQUEST_ID, arrival.id.header());
        }
    }
}

fn millis(duration: Duration) -> HeaderValue {
    HeaderValue::from(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// `Kong-Route-Id` and the like, for `Kong-Debug: 1`.
pub(super) fn show_match(headers: &mut HeaderMap, found: Found<'_>) {
    let mut set = |name, value: Option<&str>| {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
            headers.insert(name, value);
        }
    };
    set(names::KONG_ROUTE_ID, Some(&found.route.id.to_string()));
    set(names::KONG_ROUTE_NAME, found.route.name.as_deref());
    if let Some(service) = found.service {
        set(names::KONG_SERVICE_ID, Some(&service.id.to_string()));
        set(names::KONG_SERVICE_NAME, service.name.as_deref());
    }
}

/// What the client is told of an error.
fn refusal(error: &ProxyError, arrival: &Arrival) -> Answer {
    let (status, message) = error.answer();
    let mut answer = Answer::error(status, message);
    if error.is_plain_by_default() && arrival.accept.is_none() {
        let plain = HeaderValue::from_static("text/plain");
        let form = arrival.content_type.as_ref().unwrap_or(&plain);
        let (content_type, bytes) = error::body(Some(form), message, arrival.id);
        answer.headers.insert(CONTENT_TYPE, content_type);
        answer.body = AnswerBody::Bytes(bytes);
    }
    match error {
        ProxyError::HttpsRequired { .. } if status == StatusCode::UPGRADE_REQUIRED => {
            answer.with(CONNECTION, "Upgrade").with(UPGRADE, "TLS/1.2, HTTP/1.1")
        }
        ProxyError::HttpsRequired { .. } => {
            let host = arrival.host.as_ref().and_then(|host| host.to_str().ok()).map(forward::without_port);
            let target = arrival.uri.path_and_query().map_or("/", PathAndQuery::as_str);
            answer.with(LOCATION, &format!("https://{}{target}", host.unwrap_or_default()))
        }
        ProxyError::Http2Required => answer.with(CONNECTION, "Upgrade").with(UPGRADE, "HTTP/2"),
        _ => answer,
    }
}

/// An answer that the gateway makes itself.
fn answer_of(answer: Answer, arrival: &Arrival) -> (response::Parts, ResponseBody) {
    let (mut head, ()) = Response::new(()).into_parts();
    head.status = answer.status;
    head.headers = answer.headers;
    let bytes = match answer.body {
        AnswerBody::Empty => Bytes::new(),
        AnswerBody::Bytes(bytes) => bytes,
        AnswerBody::Message(message) => {
            let (content_type, bytes) = error::body(arrival.accept.as_ref(), &message, arrival.id);
            head.headers.insert(CONTENT_TYPE, content_type);
            bytes
        }
    };
    (head, ResponseBody::whole(bytes))
}

/// Lets plugins see the answer's head and install filters for its body.
pub(super) fn filter(
    cx: &Cx<'_>,
    ran: &[&Arc<Instance>],
    head: &mut response::Parts,
    body: ResponseBody,
) -> ResponseBody {
    let mut filters = Vec::new();
    for instance in ran {
        instance.plugin.header_filter(cx, head);
        filters.extend(instance.plugin.body_filter(cx, head));
    }
    if filters.is_empty() || head.status == StatusCode::SWITCHING_PROTOCOLS {
        return body;
    }
    // A filter may change the length.
    head.headers.remove(CONTENT_LENGTH);
    body.filtered(filters)
}
