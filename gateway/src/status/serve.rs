//! The server of the Status API: small, bounded, on the thread of sync and store.

use super::{Facts, answer};
use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

/// The most connections at a time: probes and a scraper, not clients.
pub const CONNECTIONS_MAX: usize = 64;
/// The most bytes of a request's body.
const BODY_BYTES_MAX: usize = 4 * 1024;
/// The longest that a client may take for a request's head.
const HEAD_MAX: Duration = Duration::from_secs(10);

/// Serves `listener` until `stop`. Runs inside a `LocalSet`.
pub async fn serve(listener: TcpListener, facts: Rc<Facts>, mut stop: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        let Ok((stream, _)) = accepted else {
            // Out of descriptors, most likely: others need the time to give some back.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Ok(place) = places.clone().try_acquire_owned() else { continue };
        let facts = facts.clone();
        tokio::task::spawn_local(async move {
            let _place = place;
            let service = service_fn(move |request| respond(facts.clone(), request));
            let mut server = http1::Builder::new();
            server.timer(TokioTimer::new()).header_read_timeout(HEAD_MAX).max_buf_size(16 * 1024);
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn respond(facts: Rc<Facts>, request: http::Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = match tokio::time::timeout(HEAD_MAX, Limited::new(body, BODY_BYTES_MAX).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) | Err(_) => {
            let mut response = Response::new(Full::from("{\"message\":\"Payload too large\"}"));
            *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
            return Ok(response);
        }
    };
    Ok(answer(&facts, &head.method, head.uri.path(), &body))
}
