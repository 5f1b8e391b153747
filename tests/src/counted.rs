//! A disk of a measurement's own, of which it is known what was written: ext4 on a loop device, whose sectors the kernel
//! counts. What a program asks to be written (`wchar`) is less than that, and what it makes dirty (`write_bytes`) is counted
//! in whole folios of the page cache; neither knows of the file system's own journal.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A sector, as the kernel counts them.
const SECTOR_BYTES: u64 = 512;
/// Which number of a block device's `stat` counts the sectors written.
const SECTORS_WRITTEN: usize = 6;
/// A file system that has nothing left to do in the background, on a device that goes when it is unmounted.
const MOUNT: &str = "PATH=$PATH:/usr/sbin:/sbin
    truncate -s \"$1\" \"$2\" &&
    mke2fs -q -t ext4 -F -E lazy_itable_init=0,lazy_journal_init=0 \"$2\" && mount -o loop \"$2\" \"$3\"";

/// A file system that is mounted; unmounted with the value.
#[derive(Debug)]
pub struct Device(PathBuf);

impl Device {
    /// Mounts one of this size. `None`, and a word about it, where nothing may be mounted.
    ///
    /// # Panics
    /// When the directory cannot be made.
    #[must_use]
    pub fn mount(path: PathBuf, megabytes: u32) -> Option<Self> {
        fs::create_dir_all(&path).expect("the lab is writable");
        let (size, image) = (format!("{megabytes}M"), path.with_extension("img"));
        let mounted = Command::new("sh").args(["-c", MOUNT, "sh", &size]).args([&image, &path]).status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(path));
        }
        eprintln!("not measured: bytes on a device; mounting a loop device needs root, mke2fs and mount");
        None
    }

    /// Bytes that have reached it so far, all that was pending included: the file system's own, its journal's, everything.
    ///
    /// # Panics
    /// When the kernel does not tell.
    #[must_use]
    pub fn written(&self) -> u64 {
        let _ = Command::new("sync").arg("-f").arg(&self.0).status();
        written_to_disk_of(&self.0).expect("a loop device is a block device")
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Bytes written so far to the block device that a path is on, by anybody; none where there is no such device.
fn written_to_disk_of(path: &Path) -> Option<u64> {
    let device = fs::metadata(path).ok()?.dev();
    let (major, minor) = ((device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & 0xf_ff00));
    let stat = fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")).ok()?;
    Some(stat.split_whitespace().nth(SECTORS_WRITTEN)?.parse::<u64>().ok()? * SECTOR_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn what_is_synced_is_counted_with_what_the_file_system_adds() {
        let lab = tempfile::tempdir().unwrap();
        let Some(device) = Device::mount(lab.path().join("disk"), 16) else { return };
        let before = device.written();
        let mut file = fs::File::create(lab.path().join("disk/file")).unwrap();
        file.write_all(&[7; 100_000]).unwrap();
        file.sync_all().unwrap();
        let written = device.written() - before;
        assert!((100_000..1_000_000).contains(&written), "{written}");
    }
}
