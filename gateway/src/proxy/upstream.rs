//! One HTTP/1.1 connection to an upstream, and the exchange of one request on it.
//!
//! The one idea: no task drives an upstream connection. Whoever waits for the answer polls the connection itself, and
//! while it is idle nobody does. That spares two wake-ups per request and a task per connection. What happened to an
//! idle connection (the upstream closed it) is found out by [`Connection::is_alive`] when it is taken out of the pool.

use super::deadline::Deadline;
use super::error::ProxyError;
use super::io::{Noted, Traffic};
use super::request_body::{Progress, UpstreamRequest};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

/// Most bytes that hyper buffers of one direction, and so the largest head of an answer.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

/// An upstream connection's bytes.
pub(super) type UpstreamIo = Noted<TlsStream<tokio::net::TcpStream>>;

/// What moves bytes of a connection. hyper's upgradable connection, whose type has no name, behind a box that is made
/// once per connection.
type Driver = Pin<Box<dyn Future<Output = hyper::Result<()>>>>;

/// How long an exchange may stand still.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Between two successful writes to the upstream.
    pub(super) write: Duration,
    /// Between two successful reads from the upstream.
    pub(super) read: Duration,
    /// Between two pieces of the client's body.
    pub(super) client: Duration,
}

/// A connection to an upstream. At any time it is in the pool, in an exchange, or under an answer's body.
pub(super) struct Connection {
    sender: SendRequest<UpstreamRequest>,
    /// `None` once the connection has ended.
    driver: Option<Driver>,
    traffic: Arc<Traffic>,
    deadline: Deadline,
    requests: u32,
}

/// Why an exchange failed, and what is left of the request.
pub(super) struct Failed {
    pub(super) error: ProxyError,
    /// The whole request, if nothing of it was sent.
    pub(super) unsent: Option<Box<http::Request<UpstreamRequest>>>,
}

impl Connection {
    /// Makes a connection out of a stream.
    pub(super) async fn new(io: UpstreamIo, traffic: Arc<Traffic>) -> Result<Self, ProxyError> {
        let mut builder = http1::Builder::new();
        builder.max_buf_size(BUFFER_BYTES_MAX);
        let handshake = builder.handshake::<_, UpstreamRequest>(TokioIo::new(io)).await;
        let (sender, connection) = handshake.map_err(|error| ProxyError::Connect(error.to_string()))?;
        let driver: Driver = Box::pin(connection.with_upgrades());
        Ok(Self { sender, driver: Some(driver), traffic, deadline: Deadline::default(), requests: 0 })
    }

    /// Requests that were sent on it.
    pub(super) fn requests(&self) -> u32 {
        self.requests
    }

    /// Whether an idle connection can take a request: the upstream has not closed it, as far as is known.
    pub(super) fn is_alive(&mut self) -> bool {
        let mut nobody = Context::from_waker(Waker::noop());
        self.drive(&mut nobody);
        self.driver.is_some() && self.sender.is_ready()
    }

    /// Moves bytes, as far as that goes without waiting.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(driver) = &mut self.driver
            && driver.as_mut().poll(cx).is_ready()
        {
            self.driver = None;
        }
    }

    /// What is left to be driven after the head of an answer that switches protocols.
    pub(super) fn into_driver(self) -> Option<Driver> {
        self.driver
    }

    /// Sends a request and waits for the head of its answer. `now` is when its patience begins.
    pub(super) async fn exchange(
        &mut self,
        request: http::Request<UpstreamRequest>,
        patience: Patience,
        now: Instant,
    ) -> Result<http::Response<Incoming>, Failed> {
        self.requests = self.requests.saturating_add(1);
        let progress = request.body().progress();
        let mut response = pin!(self.sender.try_send_request(request));
        let Self { driver, traffic, deadline, .. } = self;
        let mut clock = Clock { waiting: Waiting::Answer, since: now, pieces: 0 };
        let outcome = poll_fn(|cx| {
            if let Some(running) = driver
                && running.as_mut().poll(cx).is_ready()
            {
                *driver = None;
            }
            if let Poll::Ready(answer) = response.as_mut().poll(cx) {
                return Poll::Ready(Ok(answer));
            }
            let (at, error) = clock.due(traffic, &progress, patience);
            deadline.poll(cx, at).map(|()| Err(error))
        });
        match outcome.await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(mut failed)) => {
                let unsent = failed.take_message().map(Box::new);
                Err(Failed { error: classify(failed.error(), &progress), unsent })
            }
            Err(timeout) => {
                // What was sent of the request cannot be taken back; the connection is of no use any more.
                self.driver = None;
                Err(Failed { error: timeout, unsent: None })
            }
        }
    }

    /// Ready when the upstream has sent nothing of an answer's body for too long.
    pub(super) fn poll_stalled(&mut self, cx: &mut Context<'_>, since: Instant, read: Duration) -> Poll<ProxyError> {
        self.deadline.poll(cx, later(since, read)).map(|()| ProxyError::ReadTimeout(read))
    }
}

/// What an exchange is waiting for, and since when.
struct Clock {
    waiting: Waiting,
    since: Instant,
    pieces: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    /// The upstream takes nothing more.
    Room,
    /// The client has not sent all of its body.
    Client,
    /// All is sent.
    Answer,
}

impl Clock {
    /// When the patience ends, and with which error.
    fn due(&mut self, traffic: &Traffic, progress: &Progress, patience: Patience) -> (Instant, ProxyError) {
        let waiting = match (traffic.write_stuck.load(Ordering::Relaxed), progress.is_done()) {
            (true, _) => Waiting::Room,
            (false, false) => Waiting::Client,
            (false, true) => Waiting::Answer,
        };
        if waiting != self.waiting || progress.pieces() != self.pieces {
            (self.waiting, self.pieces, self.since) = (waiting, progress.pieces(), Instant::now());
        }
        let (patience, error) = match waiting {
            Waiting::Room => (patience.write, ProxyError::WriteTimeout(patience.write)),
            Waiting::Client => (patience.client, ProxyError::ClientTimeout(patience.client)),
            Waiting::Answer => (patience.read, ProxyError::ReadTimeout(patience.read)),
        };
        (later(self.since, patience), error)
    }
}

/// `since + patience`, or so far away that nobody lives to see it.
fn later(since: Instant, patience: Duration) -> Instant {
    const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);
    since.checked_add(patience.min(FOREVER)).unwrap_or(since)
}

/// Whose fault a failed exchange was.
fn classify(error: &hyper::Error, progress: &Progress) -> ProxyError {
    if let Some(client) = progress.failure() {
        return ProxyError::ClientBody(client);
    }
    if error.is_parse() || error.is_parse_too_large() || error.is_parse_status() {
        return ProxyError::Answer(error.to_string());
    }
    ProxyError::Closed(error.to_string())
}
