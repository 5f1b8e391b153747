use super::*;
use crate::fault::{Failure, Faults, On};
use crate::sled_thread::ABANDONED_MAX;
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
    // Not damage, which would be healed.
    let faults = Faults::plan(&dir.path().join("gen-1/sled"), 0, u64::MAX, io::ErrorKind::Other);
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
    drop(faults);
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

#[test]
fn numbers_to_which_nothing_can_be_added_are_refused_and_not_added_to() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, ..) = open(dir.path());
    store.commit(b"one", put(1, 100)).unwrap();
    drop(store);
    layout::set_current(dir.path(), u64::MAX).unwrap();
    let current = Store::open(dir.path(), Options::default(), &mut |_, _| {});
    // The marker names the generation that there is.
    assert!(current.is_ok_and(|(store, _)| store.generation == 1));
    let frame = Frame { prev: 1, seq: u64::MAX, meta: b"two".to_vec(), content: Content::Here(put(2, 10)) };
    let (mut store, ..) = open(dir.path());
    store.journal.append(&frame).unwrap();
    drop(store);
    let (_, meta, found) = open(dir.path());
    assert_eq!((meta.as_deref(), found), (Some(&b"one"[..]), vec![1]));
}

/// Long enough for a checkpoint, and for a healing, that does not hang.
const PATIENCE: Duration = Duration::from_millis(1_500);

fn sled_of(store: &Store) -> PathBuf {
    store.generation_dir().join("sled")
}

#[test]
fn a_panic_in_sled_costs_a_checkpoint_and_no_commit() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, ..) = open(dir.path());
    let faults = Faults::of(&sled_of(&store), On::Writes, (0, 1), Failure::Panic);
    // More than both journals hold.
    (0..20).for_each(|n| store.commit(b"meta", put(n, 100_000)).unwrap());
    assert!(faults.have_fired());
    let report = store.reports().last().expect("a report");
    assert!(!report.lost && report.text.contains("the checkpoint panicked"), "{report:?}");
    drop(store);
    let (_, meta, found) = open(dir.path());
    assert_eq!((meta.as_deref(), found), (Some(&b"meta"[..]), (0..20).collect()));
}

#[test]
fn a_thread_of_sleds_that_hangs_is_given_up_and_checkpoints_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, ..) = open(dir.path());
    store.patience = PATIENCE;
    let faults = Faults::of(&sled_of(&store), On::Writes, (0, 1), Failure::Hang);
    let (mut longest, generation) = (Duration::ZERO, store.info().generation);
    for n in 0..40 {
        let begun = Instant::now();
        store.commit(b"meta", put(n, 100_000)).unwrap();
        longest = longest.max(begun.elapsed());
    }
    assert!(faults.have_fired() && longest < PATIENCE * 2 + Duration::from_secs(5), "{longest:?}");
    store.wait();
    let info = store.info();
    assert_eq!(info.state, State::Good);
    assert!(info.generation > generation && info.records > 0, "sled was made anew, and checkpoints go on: {info:?}");
    let report = store.reports().last().expect("a report");
    assert!(!report.lost && report.text.contains("sled does not answer"), "{report:?}");
    // It goes on after all, in files that are set aside.
    drop(faults);
    store.commit(b"end", put(40, 10)).unwrap();
    store.verify().unwrap();
    drop(store);
    let (mut store, meta, found) = open(dir.path());
    assert_eq!((meta.as_deref(), found), (Some(&b"end"[..]), (0..=40).collect()));
    store.verify().unwrap();
}

#[test]
fn where_every_thread_of_sleds_hangs_commits_fail_at_once_and_go_on_when_one_ends() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, ..) = open(dir.path());
    store.patience = Duration::from_millis(100);
    // Whatever is written of a generation of sled's hangs; the journals do not.
    let hang = |path: &std::path::Path| Faults::of(path, On::Writes, (0, u64::MAX), Failure::Hang);
    let all: Vec<Faults> = (1..=4).map(|n| hang(&dir.path().join(format!("gen-{n}/sled")))).collect();
    let mut acknowledged = 0;
    let until = Instant::now() + Duration::from_secs(60);
    while !store.worker.is_exhausted() {
        if store.commit(b"meta", put(acknowledged, 100_000)).is_ok() {
            acknowledged += 1;
        }
        assert!(Instant::now() < until, "{:?}", store.reports());
    }
    let fails = |store: &mut Store| {
        let begun = Instant::now();
        let failed = matches!(store.commit(b"more", put(200, 100_000)), Err(CommitError::Checkpoint(_)));
        failed.then(|| begun.elapsed())
    };
    // What room is left, they have.
    let took = loop {
        match fails(&mut store) {
            Some(took) => break took,
            None => assert!(Instant::now() < until),
        }
    };
    assert!(took < Duration::from_secs(10), "nothing is waited for: {took:?}");
    assert!(matches!(store.info().state, State::CheckpointFails(_)));
    let report = store.reports().last().expect("a report");
    assert!(!report.lost && report.text.contains(&format!("as long as {ABANDONED_MAX} hang")), "{report:?}");
    drop(all);
    while fails(&mut store).is_some() {
        assert!(Instant::now() < until, "{:?} {:?}", store.info(), store.reports());
        std::thread::yield_now();
    }
    drop(store);
    let (_, meta, found) = open(dir.path());
    assert_eq!(meta.as_deref(), Some(&b"more"[..]));
    assert_eq!(found, (0..acknowledged).chain([200]).collect::<Vec<_>>());
}

/// A store that is looked through without a pause, with thirty records in both copies.
fn looked_through(dir: &std::path::Path) -> Store {
    let none = Duration::ZERO;
    let pace = crate::Pace { pause: none, first: none, step: none, every: none, bytes: 4_000 };
    let (mut store, _) = Store::open(dir, Options { pace, ..Options::default() }, &mut |_, _| {}).unwrap();
    (0..30).for_each(|n| store.commit(b"meta", put(n, 1_000)).unwrap());
    store.turn().unwrap();
    store.wait();
    assert_eq!(store.root.records, 30);
    store
}

const EIO: i32 = 5;

#[test]
fn what_cannot_be_read_of_one_copy_is_made_anew_from_the_other_while_the_store_runs() {
    for copy in ["the archive", "sled"] {
        let dir = tempfile::tempdir().unwrap();
        let mut store = looked_through(dir.path());
        let run = store.archive.as_ref().unwrap().runs()[0].path().to_path_buf();
        let unreadable = if copy == "sled" { sled_of(&store) } else { run };
        let faults = Faults::of(&unreadable, On::Reads, (0, 1), Failure::Errno(EIO));
        let until = Instant::now() + Duration::from_secs(60);
        while store.reports().last().is_none() {
            store.scrub(Instant::now());
            assert!(Instant::now() < until);
            std::thread::yield_now();
        }
        assert!(faults.have_fired());
        let report = store.reports().last().unwrap();
        assert!(report.text.starts_with(&format!("{copy} was made anew")) && !report.lost, "{report:?}");
        assert!(report.text.contains("os error 5"), "{report:?}");
        store.verify().unwrap();
        drop(store);
        assert_eq!(open(dir.path()).2, (0..30).collect::<Vec<_>>());
    }
}

#[test]
fn an_archive_that_could_not_be_read_once_is_good_enough_to_make_a_damaged_sled_anew() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = looked_through(dir.path());
    fs::write(sled_of(&store).join("db"), b"nothing of sled's").unwrap();
    let run = store.archive.as_ref().unwrap().runs()[0].path().to_path_buf();
    let faults = Faults::of(&run, On::Reads, (0, 1), Failure::Errno(EIO));
    assert!(store.get(put(7, 0)[0].key).is_err() && faults.have_fired());
    store.commit(b"end", put(30, 10)).unwrap();
    store.turn().unwrap();
    store.wait();
    store.wait_for_healing(Instant::now() + PATIENCE * 10);
    assert_eq!(store.reports().ruined(), None);
    assert_eq!(store.info().state, State::Good);
    assert!(store.get(put(7, 0)[0].key).unwrap().is_some());
    drop(store);
    assert_eq!(open(dir.path()).2, (0..=30).collect::<Vec<_>>());
}
