//! The machine's own facts and the limits it sets us.

use std::io;
use std::net::TcpListener;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{Backlog, listen};

/// How many connections may wait until they are accepted, if the system allows it (`net.core.somaxconn`).
const BACKLOG: i32 = 4096;

/// The machine's name, which Kong shows as a node's `hostname`.
pub fn hostname() -> String {
    nix::unistd::gethostname().map_or_else(|_| "localhost".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// Raises the number of files and sockets that may be open to all that the system allows, and answers how many that
/// is. The usual 1,024 would be 500 proxied connections.
pub fn raise_open_files() -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(hard)
}

/// Lets more connections wait to be accepted than the usual 128: a thousand nodes come back at once, and one that finds
/// no place tries again only after a second, or three, or seven.
pub fn deepen_backlog(listener: &TcpListener) -> io::Result<()> {
    listen(listener, Backlog::new(BACKLOG)?)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_connections_wait_than_usual() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        deepen_backlog(&listener).unwrap();
        let address = listener.local_addr().unwrap();
        let waiting: Vec<_> = (0..300).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
        assert_eq!(waiting.len(), 300);
    }

    #[test]
    fn after_raising_the_limit_is_what_it_said() {
        let raised = raise_open_files().unwrap();
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap().0, raised);
    }
}
