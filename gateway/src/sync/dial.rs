//! From an address of the list to a TLS connection with a control plane of our cluster: directly, or through a proxy.

use super::choice::Index;
use super::link::LinkError;
use super::tunnel::ProxyServer;
use pki::link::{CONNECT_MAX, HANDSHAKE_MAX};
use pki::{ClusterClient, LinkFailure};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A connection to a control plane.
pub type Stream = TlsStream<TcpStream>;

/// How long something that was sent may stay unacknowledged before the system gives the connection up.
pub const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(60);

/// Connects.
pub struct Dialer {
    /// One for each control plane, since each has sessions of its own to resume.
    clients: Vec<ClusterClient>,
    proxy: Option<ProxyServer>,
}

impl Dialer {
    /// Connects to `count` control planes.
    #[must_use]
    pub fn new(client: &ClusterClient, count: usize, proxy: Option<ProxyServer>) -> Self {
        Self { clients: (0..count).map(|_| client.apart()).collect(), proxy }
    }

    /// Connects to the control plane at `address`, `host:port`, and makes sure that it is one of our cluster.
    ///
    /// # Errors
    /// Whatever was in the way, in words for an operator.
    pub async fn connect(&self, plane: Index, address: &str) -> Result<Stream, LinkError> {
        let Some(client) = self.clients.get(plane) else { return Err(LinkFailure::Eof.into()) };
        let name = client.server_name_at(address).map_err(LinkFailure::Name)?;
        let stream =
            timeout(CONNECT_MAX, self.open(address)).await.map_err(|_| LinkFailure::Timeout(CONNECT_MAX))??;
        stream.set_nodelay(true).map_err(LinkFailure::Connect)?;
        os::tcp::set_user_timeout(&stream, UNACKNOWLEDGED_MAX).map_err(LinkFailure::Connect)?;
        let connector = TlsConnector::from(client.config().clone());
        let handshake = timeout(HANDSHAKE_MAX, connector.connect(name, stream)).await;
        let handshake = handshake.map_err(|_| LinkFailure::Timeout(HANDSHAKE_MAX))?;
        Ok(handshake.map_err(|error| LinkFailure::handshake(&error))?)
    }

    async fn open(&self, address: &str) -> Result<TcpStream, LinkError> {
        match &self.proxy {
            Some(proxy) => Ok(proxy.connect(address).await?),
            None => Ok(TcpStream::connect(address).await.map_err(LinkFailure::Connect)?),
        }
    }
}

/// Whether TLS went on where an earlier session with the same control plane had been: a handshake without certificates.
#[must_use]
pub fn is_resumed(stream: &Stream) -> bool {
    stream.get_ref().1.handshake_kind() == Some(pki::HandshakeKind::Resumed)
}
