//! Full syncs at rest: in memory while somebody sends them, in a file while nobody does. They are asked for once in a while,
//! and would be a quarter of the control plane's memory for ever.
//!
//! The file has no name, so that nothing is left of it after a crash. Where there is no place for it, and where what is on
//! disk has to be encrypted, the bytes stay in memory.

use super::blobs::write;
use crate::changelog::View;
use bytes::Bytes;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use wire::Blob;
use wire::full::blob::{self, Written};
use wire::message::FullBegin;

/// The name that a file has until it is open. One is made at a time.
const FILE: &str = "full-sync";

/// Where full syncs rest: in files of this directory, or nowhere.
#[derive(Debug)]
pub(super) struct Shelf(pub(super) Option<PathBuf>);

/// A full sync that is kept.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) epoch: u64,
    pub(super) begin: FullBegin,
    /// None: the bytes are in memory for good.
    file: Option<Arc<File>>,
    /// The bytes, until the first has them who has waited for them.
    held: Option<Arc<Vec<u8>>>,
    /// The same, while anybody has them.
    used: Weak<Vec<u8>>,
}

/// Bytes that are shared by all who send them.
struct Shared(Arc<Vec<u8>>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Shelf {
    /// The full sync of a view, in memory. `None`: it would be larger than one may be.
    ///
    /// # Errors
    /// See [`super::compress`].
    pub(super) fn make(&self, view: &Arc<View>) -> io::Result<Option<Kept>> {
        let (written, bytes, file) = match self.0.as_deref().map(|dir| in_file(dir, view)) {
            Some(Ok((written, bytes, file))) => (written, bytes, Some(file)),
            failed => {
                if let Some(Err(error)) = failed {
                    tracing::warn!(%error, "a full sync stays in memory");
                }
                let (written, bytes) = write(view, Vec::new())?;
                (written, bytes, None)
            }
        };
        Ok(Kept::new(view.epoch, written, bytes, file))
    }
}

impl Kept {
    fn new(epoch: u64, written: Written, mut bytes: Vec<u8>, file: Option<File>) -> Option<Self> {
        bytes.shrink_to_fit();
        let bytes = Arc::new(bytes);
        let begin = Blob::new(written, Bytes::from_owner(Shared(bytes.clone())))?.begin();
        Some(Self { epoch, begin, file: file.map(Arc::new), used: Arc::downgrade(&bytes), held: Some(bytes) })
    }

    /// All of it, if it is in memory; with a file, it is no longer once all are dropped that this returned.
    pub(super) fn blob(&mut self) -> Option<Blob> {
        let bytes = self.held.clone().or_else(|| self.used.upgrade())?;
        if self.file.is_some() {
            self.held = None;
        }
        Some(Blob::again(self.begin, Bytes::from_owner(Shared(bytes))))
    }

    /// How many bytes of memory it takes while nobody sends it.
    pub(super) fn bytes_at_rest(&self) -> usize {
        self.held.as_ref().map_or(0, |bytes| bytes.len())
    }

    /// The file that it is to be fetched from.
    pub(super) fn file(&self) -> Option<Arc<File>> {
        self.file.clone()
    }

    /// What [`fetch`] returned is in memory again.
    pub(super) fn fetched(&mut self, bytes: Vec<u8>) {
        let bytes = Arc::new(bytes);
        self.used = Arc::downgrade(&bytes);
        self.held = Some(bytes);
    }
}

/// The bytes from the file, as they were.
///
/// # Errors
/// They cannot be read, or are others.
pub(super) fn fetch(file: &File, begin: FullBegin) -> io::Result<Vec<u8>> {
    let bytes = all_of(file)?;
    if blob::digest(bytes.as_slice())? == begin.transfer {
        Ok(bytes)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "the file has changed"))
    }
}

fn in_file(dir: &Path, view: &Arc<View>) -> io::Result<(Written, Vec<u8>, File)> {
    let path = dir.join(FILE);
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(&path)?;
    fs::remove_file(&path)?;
    let (written, file) = write(view, file)?;
    let bytes = all_of(&file)?;
    Ok((written, bytes, file))
}

fn all_of(file: &File) -> io::Result<Vec<u8>> {
    let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}
