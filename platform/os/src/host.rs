//! The machine's own facts and the limits it sets us.

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

const STATUS_FILE: &str = "/proc/self/status";
const STATUS_BYTES_MAX: u64 = 64 * 1024;

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

/// What this process takes of the machine's memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Memory {
    /// Bytes in RAM now.
    pub resident: u64,
    /// The most bytes in RAM so far.
    pub resident_peak: u64,
    /// Bytes in RAM now that are its own and not a file's.
    pub anonymous: u64,
}

/// Reads it from `/proc/self/status`.
pub fn memory() -> io::Result<Memory> {
    let text = crate::file::read_bounded(STATUS_FILE.as_ref(), STATUS_BYTES_MAX)?;
    parse_memory(&String::from_utf8_lossy(&text))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("{STATUS_FILE} names no memory")))
}

fn parse_memory(status: &str) -> Option<Memory> {
    let bytes = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        kibibytes.checked_mul(1024)
    };
    Some(Memory { resident: bytes("VmRSS")?, resident_peak: bytes("VmHWM")?, anonymous: bytes("RssAnon")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_this_process_and_is_consistent() {
        let memory = memory().unwrap();
        assert!(memory.resident > 100 * 1024, "{memory:?}");
        assert!(memory.resident_peak >= memory.resident, "{memory:?}");
        assert!(memory.anonymous <= memory.resident, "{memory:?}");
    }

    #[test]
    fn takes_kibibytes_and_refuses_what_it_does_not_know() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\nRssAnon:\t     512 kB\n";
        assert_eq!(
            parse_memory(status),
            Some(Memory { resident: 1 << 20, resident_peak: 2 << 20, anonymous: 512 << 10 })
        );
        assert_eq!(parse_memory("VmHWM: 1 kB\nVmRSS: 1 MB\nRssAnon: 1 kB\n"), None);
        assert_eq!(parse_memory(""), None);
    }

    #[test]
    fn after_raising_the_limit_is_what_it_said() {
        let raised = raise_open_files().unwrap();
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap().0, raised);
    }
}
