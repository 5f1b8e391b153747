//! A request as plugins see it, and the answers that they can give.

use super::identity::{Authenticated, Directory};
use crate::proxy::request_id::RequestId;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// The most bytes of a request body that are read so that a plugin can look into it.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// One request on its way through the chain.
pub struct Cx<'s> {
    /// What authentication plugins may ask.
    pub directory: &'s dyn Directory,
    /// Method, target and headers as they will go upstream; plugins edit them in place.
    pub head: http::request::Parts,
    /// The body, not read yet unless a plugin had to.
    pub body: RequestBody,
    /// The target as the client wrote it, once a plugin has changed [`Cx::head`]'s.
    pub original_uri: Option<Uri>,
    /// Where the request comes from and how.
    pub client: Client,
    /// Its id, unique per node.
    pub request_id: RequestId,
    /// Time since 1970 when the first plugin was asked.
    pub now: Duration,
    /// The route and service that it matched, for plugins that show them.
    pub matched: Matched<'s>,
    /// Who calls, once a plugin has found out.
    pub authenticated: Option<Authenticated>,
}

/// What the router found.
#[derive(Clone, Copy)]
pub struct Matched<'s> {
    /// The route's id and name.
    pub route: (model::Id, Option<&'s str>),
    /// The service, unless the route has none.
    pub service: Option<&'s Arc<crate::snapshot::entities::Service>>,
}

/// The client's side of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// Its address; behind trusted proxies the one that they report.
    pub ip: IpAddr,
    /// Its port, 0 when unknown.
    pub port: u16,
    /// The port of ours that it came to.
    pub local_port: u16,
    /// Whether it came over TLS.
    pub over_tls: bool,
}

impl Client {
    /// `http` or `https`.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        if self.over_tls { "https" } else { "http" }
    }
}

impl Cx<'_> {
    /// Replaces the query of the target; `None` removes it with its question mark.
    pub fn set_query(&mut self, query: Option<&str>) {
        let path = self.head.uri.path();
        let target = match query {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        };
        // A path that was a valid target stays one with any query that the caller percent-encoded.
        if let Ok(uri) = Uri::from_maybe_shared(Bytes::from(target)) {
            let before = std::mem::replace(&mut self.head.uri, uri);
            self.original_uri.get_or_insert(before);
        }
    }
}

/// Why a request body could not be read whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It is larger than [`BODY_BYTES_MAX`]; it can still be forwarded.
    #[error("the request body is larger than {BODY_BYTES_MAX} bytes")]
    TooLarge,
    /// The client went away, was too slow, or sent no valid body.
    #[error("the request body could not be read")]
    Client,
}

/// A request body: what was read ahead, and what is still to come.
#[derive(Debug, Default)]
pub struct RequestBody {
    /// Read ahead for a plugin; forwarded first.
    pub(crate) ahead: Bytes,
    /// Not read yet.
    pub(crate) rest: Option<Incoming>,
}

impl RequestBody {
    /// The body of a request that just came in.
    #[must_use]
    pub fn new(incoming: Incoming) -> Self {
        let rest = (!incoming.is_end_stream()).then_some(incoming);
        Self { ahead: Bytes::new(), rest }
    }

    /// A body that is already known.
    #[must_use]
    pub fn whole(ahead: Bytes) -> Self {
        Self { ahead, rest: None }
    }

    /// Whether there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ahead.is_empty() && self.rest.is_none()
    }

    /// Reads all of it, for a plugin that must look inside; it stays to be forwarded.
    ///
    /// # Errors
    /// When it is larger than [`BODY_BYTES_MAX`] or does not arrive.
    pub async fn read_whole(&mut self) -> Result<Bytes, BodyError> {
        let Some(rest) = self.rest.as_mut() else { return Ok(self.ahead.clone()) };
        let mut read = BytesMut::from(&self.ahead[..]);
        let mut error = None;
        loop {
            match rest.frame().await {
                None => {
                    self.rest = None;
                    break;
                }
                Some(Err(_)) => {
                    error = Some(BodyError::Client);
                    break;
                }
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        read.extend_from_slice(&data);
                    }
                    if read.len() > BODY_BYTES_MAX {
                        error = Some(BodyError::TooLarge);
                        break;
                    }
                }
            }
        }
        self.ahead = read.freeze();
        error.map_or_else(|| Ok(self.ahead.clone()), Err)
    }
}

/// What a plugin answers in place of the upstream.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Headers besides those that every answer gets.
    pub headers: HeaderMap,
    /// Its body.
    pub body: AnswerBody,
}

/// The body of an [`Answer`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnswerBody {
    /// No body at all.
    Empty,
    /// Kong's error body in the form that the client accepts, with this message and the request's id.
    Message(String),
    /// These bytes; their `Content-Type` is among the headers.
    Bytes(Bytes),
}

impl Answer {
    /// An error in the form that the client accepts.
    #[must_use]
    pub fn error(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, headers: HeaderMap::new(), body: AnswerBody::Message(message.into()) }
    }

    /// A JSON document.
    #[must_use]
    pub fn json(status: StatusCode, document: &serde_json::Value) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        Self { status, headers, body: AnswerBody::Bytes(document.to_string().into()) }
    }

    /// The same with a header more; one whose value no header can hold is left out.
    #[must_use]
    pub fn with(mut self, name: http::HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }
}
