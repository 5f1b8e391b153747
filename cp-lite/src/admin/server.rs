//! The Admin API on a socket: HTTP/1.1, with bounds on connections, headers, bodies and time.

use super::problem::Problem;
use super::{APPLY_BYTES_MAX, App, BODY_BYTES_MAX, Body, handle};
use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

/// The most connections at a time; more wait in the backlog.
pub const CONNECTIONS_MAX: usize = 512;
/// How long a client may take to send the head of a request, and a connection may idle between two.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a client may take to send a body.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// The most bytes of a request's head.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// How long to wait when the system has no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long open requests may take to finish after the end was announced.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves until `shutdown` is ready, then lets open requests finish. Must be called within a tokio runtime.
pub async fn serve(app: Arc<App>, listener: TcpListener, shutdown: impl Future<Output = ()>) {
    let (ending, ended) = watch::channel(false);
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut shutdown = pin!(shutdown);
    loop {
        let accept = async {
            let place = places.clone().acquire_owned().await;
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            () = &mut shutdown => break,
            accepted = accept => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let connection = connection(app.clone(), stream, ended.clone());
                tokio::spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "admin_listen: cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    drop(ended);
    ending.send_replace(true);
    // Every connection holds a receiver; when the last is gone, all have finished.
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, ending.closed()).await;
}

async fn connection(app: Arc<App>, stream: TcpStream, mut ended: watch::Receiver<bool>) {
    app.counters.accepted.fetch_add(1, Ordering::Relaxed);
    app.counters.active.fetch_add(1, Ordering::Relaxed);
    // Answers are small and should not wait for each other; a system that cannot do so is merely slower.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| {
        let app = app.clone();
        async move { Ok::<_, Infallible>(answer(&app, request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut served = pin!(served);
    let end = async {
        // An error means that the server is gone, which is an end as well.
        let _ = ended.wait_for(|ended| *ended).await;
    };
    let result = tokio::select! {
        result = &mut served => result,
        () = end => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "an Admin API connection ended early");
    }
    app.counters.active.fetch_sub(1, Ordering::Relaxed);
}

async fn answer(app: &App, request: Request<Incoming>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    match read(&parts, body).await {
        Ok(body) => handle(app, &parts, body).await,
        Err(problem) => {
            let mut response = problem.into_reply().into_response(false, Duration::ZERO);
            // What is left of the body cannot be told from a next request.
            response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
            response
        }
    }
}

/// Reads a body whole, within its bounds.
async fn read(parts: &http::request::Parts, body: Incoming) -> Result<Bytes, Problem> {
    let bound =
        if parts.uri.path().trim_end_matches('/') == "/config/apply" { APPLY_BYTES_MAX } else { BODY_BYTES_MAX };
    let announced = parts.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: usize| length > bound) {
        return Err(Problem::BodyTooLarge);
    }
    match tokio::time::timeout(BODY_TIMEOUT, gather(body, announced.unwrap_or_default(), bound)).await {
        Ok(gathered) => gathered,
        Err(_) => Err(Problem::BadBody("the body took too long".to_owned())),
    }
}

/// The pieces of a body in one, never all of them twice: a whole configuration may come. What is announced and does not
/// come is address space, not memory.
async fn gather(mut body: Incoming, announced: usize, bound: usize) -> Result<Bytes, Problem> {
    let mut whole = Vec::with_capacity(announced);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Problem::BadBody("the body ended early".to_owned()))?;
        if let Ok(piece) = frame.into_data() {
            if piece.len() > bound - whole.len() {
                return Err(Problem::BodyTooLarge);
            }
            whole.extend_from_slice(&piece);
        }
    }
    Ok(whole.into())
}
