//! A client for both daemons: HTTP/1.1 over one connection that is kept while it lasts, so that what is measured is
//! the daemons.

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long one request may take, the connection included.
const REQUEST_MAX: Duration = Duration::from_secs(10);
/// The most bytes of one answer.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// A client of one address.
pub(super) struct Client {
    address: SocketAddr,
    sender: Option<SendRequest<Full<Bytes>>>,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// The status code.
    pub(super) status: u16,
    /// The body.
    pub(super) body: Bytes,
    /// `X-Kong-Request-Id`
    pub(super) request_id: Option<String>,
}

/// Why nothing came back.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    /// Nobody listens.
    #[error("cannot connect: {0}")]
    Unreachable(#[from] std::io::Error),
    /// The connection ended, or what came was no HTTP.
    #[error("{0}")]
    Broken(#[from] hyper::Error),
    /// It took more than [`REQUEST_MAX`].
    #[error("no answer within {} s", REQUEST_MAX.as_secs())]
    Late,
    /// The body is larger than [`ANSWER_BYTES_MAX`], or was cut.
    #[error("its body cannot be read: {0}")]
    Body(String),
    /// This program asked nonsense.
    #[error("no request: {0}")]
    Request(#[from] http::Error),
}

impl Client {
    pub(super) fn new(address: SocketAddr) -> Client {
        Client { address, sender: None }
    }

    /// One request. After an error the next one opens a new connection.
    pub(super) async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Answer, NoAnswer> {
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, self.address.to_string());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = body.map(|body| Bytes::from(body.to_string()));
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::new(body.unwrap_or_default()))?;
        timeout(REQUEST_MAX, self.exchange(request)).await.unwrap_or(Err(NoAnswer::Late))
    }

    pub(super) async fn get(&mut self, path: &str) -> Result<Answer, NoAnswer> {
        self.send(Method::GET, path, &[], None).await
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, NoAnswer> {
        // It is put back only when all went well; the connection of one that is dropped ends.
        let mut sender = match self.sender.take() {
            Some(sender) if !sender.is_closed() => sender,
            _ => connect(self.address).await?,
        };
        sender.ready().await?;
        let response = sender.send_request(request).await?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| NoAnswer::Body(error.to_string()))?.to_bytes();
        let request_id = parts.headers.get("x-kong-request-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
        self.sender = Some(sender);
        Ok(Answer { status: parts.status.as_u16(), body, request_id })
    }
}

async fn connect(address: SocketAddr) -> Result<SendRequest<Full<Bytes>>, NoAnswer> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends when the sender is dropped.
    tokio::spawn(connection);
    Ok(sender)
}

impl Answer {
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The same answer to another request: without the request's id, which every request has of its own.
    pub(super) fn without_request_id(mut self) -> Answer {
        if let Some(id) = self.request_id.take()
            && !id.is_empty()
        {
            self.body = replaced(&self.body, id.as_bytes(), b"(request id)").into();
        }
        self
    }
}

fn replaced(text: &[u8], what: &[u8], with: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.windows(what.len()).position(|window| window == what) {
        let (before, found) = rest.split_at(at);
        out.extend_from_slice(before);
        out.extend_from_slice(with);
        rest = found.get(what.len()..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_that_differ_in_the_requests_id_alone_are_the_same() {
        let answer = |id: &str, body: &str| {
            let body = Bytes::from(body.to_owned());
            Answer { status: 200, body, request_id: Some(id.to_owned()) }.without_request_id()
        };
        assert_eq!(answer("a1", "{a1 b a1}"), answer("b2", "{b2 b b2}"));
        assert_ne!(answer("a1", "{a1 b}"), answer("b2", "{b2 c}"));
        assert_eq!(&answer("a1", "nothing").body[..], b"nothing");
    }
}
