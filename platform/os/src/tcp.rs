//! What a long-lived TCP connection is told beside what the standard library can tell it.

use nix::sys::socket::{setsockopt, sockopt};
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

/// Ends a connection on which something that was sent stays unacknowledged for `time` (TCP_USER_TIMEOUT), instead of the
/// quarter of an hour that the system would go on for.
///
/// # Errors
/// As the system says.
pub fn set_user_timeout(socket: &impl AsFd, time: Duration) -> io::Result<()> {
    let millis = u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
    setsockopt(socket, sockopt::TcpUserTimeout, &millis).map_err(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn the_system_takes_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        set_user_timeout(&stream, Duration::from_secs(60)).unwrap();
        let set = nix::sys::socket::getsockopt(&stream, sockopt::TcpUserTimeout).unwrap();
        assert_eq!(set, 60_000);
    }
}
