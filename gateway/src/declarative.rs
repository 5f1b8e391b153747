//! `declarative_config`: a file as the source of configuration, for a data plane that has no control plane (yet).
//!
//! A changed file replaces what a file brought, never what a control plane sent; wipe the store first for that.

use crate::snapshot::{Loader, Rejection, Snapshot};
use crate::state::Source;
use model::declarative::{self, FILE_BYTES_MAX, Format, Mistake};
use model::schema::CheckCx;
use model::{Id, Record};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// A file's content, ready to be served and stored.
pub struct File {
    /// Compiled.
    pub snapshot: Snapshot,
    /// As records.
    pub records: Vec<Record>,
    /// Which file, by its bytes.
    pub source: Source,
}

/// Why a file is not served.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("declarative_config: {}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// It is not text.
    #[error("declarative_config: {}: not UTF-8 text", .0.display())]
    NotText(PathBuf),
    /// Something in it is wrong; all of it is said.
    #[error("{}", lines(path, mistakes))]
    Mistakes {
        /// The file.
        path: PathBuf,
        /// Everything that is wrong.
        mistakes: Vec<Mistake>,
    },
    /// It is right and yet does not compile in this data plane.
    #[error("declarative_config: {}: {rejection}", path.display())]
    Rejected {
        /// The file.
        path: PathBuf,
        /// Why.
        rejection: Rejection,
    },
}

fn lines(path: &Path, mistakes: &[Mistake]) -> String {
    mistakes.iter().map(|mistake| format!("{}:{mistake}", path.display())).collect::<Vec<_>>().join("\n")
}

/// Reads a file's bytes.
///
/// # Errors
/// [`FileError::Io`]
pub fn bytes(path: &Path) -> Result<Vec<u8>, FileError> {
    let read = os::file::read_bounded(path, FILE_BYTES_MAX as u64);
    read.map_err(|error| FileError::Io { path: path.to_owned(), error })
}

/// What tells this file from another content of it.
#[must_use]
pub fn source(bytes: &[u8]) -> Source {
    Source::File { hash: xxhash_rust::xxh3::xxh3_64(bytes) }
}

/// Compiles a file's bytes.
///
/// # Errors
/// Everything that is wrong with it.
pub fn compile(path: &Path, bytes: Vec<u8>) -> Result<File, FileError> {
    let source = source(&bytes);
    let text = String::from_utf8(bytes).map_err(|_| FileError::NotText(path.to_owned()))?;
    let format = path.to_str().and_then(Format::of_name);
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis());
    let cx = CheckCx {
        now_ms: i64::try_from(now_ms).unwrap_or(i64::MAX),
        new_id: &Id::random,
        certificates: None,
        keeps_updated_at: true,
    };
    let declared = declarative::read(&text, format, &cx)
        .map_err(|mistakes| FileError::Mistakes { path: path.to_owned(), mistakes })?;
    // A file has one version. Its epoch is 0, that of no control plane.
    let records = declared.to_records(1);
    let rejected = |rejection| FileError::Rejected { path: path.to_owned(), rejection };
    let mut loader = Loader::new(0, 1);
    for record in &records {
        loader.put(record).map_err(rejected)?;
    }
    let snapshot = loader.finish().map_err(rejected)?;
    Ok(File { snapshot, records, source })
}
