//! How deep paths may lie inside each other.

use super::{Request, id, route, router};
use serde_json::json;

/// As many as a path may have bytes, each the beginning of the next: no stack grows with them, neither where they are
/// filed nor where they are found, taken out, or dropped with the last snapshot that has them.
#[test]
fn every_beginning_of_a_longest_path_may_be_a_path_of_its_own() {
    let longest = format!("/{}", "a".repeat(8 * 1024 - 1));
    let routes: Vec<_> =
        (1..=longest.len()).map(|length| route(length as u128, json!({ "paths": [longest[..length]] }))).collect();
    let mut all = router(&routes);
    assert_eq!(id(all.find(&Request::get("h", &longest).query())), Some(8192));
    assert_eq!(id(all.find(&Request::get("h", &longest[..77]).query())), Some(77));
    let before = all.clone();
    for route in &routes[4_000..] {
        all.remove(&super::compiled(route));
    }
    assert_eq!(id(all.find(&Request::get("h", &longest).query())), Some(4_000));
    drop(all);
    assert_eq!(id(before.find(&Request::get("h", &longest).query())), Some(8192));
}
