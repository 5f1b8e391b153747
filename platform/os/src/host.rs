//! The machine's own facts and the limits it sets us.

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_raising_the_limit_is_what_it_said() {
        let raised = raise_open_files().unwrap();
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap().0, raised);
    }
}
