//! Signatures first; bodies follow.

use std::path::Path;
use std::sync::Arc;

use crate::{Change, CommitError, Key, OpenError};

/// How a store behaves. `Options::default()` is right for a node.
#[derive(Clone, Debug)]
pub struct Options {
    /// A checkpoint is due after this many commits even if the journal is not full.
    pub checkpoint_commits: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { checkpoint_commits: 4096 }
    }
}

/// Whether the store keeps its promises.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum State {
    /// All is well.
    Good,
    /// Commits are durable, but checkpoints fail; when the journals are full, commits will fail too.
    CheckpointFails(String),
}

/// What the store says about itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Info {
    /// The number of the generation in use; a replacement or a compaction makes the next one.
    pub generation: u64,
    /// The number of commits this content has seen.
    pub seq: u64,
    /// Bytes of the journals that hold commits not yet in a checkpoint.
    pub journal_bytes: u64,
    /// Records in the last checkpoint.
    pub records: u64,
    /// Records changed since the last checkpoint.
    pub pending: u64,
    /// Bytes on disk of everything under the directory, a quarantined store included.
    pub disk_bytes: u64,
    /// Whether all is well.
    pub state: State,
}

/// An open store. One process at a time.
#[derive(Debug)]
pub struct Store {}

/// A new content being built beside the present one.
#[derive(Debug)]
pub struct Replacement<'a> {
    store: &'a mut Store,
}

impl Store {
    /// Opens or creates.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(
        dir: &Path,
        _options: Options,
        _load: &mut dyn FnMut(Key, &[u8]),
    ) -> Result<(Store, Option<Vec<u8>>), OpenError> {
        Err(OpenError::corrupt(dir, "not written yet"))
    }
    /// Makes changes durable.
    ///
    /// # Errors
    /// See [`CommitError`].
    pub fn commit(&mut self, _meta: &[u8], _changes: Vec<Change>) -> Result<(), CommitError> {
        Err(CommitError::Busy)
    }
    /// Starts a replacement of everything.
    ///
    /// # Errors
    /// See [`CommitError`].
    pub fn replace(&mut self) -> Result<Replacement<'_>, CommitError> {
        Ok(Replacement { store: self })
    }
    /// Reads one record.
    ///
    /// # Errors
    /// See [`CommitError`].
    pub fn get(&mut self, _key: Key) -> Result<Option<Arc<[u8]>>, CommitError> {
        Err(CommitError::Busy)
    }
    /// Says how it is.
    pub fn info(&mut self) -> Info {
        Info { generation: 0, seq: 0, journal_bytes: 0, records: 0, pending: 0, disk_bytes: 0, state: State::Good }
    }
}

impl Replacement<'_> {
    /// Adds a record.
    ///
    /// # Errors
    /// See [`CommitError`].
    pub fn put(&mut self, _key: Key, _value: &[u8]) -> Result<(), CommitError> {
        Err(CommitError::Busy)
    }
    /// Switches to the new content, durably.
    ///
    /// # Errors
    /// See [`CommitError`].
    pub fn finish(self, _meta: &[u8]) -> Result<(), CommitError> {
        let _ = self.store;
        Err(CommitError::Busy)
    }
}

/// Moves a corrupt store aside.
///
/// # Errors
/// See [`OpenError`].
pub fn quarantine(dir: &Path) -> Result<(), OpenError> {
    Err(OpenError::corrupt(dir, "not written yet"))
}

/// Deletes everything of a store.
///
/// # Errors
/// See [`OpenError`].
pub fn wipe(dir: &Path) -> Result<(), OpenError> {
    Err(OpenError::corrupt(dir, "not written yet"))
}
