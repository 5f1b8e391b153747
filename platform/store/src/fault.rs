//! Writes, syncs and reads that fail or hang when a test wants them to; nothing at all outside of this crate's own tests.

use std::io;
use std::path::Path;

/// To be asked before each write, sync and rename of ours below `path`.
#[cfg(not(test))]
#[inline]
pub(crate) fn point(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// To be asked before each read of ours of a file, or below a directory.
#[cfg(not(test))]
#[inline]
pub(crate) fn read_point(_path: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
pub(crate) use injected::{Failure, Faults, On, point, read_point};

#[cfg(test)]
mod injected {
    use super::{Path, io};
    use std::path::PathBuf;
    use std::sync::{Arc, Condvar, Mutex, PoisonError};

    /// What fails.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(crate) enum On {
        Writes,
        Reads,
    }

    /// How it fails.
    #[derive(Clone, Copy, Debug)]
    pub(crate) enum Failure {
        Kind(io::ErrorKind),
        /// As the system says it.
        Errno(i32),
        Panic,
        /// Until the plan is dropped.
        Hang,
    }

    #[derive(Debug)]
    struct Plan {
        below: PathBuf,
        on: On,
        /// How many points pass before the first that fails.
        pass: u64,
        /// How many fail then.
        fail: u64,
        failure: Failure,
        gate: Arc<Gate>,
    }

    /// What those who hang wait at.
    #[derive(Debug, Default)]
    struct Gate {
        /// How many have failed, and whether the plan was dropped.
        state: Mutex<(u64, bool)>,
        changed: Condvar,
    }

    impl Gate {
        fn with<T>(&self, work: impl FnOnce(&mut (u64, bool)) -> T) -> T {
            let result = work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
            self.changed.notify_all();
            result
        }

        fn wait_until(&self, enough: impl Fn(&(u64, bool)) -> bool) {
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            drop(self.changed.wait_while(state, |state| !enough(state)).unwrap_or_else(PoisonError::into_inner));
        }
    }

    static PLANS: Mutex<Vec<Plan>> = Mutex::new(Vec::new());

    fn plans<T>(work: impl FnOnce(&mut Vec<Plan>) -> T) -> T {
        work(&mut PLANS.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Fails as planned below a directory, until dropped.
    #[derive(Debug)]
    pub(crate) struct Faults(Arc<Gate>);

    impl Faults {
        /// Writes fail, with an error of this kind.
        pub(crate) fn plan(below: &Path, pass: u64, fail: u64, kind: io::ErrorKind) -> Faults {
            Faults::of(below, On::Writes, (pass, fail), Failure::Kind(kind))
        }

        pub(crate) fn of(below: &Path, on: On, (pass, fail): (u64, u64), failure: Failure) -> Faults {
            let gate = Arc::new(Gate::default());
            let plan = Plan { below: below.into(), on, pass, fail, failure, gate: Arc::clone(&gate) };
            plans(|plans| plans.push(plan));
            Faults(gate)
        }

        /// Whether anything has failed yet.
        pub(crate) fn have_fired(&self) -> bool {
            self.0.with(|(failed, _)| *failed > 0)
        }
    }

    impl Drop for Faults {
        fn drop(&mut self) {
            plans(|plans| plans.retain(|plan| !Arc::ptr_eq(&plan.gate, &self.0)));
            self.0.with(|(_, dropped)| *dropped = true);
        }
    }

    pub(crate) fn point(path: &Path) -> io::Result<()> {
        reached(path, On::Writes)
    }

    pub(crate) fn read_point(path: &Path) -> io::Result<()> {
        reached(path, On::Reads)
    }

    fn reached(path: &Path, on: On) -> io::Result<()> {
        let due = plans(|plans| {
            let plan = plans.iter_mut().find(|plan| plan.on == on && path.starts_with(&plan.below))?;
            if plan.pass > 0 {
                plan.pass -= 1;
                return None;
            }
            plan.fail = plan.fail.checked_sub(1)?;
            Some((plan.failure, Arc::clone(&plan.gate)))
        });
        let Some((failure, gate)) = due else { return Ok(()) };
        gate.with(|(failed, _)| *failed += 1);
        match failure {
            Failure::Kind(kind) => Err(kind.into()),
            Failure::Errno(number) => Err(io::Error::from_raw_os_error(number)),
            Failure::Panic => panic!("of the test"),
            Failure::Hang => {
                gate.wait_until(|(_, dropped)| *dropped);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Failure, Faults, On};
    use crate::{Change, Key, OpenError, Options, Pace, Store};
    use std::collections::BTreeMap;
    use std::io::ErrorKind;
    use std::path::Path;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    const EIO: i32 = 5;

    type Model = BTreeMap<Key, Vec<u8>>;

    fn open(dir: &Path) -> Result<(Store, Model), crate::OpenError> {
        let mut found = Model::new();
        let load = &mut |key: Key, value: &[u8]| drop(found.insert(key, value.to_vec()));
        let (store, _) = Store::open(dir, Options { checkpoint_commits: 12, ..Options::default() }, load)?;
        Ok((store, found))
    }

    fn key(n: u8) -> Key {
        Key { table: 0, kind: 0, id: [n; 16] }
    }

    /// Commits, a large one among them, and a replacement of the content by itself; what was acknowledged is in the model. A commit that failed may
    /// turn up after a crash, so those since the last one that did not are noted.
    fn work(store: &mut Store, model: &mut Model, doubtful: &mut Vec<(Key, Vec<u8>)>) {
        for n in 0..40_u8 {
            let value = vec![n; if n == 30 { 600_000 / 2 } else { 700 }];
            let change = Change { key: key(n % 25), value: Some(Arc::from(value.as_slice())) };
            match store.commit(&[n], vec![change]) {
                Ok(()) => {
                    model.insert(key(n % 25), value);
                    doubtful.clear();
                }
                Err(_) => doubtful.push((key(n % 25), value)),
            }
            if n == 20 {
                let replaced = store.replace().and_then(|mut replacement| {
                    model.iter().try_for_each(|(key, value)| replacement.put(*key, value))?;
                    replacement.finish(b"replaced")
                });
                // Where it failed, the content is the same before and after.
                drop(replaced);
            }
        }
    }

    fn steps() -> usize {
        std::env::var("STORE_FAULT_STEP").map_or(7, |step| step.parse().expect("a number"))
    }

    /// Every `STORE_FAULT_STEP`th point of a run over a store, in turn, fails, and so do those after it, `fail` in all.
    fn every_point(fail: u64, failure: Failure) {
        for pass in (0..).step_by(steps()) {
            let dir = tempfile::tempdir().unwrap();
            let faults = Faults::of(dir.path(), On::Writes, (pass, fail), failure);
            let (mut model, mut doubtful) = (Model::new(), Vec::new());
            if let Ok((mut store, found)) = open(dir.path()) {
                assert!(found.is_empty());
                work(&mut store, &mut model, &mut doubtful);
            }
            let reached = faults.have_fired();
            drop(faults);
            let (mut store, mut found) =
                open(dir.path()).unwrap_or_else(|error| panic!("{failure:?} at {pass}: {error}"));
            if found != model {
                // One that failed may be there after all.
                model.extend(doubtful.into_iter().filter(|(key, value)| found.get(key) == Some(value)));
            }
            assert!(found == model, "{failure:?} at {pass}");
            for n in 0..30 {
                store.commit(b"after", vec![Change { key: key(n), value: Some(Arc::from(&[n; 9][..])) }]).unwrap();
                found.insert(key(n), vec![n; 9]);
            }
            drop(store);
            assert!(open(dir.path()).unwrap().1 == found, "{failure:?} at {pass}: it does not go on");
            if !reached {
                assert!(pass > 50, "only {pass} points");
                return;
            }
        }
    }

    #[test]
    fn an_io_error_at_any_write_or_sync_loses_nothing_acknowledged() {
        every_point(1, Failure::Errno(EIO));
    }

    #[test]
    fn an_error_without_a_number_at_any_write_or_sync_loses_nothing_acknowledged() {
        every_point(1, Failure::Kind(ErrorKind::Other));
    }

    #[test]
    fn a_disk_that_takes_nothing_any_more_loses_nothing_acknowledged() {
        every_point(u64::MAX, Failure::Errno(EIO));
    }

    #[test]
    fn a_disk_that_is_full_from_any_write_on_loses_nothing_acknowledged() {
        every_point(40, Failure::Kind(ErrorKind::StorageFull));
    }

    #[test]
    fn a_file_system_that_turns_read_only_at_any_write_loses_nothing_acknowledged() {
        every_point(u64::MAX, Failure::Kind(ErrorKind::ReadOnlyFilesystem));
    }

    /// Opens the store as a data plane does, commits, and looks through it to the end.
    fn read_everything(dir: &Path, model: &mut Model, doubtful: &mut Vec<(Key, Vec<u8>)>) -> Result<(), OpenError> {
        let none = Duration::ZERO;
        let pace = Pace { pause: none, first: none, step: none, every: none, bytes: 4_000 };
        let options = Options { salvage: true, pace, checkpoint_commits: 12, ..Options::default() };
        let mut found = Model::new();
        let load = &mut |key: Key, value: &[u8]| drop(found.insert(key, value.to_vec()));
        let (mut store, _) = Store::open(dir, options, load)?;
        assert!(found == *model, "what is handed out is right");
        for n in 0..25_u8 {
            let (key, value) = (key(n), vec![n; 11]);
            match store.commit(b"read", vec![Change { key, value: Some(Arc::from(value.as_slice())) }]) {
                Ok(()) => drop(model.insert(key, value)),
                Err(_) => doubtful.push((key, value)),
            }
            if let Ok(value) = store.get(key) {
                assert!(value.as_deref() == model.get(&key).map(Vec::as_slice));
            }
        }
        store.wait();
        let until = Instant::now() + Duration::from_secs(60);
        // What ends a pass without a verdict counts none.
        for _ in 0..3 {
            let passes = store.reports().passes().count;
            for _ in 0..200 {
                store.scrub(Instant::now());
                if store.reports().passes().count > passes || Instant::now() > until {
                    break;
                }
                // The thread that reads needs the time, on a busy machine.
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        assert!(store.reports().ruined().is_none() && store.reports().last().is_none_or(|report| !report.lost));
        Ok(())
    }

    /// Some read is refused by the disk, `fail` times in all.
    fn every_read(fail: u64) {
        let (mut fired, mut refused) = (0, 0);
        for pass in (0..).step_by(steps()) {
            let dir = tempfile::tempdir().unwrap();
            let (mut model, mut doubtful) = (Model::new(), Vec::new());
            work(&mut open(dir.path()).unwrap().0, &mut model, &mut doubtful);
            assert!(doubtful.is_empty());
            let faults = Faults::of(dir.path(), On::Reads, (pass, fail), Failure::Errno(EIO));
            if let Err(error) = read_everything(dir.path(), &mut model, &mut doubtful) {
                assert!(!error.is_corrupt(), "at {pass}: an error of the disk's is not damage: {error}");
                refused += 1;
            }
            let reached = faults.have_fired();
            drop(faults);
            let (store, found) = open(dir.path()).unwrap_or_else(|error| panic!("at {pass}: {error}"));
            if found != model {
                model.extend(doubtful.into_iter().filter(|(key, value)| found.get(key) == Some(value)));
            }
            assert!(found == model, "at {pass}: something is gone that could only not be read");
            assert!(store.reports().last().is_none_or(|report| !report.lost), "at {pass}");
            if !reached {
                break;
            }
            fired += 1;
        }
        assert!(fired > 5 && refused > 0, "{fired} faults, {refused} times not opened");
    }

    #[test]
    fn a_read_that_fails_once_is_never_taken_for_damage_that_deletes_content() {
        every_read(1);
    }

    #[test]
    fn reads_that_go_on_failing_are_never_taken_for_damage_that_deletes_content() {
        every_read(u64::MAX);
    }

    #[test]
    fn an_archive_that_cannot_be_read_is_not_given_up_for_an_older_content() {
        // sled is gone, so the archive is all there is; one run of it cannot be read just now.
        let dir = tempfile::tempdir().unwrap();
        let (mut model, mut doubtful) = (Model::new(), Vec::new());
        work(&mut open(dir.path()).unwrap().0, &mut model, &mut doubtful);
        let generation = crate::layout::generation_dir(dir.path(), crate::layout::generations(dir.path()).unwrap()[0]);
        std::fs::write(generation.join("sled/db"), b"nothing of sled's").unwrap();
        for span in crate::run::spans(&generation).unwrap() {
            let faults = Faults::of(&span.path(&generation), On::Reads, (0, u64::MAX), Failure::Errno(EIO));
            let options = Options { salvage: true, ..Options::default() };
            let error = Store::open(dir.path(), options, &mut |_, _| {}).unwrap_err();
            assert!(!error.is_corrupt() && faults.have_fired(), "{error}");
        }
        assert!(open(dir.path()).unwrap().1 == model);
    }
}
