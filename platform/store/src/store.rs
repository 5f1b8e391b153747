//! The store: what is appended where, when a checkpoint is made, and what an error leaves behind.
//!
//! A commit is a frame in the journal, then an entry in `recent`. When the journal is full, `recent` is frozen, the
//! other journal goes on, and a thread of its own brings the frozen changes into sled; commits do not wait for that
//! unless the other journal is full too. `load.rs` is the way back.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use crate::archive::Archive;
use crate::build::Builder;
use crate::cipher::{Cipher, Encryption, Mode, What};
use crate::compact::Compaction;
use crate::frame::{Content, Frame, SPILLED_BYTES, encoded_len, frame_len};
use crate::journal::{FRAMES_START, JOURNAL_BYTES, Journal};
use crate::layout::{self, Lock, generation_dir, remove, set_current, size};
use crate::pending::Pending;
use crate::quarantine;
use crate::report::{Progress, Reports};
use crate::seal::Root;
use crate::sled_thread::{Checkpoint, Frozen, Made, Outcome, Worker};
use crate::spill;
use crate::tree::{Tree, TreeError};
use crate::{COMMIT_BYTES_MAX, Change, CommitError, Key, META_BYTES_MAX, OpenError, VALUE_BYTES_MAX};

/// Commits not yet in a frozen state hold at most about so much memory; a checkpoint must come before more.
const RECENT_BYTES_MAX: u64 = 2 * COMMIT_BYTES_MAX;
/// With so much memory held, a checkpoint is due although the journal has room (frames of large commits are small).
const RECENT_BYTES_DUE: u64 = 2 * JOURNAL_BYTES;
/// A failed checkpoint is tried again after so many commits, or when there is no room left without it.
const RETRY_COMMITS: u32 = 64;

/// How a store behaves. `Options::default()` is right for a node.
#[derive(Clone, Debug)]
pub struct Options {
    /// A checkpoint is due after so many commits even if the journal is not full.
    pub checkpoint_commits: u32,
    /// Files of a checkpoint are written anew when they exceed two and a half times what lives in them, plus so many
    /// bytes. sled's segments have half a MiB, so it takes some until there is anything to gain.
    pub compaction_floor: u64,
    /// Whether and how the content is encrypted.
    pub encryption: Encryption,
    /// Whether an older content that is whole is better than none where the newest fails its checks. For those only who can
    /// have again what is lost, and who look at [`Store::reports`].
    pub salvage: bool,
    /// Who hears how far a long opening has come.
    pub progress: Progress,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            checkpoint_commits: 4096,
            compaction_floor: 8 * 1024 * 1024,
            encryption: Encryption::default(),
            salvage: false,
            progress: Progress::default(),
        }
    }
}

/// Whether the store keeps its promises.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum State {
    /// All is well.
    Good,
    /// Commits are durable, but checkpoints fail; when the journals are full, commits will fail too.
    CheckpointFails(String),
    /// The file system is read-only: what is there is served, and commits fail until that changes.
    ReadOnly,
}

/// What the store says about itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Info {
    /// The number of the generation in use; a replacement makes the next one.
    pub generation: u64,
    /// The number of commits that this content has seen.
    pub seq: u64,
    /// Bytes of frames in the journal being written.
    pub journal_bytes: u64,
    /// Records in the last checkpoint.
    pub records: u64,
    /// Records changed since the last checkpoint.
    pub pending: u64,
    /// Bytes of the archive; 0 where there is none.
    pub archive_bytes: u64,
    /// Bytes of all files under the directory, a quarantined store included.
    pub disk_bytes: u64,
    /// How the content is encrypted.
    pub encryption: Mode,
    /// Whether all is well.
    pub state: State,
}

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
    pub(crate) compaction: Option<Compaction>,
    /// What was wrong with sled, while it is made anew.
    pub(crate) healing: Option<String>,
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

/// A checkpoint that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    text: String,
    disk_full: bool,
    /// The number of commits in `recent` at which it is tried again.
    retry_at: u32,
}

/// What becomes of the generation before a switch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Before {
    /// It is of no use any more.
    Removed,
    /// Something was wrong with it that somebody may want to look at.
    SetAside,
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

    /// Starts a replacement of the whole content: a new generation beside the present one, which stays in use until
    /// [`Replacement::finish`].
    ///
    /// # Errors
    /// See [`CommitError`].
    pub fn replace(&mut self) -> Result<Replacement<'_>, CommitError> {
        let builder = self.start_builder()?;
        Ok(Replacement { store: self, builder })
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
            Some(Err(error)) => self.archive_failed(&error.to_string()),
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
        let value = read().map_err(|e: crate::tree::TreeError| e.into_commit(&dir))?;
        self.opened(&key, value)
    }

    /// The archive is of no use any more; the next checkpoint writes it anew.
    fn archive_failed(&mut self, why: &str) {
        tracing::warn!(why, "store: the archive is damaged; sled is read instead");
        self.archive = None;
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

    pub(crate) fn generation_dir(&self) -> PathBuf {
        generation_dir(&self.dir, self.generation)
    }

    /// Sees to it that a frame of `len` bytes can be appended.
    fn make_room(&mut self, len: u64, content: u64) -> Result<(), CommitError> {
        let full = self.turning || !self.journal.fits(len) || self.recent.bytes() + content > RECENT_BYTES_MAX;
        let due = self.recent.commits() >= self.options.checkpoint_commits || self.recent.bytes() >= RECENT_BYTES_DUE;
        if full && !self.recent.is_empty() {
            self.settle()?;
            self.turn()?;
        } else if due && self.frozen.is_none() && self.compaction.is_none() && !self.recent.is_empty() {
            self.turn()?;
        } else if self.may_start_checkpoint() {
            self.start_checkpoint();
        }
        Ok(())
    }

    /// Goes on in the other journal and freezes what this one brought. The frozen state before must be settled.
    fn turn(&mut self) -> Result<(), CommitError> {
        self.give_up_compaction();
        self.turning = true;
        let next = self.journal.next(&self.generation_dir(), self.seq);
        self.journal = next.map_err(|e| CommitError::io(self.journal.path(), e))?;
        self.turning = false;
        let changes = std::mem::take(&mut self.recent);
        self.frozen = Some(Arc::new(Frozen { base: self.root.seq, seq: self.seq, meta: self.meta.clone(), changes }));
        self.start_checkpoint();
        Ok(())
    }

    fn may_start_checkpoint(&self) -> bool {
        let retry = self.failure.as_ref().is_none_or(|failure| self.recent.commits() >= failure.retry_at);
        self.frozen.is_some() && self.checkpoint.is_none() && !self.is_healing() && retry
    }

    fn start_checkpoint(&mut self) {
        let Some(frozen) = self.frozen.clone() else { return };
        let archive = self.archive.clone();
        match Checkpoint::start(&self.worker, &self.generation_dir(), self.generation, frozen, archive) {
            Ok(checkpoint) => self.checkpoint = Some(checkpoint),
            Err(error) => self.checkpoint_failed(error.to_string(), false),
        }
    }

    /// Takes note of a compaction or a checkpoint that has ended.
    fn poll(&mut self) {
        self.poll_compaction();
        if let Some(outcome) = self.checkpoint.as_ref().map(Checkpoint::poll) {
            self.note(outcome);
        }
    }

    /// Waits for a checkpoint under way, up to its deadline.
    pub(crate) fn wait(&mut self) {
        let Some(outcome) = self.checkpoint.as_ref().map(Checkpoint::wait) else { return };
        if matches!(outcome, Outcome::Running) {
            self.checkpoint_failed("sled does not answer".into(), false);
        }
        self.note(outcome);
    }

    fn note(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Running => {}
            Outcome::Done(made) => {
                let Made { root, archive, sled_bytes } = *made;
                self.checkpoint = None;
                self.frozen = None;
                self.failure = None;
                self.root = root;
                self.archive = Some(archive);
                spill::remove_up_to(&self.generation_dir(), self.root.seq);
                layout::keep_reserve(&self.dir);
                self.compact_if_due(sled_bytes);
            }
            Outcome::Failed(error) => {
                self.checkpoint = None;
                self.checkpoint_failed(error.to_string(), error.is_disk_full());
                if let TreeError::Corrupt(what) = error {
                    self.start_healing(&what);
                }
            }
        }
    }

    fn checkpoint_failed(&mut self, text: String, disk_full: bool) {
        tracing::warn!(error = %text, "store: a checkpoint failed; the journals carry on");
        self.failure = Some(Failure { text, disk_full, retry_at: self.recent.commits() + RETRY_COMMITS });
    }

    /// Brings the frozen changes into sled, whatever it takes within the deadline.
    fn settle(&mut self) -> Result<(), CommitError> {
        self.wait();
        if self.frozen.is_some() && self.checkpoint.is_none() && !self.is_healing() {
            self.start_checkpoint();
            self.wait();
        }
        self.wait_for_healing();
        if self.frozen.is_none() { Ok(()) } else { Err(self.checkpoint_error()) }
    }

    fn checkpoint_error(&self) -> CommitError {
        match &self.failure {
            Some(failure) if failure.disk_full => CommitError::DiskFull,
            Some(failure) => CommitError::Checkpoint(failure.text.clone()),
            None => CommitError::Checkpoint("it is still under way".into()),
        }
    }

    /// Makes sure that this store may write. After a file system was read-only, that is the end of opening; after a switch
    /// that failed half-way, it says again which generation is the one in use.
    fn settle_writing(&mut self) -> Result<(), CommitError> {
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

    pub(crate) fn start_builder(&mut self) -> Result<Builder, CommitError> {
        self.settle_writing()?;
        self.end_compaction()?;
        let cipher = Cipher::new(&self.options.encryption)?.ok_or(CommitError::Encryption)?;
        let builder = Builder::start(&self.dir, self.generation + 1, cipher)?;
        self.builder = builder.alive();
        Ok(builder)
    }

    /// Makes a finished new generation, which the caller filled, the one in use.
    pub(crate) fn finish_builder(&mut self, builder: Builder, meta: &[u8]) -> Result<(), CommitError> {
        self.take_over(builder, Some(meta.to_vec()))
    }

    /// As [`Store::finish_builder`], also for a content that has no meta yet.
    pub(crate) fn take_over(&mut self, builder: Builder, said: Option<Vec<u8>>) -> Result<(), CommitError> {
        let cipher = builder.cipher().clone();
        let meta = said.as_deref().map(|said| cipher.seal(What::Meta, said.into())).transpose()?;
        let meta = meta.map(|meta| meta.to_vec());
        check_sizes(meta.as_deref().unwrap_or_default(), &[])?;
        self.settle_writing()?;
        self.wait();
        let archive = builder.finish(self.seq + 1, meta)?;
        let dir = generation_dir(&self.dir, self.generation + 1);
        let journal = Journal::open_first(&dir, self.generation + 1).map_err(|e| CommitError::io(&dir, e))?;
        self.switch(journal, archive, Before::Removed)?;
        self.seq = self.root.seq;
        self.meta.clone_from(&self.root.meta);
        (self.said, self.cipher) = (said, cipher);
        self.recent = Pending::default();
        Ok(())
    }

    /// Makes the next generation, of which everything is on disk, the one in use; the old one goes.
    pub(crate) fn switch(&mut self, journal: Journal, archive: Archive, before: Before) -> Result<(), CommitError> {
        if let Err(error) = set_current(&self.dir, self.generation + 1) {
            self.unsure = true;
            return Err(CommitError::io(&self.dir, error));
        }
        let old = self.generation_dir();
        self.generation += 1;
        self.root = archive.root().clone();
        self.archive = Some(Arc::new(archive));
        self.journal = journal;
        self.turning = false;
        self.frozen = None;
        self.failure = None;
        if self.checkpoint.take().is_some() {
            // It hangs, in files that nobody needs any more. Let it; sled gets another thread.
            match Worker::start() {
                Ok(worker) => self.worker = worker,
                Err(error) => tracing::warn!(%error, "store: no thread for sled, its checkpoints will fail"),
            }
        }
        let gone = match before {
            Before::Removed => remove(&old),
            Before::SetAside => quarantine::set_generation_aside(&self.dir, &old),
        };
        if let Err(error) = gone {
            tracing::warn!(%error, "store: the generation before cannot be removed now; the next open will try again");
        }
        Ok(())
    }
}

impl Drop for Store {
    /// Waits for a checkpoint or a healing under way, so that the next one to open finds sled closed, and whole. A hang is
    /// not waited for.
    fn drop(&mut self) {
        self.wait();
        self.wait_for_healing();
        let _ = self.end_compaction();
    }
}

/// A new content being built beside the present one. Dropping it leaves the present one.
#[derive(Debug)]
pub struct Replacement<'a> {
    store: &'a mut Store,
    builder: Builder,
}

impl Replacement<'_> {
    /// Adds a record; one put before under the same key is replaced. Not durable before [`Replacement::finish`].
    ///
    /// # Errors
    /// See [`CommitError`]. The replacement is of no use any more then, except after `ValueTooLarge`.
    pub fn put(&mut self, key: Key, value: &[u8]) -> Result<(), CommitError> {
        self.builder.put(&key, value)
    }

    /// Makes the new content durable and switches to it in one step: after a crash it is all there, or the old is.
    ///
    /// # Errors
    /// See [`CommitError`]. The old content stays.
    pub fn finish(self, meta: &[u8]) -> Result<(), CommitError> {
        self.store.finish_builder(self.builder, meta)
    }
}

fn check_sizes(meta: &[u8], changes: &[Change]) -> Result<(), CommitError> {
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
mod tests {
    use super::*;
    use std::fs;

    fn put(n: u8, len: usize) -> Vec<Change> {
        let key = Key { table: 0, kind: 0, id: [n; 16] };
        vec![Change { key, value: Some(Arc::from(vec![n; len])) }]
    }

    fn open(dir: &std::path::Path) -> (Store, Option<Vec<u8>>, Vec<u8>) {
        let mut found = Vec::new();
        let (store, meta) = Store::open(dir, Options::default(), &mut |key, _| found.push(key.id[0])).unwrap();
        (store, meta, found)
    }

    #[test]
    fn a_commit_that_cannot_be_written_changes_nothing_and_can_be_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let (mut store, ..) = open(dir.path());
        store.commit(b"one", put(1, 100)).unwrap();
        // A descriptor that cannot be written to stands in for a disk that fails.
        let failing = fs::File::open(store.journal.path()).unwrap();
        let good = store.journal.swap_file(failing);
        assert!(matches!(store.commit(b"two", put(2, 100)), Err(CommitError::Io { .. })));
        assert_eq!(store.get(put(2, 0)[0].key).unwrap(), None);
        assert_eq!(store.meta(), Some(&b"one"[..]));
        assert_eq!(store.info().seq, 1);
        store.journal.swap_file(good);
        store.commit(b"three", put(3, 100)).unwrap();
        drop(store);
        let (_, meta, found) = open(dir.path());
        assert_eq!((meta.as_deref(), found), (Some(&b"three"[..]), vec![1, 3]));
    }

    #[test]
    fn a_journal_that_cannot_be_started_stops_commits_until_it_can() {
        let dir = tempfile::tempdir().unwrap();
        let (mut store, ..) = open(dir.path());
        let (there, away) = (dir.path().join("gen-1/j1"), dir.path().join("gen-1/away"));
        store.commit(b"one", put(1, 300_000)).unwrap();
        fs::rename(&there, &away).unwrap();
        for _ in 0..3 {
            // Even what would still fit: the next journal may have been begun.
            assert!(matches!(store.commit(b"two", put(2, 300_000)), Err(CommitError::Io { .. })));
            assert!(matches!(store.commit(b"two", put(2, 10)), Err(CommitError::Io { .. })));
        }
        fs::rename(&away, &there).unwrap();
        store.commit(b"three", put(3, 10)).unwrap();
        drop(store);
        let (_, meta, found) = open(dir.path());
        assert_eq!((meta.as_deref(), found), (Some(&b"three"[..]), vec![1, 3]));
    }

    #[test]
    fn checkpoints_that_fail_are_carried_by_the_journals_until_both_are_full() {
        let dir = tempfile::tempdir().unwrap();
        let (mut store, ..) = open(dir.path());
        let (there, away) = (dir.path().join("gen-1/sled"), dir.path().join("gen-1/away"));
        fs::rename(&there, &away).unwrap();
        // Else it would be healed.
        store.archive = None;
        let mut commits = 0;
        let error = loop {
            match store.commit(b"meta", put(commits, 100_000)) {
                Ok(()) => commits += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(error, CommitError::Checkpoint(_)), "{error}");
        assert_eq!(commits, 10, "five commits in each journal");
        assert!(matches!(store.info().state, State::CheckpointFails(_)));
        fs::rename(&away, &there).unwrap();
        store.commit(b"end", put(commits, 100_000)).unwrap();
        store.wait();
        assert_eq!(store.info().state, State::Good);
        drop(store);
        let (_, meta, found) = open(dir.path());
        assert_eq!((meta.as_deref(), found), (Some(&b"end"[..]), (0..=10).collect()));
    }

    #[test]
    fn a_switch_that_fails_leaves_the_old_content_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let (mut store, ..) = open(dir.path());
        store.commit(b"old", put(1, 10)).unwrap();
        // A directory of that name lets no temporary file be written.
        let obstacle = dir.path().join("CURRENT.tmp");
        fs::create_dir(&obstacle).unwrap();
        let mut replacement = store.replace().unwrap();
        replacement.put(put(2, 0)[0].key, b"new").unwrap();
        assert!(replacement.finish(b"new").is_err());
        assert!(store.commit(b"old", put(3, 10)).is_err(), "which generation is in use is not certain");
        fs::remove_dir(&obstacle).unwrap();
        store.commit(b"older", put(3, 10)).unwrap();
        drop(store);
        let (_, meta, found) = open(dir.path());
        assert_eq!((meta.as_deref(), found), (Some(&b"older"[..]), vec![1, 3]));
    }

    #[test]
    fn a_frame_of_a_failed_commit_in_a_journal_left_since_is_not_replayed() {
        let dir = tempfile::tempdir().unwrap();
        let (mut store, ..) = open(dir.path());
        store.commit(b"one", put(1, 300_000)).unwrap();
        // The frame reaches the disk although the commit fails, as when only the sync reports an error.
        let frame = Frame { prev: 1, seq: 2, meta: b"failed".to_vec(), content: Content::Here(put(9, 10)) };
        store.journal.append(&frame).unwrap();
        store.journal.step_back(512);
        fs::rename(dir.path().join("gen-1/sled"), dir.path().join("gen-1/away")).unwrap();
        store.commit(b"two", put(2, 400_000)).unwrap();
        fs::rename(dir.path().join("gen-1/away"), dir.path().join("gen-1/sled")).unwrap();
        drop(store);
        let (_, meta, found) = open(dir.path());
        assert_eq!((meta.as_deref(), found), (Some(&b"two"[..]), vec![1, 2]));
    }
}
