//! A disk that gives errors: every write, sync and positioned read of a program fails with EIO, as strace has it, for as
//! long as the value lives. What the program does elsewhere, on sockets above all, goes on.

use crate::lab::Daemon;
use crate::wait;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// What fails. Files alone are synced, and read and written at an offset; names are changed in directories alone.
const CALLS: &str =
    "fsync,fdatasync,pwrite64,pread64,ftruncate,rename,renameat,renameat2,mkdir,mkdirat,unlink,unlinkat";

/// The errors, as long as it lives.
#[derive(Debug)]
pub struct Broken(Child);

impl Broken {
    /// From now on. `None`, and a word about it, where a program cannot be traced.
    ///
    /// # Panics
    /// The same in CI, where it has to be possible.
    #[must_use]
    pub fn under(daemon: &Daemon) -> Option<Self> {
        let started = Command::new("strace").args(arguments(daemon.pid())).stderr(Stdio::null()).spawn();
        if started.is_err() {
            assert!(std::env::var_os("CI").is_none(), "there is no strace");
            eprintln!("skipped: there is no strace");
        }
        let broken = Self(started.ok()?);
        wait::until("all threads to be traced", || is_traced(daemon.pid()).then_some(()));
        Some(broken)
    }
}

/// The same from the first moment of a program, for all files that there are below `disk`: a directory with a program of that
/// name in it that starts the right one so, until [`mend`].
///
/// # Panics
/// When the directory cannot be written.
pub fn programs(dir: &Path, program: &Path, disk: &Path) {
    // Not those of the loader, which reads libraries at an offset.
    let files = format!("$(find {} -printf ' -P %p')", disk.display());
    let words = format!("-p $$ -f -qq -o /dev/null -e trace={CALLS} -e inject={CALLS}:error=EIO {files}");
    let traced = "while grep -q 'TracerPid:.0$' /proc/$$/status; do :; done";
    let script = format!(
        "#!/bin/sh\nif [ -e {0}/broken ]; then strace {words} 2> /dev/null & echo $! > {0}/tracer; {traced}; fi\nexec {1} \"$@\"\n",
        dir.display(),
        program.display(),
    );
    fs::create_dir_all(dir).expect("the lab is writable");
    let file = dir.join(program.file_name().expect("a program has a name"));
    os::file::replace(&file, script.as_bytes(), 0o755).expect("the lab is writable");
    fs::write(dir.join("broken"), "").expect("the lab is writable");
}

/// Ends the errors that [`programs`] began.
///
/// # Panics
/// When there are none.
pub fn mend(dir: &Path) {
    fs::remove_file(dir.join("broken")).expect("it was broken");
    let tracer = fs::read_to_string(dir.join("tracer")).expect("it was started");
    let killed = Command::new("kill").args(["-KILL", tracer.trim()]).status();
    assert!(killed.is_ok_and(|status| status.success()), "the tracer was there");
}

fn arguments(pid: u32) -> Vec<String> {
    let words = ["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={CALLS}"), "-e"].map(str::to_owned);
    words.into_iter().chain([format!("inject={CALLS}:error=EIO"), "-p".to_owned(), pid.to_string()]).collect()
}

fn is_traced(pid: u32) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let status = |task: fs::DirEntry| fs::read_to_string(task.path().join("status")).unwrap_or_default();
    tasks.map(status).all(|status| !status.contains("TracerPid:\t0\n"))
}

impl Drop for Broken {
    /// Whoever traces and is killed lets go of what it traced.
    fn drop(&mut self) {
        let _ = (self.0.kill(), self.0.wait());
    }
}
