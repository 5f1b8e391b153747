//! Where everything listens: the usual ports where they are free, others where not, all on loopback.

use os::ExitError;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, UdpSocket};

/// How many other ports are tried before it is told that there is none.
const ATTEMPTS_MAX: u32 = 16;

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

/// Keeps other quickstarts off our ports, also while the daemon whose port it is does not run: whoever wants a port
/// takes that of UDP first, which no daemon needs. Other programs know nothing of it.
#[derive(Debug)]
pub(super) struct Claims {
    _held: [UdpSocket; 4],
}

impl Addresses {
    /// Kong's ports.
    pub(super) const USUAL: Addresses =
        Addresses { proxy: loopback(8000), admin: loopback(8001), cluster: loopback(8005), status: loopback(8007) };

    /// The usual addresses, or others for those that are taken now.
    pub(super) fn claim(usual: &Addresses) -> Result<(Addresses, Claims), ExitError> {
        let claim = |address: SocketAddr| {
            let claimed = claim(address.port()).or_else(|_| other());
            claimed.map_err(|error| ExitError::from_io("no port is to be had on 127.0.0.1", &error))
        };
        let (proxy, held_proxy) = claim(usual.proxy)?;
        let (admin, held_admin) = claim(usual.admin)?;
        let (cluster, held_cluster) = claim(usual.cluster)?;
        let (status, held_status) = claim(usual.status)?;
        let held = [held_proxy, held_admin, held_cluster, held_status];
        Ok((Addresses { proxy, admin, cluster, status }, Claims { _held: held }))
    }
}

fn claim(port: u16) -> io::Result<(SocketAddr, UdpSocket)> {
    let held = UdpSocket::bind(loopback(port))?;
    let address = held.local_addr()?;
    // Tried and let go again: the daemon is to have it.
    TcpListener::bind(address)?;
    Ok((address, held))
}

fn other() -> io::Result<(SocketAddr, UdpSocket)> {
    let mut claimed = claim(0);
    for _ in 1..ATTEMPTS_MAX {
        if claimed.is_ok() {
            break;
        }
        claimed = claim(0);
    }
    claimed
}

/// A port on this machine only.
pub(super) const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(addresses: &Addresses) -> [u16; 4] {
        let Addresses { proxy, admin, cluster, status } = addresses;
        [proxy, admin, cluster, status].map(|address| address.port())
    }

    #[test]
    fn a_port_that_is_taken_is_replaced_and_the_others_stay() {
        let taken = TcpListener::bind(loopback(0)).unwrap();
        let taken_at = taken.local_addr().unwrap();
        let (free_at, held) = other().unwrap();
        drop(held);
        let usual = Addresses { proxy: taken_at, admin: free_at, cluster: taken_at, status: taken_at };
        let (found, _claims) = Addresses::claim(&usual).unwrap();
        assert_eq!(found.admin, free_at);
        let mut all: Vec<u16> = ports(&found).into_iter().chain([taken_at.port()]).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 5, "{found:?}");
    }

    #[test]
    fn what_one_quickstart_has_no_other_gets_while_it_lasts() {
        let none = Addresses { proxy: loopback(0), admin: loopback(0), cluster: loopback(0), status: loopback(0) };
        let (first, claims) = Addresses::claim(&none).unwrap();
        let (second, _others) = Addresses::claim(&first).unwrap();
        assert!(ports(&first).iter().all(|port| !ports(&second).contains(port)), "{first:?} {second:?}");
        drop(claims);
        assert_eq!(Addresses::claim(&first).unwrap().0, first);
    }
}
