//! What a store promises when one of its two copies, sled or the archive, is damaged: it goes on, makes it anew from the
//! other, says so, and has lost nothing.

mod lab;

use std::fs;
use std::path::{Path, PathBuf};

use lab::{commit, copy_tree, generation, key, open, open_as, options, runs, stored};
use store::{CommitError, Options};

#[test]
fn a_store_opens_without_sled_and_makes_it_anew() {
    let (dir, mut model) = stored(1..90);
    fs::remove_dir_all(generation(dir.path()).join("sled")).unwrap();
    let (mut store, found) = open(dir.path());
    assert!(found == model);
    assert_eq!(store.reports().last(), None, "sled was not needed yet");
    commit(&mut store, &mut model, 90..150);
    drop(store);
    let (mut store, found) = open(dir.path());
    assert!(found == model);
    assert_eq!(generation(dir.path()), dir.path().join("gen-2"));
    assert!(dir.path().join("quarantine-1/gen-1/j0").exists(), "what was damaged is set aside");
    commit(&mut store, &mut model, 150..200);
    assert_eq!(store.info().state, store::State::Good);
}

#[test]
fn sled_lost_while_it_runs_is_made_anew_without_a_failed_commit_and_said_so() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, mut model) = open(dir.path());
    commit(&mut store, &mut model, 1..50);
    // In one step: a checkpoint may be writing there.
    fs::rename(generation(dir.path()).join("sled"), dir.path().join("lost")).unwrap();
    commit(&mut store, &mut model, 50..3_000);
    let report = store.reports().last().expect("a report");
    assert!(!report.lost && report.text.contains("made anew"), "{report:?}");
    assert_eq!(store.info().generation, 2);
    for n in 0..50 {
        assert_eq!(store.get(key(n)).unwrap().as_deref(), model.get(&key(n)).map(Vec::as_slice));
    }
    drop(store);
    assert!(open(dir.path()).1 == model);
}

#[test]
fn an_older_sled_put_back_is_made_anew_at_its_next_checkpoint() {
    let (dir, mut model) = stored(1..50);
    let sled = generation(dir.path()).join("sled");
    let old = dir.path().join("old");
    copy_tree(&sled, &old);
    let (mut store, _) = open(dir.path());
    commit(&mut store, &mut model, 50..100);
    drop(store);
    fs::remove_dir_all(&sled).unwrap();
    copy_tree(&old, &sled);
    let (mut store, found) = open(dir.path());
    assert!(found == model);
    commit(&mut store, &mut model, 100..200);
    let reports = store.reports();
    drop(store);
    assert!(reports.last().is_some_and(|report| !report.lost && report.text.contains("it had come to")));
    assert!(open(dir.path()).1 == model);
}

#[test]
fn an_archive_that_is_damaged_missing_or_behind_is_written_anew_from_sled() {
    for how in ["damaged", "missing", "behind"] {
        let (dir, mut model) = stored(1..70);
        let generation = generation(dir.path());
        match how {
            "damaged" => {
                let path = &runs(&generation)[0];
                let mut bytes = fs::read(path).unwrap();
                bytes[50] ^= 1;
                fs::write(path, bytes).unwrap();
            }
            "missing" => runs(&generation).iter().for_each(|path| fs::remove_file(path).unwrap()),
            _ => {
                // As after the last release had the store for a while: it knows nothing of archives.
                let old = dir.path().join("old");
                let kept: Vec<PathBuf> = runs(&generation);
                copy_tree(&generation, &old);
                let (mut store, _) = open(dir.path());
                commit(&mut store, &mut model, 70..140);
                drop(store);
                runs(&generation).iter().for_each(|path| fs::remove_file(path).unwrap());
                for path in &kept {
                    fs::copy(old.join(path.file_name().unwrap()), path).unwrap();
                }
            }
        }
        let (mut store, found) = open(dir.path());
        assert!(found == model, "{how}");
        assert_eq!(runs(&generation).len(), 1, "{how}");
        commit(&mut store, &mut model, 200..300);
        drop(store);
        fs::remove_dir_all(generation.join("sled")).unwrap();
        assert!(open(dir.path()).1 == model, "{how}: the new archive is whole");
    }
}

/// What `verify` says of a store to whose files this happened.
fn verified(damage: impl FnOnce(&Path)) -> String {
    let (dir, model) = stored(1..70);
    damage(&generation(dir.path()));
    let (mut store, found) = open(dir.path());
    assert!(found == model);
    match store.verify() {
        Ok(()) => String::new(),
        Err(CommitError::Corrupt(what)) => what,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn verify_reads_both_copies_and_names_the_one_that_fails() {
    assert_eq!(verified(|_| ()), "");
    let sled = verified(|generation| fs::write(generation.join("sled/db"), b"nothing of sled's").unwrap());
    assert!(sled.starts_with("sled: "), "{sled}");
    // Nor can it be written anew.
    let none = verified(|generation| {
        let name = runs(generation).pop().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
        let (_, to) = name.rsplit_once('-').unwrap();
        runs(generation).iter().for_each(|path| fs::remove_file(path).unwrap());
        fs::create_dir(generation.join(format!("run-0-{to}.tmp"))).unwrap();
    });
    assert_eq!(none, "there is no archive");
}

#[test]
fn verify_reads_the_archive_that_was_good_a_moment_ago() {
    let (dir, _) = stored(1..70);
    let (mut store, _) = open(dir.path());
    store.verify().unwrap();
    let run = runs(&generation(dir.path())).remove(0);
    let mut bytes = fs::read(&run).unwrap();
    bytes[60] ^= 1;
    fs::write(&run, bytes).unwrap();
    let error = store.verify().unwrap_err().to_string();
    assert!(error.contains("archive: run-"), "{error}");
}

#[test]
fn verify_names_a_sled_that_is_older_than_the_archive() {
    let (dir, mut model) = stored(1..50);
    let (sled, old) = (generation(dir.path()).join("sled"), dir.path().join("old"));
    copy_tree(&sled, &old);
    let (mut store, _) = open(dir.path());
    commit(&mut store, &mut model, 50..100);
    drop(store);
    fs::remove_dir_all(&sled).unwrap();
    copy_tree(&old, &sled);
    let (mut store, found) = open(dir.path());
    assert!(found == model);
    let error = store.verify().unwrap_err().to_string();
    assert!(error.contains("sled: it is of commit"), "{error}");
}

#[test]
fn both_copies_damaged_is_an_error_and_not_a_guess() {
    let (dir, _) = stored(1..70);
    let generation = generation(dir.path());
    runs(&generation).iter().for_each(|path| fs::write(path, b"nothing of ours").unwrap());
    fs::write(generation.join("sled/db"), b"nothing of ours").unwrap();
    assert!(open_as(dir.path(), options()).unwrap_err().is_corrupt());
}

#[test]
fn the_small_files_that_say_the_same_heal_each_other() {
    for name in ["CURRENT", "gen-1/provisioned"] {
        for damage in ["gone", "flipped", "empty"] {
            let dir = tempfile::tempdir().unwrap();
            let (mut store, mut model) = open(dir.path());
            commit(&mut store, &mut model, 1..30);
            drop(store);
            let path = dir.path().join(name);
            let mut bytes = fs::read(&path).unwrap();
            bytes[3] ^= 4;
            match damage {
                "gone" => fs::remove_file(&path).unwrap(),
                "flipped" => fs::write(&path, bytes).unwrap(),
                _ => fs::write(&path, b"").unwrap(),
            }
            let careful = Options { salvage: false, ..options() };
            let (store, found) = open_as(dir.path(), careful).unwrap();
            assert!(found == model, "{name} {damage}");
            assert!(store.reports().last().is_some_and(|report| !report.lost), "{name} {damage}");
            drop(store);
            assert_eq!(open(dir.path()).0.reports().last(), None, "{name} {damage} is healed");
        }
    }
}
