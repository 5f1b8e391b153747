//! Workers: threads that accept clients from the shared listeners and serve them.

use super::Bound;
use super::connection;
use crate::counters::Counters;
use crate::proxy::{Proxy, Shared};
use pki::ServerConfig;
use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Notify, watch};
use tokio_rustls::TlsAcceptor;

/// How long accepting pauses after the system refused (out of file descriptors, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Threads per worker for name resolution, which blocks.
const BLOCKING_THREADS_MAX: usize = 4;

/// What a client may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections per worker (Kong: `nginx_events_worker_connections`); beyond, clients wait in the backlog.
    pub connections_max: usize,
    /// Time for a request's head, and for a TLS handshake (nginx: `client_header_timeout`).
    pub header_timeout: Duration,
    /// Time between requests (nginx: `keepalive_timeout`).
    pub keepalive_timeout: Duration,
    /// Time in which a client must take something of an answer (nginx: `send_timeout`).
    pub send_timeout: Duration,
    /// Time for requests to end after a shutdown was asked for.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 16_384,
            header_timeout: Duration::from_secs(60),
            keepalive_timeout: Duration::from_secs(75),
            send_timeout: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// The running workers.
#[derive(Debug)]
pub struct Workers {
    threads: Vec<JoinHandle<()>>,
}

/// What a worker is made of.
struct Plan {
    shared: Arc<Shared>,
    listeners: Vec<Bound>,
    tls: Option<TlsAcceptor>,
    limits: Limits,
    shutdown: watch::Receiver<bool>,
}

impl Workers {
    /// Starts `count` workers on these listeners. `tls` serves those that are `ssl`. They end when `shutdown` says
    /// `true` or its sender is gone, after draining.
    ///
    /// # Errors
    /// When a listener cannot be shared or a thread not be started.
    pub fn start(
        count: usize,
        listeners: &[Bound],
        shared: &Arc<Shared>,
        tls: Option<Arc<ServerConfig>>,
        limits: Limits,
        shutdown: &watch::Receiver<bool>,
    ) -> io::Result<Self> {
        let mut threads = Vec::with_capacity(count);
        for index in 0..count {
            let plan = Plan {
                shared: shared.clone(),
                listeners: listeners.iter().map(share).collect::<io::Result<_>>()?,
                tls: tls.clone().map(TlsAcceptor::from),
                limits,
                shutdown: shutdown.clone(),
            };
            threads.push(std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || plan.run())?);
        }
        Ok(Self { threads })
    }

    /// Waits until all have ended. Blocks.
    pub fn join(self) {
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a worker ended by a panic");
            }
        }
    }
}

fn share(listener: &Bound) -> io::Result<Bound> {
    Ok(Bound { socket: listener.socket.try_clone()?, ..*listener })
}

impl Plan {
    fn run(self) {
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .max_blocking_threads(BLOCKING_THREADS_MAX)
            .build_local(LocalOptions::default());
        match runtime {
            Ok(runtime) => runtime.block_on(self.serve()),
            Err(error) => tracing::error!(%error, "a worker has no runtime"),
        }
    }

    async fn serve(mut self) {
        let proxy = Rc::new(Proxy::new(self.shared.clone(), model::Id::random().0));
        let clients = Rc::new(Clients { count: Cell::new(0), left: Notify::new(), max: self.limits.connections_max });
        let mut acceptors = Vec::new();
        for listener in std::mem::take(&mut self.listeners) {
            let tls = self.tls.clone().filter(|_| listener.over_tls);
            if listener.over_tls && tls.is_none() {
                tracing::error!(address = %listener.address, "no TLS settings for this listener");
                continue;
            }
            match TcpListener::from_std(listener.socket) {
                Ok(socket) => {
                    let accept =
                        accept(socket, proxy.clone(), tls, clients.clone(), self.limits, self.shutdown.clone());
                    acceptors.push(tokio::task::spawn_local(accept));
                }
                Err(error) => tracing::error!(address = %listener.address, %error, "a worker cannot accept"),
            }
        }
        let tending = tokio::task::spawn_local({
            let proxy = proxy.clone();
            async move { proxy.tend().await }
        });
        let _ = self.shutdown.wait_for(|&stop| stop).await;
        acceptors.iter().for_each(tokio::task::JoinHandle::abort);
        if tokio::time::timeout(self.limits.drain_timeout, clients.none()).await.is_err() {
            tracing::warn!(connections = clients.count.get(), "closing connections that did not end in time");
        }
        tending.abort();
    }
}

/// Counts the connections of a worker.
struct Clients {
    count: Cell<usize>,
    left: Notify,
    max: usize,
}

impl Clients {
    /// Waits for room for one more.
    async fn room(&self) {
        while self.count.get() >= self.max {
            self.left.notified().await;
        }
    }

    /// Waits until there are none.
    async fn none(&self) {
        while self.count.get() > 0 {
            self.left.notified().await;
        }
    }
}

/// One connection, for as long as it lives.
struct Counted(Rc<Clients>, Arc<Counters>);

impl Counted {
    fn new(clients: &Rc<Clients>, counters: &Arc<Counters>) -> Self {
        clients.count.set(clients.count.get() + 1);
        counters.connected();
        Self(clients.clone(), counters.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.count.set(self.0.count.get().saturating_sub(1));
        self.0.left.notify_waiters();
        self.1.disconnected();
    }
}

async fn accept(
    socket: TcpListener,
    proxy: Rc<Proxy>,
    tls: Option<TlsAcceptor>,
    clients: Rc<Clients>,
    limits: Limits,
    shutdown: watch::Receiver<bool>,
) {
    loop {
        clients.room().await;
        match socket.accept().await {
            Ok((tcp, from)) => {
                let counted = Counted::new(&clients, proxy.counters());
                let serving = connection::serve(proxy.clone(), tcp, from, tls.clone(), limits, shutdown.clone());
                tokio::task::spawn_local(async move {
                    serving.await;
                    drop(counted);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
