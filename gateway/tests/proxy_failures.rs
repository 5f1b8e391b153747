//! What happens when upstreams, clients or the configuration fail.

mod support;

use gateway::listen::Limits;
use gateway::proxy::Settings;
use model::Kind;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::mpsc::channel;
use std::time::Duration;
use support::{Config, HUNG, Origin, id, read_head};

/// A service on an upstream with these targets, in the order in which round-robin gets to them.
fn balanced(targets: &[SocketAddr], fields: Value) -> Config {
    let mut config = Config::default().with(Kind::Upstream, json!({ "id": id(1), "name": "pool.internal" }));
    for (n, target) in (1..).zip(targets) {
        let target = json!({ "id": id(n), "upstream": { "id": id(1) }, "target": target.to_string() });
        config = config.with(Kind::Target, target);
    }
    let mut service = json!({ "host": "pool.internal" });
    service.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    config.service(1, targets[0], service).route(1, json!({}))
}

#[test]
fn no_route_is_told_in_the_form_that_the_client_accepts() {
    let gateway = Config::default().start();
    let answer = gateway.get("/", "");
    assert_eq!((answer.status, answer.header("content-type")), (404, Some("application/json; charset=utf-8")));
    assert_eq!(answer.json()["message"], "no Route matched with those values");
    assert_eq!(answer.json()["request_id"].as_str(), answer.header("x-kong-request-id"));
    assert!(answer.header("x-kong-response-latency").is_some());
    assert!(answer.header("server").unwrap().starts_with("edge-gateway/"));
    let html = gateway.get("/", "Accept: text/html\r\n");
    assert!(html.text().contains("<h1>no Route matched with those values</h1>"));
}

#[test]
fn a_route_without_service_is_503() {
    let gateway = Config::default().with(Kind::Route, json!({ "id": id(1), "paths": ["/"] })).start();
    let answer = gateway.get("/", "");
    assert_eq!((answer.status, &answer.json()["message"]), (503, &json!("no Service found with those values")));
}

#[test]
fn a_refused_connection_is_502_and_plain_text_without_accept() {
    let config = Config::default().service(1, Origin::nobody(), json!({ "retries": 0 })).route(1, json!({}));
    let answer = config.start().get("/", "");
    assert_eq!((answer.status, answer.header("content-type")), (502, Some("text/plain; charset=utf-8")));
    assert!(answer.text().starts_with("An invalid response was received from the upstream server\nrequest_id: "));
}

#[test]
fn plain_http_on_an_https_route_is_426_or_a_redirect() {
    let secure = |status: u16| json!({ "protocols": ["https"], "https_redirect_status_code": status });
    let origin = Origin::nobody();
    let refused = Config::default().service(1, origin, json!({})).route(1, secure(426)).start().get("/", "");
    assert_eq!((refused.status, refused.header("upgrade")), (426, Some("TLS/1.2, HTTP/1.1")));
    assert_eq!(refused.json()["message"], "Please use HTTPS protocol");
    let moved =
        Config::default().service(1, origin, json!({})).route(1, secure(301)).start().get("/a?b", "Host: h:80\r\n");
    assert_eq!((moved.status, moved.header("location")), (301, Some("https://h/a?b")));
}

#[test]
fn the_next_target_is_tried_when_one_refuses() {
    let origin = Origin::answering("alive");
    let gateway = balanced(&[Origin::nobody(), origin.address], json!({})).start();
    for _ in 0..4 {
        let answer = gateway.client().request("POST", "/", "", b"body");
        assert_eq!((answer.status, answer.text().as_str()), (200, "alive"));
        assert_eq!(origin.last().body, b"body");
    }
}

#[test]
fn tries_are_bounded_by_retries() {
    let origin = Origin::scripted(|served| drop(served.request()));
    let gateway = Config::default().service(1, origin.address, json!({ "retries": 2 })).route(1, json!({})).start();
    assert_eq!(gateway.get("/", "").status, 502);
    assert_eq!(origin.connections(), 3);
}

#[test]
fn what_was_sent_and_is_not_idempotent_is_not_sent_again() {
    let origin = Origin::scripted(|served| drop(served.request()));
    let gateway = Config::default().service(1, origin.address, json!({ "retries": 5 })).route(1, json!({})).start();
    assert_eq!(gateway.client().request("POST", "/", "", b"pay").status, 502);
    assert_eq!(origin.connections(), 1);
}

#[test]
fn a_pooled_connection_that_ended_meanwhile_costs_no_request() {
    let origin = Origin::scripted(|served| {
        served.request();
        served.answer("200 OK", "", "once");
    });
    let gateway = Config::default().service(1, origin.address, json!({ "retries": 0 })).route(1, json!({})).start();
    let mut client = gateway.client();
    for round in 1..=5 {
        assert_eq!(client.request("GET", "/", "", b"").text(), "once");
        assert_eq!(origin.connections(), round);
    }
}

#[test]
fn an_upstream_that_says_nothing_is_504() {
    let (done, wait) = channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let origin = Origin::scripted(move |served| {
        served.request();
        let _ = wait.lock().unwrap().recv_timeout(HUNG);
    });
    let service = json!({ "retries": 0, "read_timeout": 50 });
    let gateway = Config::default().service(1, origin.address, service).route(1, json!({})).start();
    let answer = gateway.get("/", "Accept: application/json\r\n");
    assert_eq!((answer.status, &answer.json()["message"]), (504, &json!("The upstream server is timing out")));
    drop(done);
}

#[test]
fn an_upstream_that_stops_in_the_middle_cuts_the_answer() {
    let (done, wait) = channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let origin = Origin::scripted(move |served| {
        served.request();
        served.write("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
        let _ = wait.lock().unwrap().recv_timeout(HUNG);
    });
    let service = json!({ "read_timeout": 50 });
    let gateway = Config::default().service(1, origin.address, service).route(1, json!({})).start();
    let mut client = gateway.client();
    client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.head().status, 200);
    let mut rest = Vec::new();
    let _ = std::io::Read::read_to_end(&mut client.stream, &mut rest);
    assert_eq!(rest, b"half", "nothing is made up, and the connection is closed");
    drop(done);
}

#[test]
fn an_answer_that_is_not_http_is_502() {
    let origin = Origin::scripted(|served| {
        served.request();
        served.write("garbage\r\n\r\n");
    });
    let gateway = Config::default().service(1, origin.address, json!({})).route(1, json!({})).start();
    assert_eq!(gateway.get("/", "").status, 502);
    assert_eq!(origin.connections(), 1, "garbage is no reason to try again");
}

#[test]
fn a_client_that_stops_sending_its_body_is_408() {
    let origin = Origin::answering("");
    let config = Config::default().service(1, origin.address, json!({})).route(1, json!({}));
    let settings = Settings { client_body_timeout: Duration::from_millis(50), ..Settings::default() };
    let gateway = config.start_with(settings, Limits::default());
    let mut client = gateway.client();
    client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf");
    assert_eq!(client.answer(false).status, 408);
}

#[test]
fn drained_targets_leave_nobody() {
    let gateway = Config::default()
        .with(Kind::Upstream, json!({ "id": id(1), "name": "pool.internal" }))
        .with(Kind::Target, json!({ "id": id(1), "upstream": { "id": id(1) }, "target": "127.0.0.1:1", "weight": 0 }))
        .service(1, Origin::nobody(), json!({ "host": "pool.internal" }))
        .route(1, json!({}))
        .start();
    let answer = gateway.get("/", "");
    assert_eq!(
        (answer.status, &answer.json()["message"]),
        (503, &json!("failure to get a peer from the ring-balancer"))
    );
}

#[test]
fn a_name_without_address_is_503() {
    let service = json!({ "host": "nowhere.invalid", "retries": 0 });
    let gateway = Config::default().service(1, Origin::nobody(), service).route(1, json!({})).start();
    let answer = gateway.get("/", "Accept: */*\r\n");
    assert_eq!((answer.status, &answer.json()["message"]), (503, &json!("name resolution failed")));
}

#[test]
fn a_client_that_says_nothing_is_let_go() {
    let limits = Limits { header_timeout: Duration::from_millis(50), ..Limits::default() };
    let gateway = Config::default().start_with(Settings::default(), limits);
    assert!(gateway.client().is_closed());
    let mut slow = gateway.client();
    slow.write("GET / HTTP/1.1\r\nHost:");
    assert!(slow.is_closed());
}

#[test]
fn a_client_that_has_nothing_more_to_ask_is_let_go() {
    let limits = Limits { keepalive_timeout: Duration::from_millis(50), ..Limits::default() };
    let gateway = Config::default().start_with(Settings::default(), limits);
    let mut client = gateway.client();
    assert_eq!(client.request("GET", "/", "", b"").status, 404);
    assert!(client.is_closed());
}

#[test]
fn a_shutdown_lets_the_current_request_end() {
    let (started, start) = channel::<()>();
    let (go, wait) = channel::<()>();
    let (started, wait) = (std::sync::Mutex::new(started), std::sync::Mutex::new(wait));
    let origin = Origin::scripted(move |served| {
        read_head(&mut served.stream);
        started.lock().unwrap().send(()).unwrap();
        wait.lock().unwrap().recv_timeout(HUNG).unwrap();
        served.answer("200 OK", "", "after all");
    });
    let mut gateway = Config::default().service(1, origin.address, json!({})).route(1, json!({})).start();
    let mut client = gateway.client();
    client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    start.recv_timeout(HUNG).unwrap();
    gateway.stop();
    go.send(()).unwrap();
    assert_eq!(client.answer(false).text(), "after all");
    assert!(client.is_closed());
    gateway.join();
}

#[test]
fn a_request_without_one_host_or_with_a_target_that_is_no_path_is_400() {
    let gateway = Config::default().start();
    for request in [
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let mut client = gateway.client();
        client.write(request);
        assert_eq!(client.answer(false).status, 400, "{request}");
    }
}
