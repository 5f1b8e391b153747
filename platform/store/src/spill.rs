//! The changes of a commit too large for a journal: in a file of their own, which a frame in the journal points to.
//!
//! The file is durable before the frame is written, and goes when a checkpoint has its content. Its name carries its
//! hash, so that trying a failed commit again never touches a file that a frame may already point to.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::fault::{point, read_point};
use crate::frame::{Content, decode_changes, encode_changes, encoded_len};
use crate::layout::{remove, sync_data, sync_dir};
use crate::seal::{Purpose, hasher};
use crate::{COMMIT_BYTES_MAX, Change, CommitError, OpenError};

const PREFIX: &str = "spill-";
/// So much is read at a time where the content is not wanted.
const PIECE_BYTES: usize = 64 * 1024;

fn path(gen_dir: &Path, seq: u64, hash: u64) -> PathBuf {
    gen_dir.join(format!("{PREFIX}{seq}-{hash:016x}"))
}

fn hash(generation: u64, seq: u64, bytes: &[u8]) -> u64 {
    let mut hasher = hasher(Purpose::Spill, generation, seq);
    hasher.update(bytes);
    hasher.digest()
}

/// Writes changes durably; what the frame must say is returned.
pub(crate) fn write(gen_dir: &Path, generation: u64, seq: u64, changes: &[Change]) -> Result<Content, CommitError> {
    let mut bytes = Vec::with_capacity(usize::try_from(encoded_len(changes)).unwrap_or(0));
    encode_changes(changes, &mut bytes);
    let hash = hash(generation, seq, &bytes);
    let path = path(gen_dir, seq, hash);
    let write = || {
        point(&path)?;
        fs::write(&path, &bytes)?;
        point(&path)?;
        sync_data(&File::open(&path)?)?;
        sync_dir(gen_dir)
    };
    if let Err(error) = write() {
        // Not pointed to by anything, so it only takes space; it goes with the next checkpoint if it cannot go now.
        let _ = remove(&path);
        return Err(CommitError::io(path, error));
    }
    Ok(Content::Spilled { len: bytes.len() as u64, hash })
}

/// Reads changes back, verified.
pub(crate) fn read(
    gen_dir: &Path,
    generation: u64,
    seq: u64,
    len: u64,
    expected: u64,
) -> Result<Vec<Change>, OpenError> {
    let path = path(gen_dir, seq, expected);
    read_point(&path).map_err(|e| OpenError::io(&path, e))?;
    let found = fs::metadata(&path).map_err(|e| not_there(&path, e))?;
    if found.len() != len || len > COMMIT_BYTES_MAX {
        return Err(OpenError::corrupt(path, "the file of a large commit has the wrong size"));
    }
    let bytes = fs::read(&path).map_err(|e| OpenError::io(&path, e))?;
    if hash(generation, seq, &bytes) != expected {
        return Err(OpenError::corrupt(path, "the file of a large commit fails its hash"));
    }
    decode_changes(&bytes).ok_or_else(|| OpenError::corrupt(path, "the file of a large commit makes no sense"))
}

/// Reads a file and checks its hash, a piece of it in memory.
pub(crate) fn check(gen_dir: &Path, generation: u64, seq: u64, len: u64, expected: u64) -> Result<(), OpenError> {
    let path = path(gen_dir, seq, expected);
    let corrupt = |what: &str| OpenError::corrupt(&path, what);
    read_point(&path).map_err(|e| OpenError::io(&path, e))?;
    let mut file = File::open(&path).map_err(|e| not_there(&path, e))?;
    let (mut hasher, mut piece, mut left) = (hasher(Purpose::Spill, generation, seq), vec![0; PIECE_BYTES], len);
    loop {
        let count = file.read(&mut piece).map_err(|e| OpenError::io(&path, e))?;
        if count == 0 {
            break;
        }
        hasher.update(piece.get(..count).unwrap_or_default());
        left =
            left.checked_sub(count as u64).ok_or_else(|| corrupt("the file of a large commit has the wrong size"))?;
    }
    if left == 0 && hasher.digest() == expected {
        Ok(())
    } else {
        Err(corrupt("the file of a large commit fails its hash"))
    }
}

/// What it means that a file cannot be had: only one that is not there is missing.
fn not_there(path: &Path, error: io::Error) -> OpenError {
    match error.kind() {
        io::ErrorKind::NotFound => OpenError::corrupt(path, "the file of a large commit is missing"),
        _ => OpenError::io(path, error),
    }
}

/// Removes the files of commits up to `seq`. What cannot be removed now is removed after the next checkpoint.
pub(crate) fn remove_up_to(gen_dir: &Path, seq: u64) {
    let Ok(entries) = fs::read_dir(gen_dir) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let spilled = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next()?.parse::<u64>().ok());
        if spilled.is_some_and(|spilled| spilled <= seq) {
            let _ = remove(&entry.path());
        }
    }
}
