//! When a checkpoint is made, and what becomes of it: the journal that is full is frozen, the other one goes on, and what is
//! frozen comes into sled and the archive on a thread of its own.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::compact::HEALING_PATIENCES;
use crate::journal::JOURNAL_BYTES;
use crate::layout;
use crate::report::Report;
use crate::sled_thread::{ABANDONED_MAX, Checkpoint, Frozen, Made, Outcome};
use crate::tree::TreeError;
use crate::{COMMIT_BYTES_MAX, CommitError, Store, spill};

/// Commits not yet in a frozen state hold at most about so much memory; a checkpoint must come before more.
const RECENT_BYTES_MAX: u64 = 2 * COMMIT_BYTES_MAX;
/// With so much memory held, a checkpoint is due although the journal has room (frames of large commits are small).
const RECENT_BYTES_DUE: u64 = 2 * JOURNAL_BYTES;
/// A failed checkpoint is tried again after so many commits, or when there is no room left without it.
const RETRY_COMMITS: u32 = 64;

/// A checkpoint that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) text: String,
    disk_full: bool,
    /// The number of commits in `recent` at which it is tried again.
    retry_at: u32,
}

impl Store {
    /// Sees to it that a frame of `len` bytes can be appended.
    pub(crate) fn make_room(&mut self, len: u64, content: u64) -> Result<(), CommitError> {
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
    pub(crate) fn turn(&mut self) -> Result<(), CommitError> {
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

    pub(crate) fn start_checkpoint(&mut self) {
        self.interrupt_scrub();
        let Some(frozen) = self.frozen.clone() else { return };
        if self.stuck && self.start_healing("a thread that was given up has sled's files open") {
            return;
        }
        let archive = match (&self.anew, &self.archive) {
            (None, Some(archive)) => Ok(Arc::clone(archive)),
            (anew, _) => Err(anew.clone().unwrap_or_default()),
        };
        // It comes after that.
        let patience = if self.is_healing() { self.patience * HEALING_PATIENCES } else { self.patience };
        let home = self.home();
        match Checkpoint::start(&mut self.worker, home, frozen, archive, patience) {
            Ok(checkpoint) => self.checkpoint = Some(checkpoint),
            Err(error) => self.checkpoint_failed(error.to_string(), false),
        }
    }

    /// Takes note of a compaction or a checkpoint that has ended, or hangs.
    pub(crate) fn poll(&mut self) {
        self.poll_compaction();
        if let Some(outcome) = self.checkpoint.as_ref().map(Checkpoint::poll) {
            self.note(outcome);
        }
    }

    /// Waits for a checkpoint under way, up to its deadline.
    pub(crate) fn wait(&mut self) {
        if self.wait_or_hang() {
            self.note(Outcome::Hung);
        }
    }

    /// The same, and says whether it hangs, for those who do nothing about it.
    pub(crate) fn wait_or_hang(&mut self) -> bool {
        let patience = self.patience;
        let Some(outcome) = self.checkpoint.as_ref().map(|checkpoint| checkpoint.wait(patience)) else { return false };
        let hangs = matches!(outcome, Outcome::Hung);
        if !hangs {
            self.note(outcome);
        }
        hangs
    }

    fn note(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Running => {}
            Outcome::Hung => self.abandon_sled(),
            Outcome::Done(made) => {
                let Made { root, archive, sled_bytes, mended } = *made;
                let anew = self.checkpoint.take().is_some_and(|checkpoint| checkpoint.anew);
                self.frozen = None;
                self.failure = None;
                self.root = root;
                self.archive = Some(archive);
                if anew {
                    self.anew = None;
                }
                spill::remove_up_to(&self.generation_dir(), self.root.seq);
                layout::keep_reserve(&self.dir);
                let archive = |what| format!("the archive was made anew from sled ({what}); nothing was lost");
                for text in self.mending.take().into_iter().chain(mended.map(archive)) {
                    tracing::warn!(text, "store: healed");
                    self.reports.set(Report { text, lost: false });
                }
                self.compact_if_due(sled_bytes);
            }
            Outcome::Failed(error) => {
                self.checkpoint = None;
                self.checkpoint_failed(error.to_string(), error.is_disk_full());
                match error {
                    TreeError::Corrupt(what) if self.archive.is_none() => self.ruin(&what),
                    TreeError::Corrupt(what) => drop(self.start_healing(&what)),
                    TreeError::Io(_) => {}
                }
            }
        }
    }

    /// sled does not answer: its thread is given up with the files that it may still write to, and sled is made anew from
    /// the archive, elsewhere. Where that cannot be, another thread tries the same checkpoint again.
    pub(crate) fn abandon_sled(&mut self) {
        let was_healing = self.is_healing();
        self.give_up_thread();
        let what = format!("sled does not answer, after {} s", self.patience.as_secs());
        let after = if self.worker.is_exhausted() {
            format!("and no other is begun as long as {ABANDONED_MAX} hang; the journals carry on while they have room")
        } else {
            "and the journals carry on".to_owned()
        };
        let text = format!("{what}; its thread was given up, {after}");
        tracing::error!(text, "store: sled hangs");
        self.reports.set(Report { text, lost: false });
        self.checkpoint_failed(what.clone(), false);
        if !was_healing {
            self.start_healing(&what);
        }
    }

    /// Leaves to itself what hangs. It has sled's files open, and may go on to write into the generation that it built.
    pub(crate) fn give_up_thread(&mut self) {
        if let Some(compaction) = self.compaction.take() {
            compaction.given_up.store(true, Ordering::Relaxed);
            self.left_out += 1;
        }
        self.checkpoint = None;
        self.stuck = true;
        self.worker.abandon();
    }

    fn checkpoint_failed(&mut self, text: String, disk_full: bool) {
        tracing::warn!(error = %text, "store: a checkpoint failed; the journals carry on");
        self.failure = Some(Failure { text, disk_full, retry_at: self.recent.commits().saturating_add(RETRY_COMMITS) });
    }

    /// Brings the frozen changes into sled, whatever it takes within twice the patience: for what was under way, and for
    /// what comes of it.
    fn settle(&mut self) -> Result<(), CommitError> {
        let until = Instant::now() + self.patience * 2;
        self.wait();
        if self.frozen.is_some() && self.checkpoint.is_none() && !self.is_healing() {
            self.start_checkpoint();
            self.wait();
        }
        self.wait_for_healing(until);
        if self.frozen.is_none() { Ok(()) } else { Err(self.checkpoint_error()) }
    }

    pub(crate) fn checkpoint_error(&self) -> CommitError {
        match &self.failure {
            Some(failure) if failure.disk_full => CommitError::DiskFull,
            Some(failure) => CommitError::Checkpoint(failure.text.clone()),
            None => CommitError::Checkpoint("it is still under way".into()),
        }
    }
}
