//! What a change looks at, whatever else is there. The bytes it allocates are bounded by `tests/router_cost.rs`.

use super::{compiled, route, router};
use model::meter;
use serde_json::json;

/// Most entries that one change of one route may look at (design §9: under 100 for the whole node).
const VISITED_MAX: usize = 64;

#[test]
fn a_change_looks_at_few_entries_however_many_there_are() {
    for (kind, fields) in [
        (
            "one host",
            (0..10_000).map(|n| json!({"hosts": ["h"], "paths": [format!("/service-{n}/v1")]})).collect::<Vec<_>>(),
        ),
        (
            "one host without paths",
            (0..10_000).map(|n| json!({"hosts": ["h"], "headers": {"x-n": [n.to_string()]}})).collect(),
        ),
        ("regexes", (0..3_000).map(|n| json!({"paths": [format!("~/api/(?<x>[^/]+)/{n}$")]})).collect()),
        ("one prefix", (0..200).map(|n| json!({"paths": ["/api"], "headers": {"x-n": [n.to_string()]}})).collect()),
    ] {
        // Ids all over the range, so that changes fall into the middle of lists.
        let routes: Vec<_> = (1u128..)
            .zip(fields)
            .map(|(n, fields)| route(n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835), fields))
            .collect();
        let before = router(&routes);
        for changed in routes.iter().step_by(routes.len() / 20) {
            let (mut after, changed) = (before.clone(), compiled(changed));
            meter::take();
            after.remove(&changed);
            let removed = meter::take();
            after.insert(&changed);
            let inserted = meter::take();
            assert!(
                removed <= VISITED_MAX && inserted <= VISITED_MAX,
                "{kind}: {removed} removed, {inserted} inserted"
            );
            assert!(removed > 0, "{kind}: nothing was counted");
        }
    }
}
