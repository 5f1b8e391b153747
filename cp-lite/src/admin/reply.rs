//! An answer of the Admin API before it is HTTP: a status and a JSON document, with the headers that Kong sends.

use super::ADMIN_API_VERSION;
use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use serde_json::Value;
use std::time::Duration;

/// How long answering took, in milliseconds.
const LATENCY: HeaderName = HeaderName::from_static("x-kong-admin-latency");
const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// Status, extra headers and body.
#[derive(Debug)]
pub(super) struct Reply {
    status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Option<Value>,
}

impl Reply {
    /// 200 with a document.
    pub(super) fn ok(body: impl Into<Value>) -> Self {
        Self::json(StatusCode::OK, body)
    }

    /// A document with any status.
    pub(super) fn json(status: StatusCode, body: impl Into<Value>) -> Self {
        Self { status, headers: Vec::new(), body: Some(body.into()) }
    }

    /// 204.
    pub(super) fn no_content() -> Self {
        Self { status: StatusCode::NO_CONTENT, headers: Vec::new(), body: None }
    }

    /// With one more header; a value that no header can have is left out.
    pub(super) fn with(mut self, name: HeaderName, value: &str) -> Self {
        self.headers.extend(HeaderValue::from_str(value).ok().map(|value| (name, value)));
        self
    }

    /// As HTTP. The answer to HEAD says how long the body would be and has none.
    pub(super) fn into_response(self, head: bool, latency: Duration) -> Response<Bytes> {
        let bytes = self.body.map(|body| Bytes::from(body.to_string()));
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        if let Some(bytes) = &bytes {
            headers.insert(header::CONTENT_TYPE, JSON);
            headers.insert(header::CONTENT_LENGTH, bytes.len().into());
        }
        headers.insert(header::SERVER, server());
        headers.insert(LATENCY, u64::try_from(latency.as_millis()).unwrap_or(u64::MAX).into());
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        headers.extend(self.headers);
        if !head {
            *response.body_mut() = bytes.unwrap_or_default();
        }
        response
    }
}

/// The server that tools look for.
fn server() -> HeaderValue {
    HeaderValue::from_str(&format!("kong/{ADMIN_API_VERSION}")).unwrap_or(HeaderValue::from_static("kong"))
}
