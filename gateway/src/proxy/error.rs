//! Why a request could not be proxied: whose fault it was, whether another try may help, and what the client is told.

use super::request_id::RequestId;
use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use std::time::Duration;

/// Whose fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The client's request.
    Client,
    /// Something that the request was sent to, or should have been.
    Upstream,
    /// Ours, or the configuration's.
    Gateway,
}

/// Everything that can go wrong between a client and an upstream.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ProxyError {
    /// No route matches.
    #[error("no Route matched with those values")]
    NoRoute,
    /// The route has no service and no plugin answered.
    #[error("no Service found with those values")]
    NoService,
    /// The route serves HTTPS only.
    #[error("Please use HTTPS protocol")]
    HttpsRequired {
        /// 426, or a redirect (the route's `https_redirect_status_code`).
        status: u16,
    },
    /// The route serves gRPC only, which needs HTTP/2.
    #[error("Please use HTTP2 protocol")]
    Http2Required,
    /// The request is not one that can be forwarded (no host, a target that is no path, `CONNECT`).
    #[error("Bad request")]
    BadRequest,
    /// The client's body did not arrive, or is not valid HTTP.
    #[error("the client's request body ended early: {0}")]
    ClientBody(String),
    /// The client sent nothing of its body for too long.
    #[error("the client sent nothing for {0:?}")]
    ClientTimeout(Duration),
    /// The upstream has no target that takes requests.
    #[error("failure to get a peer from the ring-balancer")]
    NoPeer,
    /// The host has no address.
    #[error("name resolution failed")]
    NameResolution,
    /// The service's protocol is not one that this build speaks.
    #[error("the service's protocol is not available in this build")]
    Protocol,
    /// The service's TLS settings cannot be used.
    #[error("TLS settings of the service: {0}")]
    TlsSettings(String),
    /// No connection: refused, unreachable, or the TLS handshake failed.
    #[error("connect: {0}")]
    Connect(String),
    /// The connection was not there in time.
    #[error("no connection within {0:?}")]
    ConnectTimeout(Duration),
    /// The upstream took nothing of the request for too long.
    #[error("the upstream took nothing for {0:?}")]
    WriteTimeout(Duration),
    /// The upstream sent nothing for too long.
    #[error("the upstream sent nothing for {0:?}")]
    ReadTimeout(Duration),
    /// The connection broke before the head of the answer was there.
    #[error("the upstream closed the connection: {0}")]
    Closed(String),
    /// What came back is not HTTP.
    #[error("invalid answer: {0}")]
    Answer(String),
    /// The answer broke off in its body, or a plugin's filter gave up.
    #[error("the answer broke off: {0}")]
    Interrupted(String),
}

impl ProxyError {
    /// Whose fault it is.
    #[must_use]
    pub fn side(&self) -> Side {
        match self {
            Self::NoRoute
            | Self::HttpsRequired { .. }
            | Self::Http2Required
            | Self::BadRequest
            | Self::ClientBody(_)
            | Self::ClientTimeout(_) => Side::Client,
            Self::NoService | Self::Protocol | Self::TlsSettings(_) => Side::Gateway,
            Self::NoPeer
            | Self::NameResolution
            | Self::Connect(_)
            | Self::ConnectTimeout(_)
            | Self::WriteTimeout(_)
            | Self::ReadTimeout(_)
            | Self::Closed(_)
            | Self::Answer(_)
            | Self::Interrupted(_) => Side::Upstream,
        }
    }

    /// Whether another target may do better. Whether the request may be sent once more is a different question.
    #[must_use]
    pub fn retryable(&self) -> bool {
        matches!(
            self,
            Self::Connect(_)
                | Self::ConnectTimeout(_)
                | Self::WriteTimeout(_)
                | Self::ReadTimeout(_)
                | Self::Closed(_)
                | Self::NameResolution
        )
    }

    /// Whether it arose below Kong's own code, in nginx: then, without `Accept`, the text is plain and not JSON
    /// (Kong: `error_default_type`).
    #[must_use]
    pub fn is_plain_by_default(&self) -> bool {
        match self {
            Self::NoRoute | Self::NoService | Self::HttpsRequired { .. } | Self::Http2Required | Self::NoPeer => false,
            Self::NameResolution | Self::Protocol | Self::TlsSettings(_) => false,
            Self::BadRequest | Self::ClientBody(_) | Self::ClientTimeout(_) => true,
            Self::Connect(_) | Self::Closed(_) | Self::Answer(_) | Self::Interrupted(_) => true,
            Self::ConnectTimeout(_) | Self::WriteTimeout(_) | Self::ReadTimeout(_) => true,
        }
    }

    /// Status and text for the client (Kong: `error_handlers`).
    #[must_use]
    pub fn answer(&self) -> (StatusCode, &'static str) {
        match self {
            Self::NoRoute => (StatusCode::NOT_FOUND, "no Route matched with those values"),
            Self::NoService => (StatusCode::SERVICE_UNAVAILABLE, "no Service found with those values"),
            Self::HttpsRequired { status } => {
                let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::UPGRADE_REQUIRED);
                (status, "Please use HTTPS protocol")
            }
            Self::Http2Required => (StatusCode::UPGRADE_REQUIRED, "Please use HTTP2 protocol"),
            Self::BadRequest | Self::ClientBody(_) => (StatusCode::BAD_REQUEST, "Bad request"),
            Self::ClientTimeout(_) => (StatusCode::REQUEST_TIMEOUT, "Request timeout"),
            Self::NoPeer => (StatusCode::SERVICE_UNAVAILABLE, "failure to get a peer from the ring-balancer"),
            Self::NameResolution => (StatusCode::SERVICE_UNAVAILABLE, "name resolution failed"),
            Self::Protocol => (StatusCode::NOT_IMPLEMENTED, "The protocol of this service is not supported"),
            Self::TlsSettings(_) => (StatusCode::INTERNAL_SERVER_ERROR, "An unexpected error occurred"),
            Self::Connect(_) | Self::Closed(_) | Self::Answer(_) | Self::Interrupted(_) => {
                (StatusCode::BAD_GATEWAY, "An invalid response was received from the upstream server")
            }
            Self::ConnectTimeout(_) | Self::WriteTimeout(_) | Self::ReadTimeout(_) => {
                (StatusCode::GATEWAY_TIMEOUT, "The upstream server is timing out")
            }
        }
    }
}

/// The forms that an error body can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Html,
    Xml,
    Plain,
}

/// An error body in the form that the client prefers: its content type and bytes.
///
/// `accept` (the header's value) decides, by the highest quality and then the order; without it JSON. Never fails: what cannot be understood
/// counts as *anything*.
#[must_use]
pub fn body(accept: Option<&HeaderValue>, message: &str, id: RequestId) -> (HeaderValue, Bytes) {
    let (content_type, text) = match preferred(accept) {
        Form::Json => {
            let message = serde_json::Value::from(message).to_string();
            ("application/json; charset=utf-8", format!("{{\n  \"message\":{message},\n  \"request_id\":\"{id}\"\n}}"))
        }
        Form::Html => {
            let message = escaped(message);
            let head = format!("<head><meta charset=\"utf-8\"><title>{message}</title></head>");
            let body = format!("<body><h1>{message}</h1><p>request_id: {id}</p></body>");
            ("text/html; charset=utf-8", format!("<!doctype html>\n<html>\n{head}\n{body}\n</html>\n"))
        }
        Form::Xml => {
            let inner = format!("  <message>{}</message>\n  <requestid>{id}</requestid>", escaped(message));
            let text = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<error>\n{inner}\n</error>\n");
            ("application/xml; charset=utf-8", text)
        }
        Form::Plain => ("text/plain; charset=utf-8", format!("{message}\nrequest_id: {id}\n")),
    };
    (HeaderValue::from_static(content_type), text.into())
}

/// The most media ranges of an `Accept` header that are looked at.
const RANGES_MAX: usize = 32;

fn preferred(accept: Option<&HeaderValue>) -> Form {
    let mut best = (0.0, Form::Json);
    let accept = accept.and_then(|value| value.to_str().ok()).unwrap_or_default();
    for range in accept.split(',').take(RANGES_MAX) {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default().to_ascii_lowercase();
        let quality = parts.find_map(|parameter| parameter.strip_prefix("q=")).map_or(Ok(1.0), str::parse::<f32>);
        let quality = quality.unwrap_or(0.0);
        if quality > best.0 {
            best = (quality, form_of(&media));
        }
    }
    best.1
}

fn form_of(media: &str) -> Form {
    match media {
        "text/html" | "application/xhtml+xml" | "text/*" => Form::Html,
        "text/xml" | "application/xml" => Form::Xml,
        "text/plain" => Form::Plain,
        _ => Form::Json,
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(accept: Option<&'static str>) -> (String, String) {
        let accept = accept.map(HeaderValue::from_static);
        let (content_type, body) = body(accept.as_ref(), "no Route matched with those values", RequestId(0xab));
        (content_type.to_str().unwrap().to_owned(), String::from_utf8(body.to_vec()).unwrap())
    }

    #[test]
    fn is_json_unless_the_client_prefers_something_else() {
        for accept in [None, Some("*/*"), Some("application/json"), Some("image/png"), Some(";;,=")] {
            let (content_type, text) = answer(accept);
            assert_eq!(content_type, "application/json; charset=utf-8", "{accept:?}");
            let json: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(json["message"], "no Route matched with those values");
            assert_eq!(json["request_id"], format!("{:032x}", 0xab));
        }
    }

    #[test]
    fn follows_the_quality_of_accept() {
        assert_eq!(answer(Some("text/plain")).0, "text/plain; charset=utf-8");
        assert_eq!(answer(Some("text/html, */*;q=0.8")).0, "text/html; charset=utf-8");
        assert_eq!(answer(Some("text/html;q=0.1, application/xml;q=0.9")).0, "application/xml; charset=utf-8");
        assert_eq!(
            answer(Some("text/plain")).1,
            format!("no Route matched with those values\nrequest_id: {:032x}\n", 0xab)
        );
    }

    #[test]
    fn escapes_messages_for_the_form() {
        assert_eq!(escaped("<a&b>"), "&lt;a&amp;b&gt;");
        let (_, text) = body(None, "a \"quoted\" name", RequestId(1));
        assert!(serde_json::from_slice::<serde_json::Value>(&text).is_ok());
    }

    #[test]
    fn only_failures_of_one_target_are_worth_another_try() {
        assert!(ProxyError::Connect(String::new()).retryable());
        assert!(ProxyError::ReadTimeout(Duration::ZERO).retryable());
        assert!(!ProxyError::Answer(String::new()).retryable());
        assert!(!ProxyError::NoPeer.retryable());
        assert_eq!(ProxyError::ClientBody(String::new()).side(), Side::Client);
    }
}
