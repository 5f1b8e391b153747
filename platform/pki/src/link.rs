//! How a connection to a control plane comes about, for whoever opens one: how long that may take, which name to ask for,
//! and what went wrong, in words for an operator. The callers do the I/O.

use crate::cluster::ClusterClient;
use crate::failure::TlsFailure;
use crate::material::PkiError;
use rustls_pki_types::ServerName;
use std::io;
use std::time::Duration;

/// The longest that name resolution and the TCP connection, through a proxy or not, may take together.
pub const CONNECT_MAX: Duration = Duration::from_secs(15);
/// The longest that the TLS handshake may take: several round trips of a satellite link.
pub const HANDSHAKE_MAX: Duration = Duration::from_secs(20);
/// The longest that a write may be stuck.
pub const WRITE_MAX: Duration = Duration::from_secs(60);

/// Why there is no connection to a control plane, or no longer one.
#[derive(Debug, thiserror::Error)]
pub enum LinkFailure {
    /// Its name does not resolve, or nobody listens there.
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// Nothing came of it in this time: [`CONNECT_MAX`], [`HANDSHAKE_MAX`], [`WRITE_MAX`].
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The setting names nothing that TLS can ask for.
    #[error(transparent)]
    Name(#[from] PkiError),
    /// TLS failed, with the reason of whichever side refused.
    #[error("{0}")]
    Tls(TlsFailure),
    /// The connection broke.
    #[error("connection lost: {0}")]
    Lost(io::Error),
    /// The control plane closed the connection without a word.
    #[error("control plane closed the connection")]
    Eof,
}

impl LinkFailure {
    /// Of a handshake.
    pub fn handshake(error: &io::Error) -> Self {
        Self::Tls(TlsFailure::from_io(error))
    }

    /// Of a connection that was made. In TLS 1.3 a refused client certificate shows itself only now, as an alert on the
    /// first read.
    pub fn lost(error: io::Error) -> Self {
        match TlsFailure::from_io(&error) {
            TlsFailure::Io(_) => Self::Lost(error),
            failure => Self::Tls(failure),
        }
    }
}

impl ClusterClient {
    /// The name to ask for at an address, `host:port`; see [`ClusterClient::server_name`].
    ///
    /// # Errors
    /// The host is no name that TLS can ask for.
    pub fn server_name_at(&self, address: &str) -> Result<ServerName<'static>, PkiError> {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        self.server_name(host.trim_start_matches('[').trim_end_matches(']'))
    }
}
