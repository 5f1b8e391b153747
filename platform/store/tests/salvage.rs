//! What a store promises where more is damaged than it can make good: the newest content that is whole is served, it is that
//! of one commit, and that later ones are gone is said.

mod lab;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use lab::{Model, commit, copy_tree, generation, key, open, open_as, options, runs};
use store::{Change, Options};

/// 49 commits, of which the last ones are in no checkpoint.
fn make(dir: &Path) -> Model {
    let (mut store, mut model) = open(dir);
    commit(&mut store, &mut model, 1..41);
    drop(store);
    let (mut store, _) = open_as(dir, Options { checkpoint_commits: 4096, ..options() }).unwrap();
    commit(&mut store, &mut model, 41..50);
    model
}

/// Damages the first frame of each journal, with whole ones behind it.
fn damage_frames(generation: &Path) {
    for name in ["j0", "j1"] {
        let path = generation.join(name);
        let mut bytes = fs::read(&path).unwrap();
        bytes[8192 + 30] ^= 1;
        fs::write(path, bytes).unwrap();
    }
}

/// What is found is the content of one commit, whole; its number is returned.
fn judge_salvaged(dir: &Path) -> u64 {
    let careful = Options { salvage: false, ..options() };
    let refused = open_as(dir, careful).is_err_and(|error| error.is_corrupt());
    assert!(refused, "only those who ask for it get an older content");
    let (mut store, found) = open(dir);
    let report = store.reports().last().expect("a report");
    assert!(report.lost && report.text.contains("may be lost"), "{report:?}");
    let seq = store.info().seq;
    let mut expected = Model::new();
    let other = tempfile::tempdir().unwrap();
    commit(&mut open(other.path()).0, &mut expected, 1..seq + 1);
    assert!(found == expected, "what is kept is the content of commit {seq}");
    assert!(dir.join("quarantine-1").exists(), "what was damaged is set aside");
    commit(&mut store, &mut expected, 60..90);
    drop(store);
    let (store, found) = open(dir);
    assert!(found == expected && store.reports().last().is_none());
    seq
}

#[test]
fn a_damaged_journal_costs_what_was_in_it_and_the_loss_is_said() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path());
    damage_frames(&generation(dir.path()));
    let seq = judge_salvaged(dir.path());
    assert!((20..49).contains(&seq), "{seq}");
    assert!(dir.path().join("quarantine-1/gen-1/j0").exists());
}

#[test]
fn an_archive_and_journals_damaged_at_once_leave_what_sled_holds() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path());
    let generation = generation(dir.path());
    runs(&generation).iter().for_each(|path| fs::write(path, b"nothing of ours").unwrap());
    damage_frames(&generation);
    let seq = judge_salvaged(dir.path());
    assert!((20..49).contains(&seq), "the last checkpoint was of commit 20 or later: {seq}");
}

#[test]
fn of_an_archive_the_runs_before_the_damaged_one_are_of_use_where_nothing_else_is() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, mut model) = open(dir.path());
    // A base large enough that what follows stays beside it.
    let large = (0..40).map(|n| Change { key: key(1_000 + n), value: Some(Arc::from(random(30_000, n).as_slice())) });
    store.commit(b"large", large.collect()).unwrap();
    for _ in 0..4 {
        drop(store);
        store = open(dir.path()).0;
        for n in 0..30 {
            store.commit(b"more", vec![Change { key: key(n), value: Some(Arc::from(&[n as u8; 9][..])) }]).unwrap();
        }
    }
    model.extend((0..40).map(|n| (key(1_000 + n), random(30_000, n))));
    drop(store);
    let generation = generation(dir.path());
    let all = runs(&generation);
    assert!(all.len() > 1, "{all:?}");
    let newest = all.iter().max_by_key(|path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.split('-').next_back().unwrap().parse::<u64>().unwrap()
    });
    fs::write(newest.unwrap(), b"nothing of ours").unwrap();
    fs::write(generation.join("sled/db"), b"nothing of sled's").unwrap();
    damage_frames(&generation);
    let (store, found) = open(dir.path());
    assert!(store.reports().last().is_some_and(|report| report.lost));
    assert!(model.iter().all(|(key, value)| found.get(key) == Some(value)), "the base is whole");
}

#[test]
fn a_journal_whose_header_is_gone_is_read_by_the_number_of_the_other_one() {
    let dir = tempfile::tempdir().unwrap();
    let model = make(dir.path());
    let generation = generation(dir.path());
    for name in ["j0", "j1"] {
        let copy = tempfile::tempdir().unwrap();
        copy_tree(dir.path(), copy.path());
        let path = copy.path().join(generation.file_name().unwrap()).join(name);
        let mut bytes = fs::read(&path).unwrap();
        bytes[..8192].fill(0);
        fs::write(path, bytes).unwrap();
        let (mut store, found) = open(copy.path());
        assert!(store.reports().last().is_some_and(|report| report.lost), "nobody can know that nothing is missing");
        assert_eq!(store.info().seq, 49);
        assert!(found == model, "{name}");
    }
}

/// Bytes that do not compress.
fn random(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_add(1).wrapping_mul(0x2545_f491_4f6c_dd1d);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..len).map(|_| next()).collect()
}
