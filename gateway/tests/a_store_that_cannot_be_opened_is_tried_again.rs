//! A store that the disk kept from being opened is tried again at growing intervals. What it turns out to hold is served if
//! nothing has come since the start; else it is behind, and a full sync is asked for.

use gateway::opening::Place;
use gateway::snapshot::{Live, Snapshot};
use gateway::sync::apply::{Applier, RETRY_FIRST};
use model::kinds::consumers::Consumer;
use model::{Change, Id, Kind, Record};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{Deadlines, Options, Store, Thread};

fn put(n: u128) -> Vec<Change> {
    let consumer = Consumer { id: Id(n), username: Some(format!("name-{n}")), ..Consumer::default() };
    let body = consumer.encode().unwrap();
    let tag = Record::tag_of(Kind::Consumer, Id(n), &body);
    vec![Change::Put(Record { kind: Kind::Consumer, id: Id(n), version: 1, tag, body: body.into() })]
}

async fn apply(applier: &mut Applier, version: u64) {
    let changes = put(version.into());
    let root = applier.snapshot().apply(1, version, &changes).unwrap().catalog().digest();
    applier.delta(1, version, root, changes).await.unwrap();
}

/// A store with three versions, which is put out of reach.
async fn out_of_reach(dir: &Path) -> Place {
    let at = dir.join("store");
    let (store, _) = Store::open(&at, Options::default(), &mut |_, _| {}).unwrap();
    let store = Thread::start(store, Deadlines::default()).unwrap();
    let mut applier = Applier::new(Arc::new(Live::new(Snapshot::empty())), Some(store), (0, 0));
    for version in 1..=3 {
        apply(&mut applier, version).await;
    }
    assert_eq!(applier.durable(1), 3);
    drop(applier);
    fs::rename(&at, dir.join("away")).unwrap();
    fs::write(&at, "in its place").unwrap();
    Place { dir: at, options: Options::default() }
}

fn within_reach(dir: &Path) {
    fs::remove_file(dir.join("store")).unwrap();
    fs::rename(dir.join("away"), dir.join("store")).unwrap();
}

fn without_a_store(place: Place) -> (Arc<Live>, Applier) {
    let live = Arc::new(Live::new(Snapshot::empty()));
    let applier = Applier::new(live.clone(), None, (0, 0)).with_place(place);
    (live, applier.in_trouble_from_the_start(Some("the disk fails".to_owned())))
}

/// Tries until the thread that had the store before has given it back.
async fn retried(applier: &mut Applier) {
    applier.retry().await;
    while applier.trouble().is_some_and(|why| why.contains("in use")) {
        tokio::task::yield_now().await;
        applier.retry().await;
    }
}

#[tokio::test]
async fn it_is_not_tried_without_a_pause_and_what_it_holds_is_served_at_last() {
    let dir = tempfile::tempdir().unwrap();
    let (live, mut applier) = without_a_store(out_of_reach(dir.path()).await);
    let mut pauses = Vec::new();
    for _ in 0..3 {
        applier.retry().await;
        assert!(applier.trouble().is_some_and(|why| why.contains("not a directory")), "{:?}", applier.trouble());
        pauses.push(applier.retry_at().unwrap().saturating_duration_since(Instant::now()));
    }
    assert!(pauses[0] > RETRY_FIRST && pauses[1] > pauses[0] && pauses[2] > pauses[1], "{pauses:?}");

    within_reach(dir.path());
    retried(&mut applier).await;
    assert_eq!((applier.trouble(), applier.durable(1)), (None, 3));
    assert_eq!((live.snapshot().version, live.snapshot().catalog().len()), (3, 3));
    apply(&mut applier, 4).await;
    assert_eq!(applier.durable(1), 4);
}

#[tokio::test]
async fn what_came_meanwhile_serves_on_and_is_made_durable_by_a_full_sync() {
    let dir = tempfile::tempdir().unwrap();
    let (live, mut applier) = without_a_store(out_of_reach(dir.path()).await);
    for version in 1..=4 {
        apply(&mut applier, version).await;
    }
    within_reach(dir.path());
    retried(&mut applier).await;
    assert_eq!((live.snapshot().version, applier.durable(1)), (4, 3), "nothing goes back");
    assert!(applier.needs_full());
    assert_eq!(applier.retry_at(), None, "nothing but a full sync helps");
}

#[tokio::test]
async fn a_store_that_was_given_up_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place { dir: dir.path().join("store"), options: Options::default() };
    let (store, _) = Store::open(&place.dir, Options::default(), &mut |_, _| {}).unwrap();
    let hurried = Deadlines { step: Duration::ZERO, ..Deadlines::default() };
    let store = Thread::start(store, hurried).unwrap();
    let mut applier = Applier::new(Arc::new(Live::new(Snapshot::empty())), Some(store), (0, 0)).with_place(place);
    let mut version = 0;
    while applier.trouble().is_none() {
        version += 1;
        assert!(version < 10_000, "no commit is done in no time");
        apply(&mut applier, version).await;
    }
    assert!(applier.trouble().is_some_and(|why| why.contains("abandoned")), "{:?}", applier.trouble());
    retried(&mut applier).await;
    // Whether the last commit came to be on disk nobody knows but the store.
    assert!(applier.needs_full() || applier.durable(1) == version, "{:?}", applier.trouble());
    assert_eq!(applier.snapshot().version, version, "it serves on");
}
