//! The store: what is appended where, when a checkpoint is made, and what an error leaves behind.
//!
//! A commit is a frame in the journal, then an entry in `recent`. When the journal is full, `recent` is frozen, the
//! other journal goes on, and a thread of its own brings the frozen changes into sled; commits do not wait for that
//! unless the other journal is full too. `load.rs` is the way back.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::archive::Archive;
use crate::checkpoint::Failure;
use crate::cipher::{Cipher, Mode, What};
use crate::compact::Compaction;
use crate::frame::{Content, Frame, SPILLED_BYTES, encoded_len, frame_len};
use crate::journal::{FRAMES_START, JOURNAL_BYTES, Journal};
use crate::layout::{self, Lock, generation_dir, set_current, size};
use crate::options::{Info, Options, State};
use crate::pending::Pending;
use crate::report::Reports;
use crate::run::Home;
use crate::scrub::Scrub;
use crate::seal::Root;
use crate::sled_thread::{Anew, Checkpoint, Frozen, Worker};
use crate::spill;
use crate::tree::{Tree, TreeError};
use crate::{COMMIT_BYTES_MAX, Change, CommitError, Key, META_BYTES_MAX, OpenError, VALUE_BYTES_MAX};

/// An open store. One at a time per directory, in all processes.
#[derive(Debug)]
pub struct Store {
    pub(crate) dir: PathBuf,
    pub(crate) options: Options,
    pub(crate) generation: u64,
    pub(crate) journal: Journal,
    /// The last commit.
    pub(crate) seq: u64,
    /// Its meta as it is kept, and as it was given.
    pub(crate) meta: Option<Vec<u8>>,
    pub(crate) said: Option<Vec<u8>>,
    /// What seals values and metas.
    pub(crate) cipher: Cipher,
    /// Since the base of the journal being written.
    pub(crate) recent: Pending,
    /// Between the checkpoint and that base: the other journal's commits.
    pub(crate) frozen: Option<Arc<Frozen>>,
    pub(crate) checkpoint: Option<Checkpoint>,
    pub(crate) worker: Worker,
    /// How long sled may take for a checkpoint.
    pub(crate) patience: Duration,
    pub(crate) compaction: Option<Compaction>,
    /// How far looking through the files has come.
    pub(crate) scrub: Scrub,
    /// What to report when the checkpoint under way has made something good.
    pub(crate) mending: Option<String>,
    /// What was wrong with sled, while it is made anew.
    pub(crate) healing: Option<String>,
    /// Why the next checkpoint is to write the archive anew.
    pub(crate) anew: Option<Anew>,
    /// A thread that was given up has the files of this generation's sled open.
    pub(crate) stuck: bool,
    /// How many numbers the next generation leaves out.
    pub(crate) left_out: u64,
    /// Lives as long as somebody builds the next generation.
    pub(crate) builder: Weak<()>,
    /// The content as of the last checkpoint.
    pub(crate) root: Root,
    /// That content, outside of sled; none where it could not be written.
    pub(crate) archive: Option<Arc<Archive>>,
    pub(crate) failure: Option<Failure>,
    /// The next journal's header may be on disk: nothing may be appended to this one any more.
    pub(crate) turning: bool,
    /// A switch to another generation failed half-way: `CURRENT` must be set again before anything else.
    pub(crate) unsure: bool,
    /// Nothing is written before that has changed.
    pub(crate) read_only: bool,
    pub(crate) reports: Reports,
    /// Last, so that it is dropped last.
    pub(crate) lock: Lock,
}

impl Store {
    /// Makes changes durable as one step: after a crash all of them are there, or none. The changes of one commit are
    /// applied in order. `meta` is what [`Store::open`] will return: who and where this content is.
    ///
    /// # Errors
    /// See [`CommitError`]. Nothing is applied then, and the store stays usable; but what failed in the middle of a
    /// write may turn out to be there after a crash.
    pub fn commit(&mut self, meta: &[u8], changes: Vec<Change>) -> Result<(), CommitError> {
        let said = meta.to_vec();
        let (meta, changes) = self.sealed(meta, changes)?;
        check_sizes(&meta, &changes)?;
        if let Some(why) = self.reports.ruined() {
            return Err(CommitError::Corrupt(why));
        }
        self.settle_writing()?;
        self.poll();
        let content = encoded_len(&changes);
        let spills = frame_len(meta.len(), content) > JOURNAL_BYTES - FRAMES_START;
        let len = frame_len(meta.len(), if spills { SPILLED_BYTES } else { content });
        self.make_room(len, content)?;
        let (prev, seq) = (self.seq, self.seq + 1);
        let (frame, changes) = if spills {
            let content = spill::write(&self.generation_dir(), self.generation, seq, &changes)?;
            (Frame { prev, seq, meta, content }, changes)
        } else {
            (Frame { prev, seq, meta, content: Content::Here(changes.clone()) }, changes)
        };
        self.journal.append(&frame).map_err(|e| CommitError::io(self.journal.path(), e))?;
        self.seq = seq;
        (self.meta, self.said) = (Some(frame.meta), Some(said));
        self.recent.add(changes);
        Ok(())
    }

    /// A commit as it is kept.
    fn sealed(&self, meta: &[u8], mut changes: Vec<Change>) -> Result<(Vec<u8>, Vec<Change>), CommitError> {
        if self.cipher.mode() == Mode::Off {
            return Ok((meta.to_vec(), changes));
        }
        for change in &mut changes {
            if let Some(value) = change.value.take() {
                change.value = Some(self.cipher.seal(What::Record(&change.key), value)?);
            }
        }
        Ok((self.cipher.seal(What::Meta, meta.into())?.to_vec(), changes))
    }

    /// Reads one record: from memory if it was changed lately, else a few chunks of the archive, which takes well under a
    /// millisecond on a disk that does. Only where the archive fails it opens sled, which takes tens of milliseconds.
    ///
    /// # Errors
    /// [`CommitError::Corrupt`] if the record fails its checks; otherwise what the operating system said.
    pub fn get(&mut self, key: Key) -> Result<Option<Arc<[u8]>>, CommitError> {
        let frozen = self.frozen.as_ref().and_then(|frozen| frozen.changes.get(&key));
        if let Some(value) = self.recent.get(&key).or(frozen) {
            return self.opened(&key, value);
        }
        match self.archive.as_ref().map(|archive| archive.get(&key)) {
            Some(Ok(value)) => return self.opened(&key, value.map(Arc::from)),
            Some(Err(error)) => self.archive_failed(&error),
            None => {}
        }
        self.wait();
        if self.checkpoint.is_some() {
            return Err(self.checkpoint_error());
        }
        self.end_compaction()?;
        let dir = self.generation_dir();
        let read = || {
            let tree = Tree::open(&dir, self.generation)?;
            let value = tree.get(&key)?;
            tree.close()?;
            Ok(value.map(Arc::from))
        };
        let value = read().map_err(|e: TreeError| e.into_commit(&dir))?;
        self.opened(&key, value)
    }

    /// The next checkpoint writes the archive anew. Until then it is of no use, or, where it only could not be read, the
    /// better one of two doubtful copies.
    pub(crate) fn archive_failed(&mut self, error: &TreeError) {
        tracing::warn!(%error, "store: the archive fails; sled is read instead");
        if let TreeError::Corrupt(_) = error {
            self.archive = None;
        }
        self.anew = Some(Anew::because(error));
    }

    fn opened(&self, key: &Key, kept: Option<Arc<[u8]>>) -> Result<Option<Arc<[u8]>>, CommitError> {
        let Some(kept) = kept else { return Ok(None) };
        let value = self.cipher.open(What::Record(key), kept);
        value.map(Some).ok_or_else(|| CommitError::Corrupt("a record does not open with its key".into()))
    }

    /// The meta of the last commit.
    pub fn meta(&self) -> Option<&[u8]> {
        self.said.as_deref()
    }

    /// What the store says about itself.
    pub fn info(&mut self) -> Info {
        self.poll();
        Info {
            generation: self.generation,
            seq: self.seq,
            journal_bytes: self.journal.used(),
            records: self.root.records,
            pending: (self.recent.len() + self.frozen.as_ref().map_or(0, |frozen| frozen.changes.len())) as u64,
            archive_bytes: self.archive.as_ref().map_or(0, |archive| archive.bytes()),
            disk_bytes: size(&self.dir),
            encryption: self.cipher.mode(),
            state: match &self.failure {
                _ if self.read_only => State::ReadOnly,
                None => State::Good,
                Some(failure) => State::CheckpointFails(failure.text.clone()),
            },
        }
    }

    /// Whether nothing can be written now.
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Looks whether a file system that was read-only can be written by now, and if so, does what opening left out.
    ///
    /// # Errors
    /// See [`CommitError`]; [`CommitError::ReadOnly`] as long as nothing has changed.
    pub fn retry_writing(&mut self) -> Result<(), CommitError> {
        self.settle_writing()
    }

    /// What was wrong with the store's files, for whoever wants to ask later on.
    pub fn reports(&self) -> Reports {
        self.reports.clone()
    }

    pub(crate) fn home(&self) -> Home {
        Home::new(&self.generation_dir(), self.generation, &self.cipher)
    }

    pub(crate) fn generation_dir(&self) -> PathBuf {
        generation_dir(&self.dir, self.generation)
    }

    /// Makes sure that this store may write. After a file system was read-only, that is the end of opening; after a switch
    /// that failed half-way, it says again which generation is the one in use.
    pub(crate) fn settle_writing(&mut self) -> Result<(), CommitError> {
        if self.read_only {
            self.begin_writing()?;
        }
        if self.unsure {
            set_current(&self.dir, self.generation).map_err(|e| CommitError::io(&self.dir, e))?;
            self.unsure = false;
        }
        Ok(())
    }

    /// What opening left out because the file system was read-only, if it is no more.
    fn begin_writing(&mut self) -> Result<(), CommitError> {
        self.lock.retry_writing(&self.dir).map_err(|error| match error {
            OpenError::ReadOnly(_) => CommitError::ReadOnly,
            error => CommitError::io(&self.dir, io::Error::other(error)),
        })?;
        let settled = self.journal.reopen().and_then(|()| {
            self.archive.iter().try_for_each(|archive| archive.settle())?;
            layout::sync_dir(&self.generation_dir())?;
            layout::sync_dir(&self.dir)
        });
        settled.map_err(|e| CommitError::io(&self.dir, e))?;
        self.read_only = false;
        tracing::info!("store: the file system can be written again");
        Ok(())
    }
}

impl Drop for Store {
    /// Waits for a checkpoint or a healing under way, so that the next one to open finds sled closed, and whole. A hang is
    /// not waited for.
    fn drop(&mut self) {
        if self.wait_or_hang() {
            self.give_up_thread();
        }
        self.wait_for_healing(Instant::now() + self.patience);
        let _ = self.end_compaction();
    }
}

pub(crate) fn check_sizes(meta: &[u8], changes: &[Change]) -> Result<(), CommitError> {
    if meta.len() > META_BYTES_MAX {
        return Err(CommitError::MetaTooLarge(meta.len()));
    }
    let values = changes.iter().filter_map(|change| change.value.as_ref());
    if let Some(value) = values.clone().find(|value| value.len() > VALUE_BYTES_MAX) {
        return Err(CommitError::ValueTooLarge(value.len()));
    }
    let len = encoded_len(changes);
    if len > COMMIT_BYTES_MAX { Err(CommitError::CommitTooLarge(len)) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
