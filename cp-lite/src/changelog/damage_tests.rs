//! What is damaged on disk while a control plane runs is made good out of its memory where the disk has nothing left.

use super::tests::{block_on, consumer, transaction};
use super::{Changelog, Local};
use model::Id;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

fn open(dir: &Path) -> (Local, usize) {
    let none = Duration::ZERO;
    let pace = store::Pace { pause: none, first: none, step: none, every: none, ..store::Pace::default() };
    let options = store::Options { checkpoint_commits: 4, pace, ..store::Options::default() };
    let (changelog, nodes) = Local::open(dir, options).unwrap();
    (changelog, nodes.len())
}

/// Looks through the database until its reports are as wanted.
fn scrub_until(changelog: &Local, enough: impl Fn(&store::Reports) -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !enough(&changelog.reports()) {
        assert!(Instant::now() < until, "it took too long: {:?}", changelog.reports());
        block_on(changelog.scrub()).expect("there is something to look through");
    }
}

/// Damages both copies of the content.
fn damage(dir: &Path) {
    let generation = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let generation = generation.into_iter().find(|path| path.to_string_lossy().contains("gen-")).unwrap();
    for entry in fs::read_dir(&generation).unwrap().map(Result::unwrap) {
        if entry.file_name().to_string_lossy().starts_with("run-") {
            let mut bytes = fs::read(entry.path()).unwrap();
            bytes[60] ^= 1;
            fs::write(entry.path(), bytes).unwrap();
        }
    }
    fs::write(generation.join("sled/db"), b"nothing of sled's").unwrap();
}

#[test]
fn a_database_damaged_in_both_copies_is_written_anew_from_memory_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (changelog, _) = open(dir.path());
    for n in 1..=30_u128 {
        block_on(changelog.commit(transaction([consumer(n, &format!("name-{n}"))]))).unwrap();
    }
    block_on(changelog.note(Id(9), Some(b"row".to_vec()))).unwrap();
    drop(changelog);
    let (changelog, nodes) = open(dir.path());
    assert_eq!(nodes, 1);
    scrub_until(&changelog, |reports| reports.passes().count > 0);
    damage(dir.path());
    scrub_until(&changelog, |reports| reports.last().is_some_and(|report| report.text.ends_with("that was done")));
    block_on(changelog.commit(transaction([consumer(31, "after")]))).unwrap();
    let before = changelog.view();
    drop(changelog);
    let (changelog, nodes) = open(dir.path());
    let after = changelog.view();
    assert_eq!((after.epoch, after.version, nodes), (before.epoch, 31, 1));
    assert_eq!(after.catalog.digest(), before.catalog.digest());
}
