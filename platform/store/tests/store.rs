//! What a store promises as long as the disk does: durable, atomic, in order, one process at a time.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use store::{Change, CommitError, Key, OpenError, Options, Progress, State, Store};

type Model = BTreeMap<Key, Vec<u8>>;

fn key(n: u64) -> Key {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&n.to_be_bytes());
    Key { table: 0, kind: (n % 5) as u8, id }
}

fn put(n: u64, value: &[u8]) -> Change {
    Change { key: key(n), value: Some(Arc::from(value)) }
}

fn delete(n: u64) -> Change {
    Change { key: key(n), value: None }
}

fn open_with(dir: &Path, options: Options) -> Result<(Store, Option<Vec<u8>>, Model), OpenError> {
    let mut model = Model::new();
    let mut last = None;
    let (store, meta) = Store::open(dir, options, &mut |key, value| {
        assert!(last.is_none_or(|last| last < key), "records come once and in order");
        last = Some(key);
        model.insert(key, value.to_vec());
    })?;
    Ok((store, meta, model))
}

fn open(dir: &Path) -> (Store, Option<Vec<u8>>, Model) {
    open_with(dir, Options::default()).unwrap()
}

#[test]
fn a_long_opening_tells_how_far_it_has_come_from_its_beginning_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = Random(5);
    let (mut store, ..) = open_with(dir.path(), Options { checkpoint_commits: 1, ..Options::default() }).unwrap();
    for n in 0..200 {
        let values = (0..5).map(|i| put(n * 5 + i, &(0..700).map(|_| random.next(256) as u8).collect::<Vec<u8>>()));
        store.commit(b"meta", values.collect()).unwrap();
    }
    drop(store);
    let heard = |interval: Duration| {
        let said = Arc::new(Mutex::new(Vec::new()));
        let hear = Arc::clone(&said);
        let progress = Progress::new(move |done, of| hear.lock().unwrap().push((done, of))).every(interval);
        assert_eq!(open_with(dir.path(), Options { progress, ..Options::default() }).unwrap().2.len(), 1_000);
        let said = said.lock().unwrap();
        said.clone()
    };
    let said = heard(Duration::ZERO);
    assert!(said.is_sorted() && said.iter().all(|(done, of)| done <= of), "{said:?}");
    let of = said[0].1;
    // The hashes of all chunks come before the first record, and are half of it.
    assert!(said[0].0 < of / 10, "{said:?}");
    let half = of / 2;
    assert!(said.iter().filter(|(done, _)| *done < half).count() > 5 && said.last().unwrap().0 > half, "{said:?}");
    assert_eq!(heard(Duration::from_secs(3_600)), []);
}

/// A small generator of numbers, the same ones for the same seed.
struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % below
    }
}

fn apply(model: &mut Model, changes: &[Change]) {
    for change in changes {
        match &change.value {
            Some(value) => drop(model.insert(change.key, value.to_vec())),
            None => drop(model.remove(&change.key)),
        }
    }
}

#[test]
fn a_new_store_is_empty_and_stays_so() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("deep/er");
    for _ in 0..3 {
        let (_, meta, model) = open(&dir);
        assert_eq!((meta, model), (None, Model::new()));
    }
}

#[test]
fn what_was_committed_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, ..) = open(dir.path());
    store.commit(b"one", vec![put(1, b"a"), put(2, b"b")]).unwrap();
    store.commit(b"two", vec![delete(1), put(3, b""), delete(9)]).unwrap();
    assert_eq!(store.get(key(1)).unwrap(), None);
    assert_eq!(store.get(key(2)).unwrap().as_deref(), Some(&b"b"[..]));
    drop(store);
    let (mut store, meta, model) = open(dir.path());
    assert_eq!(meta.as_deref(), Some(&b"two"[..]));
    assert_eq!(model, Model::from([(key(2), b"b".to_vec()), (key(3), Vec::new())]));
    assert_eq!(store.get(key(2)).unwrap().as_deref(), Some(&b"b"[..]));
    assert_eq!(store.get(key(1)).unwrap(), None);
    assert_eq!(store.info().seq, 2);
}

#[test]
fn random_histories_with_restarts_equal_a_map() {
    for seed in 1..=6_u64 {
        let dir = tempfile::tempdir().unwrap();
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let options = || Options {
            checkpoint_commits: 1 + (seed as u32 * 7) % 40,
            compaction_floor: seed % 2 * 100_000,
            ..Options::default()
        };
        let (mut store, _, mut model) = open_with(dir.path(), options()).unwrap();
        let mut last_meta = None;
        for step in 0..250 {
            match random.next(40) {
                0 => {
                    drop(store);
                    let (reopened, meta, found) = open_with(dir.path(), options()).unwrap();
                    assert_eq!((&meta, &found), (&last_meta, &model), "seed {seed} step {step}");
                    store = reopened;
                }
                1 => {
                    let mut replacement = store.replace().unwrap();
                    model.clear();
                    for n in 0..random.next(60) {
                        let value = vec![step as u8; random.next(2_000) as usize];
                        replacement.put(key(n), &value).unwrap();
                        model.insert(key(n), value);
                    }
                    let meta = format!("replaced {step}").into_bytes();
                    replacement.finish(&meta).unwrap();
                    last_meta = Some(meta);
                }
                2 => drop(store.replace().unwrap()),
                3 => {
                    let n = random.next(80);
                    let found = store.get(key(n)).unwrap();
                    assert_eq!(found.as_deref(), model.get(&key(n)).map(Vec::as_slice), "seed {seed} step {step}");
                }
                _ => {
                    let longest = [100, 1_000, 20_000, 200_000][random.next(4) as usize];
                    let changes: Vec<Change> = (0..random.next(8))
                        .map(|_| match random.next(4) {
                            0 => delete(random.next(80)),
                            _ => put(random.next(80), &vec![step as u8; random.next(longest) as usize]),
                        })
                        .collect();
                    let meta = format!("step {step}").into_bytes();
                    apply(&mut model, &changes);
                    store.commit(&meta, changes).unwrap();
                    last_meta = Some(meta);
                }
            }
        }
        assert_eq!(store.info().state, State::Good);
        drop(store);
        let (_, meta, found) = open_with(dir.path(), options()).unwrap();
        assert_eq!((meta, found), (last_meta, model), "seed {seed}");
    }
}

#[test]
fn a_store_copied_while_it_runs_opens_at_its_last_commit() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, ..) = open_with(dir.path(), Options { checkpoint_commits: 30, ..Options::default() }).unwrap();
    let mut model = Model::new();
    for n in 0..100_u64 {
        let changes = vec![put(n % 17, &n.to_le_bytes()), delete((n + 5) % 17)];
        apply(&mut model, &changes);
        store.commit(&n.to_le_bytes(), changes).unwrap();
        if n % 9 == 0 {
            let copy = copy_of_one_moment(dir.path());
            let (_, meta, found) = open(copy.path());
            assert_eq!(meta.as_deref(), Some(&n.to_le_bytes()[..]));
            assert_eq!(found, model);
        }
    }
}

/// Copies until nothing has changed meanwhile: a checkpoint may be under way.
fn copy_of_one_moment(from: &Path) -> tempfile::TempDir {
    loop {
        let copy = tempfile::tempdir().unwrap();
        let (mut before, mut after) = (Vec::new(), Vec::new());
        let copied = look(from, &mut before).and_then(|()| copy_tree(from, copy.path()));
        if copied.and_then(|()| look(from, &mut after)).is_ok() && before == after {
            return copy;
        }
    }
}

/// All files, how long they are, and when they were written.
fn look(dir: &Path, found: &mut Vec<(PathBuf, u64, SystemTime)>) -> io::Result<()> {
    let mut entries = std::fs::read_dir(dir)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(std::fs::DirEntry::path);
    for entry in entries {
        let meta = entry.metadata()?;
        found.push((entry.path(), meta.len(), meta.modified()?));
        if meta.is_dir() {
            look(&entry.path(), found)?;
        }
    }
    Ok(())
}

fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &to.join(entry.file_name()))?;
        } else {
            std::fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

#[test]
fn a_commit_larger_than_a_journal_is_one_step_too() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, ..) = open(dir.path());
    let mut model = Model::new();
    for round in 0..5_u64 {
        let changes: Vec<Change> = (0..7).map(|n| put(n, &vec![round as u8; 400_000])).collect();
        apply(&mut model, &changes);
        store.commit(&round.to_le_bytes(), changes).unwrap();
        let small = vec![put(100 + round, b"small")];
        apply(&mut model, &small);
        store.commit(&round.to_le_bytes(), small).unwrap();
        drop(store);
        let (reopened, _, found) = open(dir.path());
        assert!(found == model, "round {round}");
        store = reopened;
    }
    let too_large = (0..9).map(|n| put(n, &vec![1; 500_000])).collect();
    assert!(matches!(store.commit(b"", too_large), Err(CommitError::CommitTooLarge(_))));
    assert!(matches!(store.commit(b"", vec![put(1, &vec![1; 600_000])]), Err(CommitError::ValueTooLarge(600_000))));
    assert!(matches!(store.commit(&[0; 5_000], vec![]), Err(CommitError::MetaTooLarge(5_000))));
    store.commit(b"end", vec![put(1, b"end")]).unwrap();
    apply(&mut model, &[put(1, b"end")]);
    drop(store);
    assert!(open(dir.path()).2 == model);
}

#[test]
fn a_replacement_is_all_or_nothing_and_the_old_generation_goes() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, ..) = open(dir.path());
    store.commit(b"old", vec![put(1, b"old")]).unwrap();
    let mut dropped = store.replace().unwrap();
    dropped.put(key(2), b"never").unwrap();
    drop(dropped);
    drop(store);
    let (mut store, meta, model) = open(dir.path());
    assert_eq!((meta.as_deref(), model.len()), (Some(&b"old"[..]), 1));
    let mut replacement = store.replace().unwrap();
    replacement.put(key(3), b"first").unwrap();
    replacement.put(key(3), &vec![9; 40_000]).unwrap();
    replacement.put(key(3), b"new").unwrap();
    replacement.finish(b"new").unwrap();
    assert_eq!(store.get(key(1)).unwrap(), None);
    store.commit(b"newer", vec![put(4, b"newer")]).unwrap();
    assert!(!dir.path().join("gen-1").exists());
    drop(store);
    let (mut store, meta, model) = open(dir.path());
    assert_eq!(meta.as_deref(), Some(&b"newer"[..]));
    assert_eq!(model, Model::from([(key(3), b"new".to_vec()), (key(4), b"newer".to_vec())]));
    assert_eq!((store.info().generation, store.info().records), (2, 1));
}

#[test]
fn only_one_holds_a_store_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let (store, ..) = open(dir.path());
    assert!(matches!(open_with(dir.path(), Options::default()), Err(OpenError::Locked(_))));
    assert!(matches!(store::quarantine(dir.path()), Err(OpenError::Locked(_))));
    assert!(matches!(store::wipe(dir.path()), Err(OpenError::Locked(_))));
    drop(store);
    open(dir.path());
}

#[test]
fn a_wiped_store_is_empty() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, ..) = open(dir.path());
    store.commit(b"m", vec![put(1, b"v")]).unwrap();
    drop(store);
    std::fs::write(dir.path().join("somebody-elses"), b"file").unwrap();
    store::wipe(dir.path()).unwrap();
    assert!(dir.path().join("somebody-elses").exists());
    assert_eq!(open(dir.path()).1, None);
}

#[test]
fn a_quarantined_store_is_kept_once_and_a_fresh_one_opens() {
    let dir = tempfile::tempdir().unwrap();
    for round in 1..4 {
        let (mut store, meta, _) = open(dir.path());
        assert_eq!(meta, None);
        store.commit(b"m", vec![put(1, b"v")]).unwrap();
        drop(store);
        store::quarantine(dir.path()).unwrap();
        let kept: Vec<_> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with("quarantine"))
            .collect();
        assert_eq!(kept, [format!("quarantine-{round}")]);
    }
}
