//! That memory which is free is given back.
//!
//! glibc gives back what is free at the end of a heap from 128 KiB on, but each large block that is ever freed raises
//! that bound, to as much as 64 MiB (mallopt(3), "dynamic mmap threshold"). Opening the store once is enough for that,
//! and 2 to 13 MiB of a data plane stay resident without a use. The bound stands still when it is set, which without
//! unsafe code only the environment can do, and glibc reads that before `main`: so a daemon replaces itself once, as
//! the same process, with the variable set. With another C library this changes nothing.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// glibc's variable.
const VARIABLE: &str = "MALLOC_TRIM_THRESHOLD_";
/// Bytes: the bound that glibc starts from.
const THRESHOLD: &str = "131072";

/// Starts the program anew in this process, with its arguments and the bound set, unless it is set already. For the
/// beginning of `main`, before there is anything to lose. Where the system refuses, the program goes on as it is.
pub fn give_back() {
    if !cfg!(target_env = "gnu") || std::env::var_os(VARIABLE).is_some() {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let mut arguments = std::env::args_os();
    let mut command = Command::new(program);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    // It returns only if it fails.
    let _ = command.args(arguments).env(VARIABLE, THRESHOLD).exec();
}
