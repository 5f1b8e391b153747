//! Files that are whole or absent, whatever happens to the power in between.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

/// Replaces a file by these bytes, durably: after a crash it holds either the old content or the new. `mode` is the
/// permission bits of the new file.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let temporary = temporary_beside(path)?;
    let written = write_synced(&temporary, bytes, mode).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written?;
    sync_directory_of(path)
}

/// A file being written piece by piece under a temporary name beside its own, which it takes in [`Replacement::finish`].
/// Dropped before that, it is gone, and what there was before is still there.
#[derive(Debug)]
pub struct Replacement {
    path: PathBuf,
    temporary: PathBuf,
    file: File,
    finished: bool,
}

impl Replacement {
    /// Begins. `mode` is the permission bits of the new file.
    pub fn begin(path: &Path, mode: u32) -> io::Result<Replacement> {
        let temporary = temporary_beside(path)?;
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(true).mode(mode).open(&temporary)?;
        Ok(Replacement { path: path.to_owned(), temporary, file, finished: false })
    }

    /// What is being written, open for reading too.
    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Makes it durable and puts it in its place: after a crash that holds either the old content or the new.
    pub fn finish(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.temporary, &self.path)?;
        self.finished = true;
        sync_directory_of(&self.path)
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if !self.finished {
            // What stays is overwritten by the next one of this name.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Writes a file that must not exist yet, durably. A symbolic link in its place counts as existing.
pub fn create(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    if let Err(error) = file.write_all(bytes).and_then(|()| file.sync_all()) {
        let _ = fs::remove_file(path);
        return Err(error);
    }
    sync_directory_of(path)
}

/// Reads a file of at most `bytes_max` bytes; a larger one is an error, not a surprise.
pub fn read_bounded(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {bytes_max} bytes")));
    }
    Ok(bytes)
}

/// Whether it is the disk that forbids it, by being full, read-only or broken, and not a name or a permission.
#[must_use]
pub fn is_of_the_disk(error: &io::Error) -> bool {
    // What ext4 and xfs say of themselves when they have found damage or shut down: EUCLEAN, EBADMSG, ESHUTDOWN.
    const BROKEN: [Errno; 6] =
        [Errno::EIO, Errno::ENXIO, Errno::ENODEV, Errno::EUCLEAN, Errno::EBADMSG, Errno::ESHUTDOWN];
    let kinds = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded, io::ErrorKind::ReadOnlyFilesystem];
    kinds.contains(&error.kind()) || error.raw_os_error().is_some_and(|code| BROKEN.contains(&Errno::from_raw(code)))
}

fn write_synced(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// One name per process, so that what an earlier crash left behind is overwritten and not collected.
fn temporary_beside(path: &Path) -> io::Result<PathBuf> {
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(".new");
    Ok(path.with_file_name(name))
}

/// A new name is durable only once its directory is.
fn sync_directory_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_disk_is_at_fault_for_what_no_setting_would_change() {
        for code in [Errno::ENOSPC, Errno::EDQUOT, Errno::EROFS, Errno::EIO, Errno::EUCLEAN] {
            assert!(is_of_the_disk(&io::Error::from_raw_os_error(code as i32)), "{code}");
        }
        for code in [Errno::ENOENT, Errno::EACCES, Errno::ENOTDIR, Errno::EMFILE] {
            assert!(!is_of_the_disk(&io::Error::from_raw_os_error(code as i32)), "{code}");
        }
    }

    #[test]
    fn replaces_whole_and_leaves_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        replace(&path, b"one", 0o600).unwrap();
        replace(&path, b"two", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_replacement_keeps_the_old_content_and_cleans_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("inside"), b"kept").unwrap();
        assert!(replace(&path, b"new", 0o600).is_err());
        assert_eq!(fs::read(path.join("inside")).unwrap(), b"kept");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_replacement_in_pieces_is_whole_or_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, "old").unwrap();
        let mut replacement = Replacement::begin(&path, 0o600).unwrap();
        replacement.file().write_all(b"half").unwrap();
        drop(replacement);
        assert_eq!((fs::read(&path).unwrap(), fs::read_dir(dir.path()).unwrap().count()), (b"old".to_vec(), 1));
        let mut replacement = Replacement::begin(&path, 0o600).unwrap();
        replacement.file().write_all(b"new").unwrap();
        replacement.finish().unwrap();
        assert_eq!((fs::read(&path).unwrap(), fs::read_dir(dir.path()).unwrap().count()), (b"new".to_vec(), 1));
    }

    #[test]
    fn does_not_create_over_what_is_there_nor_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        create(&path, b"one", 0o644).unwrap();
        assert_eq!(create(&path, b"two", 0o644).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"one");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path().join("elsewhere"), &link).unwrap();
        assert_eq!(create(&link, b"two", 0o644).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert!(!dir.path().join("elsewhere").exists());
    }

    #[test]
    fn reads_up_to_the_bound_and_not_beyond() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, b"12345").unwrap();
        assert_eq!(read_bounded(&path, 5).unwrap(), b"12345");
        assert_eq!(read_bounded(&path, 4).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }
}
