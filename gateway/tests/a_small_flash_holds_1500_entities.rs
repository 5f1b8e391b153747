//! How many entities a flash of 16 MB holds, with all that a store has beside them: both copies, both journals, the reserve,
//! what changes leave behind until it is compacted, and the next generation and its blob while a full sync arrives.

use gateway::declarative;
use gateway::state;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use store::{Change, Options, Store};
use tests::generate::{Config, Shape};

/// What the README says fits on [`FLASH_BYTES`].
const ENTITIES: usize = 1_500;
/// As many, or another number: of more, it is only told what they take.
fn entities() -> usize {
    std::env::var("EDGE_FLASH_ENTITIES").ok().and_then(|count| count.parse().ok()).unwrap_or(ENTITIES)
}
/// Of a flash of 16 MiB, with some left to its file system.
const FLASH_BYTES: u64 = 16_000_000;
/// Single changes before the full sync.
const CHANGES: usize = 6_000;

fn size(path: &Path) -> u64 {
    let Ok(found) = fs::symlink_metadata(path) else { return 0 };
    if !found.is_dir() {
        return found.len();
    }
    let Ok(entries) = fs::read_dir(path) else { return 0 };
    entries.filter_map(|entry| Some(size(&entry.ok()?.path()))).sum()
}

/// Looks all the time how large a directory is; gives the most that it ever was when it is told to end.
fn watch(dir: PathBuf, end: Arc<AtomicBool>) -> thread::JoinHandle<u64> {
    thread::spawn(move || {
        let mut most = 0;
        while !end.load(Ordering::Relaxed) {
            most = most.max(size(&dir));
            thread::sleep(Duration::from_millis(2));
        }
        most
    })
}

fn fill(store: &mut Store, records: &[model::Record]) {
    let mut replacement = store.replace().unwrap();
    for record in records {
        replacement.put(state::key(record.kind, record.id), &state::value(record)).unwrap();
    }
    replacement.finish(b"meta").unwrap();
}

#[test]
fn so_many_entities_fit_on_16_mb_while_they_change_and_while_a_full_sync_arrives() {
    let entities = entities();
    let config = Config { shape: Shape::of(entities), seed: 1, origin: "127.0.0.1:1".parse().unwrap() };
    let json = config.declarative().to_string();
    let records = declarative::compile(Path::new("kong.json"), json.into_bytes()).unwrap().records;
    assert!(records.len() == entities, "{} entities", records.len());
    let values: usize = records.iter().map(|record| state::value(record).len()).sum();
    let dir = tempfile::tempdir().unwrap();
    let end = Arc::new(AtomicBool::new(false));
    let most = watch(dir.path().to_owned(), end.clone());
    let (mut store, _) = Store::open(dir.path(), Options::default(), &mut |_, _| {}).unwrap();
    fill(&mut store, &records);
    let filled = store.info();
    for record in records.iter().cycle().take(CHANGES) {
        let change = Change { key: state::key(record.kind, record.id), value: Some(state::value(record)) };
        store.commit(b"meta", vec![change]).unwrap();
    }
    let changed = store.info();
    fill(&mut store, &records);
    drop(store);
    end.store(true, Ordering::Relaxed);
    // No blob is larger than the archive, which is packed less.
    let most = most.join().unwrap() + filled.archive_bytes;
    println!(
        "{} entities, {values} bytes of values: {} bytes when filled (archive {}), {} after {CHANGES} changes, {most} at most",
        records.len(),
        filled.disk_bytes,
        filled.archive_bytes,
        changed.disk_bytes
    );
    assert!(most <= FLASH_BYTES || entities > ENTITIES, "{most} bytes at most");
}
