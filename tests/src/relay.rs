//! A link that can be measured and broken: a TCP relay that counts bytes, cuts, goes silent, and can be as slow, far and
//! lossy as a [`Shape`] says.

use crate::shape::{Lane, SEGMENT_BYTES, Shape};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// How much a link with a rate lets through at once.
const SLICE_BYTES: usize = 4 * 1024;
/// How many segments a shaped link holds for each direction of a connection: what is sent and has not arrived.
const UNDER_WAY_MAX: usize = 16;

/// A relay in front of one address.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Bytes that clients sent.
    up: AtomicU64,
    /// Bytes that clients got.
    down: AtomicU64,
    frozen: Mutex<bool>,
    thawed: Condvar,
    refuse: AtomicBool,
    /// Bytes per second of each direction of a connection; 0 for no limit.
    rate: AtomicU64,
    shape: Mutex<Option<Shape>>,
    /// How many directions of connections were joined; the seed of what a shaped link loses.
    joined: AtomicU64,
    /// Both ends of those that have not ended, by their number.
    connections: Mutex<HashMap<u64, [TcpStream; 2]>>,
}

impl Relay {
    /// Listens on an ephemeral loopback port and forwards to `target`.
    #[must_use]
    pub fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let state = Arc::new(State::default());
        let shared = state.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if !shared.refuse.load(Ordering::Relaxed) {
                    match shared.shape() {
                        None => shared.join(client, target),
                        Some(shape) => {
                            let shared = shared.clone();
                            thread::spawn(move || {
                                // The connection itself takes a round trip.
                                thread::sleep(2 * shape.delay);
                                shared.join(client, target);
                            });
                        }
                    }
                }
            }
        });
        Self { address, state }
    }

    /// Where to connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Bytes of TCP payload so far: sent by clients, sent to clients.
    #[must_use]
    pub fn bytes(&self) -> (u64, u64) {
        (self.state.up.load(Ordering::SeqCst), self.state.down.load(Ordering::SeqCst))
    }

    /// Lets through so many bytes per second, each way and on each connection.
    #[must_use]
    pub fn at_rate(self, bytes_per_second: u64) -> Self {
        self.state.rate.store(bytes_per_second, Ordering::SeqCst);
        self
    }

    /// Does to each connection from now on what the shape says. Bytes count when they are sent, and once.
    #[must_use]
    pub fn shaped(self, shape: Shape) -> Self {
        *self.state.shape.lock().expect("unpoisoned") = Some(shape);
        self
    }

    /// Breaks every connection; new ones are taken.
    pub fn cut(&self) {
        for (_, ends) in self.state.connections.lock().expect("unpoisoned").drain() {
            for end in ends {
                let _ = end.shutdown(Shutdown::Both);
            }
        }
    }

    /// Breaks every connection and takes no new one.
    pub fn down(&self) {
        self.state.refuse.store(true, Ordering::Relaxed);
        self.cut();
    }

    /// Takes connections again.
    pub fn up(&self) {
        self.state.refuse.store(false, Ordering::Relaxed);
    }

    /// Stops forwarding without a word: connections stay, nothing arrives, not even that an end is gone. Not for links
    /// with a shape.
    pub fn freeze(&self) {
        *self.state.frozen.lock().expect("unpoisoned") = true;
    }

    /// Forwards again.
    pub fn thaw(&self) {
        *self.state.frozen.lock().expect("unpoisoned") = false;
        self.state.thawed.notify_all();
    }
}

impl State {
    fn join(self: &Arc<Self>, client: TcpStream, target: SocketAddr) {
        let Ok(server) = TcpStream::connect(target) else { return };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let pairs = [(client.try_clone(), server.try_clone(), true), (server.try_clone(), client.try_clone(), false)];
        let number = self.joined.fetch_add(2, Ordering::SeqCst);
        self.connections.lock().expect("unpoisoned").insert(number, [client, server]);
        for (from, to, is_up) in pairs {
            if let (Ok(from), Ok(to)) = (from, to) {
                let (state, shape) = (self.clone(), self.shape());
                let seed = 2 * (number + u64::from(!is_up)) + u64::from(is_up);
                thread::spawn(move || {
                    match shape {
                        None => state.pump(from, to, is_up),
                        Some(shape) => state.pump_shaped(from, to, is_up, Lane::new(shape, seed)),
                    }
                    // With one direction the other ends as well.
                    state.connections.lock().expect("unpoisoned").remove(&number);
                });
            }
        }
    }

    fn pump(&self, mut from: TcpStream, mut to: TcpStream, is_up: bool) {
        let mut buffer = vec![0; 64 * 1024];
        let rate = self.rate.load(Ordering::SeqCst);
        if rate > 0 {
            buffer.truncate(SLICE_BYTES);
        }
        loop {
            // A reset (an end was killed with bytes unread) is an end like any other, and waits as it does.
            let count = from.read(&mut buffer).unwrap_or(0);
            if rate > 0 {
                thread::sleep(Duration::from_secs_f64(count as f64 / rate as f64));
            }
            self.wait_while_frozen();
            let counter = if is_up { &self.up } else { &self.down };
            counter.fetch_add(count as u64, Ordering::SeqCst);
            if count == 0 || to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        self.wait_while_frozen();
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    }

    fn wait_while_frozen(&self) {
        let guard = self.frozen.lock().expect("unpoisoned");
        drop(self.thawed.wait_while(guard, |frozen| *frozen).expect("unpoisoned"));
    }

    /// Reads segments no faster than the link has room for them, and writes each when it arrives.
    fn pump_shaped(&self, mut from: TcpStream, mut to: TcpStream, is_up: bool, mut lane: Lane) {
        let (sender, segments) = sync_channel::<(Duration, Vec<u8>)>(UNDER_WAY_MAX);
        let started = Instant::now();
        thread::scope(|scope| {
            let ends = (from.try_clone(), to.try_clone());
            scope.spawn(move || {
                for (arrives, segment) in segments {
                    thread::sleep(arrives.saturating_sub(started.elapsed()));
                    if to.write_all(&segment).is_err() {
                        break;
                    }
                }
                if let (Ok(from), Ok(to)) = ends {
                    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
                }
            });
            let mut buffer = [0; SEGMENT_BYTES];
            while let Ok(count @ 1..) = from.read(&mut buffer) {
                let counter = if is_up { &self.up } else { &self.down };
                counter.fetch_add(count as u64, Ordering::SeqCst);
                if sender.send((lane.send(started.elapsed(), count), buffer[..count].to_vec())).is_err() {
                    break;
                }
            }
            drop(sender);
        });
    }

    fn shape(&self) -> Option<Shape> {
        *self.shape.lock().expect("unpoisoned")
    }
}
