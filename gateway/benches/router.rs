//! What a lookup and a change cost with few and with many routes, and what a route weighs.
//! `cargo bench -p gateway --bench router`

use allocation_counter::measure;
use gateway::router::{CompiledRoute, Query, Router};
use http::HeaderMap;
use model::Id;
use model::kinds::routes::Route;
use serde_json::{Value, json};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

/// Lookups per round; the requests are all different where the routes are.
const LOOKUPS: u128 = 4096;
/// Rounds; the median counts.
const ROUNDS: usize = 31;

struct Case {
    name: &'static str,
    routes: u128,
    fields: fn(u128) -> Value,
    request: fn(u128) -> (String, String),
}

const CASES: &[Case] = &[
    Case { name: "10 routes", routes: 10, fields: spread, request: spread_request },
    Case { name: "1,000 routes", routes: 1_000, fields: spread, request: spread_request },
    Case { name: "30,000 routes", routes: 30_000, fields: spread, request: spread_request },
    Case {
        name: "10,000 on one host",
        routes: 10_000,
        fields: |n| json!({"name": format!("r-{n}"), "hosts": ["one.example.com"], "paths": [format!("/service-{n}/v1")]}),
        request: |n| ("one.example.com".into(), format!("/service-{n}/v1/things/7")),
    },
    Case {
        name: "3,000 regexes, templates",
        routes: 3_000,
        fields: |n| json!({"paths": [format!("~/svc-{n}/items/(?<item>[^/]+)$")], "methods": ["GET"]}),
        request: |n| ("h.example.com".into(), format!("/svc-{n}/items/42")),
    },
    Case {
        name: "3,000 regexes, engine",
        routes: 3_000,
        fields: |n| json!({"paths": [format!("~/svc-{n}/items/[0-9a-f]+$")], "methods": ["GET"]}),
        request: |n| ("h.example.com".into(), format!("/svc-{}/items/42", n % 100)),
    },
    Case {
        name: "3,000 regexes, one beginning",
        routes: 3_000,
        fields: |n| json!({"paths": [format!("~/api/(?<tenant>[^/]+)/items-{n}$")], "methods": ["GET"]}),
        request: |n| ("h.example.com".into(), format!("/api/acme/items-{n}")),
    },
    Case {
        name: "200 on one prefix",
        routes: 200,
        fields: |n| json!({"hosts": ["one.example.com"], "paths": ["/api"], "headers": {"x-tenant": [n.to_string()]}}),
        request: |_| ("one.example.com".into(), "/api/x".into()),
    },
];

fn spread(n: u128) -> Value {
    let (host, path) = (format!("host-{}.example.com", n / 10), format!("/service-{n}/v1"));
    json!({"name": format!("route-{n}"), "hosts": [host], "paths": [path], "service": {"id": Id(n).to_string()}})
}

fn spread_request(n: u128) -> (String, String) {
    (format!("host-{}.example.com", n / 10), format!("/service-{n}/v1/things/7?"))
}

fn main() {
    println!("{:<30} {:>10} {:>12} {:>12} {:>12}", "", "ns/lookup", "ns/change", "B/change", "B/route");
    let mut spread = Vec::new();
    for case in CASES {
        let nanoseconds = run(case);
        spread.extend(case.name.ends_with(" routes").then_some(nanoseconds));
    }
    if let [few, .., many] = spread[..] {
        println!("a lookup among 30,000 routes costs {:.2} times one among 10", many / few);
    }
}

fn run(case: &Case) -> f64 {
    let specs: Vec<Route> = (0..case.routes).map(|n| route(n, (case.fields)(n))).collect();
    let mut built = None;
    let bytes = measure(|| {
        let mut router = Router::new();
        let routes: Vec<_> = specs.iter().map(|spec| Arc::new(CompiledRoute::compile(spec).unwrap())).collect();
        routes.iter().for_each(|route| router.insert(route));
        built = Some((router, routes));
    });
    let Some((router, routes)) = built else { return 0.0 };

    let requests: Vec<_> = (0..LOOKUPS).map(|n| (case.request)(n * 7919 % case.routes)).collect();
    let mut headers = HeaderMap::new();
    headers.insert("x-tenant", http::HeaderValue::from_static("100"));
    let lookup = |(host, path): &(String, String)| {
        let (source, destination) = (None, None);
        let query = Query {
            method: "GET",
            host: Some(host),
            port: 80,
            path,
            headers: &headers,
            https: false,
            sni: None,
            source,
            destination,
        };
        assert!(black_box(router.find(black_box(&query))).is_some(), "{host}{path} is not found");
    };
    requests.iter().for_each(lookup);
    let lookup = median(|| requests.iter().for_each(lookup)) / LOOKUPS as f64;

    let mut live = router.clone();
    let mut changed = routes.iter().cycle().step_by(routes.len() / 7 + 1);
    let mut replace = || {
        let route = changed.next().map(Arc::clone);
        let mut next = live.clone();
        route.iter().for_each(|route| next.remove(route));
        route.iter().for_each(|route| next.insert(route));
        live = next;
    };
    let change_bytes = measure(&mut replace).bytes_total;
    let change = median(replace);
    let per_route = bytes.bytes_current / case.routes as i64;
    println!("{:<30} {lookup:>10.0} {change:>12.0} {change_bytes:>12} {per_route:>12}", case.name);
    lookup
}

fn route(n: u128, fields: Value) -> Route {
    let mut route: Route = serde_json::from_value(fields).unwrap();
    route.id = Id((n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
    route
}

/// Nanoseconds.
fn median(mut work: impl FnMut()) -> f64 {
    let mut times: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_nanos() as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[ROUNDS / 2]
}
