//! Bad input of every kind: a clear error on the right side, the exit code that the manual names, and whoever was serving
//! goes on serving.

use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;
use tests::http;
use tests::lab::{Daemon, Lab};
use tests::pair::Pair;
use tests::wait;

fn serving() -> Pair {
    let mut pair = Pair::start();
    pair.route(&json!({ "name": "echo" }), &json!({ "name": "first", "paths": ["/first"] }));
    pair.acknowledged();
    pair
}

/// A change still goes through and is still served: nothing that came before has hurt anybody.
fn still_works(pair: &mut Pair) {
    pair.cp.admin_ok("PATCH", "/routes/first", &json!({ "paths": ["/still", "/first"] }));
    pair.settle();
    assert_eq!(pair.dp.get("/still", &[]).status, 200);
    assert!(pair.cp.is_running() && pair.dp.is_running());
}

#[test]
fn a_data_plane_with_another_cluster_certificate_is_told_so() {
    let mut pair = serving();
    pair.lab.gen_cert("foreign");
    let foreign = |extension: &str| pair.lab.path().join(format!("foreign.{extension}")).display().to_string();
    let mut stranger = pair
        .lab
        .dp("stranger")
        .with_text("cluster_cert", foreign("crt"))
        .with_text("cluster_cert_key", foreign("key"))
        .with_text("cluster_control_plane", pair.cp.address("cluster"))
        .start();
    let error = wait::until("an error", || stranger.sync_status()["last_error"].as_str().map(str::to_owned));
    assert!(error.contains("not the cluster certificate"), "{error}");
    assert!(tests::pair::row(&mut pair.cp).is_some_and(|row| row["hostname"].is_string()));
    still_works(&mut pair);
}

#[test]
fn garbage_on_the_cluster_port_is_dropped_and_logged() {
    let mut pair = serving();
    let cluster = pair.cp.address("cluster");
    for garbage in [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], &[0xff; 4096], b"\x16\x03\x01\xff\xff garbage", b""] {
        let mut stream = TcpStream::connect(cluster).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let _ = stream.write_all(garbage);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    }
    pair.cp.logs("connection on the cluster port refused");
    still_works(&mut pair);
}

/// A TLS connection with the cluster's own certificate that speaks the sync protocol by name only.
fn member(pair: &Pair, cluster: SocketAddr) -> rustls::StreamOwned<rustls::ClientConnection, TcpStream> {
    let path = |name: &str| pair.lab.path().join(name).display().to_string();
    let identity = pki::ClusterIdentity::load(&path("cluster.crt"), &path("cluster.key")).expect("the certificate");
    let client = pki::ClusterClient::new(&identity, pki::Mtls::Shared, None).expect("a client");
    let name = client.server_name("localhost").expect("a name");
    let connection = rustls::ClientConnection::new(Arc::clone(client.config()), name).expect("a connection");
    let stream = TcpStream::connect(cluster).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    rustls::StreamOwned::new(connection, stream)
}

#[test]
fn garbage_and_oversized_frames_inside_tls_end_that_session_only() {
    let mut pair = serving();
    let cluster = pair.cp.address("cluster");
    // Not a hello; a length above every limit; a truncated frame; a stream of zeros; a delta from a data plane.
    let garbage: [&[u8]; 5] = [b"\x05hello", &[0xff; 64], b"\x7f\x01", &[0; 1024], b"\x04\x05\x00\x00\x00"];
    for bytes in garbage {
        let mut stream = member(&pair, cluster);
        stream.write_all(bytes).and_then(|()| stream.flush()).expect("TLS works");
        stream.conn.send_close_notify();
        let _ = stream.flush();
        let _ = stream.sock.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    }
    pair.cp.logs("broke the protocol");
    still_works(&mut pair);
}

#[test]
fn a_body_that_does_not_parse_is_a_400_that_says_so() {
    let mut pair = serving();
    let admin = pair.cp.address("admin");
    let post = |body: &[u8], kind: &str| {
        http::request(admin, "POST", "/services", &[("content-type", kind)], body).expect("an answer")
    };
    let answer = post(b"{\"name\": ", "application/json");
    assert_eq!((answer.status, answer.json()["message"].as_str()), (400, Some("Cannot parse JSON body")));
    assert_eq!(post(b"\xff\xfe", "application/json").status, 400);
    assert_eq!(post(b"<xml/>", "application/xml").status, 415);
    let answer = post(br#"{"name": 7, "retries": "x", "nonsense": 1}"#, "application/json");
    let error = answer.json();
    assert_eq!(answer.status, 400);
    assert_eq!((error["code"].as_u64(), error["name"].as_str()), (Some(2), Some("schema violation")));
    for field in ["name", "retries", "nonsense", "host"] {
        assert!(error["fields"][field].is_string(), "{field}: {error}");
    }
    let deep = "[".repeat(100_000);
    assert_eq!(post(deep.as_bytes(), "application/json").status, 400);
    still_works(&mut pair);
}

#[test]
fn an_unknown_key_in_a_settings_file_names_file_line_and_key() {
    let lab = Lab::new();
    for setup in
        [lab.cp("cp").with_text("admin_lisen", "127.0.0.1:0"), lab.dp("dp").with_text("proxy_lisen", "127.0.0.1:0")]
    {
        let (status, log) = setup.fails_to_start();
        assert_eq!(status.code(), Some(78), "{log}");
        assert!(log.contains(".toml:") && log.contains("_lisen") && log.contains("_listen"), "{log}");
    }
}

#[test]
fn an_admin_listener_that_others_could_reach_is_refused() {
    let lab = Lab::new();
    let (status, log) = lab.cp("cp").with_text("admin_listen", "0.0.0.0:0").fails_to_start();
    assert_eq!(status.code(), Some(78), "{log}");
    assert!(log.contains("admin_listen") && log.contains("can be reached from other machines"), "{log}");
}

#[test]
fn a_port_in_use_names_the_setting_and_the_address() {
    let lab = Lab::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound").to_string();
    let setups = [
        (lab.cp("cp").with_text("admin_listen", &address), "admin_listen"),
        (lab.cp("cp2").with_text("cluster_listen", &address), "cluster_listen"),
        (lab.dp("dp").with_text("proxy_listen", &address), "proxy_listen"),
        (lab.dp("dp2").with_text("status_listen", &address), "status_listen"),
    ];
    for (setup, key) in setups {
        let (status, log) = setup.fails_to_start();
        assert_eq!(status.code(), Some(69), "{log}");
        assert!(log.contains(&address) && log.contains(key), "{log}");
    }
}

#[test]
fn a_store_directory_without_permission_is_exit_77() {
    let lab = Lab::new();
    for setup in [lab.cp("cp"), lab.dp("dp")] {
        let dir = setup.dir().to_owned();
        fs::create_dir_all(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
        let (status, log) = setup.as_nobody().fails_to_start();
        assert_eq!(status.code(), Some(77), "{log}");
        assert!(log.contains(&dir.display().to_string()), "{log}");
    }
}

#[test]
fn a_store_of_garbage_is_set_aside_reported_and_healed() {
    let mut pair = serving();
    let setup = pair.dp.kill();
    for file in walk(setup.dir()) {
        // The node's name tag is no part of the store.
        if file.ends_with("node.id") {
            continue;
        }
        let length = fs::metadata(&file).unwrap().len() as usize;
        fs::write(&file, (0..length).map(|index| (index * 31 % 251) as u8).collect::<Vec<_>>()).unwrap();
    }
    pair.dp = setup.start();
    pair.settle();
    assert_eq!(pair.dp.get("/first", &[]).status, 200);
    let status = pair.dp.sync_status();
    assert!(status["store"]["damage"].is_string(), "{status}");
    // And it is whole again: the next start needs nobody.
    pair.acknowledged();
    let setup = pair.dp.kill();
    pair.link.down();
    pair.dp = setup.start();
    pair.dp.is_ready();
    assert_eq!(pair.dp.get("/first", &[]).status, 200);
    assert_eq!(pair.dp.sync_status()["store"]["damage"], Value::Null);
}

#[test]
fn a_control_plane_with_a_garbage_store_says_so_and_does_not_start_empty() {
    let mut pair = serving();
    let setup = pair.cp.kill();
    for file in walk(setup.dir()) {
        let length = fs::metadata(&file).unwrap().len() as usize;
        fs::write(&file, vec![0x5a; length]).unwrap();
    }
    let (status, log) = setup.fails_to_start();
    assert_eq!(status.code(), Some(74), "{log}");
    assert!(log.contains("corrupt"), "{log}");
    assert_eq!(pair.dp.get("/first", &[]).status, 200);
}

fn walk(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.flat_map(|entry| if entry.path().is_dir() { walk(&entry.path()) } else { vec![entry.path()] }).collect()
}

#[test]
fn a_client_that_speaks_no_http_gets_an_error_and_the_next_one_an_answer() {
    let mut pair = serving();
    let proxy = pair.dp.address("proxy");
    for garbage in [
        &b"\x00\x01\x02\x03\r\n\r\n"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /first HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(proxy).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.write_all(garbage).expect("it reads");
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let text = String::from_utf8_lossy(&answer);
        assert!(text.starts_with("HTTP/1.1 400") || text.is_empty(), "{text}");
    }
    let long = format!("GET /first HTTP/1.1\r\nHost: a\r\nX-Long: {}\r\n\r\n", "x".repeat(2_000_000));
    let mut stream = TcpStream::connect(proxy).expect("it listens");
    let _ = stream.write_all(long.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert_eq!(pair.dp.get("/first", &[]).status, 200);
    assert!(Daemon::is_running(&mut pair.dp));
}
