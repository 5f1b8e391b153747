//! The upstream of the sample API: answers every request with what it saw of it.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use os::ExitError;
use serde_json::{Map, Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// The name in its answers.
pub(super) const NAME: &str = "echo";
/// The most connections at a time; more wait to be accepted.
const CONNECTIONS_MAX: usize = 256;
/// How long a request's head may take.
const HEAD_MAX: Duration = Duration::from_secs(30);
/// The most bytes of a request's body that are read; the connection of a larger one ends.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// The pause after a failure to accept, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A running upstream; it ends with the value.
pub(super) struct Echo {
    address: SocketAddr,
    server: JoinHandle<()>,
}

impl Echo {
    /// Starts on a free port of this machine.
    pub(super) async fn start() -> Result<Echo, ExitError> {
        let failed = |error: std::io::Error| ExitError::from_io("echo upstream on 127.0.0.1", &error);
        let listener = TcpListener::bind(super::ports::loopback(0)).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Echo { address, server: tokio::spawn(serve(listener)) })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // Nobody closes the semaphore.
        let Ok(place) = room.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let _ = stream.set_nodelay(true);
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEAD_MAX)
                    .serve_connection(TokioIo::new(stream), service_fn(answer));
                tokio::spawn(async move {
                    let _ = connection.await;
                    drop(place);
                });
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Box<dyn std::error::Error + Send + Sync>> {
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await?.to_bytes();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let seen = seen(parts.method.as_str(), path, &parts.headers, &body);
    let mut response = Response::new(Full::from(format!("{seen:#}\n")));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// What this upstream saw. Values of a header that came more than once are joined.
fn seen(method: &str, path: &str, headers: &HeaderMap, body: &[u8]) -> Value {
    let mut shown = Map::new();
    for name in headers.keys() {
        let values: Vec<_> =
            headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        shown.insert(name.as_str().to_owned(), values.join(", ").into());
    }
    let mut seen = json!({ "upstream": NAME, "method": method, "path": path, "headers": shown });
    if let (false, Some(seen)) = (body.is_empty(), seen.as_object_mut()) {
        seen.insert("body".to_owned(), String::from_utf8_lossy(body).into());
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::super::client::Client;
    use super::*;
    use http::Method;

    #[tokio::test]
    async fn tells_what_it_saw() {
        let echo = Echo::start().await.unwrap();
        let mut client = Client::new(echo.address());
        let headers = [("x-a", "1"), ("x-a", "2")];
        let answer = client.send(Method::POST, "/orders?x=1", &headers, Some(&json!(42))).await.unwrap();
        let seen = answer.json();
        assert_eq!(answer.status, 200);
        assert_eq!(seen["upstream"], NAME);
        assert_eq!(
            (&seen["method"], &seen["path"], &seen["body"]),
            (&json!("POST"), &json!("/orders?x=1"), &json!("42"))
        );
        assert_eq!(seen["headers"]["x-a"], "1, 2");
    }

    #[tokio::test]
    async fn a_request_without_a_body_has_none() {
        let echo = Echo::start().await.unwrap();
        let seen = Client::new(echo.address()).get("/").await.unwrap().json();
        assert_eq!((&seen["method"], seen.get("body")), (&json!("GET"), None));
    }
}
