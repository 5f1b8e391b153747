//! Something that looks like a control plane of the lab's cluster, as far as it goes: it takes HELLO, says what it was
//! told to say, then what a test has it say, and listens until the node has had enough.

use crate::lab::Lab;
use pki::{ClusterIdentity, ClusterServer, Material, Mtls};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_rustls::TlsAcceptor;
use wire::frame::Decoder;
use wire::message::Message;

/// The pretender.
#[derive(Debug)]
pub struct FakeCp {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Visit>>>,
    /// To the newest connection.
    line: Line,
}

/// What is to be said there next, as bytes.
type Line = Arc<Mutex<Option<UnboundedSender<bytes::Bytes>>>>;

/// One connection of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visit {
    /// When it came.
    pub at: Instant,
    /// What it has said, HELLO first.
    pub said: Vec<Message>,
    /// When it went.
    pub gone: Option<Instant>,
}

impl FakeCp {
    /// Listens on an ephemeral loopback port and answers every HELLO with these messages.
    ///
    /// # Panics
    /// When the lab has no certificate.
    #[must_use]
    pub fn start(lab: &Lab, answers: Vec<Message>) -> Self {
        let file = |name: &str| Material::load(&lab.path().join(name).display().to_string()).expect("the lab has it");
        let identity = ClusterIdentity::from_material(&file("cluster.crt"), &file("cluster.key")).expect("a pair");
        let server = ClusterServer::new(&identity, Mtls::Shared).expect("a TLS server");
        let acceptor = TlsAcceptor::from(server.config().clone());
        let answers: Vec<_> = answers.iter().map(Message::encode).collect();
        let (tell, told) = std::sync::mpsc::channel();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let line = Line::default();
        let (shared, newest) = (seen.clone(), line.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
                tell.send(listener.local_addr().expect("bound")).expect("the starter waits");
                while let Ok((stream, _)) = listener.accept().await {
                    let (acceptor, answers, seen) = (acceptor.clone(), answers.clone(), shared.clone());
                    let line = newest.clone();
                    tokio::spawn(async move {
                        let Ok(mut stream) = acceptor.accept(stream).await else { return };
                        let visit = open(&seen);
                        let (mut decoder, mut bytes) = (Decoder::new(), vec![0; 16 * 1024]);
                        let mut greeted = false;
                        let (say, mut said) = unbounded_channel();
                        *line.lock().expect("unpoisoned") = Some(say);
                        loop {
                            let count = tokio::select! {
                                Some(more) = said.recv() => {
                                    let _ = stream.write_all(&more).await;
                                    let _ = stream.flush().await;
                                    continue;
                                }
                                read = stream.read(&mut bytes) => match read {
                                    Ok(count @ 1..) => count,
                                    _ => break,
                                },
                            };
                            let mut rest = &bytes[..count];
                            while let Ok(Some(frame)) = decoder.next(&mut rest) {
                                if let Ok(Some(message)) = Message::decode(frame) {
                                    at(&seen, visit, |visit| visit.said.push(message));
                                }
                            }
                            for answer in if std::mem::replace(&mut greeted, true) { &[][..] } else { &answers[..] } {
                                let _ = stream.write_all(answer).await;
                            }
                            let _ = stream.flush().await;
                        }
                        at(&seen, visit, |visit| visit.gone = Some(Instant::now()));
                    });
                }
            });
        });
        Self { address: told.recv_timeout(Duration::from_secs(30)).expect("it starts"), seen, line }
    }

    /// Says this on the newest connection.
    ///
    /// # Panics
    /// When there was none yet.
    pub fn say(&self, message: &Message) {
        let line = self.line.lock().expect("unpoisoned");
        // To one that has gone it says nothing, as anybody would.
        let _ = line.as_ref().expect("somebody came").send(message.encode());
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Who came, so far.
    #[must_use]
    pub fn visits(&self) -> Vec<Visit> {
        self.seen.lock().expect("unpoisoned").clone()
    }
}

fn open(seen: &Mutex<Vec<Visit>>) -> usize {
    let mut seen = seen.lock().expect("unpoisoned");
    seen.push(Visit { at: Instant::now(), said: Vec::new(), gone: None });
    seen.len() - 1
}

fn at(seen: &Mutex<Vec<Visit>>, visit: usize, change: impl FnOnce(&mut Visit)) {
    change(&mut seen.lock().expect("unpoisoned")[visit]);
}
