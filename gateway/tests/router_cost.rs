//! A change of one route allocates little, however many routes there are (design: 64 KiB per delta), and a lookup
//! allocates nothing.

use allocation_counter::measure;
use gateway::router::{CompiledRoute, Query, Router};
use http::HeaderMap;
use model::Id;
use model::kinds::routes::Route;
use serde_json::{Value, json};
use std::sync::Arc;

/// Most bytes that adding or removing one route may allocate.
const CHANGE_BYTES_MAX: u64 = 64 * 1024;

fn routes(count: u128, fields: impl Fn(u128) -> Value) -> Vec<Arc<CompiledRoute>> {
    let compile = |n: u128| {
        let mut route: Route = serde_json::from_value(fields(n)).unwrap();
        // Ids all over the range, so that changes fall into the middle of lists.
        route.id = Id(n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
        Arc::new(CompiledRoute::compile(&route).unwrap())
    };
    (1..=count).map(compile).collect()
}

fn router(routes: &[Arc<CompiledRoute>]) -> Router {
    let mut router = Router::new();
    routes.iter().for_each(|route| router.insert(route));
    router
}

fn query<'q>(host: &'q str, path: &'q str, headers: &'q HeaderMap) -> Query<'q> {
    let (source, destination) = (None, None);
    Query { method: "GET", host: Some(host), port: 8000, path, headers, https: false, sni: None, source, destination }
}

/// Changes some of the routes while an older clone is held, as a snapshot is while requests still use it.
fn check(what: &str, routes: &[Arc<CompiledRoute>]) {
    let held = router(routes);
    for changed in routes.iter().step_by(routes.len() / 25) {
        let mut next = held.clone();
        let removed = measure(|| next.remove(changed)).bytes_total;
        let held_too = next.clone();
        let inserted = measure(|| next.insert(changed)).bytes_total;
        assert!(removed <= CHANGE_BYTES_MAX, "{what}: removing one of {} allocates {removed} bytes", routes.len());
        assert!(inserted <= CHANGE_BYTES_MAX, "{what}: adding to {} allocates {inserted} bytes", routes.len());
        assert!(removed > 0 && inserted > 0 && !held_too.is_empty(), "{what}: nothing was changed");
    }
}

#[test]
fn a_change_allocates_little_with_ten_thousand_routes_on_one_host() {
    check("paths", &routes(10_000, |n| json!({"hosts": ["h.com"], "paths": [format!("/service-{n}/v1")]})));
    check("no paths", &routes(10_000, |n| json!({"hosts": ["h.com"], "headers": {"x-n": [n.to_string()]}})));
}

#[test]
fn a_change_allocates_little_with_three_thousand_regexes() {
    check("one beginning", &routes(3_000, |n| json!({"paths": [format!("~/api/(?<x>[^/]+)/{n}$")]})));
    check("different beginnings", &routes(3_000, |n| json!({"paths": [format!("~/api/{n}/[0-9a-f]+$")]})));
}

#[test]
fn a_change_allocates_little_with_two_hundred_routes_on_one_prefix() {
    check("one prefix", &routes(200, |n| json!({"paths": ["/api"], "headers": {"x-n": [n.to_string()]}})));
}

#[test]
fn a_change_allocates_little_with_thirty_thousand_hosts() {
    check("hosts", &routes(30_000, |n| json!({"hosts": [format!("h{n}.example.com")], "paths": ["/"]})));
}

#[test]
fn a_clone_and_a_lookup_allocate_nothing() {
    let router =
        router(&routes(1_000, |n| json!({"hosts": ["H.com", "*.h.com"], "paths": [format!("/{n}"), "~/x/([^/]+)$"]})));
    let headers = HeaderMap::new();
    let mut found = None;
    let info = measure(|| {
        let clone = router.clone();
        let matched = |host, path| clone.find(&query(host, path, &headers)).map(|found| found.matched);
        found = Some((matched("h.COM", "/77/a"), matched("A.h.com:80", "/x/1"), matched("b.com", "/")));
    });
    assert_eq!(found, Some((Some(3), Some(4), None)));
    assert_eq!(info.count_total, 0);
}
