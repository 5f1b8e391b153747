//! The Admin API on a socket: keep-alive, bounds, garbage, an orderly end.

use super::*;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use tokio::sync::oneshot;

/// A server on a thread of its own; dropping it ends it.
struct Served {
    address: SocketAddr,
    end: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Served {
    fn new() -> Self {
        let (tell, told) = std::sync::mpsc::channel();
        let (end, ended) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let lab = Lab::new();
            lab.block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                tell.send(listener.local_addr().unwrap()).unwrap();
                let shutdown = async {
                    let _ = ended.await;
                };
                serve(lab.app.clone(), listener, shutdown).await;
            });
        });
        Self { address: told.recv().unwrap(), end: Some(end), thread: Some(thread) }
    }

    fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).unwrap()
    }

    /// Sends bytes and returns all that comes until the server closes.
    fn talk(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        // A server that has had enough closes with our bytes unread, which resets the connection; what it said before
        // counts.
        let _ = stream.write_all(bytes);
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.end.take();
        self.thread.take().unwrap().join().unwrap();
    }
}

#[test]
fn requests_follow_each_other_on_one_connection() {
    let served = Served::new();
    let post = "POST /consumers HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 18\r\n\r\n{\"username\":\"bob\"}";
    let get = "GET /consumers/bob HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let answer = served.talk(format!("{post}{get}").as_bytes());
    assert!(answer.starts_with("HTTP/1.1 201 Created\r\n"), "{answer}");
    assert!(answer.contains("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert_eq!(answer.matches("\"username\":\"bob\"").count(), 2);
}

#[test]
fn bodies_over_the_bound_are_refused_unread_whether_announced_or_not() {
    let served = Served::new();
    let announced = format!("POST /services HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", BODY_BYTES_MAX + 1);
    let answer = served.talk(announced.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    let mut chunked = b"POST /services HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    let chunk = [b"100000\r\n".as_slice(), &vec![b' '; 0x10_0000], b"\r\n"].concat();
    (0..11).for_each(|_| chunked.extend_from_slice(&chunk));
    let answer = served.talk(&chunked);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[test]
fn garbage_harms_nobody() {
    let served = Served::new();
    for garbage in
        [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], b"GET / HTTP/9.9\r\n\r\n", b"\0\0\0\0\r\n\r\n"]
    {
        let mut stream = served.connect();
        stream.write_all(garbage).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    }
    let answer = served.talk(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}

#[test]
fn the_end_waits_for_nobody_who_is_idle() {
    let served = Served::new();
    let mut idle = served.connect();
    idle.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut some = [0; 12];
    idle.read_exact(&mut some).unwrap();
    let start = Instant::now();
    drop(served);
    assert!(start.elapsed() < std::time::Duration::from_secs(4), "{:?}", start.elapsed());
}
