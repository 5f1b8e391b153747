//! Where everything listens: the usual ports where they are free, others where not, all on loopback.

use os::ExitError;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// The addresses of both daemons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Addresses {
    /// `proxy_listen` of the data plane.
    pub(super) proxy: SocketAddr,
    /// `admin_listen` of the control plane.
    pub(super) admin: SocketAddr,
    /// `cluster_listen` of the control plane.
    pub(super) cluster: SocketAddr,
    /// `status_listen` of the data plane.
    pub(super) status: SocketAddr,
}

impl Addresses {
    /// Kong's ports.
    pub(super) const USUAL: Addresses =
        Addresses { proxy: loopback(8000), admin: loopback(8001), cluster: loopback(8005), status: loopback(8007) };

    /// The usual addresses, or others for those that are taken now. They are free when this returns, and nobody keeps
    /// them so: a daemon that comes too late says so in its log.
    pub(super) fn free(usual: &Addresses) -> Result<Addresses, ExitError> {
        // All are held until all are found, so that no two are the same.
        let held = [usual.proxy, usual.admin, usual.cluster, usual.status].map(|address| hold(address.port()));
        let found = held.each_ref().map(|held| match held {
            Ok(listener) => listener.local_addr().map_err(|error| refused(&error)),
            Err(error) => Err(refused(error)),
        });
        let [proxy, admin, cluster, status] = found;
        Ok(Addresses { proxy: proxy?, admin: admin?, cluster: cluster?, status: status? })
    }
}

/// A port on this machine only.
pub(super) const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::V4(std::net::SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
}

fn hold(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind(loopback(port)).or_else(|_| TcpListener::bind(loopback(0)))
}

fn refused(error: &io::Error) -> ExitError {
    ExitError::from_io("no port is free on 127.0.0.1", error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_taken_is_replaced_and_the_others_stay() {
        let [taken, free] = [hold(0).unwrap(), hold(0).unwrap()];
        let [taken_at, free_at] = [&taken, &free].map(|held| held.local_addr().unwrap());
        drop(free);
        let usual = Addresses { proxy: taken_at, admin: free_at, cluster: taken_at, status: taken_at };
        let found = Addresses::free(&usual).unwrap();
        assert_eq!(found.admin, free_at);
        let mut all = [found.proxy, found.admin, found.cluster, found.status, taken_at].map(|address| address.port());
        all.sort_unstable();
        assert!(all.windows(2).all(|pair| pair[0] != pair[1]), "{all:?}");
    }
}
