//! Signatures first; bodies follow.

use std::sync::Arc;
use std::time::Duration;

use crate::{Change, CommitError, Info, Key, Store};

/// How long an operation may take before the thread is given up.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// For a commit, a look-up or a batch of a replacement.
    pub step: Duration,
    /// For the end of a replacement.
    pub finish: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { step: Duration::from_secs(30), finish: Duration::from_secs(120) }
    }
}

/// A [`Store`] on a thread of its own. Cheap to clone; the thread ends when the last clone is gone.
#[derive(Clone, Debug)]
pub struct Thread {}

/// A replacement under way on the store's thread. Dropping it leaves the old content.
#[derive(Debug)]
pub struct ThreadReplacement {}

impl Thread {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(_store: Store, _deadlines: Deadlines) -> std::io::Result<Thread> {
        Ok(Thread {})
    }
    /// See [`Store::commit`].
    ///
    /// # Errors
    /// See [`CommitError`].
    pub async fn commit(&self, _meta: Vec<u8>, _changes: Vec<Change>) -> Result<(), CommitError> {
        Err(CommitError::Busy)
    }
    /// See [`Store::get`].
    ///
    /// # Errors
    /// See [`CommitError`].
    pub async fn get(&self, _key: Key) -> Result<Option<Arc<[u8]>>, CommitError> {
        Err(CommitError::Busy)
    }
    /// See [`Store::info`].
    ///
    /// # Errors
    /// See [`CommitError`].
    pub async fn info(&self) -> Result<Info, CommitError> {
        Err(CommitError::Busy)
    }
    /// See [`Store::replace`].
    ///
    /// # Errors
    /// See [`CommitError`].
    pub async fn replace(&self) -> Result<ThreadReplacement, CommitError> {
        Err(CommitError::Busy)
    }
}

impl ThreadReplacement {
    /// Adds records.
    ///
    /// # Errors
    /// See [`CommitError`].
    pub async fn put(&mut self, _records: Vec<(Key, Arc<[u8]>)>) -> Result<(), CommitError> {
        Err(CommitError::Busy)
    }
    /// Switches to the new content, durably.
    ///
    /// # Errors
    /// See [`CommitError`].
    pub async fn finish(self, _meta: Vec<u8>) -> Result<(), CommitError> {
        Err(CommitError::Busy)
    }
}
