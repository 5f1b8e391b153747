//! That memory which is free is given back.
//!
//! glibc gives back what is free at the end of a heap from 128 KiB on, but each large block that is ever freed raises
//! that bound, to as much as 64 MiB (mallopt(3), "dynamic mmap threshold"). Opening the store once is enough for that,
//! and 2 to 13 MiB of a data plane stay resident without a use. And it keeps up to eight heaps per core, each with free
//! memory of its own that no other thread gets: 1 MiB of a data plane, 13 MiB of a control plane. Small blocks, which are
//! nearly all of a request, come from a cache per thread, so that one heap for all costs no measurable time.
//!
//! Both bounds stand still when they are set, which without unsafe code only the environment can do, and glibc reads
//! that before `main`: so a daemon replaces itself once, as the same process, with the variables set. With another C
//! library this changes nothing.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// glibc's variables, and what they are set to: the bound in bytes that glibc starts from, and one heap.
const VARIABLES: [(&str, &str); 2] = [("MALLOC_TRIM_THRESHOLD_", "131072"), ("MALLOC_ARENA_MAX", "1")];

/// Starts the program anew in this process, with its arguments and the variables set, unless they all are already; what
/// an operator has set stays. For the beginning of `main`, before there is anything to lose. Where the system refuses,
/// the program goes on as it is.
pub fn give_back() {
    let unset = VARIABLES.iter().filter(|(name, _)| std::env::var_os(name).is_none());
    let unset: Vec<(&str, &str)> = unset.copied().collect();
    if !cfg!(target_env = "gnu") || unset.is_empty() {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let mut arguments = std::env::args_os();
    let mut command = Command::new(program);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    // It returns only if it fails.
    let _ = command.args(arguments).envs(unset).exec();
}
