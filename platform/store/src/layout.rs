//! Names, small files and the order of writes in a store's directory: the lock, `CURRENT`, a generation's marker.
//!
//! Whatever must appear whole is written to a temporary name, synced, renamed, and the directory synced.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::fault::{point, read_point};
use crate::seal::{NUMBER_MAX, Purpose, hasher};
use crate::{OpenError, cipher};

/// The newest format of the directory; a higher one is refused untouched. Pointer files say format 1, or 2 where the
/// generation is encrypted, so that a program that knows no encryption leaves it alone.
pub(crate) const FORMAT: u32 = 2;
const PLAIN_FORMAT: u32 = 1;
/// The longest small file that is read (`CURRENT`, a marker).
const SMALL_FILE_BYTES_MAX: u64 = 256;
/// How many zeros are written at a time when a file is preallocated.
const ZERO_BYTES: usize = 64 * 1024;

/// How long a lock is waited for: a holder may be just ending, or its descriptor in a child that has yet to exec.
const LOCK_PATIENCE: Duration = Duration::from_millis(300);
const LOCK_RETRY: Duration = Duration::from_millis(10);

const CURRENT: &str = "CURRENT";
const LOCK: &str = "lock";
const MARKER: &str = "provisioned";
const RESERVE: &str = "reserve";
const GENERATION_PREFIX: &str = "gen-";
/// Bytes set aside so that a store on a full disk can still be opened: sled needs to write when it opens.
const RESERVE_BYTES: u64 = 1024 * 1024;

/// The store's lock, held until dropped. On a read-only file system it is held as well, if its file is there.
#[derive(Debug)]
pub(crate) struct Lock {
    file: Option<File>,
    read_only: bool,
}

impl Lock {
    /// Whether nothing can be written here.
    pub(crate) fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Looks whether the file system can be written by now.
    pub(crate) fn retry_writing(&mut self, dir: &Path) -> Result<(), OpenError> {
        if self.read_only {
            let path = dir.join(LOCK);
            let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
            let file = file.map_err(|e| OpenError::io(&path, e))?;
            if self.file.is_none() {
                acquire(dir, &file)?;
                self.file = Some(file);
            }
            self.read_only = false;
        }
        Ok(())
    }
}

/// Makes sure that the directory exists, and takes its lock.
pub(crate) fn lock(dir: &Path) -> Result<Lock, OpenError> {
    match fs::metadata(dir) {
        Ok(found) if !found.is_dir() => return Err(OpenError::NotADirectory(dir.into())),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(dir).map_err(|e| OpenError::io(dir, e))?;
            if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                sync_dir(parent).map_err(|e| OpenError::io(parent, e))?;
            }
        }
        Err(error) => return Err(OpenError::io(dir, error)),
    }
    let path = dir.join(LOCK);
    let (file, read_only) = match OpenOptions::new().create(true).truncate(false).write(true).open(&path) {
        Ok(file) => (file, false),
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => match File::open(&path) {
            Ok(file) => (file, true),
            // Nobody else can make it either.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Lock { file: None, read_only: true }),
            Err(error) => return Err(OpenError::io(&path, error)),
        },
        Err(error) => return Err(OpenError::io(&path, error)),
    };
    acquire(dir, &file)?;
    Ok(Lock { file: Some(file), read_only })
}

fn acquire(dir: &Path, file: &File) -> Result<(), OpenError> {
    let patience = Instant::now() + LOCK_PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if Instant::now() < patience => sleep(LOCK_RETRY),
            Err(TryLockError::WouldBlock) => return Err(OpenError::Locked(dir.into())),
            Err(TryLockError::Error(error)) => return Err(OpenError::io(dir.join(LOCK), error)),
        }
    }
}

/// The directory of a generation.
pub(crate) fn generation_dir(dir: &Path, generation: u64) -> PathBuf {
    dir.join(format!("{GENERATION_PREFIX}{generation}"))
}

/// The numbers of the generations that have a directory, in ascending order.
pub(crate) fn generations(dir: &Path) -> io::Result<Vec<u64>> {
    numbered(dir, GENERATION_PREFIX)
}

/// The numbers `n` of all entries named `<prefix><n>`, in ascending order.
pub(crate) fn numbered(dir: &Path, prefix: &str) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let number: Option<u64> = name.to_str().and_then(|name| name.strip_prefix(prefix)).and_then(|n| n.parse().ok());
        numbers.extend(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Whether a name in the directory is part of the store proper: not the lock, not a quarantine, not somebody else's.
pub(crate) fn belongs_to_store(name: &std::ffi::OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    name.starts_with(GENERATION_PREFIX) || name == RESERVE || name == CURRENT || name == format!("{CURRENT}.tmp")
}

/// What a pointer file says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Pointer {
    /// The number of a generation.
    pub(crate) number: u64,
    format: u32,
}

/// The generation in use, `None` if there never was one.
pub(crate) fn current(dir: &Path) -> Result<Option<Pointer>, OpenError> {
    read_pointer(&dir.join(CURRENT), "generation")
}

/// Writes the marker of a generation again, as `CURRENT` has it.
pub(crate) fn set_marker(generation_dir: &Path, current: Pointer) -> io::Result<()> {
    write_pointer(generation_dir, MARKER, "provisioned", current.number, current.format)
}

/// Makes a generation the one in use: the moment of a switch.
pub(crate) fn set_current(dir: &Path, generation: u64) -> io::Result<()> {
    write_pointer(dir, CURRENT, "generation", generation, format_of(&generation_dir(dir, generation)))
}

/// Whether a generation was finished.
pub(crate) fn is_provisioned(generation_dir: &Path, generation: u64) -> Result<bool, OpenError> {
    let path = generation_dir.join(MARKER);
    match read_pointer(&path, "provisioned")?.map(|pointer| pointer.number) {
        Some(found) if found == generation => Ok(true),
        Some(found) => Err(OpenError::corrupt(path, format!("the marker of generation {found}"))),
        None => Ok(false),
    }
}

/// Whether the marker of a generation says that it is encrypted.
pub(crate) fn says_encrypted(generation_dir: &Path) -> Result<bool, OpenError> {
    let marker = read_pointer(&generation_dir.join(MARKER), "provisioned")?;
    Ok(marker.is_some_and(|marker| marker.format > PLAIN_FORMAT))
}

fn format_of(generation_dir: &Path) -> u32 {
    if cipher::has_key(generation_dir) { FORMAT } else { PLAIN_FORMAT }
}

/// Says that a generation is finished: everything else in it must be on disk before.
pub(crate) fn set_provisioned(generation_dir: &Path, generation: u64) -> io::Result<()> {
    write_pointer(generation_dir, MARKER, "provisioned", generation, format_of(generation_dir))
}

/// A small file of one line: `edge-store <format> <word> <number> <hash>`.
fn write_pointer(dir: &Path, name: &str, word: &str, number: u64, format: u32) -> io::Result<()> {
    write_whole(dir, name, pointer_line(format, word, number).as_bytes())
}

fn pointer_line(format: u32, word: &str, number: u64) -> String {
    let line = format!("edge-store {format} {word} {number}");
    let mut hasher = hasher(Purpose::Pointer, 0, 0);
    hasher.update(line.as_bytes());
    format!("{line} {:016x}\n", hasher.digest())
}

fn read_pointer(path: &Path, word: &str) -> Result<Option<Pointer>, OpenError> {
    let bad = || OpenError::corrupt(path, "not a line of ours, or it fails its hash");
    let Some(text) = read_small(path, bad)? else { return Ok(None) };
    let text = str::from_utf8(&text).map_err(|_| bad())?;
    let mut words = text.split(' ').skip(1);
    let format: u32 = words.next().and_then(|w| w.parse().ok()).ok_or_else(bad)?;
    let (found_word, number) = (words.next().ok_or_else(bad)?, words.next().ok_or_else(bad)?);
    let number = number.parse().ok().filter(|number| *number <= NUMBER_MAX).ok_or_else(bad)?;
    if text != pointer_line(format, found_word, number) || found_word != word {
        return Err(bad());
    }
    if format > FORMAT {
        return Err(OpenError::NewerFormat { file: path.into(), found: format, known: FORMAT });
    }
    Ok(Some(Pointer { number, format }))
}

/// The number and format of a pointer to a generation whose line says this, before its right hash.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz_pointer(dir: &Path, line: &[u8]) -> Option<(u64, u32)> {
    let mut hasher = hasher(Purpose::Pointer, 0, 0);
    hasher.update(line);
    let file = [line, format!(" {:016x}\n", hasher.digest()).as_bytes()].concat();
    fs::write(dir.join(CURRENT), file).ok()?;
    let read = current(dir).ok()??;
    let line = pointer_line(read.format, "generation", read.number);
    fs::write(dir.join(CURRENT), line).ok()?;
    assert_eq!(current(dir).ok().flatten(), Some(read));
    Some((read.number, read.format))
}

/// A small file, if it is there; `bad` is what to say of one that cannot be ours.
pub(crate) fn read_small(path: &Path, bad: impl Fn() -> OpenError) -> Result<Option<Vec<u8>>, OpenError> {
    match fs::metadata(path) {
        Ok(found) if !found.is_file() || found.len() > SMALL_FILE_BYTES_MAX => Err(bad()),
        Ok(_) => read_point(path).and_then(|()| fs::read(path)).map(Some).map_err(|e| OpenError::io(path, e)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(OpenError::io(path, error)),
    }
}

/// Writes a small file whole: under a temporary name, synced, renamed.
pub(crate) fn write_whole(dir: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let temporary = dir.join(format!("{name}.tmp"));
    point(&temporary)?;
    let mut file = File::create(&temporary)?;
    file.write_all(content)?;
    point(&temporary)?;
    file.sync_all()?;
    drop(file);
    point(&temporary)?;
    fs::rename(&temporary, dir.join(name))?;
    sync_dir(dir)
}

/// Creates a file of zeros, synced: later writes in place need no space and change no metadata.
pub(crate) fn preallocate(path: &Path, len: u64) -> io::Result<File> {
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
    point(path)?;
    let zeros = vec![0; ZERO_BYTES];
    let mut left = len;
    while left > 0 {
        let step = usize::try_from(left).unwrap_or(ZERO_BYTES).min(ZERO_BYTES);
        file.write_all(zeros.get(..step).unwrap_or(&zeros))?;
        left -= step as u64;
    }
    file.sync_all()?;
    Ok(file)
}

/// Syncs a directory, so that names in it last. (Left out by a mutant, too.)
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    point(dir)?;
    if cfg!(feature = "mutant-no-dirsync") { Ok(()) } else { File::open(dir)?.sync_all() }
}

/// Syncs everything below a directory, and it.
pub(crate) fn sync_tree(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_tree(&entry.path())?;
        } else {
            File::open(entry.path())?.sync_all()?;
        }
    }
    sync_dir(dir)
}

/// The promise of a commit: the bytes of a file are on the medium. (Left out by the mutant that proves the power-cut test.)
pub(crate) fn sync_data(file: &File) -> io::Result<()> {
    if cfg!(feature = "mutant-no-fdatasync") { Ok(()) } else { file.sync_data() }
}

/// Bytes of all files below a path; what vanishes meanwhile counts nothing.
pub(crate) fn size(path: &Path) -> u64 {
    let Ok(found) = fs::symlink_metadata(path) else { return 0 };
    if !found.is_dir() {
        return found.len();
    }
    let Ok(entries) = fs::read_dir(path) else { return 0 };
    entries.filter_map(|entry| Some(size(&entry.ok()?.path()))).sum()
}

/// Removes a file or a directory with all that is in it, if it is there.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    let done = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match done {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Gives the reserve back to the file system; says whether there was one.
pub(crate) fn release_reserve(dir: &Path) -> bool {
    fs::remove_file(dir.join(RESERVE)).is_ok()
}

/// Sets the reserve aside, if there is space for it; a store works without.
pub(crate) fn keep_reserve(dir: &Path) {
    let path = dir.join(RESERVE);
    if fs::metadata(&path).is_ok_and(|found| found.len() == RESERVE_BYTES) {
        return;
    }
    if preallocate(&path, RESERVE_BYTES).is_err() {
        release_reserve(dir);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_comes_back_and_no_flipped_bit_passes() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(current(dir.path()).unwrap(), None);
        set_current(dir.path(), 42).unwrap();
        assert_eq!(current(dir.path()).unwrap(), Some(Pointer { number: 42, format: PLAIN_FORMAT }));
        let path = dir.path().join(CURRENT);
        let good = fs::read(&path).unwrap();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, &bad).unwrap();
            assert!(current(dir.path()).unwrap_err().is_corrupt(), "bit {bit}");
        }
        for len in 0..good.len() {
            fs::write(&path, &good[..len]).unwrap();
            assert!(current(dir.path()).unwrap_err().is_corrupt(), "length {len}");
        }
    }

    #[test]
    fn a_newer_format_is_named_as_such() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(CURRENT), pointer_line(FORMAT + 1, "generation", 3)).unwrap();
        assert!(matches!(current(dir.path()), Err(OpenError::NewerFormat { found: 3, known: 2, .. })));
    }

    #[test]
    fn the_lock_is_one_holders_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let held = lock(dir.path()).unwrap();
        assert!(matches!(lock(dir.path()), Err(OpenError::Locked(_))));
        drop(held);
        lock(dir.path()).unwrap();
    }
}
