//! Moves a store that fails its checks aside, for whoever wants to look at it, so that a fresh one can be made.
//!
//! It is done in steps that a power cut may separate: everything goes into `quarantine.partial`, which then gets its
//! number. An unfinished one is finished by the next open.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::OpenError;
use crate::layout::{self, lock, numbered, remove, sync_dir};

const PREFIX: &str = "quarantine-";
const PARTIAL: &str = "quarantine.partial";

/// Moves the store in `dir` to `quarantine-<n>` in the same directory. One such is kept, the newest.
///
/// # Errors
/// When the store is in use, or the operating system refuses.
pub fn quarantine(dir: &Path) -> Result<(), OpenError> {
    let _lock = lock(dir)?;
    set_aside(dir).map_err(|e| OpenError::io(dir, e))
}

/// Deletes everything of the store in `dir`, a quarantined one included. The directory itself stays.
///
/// # Errors
/// When the store is in use, or the operating system refuses.
pub fn wipe(dir: &Path) -> Result<(), OpenError> {
    let _lock = lock(dir)?;
    set_aside(dir).and_then(|()| remove_all(dir)).map_err(|e| OpenError::io(dir, e))
}

/// Moves one generation, which is not in use any more, to `quarantine-<n>`; the newest such is kept.
pub(crate) fn set_generation_aside(dir: &Path, gen_dir: &Path) -> io::Result<()> {
    move_aside(dir, |aside| fs::rename(gen_dir, aside.join(gen_dir.file_name().unwrap_or_default())))
}

/// Moves files of a generation, which goes on without them, to a directory of its name in `quarantine-<n>`; likewise.
pub(crate) fn set_files_aside(gen_dir: &Path, files: &[PathBuf]) -> io::Result<()> {
    let (Some(dir), Some(name)) = (gen_dir.parent(), gen_dir.file_name()) else { return Ok(()) };
    move_aside(dir, |aside| {
        let into = aside.join(name);
        fs::create_dir(&into)?;
        files.iter().try_for_each(|file| fs::rename(file, into.join(file.file_name().unwrap_or_default())))?;
        sync_dir(&into)?;
        sync_dir(gen_dir)
    })
}

fn move_aside(dir: &Path, fill: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let before = numbered(dir, PREFIX)?;
    let name = format!("{PREFIX}{}", before.last().map_or(1, |last| last.saturating_add(1)));
    let aside = dir.join(name);
    fs::create_dir(&aside)?;
    fill(&aside)?;
    sync_dir(&aside)?;
    for number in before {
        remove(&dir.join(format!("{PREFIX}{number}")))?;
    }
    sync_dir(dir)
}

/// Finishes what a power cut interrupted.
pub(crate) fn finish(dir: &Path) -> io::Result<()> {
    if dir.join(PARTIAL).is_dir() { set_aside(dir) } else { Ok(()) }
}

fn set_aside(dir: &Path) -> io::Result<()> {
    let partial = dir.join(PARTIAL);
    match fs::create_dir(&partial) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => sync_dir(dir)?,
    }
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if layout::belongs_to_store(&entry.file_name()) {
            fs::rename(entry.path(), partial.join(entry.file_name()))?;
        }
    }
    sync_dir(&partial)?;
    let last = numbered(dir, PREFIX)?.last().copied().unwrap_or(0);
    remove_all(dir)?;
    fs::rename(&partial, dir.join(format!("{PREFIX}{}", last.saturating_add(1))))?;
    sync_dir(dir)
}

fn remove_all(dir: &Path) -> io::Result<()> {
    for number in numbered(dir, PREFIX)? {
        remove(&dir.join(format!("{PREFIX}{number}")))?;
    }
    sync_dir(dir)
}
