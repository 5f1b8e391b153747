//! `incremental_sync = off` on either end: every change is a full sync, still atomic, and what runs goes on: connections
//! to upstreams stay open, the balancer goes on where it was. Both ends say which mode is in force.

use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use tests::http::Client;
use tests::lab::{Daemon, Lab};
use tests::origin::Origin;
use tests::pair::{apply, head, put, row};
use tests::wait;

const IDS: [&str; 3] = [
    "00000000-0000-4000-8000-000000000001",
    "00000000-0000-4000-8000-000000000002",
    "00000000-0000-4000-8000-000000000003",
];

/// Three targets with weights of 5, 1 and 1: a turn of seven, in which each place tells how far the balancer is.
fn configuration(origins: &[Origin; 3]) -> Vec<Value> {
    let [upstream, service, route] = IDS;
    let mut changes = vec![
        put("upstreams", json!({ "id": upstream, "name": "pool" })),
        put("services", json!({ "id": service, "name": "n0", "host": "pool" })),
        put("routes", json!({ "id": route, "name": "n0", "service": { "id": service }, "paths": ["/"] })),
    ];
    changes.extend(origins.iter().zip([5, 1, 1]).enumerate().map(|(n, (origin, weight))| {
        let id = format!("00000000-0000-4000-8000-00000000010{n}");
        put(
            "targets",
            json!({ "id": id, "upstream": { "id": upstream }, "target": origin.address(), "weight": weight }),
        )
    }));
    changes
}

/// Service and route under another name, in one commit.
fn rename(cp: &mut Daemon, n: u64) -> u64 {
    let [_, service, route] = IDS;
    apply(
        cp,
        &[
            put("services", json!({ "id": service, "name": format!("n{n}"), "host": "pool" })),
            put(
                "routes",
                json!({ "id": route, "name": format!("n{n}"), "service": { "id": service }, "paths": ["/"] }),
            ),
        ],
    )
}

/// Which origins answer the next `count` requests.
fn turns(client: &mut Client, count: usize) -> Vec<String> {
    let ask =
        |_| client.request("GET", "/", &[], b"").expect("an answer").json()["origin"].as_str().unwrap().to_owned();
    (0..count).map(ask).collect()
}

/// One data plane and one control plane with these settings: what changes, what does not, and what both say of it.
fn changes_arrive(cp_setting: &str, dp_setting: &str) {
    let incremental = cp_setting == "on" && dp_setting == "on";
    let lab = Lab::new();
    let origins = ["a", "b", "c"].map(Origin::start);
    let mut cp = lab.cp("cp").with_text("incremental_sync", cp_setting).start();
    apply(&mut cp, &configuration(&origins));
    let mut dp = lab
        .dp("dp")
        .with_text("cluster_control_plane", cp.address("cluster"))
        .with_text("incremental_sync", dp_setting)
        .with_text("nginx_worker_processes", 1)
        .start();
    dp.serves_version(head(&mut cp));
    let mut client = Client::connect(dp.address("proxy")).expect("a connection");
    let turn = turns(&mut client, 7);
    let connections: Vec<u64> = origins.iter().map(Origin::connections).collect();
    // Three into the next turn; a change of something else; the balancer goes on with the fourth.
    assert_eq!(turns(&mut client, 3), turn[..3]);
    let version = rename(&mut cp, 1);
    dp.serves_version(version);
    assert_eq!(turns(&mut client, 4), turn[3..], "the balancer began anew");
    assert_eq!(turns(&mut client, 7), turn);
    let after: Vec<u64> = origins.iter().map(Origin::connections).collect();
    assert_eq!(after, connections, "connections to upstreams were made anew");

    agree(&mut cp, &mut dp);
    let status = dp.sync_status();
    assert_eq!(status["incremental_sync"], if incremental { "on" } else { "off" });
    assert_eq!(status["mode"], if incremental { "tail" } else { "full" });
    let shown = wait::until("the row", || row(&mut cp).filter(|row| row["mode"].is_string()));
    assert_eq!(shown["mode"], if incremental { "incremental" } else { "full" }, "{shown}");
    dp.logs(&format!("incremental={incremental}"));
    cp.logs(&format!("incremental={incremental}"));
    assert!(dp.log().contains("full sync"), "the first one is full in any case");
}

/// Thirty commits that change two things each, while clients ask: both are always of one commit.
fn agree(cp: &mut Daemon, dp: &mut Daemon) {
    let (proxy, done) = (dp.address("proxy"), AtomicBool::new(false));
    let last = std::thread::scope(|scope| {
        let watch = || {
            let mut client = Client::connect(proxy).expect("a connection");
            let mut seen = 0;
            while !done.load(Ordering::SeqCst) {
                let answer = client.request("GET", "/", &[("Kong-Debug", "1")], b"").expect("an answer");
                assert_eq!(answer.status, 200, "{}", answer.text());
                assert_eq!(answer.header("kong-route-name"), answer.header("kong-service-name"));
                seen += 1;
            }
            seen
        };
        let clients = [scope.spawn(watch), scope.spawn(watch)];
        let last = (2..32).map(|n| rename(cp, n)).last().expect("thirty");
        dp.serves_version(last);
        done.store(true, Ordering::SeqCst);
        assert!(clients.into_iter().all(|client| client.join().expect("no mixture") > 0));
        last
    });
    assert_eq!(dp.sync_status()["version"], last);
}

#[test]
fn off_on_neither_end() {
    changes_arrive("on", "on");
}

#[test]
fn off_on_the_control_plane() {
    changes_arrive("off", "on");
}

#[test]
fn off_on_the_data_plane() {
    changes_arrive("on", "off");
}

#[test]
fn off_on_both() {
    changes_arrive("off", "off");
}
