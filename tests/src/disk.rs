//! A small disk of a test's own, which fills up and goes read-only when told to; and copies of what is on one.

use crate::pair::{Pair, head};
use crate::wait;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Copies a directory with all that is in it, as of a program that does not run.
///
/// # Panics
/// When it cannot be read, or the other place not be written.
pub fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the lab is writable");
    for entry in fs::read_dir(from).expect("it is there").map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_tree(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).expect("the lab is writable");
        }
    }
}

/// A file system in memory; unmounted with the value.
#[derive(Debug)]
pub struct Disk(PathBuf);

impl Disk {
    /// Mounts one of this size. `None`, and a word about it, where nothing may be mounted.
    ///
    /// # Panics
    /// The same in CI, where it has to be possible.
    #[must_use]
    pub fn mount(path: PathBuf, megabytes: u32) -> Option<Self> {
        fs::create_dir_all(&path).expect("the lab is writable");
        let size = format!("size={megabytes}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&path).status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(path));
        }
        assert!(std::env::var_os("CI").is_none(), "mounting a tmpfs needs root");
        eprintln!("skipped: mounting a tmpfs needs root");
        None
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Leaves no room on it.
    pub fn fill(&self) {
        // Larger than the disk: the write ends where the disk does.
        let _ = fs::write(self.0.join("fill"), vec![0; 64 << 20]);
    }

    /// Takes that back.
    ///
    /// # Panics
    /// When it was not filled.
    pub fn free(&self) {
        fs::remove_file(self.0.join("fill")).expect("it was filled");
    }

    /// Makes it read-only (`ro`) or writable (`rw`).
    ///
    /// # Panics
    /// When something has a file there open for writing.
    pub fn remount(&self, how: &str) {
        let done = Command::new("mount").args(["-o", &format!("remount,{how}")]).arg(&self.0).status();
        assert!(done.is_ok_and(|status| status.success()), "remounting {how}");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// What a data plane serves becomes durable once its disk takes writes again: it comes back with it after SIGKILL, alone.
///
/// # Panics
/// When it does not.
pub fn is_durable_again(pair: &mut Pair, path: &str) {
    let version = head(&mut pair.cp);
    wait::until("the served version to be durable", || {
        (pair.dp.sync_status()["durable_version"].as_u64()? >= version).then_some(())
    });
    assert_eq!(pair.dp.sync_status()["store"]["state"], "ok");
    let setup = pair.dp.kill();
    pair.link.down();
    pair.dp = setup.start();
    pair.dp.is_ready();
    assert_eq!(pair.dp.get(path, &[]).status, 200);
    assert_eq!(pair.dp.sync_status()["version"], version);
    let _ = pair.dp.kill();
}
