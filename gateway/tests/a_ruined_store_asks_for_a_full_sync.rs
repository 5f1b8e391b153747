//! A data plane whose store turns out to be damaged in both copies while it runs serves on from memory, says that nothing
//! is durable, asks for a full sync, and is durable again after it.

use gateway::snapshot::{Live, Snapshot};
use gateway::sync::apply::Applier;
use model::kinds::consumers::Consumer;
use model::{Change, Id, Kind, Record};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{Deadlines, Options, Pace, Store, Thread};

fn record(n: u128) -> Record {
    let consumer = Consumer { id: Id(n), username: Some(format!("name-{n}")), ..Consumer::default() };
    let body = consumer.encode().unwrap();
    let tag = Record::tag_of(Kind::Consumer, Id(n), &body);
    Record { kind: Kind::Consumer, id: Id(n), version: 1, tag, body: body.into() }
}

fn options() -> Options {
    let none = Duration::ZERO;
    let pace = Pace { pause: none, first: none, step: none, every: Duration::from_millis(1), ..Pace::default() };
    Options { pace, checkpoint_commits: 2, ..Options::default() }
}

fn damage(dir: &Path) {
    let generation = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let generation = generation.into_iter().find(|path| path.to_string_lossy().contains("gen-")).unwrap();
    for entry in fs::read_dir(&generation).unwrap().map(Result::unwrap) {
        if entry.file_name().to_string_lossy().starts_with("run-") {
            fs::write(entry.path(), b"nothing of ours").unwrap();
        }
    }
    fs::write(generation.join("sled/db"), b"nothing of sled's").unwrap();
}

#[tokio::test]
async fn a_store_damaged_in_both_copies_is_filled_by_a_full_sync_while_what_is_served_serves_on() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path(), options(), &mut |_, _| {}).unwrap();
    let store = Thread::start(store, Deadlines::default()).unwrap();
    let live = Arc::new(Live::new(Snapshot::empty()));
    let mut applier = Applier::new(live.clone(), Some(store.clone()), (0, 0));
    for n in 1..=10 {
        let changes = vec![Change::Put(record(u128::from(n)))];
        let root = live.snapshot().apply(1, n, &changes).unwrap().catalog().digest();
        applier.delta(1, n, root, changes).await.unwrap();
    }
    assert_eq!(applier.durable(1), 10);
    assert!(applier.retry_at().is_some_and(|at| at > Instant::now()), "the store is asked now and then");
    applier.retry().await;
    assert_eq!(applier.trouble(), None);

    let until = Instant::now() + Duration::from_secs(60);
    // A checkpoint under way would write a copy that is good. None is when the store has been looked through.
    let passes = store.reports().passes().count;
    while store.reports().passes().count == passes {
        store.info().await.unwrap();
        assert!(Instant::now() < until, "the checkpoint does not end");
        tokio::task::yield_now().await;
    }
    damage(dir.path());
    let mut made_good = store.reports().count();
    while store.reports().ruined().is_none() {
        assert!(Instant::now() < until, "{:?}", store.reports());
        // Each answer means that the store's thread has come round.
        store.info().await.unwrap();
        // One copy was found damaged, and made good from the other, before that was damaged too.
        if made_good != std::mem::replace(&mut made_good, store.reports().count()) {
            damage(dir.path());
        }
        tokio::task::yield_now().await;
    }
    applier.retry().await;
    assert!(applier.trouble().is_some_and(|why| why.contains("both copies")), "{:?}", applier.trouble());
    assert_eq!((applier.durable(1), live.snapshot().version), (0, 10), "it serves on");
    applier.retry().await;
    assert!(applier.needs_full());

    let records: Vec<Record> = (1..=12).map(record).collect();
    let root = records.iter().fold(0u64, |root, record| root.wrapping_add(record.tag));
    let mut full = applier.full(1, 11).await;
    for record in &records {
        full.put(record).await.unwrap();
    }
    applier.finish(full, root).await.unwrap();
    assert_eq!((applier.durable(1), applier.trouble(), store.reports().ruined()), (11, None, None));
    drop((applier, store));
    let opened = loop {
        match gateway::state::open(dir.path(), options()) {
            Err(store::OpenError::Locked(_)) => std::thread::yield_now(),
            opened => break opened.unwrap(),
        }
    };
    assert_eq!(opened.content.expect("a content").0.version, 11);
}
