//! Writes and syncs that fail when a test wants them to; nothing at all outside of this crate's own tests.

use std::io;
use std::path::Path;

/// To be asked before each write, sync and rename of ours below `path`.
#[cfg(not(test))]
#[inline]
pub(crate) fn point(_path: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
pub(crate) use injected::{Faults, point};

#[cfg(test)]
mod injected {
    use super::{Path, io};
    use std::path::PathBuf;
    use std::sync::{Mutex, PoisonError};

    #[derive(Debug)]
    struct Plan {
        below: PathBuf,
        /// How many points pass before the first that fails.
        pass: u64,
        /// How many fail then.
        fail: u64,
        kind: io::ErrorKind,
        /// Whether one has failed.
        fired: bool,
    }

    static PLANS: Mutex<Vec<Plan>> = Mutex::new(Vec::new());

    fn plans<T>(work: impl FnOnce(&mut Vec<Plan>) -> T) -> T {
        work(&mut PLANS.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Fails as planned below a directory, until dropped.
    #[derive(Debug)]
    pub(crate) struct Faults(PathBuf);

    impl Faults {
        pub(crate) fn plan(below: &Path, pass: u64, fail: u64, kind: io::ErrorKind) -> Faults {
            plans(|plans| plans.push(Plan { below: below.into(), pass, fail, kind, fired: false }));
            Faults(below.into())
        }

        /// Whether anything has failed yet.
        pub(crate) fn have_fired(&self) -> bool {
            plans(|plans| plans.iter().any(|plan| plan.below == self.0 && plan.fired))
        }
    }

    impl Drop for Faults {
        fn drop(&mut self) {
            plans(|plans| plans.retain(|plan| plan.below != self.0));
        }
    }

    pub(crate) fn point(path: &Path) -> io::Result<()> {
        plans(|plans| {
            let Some(plan) = plans.iter_mut().find(|plan| path.starts_with(&plan.below)) else { return Ok(()) };
            if plan.pass > 0 {
                plan.pass -= 1;
            } else if plan.fail > 0 {
                (plan.fail, plan.fired) = (plan.fail - 1, true);
                return Err(plan.kind.into());
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Faults;
    use crate::{Change, Key, Options, Store};
    use std::collections::BTreeMap;
    use std::io::ErrorKind;
    use std::path::Path;
    use std::sync::Arc;

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

    /// Every `STORE_FAULT_STEP`th point of a run over a store, in turn, fails, and so do those after it, `fail` in all.
    fn every_point(fail: u64, kind: ErrorKind) {
        let steps = std::env::var("STORE_FAULT_STEP").map_or(7, |step| step.parse().expect("a number"));
        for pass in (0..).step_by(steps) {
            let dir = tempfile::tempdir().unwrap();
            let faults = Faults::plan(dir.path(), pass, fail, kind);
            let (mut model, mut doubtful) = (Model::new(), Vec::new());
            if let Ok((mut store, found)) = open(dir.path()) {
                assert!(found.is_empty());
                work(&mut store, &mut model, &mut doubtful);
            }
            let reached = faults.have_fired();
            drop(faults);
            let (mut store, mut found) = open(dir.path()).unwrap_or_else(|error| panic!("{kind:?} at {pass}: {error}"));
            if found != model {
                // One that failed may be there after all.
                model.extend(doubtful.into_iter().filter(|(key, value)| found.get(key) == Some(value)));
            }
            assert!(found == model, "{kind:?} at {pass}");
            for n in 0..30 {
                store.commit(b"after", vec![Change { key: key(n), value: Some(Arc::from(&[n; 9][..])) }]).unwrap();
                found.insert(key(n), vec![n; 9]);
            }
            drop(store);
            assert!(open(dir.path()).unwrap().1 == found, "{kind:?} at {pass}: it does not go on");
            if !reached {
                assert!(pass > 50, "only {pass} points");
                return;
            }
        }
    }

    #[test]
    fn an_io_error_at_any_write_or_sync_loses_nothing_acknowledged() {
        every_point(1, ErrorKind::Other);
    }

    #[test]
    fn a_disk_that_is_full_from_any_write_on_loses_nothing_acknowledged() {
        every_point(40, ErrorKind::StorageFull);
    }

    #[test]
    fn a_file_system_that_turns_read_only_at_any_write_loses_nothing_acknowledged() {
        every_point(u64::MAX, ErrorKind::ReadOnlyFilesystem);
    }
}
