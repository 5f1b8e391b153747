//! Accepts on the cluster port, ends TLS, and decides by certificate and protocol what a connection may do.
//!
//! Whoever comes with garbage costs a handshake's time limit and a place among the unauthenticated, and nobody else
//! notices; whoever comes with a wrong certificate is told so in its own protocol.

use super::admission::Admission;
use super::crowd::Crowd;
use super::session;
use super::source::Sources;
use crate::fleet::Fleet;
use crate::planes::Planes;
use model::Id;
use pki::{ClusterServer, Peer, TlsFailure};
use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// The most connections at a time, nodes and others.
pub const CONNECTIONS_MAX: usize = 8192;
/// The most connections at a time that have not shown a certificate of the cluster. Others wait in the listener's queue: a
/// node that is dropped would have spent its TLS ticket and come back with a full handshake.
const STRANGERS_MAX: usize = 256;
/// The longest that a TLS handshake may take: several round trips of a satellite link.
const HANDSHAKE_MAX: Duration = Duration::from_secs(20);
/// How long something that was sent may stay unacknowledged before the system gives the connection up.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(60);
/// The longest that open sessions may take to say goodbye.
const DRAIN_MAX: Duration = Duration::from_secs(2);
/// The pause after the system had no descriptor for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What all connections of the cluster port share.
pub struct Cluster {
    /// Where deltas come from.
    pub sources: Arc<Sources>,
    /// Where rows of nodes go.
    pub fleet: Arc<Fleet>,
    /// Where rows of followers go.
    pub planes: Arc<Planes>,
    /// The id of this control plane.
    pub id: Id,
    /// The nodes that are connected, and how many may be.
    pub(super) crowd: Rc<Crowd>,
    pub(super) admission: RefCell<Admission>,
    /// Who belongs to the cluster.
    pub server: ClusterServer,
    /// What sessions say of this control plane.
    pub config: Arc<wire::cp::Config>,
    started: Instant,
    /// Places for connections of any sort, and for those that have not shown a certificate of the cluster.
    places: (Arc<Semaphore>, Arc<Semaphore>),
}

impl Cluster {
    /// What all listeners of the cluster port share.
    #[must_use]
    pub fn new(
        sources: Arc<Sources>,
        (fleet, planes): (Arc<Fleet>, Arc<Planes>),
        id: Id,
        server: ClusterServer,
        config: Arc<wire::cp::Config>,
        admission: Admission,
    ) -> Self {
        let places = (Arc::new(Semaphore::new(CONNECTIONS_MAX)), Arc::new(Semaphore::new(STRANGERS_MAX)));
        let (crowd, admission) = (Rc::default(), RefCell::new(admission));
        Self { sources, fleet, planes, id, crowd, admission, server, config, started: Instant::now(), places }
    }

    /// How long this has been running.
    pub(super) fn since_start(&self) -> Duration {
        self.started.elapsed()
    }

    /// Waits until all connections have ended, a moment at the longest: a node that reads nothing is not waited for.
    pub async fn drained(&self) {
        let all = u32::try_from(CONNECTIONS_MAX).unwrap_or(u32::MAX);
        let _ = timeout(DRAIN_MAX, self.places.0.acquire_many(all)).await;
    }

    /// Keeps the nodes of this control plane in proportion to those of others until `stop`.
    pub async fn balance(self: Rc<Self>, stop: watch::Receiver<bool>) {
        self.crowd.clone().run(&self.planes, stop).await;
    }

    /// Serves `listener` until `stop`. Runs on a current-thread runtime inside a `LocalSet`.
    pub async fn run(self: Rc<Self>, listener: TcpListener, mut stop: watch::Receiver<bool>) {
        let acceptor = TlsAcceptor::from(self.server.config().clone());
        let (connections, strangers) = self.places.clone();
        loop {
            let accepting = async {
                let stranger = strangers.clone().acquire_owned().await;
                (listener.accept().await, stranger)
            };
            let (accepted, stranger) = tokio::select! {
                accepted = accepting => accepted,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            // Nobody closes the semaphore.
            let Ok(stranger) = stranger else { return };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept on the cluster port");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(connection) = connections.clone().try_acquire_owned() else {
                tracing::warn!(%peer, "too many connections on the cluster port; one is dropped");
                continue;
            };
            let (cluster, acceptor, stop) = (self.clone(), acceptor.clone(), stop.clone());
            tokio::task::spawn_local(async move {
                let _connection = connection;
                if let Some((stream, member)) = cluster.greet(&acceptor, stream, peer).await {
                    if matches!(member, Peer::Member(_)) {
                        drop(stranger);
                    }
                    session::run(&cluster, stream, peer, member, stop).await;
                }
            });
        }
    }

    /// TLS, and who is there; answers everything that is not the sync protocol itself.
    async fn greet(
        &self,
        acceptor: &TlsAcceptor,
        stream: TcpStream,
        from: SocketAddr,
    ) -> Option<(TlsStream<TcpStream>, Peer)> {
        // Without them the connection works as well; a socket on which they fail is found out by what follows.
        let _ = (stream.set_nodelay(true), os::tcp::set_user_timeout(&stream, UNACKNOWLEDGED_MAX));
        let stream = match timeout(HANDSHAKE_MAX, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                let reason = TlsFailure::from_io(&error);
                tracing::warn!(peer = %from, %reason, "connection on the cluster port refused");
                return None;
            }
            Err(_) => {
                tracing::warn!(peer = %from, "connection on the cluster port refused: no handshake in time");
                return None;
            }
        };
        let (_, connection) = stream.get_ref();
        let peer = self.server.peer(connection, now_s());
        if connection.alpn_protocol() == Some(wire::ALPN) {
            return Some((stream, peer));
        }
        answer_http(stream, from).await;
        None
    }
}

/// HTTP has nothing to offer on this port yet; a browser or a Kong data plane is told so.
async fn answer_http(mut stream: TlsStream<TcpStream>, peer: SocketAddr) {
    const BODY: &str = "{\"message\":\"this port speaks edge-sync/1 (ALPN) to data planes only\"}";
    let answer = format!(
        "HTTP/1.1 404 Not Found\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{BODY}",
        BODY.len()
    );
    tracing::info!(%peer, "HTTP on the cluster port");
    let _ = timeout(HANDSHAKE_MAX, async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await
    })
    .await;
}

/// Seconds since 1970.
pub(super) fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

/// An address as rows of the fleet show it: without the IPv6 dress of an IPv4 address.
pub(super) fn plain(address: SocketAddr) -> IpAddr {
    address.ip().to_canonical()
}
