//! Makes one copy of the content from the other: the archive from sled, and sled from the archive.
//!
//! Each is whole by itself: sled with the journals, the archive with the journals. So damage to one costs nothing but
//! the writing of a new one.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Instant;

use crate::archive::{self, Archive};
use crate::build::Builder;
use crate::cipher::Cipher;
use crate::compact::{Compaction, read_piece};
use crate::pending::{Overlay, Pending};
use crate::report::Report;
use crate::run::{Home, Span, Writer};
use crate::sled_thread::Frozen;
use crate::tree::{Scan, TreeError};
use crate::{CommitError, Key, Store};

/// Writes the archive of a generation anew from what sled holds, and then removes what was there.
pub(crate) fn archive_from_sled(home: &Home) -> Result<Archive, TreeError> {
    let mut scan = Scan::new();
    let mut writer: Option<Writer> = None;
    loop {
        let (root, records) = read_piece(&home.dir, home.generation, &mut scan)?;
        let mut run = match writer.take() {
            Some(run) => run,
            None => Writer::create(home, Span { from: 0, to: root.seq })?,
        };
        if records.is_empty() {
            scan.finish(&root)?;
            archive::set_bad_aside(home);
            let archive = Archive::new(home, run.finish(&root)?);
            archive.sweep();
            return Ok(archive);
        }
        for (key, value) in records {
            run.put(&key, Some(&value))?;
        }
        writer = Some(run);
    }
}

/// Writes a generation of what the archive holds, with `changes` on top, as the content of commit `seq`; all sealed as it
/// is.
pub(crate) fn generation_from_archive(
    store_dir: &Path,
    generation: u64,
    cipher: Cipher,
    archive: &Archive,
    changes: &Pending,
    (seq, meta): (u64, Option<Vec<u8>>),
) -> Result<Archive, CommitError> {
    let mut builder = Builder::start(store_dir, generation, cipher)?;
    let mut overlay = Overlay::new(changes);
    let mut put = |key: Key, value: &[u8]| builder.put_sealed(&key, value);
    archive.walk(&mut |key, value| overlay.record(key, value, &mut put))?;
    overlay.end(&mut put)?;
    builder.finish(seq, meta)
}

fn rewritten(
    store_dir: &Path,
    next: u64,
    cipher: Cipher,
    archive: &Archive,
    frozen: Option<&Frozen>,
) -> Result<Archive, CommitError> {
    let none = Pending::default();
    let (changes, end) = match frozen {
        Some(frozen) => (&frozen.changes, (frozen.seq, frozen.meta.clone())),
        None => (&none, (archive.seq(), archive.root().meta.clone())),
    };
    generation_from_archive(store_dir, next, cipher, archive, changes, end)
}

impl From<TreeError> for CommitError {
    fn from(error: TreeError) -> Self {
        error.into_commit(Path::new("the archive"))
    }
}

impl Store {
    /// Reads both copies of the content to the end, as opening reads only one.
    ///
    /// # Errors
    /// [`CommitError::Corrupt`] names the copy that fails; the other may be whole, and the next checkpoint makes it good.
    pub fn verify(&mut self) -> Result<(), CommitError> {
        self.wait();
        self.end_compaction()?;
        let dir = self.generation_dir();
        let failed = |copy: &str, error: TreeError| match error {
            TreeError::Corrupt(what) => CommitError::Corrupt(format!("{copy}: {what}")),
            TreeError::Io(error) => CommitError::io(&dir, error),
        };
        let Some(archive) = &self.archive else { return Err(CommitError::Corrupt("there is no archive".into())) };
        archive.walk::<TreeError>(&mut |_, _| Ok(())).map_err(|error| failed("archive", error))?;
        if self.read_only {
            // sled writes when it opens.
            return Ok(());
        }
        let mut scan = Scan::new();
        loop {
            let (root, records) =
                read_piece(&dir, self.generation, &mut scan).map_err(|error| failed("sled", error))?;
            if records.is_empty() {
                if root.seq < archive.seq() {
                    let what = format!("it is of commit {}, the archive of {}", root.seq, archive.seq());
                    return Err(CommitError::Corrupt(format!("sled: {what}")));
                }
                return scan.finish(&root).map_err(|error| failed("sled", error));
            }
        }
    }

    pub(crate) fn is_healing(&self) -> bool {
        self.compaction.as_ref().is_some_and(|compaction| compaction.heals)
    }

    /// Begins to write the next generation from the archive, because of what is wrong with sled; says whether it could.
    pub(crate) fn start_healing(&mut self, what: &str) -> bool {
        self.interrupt_scrub();
        let Some(archive) = self.archive.clone() else { return false };
        let fits = self.frozen.as_ref().is_none_or(|frozen| frozen.base == archive.seq());
        if !fits || self.unsure || self.compaction.is_some() || self.builder.strong_count() > 0 {
            return false;
        }
        tracing::warn!(what, "store: sled is made anew from the archive");
        let (dir, next, cipher) = (self.dir.clone(), self.next_generation(), self.cipher.clone());
        let frozen = self.frozen.clone();
        let (sender, result) = sync_channel(1);
        let work = move |_: &AtomicBool| {
            let _ = sender.send(rewritten(&dir, next, cipher, &archive, frozen.as_deref()));
        };
        match self.worker.post(work) {
            Ok(()) => {
                self.healing = Some(what.to_owned());
                self.compaction = Some(Compaction::new(result, Arc::default(), true));
                true
            }
            Err(error) => {
                tracing::warn!(%error, "store: no thread to heal on");
                false
            }
        }
    }

    /// Waits for a healing under way, up to the patience for a checkpoint from its beginning: whoever comes later is told
    /// that it is under way.
    pub(crate) fn wait_for_healing(&mut self, until: Instant) {
        let Some(compaction) = self.compaction.as_ref().filter(|compaction| compaction.heals) else { return };
        let until = until.min(compaction.begun + self.patience);
        let left = until.saturating_duration_since(Instant::now());
        let result = match compaction.result.recv_timeout(left) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => return self.poll_compaction(),
            Err(RecvTimeoutError::Disconnected) => Err(CommitError::Corrupt("healing panicked".into())),
        };
        self.compaction_ended(result);
    }

    /// The next generation is in use and has everything.
    pub(crate) fn healed(&mut self) {
        let what = self.healing.take().unwrap_or_default();
        tracing::warn!(generation = self.generation, what, "store: healed from the archive; nothing was lost");
        let text = format!("sled was made anew from the archive ({what}); nothing was lost");
        self.reports.set(Report { text, lost: false });
    }
}
