//! Where the Admin API may be opened: it asks nobody for a password, so it is for this machine only.

use std::net::SocketAddr;

/// The address is not a loopback address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("admin_listen: {0} is not a loopback address, and the Admin API has no access control yet")]
pub struct NotLoopback(pub SocketAddr);

/// Whether the Admin API may listen here.
///
/// # Errors
/// When the address can be reached from another machine.
pub fn check_listen(address: SocketAddr) -> Result<(), NotLoopback> {
    if address.ip().to_canonical().is_loopback() { Ok(()) } else { Err(NotLoopback(address)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_addresses_are_taken() {
        for good in ["127.0.0.1:8001", "127.8.9.1:0", "[::1]:8001", "[::ffff:127.0.0.1]:8001"] {
            assert_eq!(check_listen(good.parse().unwrap()), Ok(()), "{good}");
        }
        for bad in ["0.0.0.0:8001", "[::]:8001", "10.0.0.1:8001", "[::ffff:10.0.0.1]:8001"] {
            let address = bad.parse().unwrap();
            assert_eq!(check_listen(address), Err(NotLoopback(address)), "{bad}");
        }
    }
}
