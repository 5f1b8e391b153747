//! After a control plane was restored from a backup no version says what a data plane has: both find out by digests, and
//! only what differs travels, in one step. What it costs depends on that and not on how much there is.

use serde_json::{Value, json};
use std::fs;
use std::process::Command;
use tests::generate::{Config, Shape};
use tests::lab::program;
use tests::pair::{Pair, apply, head, load, put};
use tests::wait;

/// Entities in all; `EDGE_RECONCILE_ENTITIES` says otherwise.
fn entities() -> usize {
    std::env::var("EDGE_RECONCILE_ENTITIES").ok().and_then(|count| count.parse().ok()).unwrap_or(3_000)
}

fn cp_lite(pair: &Pair, verb: &str) {
    let (file, settings) = (pair.lab.path().join("backup"), pair.lab.path().join("cp.toml"));
    let output = Command::new(program("cp-lite")).arg(verb).arg(file).arg("-c").arg(settings).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Restores the control plane from a backup of itself while the data plane is away, changes something, and lets the data
/// plane come back: the bytes of TCP payload, both ways, from connection to the last acknowledgement.
fn after_restore(pair: &mut Pair, change: impl FnOnce(&mut Pair)) -> u64 {
    pair.acknowledged();
    pair.link.down();
    let (cp, _) = pair.cp.stop();
    let _ = fs::remove_file(pair.lab.path().join("backup"));
    cp_lite(pair, "backup");
    fs::remove_dir_all(pair.lab.path().join("cp/store")).unwrap();
    cp_lite(pair, "restore");
    pair.cp = cp.start();
    change(pair);
    let head = head(&mut pair.cp);
    let epoch = pair.cp.admin_ok("GET", "/status", &Value::Null)["configuration"]["epoch"].clone();
    let before = pair.link.bytes();
    pair.link.up();
    wait::until("the new epoch", || {
        let status = pair.dp.sync_status();
        (status["epoch"] == epoch && status["version"] == json!(head)).then_some(())
    });
    pair.acknowledged();
    let after = pair.link.bytes();
    after.0 + after.1 - before.0 - before.1
}

/// Changes one field of so many routes and consumers.
fn change(pair: &mut Pair, config: &Config, count: usize, round: usize) {
    let routes = count.min(config.shape.routes);
    let route = |index| {
        let mut route = config.route(index);
        route["regex_priority"] = json!(round);
        put("routes", route)
    };
    let consumer = |index| {
        let mut consumer = config.consumer(index);
        consumer["custom_id"] = json!(format!("{round}/{index}"));
        put("consumers", consumer)
    };
    let changes: Vec<Value> = (0..routes).map(route).chain((0..count - routes).map(consumer)).collect();
    apply(&mut pair.cp, &changes);
}

#[test]
fn a_reconcile_costs_what_differs_and_not_what_there_is() {
    let mut pair = Pair::start();
    let config = Config { shape: Shape::of(entities()), seed: 1, origin: pair.origin.address() };
    load(&pair.lab, &mut pair.cp, &config.declarative());
    let fetched = pair.link.bytes().1;
    pair.acknowledged();
    let whole = pair.link.bytes().1 - fetched;
    let nothing = after_restore(&mut pair, |_| {});
    println!("full sync of {} entities: {whole} bytes; nothing changed: {nothing} bytes", entities());
    assert!(nothing < 8 * 1024, "{nothing}");
    let mut costs = Vec::new();
    for (round, count) in [10, 100, 1_000].into_iter().enumerate() {
        let cost = after_restore(&mut pair, |pair| change(pair, &config, count, round + 1)) - nothing;
        println!("{count} changed: {cost} bytes more");
        costs.push(cost);
    }
    assert!(costs[0] < 16 * 1024 && costs[1] < 100 * 1024, "{costs:?}");
    assert!(costs[2] < whole + whole / 4, "{costs:?}: never much more than a full sync");

    // Deletions are found too, and a route that came back under the same name.
    let gone = config.id("keyauth_credentials", 3);
    let cost = after_restore(&mut pair, |pair| {
        pair.cp.admin_ok("DELETE", &format!("/key-auths/{gone}"), &Value::Null);
    });
    assert!(cost < nothing + 1024, "{cost}");
    let log = pair.dp.log();
    assert!(log.matches("reconciled").count() >= 4 && log.matches("gone=1").count() == 1, "{log}");
}
