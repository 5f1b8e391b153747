//! What a store wants its operator to know: that something was wrong with it and how it was made right, and how far it
//! has come with what takes long.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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

/// What a store has to say of its files; whoever has a clone can ask at any time, without waiting for the store.
#[derive(Clone, Default, Debug)]
pub struct Reports(Arc<Mutex<Said>>);

#[derive(Default, Debug)]
struct Said {
    last: Option<Report>,
    count: u64,
    ruined: Option<String>,
    passes: u64,
    last_pass: Option<Instant>,
}

/// How often a store that runs was looked through to the end.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Passes {
    /// So often since it was opened.
    pub count: u64,
    /// When the last one ended.
    pub last: Option<Instant>,
}

impl Reports {
    /// The last one; none when nothing was ever wrong since the store was opened.
    #[must_use]
    pub fn last(&self) -> Option<Report> {
        self.said().last.clone()
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.said().count
    }

    /// Why the content cannot be read any more, of either copy: whoever has it has to write it anew ([`crate::Store::replace`]),
    /// and until then commits fail. None when that is not so, or not any more.
    #[must_use]
    pub fn ruined(&self) -> Option<String> {
        self.said().ruined.clone()
    }

    /// How often it was looked through while it ran ([`crate::Store::scrub`]).
    #[must_use]
    pub fn passes(&self) -> Passes {
        let said = self.said();
        Passes { count: said.passes, last: said.last_pass }
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn looked_through(&self, now: Instant) {
        let mut said = self.said();
        said.passes += 1;
        said.last_pass = Some(now);
    }

    pub(crate) fn ruin(&self, text: &str) {
        self.set(Report { text: text.to_owned(), lost: false });
        self.said().ruined = Some(text.to_owned());
    }

    /// A whole content was written.
    pub(crate) fn renewed(&self) {
        let why = self.said().ruined.take();
        if let Some(why) = why {
            self.set(Report { text: format!("{why}; that was done"), lost: false });
        }
    }

    /// A loss is not covered up by a later report without one.
    pub(crate) fn set(&self, report: Report) {
        let mut said = self.said();
        said.count += 1;
        match said.last.as_mut().filter(|last| last.lost) {
            Some(last) => last.text = format!("{}; {}", last.text, report.text),
            None => said.last = Some(report),
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
