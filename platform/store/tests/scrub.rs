//! What a store promises while it runs: damage to any of its files is found without a restart, made good, and said, and a
//! store in which nothing is wrong is not written to.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use store::{Change, Encryption, Key, Mode, Options, Pace, Secret, Store};

type Model = BTreeMap<Key, Vec<u8>>;
type Damage = fn(&Path);

fn key(n: u64) -> Key {
    Key { table: 0, kind: 1, id: u128::from(n).to_be_bytes() }
}

fn pace(bytes: u64) -> Pace {
    let none = Duration::ZERO;
    Pace { pause: none, first: none, step: none, every: none, bytes }
}

fn options() -> Options {
    Options { checkpoint_commits: 20, pace: pace(4_000), ..Options::default() }
}

fn open_as(dir: &Path, options: Options) -> (Store, Model) {
    let mut model = Model::new();
    let load = &mut |key: Key, value: &[u8]| assert!(model.insert(key, value.to_vec()).is_none());
    let (store, _) = Store::open(dir, options, load).unwrap();
    (store, model)
}

fn open(dir: &Path) -> (Store, Model) {
    open_as(dir, options())
}

fn commit(store: &mut Store, model: &mut Model, numbers: std::ops::Range<u64>) {
    for n in numbers {
        let (k, value) = (key(n * 7 % 90), vec![n as u8; (n * 37 % 2_000) as usize]);
        store.commit(&n.to_le_bytes(), vec![Change { key: k, value: Some(Arc::from(value.as_slice())) }]).unwrap();
        model.insert(k, value);
    }
}

/// Whole passes, until `enough`.
fn scrub_until(store: &mut Store, enough: impl Fn(&Store) -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !enough(store) {
        assert!(Instant::now() < until, "it took too long: {:?}", store.reports());
        store.scrub(Instant::now());
        std::thread::yield_now();
    }
}

fn passes(store: &mut Store, more: u64) {
    let before = store.reports().passes().count;
    scrub_until(store, |store| store.reports().passes().count >= before + more);
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

fn named(dir: &Path, name: &str) -> PathBuf {
    let is_named = |path: &&PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(name);
    let all = files(dir);
    all.iter().find(|path| is_named(path) && !path.to_str().unwrap().contains("quarantine")).unwrap().clone()
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// A store with both copies, and commits in the journal beside.
fn make(dir: &Path, options: Options) -> (Store, Model) {
    let (mut store, mut model) = open_as(dir, options);
    commit(&mut store, &mut model, 1..130);
    drop(store);
    open_as(dir, store_options(dir))
}

fn store_options(dir: &Path) -> Options {
    if dir.join("encrypted").exists() { encrypted() } else { options() }
}

fn encrypted() -> Options {
    let encryption = Encryption { mode: Mode::Aes256Gcm, secret: Some(Secret::new(b"secret")), former: None };
    Options { encryption, ..options() }
}

#[test]
fn a_pass_over_a_store_in_which_nothing_is_wrong_finds_nothing_and_writes_nothing() {
    for options in [options(), encrypted()] {
        let dir = tempfile::tempdir().unwrap();
        if options.encryption.mode != Mode::Off {
            fs::write(dir.path().join("encrypted"), b"").unwrap();
        }
        let (mut store, _) = make(dir.path(), options);
        let look = || {
            let facts =
                |path: PathBuf| (fs::metadata(&path).unwrap().modified().unwrap(), fs::read(&path).unwrap(), path);
            files(dir.path()).into_iter().map(facts).collect::<Vec<_>>()
        };
        let before = look();
        passes(&mut store, 3);
        assert!(look() == before);
        assert_eq!((store.reports().last(), store.reports().count()), (None, 0));
    }
}

#[test]
fn damage_to_any_file_is_found_while_the_store_runs_and_made_good_and_nothing_is_lost() {
    // A chunk of the archive, its index, a run gone; sled's records, its conf, its log cut; each header; the rest.
    let damages: [(&str, Damage); 11] = [
        ("run-", |path| flip(path, 200)),
        ("run-", |path| flip(path, fs::metadata(path).unwrap().len() as usize - 60)),
        ("run-", |path| fs::remove_file(path).unwrap()),
        ("db", |path| flip(path, 3_000)),
        ("db", |path| fs::write(path, &fs::read(path).unwrap()[..2_000]).unwrap()),
        ("conf", |path| flip(path, 5)),
        ("conf", |path| fs::remove_file(path).unwrap()),
        ("j0", |path| flip(path, 20)),
        ("j1", |path| flip(path, 4_096 + 20)),
        ("provisioned", |path| fs::remove_file(path).unwrap()),
        ("CURRENT", |path| flip(path, 12)),
    ];
    for (number, (name, damage)) in damages.into_iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let (mut store, mut model) = make(dir.path(), options());
        passes(&mut store, 1);
        damage(&named(dir.path(), name));
        scrub_until(&mut store, |store| store.reports().last().is_some());
        let report = store.reports().last().unwrap();
        assert!(!report.lost && report.text.contains("nothing was lost"), "{number} {name}: {report:?}");
        commit(&mut store, &mut model, 200..230);
        passes(&mut store, 2);
        let count = store.reports().count();
        passes(&mut store, 2);
        assert_eq!(store.reports().count(), count, "{number} {name} is good again");
        drop(store);
        let (mut store, found) = open(dir.path());
        assert!(found == model, "{number} {name}");
        store.verify().unwrap();
    }
}

#[test]
fn a_damaged_key_is_written_anew_while_the_store_runs() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("encrypted"), b"").unwrap();
    let (mut store, model) = make(dir.path(), encrypted());
    flip(&named(dir.path(), "key"), 40);
    scrub_until(&mut store, |store| store.reports().last().is_some());
    assert!(store.reports().last().unwrap().text.contains("the key"));
    drop(store);
    assert!(open_as(dir.path(), encrypted()).1 == model);
}

#[test]
fn frames_that_no_checkpoint_has_yet_come_into_one_when_they_are_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, mut model) = make(dir.path(), options());
    commit(&mut store, &mut model, 300..305);
    let used = |path: &Path| fs::read(path).unwrap()[8_192..].starts_with(b"EGf1");
    for journal in ["j0", "j1"].map(|name| named(dir.path(), name)).iter().filter(|path| used(path)) {
        flip(journal, 8_192 + 45);
    }
    scrub_until(&mut store, |store| store.reports().last().is_some());
    let report = store.reports().last().unwrap();
    assert!(report.text.contains("in the checkpoint, and nothing was lost"), "{report:?}");
    drop(store);
    assert!(open(dir.path()).1 == model);
}

#[test]
fn where_both_copies_are_damaged_commits_fail_until_the_whole_content_is_written_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, model) = make(dir.path(), options());
    flip(&named(dir.path(), "run-"), 200);
    fs::write(named(dir.path(), "db"), b"nothing of sled's").unwrap();
    scrub_until(&mut store, |store| store.reports().ruined().is_some());
    let error = store.commit(b"meta", vec![Change { key: key(1), value: None }]).unwrap_err();
    assert!(matches!(error, store::CommitError::Corrupt(_)), "{error}");
    let mut replacement = store.replace().unwrap();
    for (key, value) in &model {
        replacement.put(*key, value).unwrap();
    }
    replacement.finish(b"anew").unwrap();
    assert_eq!(store.reports().ruined(), None);
    store.commit(b"meta", vec![Change { key: key(1), value: None }]).unwrap();
    passes(&mut store, 1);
    drop(store);
    let (_, found) = open(dir.path());
    assert!(found.len() == model.len() - usize::from(model.contains_key(&key(1))));
}

#[test]
fn passes_come_to_an_end_although_checkpoints_come_all_the_time() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, mut model) = make(dir.path(), options());
    let (mut n, before) = (1_000, store.reports().passes().count);
    let patience = Instant::now() + Duration::from_secs(300);
    while store.reports().passes().count < before + 3 {
        // Some keys again and again: a store that grew all the while would be looked through ever more slowly.
        let at = 1_000 + n % 700;
        commit(&mut store, &mut model, at..at + 7);
        for _ in 0..60 {
            store.scrub(Instant::now());
            // The thread that reads gets a turn, as it does between the commits of a program.
            std::thread::sleep(Duration::from_millis(1));
        }
        n += 7;
        // By the clock, not by commits: on a busy machine the thread that reads gets to few of them.
        assert!(Instant::now() < patience, "no pass came to an end in {n} commits");
    }
    assert_eq!(store.reports().last(), None);
    drop(store);
    assert!(open(dir.path()).1 == model);
}

#[test]
fn nothing_is_read_before_the_pause_is_over_and_the_next_pass_is_a_day_later() {
    let dir = tempfile::tempdir().unwrap();
    drop(make(dir.path(), options()));
    let (mut store, _) = open_as(dir.path(), Options::default());
    let (start, pace) = (Instant::now(), Pace::default());
    assert_eq!(store.scrub(start), start + pace.pause);
    assert_eq!(store.scrub(start + pace.pause / 2), start + pace.pause);
    let mut now = start + pace.pause;
    let mut calls = 0;
    loop {
        let next = store.scrub(now);
        calls += 1;
        if store.reports().passes().count == 1 {
            assert_eq!(next, now + pace.every);
            break;
        }
        assert_eq!(next, now + pace.first);
        assert!(calls < 10_000);
        std::thread::yield_now();
        now = next;
    }
}
