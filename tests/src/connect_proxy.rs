//! A small HTTP proxy that knows CONNECT and nothing else, as companies put between their machines and the world.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// How it treats those who ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Manner {
    /// Connects whoever asks.
    Open,
    /// Connects those whose Proxy-Authorization is this; others get 407.
    Closed(String),
    /// Answers with this, whoever asks.
    Answers(String),
    /// Takes the request and says nothing.
    Mute,
}

/// The proxy.
#[derive(Debug)]
pub struct ConnectProxy {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    manner: Mutex<Manner>,
    /// First lines of what was asked.
    asked: Mutex<Vec<String>>,
    /// Bytes inside tunnels, from clients and to them.
    up: AtomicU64,
    down: AtomicU64,
}

impl ConnectProxy {
    /// Listens on an ephemeral loopback port.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let state = Arc::new(State {
            manner: Mutex::new(manner),
            asked: Mutex::default(),
            up: AtomicU64::new(0),
            down: AtomicU64::new(0),
        });
        let shared = state.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let state = shared.clone();
                thread::spawn(move || state.serve(client));
            }
        });
        Self { address, state }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes how it treats those who ask from now on.
    pub fn behave(&self, manner: Manner) {
        *self.state.manner.lock().expect("unpoisoned") = manner;
    }

    /// The first lines of all requests so far.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        self.state.asked.lock().expect("unpoisoned").clone()
    }

    /// Bytes inside tunnels so far: from clients, to clients.
    #[must_use]
    pub fn bytes(&self) -> (u64, u64) {
        (self.state.up.load(Ordering::SeqCst), self.state.down.load(Ordering::SeqCst))
    }
}

impl State {
    fn serve(self: Arc<Self>, client: TcpStream) -> Option<()> {
        let mut reader = BufReader::new(client.try_clone().ok()?);
        let (mut first, mut authorization) = (String::new(), None);
        reader.read_line(&mut first).ok()?;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            match line.trim_end().split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("proxy-authorization") => {
                    authorization = Some(value.to_owned());
                }
                Some(_) => {}
                None => break,
            }
        }
        let first = first.trim_end().to_owned();
        self.asked.lock().expect("unpoisoned").push(first.clone());
        let manner = self.manner.lock().expect("unpoisoned").clone();
        let mut client = client;
        match manner {
            Manner::Mute => {
                // Holds the connection until the other end has had enough.
                let _ = reader.read(&mut [0]);
                return None;
            }
            Manner::Answers(answer) => return client.write_all(answer.as_bytes()).ok(),
            Manner::Closed(wanted) if authorization.as_ref() != Some(&wanted) => {
                let answer = "HTTP/1.1 407 Proxy Authentication Required\r\n\
                              Proxy-Authenticate: Basic realm=\"lab\"\r\nContent-Length: 0\r\n\r\n";
                return client.write_all(answer.as_bytes()).ok();
            }
            Manner::Open | Manner::Closed(_) => {}
        }
        let target = first.strip_prefix("CONNECT ")?.split(' ').next()?;
        let Ok(server) = TcpStream::connect(target) else {
            return client.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n").ok();
        };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        client.write_all(b"HTTP/1.1 200 Connection established\r\nVia: 1.1 lab\r\n\r\n").ok()?;
        let (state, back) = (self.clone(), (server.try_clone().ok()?, client.try_clone().ok()?));
        let down = thread::spawn(move || pump(back.0, back.1, &state.down));
        pump(client, server, &self.up);
        down.join().ok()
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream, counter: &AtomicU64) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count) = from.read(&mut buffer) {
        counter.fetch_add(count as u64, Ordering::SeqCst);
        if count == 0 || to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
