//! What has come of a full sync's blob, kept over cuts and restarts, so that the next connection goes on where the last
//! one ended. The blob's name is the digest of its bytes, and so is the file's: what is here is the beginning of that
//! blob or is found out when it is complete.
//!
//! Bytes are gathered in memory and written and synced [`SYNC_BYTES`] at a time, so that a file of any length but its last
//! [`SYNC_BYTES`] survives a power cut. A blob smaller than that never touches the disk. A disk that takes nothing
//! costs only the survival of a restart, and a bound on the size: what cannot be written stays in memory.

use std::fs::{self, File};
use std::io::{self, Cursor, Read, Write};
use std::path::{Path, PathBuf};
use wire::message::{FullBegin, Partial};

/// How much is written and synced at once, and the most that a crash may cost.
pub const SYNC_BYTES: usize = 64 * 1024;
/// The most bytes of a blob that are kept in memory where there is no disk for them.
pub const MEMORY_BYTES_MAX: usize = 16 * 1024 * 1024;

const PREFIX: &str = "incoming-";
const SUFFIX: &str = ".part";

/// At most one blob, or its beginning.
pub struct Staging {
    dir: Option<PathBuf>,
    held: Option<Held>,
}

struct Held {
    transfer: u64,
    file: Option<File>,
    /// Bytes in the file.
    written: u64,
    /// Bytes that follow those of the file.
    tail: Vec<u8>,
}

/// The disk takes nothing and the blob is too large for memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no room for a full sync: the disk takes nothing, and it is larger than {MEMORY_BYTES_MAX} bytes")]
pub struct NoRoom;

impl Staging {
    /// Finds what an earlier process left in `dir`; without a directory everything stays in memory.
    #[must_use]
    pub fn open(dir: Option<PathBuf>) -> Self {
        let held = dir.as_deref().and_then(|dir| match find(dir) {
            Ok(held) => held,
            Err(error) => {
                tracing::warn!(%error, "what was left of a full sync cannot be read; it starts over");
                None
            }
        });
        Self { dir, held }
    }

    /// What is here, for hello.
    #[must_use]
    pub fn partial(&self) -> Option<Partial> {
        self.held.as_ref().map(|held| Partial { transfer: held.transfer, offset: held.length() })
    }

    /// A blob is about to come; says how much of it is here already. Any other one is dropped.
    pub fn begin(&mut self, begin: &FullBegin) -> u64 {
        let fits = |held: &Held| held.transfer == begin.transfer && held.length() <= begin.bytes;
        if !self.held.as_ref().is_some_and(fits) {
            self.discard();
            self.held = Some(Held { transfer: begin.transfer, file: None, written: 0, tail: Vec::new() });
        }
        self.held.as_ref().map_or(0, Held::length)
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// [`NoRoom`]; what was here is gone.
    pub async fn push(&mut self, bytes: &[u8]) -> Result<(), NoRoom> {
        let Some(held) = &mut self.held else { return Ok(()) };
        held.tail.extend_from_slice(bytes);
        if held.tail.len() < SYNC_BYTES {
            return Ok(());
        }
        if let Some(dir) = self.dir.clone()
            && let Err(error) = held.write(dir).await
        {
            tracing::warn!(%error, "a full sync is gathered in memory: it cannot be written");
            self.dir = None;
        }
        if held.tail.len() > MEMORY_BYTES_MAX {
            self.discard();
            return Err(NoRoom);
        }
        Ok(())
    }

    /// Everything that is here, from the first byte on.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(&self) -> io::Result<impl Read + '_> {
        let held = self.held.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let file: Box<dyn Read> = match (&self.dir, &held.file) {
            (Some(dir), Some(_)) => Box::new(File::open(path(dir, held.transfer))?.take(held.written)),
            _ => Box::new(io::empty()),
        };
        Ok(file.chain(Cursor::new(&held.tail)))
    }

    /// Forgets what is here: it is applied, refused, damaged or superseded.
    pub fn discard(&mut self) {
        if let (Some(dir), Some(Held { transfer, file: Some(_), .. })) = (&self.dir, self.held.take()) {
            // A file that stays is found and replaced by the next process.
            let _ = fs::remove_file(path(dir, transfer));
        }
    }
}

impl Held {
    fn length(&self) -> u64 {
        self.written + self.tail.len() as u64
    }

    /// Moves the tail to the file. On failure all of it is in the tail, and the file is gone.
    async fn write(&mut self, dir: PathBuf) -> io::Result<()> {
        let (file, transfer, tail) = (self.file.take(), self.transfer, std::mem::take(&mut self.tail));
        let path = path(&dir, transfer);
        let writing = tokio::task::spawn_blocking(move || {
            let result = append(file, &dir, transfer, &tail);
            (result, tail)
        });
        let (result, mut tail) = writing.await.map_err(io::Error::other)?;
        match result {
            Ok(file) => {
                self.written += tail.len() as u64;
                tail.clear();
                (self.file, self.tail) = (Some(file), tail);
                Ok(())
            }
            Err(error) => {
                let mut all = Vec::new();
                if self.written > 0 {
                    File::open(&path)?.take(self.written).read_to_end(&mut all)?;
                }
                let _ = fs::remove_file(&path);
                all.extend_from_slice(&tail);
                (self.written, self.tail) = (0, all);
                Err(error)
            }
        }
    }
}

fn append(file: Option<File>, dir: &Path, transfer: u64, bytes: &[u8]) -> io::Result<File> {
    let mut file = match file {
        Some(file) => file,
        None => {
            let file = File::options().create(true).truncate(true).write(true).open(path(dir, transfer))?;
            File::open(dir)?.sync_all()?;
            file
        }
    };
    file.write_all(bytes)?;
    file.sync_data()?;
    Ok(file)
}

fn path(dir: &Path, transfer: u64) -> PathBuf {
    dir.join(format!("{PREFIX}{transfer:016x}{SUFFIX}"))
}

/// The only file of ours, cut to what is certain to have been synced; of several, which no run leaves, none.
fn find(dir: &Path) -> io::Result<Option<Held>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let middle = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX));
        if let Some(middle) = middle {
            found.push((u64::from_str_radix(middle, 16).ok(), entry.path()));
        }
    }
    match found.as_slice() {
        [(Some(transfer), path)] => reopen(*transfer, path).map(Some),
        many => {
            many.iter().try_for_each(|(_, path)| fs::remove_file(path))?;
            Ok(None)
        }
    }
}

/// The next piece is written only when the one before has been synced, so all but the last one has been.
fn reopen(transfer: u64, path: &Path) -> io::Result<Held> {
    let file = File::options().append(true).open(path)?;
    let step = SYNC_BYTES as u64;
    let written = file.metadata()?.len().saturating_sub(1) / step * step;
    file.set_len(written)?;
    Ok(Held { transfer, file: Some(file), written, tail: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::message::CODEC_ZSTD;

    fn begin(transfer: u64) -> FullBegin {
        let bytes = 1 << 20;
        FullBegin { transfer, version: 1, root: 0, count: 0, codec: CODEC_ZSTD, plain: 1 << 21, bytes, confirmed: 0 }
    }

    fn pattern(count: usize) -> Vec<u8> {
        (0..count).map(|at| (at / 7) as u8).collect()
    }

    fn all(staging: &Staging) -> Vec<u8> {
        let mut bytes = Vec::new();
        staging.read().unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    }

    async fn push(staging: &mut Staging, bytes: &[u8]) {
        for part in bytes.chunks(9_999) {
            staging.push(part).await.unwrap();
        }
    }

    fn files(dir: &Path) -> usize {
        fs::read_dir(dir).unwrap().count()
    }

    #[tokio::test]
    async fn a_restart_loses_less_than_two_pieces_and_a_new_connection_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = pattern(5 * SYNC_BYTES);
        let mut staging = Staging::open(Some(dir.path().to_owned()));
        assert_eq!(staging.begin(&begin(7)), 0);
        push(&mut staging, &bytes[..300_000]).await;
        assert_eq!(staging.begin(&begin(7)), 300_000, "another connection");
        drop(staging);

        let mut staging = Staging::open(Some(dir.path().to_owned()));
        let kept = staging.begin(&begin(7)) as usize;
        assert!(kept <= 300_000 && 300_000 - kept < 2 * SYNC_BYTES, "{kept}");
        assert_eq!(staging.partial(), Some(Partial { transfer: 7, offset: kept as u64 }));
        push(&mut staging, &bytes[kept..]).await;
        assert_eq!(all(&staging), bytes);
        staging.discard();
        assert_eq!((staging.partial(), files(dir.path())), (None, 0));
    }

    #[tokio::test]
    async fn another_blob_takes_the_place_of_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let mut staging = Staging::open(Some(dir.path().to_owned()));
        staging.begin(&begin(7));
        push(&mut staging, &pattern(100_000)).await;
        assert_eq!(files(dir.path()), 1);
        assert_eq!(staging.begin(&begin(8)), 0);
        push(&mut staging, &pattern(100_000)).await;
        assert_eq!(files(dir.path()), 1);
        assert_eq!(all(&staging), pattern(100_000));
    }

    #[tokio::test]
    async fn a_disk_that_takes_nothing_costs_memory_up_to_a_bound() {
        let dir = tempfile::tempdir().unwrap();
        let mut staging = Staging::open(Some(dir.path().join("missing")));
        staging.begin(&begin(7));
        push(&mut staging, &pattern(200_000)).await;
        assert_eq!(all(&staging), pattern(200_000));
        let more = vec![0; MEMORY_BYTES_MAX];
        assert_eq!(staging.push(&more).await, Err(NoRoom));
        assert_eq!(staging.partial(), None);
    }

    #[tokio::test]
    async fn a_disk_that_fails_on_the_way_loses_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = pattern(4 * SYNC_BYTES);
        let mut staging = Staging::open(Some(dir.path().to_owned()));
        staging.begin(&begin(7));
        push(&mut staging, &bytes[..100_000]).await;
        // Cannot be written to any longer, as a disk that went read-only.
        let held = staging.held.as_mut().unwrap();
        held.file = Some(File::open(path(dir.path(), 7)).unwrap());
        push(&mut staging, &bytes[100_000..]).await;
        assert_eq!(all(&staging), bytes);
    }
}
