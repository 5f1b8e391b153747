//! An answer of the Admin API before it is HTTP: a status and a JSON document, with the headers that Kong sends.

use super::ADMIN_API_VERSION;
use super::body::{Body, Pieces};
use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use serde_json::Value;
use std::time::Duration;

/// How long answering took, in milliseconds.
const LATENCY: HeaderName = HeaderName::from_static("x-kong-admin-latency");
const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");
const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// Status, extra headers and body.
pub(super) struct Reply {
    status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
    content: Content,
}

enum Content {
    Nothing,
    Document(Value),
    /// With its media type.
    Text(&'static str, String),
    /// Bytes of a length that may be known.
    File(Pieces, Option<usize>),
}

impl Reply {
    /// 200 with a document.
    pub(super) fn ok(body: impl Into<Value>) -> Self {
        Self::json(StatusCode::OK, body)
    }

    /// A document with any status.
    pub(super) fn json(status: StatusCode, body: impl Into<Value>) -> Self {
        Self { status, headers: Vec::new(), content: Content::Document(body.into()) }
    }

    /// 200 with a text of this media type.
    pub(super) fn text(media_type: &'static str, text: String) -> Self {
        Self { status: StatusCode::OK, headers: Vec::new(), content: Content::Text(media_type, text) }
    }

    /// 200 with bytes that are made as they are sent.
    pub(super) fn file(pieces: Pieces, length: Option<usize>) -> Self {
        Self { status: StatusCode::OK, headers: Vec::new(), content: Content::File(pieces, length) }
    }

    /// 204.
    pub(super) fn no_content() -> Self {
        Self { status: StatusCode::NO_CONTENT, headers: Vec::new(), content: Content::Nothing }
    }

    /// With one more header; a value that no header can have is left out.
    pub(super) fn with(mut self, name: HeaderName, value: &str) -> Self {
        self.headers.extend(HeaderValue::from_str(value).ok().map(|value| (name, value)));
        self
    }

    /// As HTTP. The answer to HEAD says how long the body would be and has none.
    pub(super) fn into_response(self, head: bool, latency: Duration) -> Response<Body> {
        let (body, content_type, length) = match self.content {
            Content::Nothing => (Body::whole(Bytes::new()), None, None),
            Content::Document(document) => {
                let bytes = Bytes::from(document.to_string());
                let length = bytes.len();
                (Body::whole(bytes), Some(JSON), Some(length))
            }
            Content::Text(media_type, text) => {
                let length = text.len();
                (Body::whole(text.into()), Some(HeaderValue::from_static(media_type)), Some(length))
            }
            Content::File(pieces, length) => (Body::pieces(pieces), Some(BYTES), length),
        };
        let mut response = Response::new(if head { Body::whole(Bytes::new()) } else { body });
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.extend(content_type.map(|content_type| (header::CONTENT_TYPE, content_type)));
        headers.extend(length.map(|length| (header::CONTENT_LENGTH, length.into())));
        headers.insert(header::SERVER, server());
        headers.insert(LATENCY, u64::try_from(latency.as_millis()).unwrap_or(u64::MAX).into());
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        headers.extend(self.headers);
        response
    }
}

/// The server that tools look for.
fn server() -> HeaderValue {
    HeaderValue::from_str(&format!("kong/{ADMIN_API_VERSION}")).unwrap_or(HeaderValue::from_static("kong"))
}
