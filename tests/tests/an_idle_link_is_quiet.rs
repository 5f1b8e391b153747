//! What a link costs on which nothing happens: the bytes of one heartbeat, and of a reconnect that resumes TLS.

use serde_json::json;
use std::time::Duration;
use tests::pair::{Pair, follower};
use tests::relay::Relay;
use tests::wait;

/// The default heartbeat, in seconds.
const DEFAULT_S: u64 = 300;
/// What an idle link may cost in an hour, headers included.
const HOUR_MAX: u64 = 6 * 1024;
/// A TCP segment's headers on Ethernet's IPv4 with timestamps: 20 + 32. A heartbeat is three: PING, PONG with its
/// acknowledgement, and the acknowledgement of that.
const HEADERS: u64 = 3 * 52;

/// Waits until bytes went both ways and then no more for a second.
fn settled(link: &Relay, since: (u64, u64)) -> (u64, u64) {
    let mut last = (since, std::time::Instant::now());
    wait::until("a heartbeat", || {
        let now = link.bytes();
        if now != last.0 {
            last = (now, std::time::Instant::now());
        }
        let both = now.0 > since.0 && now.1 > since.1;
        (both && last.1.elapsed() > Duration::from_secs(1)).then_some(())
    });
    last.0
}

#[test]
fn a_heartbeat_costs_so_little_that_an_idle_hour_is_under_six_kilobytes() {
    let mut pair = Pair::start();
    pair.route(&json!({ "name": "echo" }), &json!({ "name": "first", "paths": ["/first"] }));
    pair.acknowledged();
    let link = Relay::to(pair.cp.address("cluster"));
    let mut dp = follower(&pair.lab, "quiet", &link).with_text("cluster_heartbeat", 5).start();
    let head = pair.settle();
    dp.serves_version(head);
    assert_eq!(dp.sync_status()["heartbeat_s"], 5);
    let first = settled(&link, link.bytes());
    let costs: Vec<u64> = (0..3)
        .scan(first, |before, _| {
            let after = settled(&link, *before);
            let cost = after.0 - before.0 + after.1 - before.1;
            *before = after;
            Some(cost)
        })
        .collect();
    assert!(costs.iter().all(|cost| *cost == costs[0]), "all heartbeats cost the same: {costs:?}");
    let hour = (costs[0] + HEADERS) * 3600 / DEFAULT_S;
    println!("a heartbeat: {} bytes of TCP payload both ways; an idle hour at {DEFAULT_S} s: {hour} bytes", costs[0]);
    assert!(hour <= HOUR_MAX, "{hour}");
    let metrics = tests::http::get(dp.address("status"), "/metrics", &[]).expect("metrics").text();
    assert!(metrics.contains("edge_sync_heartbeat_seconds 5"), "{metrics}");
    let session = dp.sync_status()["session_bytes"].clone();
    // A heartbeat may come between two looks.
    let near = |value: u64, bytes: &serde_json::Value| value.abs_diff(bytes.as_u64().expect("a number")) <= 16;
    for (name, bytes) in [("received", &session["in"]), ("sent", &session["out"])] {
        let name = format!("edge_sync_session_{name}_bytes ");
        let value = metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok());
        assert!(value.is_some_and(|value| value > 16 && near(value, bytes)), "{name}{value:?}, {bytes}");
    }
    // The control plane counts the same frames, in the same session, from its side.
    let admin = pair.cp.address("admin");
    let metrics = tests::http::get(admin, "/metrics", &[]).expect("metrics").text();
    assert!(metrics.contains("edge_data_planes_connected 2"), "{metrics}");
    for (name, bytes) in [("received", &session["out"]), ("sent", &session["in"])] {
        let name = format!("edge_sync_session_{name}_bytes{{");
        let counted = |line: &str| line.rsplit_once(' ').and_then(|(_, value)| value.parse::<u64>().ok());
        let values: Vec<u64> = metrics.lines().filter(|line| line.starts_with(&name)).filter_map(counted).collect();
        assert!(values.iter().any(|value| near(*value, bytes)), "{bytes} bytes, {name} {values:?}");
    }
    // The other one has nothing set.
    assert_eq!(pair.dp.sync_status()["heartbeat_s"], DEFAULT_S);
}

#[test]
fn a_reconnect_resumes_tls_and_costs_fewer_bytes() {
    let mut pair = Pair::start();
    pair.route(&json!({ "name": "echo" }), &json!({ "name": "first", "paths": ["/first"] }));
    pair.acknowledged();
    // A new process knows no session, and has everything.
    let setup = pair.dp.stop().0;
    let before = pair.link.bytes();
    pair.dp = setup.start();
    let mut connected = |resumed: bool, before: (u64, u64)| {
        wait::until("the session", || {
            let status = pair.dp.sync_status();
            (status["connected"] == true && status["tls_resumed"] == resumed).then_some(())
        });
        let after = settled(&pair.link, before);
        let status = pair.dp.sync_status();
        let of_frames =
            status["session_bytes"]["in"].as_u64().unwrap() + status["session_bytes"]["out"].as_u64().unwrap();
        (after.0 - before.0 + after.1 - before.1, of_frames)
    };
    let (full, full_frames) = connected(false, before);
    let before = pair.link.bytes();
    pair.link.cut();
    let (again, again_frames) = connected(true, before);
    println!("connect: {full} bytes of TCP payload both ways; reconnect: {again}; of them frames: {again_frames}");
    assert_eq!(full_frames, again_frames, "the greeting is the same");
    assert!(again + 500 < full, "{again} bytes to reconnect, {full} to connect");
}
