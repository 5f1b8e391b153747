//! Many clients at once, and a store that fails.

use super::*;
use tokio::task::LocalSet;

impl Lab {
    /// Sends all requests at once and returns their statuses.
    fn storm(&self, requests: Vec<(&'static str, String, Value)>) -> Vec<StatusCode> {
        let local = LocalSet::new();
        let app = self.app.clone();
        self.block_on(local.run_until(async move {
            let sent = requests.into_iter().map(|(method, path, body)| {
                let app = app.clone();
                tokio::task::spawn_local(async move {
                    let request = Request::builder().method(method).uri(path);
                    let request = request.header(header::CONTENT_TYPE, "application/json");
                    let (parts, ()) = request.body(()).unwrap().into_parts();
                    handle(&app, &parts, Bytes::from(body.to_string())).await.status()
                })
            });
            let sent: Vec<_> = sent.collect();
            let mut statuses = Vec::new();
            for task in sent {
                statuses.push(task.await.unwrap());
            }
            statuses
        }))
    }
}

#[test]
fn concurrent_patches_of_one_entity_lose_no_update() {
    let lab = Lab::new();
    lab.create("/upstreams", json!({"name": "u", "healthchecks": {}}));
    let fields = [
        "hash_on_header",
        "hash_fallback_header",
        "hash_on_query_arg",
        "hash_fallback_query_arg",
        "hash_on_uri_capture",
        "hash_fallback_uri_capture",
        "hash_on_cookie",
        "host_header",
    ];
    let patches = (0..10).flat_map(|round| {
        fields.map(|field| {
            ("PATCH", "/upstreams/u".to_owned(), json!({field: format!("{}{round}", field.replace('_', "-"))}))
        })
    });
    let statuses = lab.storm(patches.collect());
    assert!(statuses.iter().all(|status| *status == StatusCode::OK), "{statuses:?}");
    let upstream = lab.get("/upstreams/u").body;
    for field in fields {
        let value = upstream[field].as_str().unwrap_or_default();
        assert!(value.starts_with(&field.replace('_', "-")), "{field}: {value}");
    }
    assert_eq!(lab.version(), 81, "one version for each change");
}

#[test]
fn of_concurrent_puts_by_name_one_creates_and_the_others_change_it() {
    let lab = Lab::new();
    let puts = (0..20).map(|port| ("PUT", "/services/same".to_owned(), json!({"host": "h", "port": port + 1})));
    let statuses = lab.storm(puts.collect());
    assert!(statuses.iter().all(|status| *status == StatusCode::OK), "{statuses:?}");
    assert_eq!(lab.count(Kind::Service), 1);
}

#[test]
fn of_concurrent_posts_of_one_name_exactly_one_wins() {
    let lab = Lab::new();
    let posts = (0..20).map(|_| ("POST", "/services".to_owned(), json!({"name": "same", "host": "h"})));
    let statuses = lab.storm(posts.collect());
    let won = statuses.iter().filter(|status| **status == StatusCode::CREATED).count();
    let lost = statuses.iter().filter(|status| **status == StatusCode::CONFLICT).count();
    assert_eq!((won, lost, lab.count(Kind::Service)), (1, 19, 1));
}

#[test]
fn a_parent_deleted_while_children_are_added_takes_them_all_or_keeps_them_all() {
    let lab = Lab::new();
    lab.create("/consumers", json!({"username": "bob"}));
    let mut requests: Vec<_> =
        (0..20).map(|n| ("POST", "/consumers/bob/key-auth".to_owned(), json!({"key": format!("k{n}")}))).collect();
    requests.insert(10, ("DELETE", "/consumers/bob".to_owned(), Value::Null));
    let statuses = lab.storm(requests);
    assert_eq!(statuses[10], StatusCode::NO_CONTENT);
    assert_eq!((lab.count(Kind::Consumer), lab.count(Kind::KeyauthCredential)), (0, 0));
}

#[test]
fn a_write_that_the_store_refuses_is_a_clear_500_and_works_later() {
    let store = memory();
    let lab = Lab::on(store.open(TOMBSTONES_MAX));
    store.fail_next();
    let seen = lab.call("POST", "/services", json!({"name": "s", "host": "h"}));
    assert_eq!(seen.status, 500);
    assert!(seen.body["message"].as_str().unwrap().contains("no space left"), "{}", seen.body);
    assert_eq!(lab.get("/services").body["data"], json!([]));
    assert_eq!(lab.get("/status").body["database"]["reachable"], json!(false));
    lab.create("/services", json!({"name": "s", "host": "h"}));
    assert_eq!(lab.get("/status").body["database"]["reachable"], json!(true));
}
