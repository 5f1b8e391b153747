//! SIGKILL of the control plane at random moments of a stream of writes: after each restart every transaction that was
//! answered is there whole, one that was not is there whole or not at all, the epoch goes on, and the data plane that
//! was there all the time follows without starting over.
//!
//! `EDGE_KILL_ROUNDS` sets how many rounds there are in all (100 if it is not set), `EDGE_SEED` where their moments start.

use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;
use tests::generate::Rng;
use tests::http::Client;
use tests::pair::{Pair, head, put};
use tests::{lab, wait};

const LANES: u64 = 4;
const ROUNDS: u64 = 100;
const WRITERS: u128 = 2;
/// After how many rounds the data plane is waited for.
const SETTLES_EVERY: u64 = 5;

/// What one writer was told, and what it was about to be told when the program died.
#[derive(Debug, Default, Clone, Copy)]
struct Written {
    asked: u64,
    answered: u64,
    version: u64,
}

fn id(writer: u128, part: u128) -> String {
    model::Id(0x4000_8000_0000_0000_0000 | (writer * 2 + part) << 8).to_string()
}

/// Two services that change together.
fn pair_of(writer: u128, n: u64) -> Vec<Value> {
    let service = |part: u128| json!({ "id": id(writer, part), "host": "a.test", "tags": [format!("n-{n}")] });
    vec![put("services", service(0)), put("services", service(1))]
}

/// Writes until the other end is gone.
fn write(admin: SocketAddr, writer: u128, written: &mut Written) {
    let Ok(mut client) = Client::connect(admin) else { return };
    loop {
        written.asked += 1;
        let body = json!({ "changes": pair_of(writer, written.asked) }).to_string();
        let headers = [("content-type", "application/json")];
        let Ok(answer) = client.request("POST", "/config/apply", &headers, body.as_bytes()) else { return };
        assert_eq!(answer.status, 200, "{}", answer.text());
        written.answered = written.asked;
        written.version = answer.json()["version"].as_u64().expect("a version");
    }
}

/// Which change the control plane has of a service; 0 for none.
fn found(cp: &mut lab::Daemon, writer: u128, part: u128) -> u64 {
    let answer = cp.admin("GET", &format!("/services/{}", id(writer, part)), &Value::Null);
    let tag = answer.json()["tags"][0].as_str().unwrap_or("n-0").to_owned();
    tag.trim_start_matches("n-").parse().expect("a number")
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn every_answered_transaction_outlives_sigkill() {
    let (rounds, seed) = (number("EDGE_KILL_ROUNDS", ROUNDS), number("EDGE_SEED", 0));
    std::thread::scope(|scope| {
        for lane in 0..LANES {
            scope.spawn(move || follow(rounds.div_ceil(LANES), seed + lane));
        }
    });
}

fn follow(rounds: u64, seed: u64) {
    let mut pair = Pair::start();
    let mut rng = Rng(seed);
    let written: Vec<Mutex<Written>> = (0..WRITERS).map(|_| Mutex::default()).collect();
    // The epoch of a data plane without anything is none.
    pair.apply(&[put("services", json!({ "host": "a.test" }))]);
    pair.acknowledged();
    let epoch = pair.dp.sync_status()["epoch"].clone();
    let mut with_something_to_lose = 0;
    for round in 0..rounds {
        let before: u64 = written.iter().map(|written| written.lock().expect("unpoisoned").answered).sum();
        let moment = Duration::from_micros(2_000 + rng.next() % 80_000);
        let (admin, pid) = (pair.cp.address("admin"), pair.cp.pid());
        std::thread::scope(|scope| {
            for (writer, written) in written.iter().enumerate() {
                scope.spawn(move || write(admin, writer as u128, &mut written.lock().expect("unpoisoned")));
            }
            scope.spawn(move || {
                std::thread::park_timeout(moment);
                let _ = std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status();
            });
        });
        let setup = pair.cp.resettled();
        pair.cp.exits();
        pair.cp = setup.start();
        let mut newest = 0;
        for (writer, written) in written.iter().enumerate() {
            let written = written.lock().expect("unpoisoned");
            let both = [0, 1].map(|part| found(&mut pair.cp, writer as u128, part));
            let whole = both[0] == both[1] && (written.answered..=written.asked).contains(&both[0]);
            assert!(whole, "seed {seed} round {round}: {both:?} of {written:?}");
            newest = newest.max(written.version);
        }
        let head = head(&mut pair.cp);
        assert!(head >= newest, "seed {seed} round {round}: head {head}, {newest} was answered");
        let after: u64 = written.iter().map(|written| written.lock().expect("unpoisoned").answered).sum();
        with_something_to_lose += u64::from(after > before);
        if round % SETTLES_EVERY == 0 {
            pair.settle();
            assert_eq!(pair.dp.sync_status()["epoch"], epoch, "seed {seed} round {round}");
        }
    }
    let head = pair.settle();
    wait::until("the data plane to be at head", || (pair.dp.sync_status()["version"] == head).then_some(()));
    assert!(with_something_to_lose * 3 > rounds, "an answer in {with_something_to_lose} of {rounds} rounds");
}
