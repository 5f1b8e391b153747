//! Under continuous changes every single response belongs to one version: route, service, plugin's consumer and target
//! of one answer always agree.

use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use tests::http::Client;
use tests::origin::Origin;
use tests::pair::{Pair, apply, put};

const IDS: [&str; 7] = [
    "00000000-0000-4000-8000-000000000001",
    "00000000-0000-4000-8000-000000000002",
    "00000000-0000-4000-8000-000000000003",
    "00000000-0000-4000-8000-000000000004",
    "00000000-0000-4000-8000-000000000005",
    "00000000-0000-4000-8000-000000000006",
    "00000000-0000-4000-8000-000000000007",
];

/// A whole configuration that says `n` in every part that an answer shows.
fn generation(n: u64, origins: [&Origin; 2]) -> Vec<Value> {
    let [service, route, consumer, key, plugin, upstream, target] = IDS;
    // Another loopback address reaches the same origin, so that the target's text differs in every generation.
    let port = origins[(n % 2) as usize].address().port();
    vec![
        put("upstreams", json!({ "id": upstream, "name": "pool" })),
        put(
            "targets",
            json!({ "id": target, "upstream": { "id": upstream }, "target": format!("127.0.0.{}:{port}", 1 + n % 200) }),
        ),
        put(
            "services",
            json!({ "id": service, "name": format!("service-{n}"), "host": "pool", "path": format!("/n{n}") }),
        ),
        put(
            "routes",
            json!({ "id": route, "name": format!("route-{n}"), "service": { "id": service }, "paths": ["/"] }),
        ),
        put("consumers", json!({ "id": consumer, "username": format!("user-{n}") })),
        put("keyauth_credentials", json!({ "id": key, "consumer": { "id": consumer }, "key": "secret" })),
        put("plugins", json!({ "id": plugin, "name": "key-auth", "route": { "id": route }, "config": {} })),
    ]
}

#[test]
fn route_plugin_and_target_of_an_answer_always_agree() {
    let mut pair = Pair::start();
    let (even, odd) = (Origin::start("even"), Origin::start("odd"));
    pair.apply(&generation(0, [&even, &odd]));
    pair.acknowledged();
    let proxy = pair.dp.address("proxy");
    let done = AtomicBool::new(false);
    let (answers, generations) = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(|| check_until(&done, proxy))).collect();
        for n in 1..=300 {
            apply(&mut pair.cp, &generation(n, [&even, &odd]));
        }
        done.store(true, Ordering::SeqCst);
        let results = clients.into_iter().map(|client| client.join().expect("no mixture"));
        results.fold((0, 0), |(answers, most), (count, seen)| (answers + count, most.max(seen)))
    });
    println!("{answers} answers, up to {generations} generations seen by one client");
    assert!(generations > 20, "only {generations} generations were seen: the changes did not overlap the requests");
}

/// Asks until told to stop; returns how many answers there were and from how many generations.
fn check_until(done: &AtomicBool, proxy: std::net::SocketAddr) -> (usize, usize) {
    let mut client = Client::connect(proxy).expect("a connection");
    let (mut answers, mut generations, mut last) = (0, 0, String::new());
    while !done.load(Ordering::SeqCst) {
        let answer = client.request("GET", "/x", &[("apikey", "secret"), ("Kong-Debug", "1")], b"").expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text());
        let seen = answer.json();
        let route = answer.header("kong-route-name").expect("debug headers").trim_start_matches("route-").to_owned();
        let n: u64 = route.parse().expect("a number");
        let origin = ["even", "odd"][(n % 2) as usize];
        let expected = json!([format!("service-{n}"), format!("/n{n}/x"), format!("user-{n}"), origin]);
        let found = json!([
            answer.header("kong-service-name"),
            seen["uri"],
            seen["headers"]["x-consumer-username"],
            seen["origin"]
        ]);
        assert_eq!(found, expected, "an answer of generation {n}");
        answers += 1;
        if last != route {
            (generations, last) = (generations + 1, route);
        }
    }
    (answers, generations)
}
