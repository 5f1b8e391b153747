//! Looks through everything that a store has on disk while it runs, at a pace that nobody feels, and makes good what it
//! finds damaged: a start reads one copy of the content, and nothing would read the other before it is needed.
//!
//! [`Store::scrub`] is called by whoever owns the store when it has nothing else to do, and does one piece at a time. The
//! small files and the journals are looked at there; the two copies of the content on sled's thread, between checkpoints
//! (`check.rs`). A checkpoint changes both copies, so a pass that it meets begins anew; the third time in a row it is made
//! in one piece. Nothing is written where nothing is wrong. What fails is made anew from the other copy (`heal.rs`), and
//! where both fail, [`crate::Reports::ruined`] asks the owner for the whole content.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

use crate::check::{Check, Copy, Stepped};
use crate::layout;
use crate::pending::Pending;
use crate::report::Report;
use crate::seal::Root;
use crate::sled_thread::Frozen;
use crate::tree::TreeError;
use crate::{OpenError, Store, journal};

/// A pass that was interrupted so often is made in one piece.
const INTERRUPTIONS_MAX: u32 = 2;
/// sled is made anew so often while a store is open, and not again: a disk that rots faster is not worth the wear.
const MENDS_MAX: u32 = 3;

/// What a pause is that no clock can hold.
const AGES: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// How fast a store is looked through. The default reads a piece of half a MiB at a time, one per second until the first pass
/// is done, which is a minute or two after a start with 30,000 entities, and one MiB per minute from then on: half an hour
/// of every day, well below what any flash or processor notices.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// From the first call of [`Store::scrub`] to the first pass: a start has better things to do.
    pub pause: Duration,
    /// Between the pieces of the first pass.
    pub first: Duration,
    /// Between the pieces of later ones.
    pub step: Duration,
    /// From the end of a pass to the next.
    pub every: Duration,
    /// How many bytes are in a piece, about. So much memory is not needed: a window of 64 KiB, and 100 bytes for each of
    /// sled's leaves, of which there is about one for ten records.
    pub bytes: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            pause: Duration::from_secs(60),
            first: Duration::from_secs(1),
            step: Duration::from_secs(30),
            every: Duration::from_secs(24 * 3600),
            bytes: 512 * 1024,
        }
    }
}

/// `now` and a pause, which may be as good as for ever.
fn later(now: Instant, pause: Duration) -> Instant {
    now.checked_add(pause).unwrap_or(now + AGES)
}

/// How far it has come.
#[derive(Debug, Default)]
pub(crate) struct Scrub {
    due: Option<Instant>,
    stage: Stage,
    passes: u64,
    interrupted: u32,
    mends: u32,
    /// What was wrong with the journals, as long as they have not been turned.
    renew: Option<String>,
}

#[derive(Default)]
enum Stage {
    /// No pass is under way.
    #[default]
    Idle,
    /// The next piece of a pass may be read.
    Between(Box<Check>),
    /// A piece is being read.
    Reading(Reading),
}

impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Idle => "Idle",
            Self::Between(_) => "Between",
            Self::Reading(_) => "Reading",
        })
    }
}

struct Reading {
    result: Receiver<Stepped>,
    given_up: Arc<AtomicBool>,
    generation: u64,
    /// The files have been changed, or will be, right after this piece.
    stale: bool,
}

impl Store {
    /// Does the next piece of looking through the store, if it is time for one, and says when to call again. To be called
    /// after a start is over, and then whenever there is nothing else to do; each call takes a few milliseconds of this
    /// thread at most, and waits for nothing.
    pub fn scrub(&mut self, now: Instant) -> Instant {
        let pace = self.options.pace;
        let due = *self.scrub.due.get_or_insert(later(now, pace.pause));
        if now < due {
            return due;
        }
        self.poll();
        let is_over = !self.is_occupied() && self.scrub_piece(now);
        let pause = match self.scrub.passes {
            _ if is_over => pace.every,
            0 => pace.first,
            _ => pace.step,
        };
        *self.scrub.due.insert(later(now, pause))
    }

    /// Whether something else is being done to the files.
    fn is_occupied(&self) -> bool {
        self.checkpoint.is_some()
            || self.compaction.is_some()
            || self.builder.strong_count() > 0
            || self.unsure
            || self.turning
    }

    /// Says whether a pass is over.
    fn scrub_piece(&mut self, now: Instant) -> bool {
        if self.renew_journals() {
            return false;
        }
        match std::mem::take(&mut self.scrub.stage) {
            Stage::Idle => {
                self.check_small_files();
                self.check_journals();
                match self.archive.as_ref().map(|archive| archive.seq()) {
                    Some(seq) => {
                        let check = Check::new(self.home(), seq);
                        self.scrub.stage = Stage::Between(Box::new(check));
                        false
                    }
                    None => {
                        self.mend_archive(&TreeError::corrupt("there is none"));
                        true
                    }
                }
            }
            Stage::Between(check) => {
                self.read_on(check);
                false
            }
            Stage::Reading(reading) => match reading.result.try_recv() {
                Err(TryRecvError::Empty) => {
                    self.scrub.stage = Stage::Reading(reading);
                    false
                }
                Err(TryRecvError::Disconnected) => true,
                Ok(_) if reading.generation != self.generation => false,
                Ok(Stepped::More(_)) if reading.stale => {
                    self.scrub.interrupted += 1;
                    false
                }
                Ok(Stepped::More(check)) => {
                    self.read_on(check);
                    false
                }
                Ok(Stepped::Ended(None)) => {
                    self.scrub.interrupted += 1;
                    false
                }
                Ok(stepped) => {
                    self.judge(stepped, now);
                    true
                }
            },
        }
    }

    /// Has the next piece read on sled's thread.
    fn read_on(&mut self, check: Box<Check>) {
        let whole = self.scrub.interrupted >= INTERRUPTIONS_MAX;
        let bytes = if whole { u64::MAX } else { self.options.pace.bytes };
        let given_up = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&given_up);
        let (sender, result) = sync_channel(1);
        let posted = self.worker.post(move |_| {
            let _ = sender.send(check.step(bytes, &flag));
        });
        match posted {
            Ok(()) => {
                let reading = Reading { result, given_up, generation: self.generation, stale: false };
                self.scrub.stage = Stage::Reading(reading);
            }
            Err(error) => tracing::warn!(%error, "store: no thread to check the store on"),
        }
    }

    /// Something is about to change the files: what was read so far says nothing any more.
    pub(crate) fn interrupt_scrub(&mut self) {
        match &mut self.scrub.stage {
            Stage::Idle => {}
            Stage::Between(_) => {
                self.scrub.stage = Stage::Idle;
                self.scrub.interrupted += 1;
            }
            Stage::Reading(reading) => {
                reading.given_up.store(true, Ordering::Relaxed);
                reading.stale = true;
            }
        }
    }

    /// The same, for those who open sled themselves: waits until nobody reads its files.
    pub(crate) fn end_scrub(&mut self) {
        self.interrupt_scrub();
        if let Stage::Reading(reading) = std::mem::take(&mut self.scrub.stage) {
            let _ = reading.result.recv_timeout(self.patience);
        }
    }

    /// A pass has come to a verdict.
    fn judge(&mut self, stepped: Stepped, now: Instant) {
        self.scrub.interrupted = 0;
        self.scrub.passes += 1;
        match stepped {
            Stepped::Good => tracing::debug!("store: looked through, and good"),
            Stepped::Bad(Copy::Archive, error) => self.mend_archive(&error),
            Stepped::Bad(Copy::Sled, error) => self.mend_sled(&error.to_string()),
            Stepped::Ended(error) => {
                let error = error.map(|error| error.to_string()).unwrap_or_default();
                tracing::warn!(error, "store: it cannot be looked through now");
                return;
            }
            Stepped::More(_) => return,
        }
        self.reports.looked_through(now);
    }

    /// The archive fails: it is written anew from sled, by a checkpoint of nothing.
    pub(crate) fn mend_archive(&mut self, error: &TreeError) {
        self.archive_failed(error);
        if !self.may_mend(&error.to_string()) {
            return;
        }
        if self.frozen.is_none() {
            let Root { seq, meta, .. } = self.root.clone();
            let changes = Pending::default();
            self.frozen = Some(Arc::new(Frozen { base: seq, seq, meta, changes }));
        }
        self.start_checkpoint();
    }

    fn mend_sled(&mut self, what: &str) {
        if self.may_mend(what) {
            self.start_healing(what);
        }
    }

    /// Whether anything can be done about damage.
    fn may_mend(&mut self, what: &str) -> bool {
        self.scrub.mends += 1;
        let why = if self.read_only {
            "the file system is read-only"
        } else if self.scrub.mends > MENDS_MAX {
            "it was made anew too often; the disk wants replacing"
        } else {
            return true;
        };
        tracing::error!(what, why, "store: damage that stays");
        self.reports.set(Report { text: format!("{what}; it stays so: {why}"), lost: false });
        false
    }

    /// Neither copy can be made anew from the other.
    pub(crate) fn ruin(&mut self, what: &str) {
        self.mending = None;
        let text = format!("both copies of the content fail their checks ({what}); it has to be written anew");
        tracing::error!(text, "store: damaged");
        self.reports.ruin(&text);
    }

    /// `CURRENT`, the marker and the keys say what is in memory, too; where they do not, they are written anew.
    fn check_small_files(&mut self) {
        let (dir, generation, gen_dir) = (&self.dir, self.generation, self.generation_dir());
        let is_marked = || matches!(layout::is_provisioned(&gen_dir, generation), Ok(true));
        let is_current = || matches!(layout::current(dir), Ok(Some(pointer)) if pointer.number == generation);
        let mut wrong = Vec::new();
        let mut settle = |what: &'static str, is_good: bool, write: &dyn Fn() -> std::io::Result<()>| {
            if is_good {
                return;
            }
            let written = if self.read_only { Err(std::io::ErrorKind::ReadOnlyFilesystem.into()) } else { write() };
            wrong.push(match written {
                Ok(()) => format!("{what} was missing or damaged and was written anew; nothing was lost"),
                Err(error) => format!("{what} is missing or damaged and cannot be written anew now: {error}"),
            });
        };
        // The marker and CURRENT say whether there are keys, so these come first.
        settle("the key of the generation in use", self.cipher.is_stored(&gen_dir), &|| self.cipher.store(&gen_dir));
        settle("the marker of the generation in use", is_marked(), &|| layout::set_provisioned(&gen_dir, generation));
        settle("CURRENT", is_current(), &|| layout::set_current(dir, generation));
        for text in wrong {
            tracing::warn!(text, "store: healed");
            self.reports.set(Report { text, lost: false });
        }
    }

    /// The frames of what is not in the checkpoint yet are in memory, too.
    fn check_journals(&mut self) {
        let frozen = self.frozen.as_ref().map(|frozen| frozen.seq);
        let gen_dir = self.generation_dir();
        match journal::check(&gen_dir, &self.journal, self.seq, frozen) {
            Ok(None) => {}
            Ok(Some(text)) => {
                tracing::warn!(text, "store: healed");
                self.reports.set(Report { text, lost: false });
            }
            Err(OpenError::Corrupt { file, what }) => {
                let what = format!("{what} in {}", file.display());
                tracing::warn!(what, "store: a journal is damaged; what it holds goes into the checkpoint now");
                if self.read_only {
                    self.reports.set(Report { text: format!("{what}; nothing can be written now"), lost: false });
                } else {
                    self.scrub.renew = Some(what);
                }
            }
            Err(error) => tracing::warn!(%error, "store: the journals cannot be looked through now"),
        }
    }

    /// Brings what damaged journals hold into the checkpoint, after which nobody needs them. Says whether that is under way.
    fn renew_journals(&mut self) -> bool {
        let Some(what) = self.scrub.renew.take() else { return false };
        if self.frozen.is_some() {
            // Nor can what is frozen be lost: a checkpoint brings it, whenever that succeeds.
            self.start_checkpoint();
            self.scrub.renew = Some(what);
            return true;
        }
        match self.turn() {
            Ok(()) => self.mending = Some(format!("{what}; what it held is in the checkpoint, and nothing was lost")),
            Err(error) => {
                tracing::warn!(%error, "store: a damaged journal cannot be left now");
                self.scrub.renew = Some(what);
            }
        }
        true
    }
}
