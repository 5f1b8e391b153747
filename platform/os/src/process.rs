//! What this process takes of the machine, and the processes that it starts.

use std::io;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

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

/// Asks a process to end: SIGTERM. Only for a child that has not been waited for yet: its number is its own until then.
pub fn terminate(pid: u32) -> io::Result<()> {
    // Zero and what looks negative would mean whole groups of processes.
    let pid = i32::try_from(pid).ok().filter(|pid| *pid > 0).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(kill(Pid::from_raw(pid), Signal::SIGTERM)?)
}

/// Asks the kernel to send this process SIGTERM when the thread that started it ends (prctl(2), `PR_SET_PDEATHSIG`),
/// in whatever way that happens. It outlives an exec, but for programs with file capabilities or set-user-id. Answers
/// whether `parent` is still there: it may have ended before it was asked for.
pub fn end_with_parent(parent: u32) -> io::Result<bool> {
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_pdeathsig(Signal::SIGTERM)?;
    Ok(std::os::unix::process::parent_id() == parent)
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
    fn asks_one_process_and_never_a_group() {
        use std::os::unix::process::ExitStatusExt;
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        terminate(child.id()).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(Signal::SIGTERM as i32));
        for group in [0, u32::MAX] {
            assert_eq!(terminate(group).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
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
