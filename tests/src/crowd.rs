//! Many nodes in one process: the sync protocol as it is, over TLS as it is, and behind it nothing that would cost
//! anything. What a control plane spends on a thousand nodes shows itself before a crowd as before a fleet.
//!
//! Each node is a task around a session of `wire`; it takes every step and every full sync at once and keeps only where
//! it is. A node that loses its connection comes back after a jittered pause, as a data plane does.

use crate::node;
use model::Id;
use pki::{ClusterClient, ClusterIdentity, Mtls};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::LocalSet;
use tokio_rustls::TlsConnector;
use wire::dp::{Action, Closed, Session};
use wire::message::{ByeReason, Have};

/// How much a node reads at once.
const READ_BYTES: usize = 16 * 1024;
/// The pause before the first attempt to come back; it doubles up to [`PAUSE_MAX`], and half of it is jitter.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Nodes that follow one control plane.
#[derive(Debug)]
pub struct Crowd {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    started: Instant,
    /// How many are welcomed and connected.
    connected: AtomicUsize,
    /// How many connections were begun.
    attempts: AtomicUsize,
    /// The version that each node has acknowledged.
    acked: Vec<AtomicU64>,
    /// Nanoseconds from `started` until the last ack was written.
    last_ack: AtomicU64,
    bytes: (AtomicU64, AtomicU64),
    /// Where the first node is: what another may say that it has.
    first: Mutex<Have>,
    /// Raised to break all connections; `u64::MAX` to end.
    round: watch::Sender<u64>,
}

impl Crowd {
    /// Connects `count` nodes, each with `have` and an id of its own, which ask for this heartbeat in seconds.
    /// `certificates` holds `cluster.crt` and `cluster.key`.
    ///
    /// # Panics
    /// When the certificates cannot be read, or there is no thread.
    #[must_use]
    pub fn start(count: usize, have: Have, heartbeat_s: u32, control_plane: SocketAddr, certificates: &Path) -> Self {
        Self::spread(count, have, heartbeat_s, &[control_plane], certificates)
    }

    /// The same with a list of control planes: the nodes take them in turn, go to the next one when theirs is lost, and
    /// where they are sent, if it is in the list.
    ///
    /// # Panics
    /// As [`Crowd::start`].
    #[must_use]
    pub fn spread(
        count: usize,
        have: Have,
        heartbeat_s: u32,
        control_planes: &[SocketAddr],
        certificates: &Path,
    ) -> Self {
        let planes: Arc<[SocketAddr]> = control_planes.into();
        let read = |name: &str| std::fs::read_to_string(certificates.join(name)).expect("the lab has certificates");
        let identity = ClusterIdentity::load(&read("cluster.crt"), &read("cluster.key")).expect("a pair");
        let shared = Arc::new(Shared {
            started: Instant::now(),
            connected: AtomicUsize::new(0),
            attempts: AtomicUsize::new(0),
            acked: (0..count).map(|_| AtomicU64::new(have.applied)).collect(),
            last_ack: AtomicU64::new(0),
            bytes: Default::default(),
            first: Mutex::new(have),
            round: watch::Sender::new(0),
        });
        let all = shared.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            LocalSet::new().block_on(&runtime, async move {
                let nodes: Vec<_> = (0..count)
                    .map(|index| {
                        // A client of its own, so that each node resumes its own TLS sessions.
                        let client = ClusterClient::new(&identity, Mtls::Shared, None).expect("a configuration");
                        let (shared, planes) = (all.clone(), planes.clone());
                        let node = Node { index, shared, client, at: index, planes, have, heartbeat_s };
                        tokio::task::spawn_local(node.run())
                    })
                    .collect();
                for node in nodes {
                    let _ = node.await;
                }
            });
        });
        Self { shared, thread: Some(thread) }
    }

    /// How many nodes are connected and welcomed.
    #[must_use]
    pub fn connected(&self) -> usize {
        self.shared.connected.load(Ordering::SeqCst)
    }

    /// How many connections were begun, those that came to nothing included.
    #[must_use]
    pub fn attempts(&self) -> usize {
        self.shared.attempts.load(Ordering::SeqCst)
    }

    /// How many nodes have acknowledged this version or a later one.
    #[must_use]
    pub fn at(&self, version: u64) -> usize {
        self.shared.acked.iter().filter(|acked| acked.load(Ordering::SeqCst) >= version).count()
    }

    /// When the last ack so far was written.
    #[must_use]
    pub fn last_ack(&self) -> Instant {
        self.shared.started + Duration::from_nanos(self.shared.last_ack.load(Ordering::SeqCst))
    }

    /// Bytes within TLS: sent by nodes, sent to nodes.
    #[must_use]
    pub fn bytes(&self) -> (u64, u64) {
        (self.shared.bytes.0.load(Ordering::SeqCst), self.shared.bytes.1.load(Ordering::SeqCst))
    }

    /// What the first node has.
    ///
    /// # Panics
    /// When a node's task has panicked.
    #[must_use]
    pub fn have(&self) -> Have {
        *self.shared.first.lock().expect("unpoisoned")
    }

    /// Breaks all connections at once; the nodes come back at once.
    pub fn reconnect(&self) {
        self.shared.round.send_modify(|round| *round += 1);
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.shared.round.send_replace(u64::MAX);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Node {
    index: usize,
    shared: Arc<Shared>,
    client: ClusterClient,
    planes: Arc<[SocketAddr]>,
    /// Which of them, counted round.
    at: usize,
    have: Have,
    heartbeat_s: u32,
}

impl Node {
    async fn run(mut self) {
        let id = Id::random();
        // What is in a step is nobody's business here, so that a patch is as good as a whole entity.
        let features = wire::Hello::MOVED | wire::Hello::PATCHES;
        let mut identity = node::identity(id, &format!("crowd-{}", self.index), features);
        identity.heartbeat_s = self.heartbeat_s;
        let mut session = Session::new(identity).expect("within the limits");
        let mut round = self.shared.round.subscribe();
        let mut pause = PAUSE_FIRST;
        while *round.borrow_and_update() != u64::MAX {
            let mut welcomed = false;
            let broken = tokio::select! {
                ended = self.connection(&mut session, &mut welcomed) => ended.is_err(),
                _ = round.changed() => false,
            };
            if welcomed {
                self.shared.connected.fetch_sub(1, Ordering::SeqCst);
                pause = PAUSE_FIRST;
            }
            if broken {
                self.at += 1;
                let jitter = Duration::from_millis((Id::random().0 % (pause.as_millis() / 2)) as u64);
                tokio::time::sleep(pause / 2 + jitter).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }

    /// One connection, from the handshake to its end.
    async fn connection(&mut self, session: &mut Session, welcomed: &mut bool) -> io::Result<()> {
        self.shared.attempts.fetch_add(1, Ordering::SeqCst);
        let tcp = TcpStream::connect(self.planes[self.at % self.planes.len()]).await?;
        tcp.set_nodelay(true)?;
        let name = self.client.server_name("127.0.0.1").map_err(io::Error::other)?;
        let mut stream = TlsConnector::from(self.client.config().clone()).connect(name, tcp).await?;
        let mut queue = VecDeque::from(session.connected(self.have, 0, self.now()));
        let mut bytes = vec![0; READ_BYTES];
        loop {
            while let Some(action) = queue.pop_front() {
                let now = self.now();
                match action {
                    Action::Send(bytes) => {
                        stream.write_all(&bytes).await?;
                        stream.flush().await?;
                        self.shared.bytes.0.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                        self.acknowledged(session);
                    }
                    Action::Welcomed(_) => {
                        *welcomed = true;
                        self.shared.connected.fetch_add(1, Ordering::SeqCst);
                    }
                    Action::Stage(delta) => {
                        queue.extend(session.durable(delta.to, now));
                        queue.extend(session.applied(delta.to, now));
                    }
                    Action::FullBegin { .. } => queue.extend(session.full_open(0, now)),
                    Action::FullBytes { bytes, .. } => queue.extend(session.full_processed(bytes.len() as u64, now)),
                    Action::FullChunk { bytes, .. } => queue.extend(session.full_processed(bytes, now)),
                    Action::FullComplete { begin, .. } => {
                        queue.extend(session.durable(begin.version, now));
                        queue.extend(session.applied(begin.version, now));
                        self.have.count = begin.count;
                    }
                    Action::Close(Closed::Bye(bye)) if bye.reason == ByeReason::Moved => {
                        let to = self.planes.iter().position(|plane| plane.to_string() == bye.to);
                        self.at = to.unwrap_or(self.at);
                        return Ok(());
                    }
                    Action::Close(why) => return Err(io::Error::other(why.to_string())),
                    _ => {}
                }
            }
            let timer = session.timer().map(|at| self.shared.started + Duration::from_millis(at));
            queue = tokio::select! {
                read = stream.read(&mut bytes) => match read? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    count => {
                        self.shared.bytes.1.fetch_add(count as u64, Ordering::Relaxed);
                        session.received(&bytes[..count], self.now()).into()
                    }
                },
                () = wake(timer) => session.tick(self.now()).into(),
            };
        }
    }

    /// Notes where the node is; called after each write, so that an ack that counts has been written.
    fn acknowledged(&mut self, session: &Session) {
        let applied = session.have().applied;
        let Some(acked) = self.shared.acked.get(self.index) else { return };
        if applied <= acked.load(Ordering::SeqCst) {
            return;
        }
        self.have = Have { count: self.have.count, ..session.have() };
        if self.index == 0 {
            *self.shared.first.lock().expect("unpoisoned") = self.have;
        }
        let at = u64::try_from(self.shared.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.shared.last_ack.fetch_max(at, Ordering::SeqCst);
        acked.store(applied, Ordering::SeqCst);
    }

    fn now(&self) -> u64 {
        u64::try_from(self.shared.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

async fn wake(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
