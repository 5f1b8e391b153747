//! A table per rule of Kong's `traditional_compatible` router.

use super::super::{RouteError, Router, rank};
use super::{Request, compiled, id, route, router};
use crate::router::CompiledRoute;
use http::{HeaderName, HeaderValue};
use model::Id;
use serde_json::{Value, json};

/// The routes get ids 1, 2, 3, …; each case is a host, a path and the id that wins (0: none).
fn check(routes: &[Value], cases: &[(&str, &str, u128)]) {
    let routes: Vec<_> = (1..).zip(routes).map(|(id, fields)| route(id, fields.clone())).collect();
    let router = router(&routes);
    for (host, path, wins) in cases {
        let request = Request::get(host, path);
        assert_eq!(id(router.find(&request.query())).unwrap_or(0), *wins, "{host}{path}");
    }
}

#[test]
fn the_longest_prefix_wins_and_prefixes_end_anywhere() {
    check(
        &[json!({"paths": ["/"]}), json!({"paths": ["/api"]}), json!({"paths": ["/api/v1"]})],
        &[
            ("h", "/", 1),
            ("h", "/ap", 1),
            ("h", "/api", 2),
            ("h", "/apis", 2),
            ("h", "/api/v", 2),
            ("h", "/api/v1/x", 3),
        ],
    );
}

#[test]
fn nothing_matches_where_no_route_does() {
    check(&[json!({"paths": ["/api"]}), json!({"hosts": ["a.com"]})], &[("b.com", "/", 0), ("", "", 0)]);
    assert!(Router::new().find(&Request::get("a.com", "/").query()).is_none());
}

#[test]
fn more_kinds_of_criteria_beat_anything_else() {
    check(
        &[
            json!({"paths": ["/a"], "methods": ["GET"]}),
            json!({"paths": ["/a/much/longer"]}),
            json!({"hosts": ["h"], "paths": ["/a"], "methods": ["GET"]}),
            json!({"paths": ["~/a/.*"], "regex_priority": 1000}),
        ],
        &[("g", "/a/much/longer", 1), ("h", "/a/much/longer", 3), ("g", "/a", 1)],
    );
}

#[test]
fn hosts_match_exactly_by_wildcard_at_either_end_and_in_any_case() {
    let routes = [
        json!({"hosts": ["a.com"]}),
        json!({"hosts": ["*.a.com"]}),
        json!({"hosts": ["x.*"]}),
        json!({"hosts": ["*.b.a.com"]}),
    ];
    check(
        &routes,
        &[
            ("a.com", "/", 1),
            ("A.COM", "/", 1),
            ("y.a.com", "/", 2),
            (".a.com", "/", 2),
            ("aa.com", "/", 0),
            ("x.org", "/", 3),
            ("x.", "/", 3),
            ("x", "/", 0),
            // Both wildcards match with equal priority, so the larger id wins, however specific the other is.
            ("x.a.com", "/", 3),
            ("c.b.a.com", "/", 4),
            ("a.com:99", "/", 1),
        ],
    );
}

#[test]
fn plain_hosts_beat_wildcards_and_one_wildcard_makes_the_route_one_of_wildcards() {
    check(
        &[
            json!({"hosts": ["x.a.com"], "paths": ["/"]}),
            json!({"hosts": ["*.a.com"], "paths": ["/long"]}),
            json!({"hosts": ["x.a.com", "*.z"], "paths": ["/longer"]}),
        ],
        &[("x.a.com", "/longer", 1), ("y.a.com", "/longer", 2), ("q.z", "/longer", 3)],
    );
}

#[test]
fn a_host_with_port_needs_that_port_from_the_header_or_the_listener() {
    check(
        &[json!({"hosts": ["a.com:81"]}), json!({"hosts": ["*.a.com:82"]}), json!({"hosts": ["b.com:8000"]})],
        &[
            ("a.com:81", "/", 1),
            ("a.com", "/", 0),
            ("a.com:82", "/", 0),
            ("a.com:80", "/", 0),
            ("x.a.com:82", "/", 2),
            ("x.a.com", "/", 0),
            ("b.com", "/", 3),
            ("b.com:8000", "/", 3),
            ("b.com:8001", "/", 0),
        ],
    );
}

#[test]
fn a_request_without_host_meets_only_routes_without_hosts() {
    let routes = [route(1, json!({"hosts": ["a.com"]})), route(2, json!({"paths": ["/"]}))];
    let request = Request { host: None, ..Request::get("", "/") };
    assert_eq!(id(router(&routes).find(&request.query())), Some(2));
}

#[test]
fn more_header_names_beat_regexes_and_length() {
    let routes = [
        route(1, json!({"paths": ["/a"], "headers": {"x-a": ["1"], "x-b": ["1"]}})),
        route(2, json!({"paths": ["/a/long"], "headers": {"x-a": ["1"]}})),
        route(3, json!({"paths": ["~/a"], "headers": {"x-a": ["1"]}, "regex_priority": 9})),
    ];
    let mut request = Request::get("h", "/a/long");
    request.headers.insert("x-a", HeaderValue::from_static("1"));
    assert_eq!(id(router(&routes).find(&request.query())), Some(3));
    request.headers.insert("x-b", HeaderValue::from_static("1"));
    assert_eq!(id(router(&routes).find(&request.query())), Some(1));
}

#[test]
fn header_values_match_in_any_case_by_any_value_and_by_regex() {
    for (wanted, given, meets) in [
        (json!({"X-A": ["Blue", "red"]}), vec!["blue"], true),
        (json!({"x-a": ["blue"]}), vec!["green", "BLUE"], true),
        (json!({"x-a": ["blue"]}), vec!["blue1"], false),
        (json!({"x-a": ["~*^BLUE[0-9]$"]}), vec!["Blue7"], true),
        (json!({"x-a": ["~*lue"]}), vec!["blues"], true),
        (json!({"x-a": ["~*^blue$"]}), vec!["blues"], false),
        (json!({"x-a": ["blue"], "x-b": ["1"]}), vec!["blue"], false),
        (json!({"x-a": []}), vec!["blue"], false),
        (json!({"x-a": ["blue"]}), vec![], false),
    ] {
        let mut request = Request::get("h", "/");
        for value in &given {
            request.headers.append(HeaderName::from_static("x-a"), HeaderValue::from_static(value));
        }
        let router = router(&[route(1, json!({"headers": wanted}))]);
        assert_eq!(router.find(&request.query()).is_some(), meets, "{wanted} {given:?}");
    }
}

#[test]
fn regexes_beat_prefixes_by_regex_priority_and_not_by_length() {
    check(
        &[
            json!({"paths": ["/a/very/long/prefix"]}),
            json!({"paths": ["~/a/very/long/[a-z]+"], "regex_priority": 1}),
            json!({"paths": ["~/a/.+"], "regex_priority": 2}),
            json!({"paths": ["~/b"]}),
        ],
        &[("h", "/a/very/long/prefix", 3), ("h", "/b/", 4), ("h", "/xa/b", 0)],
    );
}

#[test]
fn a_regex_is_anchored_at_its_start_only_and_in_its_first_branch_only() {
    check(
        &[json!({"paths": ["~/a$|/b$"]})],
        &[("h", "/a", 1), ("h", "/a/c", 0), ("h", "/x/a", 0), ("h", "/b", 1), ("h", "/x/b", 1)],
    );
    check(&[json!({"paths": ["~/u/\\d+"]})], &[("h", "/u/7/x", 1), ("h", "/x/u/7", 0), ("h", "/u/x", 0)]);
}

#[test]
fn equal_priority_goes_to_the_larger_id() {
    check(&[json!({"paths": ["/a"]}), json!({"paths": ["/b", "/a"]})], &[("h", "/a", 2)]);
    check(&[json!({"hosts": ["h"]}), json!({"hosts": ["h"]}), json!({"hosts": ["g"]})], &[("h", "/a", 2)]);
}

#[test]
fn a_route_with_several_lengths_of_paths_counts_as_several_with_ids_of_their_own() {
    let split = json!({"paths": ["/a", "/bb", "/b", "~/r"]});
    let single = json!({"paths": ["/a"]});
    // The part with `/a` and `/b` is the first; its id decides the tie with the other route.
    let original = Id(2);
    let part = rank::split_id(original, 1);
    assert_ne!(part, original);
    for (other, wins) in [(part.0 - 1, 2), (part.0 + 1, part.0 + 1)] {
        let routes = [route(2, split.clone()), route(other, single.clone())];
        assert_eq!(id(router(&routes).find(&Request::get("h", "/a").query())), Some(wins));
    }
}

/// Made with Kong's namespace and the names `<route id>#<n>` by another implementation of RFC 9562 §5.5 (Python's).
#[test]
fn derives_the_ids_of_parts_as_kong_does() {
    let id: Id = "0dc6f45b-8f8d-40d2-a504-473544ee190b".parse().unwrap();
    assert_eq!(rank::split_id(id, 1).to_string(), "92e27d36-fe32-50da-9464-e449e7f69482");
    assert_eq!(rank::split_id(id, 2).to_string(), "f81db1e9-9b34-5b47-8d76-c7e8cf0d0b08");
}

#[test]
fn methods_are_compared_exactly() {
    let routes =
        [route(1, json!({"methods": ["GET", "PURGE"]})), route(2, json!({"paths": ["/"], "methods": ["BAN"]}))];
    let router = router(&routes);
    for (method, wins) in [("GET", Some(1)), ("PURGE", Some(1)), ("BAN", Some(2)), ("get", None), ("POST", None)] {
        let request = Request { method: method.into(), ..Request::get("h", "/") };
        assert_eq!(id(router.find(&request.query())), wins, "{method}");
    }
}

#[test]
fn server_names_count_over_tls_only() {
    for (wanted, sni, https, meets) in [
        ("a.com", Some("a.com"), true, true),
        ("a.com", Some("A.com"), true, true),
        ("a.com.", Some("a.com"), true, true),
        ("a.com", Some("b.com"), true, false),
        ("a.com", None, true, false),
        ("a.com", None, false, true),
        ("a.com", Some("b.com"), false, true),
        ("*.a.com", Some("x.a.com"), true, true),
        ("*.a.com", Some("a.com"), true, false),
        ("a.*", Some("a.org"), true, true),
        ("a.*", Some("b.a.org"), true, false),
    ] {
        let request = Request { sni: sni.map(Into::into), https, ..Request::get("h", "/") };
        let router = router(&[route(1, json!({"snis": [wanted], "protocols": ["https"]}))]);
        assert_eq!(router.find(&request.query()).is_some(), meets, "{wanted} {sni:?} {https}");
    }
}

#[test]
fn sources_and_destinations_match_by_address_network_and_port() {
    for (field, wanted, meets) in [
        ("sources", json!([{"ip": "10.0.0.7"}]), true),
        ("sources", json!([{"ip": "10.0.0.8"}]), false),
        ("sources", json!([{"ip": "10.0.0.9/8"}]), true),
        ("sources", json!([{"port": 4000}]), true),
        ("sources", json!([{"ip": "10.0.0.7", "port": 4001}]), false),
        ("sources", json!([{"port": 1}, {"ip": "10.0.0.0/24", "port": 4000}]), true),
        ("sources", json!([{"ip": "fe80::/10"}]), false),
        ("destinations", json!([{"ip": "192.168.1.1"}]), true),
        ("destinations", json!([{"port": 8000}]), true),
        ("destinations", json!([{"port": 81}]), false),
    ] {
        let request = Request {
            // As a listener on `[::]` sees an IPv4 client.
            source: Some("[::ffff:10.0.0.7]:4000".parse().unwrap()),
            destination: Some("192.168.1.1:8000".parse().unwrap()),
            ..Request::get("h", "/")
        };
        let router = router(&[route(1, json!({field: wanted}))]);
        assert_eq!(router.find(&request.query()).is_some(), meets, "{field} {wanted}");
    }
    // The port of the Host header stands for the destination's, as in Kong.
    let router = router(&[route(1, json!({"destinations": [{"port": 81}]}))]);
    assert!(router.find(&Request::get("h:81", "/").query()).is_some());
}

#[test]
fn says_how_much_of_the_path_was_matched() {
    for (paths, path, matched) in [
        (json!(["/api"]), "/api/x", 4),
        (json!(["~/u/[^/]+"]), "/u/77/x", 5),
        (json!(["~/u/\\d+/"]), "/u/77/x", 6),
        (json!(["~/a|/b/."]), "/x/b/c", 4),
        (json!(["~/a/.", "~/a/.*"]), "/a/bcd", 4),
        (json!(["~"]), "/a", 0),
    ] {
        let router = router(&[route(1, json!({"paths": paths}))]);
        let request = Request::get("h", path);
        assert_eq!(router.find(&request.query()).map(|found| found.matched), Some(matched), "{paths} {path}");
    }
    let router = router(&[route(1, json!({"hosts": ["h"]}))]);
    assert_eq!(router.find(&Request::get("h", "/a").query()).unwrap().matched, 1);
}

#[test]
fn gives_the_captures_of_own_matcher_and_engine_alike() {
    for path in ["~/u/(?<user>[^/]+)/o/([^#?/]+)$", "~/u/(?P<user>[^/]+)/(?:o)/([^#?/]+)$"] {
        let router = router(&[route(1, json!({"paths": [path]}))]);
        let request = Request::get("h", "/u/ann/o/7");
        let found = router.find(&request.query()).unwrap();
        let captures = found.captures(&request.path).unwrap();
        assert_eq!(captures.name("user"), Some(&b"ann"[..]));
        assert_eq!(captures.number(0), Some(&b"/u/ann/o/7"[..]));
        assert_eq!(captures.number(1), Some(&b"ann"[..]));
        assert_eq!(captures.number(2), Some(&b"7"[..]));
        assert_eq!(captures.number(3), None);
        assert_eq!(captures.name("other"), None);
        assert_eq!(found.pattern(), path.strip_prefix('~'));
    }
    let prefix = router(&[route(1, json!({"paths": ["/u"]}))]);
    assert_eq!(prefix.find(&Request::get("h", "/u").query()).unwrap().captures("/u"), None);
}

#[test]
fn refuses_what_it_cannot_serve_and_names_the_field() {
    for (fields, field) in [
        (json!({}), "@entity"),
        (json!({"hosts": []}), "@entity"),
        (json!({"hosts": ["a.*.com"]}), "hosts"),
        (json!({"paths": ["api"]}), "paths"),
        (json!({"paths": ["~/("]}), "paths"),
        (json!({"paths": ["~/(?<a>[^/]+)/(?<a>[^/]+)"]}), "paths"),
        (json!({"paths": ["~/(?=x)"]}), "paths"),
        (json!({"headers": {"a b": ["1"]}}), "headers"),
        (json!({"headers": {"a": ["~*("]}}), "headers"),
        (json!({"sources": [{"ip": "10.0.0"}]}), "sources"),
        (json!({"destinations": [{}]}), "destinations"),
    ] {
        let error = CompiledRoute::compile(&route(1, fields.clone())).unwrap_err();
        assert_eq!(error.field(), field, "{fields}");
    }
    let error = CompiledRoute::compile(&route(1, json!({"paths": ["x"]}))).unwrap_err();
    assert_eq!(error, RouteError::Path("x".into()));
}

#[test]
fn routes_of_other_protocols_than_http_are_not_found() {
    let tcp = route(1, json!({"protocols": ["tcp"], "sources": [{"ip": "0.0.0.0/0"}]}));
    let request = Request { source: Some("10.0.0.7:1".parse().unwrap()), ..Request::get("h", "/") };
    assert!(router(&[tcp]).find(&request.query()).is_none());
}

#[test]
fn a_route_with_very_many_hosts_and_paths_is_found_by_each() {
    let hosts: Vec<_> = (0..50).map(|n| format!("h{n}.com")).collect();
    let paths: Vec<_> = (0..50).map(|n| format!("/p{n}")).collect();
    let many = route(1, json!({"hosts": hosts, "paths": paths}));
    let mut router = router(std::slice::from_ref(&many));
    assert!(router.find(&Request::get("h49.com", "/p49").query()).is_some());
    assert!(router.find(&Request::get("h50.com", "/p49").query()).is_none());
    router.remove(&compiled(&many));
    assert!(router.find(&Request::get("h49.com", "/p49").query()).is_none());
}

#[test]
fn a_clone_never_sees_a_later_change() {
    let routes = [route(1, json!({"hosts": ["h"], "paths": ["/a"]})), route(2, json!({"paths": ["/a/b"]}))];
    let before = router(&routes);
    let mut after = before.clone();
    after.remove(&compiled(&routes[0]));
    after.insert(&compiled(&route(3, json!({"paths": ["/a/b"], "methods": ["GET"]}))));
    let request = Request::get("h", "/a/b");
    assert_eq!(id(before.find(&request.query())), Some(1));
    assert_eq!(id(after.find(&request.query())), Some(3));
}
