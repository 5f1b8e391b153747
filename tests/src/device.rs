//! A block device of a test's own with ext4 on it, which goes read-only by itself, as it does when worn flash fails.

use crate::wait;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The file by which ext4 is told to find an error.
const TRIGGER: &str = "trigger_fs_error";

/// A mounted file system in a file; unmounted with the value.
#[derive(Debug)]
pub struct Device {
    node: PathBuf,
    mount: PathBuf,
}

impl Device {
    /// Makes one of this size below a directory. `None`, and a word about it, where that is not possible.
    ///
    /// # Panics
    /// The same in CI, where it has to be possible.
    #[must_use]
    pub fn mount(dir: &Path, megabytes: u64) -> Option<Self> {
        let made = Self::make(dir, megabytes);
        assert!(
            made.is_some() || std::env::var_os("CI").is_none(),
            "a file system in a file needs root and a loop device"
        );
        if made.is_none() {
            eprintln!("skipped: a file system in a file needs root and a loop device");
        }
        made
    }

    fn make(dir: &Path, megabytes: u64) -> Option<Self> {
        let (image, mount) = (dir.join("disk.img"), dir.join("disk"));
        fs::create_dir_all(&mount).ok()?;
        fs::File::create(&image).and_then(|file| file.set_len(megabytes << 20)).ok()?;
        run("mke2fs", &["-q", "-t", "ext4", text(&image)])?;
        let node = run("losetup", &["--find", "--show", text(&image)])?;
        let device = Self { node: PathBuf::from(node.trim()), mount };
        device.attach()?;
        device.trigger().exists().then_some(device)
    }

    fn attach(&self) -> Option<String> {
        run("mount", &["-t", "ext4", "-o", "errors=remount-ro", text(&self.node), text(&self.mount)])
    }

    fn trigger(&self) -> PathBuf {
        Path::new("/sys/fs/ext4").join(self.node.file_name().unwrap_or_default()).join(TRIGGER)
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.mount
    }

    /// The file system finds an error and goes read-only under whoever writes to it.
    ///
    /// # Panics
    /// When it does not.
    pub fn fails(&self) {
        fs::write(self.trigger(), "1").expect("ext4 can be told");
        assert!(fs::write(self.mount.join("probe"), "").is_err(), "it is still writable");
    }

    /// Unmounts it, has it checked, and mounts it again. Nothing may be open there.
    ///
    /// # Panics
    /// When that is not so.
    pub fn repair(&self) {
        wait::until("the file system to be free", || run("umount", &[text(&self.mount)]));
        // It says 1 when it has corrected something, which it has.
        let _ = run("e2fsck", &["-f", "-y", text(&self.node)]);
        self.attach().expect("it can be mounted again");
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _ = run("umount", &["-l", text(&self.mount)]);
        let _ = run("losetup", &["--detach", text(&self.node)]);
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of the lab are text")
}

/// What it printed, if it ended well.
fn run(program: &str, arguments: &[&str]) -> Option<String> {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let output = Command::new(program).args(arguments).env("PATH", path).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
