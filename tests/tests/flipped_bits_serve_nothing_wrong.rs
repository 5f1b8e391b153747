//! One bit of one file of a stopped data plane's store is not what it was: whatever file that is, what is served is one
//! committed configuration whole, or nothing; what is missing is reported, and the control plane brings it again.
//!
//! `EDGE_FLIP_ROUNDS` sets how often all files have their turn (once if it is not set), `EDGE_SEED` where the bits are.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tests::disk::copy_tree;
use tests::generate::Rng;
use tests::lab::{Daemon, Setup};
use tests::pair::{Pair, put, row};
use tests::wait;

/// Routes, each with an answer of its own.
const ROUTES: usize = 12;
/// How many versions change one answer each, and lie in the journal.
const CHANGES: usize = 6;

/// What each route answers.
type Answers = Vec<String>;

fn message(route: usize, change: usize) -> Value {
    let answer = format!("answer {route} as of change {change}");
    let id = |base: u128| model::Id(base + route as u128).to_string();
    let config = json!({ "status_code": 200, "message": answer });
    put(
        "plugins",
        json!({ "id": id(0x200), "name": "request-termination", "route": { "id": id(0x100) }, "config": config }),
    )
}

/// A data plane that was stopped, and what each version that it had answers.
fn stopped() -> (Pair, Setup, BTreeMap<u64, Answers>) {
    let mut pair = Pair::start();
    let mut versions = BTreeMap::from([(0, served(&mut pair.dp))]);
    let route = |n: usize| json!({ "id": model::Id(0x100 + n as u128), "name": format!("r-{n}"), "paths": [format!("/r-{n}")] });
    let routes = (0..ROUTES).map(|n| put("routes", route(n)));
    let all: Vec<Value> = routes.chain((0..ROUTES).map(|n| message(n, 0))).collect();
    let version = pair.apply(&all);
    pair.acknowledged();
    let answers = served(&mut pair.dp);
    assert!(answers.iter().all(|answer| answer.contains("as of change 0")), "{answers:?}");
    versions.insert(version, answers);
    for change in 1..=CHANGES {
        let version = pair.apply(&[message(change % ROUTES, change)]);
        pair.acknowledged();
        let answers = served(&mut pair.dp);
        assert!(answers[change % ROUTES].contains(&format!("as of change {change}")), "{answers:?}");
        versions.insert(version, answers);
    }
    let (setup, _) = pair.dp.stop();
    (pair, setup, versions)
}

fn served(dp: &mut Daemon) -> Answers {
    (0..ROUTES).map(|n| dp.get(&format!("/r-{n}"), &[]).json()["message"].to_string()).collect()
}

/// Files with something in them, by their place in the store.
fn files(store: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![store.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).expect("it is there").map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                dirs.push(path);
            } else if written(&path) > 0 {
                found.push(path.strip_prefix(store).expect("below it").to_owned());
            }
        }
    }
    found.sort();
    found
}

/// Up to the last byte that is not zero: files that are made beforehand end in zeros.
fn written(file: &Path) -> usize {
    let bytes = fs::read(file).expect("it can be read");
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

fn flip(file: &Path, bit: usize) {
    let mut bytes = fs::read(file).expect("it can be read");
    bytes[bit / 8] ^= 1 << (bit % 8);
    fs::write(file, bytes).expect("it is ours");
}

fn restore(good: &Path, store: &Path) {
    fs::remove_dir_all(store).expect("it is ours");
    copy_tree(good, store);
}

fn is_journal(file: &Path) -> bool {
    file.file_name().is_some_and(|name| name == "j0" || name == "j1")
}

#[test]
fn whatever_file_it_is_in_what_is_served_is_whole_or_nothing_and_is_made_good() {
    let rounds = std::env::var("EDGE_FLIP_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let seed = std::env::var("EDGE_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let (mut pair, mut setup, versions) = stopped();
    let (last, newest) = versions.last_key_value().map(|(version, answers)| (*version, answers.clone())).expect("some");
    let before_last = *versions.keys().rev().nth(1).expect("some");
    let (store, good) = (setup.dir().join("store"), setup.dir().join("good"));
    copy_tree(&store, &good);
    let (mut rng, mut noticed) = (Rng(seed), 0);
    for file in (0..rounds).flat_map(|_: u64| files(&good)) {
        restore(&good, &store);
        let bit = (rng.next() % (written(&store.join(&file)) as u64 * 8)) as usize;
        let what = format!("bit {bit} of {}, seed {seed}", file.display());
        flip(&store.join(&file), bit);

        // Alone.
        pair.link.down();
        let mut dp = setup.start();
        let answers = served(&mut dp);
        let status = dp.sync_status();
        let version = status["version"].as_u64().expect("a version");
        assert_eq!(Some(&answers), versions.get(&version), "{what}: {status}\n{}", dp.log());
        let told = status["store"]["damage"] != Value::Null;
        // Of the journal's last frame only the control plane knows that it was there.
        assert!(version == last || told || (version == before_last && is_journal(&file)), "{what}: {status}");
        noticed += u64::from(told);
        assert!(!dp.log().contains("panicked"), "{what}: {}", dp.log());
        setup = dp.kill();

        // With its control plane, and then alone once more.
        pair.link.up();
        pair.dp = setup.start();
        pair.acknowledged();
        assert_eq!(served(&mut pair.dp), newest, "{what}");
        setup = pair.dp.kill();
        pair.link.down();
        let mut dp = setup.start();
        dp.is_ready();
        assert_eq!((dp.sync_status()["version"].as_u64(), served(&mut dp)), (Some(last), newest.clone()), "{what}");
        setup = dp.kill();
    }
    assert!(noticed >= rounds, "bits that nobody notices show nothing: {noticed}");
}

#[test]
fn a_last_frame_that_is_gone_is_noticed_by_the_control_plane_and_comes_again() {
    let (mut pair, setup, versions) = stopped();
    let mut newest = versions.keys().rev();
    let (last, before_last) = (*newest.next().expect("some"), *newest.next().expect("some"));
    let store = setup.dir().join("store");
    let journals: Vec<PathBuf> = files(&store).into_iter().filter(|file| is_journal(file)).collect();
    let newer = journals.iter().max_by_key(|file| written(&store.join(file))).expect("a journal");
    // In the content of the last frame, before the zeros that nothing was written over.
    flip(&store.join(newer), (written(&store.join(newer)) - 12) * 8);
    pair.dp = setup.start();
    pair.acknowledged();
    assert_eq!(Some(&served(&mut pair.dp)), versions.get(&last));
    let lost =
        wait::until("the loss", || row(&mut pair.cp).map(|row| row["store"]["lost"].clone()).filter(Value::is_object));
    assert_eq!((&lost["durable_version"], &lost["found_version"]), (&json!(last), &json!(before_last)));
    pair.cp.logs("came back with less than it had made durable");
}
