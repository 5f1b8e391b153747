//! What a store wants its operator to know: that something was wrong with it and how it was made right, and how far it
//! has come with what takes long.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often progress is told.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(2);

/// Something that was wrong with the store's files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// What it was, and what was done about it.
    pub text: String,
    /// Whether commits that were acknowledged are gone.
    pub lost: bool,
}

/// The last report of a store; whoever has a clone can ask at any time, without waiting for the store.
#[derive(Clone, Default, Debug)]
pub struct Reports(Arc<Mutex<Option<Report>>>);

impl Reports {
    /// The last one; none when nothing was ever wrong since the store was opened.
    #[must_use]
    pub fn last(&self) -> Option<Report> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A loss is not covered up by a later report without one.
    pub(crate) fn set(&self, report: Report) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match last.as_mut().filter(|last| last.lost) {
            Some(last) => last.text = format!("{}; {}", last.text, report.text),
            None => *last = Some(report),
        }
    }
}

type Tell = dyn Fn(u64, u64) + Send + Sync;

/// Who wants to hear how far a long opening has come: called every two seconds with the records read so far and how many
/// there are.
#[derive(Clone, Default)]
pub struct Progress(Option<Arc<Tell>>);

impl Progress {
    /// Calls `tell`.
    pub fn new(tell: impl Fn(u64, u64) + Send + Sync + 'static) -> Progress {
        Progress(Some(Arc::new(tell)))
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Progress")
    }
}

/// Counts records and tells when it is time.
pub(crate) struct Meter<'a> {
    progress: &'a Progress,
    records: u64,
    of: u64,
    told: Instant,
}

impl Meter<'_> {
    pub(crate) fn new(progress: &Progress, of: u64) -> Meter<'_> {
        Meter { progress, records: 0, of, told: Instant::now() }
    }

    pub(crate) fn record(&mut self) {
        self.records += 1;
        // The clock is asked now and then only.
        if self.records.is_multiple_of(256)
            && let Some(tell) = &self.progress.0
            && self.told.elapsed() >= PROGRESS_INTERVAL
        {
            tell(self.records, self.of);
            self.told = Instant::now();
        }
    }
}
