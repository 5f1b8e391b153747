//! A node that vanished without a word, or reads nothing, slows neither an Admin API write nor another node; and with
//! changes arriving at 100 a second the served version stays within ten commits of the last answered write.

use serde_json::json;
use std::time::{Duration, Instant};
use tests::http::{self, Client};
use tests::pair::{Pair, follower};
use tests::relay::Relay;
use tests::wait;

/// How far the served version may be behind the last answered write.
const LAG_MAX: u64 = 10;

struct Run {
    /// Microseconds of each write, sorted.
    writes: Vec<u128>,
    lag: u64,
}

/// 300 changes, a hundred a second, each followed by a look at the served version.
fn changes(pair: &mut Pair, round: usize) -> Run {
    let (admin, status) = (pair.cp.address("admin"), pair.dp.address("status"));
    let mut client = Client::connect(admin).expect("the Admin API");
    let first = pair.settle();
    let (mut writes, mut lag, start) = (Vec::new(), 0, Instant::now());
    for n in 0..300u32 {
        let due = start + Duration::from_millis(10) * n;
        std::thread::park_timeout(due.saturating_duration_since(Instant::now()));
        let body = json!({ "paths": [format!("/{round}/{n}")] }).to_string();
        let asked = Instant::now();
        let answer = client.request("PATCH", "/routes/first", &[("content-type", "application/json")], body.as_bytes());
        assert_eq!(answer.expect("an answer").status, 200);
        writes.push(asked.elapsed().as_micros());
        let written = first + u64::from(n) + 1;
        let served = http::get(status, "/status/sync", &[]).expect("the Status API").json()["version"].as_u64();
        lag = lag.max(written.saturating_sub(served.expect("a version")));
    }
    writes.sort_unstable();
    Run { writes, lag }
}

#[test]
fn a_dead_node_and_a_deaf_node_slow_neither_writes_nor_other_nodes() {
    let mut pair = Pair::start();
    pair.route(&json!({ "name": "echo" }), &json!({ "name": "first", "paths": ["/first"] }));
    pair.acknowledged();
    let alone = changes(&mut pair, 0);

    let cluster = pair.cp.address("cluster");
    let (dead_link, deaf_link) = (Relay::to(cluster), Relay::to(cluster));
    let mut dead = follower(&pair.lab, "dead", &dead_link).start();
    let mut deaf = follower(&pair.lab, "deaf", &deaf_link).start();
    dead.is_ready();
    deaf.is_ready();
    dead_link.freeze();
    deaf.signal("STOP");
    let beside = changes(&mut pair, 1);
    deaf.signal("CONT");

    let median = |run: &Run| run.writes[run.writes.len() / 2];
    println!(
        "median write {} µs alone, {} µs beside a dead and a deaf node; lag {} and {}",
        median(&alone),
        median(&beside),
        alone.lag,
        beside.lag
    );
    assert!(alone.lag <= LAG_MAX, "{} commits behind", alone.lag);
    assert!(beside.lag <= LAG_MAX, "{} commits behind beside a dead node", beside.lag);
    // Kong waits five seconds per dead node and write. A ratio within one run, with room for a noisy machine.
    assert!(median(&beside) < 3 * median(&alone) + 1_000, "writes got slower: {} µs", median(&beside));

    // Both come back and catch up.
    dead_link.thaw();
    let head = pair.settle();
    dead.serves_version(head);
    deaf.serves_version(head);
}

#[test]
fn the_control_plane_says_what_each_node_runs() {
    let mut pair = Pair::start();
    pair.route(&json!({ "name": "echo" }), &json!({ "name": "first", "paths": ["/first"] }));
    let head = pair.acknowledged();
    let row = tests::pair::row(&mut pair.cp).expect("a row");
    assert_eq!(row["applied_version"], head);
    assert_eq!(row["durable_version"], head);
    assert_eq!(row["sync_status"], "normal");
    assert_eq!(row["connected"], true);
    let dp = pair.dp.kill();
    wait::until("the row to say so", || (tests::pair::row(&mut pair.cp)?["connected"] == false).then_some(()));
    drop(dp);
}
