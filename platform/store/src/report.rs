//! What a store wants its operator to know: that something was wrong with it and how it was made right, and how far it
//! has come with what takes long.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often progress is told.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(2);

/// So many reports are kept, the latest.
const REPORTS_MAX: usize = 8;

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
    all: VecDeque<Report>,
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

    /// The last few, each for itself, the latest last.
    #[must_use]
    pub fn all(&self) -> Vec<Report> {
        self.said().all.iter().cloned().collect()
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
        if said.all.len() == REPORTS_MAX {
            said.all.pop_front();
        }
        said.all.push_back(report.clone());
        match said.last.as_mut().filter(|last| last.lost) {
            Some(last) => last.text = format!("{}; {}", last.text, report.text),
            None => said.last = Some(report),
        }
    }
}

type Tell = dyn Fn(u64, u64) + Send + Sync;

/// Who wants to hear how far a long opening has come: called every two seconds with the records read so far and how many
/// there are. Every record is read twice, for its hash and for what it is: after the first time it counts half.
#[derive(Clone, Default)]
pub struct Progress {
    tell: Option<Arc<Tell>>,
    interval: Option<Duration>,
}

impl Progress {
    /// Calls `tell`.
    pub fn new(tell: impl Fn(u64, u64) + Send + Sync + 'static) -> Progress {
        Progress { tell: Some(Arc::new(tell)), interval: None }
    }

    /// The same, so often.
    #[must_use]
    pub fn every(self, interval: Duration) -> Progress {
        Progress { interval: Some(interval), ..self }
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Progress")
    }
}

/// Counts records and tells when it is time.
pub(crate) struct Meter {
    progress: Progress,
    of: u64,
    /// What the first pass over them counted for.
    hashed: u64,
    records: u64,
    told: Instant,
}

impl Meter {
    pub(crate) fn new(progress: &Progress, of: u64) -> Meter {
        Meter { progress: progress.clone(), of, hashed: 0, records: 0, told: Instant::now() }
    }

    /// So many bytes of all have been read for their hashes.
    pub(crate) fn hashed(&mut self, bytes: u64, all: u64) {
        self.hashed = (self.of / 2).saturating_mul(bytes) / all.max(1);
        self.tell(self.hashed);
    }

    pub(crate) fn record(&mut self) {
        self.records += 1;
        // The clock is asked now and then only.
        if self.records.is_multiple_of(256) {
            let left = self.of.saturating_sub(self.hashed);
            self.tell(self.hashed + left.saturating_mul(self.records) / self.of.max(1));
        }
    }

    fn tell(&mut self, done: u64) {
        if let Some(tell) = &self.progress.tell
            && self.told.elapsed() >= self.progress.interval.unwrap_or(PROGRESS_INTERVAL)
        {
            // The journals may hold more records than the copy that this counts.
            tell(done.min(self.of), self.of);
            self.told = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(interval: Duration, work: impl FnOnce(&mut Meter)) -> Vec<(u64, u64)> {
        let said = Arc::new(Mutex::new(Vec::new()));
        let hear = Arc::clone(&said);
        let progress = Progress::new(move |done, of| hear.lock().unwrap().push((done, of))).every(interval);
        work(&mut Meter::new(&progress, 1_000));
        said.lock().unwrap().clone()
    }

    #[test]
    fn both_passes_are_told_and_together_they_are_the_whole() {
        let told = heard(Duration::ZERO, |meter| {
            (1..=4).for_each(|quarter| meter.hashed(quarter * 100, 400));
            (0..1_000).for_each(|_| meter.record());
        });
        assert_eq!(
            told,
            [(125, 1_000), (250, 1_000), (375, 1_000), (500, 1_000), (628, 1_000), (756, 1_000), (884, 1_000)]
        );
    }

    #[test]
    fn without_a_first_pass_the_second_is_the_whole() {
        let told = heard(Duration::ZERO, |meter| (0..768).for_each(|_| meter.record()));
        assert_eq!(told, [(256, 1_000), (512, 1_000), (768, 1_000)]);
    }

    #[test]
    fn nothing_is_told_before_it_is_time() {
        let told = heard(Duration::from_secs(3_600), |meter| (0..1_000).for_each(|_| meter.record()));
        assert_eq!(told, []);
    }
}
