//! What this process takes of the machine.

use std::io;

const STATUS_FILE: &str = "/proc/self/status";
const STATUS_BYTES_MAX: u64 = 64 * 1024;

/// Memory, as the kernel counts it.
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

/// KiB in RAM now; 0 where the kernel does not tell.
pub fn resident_kib() -> u64 {
    memory().map_or(0, |memory| memory.resident / 1024)
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
}
