//! What an upstream and a client see of each other through the gateway.

mod support;

use gateway::listen::Limits;
use gateway::proxy::Settings;
use model::Kind;
use serde_json::json;
use std::io::Read;
use std::sync::mpsc::channel;
use support::{Client, Config, HUNG, Origin, id, read_chunk, read_head};

#[test]
fn an_upstream_sees_the_path_and_headers_that_kong_would_send() {
    let origin = Origin::answering("hello");
    let config =
        Config::default().service(1, origin.address, json!({ "path": "/base" })).route(1, json!({ "paths": ["/api"] }));
    let gateway = config.start();
    let answer = gateway.get("/api/x?a=%20b&c", "Host: A.example:8000\r\nX-Forwarded-For: 9.9.9.9\r\n");
    assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
    let seen = origin.last();
    assert_eq!(seen.target(), "/base/x?a=%20b&c");
    let port = gateway.address.port().to_string();
    let expected = [
        ("host", format!("127.0.0.1:{}", origin.address.port())),
        ("x-forwarded-for", "9.9.9.9, 127.0.0.1".to_owned()),
        ("x-forwarded-proto", "http".to_owned()),
        ("x-forwarded-host", "A.example".to_owned()),
        ("x-forwarded-port", port),
        ("x-forwarded-path", "/api/x".to_owned()),
        ("x-forwarded-prefix", "/api".to_owned()),
        ("x-real-ip", "127.0.0.1".to_owned()),
        ("connection", "keep-alive".to_owned()),
    ];
    for (name, value) in expected {
        assert_eq!(seen.header(name), Some(value.as_str()), "{name}");
    }
    assert_eq!(seen.header("x-kong-request-id"), answer.header("x-kong-request-id"));
    assert_eq!(seen.header("x-kong-request-id").unwrap().len(), 32);
}

#[test]
fn an_answer_tells_how_long_it_took_and_through_whom_it_came() {
    let origin = Origin::scripted(|served| {
        while served.request().is_some() {
            served.answer("200 OK", "server: mine\r\nconnection: x-hop\r\nx-hop: 1\r\nkeep-alive: timeout=5\r\n", "");
        }
    });
    let gateway = Config::default().service(1, origin.address, json!({})).route(1, json!({})).start();
    let answer = gateway.get("/", "");
    assert_eq!(answer.header("server"), Some("mine"));
    assert!(answer.header("via").unwrap().starts_with("1.1 "));
    for name in ["x-kong-upstream-latency", "x-kong-proxy-latency"] {
        assert!(answer.header(name).unwrap().parse::<u64>().is_ok(), "{name}");
    }
    for name in ["x-hop", "keep-alive", "x-kong-response-latency", "x-kong-upstream-status"] {
        assert_eq!(answer.header(name), None, "{name}");
    }
}

#[test]
fn nobody_outside_can_claim_to_be_a_consumer() {
    let origin = Origin::answering("");
    let gateway = Config::default().service(1, origin.address, json!({})).route(1, json!({})).start();
    gateway.get(
        "/",
        "X-Consumer-Username: root\r\nX-Credential-Identifier: 1\r\nX-Consumer-Id: 2\r\nTE: gzip\r\nX-Own: kept\r\n",
    );
    let seen = origin.last();
    for name in ["x-consumer-username", "x-credential-identifier", "x-consumer-id", "te"] {
        assert_eq!(seen.header(name), None, "{name}");
    }
    assert_eq!(seen.header("x-own"), Some("kept"));
}

#[test]
fn a_path_is_matched_and_forwarded_in_normal_form() {
    let origin = Origin::answering("");
    let gateway =
        Config::default().service(1, origin.address, json!({})).route(1, json!({ "paths": ["/public"] })).start();
    assert_eq!(gateway.get("/public/%2e%2e/admin", "").status, 404);
    assert_eq!(gateway.get("/x/..//public/./a", "").status, 200);
    assert_eq!(origin.last().target(), "/a");
}

#[test]
fn the_clients_host_is_preserved_where_the_route_says_so() {
    let origin = Origin::answering("");
    let gateway =
        Config::default().service(1, origin.address, json!({})).route(1, json!({ "preserve_host": true })).start();
    gateway.get("/", "Host: b.example:99\r\n");
    assert_eq!(origin.last().header("host"), Some("b.example:99"));
}

#[test]
fn requests_share_upstream_connections() {
    let origin = Origin::answering("hello");
    let gateway = Config::default().service(1, origin.address, json!({})).route(1, json!({})).start();
    let mut client = gateway.client();
    for _ in 0..5 {
        assert_eq!(client.request("GET", "/", "", b"").text(), "hello");
        assert_eq!(client.request("POST", "/", "", b"body").text(), "hello");
    }
    assert_eq!(gateway.get("/", "").text(), "hello");
    assert_eq!(origin.connections(), 1);
}

#[test]
fn a_pool_of_size_zero_shares_nothing() {
    let origin = Origin::answering("hello");
    let config = Config::default().service(1, origin.address, json!({})).route(1, json!({}));
    let settings = Settings { keepalive_pool_size: 0, ..Settings::default() };
    let gateway = config.start_with(settings, Limits::default());
    gateway.get("/", "");
    gateway.get("/", "");
    assert_eq!(origin.connections(), 2);
}

#[test]
fn a_connection_serves_as_many_requests_as_allowed() {
    let origin = Origin::answering("hello");
    let config = Config::default().service(1, origin.address, json!({})).route(1, json!({}));
    let settings = Settings { keepalive_max_requests: 2, ..Settings::default() };
    let gateway = config.start_with(settings, Limits::default());
    for _ in 0..4 {
        gateway.get("/", "");
    }
    assert_eq!(origin.connections(), 2);
}

#[test]
fn an_answer_streams_piece_by_piece() {
    let (go, wait) = channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let origin = Origin::scripted(move |served| {
        while served.request().is_some() {
            served.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n");
            wait.lock().unwrap().recv_timeout(HUNG).unwrap();
            served.write("6\r\nsecond\r\n0\r\n\r\n");
        }
    });
    let gateway = Config::default().service(1, origin.address, json!({})).route(1, json!({})).start();
    let mut client = gateway.client();
    client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.head().status, 200);
    assert_eq!(read_chunk(&mut client.stream), b"first", "before the second exists");
    go.send(()).unwrap();
    assert_eq!(read_chunk(&mut client.stream), b"second");
    assert_eq!(read_chunk(&mut client.stream), b"");
    go.send(()).unwrap();
    assert_eq!(client.request("GET", "/", "", b"").text(), "firstsecond");
    assert_eq!(origin.connections(), 1, "a chunked answer leaves the connection fit for the next");
}

#[test]
fn a_request_body_streams_piece_by_piece() {
    let (saw, seen) = channel::<Vec<u8>>();
    let saw = std::sync::Mutex::new(saw);
    let origin = Origin::scripted(move |served| {
        let head = read_head(&mut served.stream).unwrap();
        assert_eq!(head.header("transfer-encoding"), Some("chunked"));
        loop {
            let chunk = read_chunk(&mut served.stream);
            let last = chunk.is_empty();
            saw.lock().unwrap().send(chunk).unwrap();
            if last {
                break;
            }
        }
        served.answer("200 OK", "", "done");
    });
    let gateway = Config::default().service(1, origin.address, json!({})).route(1, json!({})).start();
    let mut client = gateway.client();
    client.write("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
    assert_eq!(seen.recv_timeout(HUNG).unwrap(), b"one", "before the rest is sent");
    client.write("3\r\ntwo\r\n0\r\n\r\n");
    assert_eq!(seen.recv_timeout(HUNG).unwrap(), b"two");
    assert_eq!(client.answer(false).text(), "done");
}

#[test]
fn large_bodies_arrive_whole_both_ways() {
    const SIZE: usize = 3_000_000;
    let origin = Origin::scripted(|served| {
        while let Some(request) = served.request() {
            let body = String::from_utf8(request.body).unwrap();
            served.answer("200 OK", "", &body);
        }
    });
    let gateway = Config::default().service(1, origin.address, json!({})).route(1, json!({})).start();
    let body: Vec<u8> = (0..SIZE).map(|n| b'a' + (n % 23) as u8).collect();
    let mut client = gateway.client();
    let mut sending = Client { stream: std::io::BufReader::new(client.stream.get_ref().try_clone().unwrap()) };
    let sent = body.clone();
    let sender = std::thread::spawn(move || {
        sending.write(&format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {SIZE}\r\n\r\n"));
        sending.write(std::str::from_utf8(&sent).unwrap());
    });
    assert!(client.answer(false).message.body == body, "every byte as it was sent");
    sender.join().unwrap();
}

#[test]
fn a_head_request_has_a_length_and_no_body() {
    let origin = Origin::scripted(|served| {
        while served.request().is_some() {
            served.write("HTTP/1.1 200 OK\r\ncontent-length: 42\r\n\r\n");
        }
    });
    let gateway = Config::default().service(1, origin.address, json!({})).route(1, json!({})).start();
    let mut client = gateway.client();
    for _ in 0..2 {
        let answer = client.request("HEAD", "/", "", b"");
        assert_eq!((answer.status, answer.header("content-length")), (200, Some("42")));
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn debug_headers_name_what_matched_when_allowed() {
    let origin = Origin::answering("");
    let config = Config::default().service(1, origin.address, json!({})).route(1, json!({}));
    let names = ["kong-route-id", "kong-route-name", "kong-service-id", "kong-service-name"];
    let silent = config.start().get("/", "Kong-Debug: 1\r\n");
    assert!(names.iter().all(|name| silent.header(name).is_none()));
    let gateway = config.start_with(Settings { allow_debug_header: true, ..Settings::default() }, Limits::default());
    let answer = gateway.get("/", "Kong-Debug: 1\r\n");
    let shown = names.map(|name| answer.header(name).unwrap().to_owned());
    assert_eq!(shown, [id(1), "route-1".into(), id(1), "service-1".into()]);
}

#[test]
fn a_change_of_the_snapshot_is_live_for_the_next_request() {
    let (old, new) = (Origin::answering("old"), Origin::answering("new"));
    let config = |origin: &Origin| Config::default().service(1, origin.address, json!({})).route(1, json!({}));
    let gateway = config(&old).start();
    let mut client = gateway.client();
    assert_eq!(client.request("GET", "/", "", b"").text(), "old");
    gateway.live.publish(std::sync::Arc::new(config(&new).snapshot()));
    assert_eq!(client.request("GET", "/", "", b"").text(), "new");
}

#[test]
fn an_upstreams_host_header_goes_to_its_targets() {
    let origin = Origin::answering("");
    let gateway = Config::default()
        .with(Kind::Upstream, json!({ "id": id(1), "name": "pool.internal", "host_header": "pool.example" }))
        .with(
            Kind::Target,
            json!({ "id": id(1), "upstream": { "id": id(1) }, "target": format!("127.0.0.1:{}", origin.address.port()) }),
        )
        .service(1, origin.address, json!({ "host": "pool.internal" }))
        .route(1, json!({}))
        .start();
    assert_eq!(gateway.get("/", "").status, 200);
    assert_eq!(origin.last().header("host"), Some("pool.example"));
}

#[test]
fn an_upgrade_becomes_a_tunnel() {
    let origin = Origin::scripted(|served| {
        let head = read_head(&mut served.stream).unwrap();
        assert_eq!(head.header("upgrade"), Some("websocket"));
        assert_eq!(head.header("connection"), Some("keep-alive, Upgrade"));
        served.write("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: x\r\n\r\nhi!");
        let mut bytes = [0; 4];
        while served.stream.read_exact(&mut bytes).is_ok() {
            let text = String::from_utf8(bytes.to_vec()).unwrap().to_uppercase();
            served.write(&text);
        }
    });
    let gateway = Config::default().service(1, origin.address, json!({})).route(1, json!({})).start();
    let mut client = gateway.client();
    client.write(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n",
    );
    let head = client.head();
    assert_eq!((head.status, head.header("upgrade")), (101, Some("websocket")));
    assert_eq!(head.header("sec-websocket-accept"), Some("x"));
    let mut hello = [0; 3];
    client.stream.read_exact(&mut hello).unwrap();
    assert_eq!(&hello, b"hi!");
    for word in ["ping", "pong"] {
        client.write(word);
        let mut echo = [0; 4];
        client.stream.read_exact(&mut echo).unwrap();
        assert_eq!(echo, *word.to_uppercase().as_bytes());
    }
    client.stream.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
    assert!(client.is_closed());
}
