//! SIGKILL of the data plane at random moments of a stream of changes: after each restart without a control plane the
//! version is one that was sent whole, never older than the last durable ack, and all answers belong to it.
//!
//! `EDGE_KILL_ROUNDS` sets how many rounds there are in all (200 if it is not set), `EDGE_SEED` where their moments start.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tests::generate::Rng;
use tests::http::Client;
use tests::pair::{Pair, apply, put, row};
use tests::wait;

const LANES: u64 = 4;
const ROUNDS: u64 = 200;
/// How many routes show which generation is served.
const WITNESSES: u128 = 6;

fn id(index: u128) -> String {
    model::Id(0x4000_8000_0000_0000_0000 | index << 8).to_string()
}

/// Routes whose answers say `n`, changed together.
fn generation(n: u64) -> Vec<Value> {
    let witness = |index: u128| {
        let (route, plugin) = (id(index * 2), id(index * 2 + 1));
        let config = json!({ "status_code": 200, "message": format!("generation {n}") });
        [
            put(
                "routes",
                json!({ "id": route, "name": format!("w{index}"), "paths": [format!("/w{index}")], "tags": [format!("n-{n}")] }),
            ),
            put(
                "plugins",
                json!({ "id": plugin, "name": "request-termination", "route": { "id": route }, "config": config }),
            ),
        ]
    };
    (0..WITNESSES).flat_map(witness).collect()
}

#[test]
fn restarts_whole_and_never_before_the_last_ack() {
    let (rounds, seed) = (number("EDGE_KILL_ROUNDS", ROUNDS), number("EDGE_SEED", 0));
    std::thread::scope(|scope| {
        for lane in 0..LANES {
            scope.spawn(move || follow(rounds.div_ceil(LANES), seed + lane));
        }
    });
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

fn follow(rounds: u64, seed: u64) {
    let mut pair = Pair::start();
    // A program killed before it listens would not have said where.
    let _ = pair.dp.address("status");
    let mut rng = Rng(seed);
    // Which generation each version brought.
    let sent: Mutex<BTreeMap<u64, u64>> = Mutex::default();
    let (mut n, mut version_before, mut acked_rounds) = (0, 0, 0);
    for round in 0..rounds {
        // Else there would be nothing to lose.
        wait::until("the data plane to be back", || (row(&mut pair.cp)?["connected"] == true).then_some(()));
        let (killed, acked) = stream_and_kill(&mut pair, &sent, &mut n, &mut rng);
        acked_rounds += u64::from(acked > version_before);
        // It starts without an answer from its control plane, and goes on with it at once when it is looked at.
        pair.link.freeze();
        let mut dp = killed.start();
        let status = wait::until("the Status API", || Some(dp.sync_status()));
        let version = status["version"].as_u64().expect("a version");
        assert!(
            version >= acked,
            "seed {seed} round {round}: came back at {version}, {acked} was acknowledged as durable"
        );
        if version > 0 {
            let expected = sent.lock().expect("unpoisoned").get(&version).copied();
            let expected =
                expected.unwrap_or_else(|| panic!("seed {seed} round {round}: version {version} was never sent"));
            dp.is_ready();
            let mut client = Client::connect(dp.address("proxy")).expect("the proxy");
            for index in 0..WITNESSES {
                let answer = client.request("GET", &format!("/w{index}"), &[], b"").expect("an answer");
                assert_eq!(
                    answer.json()["message"],
                    format!("generation {expected}"),
                    "seed {seed} round {round} version {version}"
                );
            }
        }
        (pair.dp, version_before) = (dp, version);
        pair.link.thaw();
    }
    // What was never acknowledged could not have been lost: most rounds must have had something of their own to lose.
    assert!(n > rounds && acked_rounds > rounds / 2, "{n} changes, an ack in {acked_rounds} of {rounds} rounds");
}

/// Changes as fast as they are taken, and a SIGKILL somewhere among them; returns the dead data plane and the version
/// that the control plane holds for durable there.
fn stream_and_kill(
    pair: &mut Pair,
    sent: &Mutex<BTreeMap<u64, u64>>,
    n: &mut u64,
    rng: &mut Rng,
) -> (tests::lab::Setup, u64) {
    let moment = Duration::from_micros(20_000 + rng.next() % 120_000);
    let stop = AtomicBool::new(false);
    let pid = pair.dp.pid();
    let cp = &mut pair.cp;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::park_timeout(moment);
            let _ = std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status();
            stop.store(true, Ordering::SeqCst);
        });
        while !stop.load(Ordering::SeqCst) {
            *n += 1;
            let version = apply(cp, &generation(*n));
            sent.lock().expect("unpoisoned").insert(version, *n);
        }
    });
    pair.dp.exits();
    wait::until("the control plane to notice", || {
        (row(&mut pair.cp).is_none_or(|row| row["connected"] == false)).then_some(())
    });
    let acked = row(&mut pair.cp).and_then(|row| row["durable_version"].as_u64()).unwrap_or(0);
    (pair.dp.resettled(), acked)
}
