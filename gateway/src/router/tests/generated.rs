//! Configurations and requests drawn from small alphabets, so that routes meet, overlap and tie often.

use super::Request;
use http::{HeaderName, HeaderValue};
use model::Id;
use model::kinds::routes::{IpPort, Route};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use std::collections::BTreeMap;

const HOSTS: &[&str] = &[
    "a.com",
    "b.com",
    "x.a.com",
    "*.a.com",
    "*.com",
    "*.x.a.com",
    "a.*",
    "x.*",
    "x.a.*",
    "a.com:81",
    "*.a.com:81",
    "b.*:8000",
    "localhost",
    "[::1]:80",
];
const GIVEN_HOSTS: &[&str] = &[
    "a.com",
    "b.com",
    "x.a.com",
    "y.x.a.com",
    "a.org",
    "x.a.org",
    "a.com:81",
    "x.a.com:81",
    "b.org",
    "localhost",
    "com",
    "a.",
    "[::1]:80",
];
const PATHS: &[&str] = &[
    "/",
    "/a",
    "/b",
    "/ab",
    "/a/",
    "/a/b",
    "/a/b/c",
    "~/a",
    "~/a$",
    "~/a/(?<x>[^/]+)$",
    "~/a/(?P<x>[^#?/]+)/c$",
    "~/a/[^\\/]+",
    "~/(?<x>[^/]+)/b",
    "~/a|/c",
    "~/a/\\d+",
    "~/ab?c",
    "~/(a|ab)(c|bcd)",
    "~/a\\.b",
    "~/.*",
    "~",
];
const GIVEN_PATHS: &[&str] = &[
    "/", "/a", "/b", "/ab", "/ac", "/abc", "/abcd", "/a/", "/a/b", "/a/b/", "/a/b/c", "/a/7", "/a/7/c", "/a//c",
    "/z/b", "/z/b/c", "/z/c", "/a.b", "/axb", "/zzz",
];
const METHODS: &[&str] = &["GET", "POST", "PURGE"];
const SNIS: &[&str] = &["a.com", "b.com.", "*.a.com", "a.*"];
const GIVEN_SNIS: &[&str] = &["a.com", "b.com", "x.a.com", "a.org"];
const HEADERS: &[(&str, &[&str])] = &[("x-a", &["1", "Two"]), ("x-b", &["~*^v[0-9]$", "w"]), ("x-c", &["3"])];
const GIVEN_HEADERS: &[(&str, &str)] =
    &[("x-a", "1"), ("x-a", "TWO"), ("x-b", "V7"), ("x-b", "w"), ("x-c", "3"), ("x-c", "4")];
const NETS: &[(Option<&str>, Option<u16>)] = &[
    (Some("10.0.0.7"), None),
    (Some("10.0.0.0/8"), None),
    (None, Some(81)),
    (None, Some(4000)),
    (Some("10.1.0.0/16"), Some(4000)),
    (Some("::1"), None),
];
const GIVEN_ADDRESSES: &[&str] = &["10.0.0.7:4000", "10.1.2.3:4000", "10.1.2.3:81", "[::1]:4000", "192.168.0.1:8000"];

/// Mostly absent, so that routes with few criteria are as frequent as routes with many.
fn some<T: Clone + std::fmt::Debug + 'static>(
    pool: &'static [T],
    most: usize,
) -> impl Strategy<Value = Option<Vec<T>>> {
    prop_oneof![2 => Just(None), 1 => subsequence(pool, 1..=most).prop_shuffle().prop_map(Some)]
}

fn texts(pool: &'static [&'static str], most: usize) -> impl Strategy<Value = Option<Vec<String>>> {
    some(pool, most).prop_map(|list| list.map(|list| list.into_iter().map(str::to_owned).collect()))
}

fn nets() -> impl Strategy<Value = Option<Vec<IpPort>>> {
    let net = |(ip, port): (Option<&str>, Option<u16>)| IpPort { ip: ip.map(str::to_owned), port, ..IpPort::default() };
    prop_oneof![5 => Just(None), 1 => some(NETS, 2).prop_map(move |list| list.map(|l| l.into_iter().map(net).collect()))]
}

fn headers() -> impl Strategy<Value = Option<BTreeMap<String, Vec<String>>>> {
    some(HEADERS, 2).prop_map(|list| {
        let owned = |(name, values): (&str, &[&str])| {
            (name.to_owned(), values.iter().map(|value| (*value).to_owned()).collect())
        };
        list.map(|list| list.into_iter().map(owned).collect())
    })
}

/// A route with at least one criterion.
fn route() -> impl Strategy<Value = Route> {
    let paths = prop_oneof![1 => Just(None), 3 => texts(PATHS, 4)];
    let many = (texts(METHODS, 2), texts(HOSTS, 3), paths, headers(), texts(SNIS, 2), nets(), nets());
    // Ids near each other and far apart.
    let id = prop_oneof![any::<u128>(), 1u128..50];
    (id, many, 0..3i64)
        .prop_map(|(id, (methods, hosts, paths, headers, snis, sources, destinations), priority)| Route {
            id: Id(id),
            methods,
            hosts,
            paths,
            headers,
            snis,
            sources,
            destinations,
            regex_priority: Some(priority),
            ..Route::default()
        })
        .prop_filter("no criteria", |route| crate::router::CompiledRoute::compile(route).is_ok())
}

/// Routes with different ids.
pub(super) fn routes() -> impl Strategy<Value = Vec<Route>> {
    proptest::collection::vec(route(), 1..40).prop_map(|mut routes| {
        routes.sort_by_key(|route| route.id);
        routes.dedup_by_key(|route| route.id);
        routes
    })
}

pub(super) fn request() -> impl Strategy<Value = Request> {
    let address = || proptest::option::of(select(GIVEN_ADDRESSES)).prop_map(|text| text.map(|t| t.parse().unwrap()));
    let host = proptest::option::weighted(0.9, select(GIVEN_HOSTS));
    let headers = subsequence(GIVEN_HEADERS, 0..=3);
    let network = (address(), address(), any::<bool>(), proptest::option::of(select(GIVEN_SNIS)));
    (select(METHODS), host, select(GIVEN_PATHS), headers, network).prop_map(
        |(method, host, path, headers, (source, destination, https, sni))| {
            let mut request = Request::get("", path);
            request.method = method.to_owned();
            request.host = host.map(str::to_owned);
            for (name, value) in headers {
                request.headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            Request { source, destination, https, sni: sni.map(str::to_owned), ..request }
        },
    )
}
