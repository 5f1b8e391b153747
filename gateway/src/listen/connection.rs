//! One client's connection: requests one after another, each within its time.
//!
//! hyper reads and writes; this module watches the clock. A connection is either waiting for a request, receiving a
//! request's head, or being answered, and each state has its own patience. A connection that runs out of it is closed
//! without a word, as nginx does.

use super::worker::Limits;
use crate::proxy::deadline::Deadline;
use crate::proxy::io::{Noted, Stream, Traffic};
use crate::proxy::{ClientSide, Peer, Proxy};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::cell::Cell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Most bytes that hyper buffers of one direction, and so the largest request head (Kong: four buffers of 8 KiB).
const BUFFER_BYTES_MAX: usize = 32 * 1024;

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing of the next request is here.
    Waiting,
    /// Something of it is.
    Receiving,
    /// The request is being served, or its answer sent.
    Answering,
}

/// The clock of a connection.
struct Watch {
    traffic: Arc<Traffic>,
    limits: Limits,
    phase: Cell<Phase>,
    since: Cell<Instant>,
    stuck_since: Cell<Option<Instant>>,
}

impl Watch {
    fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.since.set(Instant::now());
    }

    /// When the patience ends, if it does.
    fn due(&self) -> Option<Instant> {
        if self.phase.get() == Phase::Waiting && self.traffic.read.load(Ordering::Relaxed) {
            self.enter(Phase::Receiving);
        }
        match self.phase.get() {
            Phase::Waiting => Some(self.since.get() + self.limits.keepalive_timeout),
            Phase::Receiving => Some(self.since.get() + self.limits.header_timeout),
            Phase::Answering if self.traffic.write_stuck.load(Ordering::Relaxed) => {
                let since = self.stuck_since.get().unwrap_or_else(Instant::now);
                self.stuck_since.set(Some(since));
                Some(since + self.limits.send_timeout)
            }
            Phase::Answering => {
                self.stuck_since.set(None);
                None
            }
        }
    }

    fn poll_expired(&self, deadline: &mut Deadline, cx: &mut Context<'_>) -> Poll<()> {
        self.due().map_or(Poll::Pending, |at| deadline.poll(cx, at))
    }
}

impl ClientSide for Watch {
    fn answered(&self) {
        self.traffic.read.store(false, Ordering::Relaxed);
        self.enter(Phase::Waiting);
    }
}

/// Serves a client until it leaves, is too slow, or `shutdown` says that the current request is the last.
pub(super) async fn serve(
    proxy: Rc<Proxy>,
    tcp: TcpStream,
    from: SocketAddr,
    tls: Option<TlsAcceptor>,
    limits: Limits,
    mut shutdown: watch::Receiver<bool>,
) {
    let Ok(local) = tcp.local_addr() else { return };
    // Without it small answers wait for the acknowledgement of the one before.
    let _ = tcp.set_nodelay(true);
    let stream = match tls {
        None => Stream::Plain(tcp),
        Some(acceptor) => match tokio::time::timeout(limits.header_timeout, acceptor.accept(tcp)).await {
            Ok(Ok(stream)) => Stream::Tls(Box::new(stream)),
            Ok(Err(error)) => return tracing::debug!(%from, %error, "TLS handshake"),
            Err(_) => return tracing::debug!(%from, "TLS handshake took too long"),
        },
    };
    let server_name = server_name(&stream);
    let (io, traffic) = Noted::new(stream);
    let watch = Rc::new(Watch {
        traffic,
        limits,
        phase: Cell::new(Phase::Receiving),
        since: Cell::new(Instant::now()),
        stuck_since: Cell::new(None),
    });
    let tls = server_name.as_ref().map(|name| name.as_deref());
    let peer = Rc::new(proxy.peer(from, local, tls, watch.clone()));
    run(proxy, io, peer, &watch, &mut shutdown).await;
}

async fn run(
    proxy: Rc<Proxy>,
    io: Noted<TlsStream<TcpStream>>,
    peer: Rc<Peer>,
    watch: &Rc<Watch>,
    shutdown: &mut watch::Receiver<bool>,
) {
    let service = service_fn(|request| {
        watch.phase.set(Phase::Answering);
        let (proxy, peer) = (proxy.clone(), peer.clone());
        async move { Ok::<_, Infallible>(proxy.serve(&peer, request).await) }
    });
    let mut builder = http1::Builder::new();
    builder.max_buf_size(BUFFER_BYTES_MAX).header_read_timeout(None);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(io), service).with_upgrades());
    let mut deadline = Deadline::default();
    let mut draining = false;
    loop {
        tokio::select! {
            biased;
            result = connection.as_mut() => {
                if let Err(error) = result {
                    tracing::debug!(peer = %peer.address, %error, "client connection");
                }
                return;
            }
            () = poll_fn(|cx| watch.poll_expired(&mut deadline, cx)) => {
                return tracing::debug!(peer = %peer.address, phase = ?watch.phase.get(), "client connection timed out");
            }
            _ = shutdown.wait_for(|&stop| stop), if !draining => {
                draining = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// The name that the client asked for: `None` in the clear, `Some(None)` when it named none.
fn server_name(stream: &Stream<TlsStream<TcpStream>>) -> Option<Option<String>> {
    match stream {
        Stream::Plain(_) => None,
        Stream::Tls(stream) => Some(stream.get_ref().1.server_name().map(str::to_owned)),
    }
}
