//! Where clients come in: listeners and the workers that accept from them.
//!
//! Listeners are bound once, before anything is served, and shared by all workers: a worker that ends takes no waiting
//! connection with it. A worker is a thread with a runtime and a [`crate::proxy::Proxy`] of its own. [`worker`]
//! accepts, [`connection`] serves one client.

mod connection;
mod worker;

pub use worker::{Limits, Workers};

use settings::listen::Listen;
use std::io;
use std::net::{SocketAddr, TcpListener};

/// A listener that is open.
#[derive(Debug)]
pub struct Bound {
    /// Shared by all workers.
    pub(crate) socket: TcpListener,
    /// Where it listens; the port is the real one where 0 was asked for.
    pub address: SocketAddr,
    /// Whether clients speak TLS to it.
    pub over_tls: bool,
}

/// A listener could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("{address}: {}", reason(source))]
pub struct BindError {
    /// Where.
    pub address: SocketAddr,
    /// What the operating system said.
    pub source: io::Error,
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "the port is in use by another process".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "no permission to listen there (ports below 1024 need a privilege)".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => "this host has no such address".to_owned(),
        _ => error.to_string(),
    }
}

/// Opens listeners, all or none.
///
/// # Errors
/// The first that cannot be opened.
pub fn bind(addresses: &[Listen]) -> Result<Vec<Bound>, BindError> {
    addresses.iter().map(bind_one).collect()
}

fn bind_one(wanted: &Listen) -> Result<Bound, BindError> {
    let failed = |source| BindError { address: wanted.address, source };
    // The standard library sets SO_REUSEADDR, so that a restart does not wait for old connections.
    let socket = TcpListener::bind(wanted.address).map_err(failed)?;
    adopt(socket, wanted.ssl).map_err(failed)
}

/// Takes a listener that is already open, from a service manager or a test.
///
/// # Errors
/// When the socket is none that can listen.
pub fn adopt(socket: TcpListener, over_tls: bool) -> io::Result<Bound> {
    socket.set_nonblocking(true)?;
    let address = socket.local_addr()?;
    Ok(Bound { socket, address, over_tls })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_named() {
        let wanted = Listen { address: ([127, 0, 0, 1], 0).into(), ssl: false };
        let first = bind(&[wanted]).unwrap();
        let again = Listen { address: first[0].address, ssl: false };
        let error = bind(&[again]).unwrap_err();
        assert_eq!(error.to_string(), format!("{}: the port is in use by another process", first[0].address));
    }
}
