//! One line per request, whatever becomes of it.

mod support;

use gateway::access_log::AccessLog;
use gateway::listen::Limits;
use gateway::proxy::Settings;
use serde_json::json;
use support::{Config, Gateway, Origin};

#[test]
fn every_request_leaves_exactly_one_line() {
    let origin = Origin::answering("hello");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    let log = AccessLog::open(path.to_str().unwrap()).unwrap();
    let snapshot =
        Config::default().service(1, origin.address, json!({})).route(1, json!({ "paths": ["/api"] })).snapshot();
    let mut gateway = Gateway::start_on("127.0.0.1:0", None, log, snapshot, Settings::default(), Limits::default());
    let served = gateway.get("/api/x?q=1", "User-Agent: te\"st\r\nReferer: http://from\r\n");
    let refused = gateway.get("/", "");
    gateway.stop();
    gateway.join();
    // The last handle went with the workers, and waited until everything was written.
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let line = |n: usize, part: &str| assert!(lines[n].contains(part), "{part} in {}", lines[n]);
    assert_eq!(lines.len(), 2);
    line(0, "127.0.0.1 - - [");
    line(0, "\"GET /api/x?q=1 HTTP/1.1\" 200 5 \"http://from\" \"te\\x22st\"");
    line(0, served.header("x-kong-request-id").unwrap());
    line(1, "\"GET / HTTP/1.1\" 404 ");
    line(1, refused.header("x-kong-request-id").unwrap());
}

#[test]
fn a_client_that_leaves_before_the_answer_is_logged_as_499() {
    let (asked, wait) = std::sync::mpsc::channel::<()>();
    let asked = std::sync::Mutex::new(asked);
    let origin = Origin::scripted(move |served| {
        served.request();
        asked.lock().unwrap().send(()).unwrap();
        // Ends when the gateway gives the connection up.
        served.request();
    });
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    let log = AccessLog::open(path.to_str().unwrap()).unwrap();
    let snapshot = Config::default().service(1, origin.address, json!({})).route(1, json!({})).snapshot();
    let mut gateway = Gateway::start_on("127.0.0.1:0", None, log, snapshot, Settings::default(), Limits::default());
    let mut client = gateway.client();
    client.write("GET /gone HTTP/1.1\r\nHost: a\r\n\r\n");
    wait.recv_timeout(support::HUNG).unwrap();
    drop(client);
    gateway.stop();
    gateway.join();
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("\"GET /gone HTTP/1.1\" 499 0 "), "{text}");
}
