//! New connections to upstreams: TCP, and TLS over it, within the service's `connect_timeout`.

use super::error::ProxyError;
use super::io::{Noted, Stream};
use super::upstream::Connection;
use pki::{ClientConfig, ServerName};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How to speak TLS to a target.
pub(super) struct Tls {
    pub(super) config: Arc<ClientConfig>,
    pub(super) name: ServerName<'static>,
}

/// Connects to a target.
pub(super) async fn connect(address: SocketAddr, tls: Option<Tls>, limit: Duration) -> Result<Connection, ProxyError> {
    let stream = tokio::time::timeout(limit, open(address, tls)).await;
    let stream = stream.map_err(|_| ProxyError::ConnectTimeout(limit))?;
    let stream = stream.map_err(|error| ProxyError::Connect(error.to_string()))?;
    let (io, traffic) = Noted::new(stream);
    Connection::new(io, traffic).await
}

async fn open(address: SocketAddr, tls: Option<Tls>) -> io::Result<Stream<tokio_rustls::client::TlsStream<TcpStream>>> {
    let tcp = TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    let Some(Tls { config, name }) = tls else { return Ok(Stream::Plain(tcp)) };
    let tls = TlsConnector::from(config).connect(name, tcp).await?;
    Ok(Stream::Tls(Box::new(tls)))
}
